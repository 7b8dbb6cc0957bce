/* SPDX-License-Identifier: MIT */
#include <thrum/mutex.h>

#include <signal.h>

#include "fixture.h"

struct counter {
	struct thrum_mutex mutex;
	int rounds;
	int inside, collisions; /* inside is plain: under the mutex */
	long total;
};

static void *count_up(void *arg)
{
	struct counter *c = arg;

	for (int i = 0; i < c->rounds; i++) {
		CHECK(thrum_mutex_lock(&c->mutex, THRUM_FOREVER) == 0);
		if (c->inside++ != 0)
			atomic_add(&c->collisions, 1);
		if (i % 16 == 0)
			thrum_yield();
		c->inside--;
		c->total++;
		thrum_mutex_unlock(&c->mutex);
	}
	return NULL;
}

static void *twenty_green_count_up(void *arg)
{
	struct thrum_thread *threads[20];

	for (int i = 0; i < 20; i++)
		threads[i] = green(count_up, arg);
	for (int i = 0; i < 20; i++)
		join_green(threads[i]);
	return NULL;
}

START_TEST(green_and_os_threads_exclude_each_other)
{
	struct counter c = {.mutex = THRUM_MUTEX_INIT, .rounds = 500};
	pthread_t os[2];

	for (int i = 0; i < 2; i++)
		os[i] = os_thread(count_up, &c);
	run_green(worker_counts[_i], twenty_green_count_up, &c);
	for (int i = 0; i < 2; i++)
		join_os(os[i]);
	ck_assert_int_eq(c.collisions, 0);
	ck_assert_int_eq(c.total, 22 * 500);
	ck_assert_uint_eq(c.mutex.state_, 0);
}
END_TEST

START_TEST(try_lock_and_lock_now_fail_on_a_held_mutex)
{
	struct thrum_mutex mutex = THRUM_MUTEX_INIT;

	ck_assert(thrum_mutex_try_lock(&mutex));
	ck_assert(!thrum_mutex_try_lock(&mutex));
	ck_assert_int_eq(thrum_mutex_lock(&mutex, THRUM_NOW), -ETIMEDOUT);
	thrum_mutex_unlock(&mutex);
	ck_assert_int_eq(thrum_mutex_lock(&mutex, THRUM_NOW), 0);
	thrum_mutex_unlock(&mutex);
}
END_TEST

struct waiters {
	struct thrum_mutex mutex;
	thrum_deadline deadline[3];
	int result[3];
	int next, order[3];
	int turns;
	bool stop;
};

static void wait_in_line(struct waiters *w, int i)
{
	w->result[i] = thrum_mutex_lock(&w->mutex, w->deadline[i]);
	if (w->result[i] == 0) {
		w->order[w->next++] = i;
		thrum_mutex_unlock(&w->mutex);
	}
}

static void *waiter_0(void *arg)
{
	wait_in_line(arg, 0);
	return NULL;
}

static void *waiter_1(void *arg)
{
	wait_in_line(arg, 1);
	return NULL;
}

static void *time_out_waiting(void *arg)
{
	struct waiters *w = arg;

	CHECK(thrum_mutex_lock(&w->mutex, THRUM_FOREVER) == 0);
	w->deadline[0] = thrum_after(5 * THRUM_MS);
	join_green(green(waiter_0, w));
	thrum_mutex_unlock(&w->mutex);
	w->deadline[0] = thrum_after(20 * THRUM_S);
	wait_in_line(w, 1);
	return NULL;
}

START_TEST(a_deadline_ends_the_wait_and_leaves_the_mutex_sound)
{
	struct waiters w = {.mutex = THRUM_MUTEX_INIT, .deadline = {0, THRUM_FOREVER}};

	run_green(worker_counts[_i], time_out_waiting, &w);
	ck_assert_int_eq(w.result[0], -ETIMEDOUT);
	ck_assert_int_eq(w.result[1], 0);
	ck_assert_uint_eq(w.mutex.state_, 0);
}
END_TEST

START_TEST(a_deadline_ends_the_wait_of_an_os_thread)
{
	struct waiters w = {.mutex = THRUM_MUTEX_INIT, .deadline = {thrum_after(5 * THRUM_MS)}};

	ck_assert(thrum_mutex_try_lock(&w.mutex));
	join_os(os_thread(waiter_0, &w));
	ck_assert_int_eq(w.result[0], -ETIMEDOUT);
	thrum_mutex_unlock(&w.mutex);
	ck_assert_uint_eq(w.mutex.state_, 0);
}
END_TEST

