# The end is told before it is through with the joiner's wait.
/^static void settle/,/^}/ s/THRUM__ENDING, __ATOMIC_ACQ_REL/THRUM__ENDED, __ATOMIC_ACQ_REL/
