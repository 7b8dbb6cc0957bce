/* SPDX-License-Identifier: MIT */
#include <thrum/semaphore.h>

#include "fixture.h"

START_TEST(permits_are_counted)
{
	struct thrum_semaphore semaphore = THRUM_SEMAPHORE_INIT(2);

	ck_assert_int_eq(thrum_semaphore_acquire(&semaphore, THRUM_NOW), 0);
	ck_assert_int_eq(thrum_semaphore_acquire(&semaphore, THRUM_FOREVER), 0);
	ck_assert_int_eq(thrum_semaphore_acquire(&semaphore, THRUM_NOW), -ETIMEDOUT);
	ck_assert_int_eq(
		thrum_semaphore_acquire(&semaphore, thrum_after(2 * THRUM_MS)), -ETIMEDOUT);
	ck_assert_uint_eq(semaphore.state_, 0); /* nobody is marked as waiting any more */
	thrum_semaphore_release(&semaphore, 3);
	ck_assert_uint_eq(thrum_semaphore_permits(&semaphore), 3);
	thrum_semaphore_release(&semaphore, 0);
	ck_assert_uint_eq(thrum_semaphore_permits(&semaphore), 3);
}
END_TEST

struct line {
	struct thrum_semaphore semaphore;
	int result[3];
	int next, order[3];
	int left;
};

static void stand(struct line *l, int i)
{
	l->result[i] = thrum_semaphore_acquire(&l->semaphore, THRUM_FOREVER);
	if (l->result[i] == 0)
		l->order[atomic_add(&l->next, 1) - 1] = i;
}

static void *stand_0(void *arg)
{
	stand(arg, 0);
	return NULL;
}

static void *stand_1(void *arg)
{
	stand(arg, 1);
	return NULL;
}

static void *stand_2(void *arg)
{
	stand(arg, 2);
	return NULL;
}

static void stand_three(struct line *l, struct thrum_thread *threads[3])
{
	static const thrum_fn fns[] = {stand_0, stand_1, stand_2};

	for (int i = 0; i < 3; i++) {
		threads[i] = green(fns[i], l);
		wait_until(queued(&l->semaphore.waiters_) == i + 1);
	}
}

static void *release_in_steps(void *arg)
{
	struct line *l = arg;
	struct thrum_thread *threads[3];

	stand_three(l, threads);
	for (int i = 0; i < 3; i++) {
		thrum_semaphore_release(&l->semaphore, 1);
		l->left += thrum_semaphore_acquire(&l->semaphore, THRUM_NOW) == 0;
		join_green(threads[i]);
	}
	return NULL;
}

START_TEST(permits_go_to_those_who_wait_in_their_order_and_to_no_newcomer)
{
	struct line l = {.semaphore = THRUM_SEMAPHORE_INIT(0)};

	run_green(worker_counts[_i], release_in_steps, &l);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(l.order[i], i);
	ck_assert_int_eq(l.left, 0);
}
END_TEST

static void *release_many_at_once(void *arg)
{
	struct line *l = arg;
	struct thrum_thread *threads[3];

	stand_three(l, threads);
	thrum_semaphore_release(&l->semaphore, 5);
	for (int i = 0; i < 3; i++)
		join_green(threads[i]);
	return NULL;
}

START_TEST(what_the_waiters_leave_of_a_release_stays)
{
	struct line l = {.semaphore = THRUM_SEMAPHORE_INIT(0)};

	run_green(worker_counts[_i], release_many_at_once, &l);
	ck_assert_int_eq(l.next, 3);
	ck_assert_uint_eq(thrum_semaphore_permits(&l.semaphore), 2);
}
END_TEST

/* If the release was faster than the cancellation, the first one has the permit and says so. */
static void *cancel_the_first(void *arg)
{
	struct line *l = arg;
	struct thrum_thread *threads[3];

	stand_three(l, threads);
	thrum_cancel(threads[0]);
	if (l->left)
		wait_until(queued(&l->semaphore.waiters_) == 2);
	thrum_semaphore_release(&l->semaphore, 2);
	join_green(threads[0]);
	if (l->result[0] == 0)
		thrum_semaphore_release(&l->semaphore, 1);
	join_green(threads[1]);
	join_green(threads[2]);
	return NULL;
}

START_TEST(a_permit_for_a_cancelled_waiter_goes_to_the_next)
{
	for (int late = 0; late < 2; late++) {
		struct line l = {.semaphore = THRUM_SEMAPHORE_INIT(0), .left = late};
		run_green(worker_counts[_i], cancel_the_first, &l);
		if (late || l.result[0] != 0)
			ck_assert_int_eq(l.result[0], -ECANCELED);
		ck_assert_int_eq(l.result[1], 0);
		ck_assert_int_eq(l.result[2], 0);
		ck_assert_uint_eq(l.semaphore.state_, 0);
	}
}
END_TEST

