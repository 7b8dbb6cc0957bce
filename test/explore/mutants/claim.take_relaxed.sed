# T3 does not hear what was done before L1.
/^bool thrum__claim_take/,/^}/ s/\(&claim->state, \)__ATOMIC_ACQUIRE/\1__ATOMIC_RELAXED/
