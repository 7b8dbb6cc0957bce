/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TIMER_H
#define THRUM_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A wheel of timers. Pure: it knows no clock and takes no lock, and it never allocates, because the
 * nodes are the timers themselves. All-zero is an empty wheel and an idle timer.
 *
 * Time is cut into ticks of 2^16 ns (66 us). A timer is due at the first tick that does not begin
 * before its when: never early, less than one tick late, and all of one tick together.
 */
struct thrum__timer {
	int64_t when;
	struct thrum__timer *next;  /* in its lane */
	struct thrum__timer **link; /* what points to it; NULL: idle */
};

enum {
	THRUM__TICK_SHIFT = 16,
	THRUM__WHEEL_LEVELS = 8,
	THRUM__WHEEL_BITS = 6,
	THRUM__WHEEL_SIZE = 1 << THRUM__WHEEL_BITS,
	THRUM__WHEEL_LANES = 4
};

struct thrum__wheel {
	uint64_t tick;	      /* the present: nothing is due before it */
	uint64_t tended;      /* the tick of the last call that found nothing due */
	uint32_t fill, drain; /* counters: which lane is next */
	uint32_t levels;      /* a bit for each level that holds a timer */
	uint64_t used[THRUM__WHEEL_LEVELS][2]; /* a bit for each bucket that does */
	struct thrum__bucket {
		struct thrum__timer *lanes[THRUM__WHEEL_LANES];
		uint64_t earliest; /* tick: no timer here is due before it */
	} buckets[THRUM__WHEEL_LEVELS][2][THRUM__WHEEL_SIZE];
};

static inline bool thrum__timer_armed(const struct thrum__timer *timer)
{
	return timer->link != NULL;
}

/* Adds an idle timer; its when is set and stays. One that is late already is due at once. O(1). */
void thrum__timer_add(struct thrum__wheel *wheel, struct thrum__timer *timer);

/* Takes a timer out; does nothing if it is idle. O(1): touches its neighbours in the lane. */
void thrum__timer_remove(struct thrum__wheel *wheel, struct thrum__timer *timer);

/*
 * Takes out and returns a timer that is due, those of an earlier tick first; NULL: none is. All are
 * due at INT64_MAX. now: not less than in any call before.
 */
struct thrum__timer *thrum__timer_pop_due(struct thrum__wheel *wheel, int64_t now);

/*
 * No timer is due before; INT64_MAX: none ever is. It is when the earliest one is due, except after
 * that was removed from among others of its bucket: then it may be before.
 */
int64_t thrum__timer_next(const struct thrum__wheel *wheel);

#endif
