/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "sched/sched_internal.h"
#include <thrum/thread.h>

/* Who gets to run when, and when nobody does. */
static const unsigned workers[] = {1, 2, 8};

static void *run(unsigned index, thrum_fn fn, void *arg)
{
	struct thrum_config config = {.workers = workers[index]};
	void *result = NULL;
	ck_assert_int_eq(thrum_run(&config, fn, arg, &result), 0);
	return result;
}

static void *yield_until(void *arg)
{
	while (!__atomic_load_n((bool *)arg, __ATOMIC_RELAXED))
		thrum_yield();
	return arg;
}

static bool hogs(struct thrum_thread **threads, int count, bool *stop)
{
	for (int i = 0; i < count; i++)
		if (thrum_spawn(&threads[i], yield_until, stop) != 0)
			return false;
	return true;
}

static bool join_all(struct thrum_thread **threads, int count)
{
	bool ok = true;
	for (int i = 0; i < count; i++)
		ok = thrum_join(threads[i], NULL, THRUM_FOREVER) == 0 && ok;
	return ok;
}

/* ---------------------------------------------------------------- fairness */

enum { HOGS = 20 };

static void *sleep_in_a_storm(void *arg)
{
	bool stop = false;
	struct thrum_thread *threads[HOGS];
	bool ok = hogs(threads, HOGS, &stop);
	for (int i = 0; i < 5; i++)
		ok = thrum_sleep(THRUM_MS) == 0 && ok;
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	return join_all(threads, HOGS) && ok ? arg : NULL;
}

START_TEST(sleepers_wake_while_a_yield_storm_runs)
{
	ck_assert_ptr_nonnull(run(_i, sleep_in_a_storm, &(int){0}));
}
END_TEST

static void *chain(void *arg)
{
	if (__atomic_load_n((bool *)arg, __ATOMIC_RELAXED))
		return NULL;
	return thrum_spawn(NULL, chain, arg) == 0 ? arg : NULL;
}

static void *stop_the_chain(void *arg)
{
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELAXED);
	return arg;
}

static void *spawn_chain(void *arg)
{
	/* The first one is the oldest of the deque and has a chain of ever newer ones above it. */
	struct thrum_thread *thread;
	if (thrum_spawn(&thread, stop_the_chain, arg) != 0 || thrum_spawn(NULL, chain, arg) != 0)
		return NULL;
	return thrum_join(thread, NULL, THRUM_FOREVER) == 0 ? arg : NULL;
}

START_TEST(an_endless_chain_of_spawns_does_not_bury_older_ones)
{
	bool stop = false; /* here, for the chain's last link outlives the first thread */
	ck_assert_ptr_nonnull(run(_i, spawn_chain, &stop));
}
END_TEST

struct outside {
	struct thrum__wait wait;
	bool waiting; /* atomic */
};

static void *wake_from_outside(void *arg)
{
	struct outside *outside = arg;
	while (!__atomic_load_n(&outside->waiting, __ATOMIC_ACQUIRE))
		usleep(100);
	if (thrum__wait_claim(&outside->wait, 9))
		thrum__wait_wake(&outside->wait);
	return NULL;
}

static void *wait_in_a_storm(void *arg)
{
	bool stop = false;
	struct thrum_thread *threads[HOGS];
	struct outside outside = {.waiting = false};
	pthread_t waker;
	bool ok = hogs(threads, HOGS, &stop);
	if (pthread_create(&waker, NULL, wake_from_outside, &outside) != 0)
		return NULL;
	thrum__wait_init(&outside.wait);
	__atomic_store_n(&outside.waiting, true, __ATOMIC_RELEASE);
	ok = thrum__wait_park(&outside.wait, "test", THRUM_FOREVER) == 9 && ok;
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	ok = join_all(threads, HOGS) && ok;
	return pthread_join(waker, NULL) == 0 && ok ? arg : NULL;
}

START_TEST(a_wake_from_an_os_thread_gets_through_a_yield_storm)
{
	ck_assert_ptr_nonnull(run(_i, wait_in_a_storm, &(int){0}));
}
END_TEST

static void *wait_idle(void *arg)
{
	struct outside outside = {.waiting = false};
	pthread_t waker;
	if (pthread_create(&waker, NULL, wake_from_outside, &outside) != 0)
		return NULL;
	thrum__wait_init(&outside.wait);
	__atomic_store_n(&outside.waiting, true, __ATOMIC_RELEASE);
	int result = thrum__wait_park(&outside.wait, "test", THRUM_FOREVER);
	return pthread_join(waker, NULL) == 0 && result == 9 ? arg : NULL;
}

