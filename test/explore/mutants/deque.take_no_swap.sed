# The owner takes the last item without asking the thieves.
/^void \*thrum__deque_take/,/^}/ s/if (top == bottom \&\& !/if (top == bottom \&\& 0 \&\& !/