/* The cancelled one may be unlinked before the unlock, or be the one that the unlock meets. */
static void *cancel_the_first_of_two(void *arg)
{
	struct waiters *w = arg;

	CHECK(thrum_mutex_lock(&w->mutex, THRUM_FOREVER) == 0);
	struct thrum_thread *first = green(waiter_0, w);
	wait_until(queued(&w->mutex.waiters_) == 1);
	struct thrum_thread *second = green(waiter_1, w);
	wait_until(queued(&w->mutex.waiters_) == 2);
	thrum_cancel(first);
	if (w->turns)
		wait_until(queued(&w->mutex.waiters_) == 1);
	thrum_mutex_unlock(&w->mutex);
	join_green(first);
	join_green(second);
	return NULL;
}

START_TEST(a_cancelled_waiter_passes_the_lock_on)
{
	for (int late = 0; late < 2; late++) {
		struct waiters w = {.mutex = THRUM_MUTEX_INIT,
			.deadline = {THRUM_FOREVER, THRUM_FOREVER},
			.turns = late};
		run_green(worker_counts[_i], cancel_the_first_of_two, &w);
		if (late || w.result[0] != 0)
			ck_assert_int_eq(w.result[0], -ECANCELED);
		ck_assert_int_eq(w.result[1], 0);
		ck_assert_uint_eq(w.mutex.state_, 0);
	}
}
END_TEST

static void *lock_when_cancelled(void *arg)
{
	struct waiters *w = arg;

	wait_until(thrum_canceled());
	wait_in_line(w, 0);
	return NULL;
}

static void *cancel_before_it_locks(void *arg)
{
	struct thrum_thread *thread = green(lock_when_cancelled, arg);

	thrum_cancel(thread);
	join_green(thread);
	return NULL;
}

START_TEST(a_free_mutex_is_locked_even_by_a_cancelled_thread)
{
	struct waiters w = {.mutex = THRUM_MUTEX_INIT, .deadline = {THRUM_FOREVER}};

	run_green(worker_counts[_i], cancel_before_it_locks, &w);
	ck_assert_int_eq(w.result[0], 0);
}
END_TEST

static void *lock_again_and_again(void *arg)
{
	struct waiters *w = arg;

	while (!w->stop) {
		CHECK(thrum_mutex_lock(&w->mutex, THRUM_FOREVER) == 0);
		if (queued(&w->mutex.waiters_) > 0)
			w->turns++;
		thrum_yield();
		thrum_mutex_unlock(&w->mutex);
		/* at once again: with one worker the waiter has had no chance to run in between */
	}
	return NULL;
}

static void *wait_behind_a_hog(void *arg)
{
	struct waiters *w = arg;

	wait_in_line(w, 0);
	w->stop = true;
	return NULL;
}

static void *hog_and_waiter(void *arg)
{
	struct thrum_thread *hog = green(lock_again_and_again, arg);
	struct thrum_thread *waiter = green(wait_behind_a_hog, arg);

	join_green(hog);
	join_green(waiter);
	return NULL;
}

START_TEST(an_overtaken_waiter_is_given_the_lock_by_the_next_unlock)
{
	struct waiters w = {.mutex = THRUM_MUTEX_INIT, .deadline = {THRUM_FOREVER}};

	run_green(1, hog_and_waiter, &w);
	ck_assert_int_eq(w.result[0], 0);
	ck_assert_int_le(w.turns, 3); /* it queues, is overtaken, is handed the lock */
}
END_TEST

/* An object that the last of its two users frees while the other one may still be unlocking. */
struct shared {
	struct thrum_mutex mutex;
	int users;
};

static void *leave(void *arg)
{
	struct shared *s = arg;

	CHECK(thrum_mutex_lock(&s->mutex, THRUM_FOREVER) == 0);
	bool last = --s->users == 0;
	thrum_mutex_unlock(&s->mutex);
	if (last)
		free(s);
	return NULL;
}

static void *leave_many(void *arg)
{
	for (int i = 0; i < 500; i++) {
		struct thrum_thread *threads[3];
		struct shared *s = calloc(1, sizeof(*s));
		s->users = 3;
		for (int k = 0; k < 3; k++)
			threads[k] = green(leave, s);
		for (int k = 0; k < 3; k++)
			join_green(threads[k]);
	}
	return NULL;
}

START_TEST(the_last_holder_may_free_the_mutex)
{
	run_green(worker_counts[_i], leave_many, NULL);
}
END_TEST

