/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/base.h"
#include "sched/sched_internal.h"
#include <thrum/thread.h>

/*
 * Going to sleep against submitting, step by step (idle.c). A test holds a worker at a step by
 * holding the lock that the step needs, sees that it has come there by the lock's word, does what
 * the submitter does, and lets it go. What a wrong order loses is then lost every time.
 */

enum { WAITED_FOR = 2 }; /* a short-term lock's word: held, and somebody sleeps on it */

#define LATE (10 * THRUM_S)

static struct thrum__runtime *own_runtime(void)
{
	return thrum__machine_self()->runtime;
}

/* Keeps the worker busy until the condition holds. False: it has not for too long. */
#define spin_until(condition)                              \
	({                                                 \
		thrum_deadline late = thrum_after(LATE);   \
		while (!(condition) && thrum_now() < late) \
			sched_yield();                     \
		(condition);                               \
	})

static bool flag_is_set(bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void flag_set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

static bool waited_for(struct thrum__lock *lock)
{
	return __atomic_load_n(&lock->word, __ATOMIC_ACQUIRE) == WAITED_FOR;
}

static void *run(unsigned workers, thrum_fn fn, void *arg)
{
	struct thrum_config config = {.workers = workers};
	void *result = NULL;
	ck_assert_int_eq(thrum_run(&config, fn, arg, &result), 0);
	return result;
}

/* ---------------------------------------------------------------- between the last look and M2 */

struct injected {
	struct thrum__runtime *runtime;
	struct thrum__wait wait;
	bool waiting, stopped, ok;
	uint64_t sleeps;
};

/* The submitter: wakes the thread while its worker is on its way from looking to being idle. */
static void *inject_before_idle(void *arg)
{
	struct injected *injected = arg;
	struct thrum__lock *lock = &injected->runtime->idlers.lock;
	thrum__lock(lock);
	flag_set(&injected->stopped);
	injected->ok = spin_until(waited_for(lock));
	injected->sleeps = thrum__runtime_counters(injected->runtime).sleeps;
	if (thrum__wait_claim(&injected->wait, 9))
		thrum__wait_wake(&injected->wait);
	thrum__unlock(lock);
	return NULL;
}

static void *wait_injected(void *arg)
{
	struct injected *injected = arg;
	pthread_t waker;
	injected->runtime = own_runtime();
	thrum__wait_init(&injected->wait);
	if (pthread_create(&waker, NULL, inject_before_idle, injected) != 0)
		return NULL;
	bool ok = spin_until(flag_is_set(&injected->stopped));
	/* The deadline only ends a run that has failed. */
	ok = thrum__wait_park(&injected->wait, "test", thrum_after(LATE)) == 9 && ok;
	ok = thrum__runtime_counters(injected->runtime).sleeps == injected->sleeps && ok;
	return pthread_join(waker, NULL) == 0 && ok && injected->ok ? arg : NULL;
}

START_TEST(a_thread_injected_after_the_last_look_is_seen_before_the_sleep)
{
	struct injected injected = {.stopped = false};
	ck_assert_ptr_nonnull(run(1, wait_injected, &injected));
}
END_TEST

struct hog {
	bool begun, end;
};

/* Holds the worker that runs it. */
static void *hog(void *arg)
{
	struct hog *hog = arg;
	flag_set(&hog->begun);
	return spin_until(flag_is_set(&hog->end)) ? arg : NULL;
}

static void *raise_flag(void *arg)
{
	flag_set(arg);
	return arg;
}

static void *spawn_before_idle(void *arg)
{
	struct thrum__lock *lock = &own_runtime()->idlers.lock;
	struct hog other = {.begun = false};
	struct thrum_thread *hogging, *child = NULL;
	bool ran = false;
	if (thrum_spawn(&hogging, hog, &other) != 0)
		return NULL;
	bool ok = spin_until(flag_is_set(&other.begun)); /* on the other worker: we hold ours */
	thrum__lock(lock);
	flag_set(&other.end);
	ok = spin_until(waited_for(lock)) && ok;
	ok = thrum_spawn(&child, raise_flag, &ran) == 0 && ok;
	thrum__unlock(lock);
	ok = spin_until(flag_is_set(&ran)) && ok;
	ok = thrum_join(hogging, NULL, THRUM_FOREVER) == 0 && ok;
	return thrum_join(child, NULL, THRUM_FOREVER) == 0 && ok ? arg : NULL;
}

START_TEST(a_thread_spawned_after_the_last_look_is_stolen_before_the_sleep)
{
	ck_assert_ptr_nonnull(run(2, spawn_before_idle, &(int){0}));
}
END_TEST

Suite *suite_idle(void)
{
	Suite *suite = suite_create("sched/idle");
	TCase *steps = tcase_create("steps");
	tcase_set_timeout(steps, 60);
	tcase_add_test(steps, a_thread_injected_after_the_last_look_is_seen_before_the_sleep);
	tcase_add_test(steps, a_thread_spawned_after_the_last_look_is_stolen_before_the_sleep);
	suite_add_tcase(suite, steps);
	return suite;
}
