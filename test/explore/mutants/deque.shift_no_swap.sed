# The owner takes the oldest item as if there were no thieves.
/^void \*thrum__deque_shift/,/^}/ s/if (deque->alone)/if (true)/
