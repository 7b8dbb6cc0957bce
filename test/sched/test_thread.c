/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/base.h"
#include "ctx/sanitizer.h"
#include "sched/sched.h"
#include <thrum/thread.h>

/* Every test runs with 1, 2 and 8 workers. Threads record, the main stack asserts. */
static const unsigned workers[] = {1, 2, 8};

#if defined(THRUM__TSAN)
enum { MANY = 1000, ROUNDS = 50 }; /* TSan knows at most 8,191 threads at once */
#else
enum { MANY = 10000, ROUNDS = 200 };
#endif

static void *run(unsigned index, thrum_fn fn, void *arg)
{
	struct thrum_config config = {.workers = workers[index]};
	void *result = NULL;
	ck_assert_int_eq(thrum_run(&config, fn, arg, &result), 0);
	return result;
}

static void must(bool *ok, bool condition)
{
	if (!condition)
		__atomic_store_n(ok, false, __ATOMIC_RELAXED);
}

static void *give_back(void *arg)
{
	return arg;
}

static void *yield_some(void *arg)
{
	for (int i = 0; i < 10; i++)
		thrum_yield();
	__atomic_fetch_add((int *)arg, 1, __ATOMIC_RELAXED);
	return arg;
}

/* ---------------------------------------------------------------- run, spawn, join */

START_TEST(run_returns_what_the_first_thread_returned)
{
	int value;
	ck_assert_ptr_eq(run(_i, give_back, &value), &value);
	ck_assert_ptr_null(thrum_self());
	ck_assert_uint_eq(thrum_workers(), 0);
}
END_TEST

static void *nested_run(void *arg)
{
	*(int *)arg = thrum_run(NULL, give_back, NULL, NULL);
	return NULL;
}

START_TEST(run_inside_a_green_thread_is_refused)
{
	int err = 0;
	run(_i, nested_run, &err);
	ck_assert_int_eq(err, -EDEADLK);
}
END_TEST

START_TEST(a_bad_config_is_refused)
{
	ck_assert_int_eq(
		thrum_run(&(struct thrum_config){.workers = 5000}, give_back, NULL, NULL), -EINVAL);
	ck_assert_int_eq(thrum_run(&(struct thrum_config){.reserved_ = {1}}, give_back, NULL, NULL),
		-EINVAL);
	ck_assert_int_eq(
		thrum_run(&(struct thrum_config){.stack_size = SIZE_MAX}, give_back, NULL, NULL),
		-EINVAL);
}
END_TEST

START_TEST(spawn_on_an_os_thread_is_refused)
{
	struct thrum_thread *thread;
	ck_assert_int_eq(thrum_spawn(&thread, give_back, NULL), THRUM_ENORUNTIME);
}
END_TEST

static void *spawn_badly(void *arg)
{
	bool *ok = arg;
	struct thrum_attr huge = {.stack_size = SIZE_MAX}, unknown = {.reserved_ = {0, 0, 1}};
	must(ok, thrum_spawn_with(NULL, give_back, NULL, &huge) == -ENOMEM);
	must(ok, thrum_spawn_with(NULL, give_back, NULL, &unknown) == -EINVAL);
	return NULL;
}

START_TEST(spawn_with_bad_attributes_is_refused)
{
	bool ok = true;
	run(_i, spawn_badly, &ok);
	ck_assert(ok);
}
END_TEST

static void *spawn_many(void *arg)
{
	static struct thrum_thread *threads[MANY];
	static char values[MANY];
	bool *ok = arg;
	for (int i = 0; i < MANY; i++)
		must(ok, thrum_spawn(&threads[i], give_back, &values[i]) == 0);
	for (int i = 0; i < MANY; i++) {
		void *result = NULL;
		must(ok, thrum_join(threads[i], &result, THRUM_FOREVER) == 0);
		must(ok, result == &values[i]);
	}
	return NULL;
}

START_TEST(join_gives_each_of_many_results)
{
	bool ok = true;
	run(_i, spawn_many, &ok);
	ck_assert(ok);
}
END_TEST

