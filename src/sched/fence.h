/* SPDX-License-Identifier: MIT */
#ifndef THRUM_FENCE_H
#define THRUM_FENCE_H

#include "ctx/sanitizer.h"

/*
 * A full (store-load) barrier: the middle of every "I write mine, then read yours" handshake.
 * TSan neither models fences nor lets gcc compile them. There a sequentially consistent
 * read-modify-write of a local takes its place: the same barrier to the machine, and unlike one
 * on a shared word it adds no happens-before edge that could hide a race.
 */
static inline void thrum__full_fence(void)
{
#if defined(THRUM__TSAN)
	int local = 0;
	__atomic_fetch_add(&local, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

#endif
