# Erratum: a thief sees the new array, but not what was copied into it.
/^void \*thrum__deque_steal/,/^}/ s/\(&deque->array, \)__ATOMIC_ACQUIRE/\1__ATOMIC_RELAXED/
