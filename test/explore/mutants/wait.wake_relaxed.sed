# The waiter does not see what its waker did.
s/bit, __ATOMIC_ACQ_REL);/bit, __ATOMIC_RELAXED);/
