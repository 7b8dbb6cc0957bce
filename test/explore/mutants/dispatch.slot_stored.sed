# The owner fills the slot without looking what a thief has left.
/^struct thrum_thread \*thrum__slot_exchange/,/^}/ s/return __atomic_exchange_n(&processor->slot, thread, __ATOMIC_ACQ_REL);/__atomic_store_n(\&processor->slot, thread, __ATOMIC_RELEASE); return old;/
