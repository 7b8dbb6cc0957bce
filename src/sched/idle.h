/* SPDX-License-Identifier: MIT */
#ifndef THRUM_IDLE_H
#define THRUM_IDLE_H

#include "base/base.h"

/*
 * Going to sleep, and being called out of it: the protocol between those who submit work and the
 * machines that found none. idle.c has it.
 */

/* One for a runtime. All-zero: nobody is idle. */
struct thrum__idlers {
	uint32_t searching; /* atomic: machines that look for work to steal */
	uint32_t count;	    /* atomic; changed under lock */
	struct thrum__lock lock;
	struct thrum__list list; /* of idlers */
};

/* One for a processor. */
struct thrum__idler {
	struct thrum__list link; /* under the lock */
	bool called;		 /* under the lock: a submitter took it off the list */
};

/* S2..S5: after work was queued where others may take it. Returns whom to wake, or NULL. */
struct thrum__idler *thrum__idlers_call(struct thrum__idlers *idlers);

/* Takes this one off the list, if it is on it, for work that was queued for it alone. */
bool thrum__idler_call(struct thrum__idlers *idlers, struct thrum__idler *idler);

/* M2, M3: after this look at every queue (M4). */
void thrum__idler_enter(struct thrum__idlers *idlers, struct thrum__idler *idler);

/*
 * After M5, or instead of it because M4 saw something. True: the machine is counted in searching
 * from now on.
 */
bool thrum__idler_leave(struct thrum__idlers *idlers, struct thrum__idler *idler, bool saw_work);

/* Counts the caller in searching, unless enough do already. count: of processors. */
bool thrum__search_start(struct thrum__idlers *idlers, unsigned count);

/*
 * M1. True: it was the last one and found something, so it must look at every queue and, if there
 * is more, call another [I2].
 */
bool thrum__search_stop(struct thrum__idlers *idlers, bool found);

#endif