static void *parked_many(void *arg)
{
	static struct thrum_thread *threads[MANY];
	static int ended;
	bool *ok = arg;
	ended = 0;
	for (int i = 0; i < MANY; i++)
		must(ok, thrum_spawn(&threads[i], yield_some, &ended) == 0);
	for (int i = 0; i < MANY; i++)
		must(ok, thrum_join(threads[i], NULL, THRUM_FOREVER) == 0);
	must(ok, ended == MANY);
	return NULL;
}

START_TEST(many_threads_live_at_once)
{
	bool ok = true;
	run(_i, parked_many, &ok);
	ck_assert(ok);
}
END_TEST

enum { STORM = 200 };

static void *storm_child(void *arg)
{
	for (int i = 0; i < STORM; i++)
		if (thrum_spawn(NULL, yield_some, arg) != 0)
			return NULL;
	return arg;
}

static void *storm(void *arg)
{
	int *ended = arg;
	struct thrum_thread *threads[8] = {0};
	for (int i = 0; i < 8; i++)
		if (thrum_spawn(&threads[i], storm_child, arg) != 0)
			return NULL;
	void *all = arg;
	for (int i = 0; i < 8; i++) {
		void *result = NULL;
		if (thrum_join(threads[i], &result, THRUM_FOREVER) != 0 || result == NULL)
			all = NULL;
	}
	while (__atomic_load_n(ended, __ATOMIC_RELAXED) < 8 * STORM)
		thrum_yield();
	return all;
}

START_TEST(a_spawn_storm_from_many_threads_runs_every_one_once)
{
	int ended = 0;
	ck_assert_ptr_nonnull(run(_i, storm, &ended));
	ck_assert_int_eq(ended, 8 * STORM);
}
END_TEST

static void *join_self(void *arg)
{
	*(int *)arg = thrum_join(thrum_self(), NULL, THRUM_FOREVER);
	return NULL;
}

START_TEST(joining_oneself_is_refused)
{
	int err = 0;
	run(_i, join_self, &err);
	ck_assert_int_eq(err, -EDEADLK);
}
END_TEST

static void *sleep_until_cancelled(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)thrum_sleep_until(THRUM_FOREVER);
}

static void *join_with_deadline(void *arg)
{
	bool *ok = arg;
	struct thrum_thread *thread;
	void *result = NULL;
	must(ok, thrum_spawn(&thread, sleep_until_cancelled, NULL) == 0);
	must(ok, thrum_join(thread, NULL, THRUM_NOW) == -ETIMEDOUT);
	must(ok, thrum_join(thread, NULL, thrum_after(THRUM_MS)) == -ETIMEDOUT);
	thrum_cancel(thread);
	must(ok, thrum_join(thread, &result, THRUM_FOREVER) == 0);
	must(ok, (intptr_t)result == -ECANCELED);
	return NULL;
}

START_TEST(a_join_that_timed_out_leaves_the_handle)
{
	bool ok = true;
	run(_i, join_with_deadline, &ok);
	ck_assert(ok);
}
END_TEST

