/* SPDX-License-Identifier: MIT */
#include "time/timer.h"

#include "base/base.h"

/*
 * A hierarchical timing wheel (Varghese and Lauck 1987), which turns smoothly.
 *
 * Picture.  A bucket of level L spans 64^L ticks: 66 us, 4 ms, 268 ms, 17 s, 18 min ... A level has
 * two pages of 64 buckets. One spans what one bucket of the level above does, the one in which the
 * present is; the other one what the next bucket does. A timer lies at the lowest level with a page
 * for its tick.
 *
 *   level 1   |  |  |  |  |P |N |  |  |  |      P, N: the present bucket and the next one
 *                        /   |   \
 *   level 0             |..p..|.....|           their pages
 *
 * Cascades.  What lies in P or N of a level may go down to the pages below. That it may go one
 * bucket too early is what makes the wheel smooth: each call moves a few timers down, in
 * proportion to the time that has passed, so that N is empty when it becomes P. In the classic
 * wheel, where a level has one page, they all come down at one moment: for a hundred thousand
 * sleepers a pause of 8 ms, in which nothing is fired. If some are left nevertheless, they go down
 * when the first of them is due. A timer moves at most seven times, and one that is removed before
 * its time, as most are, hardly ever.
 *
 * Long pauses.  The present moves only to ticks at which something is due, from one bucket in use
 * straight to the next one: a long pause costs no more than a short one.
 *
 * Lanes.  A timer lies on a stack that was not used for long: to look at it is a miss of the cache
 * and of the TLB. In one list each would have to be waited for, since only it tells where the next
 * one is; so a bucket has four, and while one timer of a lane is moved the next one is on its way.
 *
 * Invariants
 *   [I1] Of every timer in the wheel, the tick is not before the wheel's.
 *   [I2] A bucket's bit is set <=> it holds a timer, and a level's <=> one of its buckets' is.
 *   [I3] A bucket in use lies in the present's page or its neighbour, so its place tells its span.
 *   [I4] A bucket's earliest is of its span, and not after any of its timers.
 *
 * Rejected: a pairing heap, which was here. It orders completely, for which it touches 2 log n
 * nodes for each that comes due. A heap in an array: it must grow, so that a wait with a deadline
 * could fail for want of memory. Coarse buckets at higher levels and no cascades, as in Linux:
 * there a timeout may be an eighth late.
 */

enum {
	BITS = THRUM__WHEEL_BITS,
	SIZE = THRUM__WHEEL_SIZE,
	LEVELS = THRUM__WHEEL_LEVELS,
	LANES = THRUM__WHEEL_LANES,
	MOVES_MIN = 16, /* down, in each call */
	MOVES = 8,	/* more for each tick that has passed: 32,000 in 268 ms */
	MOVES_MAX = 512
};

#define TICK ((uint64_t)1 << THRUM__TICK_SHIFT)
#define END  (((uint64_t)INT64_MAX + 1) >> THRUM__TICK_SHIFT) /* the tick after the last one */

_Static_assert(BITS * LEVELS >= 63 - THRUM__TICK_SHIFT + 1, "a bucket for every tick up to END");

/* The first tick that does not begin before when. */
static uint64_t due_at(int64_t when)
{
	return when <= 0 ? 0 : ((uint64_t)when + TICK - 1) >> THRUM__TICK_SHIFT;
}

/* The tick that now lies in. */
static uint64_t tick_of(int64_t now)
{
	if (now == INT64_MAX)
		return END;
	return now <= 0 ? 0 : (uint64_t)now >> THRUM__TICK_SHIFT;
}

/* Which bucket of a level a tick falls into, counted from the beginning of time. */
static uint64_t span_of(uint64_t tick, int level)
{
	return tick >> (level * BITS);
}

/* ---------------------------------------------------------------- buckets */

static struct thrum__bucket *bucket_at(struct thrum__wheel *wheel, int level, uint64_t span)
{
	return &wheel->buckets[level][span / SIZE % 2][span % SIZE];
}

static void place(struct thrum__wheel *wheel, struct thrum__timer *timer)
{
	uint64_t tick = due_at(timer->when);
	tick = tick < wheel->tick ? wheel->tick : tick;
	/* The level of the highest digit that differs has a page for it; so may lower ones. */
	int level = (63 - __builtin_clzll((tick ^ wheel->tick) | 1)) / BITS;
	while (level > 0 && span_of(tick, level) - span_of(wheel->tick, level) <= 1)
		level--;
	uint64_t span = span_of(tick, level), bit = (uint64_t)1 << span % SIZE;
	uint64_t *used = &wheel->used[level][span / SIZE % 2];
	struct thrum__bucket *bucket = bucket_at(wheel, level, span);
	struct thrum__timer **lane = &bucket->lanes[wheel->fill++ % LANES];
	if ((*used & bit) == 0 || tick < bucket->earliest)
		bucket->earliest = tick;
	*used |= bit;
	wheel->levels |= (uint32_t)1 << level;
	timer->next = *lane;
	timer->link = lane;
	if (*lane != NULL)
		(*lane)->link = &timer->next;
	*lane = timer;
}

