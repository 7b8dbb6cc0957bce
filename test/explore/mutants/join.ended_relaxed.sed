# Who comes to join does not see what the child did.
/^void thrum__thread_end(/,/^}/ s/__ATOMIC_ACQ_REL, __ATOMIC_RELAXED/__ATOMIC_RELAXED, __ATOMIC_RELAXED/
