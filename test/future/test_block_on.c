/* SPDX-License-Identifier: MIT */
#include "probe.h"

/* One wake for each poll, as early as one can count: within the poll, or right after it. */
static void *wake_five_times(void *arg)
{
	struct probe *p = arg;

	for (int i = 1; i <= 5; i++) {
		wait_until(atomic_get(&p->polls) >= i && probe_waits(p));
		probe_wake(p);
	}
	return NULL;
}

START_TEST(an_os_thread_wakes_an_os_thread_with_no_runtime)
{
	struct probe p;
	int output = 0;

	probe_init(&p, 5);
	pthread_t os = os_thread(wake_five_times, &p);
	ck_assert_int_eq(thrum_block_on(&p.future, &output, thrum_after(20 * THRUM_S)), 0);
	join_os(os);
	ck_assert_int_eq(output, 5);
	ck_assert_int_eq(p.drops, 1);
	ck_assert_int_ge(p.polls, 2);
	ck_assert_int_le(p.polls, 6);
}
END_TEST

START_TEST(a_waker_outlives_its_task_and_then_does_nothing)
{
	struct probe p;

	probe_init(&p, 1);
	p.keeps_waker = true;
	ck_assert_int_eq(thrum_block_on(&p.future, NULL, THRUM_NOW), -ETIMEDOUT);
	struct thrum_waker more = thrum_waker_clone(&p.waker);
	ck_assert(thrum_waker_same(&more, &p.waker));
	probe_wake(&p);
	thrum_waker_wake(more);
	thrum_waker_drop(p.waker);
	ck_assert_int_eq(p.polls, 1);
}
END_TEST

static void *wake_after_two_polls(void *arg)
{
	struct probe *p = arg;

	wait_until(atomic_get(&p->polls) >= 2);
	for (int i = 0; i < 100; i++) /* a chance for polls that should not be */
		thrum_yield();
	probe_wake(p);
	return NULL;
}

START_TEST(many_wakes_make_one_poll)
{
	struct probe p;

	probe_init(&p, 1);
	p.self_wakes = 10;
	pthread_t os = os_thread(wake_after_two_polls, &p);
	ck_assert_int_eq(thrum_block_on(&p.future, NULL, THRUM_FOREVER), 0);
	join_os(os);
	ck_assert_int_eq(p.polls, 3);
}
END_TEST

START_TEST(a_future_that_always_wakes_itself_still_meets_its_deadline)
{
	struct probe p;

	probe_init(&p, 1);
	p.self_wakes = -1;
	ck_assert_int_eq(thrum_block_on(&p.future, NULL, thrum_after(2 * THRUM_MS)), -ETIMEDOUT);
	ck_assert_int_eq(p.drops, 1);
}
END_TEST

struct scene {
	struct probe probe;
	struct thrum_channel *channel;
	thrum_deadline deadline;
	int result, output, count;
	void *value;
};

static void *await_probe(void *arg)
{
	struct scene *s = arg;

	s->result = thrum_block_on(&s->probe.future, &s->output, s->deadline);
	return NULL;
}

START_TEST(an_os_thread_wakes_a_green_thread)
{
	struct scene s = {.deadline = THRUM_FOREVER};

	probe_init(&s.probe, 5);
	pthread_t os = os_thread(wake_five_times, &s.probe);
	run_green(worker_counts[_i], await_probe, &s);
	join_os(os);
	ck_assert(s.result == 0 && s.output == 5);
}
END_TEST

static void *cancel_await(void *arg)
{
	struct scene *s = arg;
	struct thrum_thread *thread = green(await_probe, s);

	wait_until(atomic_get(&s->probe.polls) == 1);
	thrum_cancel(thread);
	join_green(thread);
	return NULL;
}

START_TEST(a_cancelled_thread_drops_the_future_it_awaits)
{
	struct scene s = {.deadline = THRUM_FOREVER};

	probe_init(&s.probe, 1);
	run_green(worker_counts[_i], cancel_await, &s);
	ck_assert_int_eq(s.result, -ECANCELED);
	ck_assert_int_eq(s.probe.drops, 1);
	ck_assert_ptr_null(s.probe.waker.vtable);
}
END_TEST

