/* SPDX-License-Identifier: MIT */
#include <thrum/waitgroup.h>

#include "fixture.h"

struct work {
	struct thrum_waitgroup group;
	int finished, seen[3];
	int result;
	thrum_deadline deadline;
};

static void *finish_one(void *arg)
{
	struct work *w = arg;

	thrum_yield();
	atomic_add(&w->finished, 1);
	thrum_waitgroup_done(&w->group);
	return NULL;
}

static void *wait_for_all(void *arg)
{
	struct work *w = arg;

	w->result = thrum_waitgroup_wait(&w->group, w->deadline);
	return NULL;
}

static void *three_generations(void *arg)
{
	struct work *w = arg;

	for (int round = 0; round < 3; round++) {
		thrum_waitgroup_add(&w->group, 50);
		for (int i = 0; i < 50; i++)
			CHECK(thrum_spawn(NULL, finish_one, w) == 0);
		CHECK(thrum_waitgroup_wait(&w->group, THRUM_FOREVER) == 0);
		w->seen[round] = atomic_get(&w->finished);
	}
	return NULL;
}

START_TEST(a_wait_ends_when_all_work_is_done_and_the_group_can_be_used_again)
{
	struct work w = {.group = THRUM_WAITGROUP_INIT};

	run_green(worker_counts[_i], three_generations, &w);
	for (int round = 0; round < 3; round++)
		ck_assert_int_eq(w.seen[round], 50 * (round + 1));
}
END_TEST

START_TEST(waiting_for_nothing_is_over_at_once)
{
	struct thrum_waitgroup group = THRUM_WAITGROUP_INIT;

	ck_assert_int_eq(thrum_waitgroup_wait(&group, THRUM_NOW), 0);
	thrum_waitgroup_add(&group, 1);
	ck_assert_int_eq(thrum_waitgroup_wait(&group, THRUM_NOW), -ETIMEDOUT);
	ck_assert_int_eq(thrum_waitgroup_wait(&group, thrum_after(2 * THRUM_MS)), -ETIMEDOUT);
	thrum_waitgroup_done(&group);
	ck_assert_int_eq(thrum_waitgroup_wait(&group, THRUM_FOREVER), 0);
}
END_TEST

static void *finish_for_os_thread(void *arg)
{
	struct work *w = arg;

	wait_until(queued(&w->group.waiters_) == 1);
	for (int i = 0; i < 100; i++)
		CHECK(thrum_spawn(NULL, finish_one, w) == 0);
	CHECK(thrum_waitgroup_wait(&w->group, THRUM_FOREVER) == 0);
	return NULL;
}

START_TEST(an_os_thread_waits_for_green_threads)
{
	struct work w = {.deadline = THRUM_FOREVER, .result = -1};

	thrum_waitgroup_add(&w.group, 100);
	pthread_t os = os_thread(wait_for_all, &w);
	run_green(worker_counts[_i], finish_for_os_thread, &w);
	join_os(os);
	ck_assert_int_eq(w.result, 0);
	ck_assert_int_eq(w.finished, 100);
}
END_TEST

static void *cancel_the_wait(void *arg)
{
	struct work *w = arg;
	struct thrum_thread *thread = green(wait_for_all, w);

	wait_until(queued(&w->group.waiters_) == 1);
	thrum_cancel(thread);
	join_green(thread);
	thrum_waitgroup_done(&w->group);
	return NULL;
}

START_TEST(a_cancelled_wait_leaves_the_group_sound)
{
	struct work w = {.deadline = THRUM_FOREVER};

	thrum_waitgroup_add(&w.group, 1);
	run_green(worker_counts[_i], cancel_the_wait, &w);
	ck_assert_int_eq(w.result, -ECANCELED);
	ck_assert_int_eq(queued(&w.group.waiters_), 0);
	ck_assert_int_eq(thrum_waitgroup_wait(&w.group, THRUM_NOW), 0);
}
END_TEST

static void *done_with(void *arg)
{
	thrum_waitgroup_done(arg);
	return NULL;
}

static void *free_after_each_wait(void *arg)
{
	for (int i = 0; i < 1000; i++) {
		struct thrum_waitgroup *group = calloc(1, sizeof(*group));
		struct thrum_thread *threads[2];
		thrum_waitgroup_add(group, 2);
		for (int k = 0; k < 2; k++)
			threads[k] = green(done_with, group);
		if (i % 2)
			thrum_yield();
		CHECK(thrum_waitgroup_wait(group, THRUM_FOREVER) == 0);
		free(group);
		for (int k = 0; k < 2; k++)
			join_green(threads[k]);
	}
	return NULL;
}

START_TEST(the_group_may_be_freed_after_the_wait)
{
	run_green(worker_counts[_i], free_after_each_wait, NULL);
}
END_TEST

Suite *suite_waitgroup(void)
{
	Suite *suite = suite_create("sync/waitgroup");
	TCase *basic = tcase_create("basic");
	add_for_workers(basic, a_wait_ends_when_all_work_is_done_and_the_group_can_be_used_again);
	tcase_add_test(basic, waiting_for_nothing_is_over_at_once);
	add_for_workers(basic, an_os_thread_waits_for_green_threads);
	suite_add_tcase(suite, basic);
	TCase *cancel = tcase_create("cancel");
	add_for_workers(cancel, a_cancelled_wait_leaves_the_group_sound);
	suite_add_tcase(suite, cancel);
	TCase *stress = tcase_create("stress");
	add_for_workers(stress, the_group_may_be_freed_after_the_wait);
	suite_add_tcase(suite, stress);
	return suite;
}
