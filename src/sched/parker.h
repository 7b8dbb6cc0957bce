/* SPDX-License-Identifier: MIT */
#ifndef THRUM_PARKER_H
#define THRUM_PARKER_H

#include "base/base.h"

/*
 * Who sleeps: a green thread or an OS thread. Its memory is recycled and never unmapped. The word
 * says whether it sleeps; wait.c has the protocol.
 *
 *   RUNNING --park--> PARKED --signal--> PARKED|bits --consume--> RUNNING
 */

/* PARKED with any of the others means: already on its way to run. */
enum {
	THRUM__RUNNING = 0,
	THRUM__PARKED = 1,
	THRUM__WOKEN = 2,  /* its wait was claimed; to be consumed exactly once */
	THRUM__KNOCKED = 4 /* look at the cancel flag */
};

struct thrum__parker {
	uint32_t word; /* atomic */
	bool green;    /* the first member of a struct thrum_thread; else of an OS thread, which
			* sleeps on the word as a futex */
};

/* The sleeper, once nothing of it runs any more. False: a signal came before; it goes on. */
static inline bool thrum__parker_park(struct thrum__parker *parker)
{
	uint32_t expected = THRUM__RUNNING;
	return __atomic_compare_exchange_n(&parker->word, &expected, THRUM__PARKED, false,
		__ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Anybody. True: it was parked, and the caller alone must make it run again. */
static inline bool thrum__parker_signal(struct thrum__parker *parker, uint32_t bit)
{
	uint32_t before = __atomic_fetch_or(&parker->word, bit, __ATOMIC_ACQ_REL);
	ASSERT(bit != THRUM__WOKEN || !(before & THRUM__WOKEN));
	return before == THRUM__PARKED;
}

/* The sleeper, running: the signals that have come since it last asked. */
static inline uint32_t thrum__parker_consume(struct thrum__parker *parker)
{
	if (__atomic_load_n(&parker->word, __ATOMIC_RELAXED) == THRUM__RUNNING)
		return 0;
	return __atomic_exchange_n(&parker->word, THRUM__RUNNING, __ATOMIC_ACQUIRE);
}

#endif
