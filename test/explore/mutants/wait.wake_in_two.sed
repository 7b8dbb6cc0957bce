# The bit is stored, not set by a read-modify-write: PARKED may come in between.
s/__atomic_fetch_or(&parker->word, bit, __ATOMIC_ACQ_REL);/__atomic_load_n(\&parker->word, __ATOMIC_ACQUIRE); __atomic_store_n(\&parker->word, before | bit, __ATOMIC_RELEASE);/
