# This holder does not see what the one before did.
/^static inline void thrum__lock(/,/^}/ s/__ATOMIC_ACQUIRE/__ATOMIC_RELAXED/
