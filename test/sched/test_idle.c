/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/base.h"
#include "sched/sched_internal.h"
#include <thrum/thread.h>

/*
 * Going to sleep against submitting, step by step (dispatch.c). A test holds a worker at a step by
 * holding the lock that the step needs, sees that it has come there by the lock's word, does what
 * the submitter does, and lets it go. What a wrong order loses is then lost every time.
 */

enum { WAITED_FOR = 2 }; /* a short-term lock's word: held, and somebody sleeps on it */

#define LATE (10 * THRUM_S)

static struct thrum__runtime *own_runtime(void)
{
	return thrum__machine_self()->processor->runtime;
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
	struct thrum__lock *lock = &injected->runtime->idle_lock;
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
	struct thrum__lock *lock = &own_runtime()->idle_lock;
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

/* ---------------------------------------------------------------- from one queue to another */

struct pair {
	struct thrum__runtime *runtime;
	struct thrum__processor *mover;
	struct thrum__wait waits[2];
	struct hog hog;
	uint64_t sleeps;
	uint32_t met;
	bool in_between, ok;
};

static bool parked(struct thrum__wait *wait)
{
	struct thrum__parker *parker = __atomic_load_n(&wait->parker, __ATOMIC_ACQUIRE);
	return parker != NULL && __atomic_load_n(&parker->word, __ATOMIC_ACQUIRE) == THRUM__PARKED;
}

static void *hog_mover(void *arg)
{
	struct pair *pair = arg;
	pair->mover = thrum__machine_self()->processor;
	pair->mover->tick = 0; /* far from the turn at which it takes but one */
	return hog(&pair->hog);
}

/* Once woken, holds its worker until the other one has been woken on another worker. */
static void *meet(struct pair *pair, struct thrum__wait *wait)
{
	thrum__wait_init(wait);
	if (thrum__wait_park(wait, "test", THRUM_FOREVER) != 9)
		return NULL;
	__atomic_fetch_add(&pair->met, 1, __ATOMIC_ACQ_REL);
	return spin_until(__atomic_load_n(&pair->met, __ATOMIC_ACQUIRE) == 2) ? pair : NULL;
}

static void *meet_0(void *arg)
{
	struct pair *pair = arg;
	return meet(pair, &pair->waits[0]);
}

static void *meet_1(void *arg)
{
	struct pair *pair = arg;
	return meet(pair, &pair->waits[1]);
}

/*
 * Wakes both, so that they lie in the inject queue; stops the mover when it has taken them out and
 * has one still in its hands; and lets it go on when the other worker, having seen nothing, sleeps.
 */
static void *inject_and_stop_mover(void *arg)
{
	struct pair *pair = arg;
	struct thrum__lock *lock = &pair->mover->inbox.lock;
	thrum__lock(lock);
	for (int i = 0; i < 2; i++)
		if (thrum__wait_claim(&pair->waits[i], 9))
			thrum__wait_wake(&pair->waits[i]);
	flag_set(&pair->hog.end);
	pair->ok = spin_until(waited_for(lock));
	flag_set(&pair->in_between);
	pair->ok = spin_until(thrum__runtime_counters(pair->runtime).sleeps > pair->sleeps) &&
		   pair->ok;
	thrum__unlock(lock);
	return NULL;
}

static bool yield_until_parked(struct pair *pair)
{
	thrum_deadline late = thrum_after(LATE);
	while (!parked(&pair->waits[0]) || !parked(&pair->waits[1])) {
		if (thrum_now() >= late)
			return false;
		thrum_yield();
	}
	return true;
}

static void *move_a_pair(void *arg)
{
	struct pair *pair = arg;
	struct thrum_thread *hogging, *meeting[2];
	pthread_t submitter;
	void *result[2] = {NULL, NULL};
	if (thrum_spawn(&hogging, hog_mover, pair) != 0 ||
		!spin_until(flag_is_set(&pair->hog.begun)) ||
		thrum_spawn(&meeting[0], meet_0, pair) != 0 ||
		thrum_spawn(&meeting[1], meet_1, pair) != 0 || !yield_until_parked(pair))
		return NULL;
	pair->runtime = own_runtime();
	pair->sleeps = thrum__runtime_counters(pair->runtime).sleeps;
	if (pthread_create(&submitter, NULL, inject_and_stop_mover, pair) != 0)
		return NULL;
	bool ok = spin_until(flag_is_set(&pair->in_between));
	for (int i = 0; i < 2; i++)
		ok = thrum_join(meeting[i], &result[i], THRUM_FOREVER) == 0 && ok;
	ok = thrum_join(hogging, NULL, THRUM_FOREVER) == 0 && result[0] && result[1] && ok;
	return pthread_join(submitter, NULL) == 0 && ok && pair->ok ? arg : NULL;
}

START_TEST(threads_between_two_queues_at_the_last_look_wake_the_sleeper)
{
	struct pair pair = {.ok = false};
	ck_assert_ptr_nonnull(run(2, move_a_pair, &pair));
}
END_TEST

Suite *suite_idle(void)
{
	Suite *suite = suite_create("sched/idle");
	TCase *steps = tcase_create("steps");
	tcase_set_timeout(steps, 60);
	tcase_add_test(steps, a_thread_injected_after_the_last_look_is_seen_before_the_sleep);
	tcase_add_test(steps, a_thread_spawned_after_the_last_look_is_stolen_before_the_sleep);
	tcase_add_test(steps, threads_between_two_queues_at_the_last_look_wake_the_sleeper);
	suite_add_tcase(suite, steps);
	return suite;
}
