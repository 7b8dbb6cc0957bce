# A thief sees that there is an item, but neither the slot nor what the item points to.
/^bool thrum__deque_push/,/^}/ s/\(bottom + 1, \)__ATOMIC_RELEASE/\1__ATOMIC_RELAXED/