static void *spawn_order(void *arg)
{
	/* With one worker nothing can run before we suspend. */
	bool *ok = arg;
	int ended = 0;
	struct thrum_thread *thread;
	must(ok, thrum_spawn(&thread, yield_some, &ended) == 0);
	if (thrum_workers() == 1)
		must(ok, ended == 0);
	must(ok, thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	must(ok, ended == 1);
	return NULL;
}

START_TEST(a_child_does_not_run_before_spawn_returns)
{
	bool ok = true;
	run(_i, spawn_order, &ok);
	ck_assert(ok);
}
END_TEST

struct late_join {
	struct thrum_thread *thread;
	char value;
};

static void *leave_handle(void *arg)
{
	struct late_join *late = arg;
	return thrum_spawn(&late->thread, give_back, &late->value) == 0 ? arg : NULL;
}

START_TEST(a_handle_outlives_its_runtime)
{
	struct late_join late;
	void *result = NULL;
	ck_assert_ptr_nonnull(run(_i, leave_handle, &late));
	ck_assert_int_eq(thrum_join(late.thread, &result, THRUM_FOREVER), 0);
	ck_assert_ptr_eq(result, &late.value);
}
END_TEST

static void *ids(void *arg)
{
	bool *ok = arg;
	struct thrum_thread *a, *b;
	must(ok, thrum_spawn(&a, give_back, NULL) == 0);
	must(ok, thrum_spawn(&b, give_back, NULL) == 0);
	must(ok, thrum_thread_id(a) > 0 && thrum_thread_id(a) != thrum_thread_id(b));
	must(ok, thrum_thread_id(a) != thrum_thread_id(thrum_self()));
	must(ok, thrum_join(a, NULL, THRUM_FOREVER) == 0);
	thrum_detach(b);
	thrum_detach(NULL);
	return NULL;
}

START_TEST(ids_are_unique)
{
	bool ok = true;
	run(_i, ids, &ok);
	ck_assert(ok);
}
END_TEST

/* ---------------------------------------------------------------- cancelling */

static void *cancel_before_start(void *arg)
{
	bool *ok = arg;
	struct thrum_thread *thread;
	void *result = NULL;
	must(ok, thrum_spawn(&thread, sleep_until_cancelled, NULL) == 0);
	thrum_cancel(thread);
	must(ok, thrum_join(thread, &result, THRUM_FOREVER) == 0);
	must(ok, (intptr_t)result == -ECANCELED);
	return NULL;
}

START_TEST(a_thread_cancelled_before_it_ran_still_runs)
{
	bool ok = true;
	run(_i, cancel_before_start, &ok);
	ck_assert(ok);
}
END_TEST

struct shielded {
	bool in_shield, ok;
};

static void *shielded_sleeper(void *arg)
{
	struct shielded *shielded = arg;
	thrum_shield_begin();
	thrum_shield_begin();
	__atomic_store_n(&shielded->in_shield, true, __ATOMIC_RELEASE);
	while (!thrum_canceled())
		thrum_yield();
	must(&shielded->ok, thrum_sleep(2 * THRUM_MS) == 0);
	thrum_shield_end();
	must(&shielded->ok, thrum_sleep(THRUM_MS) == 0);
	thrum_shield_end();
	must(&shielded->ok, thrum_sleep(THRUM_MS) == -ECANCELED);
	must(&shielded->ok, thrum_sleep(THRUM_MS) == -ECANCELED);
	return NULL;
}

static void *shield(void *arg)
{
	struct shielded *shielded = arg;
	struct thrum_thread *thread;
	must(&shielded->ok, thrum_spawn(&thread, shielded_sleeper, arg) == 0);
	while (!__atomic_load_n(&shielded->in_shield, __ATOMIC_ACQUIRE))
		thrum_yield();
	thrum_cancel(thread);
	must(&shielded->ok, thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	return NULL;
}

START_TEST(a_shield_puts_cancellation_off)
{
	struct shielded shielded = {.ok = true};
	run(_i, shield, &shielded);
	ck_assert(shielded.ok);
}
END_TEST

static void *park_forever(void *arg)
{
	(void)arg;
	struct thrum__wait wait;
	thrum__wait_init(&wait);
	return (void *)(intptr_t)thrum__wait_park(&wait, "test", THRUM_FOREVER);
}

static void *cancel_storm(void *arg)
{
	bool *ok = arg;
	enum { COUNT = 100 };
	struct thrum_thread *threads[COUNT];
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < COUNT; i++)
			must(ok, thrum_spawn(&threads[i], park_forever, NULL) == 0);
		for (int i = 0; i < round; i++)
			thrum_yield();
		for (int i = 0; i < COUNT; i++)
			thrum_cancel(threads[i]);
		for (int i = 0; i < COUNT; i++) {
			void *result = NULL;
			must(ok, thrum_join(threads[i], &result, THRUM_FOREVER) == 0);
			must(ok, (intptr_t)result == -ECANCELED);
		}
	}
	return NULL;
}

