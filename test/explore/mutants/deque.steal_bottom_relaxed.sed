# The same, by the thief.
/^void \*thrum__deque_steal/,/^}/ s/\(&deque->bottom, \)__ATOMIC_ACQUIRE/\1__ATOMIC_RELAXED/
