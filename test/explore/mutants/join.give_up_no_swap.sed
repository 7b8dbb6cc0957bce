# A joiner that gives up overwrites what the end has said.
/^static bool unregister/,/^}/ {
	s/if (__atomic_compare_exchange_n(/if (__atomic_exchange_n(\&thread->joiner, NULL, __ATOMIC_ACQ_REL) || __atomic_compare_exchange_n(/
}
