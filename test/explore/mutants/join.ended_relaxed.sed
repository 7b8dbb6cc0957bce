# The joiner does not see what the child did.
/^void thrum__thread_end(/,/^}/ s/THRUM__ENDED, __ATOMIC_RELEASE/THRUM__ENDED, __ATOMIC_RELAXED/; /^void thrum__thread_end(/,/^}/ s/THRUM__ENDING, __ATOMIC_ACQ_REL/THRUM__ENDING, __ATOMIC_ACQUIRE/
