# Look whether somebody sleeps, then unlock: one may fall asleep in between.
s/if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)/uint32_t word = __atomic_load_n(\&lock->word, __ATOMIC_RELAXED); __atomic_store_n(\&lock->word, 0, __ATOMIC_RELEASE); if (word == 2)/