#ifdef THRUM_DEBUG
static void *unlock_it(void *arg)
{
	thrum_mutex_unlock(arg);
	return NULL;
}

START_TEST(debug_builds_abort_when_another_thread_unlocks)
{
	struct thrum_mutex mutex = THRUM_MUTEX_INIT;

	ck_assert(thrum_mutex_try_lock(&mutex));
	join_os(os_thread(unlock_it, &mutex));
}
END_TEST

START_TEST(debug_builds_abort_when_the_holder_locks_once_more)
{
	struct thrum_mutex mutex = THRUM_MUTEX_INIT;

	ck_assert(thrum_mutex_try_lock(&mutex));
	(void)!thrum_mutex_lock(&mutex, THRUM_FOREVER);
}
END_TEST
#endif

/* Random deadlines, tries, yields and cancellations: the mutex excludes, and ends free. */
struct storm {
	struct counter counter;
	uint64_t seed;
	unsigned next;
	long locked;
};

static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	uint64_t random = seed_for(s->seed, atomic_add(&s->next, 1));

	for (int i = 0; i < 400; i++) {
		uint64_t dice = thrum__splitmix64(&random);
		thrum_deadline deadline = dice % 4 == 0   ? THRUM_FOREVER
					  : dice % 4 == 1 ? THRUM_NOW
							  : thrum_after(dice % 50 * THRUM_US);
		if (thrum_mutex_lock(&s->counter.mutex, deadline) < 0)
			continue;
		if (s->counter.inside++ != 0)
			atomic_add(&s->counter.collisions, 1);
		if (dice % 8 == 0)
			thrum_yield();
		s->counter.inside--;
		s->counter.total++;
		thrum_mutex_unlock(&s->counter.mutex);
		atomic_add(&s->locked, 1);
	}
	return NULL;
}

static void *storm_main(void *arg)
{
	struct storm *s = arg;
	struct thrum_thread *threads[16];
	uint64_t random = seed_for(s->seed, 1000);

	for (int i = 0; i < 16; i++)
		threads[i] = green(storm_thread, arg);
	for (int i = 0; i < 16; i++) {
		if (thrum__splitmix64(&random) % 2)
			thrum_cancel(threads[i]);
		thrum_yield();
	}
	for (int i = 0; i < 16; i++)
		join_green(threads[i]);
	return NULL;
}

START_TEST(a_storm_of_deadlines_and_cancellations_leaves_it_sound)
{
	struct storm s = {.seed = test_seed("mutex storm")};
	pthread_t os[2];

	for (int i = 0; i < 2; i++)
		os[i] = os_thread(storm_thread, &s);
	run_green(worker_counts[_i], storm_main, &s);
	for (int i = 0; i < 2; i++)
		join_os(os[i]);
	ck_assert_int_eq(s.counter.collisions, 0);
	ck_assert_int_eq(s.counter.total, s.locked);
	ck_assert_uint_eq(s.counter.mutex.state_, 0);
	ck_assert_int_eq(queued(&s.counter.mutex.waiters_), 0);
}
END_TEST

Suite *suite_mutex(void)
{
	Suite *suite = suite_create("sync/mutex");
	TCase *basic = tcase_create("basic");
	add_for_workers(basic, green_and_os_threads_exclude_each_other);
	tcase_add_test(basic, try_lock_and_lock_now_fail_on_a_held_mutex);
	tcase_add_test(basic, an_overtaken_waiter_is_given_the_lock_by_the_next_unlock);
	add_for_workers(basic, the_last_holder_may_free_the_mutex);
#ifdef THRUM_DEBUG
	tcase_add_test_raise_signal(basic, debug_builds_abort_when_another_thread_unlocks, SIGABRT);
	tcase_add_test_raise_signal(
		basic, debug_builds_abort_when_the_holder_locks_once_more, SIGABRT);
#endif
	suite_add_tcase(suite, basic);
	TCase *cancel = tcase_create("cancel");
	add_for_workers(cancel, a_deadline_ends_the_wait_and_leaves_the_mutex_sound);
	tcase_add_test(cancel, a_deadline_ends_the_wait_of_an_os_thread);
	add_for_workers(cancel, a_cancelled_waiter_passes_the_lock_on);
	add_for_workers(cancel, a_free_mutex_is_locked_even_by_a_cancelled_thread);
	suite_add_tcase(suite, cancel);
	TCase *stress = tcase_create("stress");
	add_for_workers(stress, a_storm_of_deadlines_and_cancellations_leaves_it_sound);
	suite_add_tcase(suite, stress);
	return suite;
}