static void *acquire_when_cancelled(void *arg)
{
	struct line *l = arg;

	wait_until(thrum_canceled());
	stand(l, 0);
	thrum_shield_begin();
	stand(l, 1);
	thrum_shield_end();
	return NULL;
}

static void *cancel_before_it_acquires(void *arg)
{
	struct thrum_thread *thread = green(acquire_when_cancelled, arg);

	thrum_cancel(thread);
	join_green(thread);
	return NULL;
}

START_TEST(a_cancelled_thread_acquires_only_under_a_shield)
{
	struct line l = {.semaphore = THRUM_SEMAPHORE_INIT(5)};

	run_green(worker_counts[_i], cancel_before_it_acquires, &l);
	ck_assert_int_eq(l.result[0], -ECANCELED);
	ck_assert_int_eq(l.result[1], 0);
	ck_assert_uint_eq(thrum_semaphore_permits(&l.semaphore), 4);
}
END_TEST

/* A semaphore on a stack that is gone as soon as the permit has been had. */
static void *complete(void *arg)
{
	thrum_semaphore_release(arg, 1);
	return NULL;
}

static void *complete_many(void *arg)
{
	for (int i = 0; i < 1000; i++) {
		struct thrum_semaphore *done = calloc(1, sizeof(*done));
		struct thrum_thread *thread = green(complete, done);
		if (i % 2)
			thrum_yield();
		CHECK(thrum_semaphore_acquire(done, THRUM_FOREVER) == 0);
		free(done);
		join_green(thread);
	}
	return NULL;
}

START_TEST(it_may_be_freed_once_its_last_permit_was_taken)
{
	run_green(worker_counts[_i], complete_many, NULL);
}
END_TEST

struct storm {
	struct thrum_semaphore semaphore;
	uint64_t seed;
	unsigned next;
	int taken, returned;
};

static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	uint64_t random = seed_for(s->seed, atomic_add(&s->next, 1));
	unsigned mine = 0;

	for (int i = 0; i < 500; i++) {
		uint64_t dice = thrum__splitmix64(&random);
		thrum_deadline deadline =
			dice % 4 == 0 ? THRUM_NOW : thrum_after(dice % 100 * THRUM_US);
		if (thrum_semaphore_acquire(&s->semaphore, deadline) == 0) {
			mine++;
			atomic_add(&s->taken, 1);
		}
		if (mine > 0 && dice % 3 == 0) {
			uint32_t n = (uint32_t)(1 + dice / 8 % mine);
			thrum_semaphore_release(&s->semaphore, n);
			mine -= n;
			atomic_add(&s->returned, (int)n);
		}
		if (dice % 16 == 0)
			thrum_yield();
	}
	thrum_semaphore_release(&s->semaphore, mine);
	atomic_add(&s->returned, (int)mine);
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
		if (thrum__splitmix64(&random) % 3 == 0)
			thrum_cancel(threads[i]);
		thrum_yield();
	}
	for (int i = 0; i < 16; i++)
		join_green(threads[i]);
	return NULL;
}

START_TEST(no_permit_is_lost_or_made_in_a_storm)
{
	struct storm s = {
		.semaphore = THRUM_SEMAPHORE_INIT(5), .seed = test_seed("semaphore storm")};
	pthread_t os[2];

	for (int i = 0; i < 2; i++)
		os[i] = os_thread(storm_thread, &s);
	run_green(worker_counts[_i], storm_main, &s);
	for (int i = 0; i < 2; i++)
		join_os(os[i]);
	ck_assert_int_gt(s.taken, 0);
	ck_assert_int_eq(s.taken, s.returned);
	ck_assert_uint_eq(s.semaphore.state_, 2 * 5);
}
END_TEST

Suite *suite_semaphore(void)
{
	Suite *suite = suite_create("sync/semaphore");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, permits_are_counted);
	add_for_workers(basic, permits_go_to_those_who_wait_in_their_order_and_to_no_newcomer);
	add_for_workers(basic, what_the_waiters_leave_of_a_release_stays);
	add_for_workers(basic, it_may_be_freed_once_its_last_permit_was_taken);
	suite_add_tcase(suite, basic);
	TCase *cancel = tcase_create("cancel");
	add_for_workers(cancel, a_permit_for_a_cancelled_waiter_goes_to_the_next);
	add_for_workers(cancel, a_cancelled_thread_acquires_only_under_a_shield);
	suite_add_tcase(suite, cancel);
	TCase *stress = tcase_create("stress");
	add_for_workers(stress, no_permit_is_lost_or_made_in_a_storm);
	suite_add_tcase(suite, stress);
	return suite;
}
