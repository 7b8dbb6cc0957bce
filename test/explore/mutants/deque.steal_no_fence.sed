# A thief knows a newer top than the owner, and an older bottom.
/^void \*thrum__deque_steal/,/^}/ s/thrum__full_fence();/__asm__ volatile("" ::: "memory");/
