/* SPDX-License-Identifier: MIT */
#ifndef TEST_BEHAVE_H
#define TEST_BEHAVE_H

/*
 * What the tests of the scheduler's promises share. They see the public interface; a test that
 * looks inside says why. Green threads say must(condition), which goes on either way; the main
 * stack asserts that nothing was broken once thrum_run has returned.
 *
 * No test here judges by the clock: threads wait for a state that comes if the promise holds, and
 * Check's time limit ends a test in which it never comes.
 */

#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctx/sanitizer.h"
#include <thrum.h>

/* Loop tests run over these: unsigned workers = worker_counts[_i]. */
#if defined(THRUM__TSAN) /* under which eight take minutes */
static const unsigned worker_counts[] = {1, 3};
#else
static const unsigned worker_counts[] = {1, 2, 8};
#endif
enum { WORKER_COUNTS = sizeof(worker_counts) / sizeof(worker_counts[0]) };

#ifdef __cplusplus
extern "C" {
#endif

extern const char *broken; /* atomic: the first promise that was */

/* How many OS threads, and descriptors, this process has. */
int os_threads(void);
int open_fds(void);

/* The seed of a randomised test, printed so that THRUM_SEED can bring it back. */
uint64_t test_seed(const char *test);

/* Each time another number. */
uint64_t next_random(uint64_t *state);

/* bystanders.c: what others want to get done, whatever goes on; arg is given back. */
enum { BYSTANDERS = 7 };
extern const thrum_fn bystanders[BYSTANDERS];

#ifdef __cplusplus
}
#endif

static inline bool must_failed(const char *promise)
{
	const char *none = NULL;
	__atomic_compare_exchange_n(
		&broken, &none, promise, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return false;
}

#define must(condition) ((condition) ? true : must_failed(THRUM_SITE_ ": " #condition))

static inline void flag_set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

static inline bool flag_get(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static inline int count_up(int *count)
{
	return __atomic_add_fetch(count, 1, __ATOMIC_ACQ_REL);
}

static inline int count_get(const int *count)
{
	return __atomic_load_n(count, __ATOMIC_ACQUIRE);
}

static inline void yield_until(const bool *flag)
{
	while (!flag_get(flag))
		thrum_yield();
}

/* For an OS thread. */
static inline void doze_until(const bool *flag)
{
	while (!flag_get(flag))
		usleep(200);
}

static inline void *run_config(const struct thrum_config *config, thrum_fn fn, void *arg)
{
	void *result = NULL;
	broken = NULL;
	ck_assert_int_eq(thrum_run(config, fn, arg, &result), 0);
	ck_assert_msg(broken == NULL, "%s", broken);
	return result;
}

static inline void *run_on(unsigned workers, thrum_fn fn, void *arg)
{
	struct thrum_config config = {};
	config.workers = workers;
	return run_config(&config, fn, arg);
}

/* A thread to be joined by finish; NULL, and a broken promise, if there is none to be had. */
static inline struct thrum_thread *start_at(thrum_fn fn, void *arg, const char *site)
{
	struct thrum_thread *thread = NULL;
	must(thrum_spawn_at(&thread, fn, arg, NULL, site) == 0);
	return thread;
}

#define start(fn, arg) start_at((fn), (arg), THRUM_SITE_)

static inline void start_alone(thrum_fn fn, void *arg)
{
	must(thrum_spawn(NULL, fn, arg) == 0);
}

static inline void *finish(struct thrum_thread *thread)
{
	void *result = NULL;
	if (thread != NULL)
		must(thrum_join(thread, &result, THRUM_FOREVER) == 0);
	return result;
}

static inline void *raise_flag(void *arg)
{
	flag_set((bool *)arg);
	return arg;
}

#endif
