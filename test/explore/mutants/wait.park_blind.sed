# The sleeper does not look again.
/^static inline bool thrum__parker_park/,/^}/ {
	s/return __atomic_compare_exchange_n(&parker->word, &expected, THRUM__PARKED, false,/(void)expected; __atomic_exchange_n(\&parker->word, THRUM__PARKED, __ATOMIC_ACQ_REL); return true;/
	/__ATOMIC_ACQ_REL, __ATOMIC_RELAXED);/d
}
