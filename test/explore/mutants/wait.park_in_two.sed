# The sleeper looks at its word, then stores PARKED over what has come meanwhile.
/^static inline bool thrum__parker_park/,/^}/ {
	s/return __atomic_compare_exchange_n(&parker->word, &expected, THRUM__PARKED, false,/if (__atomic_load_n(\&parker->word, __ATOMIC_ACQUIRE) != expected) return false; __atomic_store_n(\&parker->word, THRUM__PARKED, __ATOMIC_RELEASE); return true;/
	/__ATOMIC_ACQ_REL, __ATOMIC_RELAXED);/d
}
