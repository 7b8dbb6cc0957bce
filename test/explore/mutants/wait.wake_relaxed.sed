# The waiter does not see what its waker did.
s/THRUM__WOKEN, __ATOMIC_ACQ_REL);/THRUM__WOKEN, __ATOMIC_RELAXED);/
