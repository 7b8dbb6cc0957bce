# The next holder does not see what this one did.
/^static inline void thrum__unlock/,/^}/ s/__ATOMIC_RELEASE/__ATOMIC_RELAXED/