START_TEST(cancel_reaches_threads_in_any_state)
{
	bool ok = true;
	run(_i, cancel_storm, &ok);
	ck_assert(ok);
}
END_TEST

static void *abandon(void *arg)
{
	struct thrum_thread *thread;
	for (int i = 0; i < 100; i++)
		if (thrum_spawn(NULL, park_forever, NULL) != 0)
			return NULL;
	if (thrum_spawn(&thread, park_forever, NULL) != 0)
		return NULL;
	thrum_detach(thread);
	for (int i = 0; i < 20; i++)
		thrum_yield();
	return arg;
}

START_TEST(the_end_of_the_first_thread_cancels_all_others)
{
	ck_assert_ptr_nonnull(run(_i, abandon, &(int){0}));
}
END_TEST

static void *spawn_for_ever(void *arg)
{
	int err = thrum_spawn(NULL, spawn_for_ever, arg);
	if (err == -ECANCELED)
		__atomic_store_n((int *)arg, err, __ATOMIC_RELAXED);
	return NULL;
}

static void *spawn_while_stopping(void *arg)
{
	for (int i = 0; i < 4; i++)
		if (thrum_spawn(NULL, spawn_for_ever, arg) != 0)
			return NULL;
	for (int i = 0; i < 100; i++)
		thrum_yield();
	return arg;
}

START_TEST(spawn_is_refused_once_the_first_thread_has_ended)
{
	int err = 0;
	ck_assert_ptr_nonnull(run(_i, spawn_while_stopping, &err));
	ck_assert_int_eq(err, -ECANCELED);
}
END_TEST

/*
 * ---------------------------------------------------------------- waits between threads of all
 * kinds
 */

struct ring {
	struct thrum__lock lock;
	struct thrum__wait *waiting;
	bool full, ok;
	int received;
};

/* A one-place channel as sched.h prescribes it: tests claim, wake and park from both sides. */
static int ring_block(struct ring *ring)
{
	struct thrum__wait wait;
	thrum__wait_init(&wait);
	ring->waiting = &wait;
	thrum__unlock(&ring->lock);
	int result = thrum__wait_park(&wait, "ring", THRUM_FOREVER);
	thrum__lock(&ring->lock);
	if (ring->waiting == &wait)
		ring->waiting = NULL;
	return result;
}

static void ring_turn(struct ring *ring, bool wait_until_full)
{
	thrum__lock(&ring->lock);
	while (ring->full != wait_until_full)
		must(&ring->ok, ring_block(ring) == 7);
	ring->full = !wait_until_full;
	struct thrum__wait *other = ring->waiting;
	ring->waiting = NULL;
	bool wake = other != NULL && thrum__wait_claim(other, 7);
	thrum__unlock(&ring->lock);
	if (wake)
		thrum__wait_wake(other);
}

enum { TURNS = 2000 };

static void *ring_sender(void *arg)
{
	for (int i = 0; i < TURNS; i++)
		ring_turn(arg, false);
	return NULL;
}

static void *ring_receiver(void *arg)
{
	struct ring *ring = arg;
	for (int i = 0; i < TURNS; i++) {
		ring_turn(ring, true);
		ring->received++;
	}
	return NULL;
}

