# L1 does not say what was done before it.
/^static inline void thrum__claim_leave/,/^}/ s/__ATOMIC_RELEASE/__ATOMIC_RELAXED/
