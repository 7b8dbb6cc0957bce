# A detach overwrites that the thread has ended.
/^void thrum_detach/,/^}/ {
	s/if (thread == NULL || __atomic_compare_exchange_n(&thread->joiner, &nobody, THRUM__DETACHED,/if (thread == NULL || (__atomic_exchange_n(\&thread->joiner, THRUM__DETACHED, __ATOMIC_ACQ_REL), nobody == NULL))/
	/false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))/d
}
