# Erratum: the new array is published before its slots.
/^static bool grow/,/^}/ s/\(&deque->array, array, \)__ATOMIC_RELEASE/\1__ATOMIC_RELAXED/