static void *wake_once(void *arg)
{
	struct scene *s = arg;

	probe_wake(&s->probe);
	return NULL;
}

static void *await_self_waker(void *arg)
{
	struct scene *s = arg;

	CHECK(thrum_spawn(NULL, wake_once, s) == 0);
	s->result = thrum_block_on(&s->probe.future, &s->output, thrum_after(20 * THRUM_S));
	return NULL;
}

START_TEST(a_future_that_always_wakes_itself_lets_other_threads_run)
{
	struct scene s = {0};

	probe_init(&s.probe, 1);
	s.probe.self_wakes = -1;
	run_green(1, await_self_waker, &s);
	ck_assert(s.result == 0 && s.output == 1);
}
END_TEST

/* Wakes that race with deadlines: none is lost, none hits a stack that is gone. */
struct shower {
	struct thrum_channel *senders;
	uint64_t seed;
	int delivered, given_up;
};

static void *send_oneshots(void *arg)
{
	struct shower *s = arg;
	struct thrum_oneshot *sender;
	int value = 1;

	while (thrum_channel_recv(s->senders, &sender, THRUM_FOREVER) == 0)
		thrum_oneshot_send(sender, &value);
	return NULL;
}

static void *await_oneshots(void *arg)
{
	struct shower *s = arg;
	uint64_t random = s->seed;

	for (int i = 0; i < 3000; i++) {
		struct thrum_oneshot *sender;
		struct thrum_future_oneshot oneshot;
		int value = 0;
		uint64_t dice = thrum__splitmix64(&random);
		CHECK(thrum_oneshot_create(&sender, &oneshot, sizeof(value)) == 0);
		CHECK(thrum_channel_send(s->senders, &sender, THRUM_FOREVER) == 0);
		int result = thrum_block_on(&oneshot.future, &value,
			dice % 2 ? THRUM_FOREVER
				 : thrum_after((int64_t)(dice / 2 % 30) * THRUM_US));
		s->delivered += result == 0 && value == 1;
		s->given_up += result == -ETIMEDOUT;
	}
	return NULL;
}

START_TEST(wakes_that_race_with_deadlines_are_neither_lost_nor_late)
{
	struct shower s = {.seed = test_seed("oneshot shower")};

	ck_assert_int_eq(thrum_channel_create(&s.senders, sizeof(struct thrum_oneshot *), 4), 0);
	pthread_t os = os_thread(send_oneshots, &s);
	run_green(worker_counts[_i], await_oneshots, &s);
	thrum_channel_close(s.senders);
	join_os(os);
	ck_assert_int_eq(s.delivered + s.given_up, 3000);
	ck_assert_int_gt(s.delivered, 1000);
	thrum_channel_unref(s.senders);
}
END_TEST

Suite *suite_block_on(void)
{
	Suite *suite = suite_create("future/block_on");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, an_os_thread_wakes_an_os_thread_with_no_runtime);
	tcase_add_test(basic, a_waker_outlives_its_task_and_then_does_nothing);
	tcase_add_test(basic, many_wakes_make_one_poll);
	tcase_add_test(basic, a_future_that_always_wakes_itself_still_meets_its_deadline);
	suite_add_tcase(suite, basic);
	TCase *threads = tcase_create("threads");
	add_for_workers(threads, an_os_thread_wakes_a_green_thread);
	add_for_workers(threads, a_cancelled_thread_drops_the_future_it_awaits);
	tcase_add_test(threads, a_future_that_always_wakes_itself_lets_other_threads_run);
	suite_add_tcase(suite, threads);
	TCase *stress = tcase_create("stress");
	add_for_workers(stress, wakes_that_race_with_deadlines_are_neither_lost_nor_late);
	suite_add_tcase(suite, stress);
	return suite;
}
