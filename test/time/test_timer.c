/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "time/timer.h"

#define TICK  ((int64_t)1 << THRUM__TICK_SHIFT)
#define YEAR  (INT64_C(365) * 86400 * THRUM_S)
#define LEVEL(n) ((int64_t)1 << (n) * THRUM__WHEEL_BITS) /* ticks in a bucket of level n */

enum { TIMERS = 300 };

static struct thrum__wheel wheel;
static struct thrum__timer timers[TIMERS];

static void setup(void)
{
	memset(&wheel, 0, sizeof(wheel));
	memset(timers, 0, sizeof(timers));
}

static uint64_t seed_of_run(void)
{
	const char *given = getenv("THRUM_SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)thrum_now();
	printf("rerun with THRUM_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* ---------------------------------------------------------------- what is right */

/* The number of the tick at which a timer is due, by the header's words. */
static uint64_t due_tick(int64_t when)
{
	return when <= 0 ? 0 : (uint64_t)when / TICK + ((uint64_t)when % TICK != 0);
}

/* When that tick begins. */
static int64_t due_time(int64_t when)
{
	uint64_t tick = due_tick(when);
	return tick > INT64_MAX / TICK ? INT64_MAX : (int64_t)tick * TICK;
}

static void arm(struct thrum__timer *timer, int64_t when)
{
	timer->when = when;
	thrum__timer_add(&wheel, timer);
}

/* How many timers a bucket holds; -1 if links, ticks or its earliest are wrong. */
static int audit_bucket(const struct thrum__bucket *bucket, int level, uint64_t *span)
{
	int count = 0;
	for (int lane = 0; lane < THRUM__WHEEL_LANES; lane++) {
		struct thrum__timer *const *link = &bucket->lanes[lane];
		for (; *link != NULL; link = &(*link)->next) {
			uint64_t tick = due_tick((*link)->when);
			tick = tick < wheel.tick ? wheel.tick : tick;
			*span = tick >> level * THRUM__WHEEL_BITS;
			if ((*link)->link != link || tick < bucket->earliest ||
				bucket->earliest >> level * THRUM__WHEEL_BITS != *span)
				return -1;
			count++;
		}
	}
	return count;
}

/* How many timers the wheel holds; -1 if an invariant is broken. */
static int audit(void)
{
	int all = 0;
	for (int level = 0; level < THRUM__WHEEL_LEVELS; level++) {
		uint64_t present = level + 1 < THRUM__WHEEL_LEVELS
					   ? wheel.tick >> (level + 1) * THRUM__WHEEL_BITS
					   : 0;
		bool any = false;
		for (unsigned i = 0; i < 2 * THRUM__WHEEL_SIZE; i++) {
			unsigned page = i / THRUM__WHEEL_SIZE, place = i % THRUM__WHEEL_SIZE;
			uint64_t span = 0;
			int count = audit_bucket(&wheel.buckets[level][page][place], level, &span);
			bool used = wheel.used[level][page] >> place & 1;
			if (count < 0 || used != (count > 0))
				return -1;
			if (used && (span % (2 * THRUM__WHEEL_SIZE) != i ||
					    span / THRUM__WHEEL_SIZE - present > 1))
				return -1;
			any = any || used;
			all += count;
		}
		if (any != (wheel.levels >> level & 1))
			return -1;
	}
	return all;
}

/* ---------------------------------------------------------------- against a model */

/* Of any size: as many are small as large. */
static int64_t any_size(uint64_t *seed, int bits)
{
	int shift = 63 - (int)(thrum__splitmix64(seed) % (unsigned)bits);
	return (int64_t)(thrum__splitmix64(seed) >> shift);
}

static int64_t plus(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* The earliest of those in the wheel is due at this tick; UINT64_MAX: there is none. */
static uint64_t model_next(void)
{
	uint64_t next = UINT64_MAX;
	for (int i = 0; i < TIMERS; i++)
		if (thrum__timer_armed(&timers[i]) && due_tick(timers[i].when) < next)
			next = due_tick(timers[i].when);
	return next;
}

/*
 * Takes out all that are due and returns how many; -1: one came early or out of order, one was left,
 * or next is wrong.
 */
static int drain(int64_t now)
{
	int count = 0;
	uint64_t last = 0;
	struct thrum__timer *timer;
	for (; (timer = thrum__timer_pop_due(&wheel, now)) != NULL; count++) {
		uint64_t tick = due_tick(timer->when);
		if (timer->when > now || tick < last || thrum__timer_armed(timer))
			return -1;
		last = tick;
	}
	uint64_t first = model_next();
	int64_t next = thrum__timer_next(&wheel);
	bool right = first == UINT64_MAX ? next == INT64_MAX
					 : first > (uint64_t)now / TICK && next > now &&
						   (uint64_t)next / TICK <= first;
	return right ? count : -1;
}

static void agree(uint64_t seed, int64_t now, int bits)
{
	setup();
	int armed = 0;
	for (int step = 0; step < 6000; step++) {
		struct thrum__timer *timer = &timers[thrum__splitmix64(&seed) % TIMERS];
		uint64_t op = thrum__splitmix64(&seed) % 8;
		if (op == 0 && now < INT64_MAX / 2) {
			now += any_size(&seed, bits);
			int due = drain(now);
			ck_assert_msg(due >= 0, "step %d, at %lld", step, (long long)now);
			armed -= due;
		} else if (thrum__timer_armed(timer)) {
			thrum__timer_remove(&wheel, timer);
			armed--;
		} else {
			arm(timer, plus(now, any_size(&seed, bits)));
			armed++;
		}
		if (step % 8 == 0 && audit() != armed)
			ck_abort_msg("step %d", step); /* an assert each time would cost minutes */
	}
	ck_assert_int_eq(audit(), armed);
}

START_TEST(the_wheel_agrees_with_a_search_of_all_timers)
{
	static const int bits[] = {20, 26, 32, 40, 50, 61};
	uint64_t seed = seed_of_run();
	for (size_t i = 0; i < thrum__countof(bits); i++) {
		agree(seed + i, 0, bits[i]);
		agree(seed + i, 3 * YEAR, bits[i]);
	}
}
END_TEST

/* ---------------------------------------------------------------- one timer */

/* Alone in a wheel whose present is `now`: due at its time and not before. */
static void comes_in_time(int64_t now, int64_t when)
{
	struct thrum__timer *timer = &timers[0];
	setup();
	ck_assert_ptr_null(thrum__timer_pop_due(&wheel, now));
	arm(timer, when);
	int64_t due = due_time(when);
	ck_assert_int_eq(thrum__timer_next(&wheel), due);
	ck_assert_int_ge(due, when);
	ck_assert(due == INT64_MAX || due - when < TICK);
	if (due > now)
		ck_assert_ptr_null(thrum__timer_pop_due(&wheel, due - 1));
	ck_assert_ptr_eq(thrum__timer_pop_due(&wheel, due), timer);
	ck_assert(!thrum__timer_armed(timer));
	ck_assert_int_eq(thrum__timer_next(&wheel), INT64_MAX);
	ck_assert_int_eq(audit(), 0);
}

START_TEST(a_timer_is_never_early_and_less_than_a_tick_late)
{
	for (int64_t now = 0; now < 2 * TICK; now += TICK / 2 - 1)
		for (int64_t tick = 2; tick < 200; tick += 33)
			for (int64_t off = -2; off <= 2; off++)
				comes_in_time(now, tick * TICK + off);
}
END_TEST

/* A wheel that went through the time between step by step would not come to an end here. */
START_TEST(a_far_deadline_comes_in_time)
{
	static const int64_t nows[] = {0, TICK - 1, YEAR, 200 * YEAR};
	for (size_t i = 0; i < thrum__countof(nows); i++)
		for (int bit = THRUM__TICK_SHIFT + 1; bit < 63; bit++)
			for (int64_t off = -1; off <= 1; off++)
				comes_in_time(nows[i], plus(nows[i], ((int64_t)1 << bit) + off));
}
END_TEST

START_TEST(the_limits_of_time_are_covered)
{
	comes_in_time(0, INT64_MAX);
	comes_in_time(INT64_MAX - 1, INT64_MAX);
	comes_in_time(YEAR, INT64_MAX - 1);
	comes_in_time(YEAR, INT64_MAX - TICK);
	comes_in_time(YEAR, INT64_MAX - TICK + 1);
	comes_in_time(YEAR, INT64_MAX - TICK + 2);
	static const int64_t past[] = {INT64_MIN, INT64_MIN + 1, -TICK, -1, 0};
	setup();
	for (size_t i = 0; i < thrum__countof(past); i++) {
		arm(&timers[i], past[i]);
		ck_assert_int_eq(thrum__timer_next(&wheel), 0);
		ck_assert_ptr_eq(thrum__timer_pop_due(&wheel, i % 2 == 0 ? INT64_MIN : 0),
			&timers[i]);
	}
	ck_assert_int_eq(audit(), 0);
}
END_TEST

START_TEST(a_timer_that_is_late_already_is_due_at_once)
{
	arm(&timers[0], 2 * YEAR);
	arm(&timers[1], YEAR);
	ck_assert_ptr_eq(thrum__timer_pop_due(&wheel, YEAR + TICK), &timers[1]);
	arm(&timers[1], YEAR - THRUM_S);
	arm(&timers[2], 5);
	ck_assert_int_le(thrum__timer_next(&wheel), YEAR + TICK);
	ck_assert_int_eq(audit(), 3);
	ck_assert_ptr_nonnull(thrum__timer_pop_due(&wheel, YEAR + TICK));
	ck_assert_ptr_nonnull(thrum__timer_pop_due(&wheel, YEAR + TICK));
	ck_assert_ptr_null(thrum__timer_pop_due(&wheel, YEAR + TICK));
	ck_assert_int_eq(thrum__timer_next(&wheel), due_time(2 * YEAR));
}
END_TEST

START_TEST(removing_an_idle_timer_does_nothing)
{
	thrum__timer_remove(&wheel, &timers[0]);
	arm(&timers[1], TICK);
	thrum__timer_remove(&wheel, &timers[0]);
	ck_assert_int_eq(thrum__timer_next(&wheel), TICK);
	thrum__timer_remove(&wheel, &timers[1]);
	thrum__timer_remove(&wheel, &timers[1]);
	ck_assert_int_eq(thrum__timer_next(&wheel), INT64_MAX);
}
END_TEST

START_TEST(timers_of_one_tick_come_together)
{
	for (int i = 0; i < TIMERS; i++)
		arm(&timers[i], 7 * TICK + 1 + i * (TICK - 1) / (TIMERS - 1));
	ck_assert_int_eq(thrum__timer_next(&wheel), 8 * TICK);
	ck_assert_int_eq(drain(8 * TICK - 1), 0);
	ck_assert_int_eq(drain(8 * TICK), TIMERS);
}
END_TEST

/* ---------------------------------------------------------------- cascades */

/* Timers on both sides of the borders of a level's buckets, from a present on either side of one. */
static void cross(int level, int64_t start, int64_t step)
{
	setup();
	int count = 0;
	int64_t now = start * TICK;
	ck_assert_int_eq(drain(now), 0);
	for (int64_t border = 1; border <= 2 * THRUM__WHEEL_SIZE + 1; border += 16)
		for (int64_t off = -1; off <= 1; off++)
			arm(&timers[count++],
				(start / LEVEL(level) + border) * LEVEL(level) * TICK + off * TICK);
	for (int64_t end = now + 140 * LEVEL(level) * TICK; now < end; now += step) {
		int due = drain(now);
		ck_assert_msg(due >= 0, "level %d, from %lld", level, (long long)start);
		count -= due;
		ck_assert_int_eq(audit(), count);
	}
	ck_assert_int_eq(count, 0);
}

START_TEST(timers_at_the_borders_of_buckets_come_in_order)
{
	for (int level = 0; level < 5; level++)
		for (int64_t off = -1; off <= 1; off++)
			for (int64_t fraction = 1; fraction < 256; fraction *= 7) {
				int64_t start = 64 * LEVEL(level + 1) + off;
				cross(level, start, LEVEL(level) * TICK / fraction + 1);
			}
}
END_TEST

/* The pages of every level come round again and again. */
START_TEST(a_timer_armed_again_and_again_is_in_time)
{
	static const int64_t pauses[] = {1, 63, 64, 65, 127, 128, 129, 4095, 4097, 8193, 300000};
	for (int64_t round = 0, now = 0; round < 20000; round++) {
		int64_t when = now + pauses[round % (int64_t)thrum__countof(pauses)] * TICK;
		arm(&timers[0], when);
		arm(&timers[1], when + round % 5000 * TICK);
		int64_t next = thrum__timer_next(&wheel);
		ck_assert_int_eq(next, due_time(when));
		ck_assert_ptr_null(thrum__timer_pop_due(&wheel, next - 1));
		now = next;
		ck_assert_int_ge(drain(now), 1);
		ck_assert(!thrum__timer_armed(&timers[0]));
		thrum__timer_remove(&wheel, &timers[1]);
	}
}
END_TEST

/* Takes out all that are due, and has one more due at each tick: that keeps the wheel turning. */
static int turn_to(int64_t tick)
{
	int due = 0;
	const struct thrum__timer *timer;
	for (; (timer = thrum__timer_pop_due(&wheel, tick * TICK)) != NULL; due += timer != timers)
		if (timer->when != tick * TICK)
			return -1;
	arm(&timers[0], (tick + 1) * TICK);
	return due;
}

static struct thrum__bucket *bucket_of(int64_t tick, int level)
{
	uint64_t span = (uint64_t)(tick / LEVEL(level));
	return &wheel.buckets[level][span / THRUM__WHEEL_SIZE % 2][span % THRUM__WHEEL_SIZE];
}

static int held(int64_t tick, int level)
{
	uint64_t span;
	return audit_bucket(bucket_of(tick, level), level, &span);
}

START_TEST(timers_are_removed_while_their_bucket_cascades)
{
	uint64_t seed = seed_of_run();
	int armed = TIMERS - 1, partly = 0;
	turn_to(LEVEL(2) - 2);
	for (int i = 1; i < TIMERS; i++) /* past the next bucket of level 2: not yet to be moved */
		arm(&timers[i], (2 * LEVEL(2) + (int64_t)(thrum__splitmix64(&seed) % 4000)) * TICK);
	ck_assert_int_eq(held(2 * LEVEL(2), 2), armed);
	for (int64_t tick = LEVEL(2) - 1; tick < 3 * LEVEL(2); tick++) {
		int due = turn_to(tick), left = held(2 * LEVEL(2), 2);
		ck_assert_int_ge(due, 0);
		armed -= due;
		partly += left > 0 && left < armed;
		int i = 1 + (int)(thrum__splitmix64(&seed) % (TIMERS - 1));
		if (tick % 16 == 0 || (left > 0 && left < armed)) {
			armed -= thrum__timer_armed(&timers[i]);
			thrum__timer_remove(&wheel, &timers[i]);
			ck_assert_int_eq(audit(), armed + 1);
		}
	}
	ck_assert_int_gt(partly, 3);
	ck_assert_int_eq(armed, 0);
}
END_TEST

enum { MANY = 20000 };
static struct thrum__timer many[MANY];

static void arm_many(int64_t first, int64_t ticks)
{
	for (int i = 0; i < MANY; i++) {
		many[i].when = (first + i % ticks) * TICK;
		thrum__timer_add(&wheel, &many[i]);
	}
}

START_TEST(no_bucket_is_left_to_be_emptied_at_one_moment)
{
	int armed = MANY;
	turn_to(0);
	arm_many(2 * LEVEL(2), LEVEL(2));
	ck_assert_int_eq(held(2 * LEVEL(2), 2), MANY);
	for (int64_t tick = 1; tick < 3 * LEVEL(2); tick++) {
		int due = turn_to(tick);
		ck_assert_int_ge(due, 0);
		armed -= due;
		ck_assert_int_eq(held(tick, 1), 0);
		ck_assert_int_eq(held(tick, 2), 0);
	}
	ck_assert_int_eq(armed, 0);
	ck_assert_int_eq(audit(), 1);
}
END_TEST

START_TEST(after_a_long_pause_all_come_in_order)
{
	arm_many(100, 10 * LEVEL(3));
	ck_assert_int_eq(drain(YEAR), MANY);
	ck_assert_int_eq(audit(), 0);
}
END_TEST

Suite *suite_timer(void)
{
	Suite *suite = suite_create("time/timer");
	TCase *basic = tcase_create("basic");
	tcase_add_checked_fixture(basic, setup, NULL);
	tcase_add_test(basic, the_wheel_agrees_with_a_search_of_all_timers);
	tcase_add_test(basic, a_timer_is_never_early_and_less_than_a_tick_late);
	tcase_add_test(basic, a_far_deadline_comes_in_time);
	tcase_add_test(basic, the_limits_of_time_are_covered);
	tcase_add_test(basic, a_timer_that_is_late_already_is_due_at_once);
	tcase_add_test(basic, removing_an_idle_timer_does_nothing);
	tcase_add_test(basic, timers_of_one_tick_come_together);
	suite_add_tcase(suite, basic);
	TCase *cascade = tcase_create("cascade");
	tcase_add_checked_fixture(cascade, setup, NULL);
	tcase_add_test(cascade, timers_at_the_borders_of_buckets_come_in_order);
	tcase_add_test(cascade, a_timer_armed_again_and_again_is_in_time);
	tcase_add_test(cascade, timers_are_removed_while_their_bucket_cascades);
	tcase_add_test(cascade, no_bucket_is_left_to_be_emptied_at_one_moment);
	tcase_add_test(cascade, after_a_long_pause_all_come_in_order);
	suite_add_tcase(suite, cascade);
	return suite;
}
