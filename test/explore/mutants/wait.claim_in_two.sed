# A look and a store instead of a compare-and-swap: two may win.
/^static bool give_up/,/^}/ s/if (!__atomic_compare_exchange_n(/if (__atomic_load_n(\&wait->state, __ATOMIC_ACQUIRE) != expected) return false; if (!__atomic_exchange_n(\&wait->state, GAVE_UP, __ATOMIC_ACQ_REL) \&\& 0 \&\& !__atomic_compare_exchange_n(/