START_TEST(a_wake_from_an_os_thread_ends_an_idle_sleep)
{
	for (int i = 0; i < 20; i++)
		ck_assert_ptr_nonnull(run(_i, wait_idle, &(int){0}));
}
END_TEST

#if defined(THRUM__TSAN) || defined(THRUM__ASAN)
enum { WAKES = 5000 };
#else
enum { WAKES = 30000 };
#endif

struct tight {
	struct outside *now; /* atomic: who waits, or NULL */
	bool done;           /* atomic */
};

/* Wakes whoever waits after a delay of a fraction of what going to sleep takes. */
static void *tight_waker(void *arg)
{
	struct tight *tight = arg;
	uint64_t seed = 1;
	while (!__atomic_load_n(&tight->done, __ATOMIC_ACQUIRE)) {
		struct outside *outside = __atomic_exchange_n(&tight->now, NULL, __ATOMIC_ACQUIRE);
		if (outside == NULL)
			continue;
		for (uint64_t n = thrum__splitmix64(&seed) % 1024; n > 0; n--)
			__asm__ volatile("" ::: "memory");
		if (thrum__wait_claim(&outside->wait, 9))
			thrum__wait_wake(&outside->wait);
	}
	return NULL;
}

static void *tight_waiter(void *arg)
{
	struct tight tight = {.now = NULL};
	pthread_t waker;
	bool ok = pthread_create(&waker, NULL, tight_waker, &tight) == 0;
	for (int i = 0; ok && i < WAKES; i++) {
		struct outside outside = {.waiting = true};
		thrum__wait_init(&outside.wait);
		__atomic_store_n(&tight.now, &outside, __ATOMIC_RELEASE);
		ok = thrum__wait_park(&outside.wait, "test", THRUM_FOREVER) == 9;
	}
	__atomic_store_n(&tight.done, true, __ATOMIC_RELEASE);
	return pthread_join(waker, NULL) == 0 && ok ? arg : NULL;
}

START_TEST(a_wake_that_meets_a_worker_going_to_sleep_is_not_lost)
{
	ck_assert_ptr_nonnull(run(_i, tight_waiter, &(int){0}));
}
END_TEST

/* ---------------------------------------------------------------- idleness */

struct idle {
	struct thrum__counters before, after;
};

static void *sleep_idle(void *arg)
{
	struct idle *idle = arg;
	struct thrum__runtime *runtime = thrum__machine_self()->processor->runtime;
	/* Let the start settle; nothing depends on it but the counts. */
	(void)!thrum_sleep(50 * THRUM_MS);
	idle->before = thrum__runtime_counters(runtime);
	(void)!thrum_sleep(500 * THRUM_MS);
	idle->after = thrum__runtime_counters(runtime);
	return NULL;
}

START_TEST(an_idle_runtime_does_nothing)
{
	struct idle idle;
	run(_i, sleep_idle, &idle);
	/*
	 * One sleep, one wake. An early return of the kernel, or a search by a called worker, may
	 * add a few.
	 */
	ck_assert_uint_eq(idle.after.dispatches - idle.before.dispatches, 1);
	ck_assert_uint_le(idle.after.sleeps - idle.before.sleeps, 4 + workers[_i]);
	ck_assert_uint_le(idle.after.polls - idle.before.polls, 4 + workers[_i]);
	ck_assert_uint_le(idle.after.steals - idle.before.steals, 1); /* of the one that woke */
}
END_TEST

static void *yield_alone(void *arg)
{
	struct idle *idle = arg;
	struct thrum__runtime *runtime = thrum__machine_self()->processor->runtime;
	(void)!thrum_sleep(50 * THRUM_MS);
	idle->before = thrum__runtime_counters(runtime);
	for (int i = 0; i < 100000; i++)
		thrum_yield();
	idle->after = thrum__runtime_counters(runtime);
	return NULL;
}

START_TEST(a_lone_yielder_wakes_nobody)
{
	struct idle idle;
	run(_i, yield_alone, &idle);
	ck_assert_uint_le(idle.after.sleeps - idle.before.sleeps, 4 + workers[_i]);
	ck_assert_uint_le(idle.after.steals - idle.before.steals, 1);
	/* Timers and descriptors still get their turns. */
	ck_assert_uint_ge(idle.after.polls - idle.before.polls, 1);
}
END_TEST

/* ---------------------------------------------------------------- time */

struct sleeper {
	int64_t due, woke;
};

static void *sleeper(void *arg)
{
	struct sleeper *self = arg;
	int err = thrum_sleep_until(self->due);
	self->woke = thrum_now();
	return err == 0 ? arg : NULL;
}

enum { SLEEPERS = 500 };

