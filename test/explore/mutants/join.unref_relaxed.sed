# Who frees it does not see that the others are through with it.
/^void thrum__thread_unref(/,/^}/ s/__ATOMIC_ACQ_REL/__ATOMIC_RELAXED/