static void *ring_green(void *arg)
{
	struct ring *ring = arg;
	struct thrum_thread *thread;
	must(&ring->ok, thrum_spawn(&thread, ring_sender, arg) == 0);
	ring_receiver(arg);
	must(&ring->ok, thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	return NULL;
}

START_TEST(green_threads_wake_each_other)
{
	struct ring ring = {.ok = true};
	run(_i, ring_green, &ring);
	ck_assert(ring.ok);
	ck_assert_int_eq(ring.received, TURNS);
}
END_TEST

START_TEST(an_os_thread_and_a_green_thread_wake_each_other)
{
	struct ring ring = {.ok = true};
	pthread_t sender;
	ck_assert_int_eq(pthread_create(&sender, NULL, ring_sender, &ring), 0);
	run(_i, ring_receiver, &ring);
	ck_assert_int_eq(pthread_join(sender, NULL), 0);
	ck_assert(ring.ok);
	ck_assert_int_eq(ring.received, TURNS);
}
END_TEST

struct other_runtime {
	struct ring *ring;
	unsigned workers;
	int err;
};

static void *other_runtime(void *arg)
{
	struct other_runtime *other = arg;
	struct thrum_config config = {.workers = other->workers};
	other->err = thrum_run(&config, ring_sender, other->ring, NULL);
	return NULL;
}

START_TEST(threads_of_two_runtimes_wake_each_other)
{
	struct ring ring = {.ok = true};
	struct other_runtime other = {&ring, workers[_i], -1};
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, other_runtime, &other), 0);
	run(_i, ring_receiver, &ring);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(other.err, 0);
	ck_assert(ring.ok);
	ck_assert_int_eq(ring.received, TURNS);
}
END_TEST

START_TEST(os_threads_wait_with_a_deadline)
{
	struct thrum__wait wait;
	thrum__wait_init(&wait);
	ck_assert_int_eq(thrum__wait_park(&wait, "test", thrum_after(THRUM_MS)), -ETIMEDOUT);
	thrum__wait_init(&wait);
	ck_assert_int_eq(thrum__wait_park(&wait, "test", THRUM_NOW), -ETIMEDOUT);
	thrum__wait_init(&wait);
	ck_assert(thrum__wait_claim(&wait, 3));
	ck_assert(!thrum__wait_claim(&wait, 4));
	thrum__wait_wake(&wait);
	ck_assert_int_eq(thrum__wait_park(&wait, "test", THRUM_NOW), 3);
}
END_TEST

static void *join_from_outside(void *arg)
{
	struct late_join *late = arg;
	void *result = NULL;
	if (thrum_join(late->thread, &result, THRUM_FOREVER) != 0)
		return NULL;
	return result;
}

struct outside {
	struct late_join late;
	void *seen;
};

static void *spawn_and_let_join(void *arg)
{
	struct outside *outside = arg;
	pthread_t joiner;
	if (thrum_spawn(&outside->late.thread, give_back, &outside->late.value) != 0 ||
		pthread_create(&joiner, NULL, join_from_outside, &outside->late) != 0)
		return NULL;
	/*
	 * The joiner needs somebody to run the thread: a blocking pthread_join here would take
	 * the only worker.
	 */
	while (pthread_tryjoin_np(joiner, &outside->seen) == EBUSY)
		thrum_yield();
	return arg;
}

START_TEST(an_os_thread_joins_a_green_thread)
{
	struct outside outside = {.seen = NULL};
	ck_assert_ptr_nonnull(run(_i, spawn_and_let_join, &outside));
	ck_assert_ptr_eq(outside.seen, &outside.late.value);
}
END_TEST

/* ---------------------------------------------------------------- too little memory */

enum { HUNGRY = 400 };

static void *hungry(void *arg)
{
	bool *ok = arg;
	static struct thrum_thread *threads[HUNGRY];
	static int ended;
	ended = 0;
	for (int i = 0; i < HUNGRY; i++)
		must(ok, thrum_spawn(&threads[i], yield_some, &ended) == 0);
	for (int i = 0; i < HUNGRY; i++)
		must(ok, thrum_join(threads[i], NULL, THRUM_FOREVER) == 0);
	must(ok, ended == HUNGRY);
	return NULL;
}

static void *limit_and_spawn(void *arg)
{
	/* Address space for about forty stacks more than there are now. */
	long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "r");
	if (statm == NULL || fscanf(statm, "%ld", &pages) != 1)
		return NULL;
	fclose(statm);
	struct rlimit limit = {.rlim_max = RLIM_INFINITY};
	limit.rlim_cur = (rlim_t)pages * 4096 + 40 * 272 * 1024;
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		return NULL;
	hungry(arg);
	return arg;
}