static void *many_sleepers_main(void *arg)
{
	static struct sleeper sleepers[SLEEPERS];
	struct thrum_thread *threads[SLEEPERS];
	uint64_t seed = 7;
	bool ok = true;
	for (int i = 0; i < SLEEPERS; i++) {
		int64_t ns = 1 + (int64_t)(thrum__splitmix64(&seed) % (20 * THRUM_MS));
		sleepers[i].due = thrum_after(ns);
		ok = thrum_spawn(&threads[i], sleeper, &sleepers[i]) == 0 && ok;
	}
	for (int i = 0; i < SLEEPERS; i++) {
		void *result = NULL;
		ok = thrum_join(threads[i], &result, THRUM_FOREVER) == 0 && result != NULL && ok;
		ok = sleepers[i].woke >= sleepers[i].due && ok;
	}
	return ok ? arg : NULL;
}

START_TEST(no_sleeper_wakes_before_its_time)
{
	ck_assert_ptr_nonnull(run(_i, many_sleepers_main, &(int){0}));
}
END_TEST

/*
 * The same wait is claimed by a waker and by its deadline at about the same time; exactly one
 * wins.
 */
static void *race_waker(void *arg)
{
	struct outside *outside = arg;
	while (!__atomic_load_n(&outside->waiting, __ATOMIC_ACQUIRE))
		thrum_yield();
	int won = thrum__wait_claim(&outside->wait, 9);
	if (won)
		thrum__wait_wake(&outside->wait);
	return won ? arg : NULL;
}

static void *race(void *arg)
{
	int timed_out = 0;
	bool ok = true;
	for (int i = 0; i < 300; i++) {
		struct outside *outside = calloc(1, sizeof(*outside));
		struct thrum_thread *waker;
		void *won = NULL;
		if (outside == NULL || thrum_spawn(&waker, race_waker, outside) != 0)
			return NULL;
		thrum__wait_init(&outside->wait);
		__atomic_store_n(&outside->waiting, true, __ATOMIC_RELEASE);
		int64_t deadline = thrum_after(i % 20 * THRUM_US);
		int result = thrum__wait_park(&outside->wait, "race", deadline);
		ok = thrum_join(waker, &won, THRUM_FOREVER) == 0 && ok;
		ok = (won != NULL ? result == 9 : result == -ETIMEDOUT) && ok;
		timed_out += result < 0;
		free(outside);
	}
	return ok && timed_out > 0 ? arg : NULL;
}

START_TEST(a_deadline_and_a_waker_never_both_win)
{
	ck_assert_ptr_nonnull(run(_i, race, &(int){0}));
}
END_TEST

/* ---------------------------------------------------------------- blocking calls */

static void *block_a_little(void *arg)
{
	bool *on_os_thread = arg;
	*on_os_thread = thrum_self() == NULL;
	usleep(2000);
	return arg;
}

static void *call_blocking(void *arg)
{
	(void)arg;
	bool *flag = malloc(sizeof(*flag));
	void *result = NULL;
	bool ok = flag != NULL && thrum_blocking(block_a_little, flag, &result) == 0 &&
		  result == flag && *flag;
	free(flag);
	return ok ? (void *)1 : NULL;
}

static void *many_blocking(void *arg)
{
	enum { CALLS = 100 }; /* more than the pool has threads */
	struct thrum_thread *threads[CALLS];
	bool ok = true;
	for (int i = 0; i < CALLS; i++)
		ok = thrum_spawn(&threads[i], call_blocking, NULL) == 0 && ok;
	for (int i = 0; i < CALLS; i++) {
		void *result = NULL;
		if (i % 3 == 0)
			thrum_cancel(threads[i]); /* must not matter */
		ok = thrum_join(threads[i], &result, THRUM_FOREVER) == 0 && result != NULL && ok;
	}
	return ok ? arg : NULL;
}

START_TEST(blocking_calls_run_beside_the_workers)
{
	ck_assert_ptr_nonnull(run(_i, many_blocking, &(int){0}));
}
END_TEST

static void *release(void *arg)
{
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
	return NULL;
}

static void *block_until(void *arg)
{
	while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE))
		usleep(100);
	return arg;
}

static void *worker_goes_on(void *arg)
{
	/* Ends only if the one worker runs `release` while we block. */
	bool released = false;
	void *result = NULL;
	if (thrum_spawn(NULL, release, &released) != 0)
		return NULL;
	int err = thrum_blocking(block_until, &released, &result);
	return err == 0 && result == &released ? arg : NULL;
}

START_TEST(a_blocking_call_leaves_the_worker_free)
{
	ck_assert_ptr_nonnull(run(_i, worker_goes_on, &(int){0}));
}
END_TEST

/* ---------------------------------------------------------------- migration */

