# What comes between the look and the store is lost.
s/return __atomic_exchange_n(&parker->word, THRUM__RUNNING, __ATOMIC_ACQUIRE);/uint32_t bits = __atomic_load_n(\&parker->word, __ATOMIC_ACQUIRE); __atomic_store_n(\&parker->word, THRUM__RUNNING, __ATOMIC_RELAXED); return bits;/