void thrum__timer_add(struct thrum__wheel *wheel, struct thrum__timer *timer)
{
	ASSERT(!thrum__timer_armed(timer));
	place(wheel, timer);
}

/* This points to nothing any more. If it is a lane, its bucket may be empty. */
static void emptied(struct thrum__wheel *wheel, struct thrum__timer **link)
{
	size_t offset = (size_t)((uintptr_t)link - (uintptr_t)wheel->buckets);
	if (offset >= sizeof(wheel->buckets))
		return;
	size_t index = offset / sizeof(struct thrum__bucket);
	const struct thrum__bucket *bucket = &wheel->buckets[0][0][0] + index;
	for (int i = 0; i < LANES; i++)
		if (bucket->lanes[i] != NULL)
			return;
	uint64_t *used = wheel->used[index / SIZE / 2];
	used[index / SIZE % 2] &= ~((uint64_t)1 << index % SIZE);
	if ((used[0] | used[1]) == 0)
		wheel->levels &= ~((uint32_t)1 << index / SIZE / 2);
}

void thrum__timer_remove(struct thrum__wheel *wheel, struct thrum__timer *timer)
{
	struct thrum__timer **link = timer->link;
	if (link == NULL)
		return;
	timer->link = NULL;
	*link = timer->next;
	if (timer->next != NULL)
		timer->next->link = link;
	else
		emptied(wheel, link);
}

/* Takes some timer out of a bucket and calls for the one after it. NULL: it is empty. */
static struct thrum__timer *take(struct thrum__wheel *wheel, struct thrum__bucket *bucket)
{
	for (int i = 0; i < LANES; i++) {
		struct thrum__timer *timer = bucket->lanes[wheel->drain++ % LANES];
		if (timer == NULL)
			continue;
		__builtin_prefetch(timer->next, 1);
		thrum__timer_remove(wheel, timer);
		return timer;
	}
	return NULL;
}

/* ---------------------------------------------------------------- turning */

/*
 * The level of the bucket with the least earliest, of several the highest: what goes down from
 * there may be due then, too. -1: the wheel is empty.
 */
static int find_first(const struct thrum__wheel *wheel, uint64_t *earliest)
{
	int first = -1;
	for (uint32_t levels = wheel->levels; levels != 0; levels &= levels - 1) {
		int level = __builtin_ctz(levels);
		unsigned page = span_of(wheel->tick, level + 1) % 2;
		if (wheel->used[level][page] == 0)
			page = 1 - page;
		int place = __builtin_ctzll(wheel->used[level][page]);
		uint64_t tick = wheel->buckets[level][page][place].earliest;
		if (first >= 0 && tick > *earliest)
			continue;
		first = level;
		*earliest = tick;
	}
	return first;
}

/* Moves up to max timers of the present or the next bucket down. Returns how many. */
static uint64_t cascade(struct thrum__wheel *wheel, struct thrum__bucket *bucket, uint64_t max)
{
	uint64_t moved = 0;
	struct thrum__timer *timer;
	for (; moved < max && (timer = take(wheel, bucket)) != NULL; moved++)
		place(wheel, timer);
	return moved;
}

/* Moves some of what will have to be further down soon. */
static void tend(struct thrum__wheel *wheel, uint64_t tick)
{
	uint64_t passed = tick > wheel->tended ? tick - wheel->tended : 0;
	uint64_t left = passed < MOVES_MAX / MOVES ? MOVES_MIN + MOVES * passed : MOVES_MAX;
	wheel->tended = tick;
	for (int level = 1; left > 0 && wheel->levels >> level != 0; level++) {
		uint64_t span = span_of(wheel->tick, level);
		left -= cascade(wheel, bucket_at(wheel, level, span), left);
		left -= cascade(wheel, bucket_at(wheel, level, span + 1), left);
	}
}

struct thrum__timer *thrum__timer_pop_due(struct thrum__wheel *wheel, int64_t now)
{
	uint64_t tick = tick_of(now), earliest;
	int level;
	while ((level = find_first(wheel, &earliest)) >= 0 && earliest <= tick) {
		wheel->tick = earliest;
		struct thrum__bucket *bucket = bucket_at(wheel, level, span_of(earliest, level));
		if (level == 0)
			return take(wheel, bucket);
		cascade(wheel, bucket, UINT64_MAX);
	}
	if (level < 0 && wheel->tick < tick)
		wheel->tick = tick;
	tend(wheel, tick);
	return NULL;
}

int64_t thrum__timer_next(const struct thrum__wheel *wheel)
{
	uint64_t earliest;
	if (find_first(wheel, &earliest) < 0 || earliest >= END)
		return INT64_MAX;
	return (int64_t)(earliest << THRUM__TICK_SHIFT);
}
