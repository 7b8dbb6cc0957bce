/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "sched/deque.h"

static uint64_t seed_of(void)
{
	const char *given = getenv("THRUM_SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)thrum_now();
	printf("rerun with THRUM_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

START_TEST(one_thread_agrees_with_a_plain_array)
{
	enum { CAP = 512 };
	uint64_t seed = seed_of();
	uintptr_t model[CAP], next = 1;
	int head = 0, tail = 0;
	struct thrum__deque deque;
	ck_assert_int_eq(thrum__deque_init(&deque, 4, false), 0);
	for (int step = 0; step < 20000; step++) {
		uint64_t op = thrum__splitmix64(&seed) % 4;
		bool lost = false;
		if (op <= 1 && tail < CAP) {
			ck_assert(thrum__deque_push(&deque, (void *)next));
			model[tail++] = next++;
		} else if (op == 2) {
			uintptr_t expected = tail > head ? model[--tail] : 0;
			ck_assert_uint_eq((uintptr_t)thrum__deque_take(&deque), expected);
		} else {
			uintptr_t expected = tail > head ? model[head++] : 0;
			ck_assert_uint_eq((uintptr_t)thrum__deque_steal(&deque, &lost), expected);
		}
		ck_assert(!lost);
		ck_assert(thrum__deque_empty(&deque) == (head == tail));
		if (head == tail)
			head = tail = 0;
	}
	thrum__deque_fini(&deque);
}
END_TEST

enum { THIEVES = 3, ITEMS = 50000 };

struct contest {
	struct thrum__deque deque;
	uint32_t *seen; /* atomic: how often each item was got */
	bool done;      /* atomic */
};

static void note(struct contest *contest, void *item)
{
	__atomic_fetch_add(&contest->seen[(uintptr_t)item - 1], 1, __ATOMIC_RELAXED);
}

static void *thief(void *arg)
{
	struct contest *contest = arg;
	for (;;) {
		bool lost = false, done = __atomic_load_n(&contest->done, __ATOMIC_ACQUIRE);
		void *item = thrum__deque_steal(&contest->deque, &lost);
		if (item != NULL)
			note(contest, item);
		else if (done && !lost)
			return NULL;
		else if (!lost)
			sched_yield();
	}
}

START_TEST(an_owner_and_thieves_get_every_item_once)
{
	uint64_t seed = seed_of();
	struct contest contest = {.seen = calloc(ITEMS, sizeof(uint32_t))};
	pthread_t threads[THIEVES];
	ck_assert_ptr_nonnull(contest.seen);
	ck_assert_int_eq(thrum__deque_init(&contest.deque, 4, false), 0);
	for (int i = 0; i < THIEVES; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, thief, &contest), 0);
	for (uintptr_t item = 1; item <= ITEMS;) {
		/*
		 * Bursts: long ones make it grow, short ones make owner and thieves meet at the
		 * last item.
		 */
		for (uint64_t n = thrum__splitmix64(&seed) % 64; n > 0 && item <= ITEMS; n--)
			ck_assert(thrum__deque_push(&contest.deque, (void *)item++));
		void *own;
		for (uint64_t n = thrum__splitmix64(&seed) % 64;
			n > 0 && (own = thrum__deque_take(&contest.deque)) != NULL; n--)
			note(&contest, own);
	}
	for (void *own; (own = thrum__deque_take(&contest.deque)) != NULL;)
		note(&contest, own);
	__atomic_store_n(&contest.done, true, __ATOMIC_RELEASE);
	for (int i = 0; i < THIEVES; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (int i = 0; i < ITEMS; i++)
		ck_assert_uint_eq(contest.seen[i], 1);
	thrum__deque_fini(&contest.deque);
	free(contest.seen);
}
END_TEST

Suite *suite_deque(void)
{
	Suite *suite = suite_create("sched/deque");
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 20);
	tcase_add_test(basic, one_thread_agrees_with_a_plain_array);
	tcase_add_loop_test(basic, an_owner_and_thieves_get_every_item_once, 0, 5);
	suite_add_tcase(suite, basic);
	return suite;
}
