/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "time/timer.h"

enum { TIMERS = 200 };

/* How many nodes there are below and at a node; -1 if order or links are broken. */
static int audit(const struct thrum__timer *node)
{
	int count = node->armed ? 1 : -1;
	for (const struct thrum__timer *prev = node, *child = node->child;
		child != NULL && count > 0; prev = child, child = child->next) {
		int below = audit(child);
		count = child->prev == prev && child->when >= node->when && below > 0
				? count + below
				: -1;
	}
	return count;
}

static int64_t model_next(const struct thrum__timer *timers)
{
	int64_t next = INT64_MAX;
	for (int i = 0; i < TIMERS; i++)
		if (timers[i].armed && timers[i].when < next)
			next = timers[i].when;
	return next;
}

START_TEST(the_heap_agrees_with_a_search_of_all_timers)
{
	const char *given = getenv("THRUM_SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)thrum_now();
	printf("rerun with THRUM_SEED=%llu\n", (unsigned long long)seed);
	static struct thrum__timer timers[TIMERS];
	struct thrum__timer_heap heap = {0};
	int armed = 0;
	for (int step = 0; step < 20000; step++) {
		struct thrum__timer *timer = &timers[thrum__splitmix64(&seed) % TIMERS];
		uint64_t op = thrum__splitmix64(&seed) % 8;
		if (op == 0) {
			int64_t now = (int64_t)(thrum__splitmix64(&seed) % 1000);
			int64_t next = model_next(timers);
			struct thrum__timer *due = thrum__timer_pop_due(&heap, now);
			bool right = next <= now ? due != NULL && due->when == next : due == NULL;
			ck_assert_msg(right, "step %d", step);
			armed -= due != NULL;
		} else if (timer->armed) {
			thrum__timer_remove(&heap, timer);
			armed--;
		} else {
			timer->when = (int64_t)(thrum__splitmix64(&seed) % 1000);
			thrum__timer_add(&heap, timer);
			armed++;
		}
		if (thrum__timer_next(&heap) != model_next(timers) ||
			(heap.root == NULL ? 0 : audit(heap.root)) != armed)
			ck_abort_msg("step %d", step); /* an assert each time would cost minutes */
	}
}
END_TEST

START_TEST(timers_come_out_in_order)
{
	static struct thrum__timer timers[TIMERS];
	struct thrum__timer_heap heap = {0};
	uint64_t seed = 1;
	for (int i = 0; i < TIMERS; i++) {
		timers[i].when = (int64_t)(thrum__splitmix64(&seed) >> 1);
		thrum__timer_add(&heap, &timers[i]);
	}
	int64_t last = 0;
	for (int i = 0; i < TIMERS; i++) {
		struct thrum__timer *timer = thrum__timer_pop_due(&heap, INT64_MAX);
		ck_assert_ptr_nonnull(timer);
		ck_assert_int_ge(timer->when, last);
		last = timer->when;
	}
	ck_assert_ptr_null(thrum__timer_pop_due(&heap, INT64_MAX));
	ck_assert_int_eq(thrum__timer_next(&heap), INT64_MAX);
}
END_TEST

START_TEST(removing_an_idle_timer_does_nothing)
{
	struct thrum__timer_heap heap = {0};
	struct thrum__timer timer = {.when = 5}, other = {.when = 1};
	thrum__timer_remove(&heap, &timer);
	thrum__timer_add(&heap, &other);
	thrum__timer_remove(&heap, &timer);
	ck_assert_int_eq(thrum__timer_next(&heap), 1);
}
END_TEST

Suite *suite_timer(void)
{
	Suite *suite = suite_create("time/timer");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, the_heap_agrees_with_a_search_of_all_timers);
	tcase_add_test(basic, timers_come_out_in_order);
	tcase_add_test(basic, removing_an_idle_timer_does_nothing);
	suite_add_tcase(suite, basic);
	return suite;
}