struct migrant {
	int moves;
	bool ok;
};

/*
 * errno is read here, in a function that does not suspend: in migrant() the compiler would be
 * right to compute its address once, before the loop, and would then read another OS thread's.
 */
static int __attribute__((noinline)) failing_call(void)
{
	return close(-1) == -1 ? -errno : 0;
}

static void *migrant(void *arg)
{
	struct migrant *migrant = arg;
	struct thrum_thread *self = thrum_self();
	pid_t last = 0;
	for (int i = 0; i < 200; i++) {
		int err = failing_call();
		if (i % 2 == 0)
			thrum_yield();
		else if (thrum_sleep(THRUM_US) != 0)
			migrant->ok = false;
		struct thrum__machine *machine = thrum__machine_self();
		pid_t now = gettid();
		migrant->moves += last != 0 && now != last;
		last = now;
		if (err != -EBADF || thrum_self() != self || machine == NULL ||
			machine->current != self || machine->os_id != now)
			migrant->ok = false;
	}
	return NULL;
}

static void *migrate(void *arg)
{
	struct thrum_thread *threads[8];
	struct migrant migrants[8];
	bool ok = true;
	int moves = 0;
	for (int i = 0; i < 8; i++) {
		migrants[i] = (struct migrant){.ok = true};
		ok = thrum_spawn(&threads[i], migrant, &migrants[i]) == 0 && ok;
	}
	ok = join_all(threads, 8) && ok;
	for (int i = 0; i < 8; i++) {
		moves += migrants[i].moves;
		ok = migrants[i].ok && ok;
	}
	return ok && (moves > 0) == (thrum_workers() > 1) ? arg : NULL;
}

START_TEST(threads_find_themselves_after_forced_migration)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	ck_assert_ptr_nonnull(run(_i, migrate, &(int){0}));
}
END_TEST

START_TEST(every_other_case_holds_under_forced_migration)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	ck_assert_ptr_nonnull(run(_i, sleep_in_a_storm, &(int){0}));
	ck_assert_ptr_nonnull(run(_i, wait_in_a_storm, &(int){0}));
	ck_assert_ptr_nonnull(run(_i, many_sleepers_main, &(int){0}));
	ck_assert_ptr_nonnull(run(_i, race, &(int){0}));
	ck_assert_ptr_nonnull(run(_i, many_blocking, &(int){0}));
}
END_TEST

/* ---------------------------------------------------------------- worker count */

START_TEST(the_default_worker_count_is_within_what_the_machine_has)
{
	ck_assert_uint_ge(thrum__cpu_count(), 1);
	ck_assert_int_le(thrum__cpu_count(), sysconf(_SC_NPROCESSORS_CONF));
}
END_TEST

Suite *suite_dispatch(void)
{
	Suite *suite = suite_create("sched/dispatch");
	int n = thrum__countof(workers);
	TCase *fair = tcase_create("fair");
	tcase_set_timeout(fair, 20);
	tcase_add_loop_test(fair, sleepers_wake_while_a_yield_storm_runs, 0, n);
	tcase_add_loop_test(fair, an_endless_chain_of_spawns_does_not_bury_older_ones, 0, n);
	tcase_add_loop_test(fair, a_wake_from_an_os_thread_gets_through_a_yield_storm, 0, n);
	tcase_add_loop_test(fair, a_wake_from_an_os_thread_ends_an_idle_sleep, 0, n);
	tcase_add_loop_test(fair, a_wake_that_meets_a_worker_going_to_sleep_is_not_lost, 0, n);
	tcase_add_loop_test(fair, an_idle_runtime_does_nothing, 0, n);
	tcase_add_loop_test(fair, a_lone_yielder_wakes_nobody, 0, n);
	tcase_add_test(fair, the_default_worker_count_is_within_what_the_machine_has);
	suite_add_tcase(suite, fair);
	TCase *time = tcase_create("time");
	tcase_set_timeout(time, 20);
	tcase_add_loop_test(time, no_sleeper_wakes_before_its_time, 0, n);
	tcase_add_loop_test(time, a_deadline_and_a_waker_never_both_win, 0, n);
	suite_add_tcase(suite, time);
	TCase *blocking = tcase_create("blocking");
	tcase_set_timeout(blocking, 20);
	tcase_add_loop_test(blocking, blocking_calls_run_beside_the_workers, 0, n);
	tcase_add_loop_test(blocking, a_blocking_call_leaves_the_worker_free, 0, n);
	tcase_add_loop_test(blocking, threads_find_themselves_after_forced_migration, 0, n);
	tcase_add_loop_test(blocking, every_other_case_holds_under_forced_migration, 0, n);
	suite_add_tcase(suite, blocking);
	return suite;
}
