/* SPDX-License-Identifier: MIT */
#ifndef TEST_SYNC_FIXTURE_H
#define TEST_SYNC_FIXTURE_H

/*
 * What the suites of sync, chan and future share: a runtime per test, OS threads beside it, and
 * waiting for a state instead of for a time. Green threads record; only the main stack asserts.
 */

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include <thrum/thread.h>

#include "base/base.h"
#include "sync/waitq.h"

/* Every test with a runtime is a loop test over these. */
static const unsigned worker_counts[] = {1, 2, 8};

#define add_for_workers(tcase, test) tcase_add_loop_test(tcase, test, 0, 3)

static inline void run_green(unsigned workers, thrum_fn fn, void *arg)
{
	struct thrum_config config = {.workers = workers};

	ck_assert_int_eq(thrum_run(&config, fn, arg, NULL), 0);
}

static inline struct thrum_thread *green(thrum_fn fn, void *arg)
{
	struct thrum_thread *thread = NULL;

	CHECK(thrum_spawn(&thread, fn, arg) == 0);
	return thread;
}

static inline void join_green(struct thrum_thread *thread)
{
	thrum_shield_begin();
	CHECK(thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	thrum_shield_end();
}

static inline pthread_t os_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, fn, arg) == 0);
	return thread;
}

static inline void join_os(pthread_t thread)
{
	CHECK(pthread_join(thread, NULL) == 0);
}

/* Lets others run until the expression holds; aborts only when a test has plainly hung. */
#define wait_until(expr)                                         \
	do {                                                     \
		thrum_deadline late = thrum_after(20 * THRUM_S); \
		while (!(expr)) {                                \
			CHECK(thrum_now() < late);               \
			thrum_yield();                           \
		}                                                \
	} while (0)

/* How many threads are queued on a sync object. */
static inline int queued(struct thrum_waitq *queue)
{
	thrum__waitq_lock(queue);
	int n = (int)thrum__waitq_count(queue);
	thrum__waitq_unlock(queue);
	return n;
}

/* The seed of a randomised test: THRUM_SEED, or a fresh one; printed for a rerun. */
static inline uint64_t test_seed(const char *test)
{
	const char *given = getenv("THRUM_SEED");
	uint64_t seed = 0;

	if (given != NULL)
		seed = strtoull(given, NULL, 0);
	else
		thrum__random_bytes(&seed, sizeof(seed));
	printf("%s: THRUM_SEED=%" PRIu64 " CK_RUN_CASE=stress\n", test, seed);
	fflush(stdout);
	return seed;
}

/* A generator of one's own for each of a test's threads. */
static inline uint64_t seed_for(uint64_t seed, unsigned thread)
{
	uint64_t state = seed + thread * UINT64_C(0x100000001b3);
	return thrum__splitmix64(&state);
}

#define atomic_get(p)    __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define atomic_set(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define atomic_add(p, n) __atomic_add_fetch((p), (n), __ATOMIC_SEQ_CST)

#endif
