# The owner looks at top before its thieves can see that bottom went down.
/^void \*thrum__deque_take/,/^}/ s/thrum__full_fence();/__asm__ volatile("" ::: "memory");/
