# [I4]: a submitter counts a searcher before it knows that one is idle.
/^struct thrum__idler \*thrum__idlers_call/,/^}/ {
	s/struct thrum__idler \*idler = NULL;/& __atomic_fetch_add(\&idlers->searching, 1, __ATOMIC_SEQ_CST);/
	s/if (__atomic_load_n(&idlers->searching, __ATOMIC_RELAXED) == 0) {/{/
	s/^\(\t*\)__atomic_fetch_add(&idlers->searching, 1, __ATOMIC_SEQ_CST);$/\1;/
	s/return idler;/if (idler == NULL) __atomic_fetch_sub(\&idlers->searching, 1, __ATOMIC_SEQ_CST); &/
}