START_TEST(threads_wait_for_a_stack_when_memory_is_short)
{
	bool ok = true;
	ck_assert_ptr_nonnull(run(_i, limit_and_spawn, &ok));
	ck_assert(ok);
}
END_TEST

/* ---------------------------------------------------------------- one after another */

static void *sleep_a_little(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)thrum_sleep(THRUM_US);
}

static void *small_run(void *arg)
{
	struct thrum_thread *thread;
	if (thrum_spawn(&thread, sleep_a_little, NULL) != 0)
		return NULL;
	return thrum_join(thread, NULL, THRUM_FOREVER) == 0 ? arg : NULL;
}

START_TEST(runtimes_follow_one_another)
{
	for (int i = 0; i < ROUNDS; i++)
		ck_assert_ptr_nonnull(run(_i, small_run, &(int){0}));
}
END_TEST

Suite *suite_thread(void)
{
	Suite *suite = suite_create("sched/thread");
	TCase *basic = tcase_create("basic");
	int n = thrum__countof(workers);
	tcase_set_timeout(basic, 20);
	tcase_add_loop_test(basic, run_returns_what_the_first_thread_returned, 0, n);
	tcase_add_loop_test(basic, run_inside_a_green_thread_is_refused, 0, n);
	tcase_add_test(basic, a_bad_config_is_refused);
	tcase_add_test(basic, spawn_on_an_os_thread_is_refused);
	tcase_add_loop_test(basic, spawn_with_bad_attributes_is_refused, 0, n);
	tcase_add_loop_test(basic, join_gives_each_of_many_results, 0, n);
	tcase_add_loop_test(basic, many_threads_live_at_once, 0, n);
	tcase_add_loop_test(basic, a_spawn_storm_from_many_threads_runs_every_one_once, 0, n);
	tcase_add_loop_test(basic, joining_oneself_is_refused, 0, n);
	tcase_add_loop_test(basic, a_join_that_timed_out_leaves_the_handle, 0, n);
	tcase_add_loop_test(basic, a_child_does_not_run_before_spawn_returns, 0, n);
	tcase_add_loop_test(basic, a_handle_outlives_its_runtime, 0, n);
	tcase_add_loop_test(basic, ids_are_unique, 0, n);
	suite_add_tcase(suite, basic);

	TCase *cancel = tcase_create("cancel");
	tcase_set_timeout(cancel, 20);
	tcase_add_loop_test(cancel, a_thread_cancelled_before_it_ran_still_runs, 0, n);
	tcase_add_loop_test(cancel, a_shield_puts_cancellation_off, 0, n);
	tcase_add_loop_test(cancel, cancel_reaches_threads_in_any_state, 0, n);
	tcase_add_loop_test(cancel, the_end_of_the_first_thread_cancels_all_others, 0, n);
	tcase_add_loop_test(cancel, spawn_is_refused_once_the_first_thread_has_ended, 0, n);
	suite_add_tcase(suite, cancel);

	TCase *wait = tcase_create("wait");
	tcase_set_timeout(wait, 20);
	tcase_add_loop_test(wait, green_threads_wake_each_other, 0, n);
	tcase_add_loop_test(wait, an_os_thread_and_a_green_thread_wake_each_other, 0, n);
	tcase_add_loop_test(wait, threads_of_two_runtimes_wake_each_other, 0, n);
	tcase_add_test(wait, os_threads_wait_with_a_deadline);
	tcase_add_loop_test(wait, an_os_thread_joins_a_green_thread, 0, n);
	tcase_add_loop_test(wait, runtimes_follow_one_another, 0, n);
#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
	(void)threads_wait_for_a_stack_when_memory_is_short; /* shadow memory knows no limit */
#else
	tcase_add_loop_test(wait, threads_wait_for_a_stack_when_memory_is_short, 0, n);
#endif
	suite_add_tcase(suite, wait);
	return suite;
}
