# Nobody is woken.
s/__ATOMIC_RELEASE) == 2)/__ATOMIC_RELEASE) == 3)/
