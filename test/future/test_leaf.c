/* SPDX-License-Identifier: MIT */
#include "probe.h"

START_TEST(a_ready_future_gives_its_value_or_its_error)
{
	struct thrum_future_ready ready;
	int value = 42, output = 0;

	ck_assert_int_eq(thrum_block_on(thrum_future_ready_init(&ready, 0, &value, sizeof(value)),
				 &output, THRUM_FOREVER),
		0);
	ck_assert_int_eq(output, 42);
	ck_assert_int_eq(thrum_block_on(thrum_future_ready_init(&ready, -EIO, NULL, 0), &output,
				 THRUM_FOREVER),
		-EIO);
	ck_assert_int_eq(output, 42);
}
END_TEST

START_TEST(a_timer_is_ready_when_its_time_has_come_and_not_before)
{
	struct thrum_future_timer timer;
	thrum_deadline when = thrum_after(5 * THRUM_MS);

	ck_assert_int_eq(
		thrum_block_on(thrum_future_timer_init(&timer, when), NULL, THRUM_FOREVER), 0);
	ck_assert_int_ge(thrum_now(), when);
	ck_assert_int_eq(
		thrum_block_on(thrum_future_timer_init(&timer, THRUM_NOW), NULL, THRUM_NOW), 0);
	ck_assert_int_eq(thrum_block_on(thrum_future_timer_init(&timer, THRUM_FOREVER), NULL,
				 thrum_after(2 * THRUM_MS)),
		-ETIMEDOUT);
}
END_TEST

START_TEST(an_earlier_timer_overtakes_and_the_later_one_is_dropped)
{
	struct thrum_future_timer late, soon;
	struct thrum_future_select2 select;

	thrum_future_select2_init(&select,
		thrum_future_timer_init(&late, thrum_after(THRUM_S * 60)), NULL,
		thrum_future_timer_init(&soon, thrum_after(2 * THRUM_MS)), NULL);
	ck_assert_int_eq(thrum_block_on(&select.future, NULL, thrum_after(20 * THRUM_S)), 0);
	ck_assert_int_eq(select.winner, 1);
}
END_TEST

/* A waker that drops the future which woke it. */
static void drop_timer(void *data)
{
	struct thrum_future_timer *timer = data;

	thrum_future_drop(&timer->future);
	atomic_set(&timer->node_[0], data); /* the memory is the test's again: its sign */
}

static void nothing(void *data)
{
}

START_TEST(a_timer_may_be_dropped_by_its_own_wake)
{
	static const struct thrum_waker_vtable vtable = {nothing, drop_timer, nothing, nothing};
	struct thrum_future_timer timer;
	struct thrum_waker waker = {&timer, &vtable};
	struct thrum_context context = {&waker};

	thrum_future_timer_init(&timer, thrum_after(2 * THRUM_MS));
	ck_assert_int_eq(thrum_future_poll(&timer.future, &context, NULL), THRUM_PENDING);
	wait_until(atomic_get(&timer.node_[0]) == &timer);
}
END_TEST

START_TEST(a_leaf_keeps_the_waker_of_the_last_poll_only)
{
	struct thrum_channel *channel;
	struct thrum_oneshot *sender;
	struct thrum_future_oneshot oneshot;
	struct thrum_future_recv recv;
	struct thrum_future_timer timer;
	int value = 9, output = 0;

	ck_assert_int_eq(thrum_channel_create(&channel, sizeof(int), 1), 0);
	ck_assert_int_eq(thrum_oneshot_create(&sender, &oneshot, sizeof(int)), 0);
	struct thrum_future *leaves[] = {&oneshot.future, thrum_future_recv_init(&recv, channel),
		thrum_future_timer_init(&timer, thrum_after(3600 * THRUM_S))};
	for (int i = 0; i < 3; i++) {
		struct tally first = {0}, second = {0};
		struct thrum_waker waker[] = {{&first, &tally_vtable}, {&second, &tally_vtable}};
		struct thrum_context context[] = {{&waker[0]}, {&waker[1]}};
		ck_assert_int_eq(thrum_future_poll(leaves[i], &context[0], &output), THRUM_PENDING);
		ck_assert_int_eq(thrum_future_poll(leaves[i], &context[1], &output), THRUM_PENDING);
		if (i == 0)
			thrum_oneshot_send(sender, &value);
		if (i == 1)
			ck_assert_int_eq(thrum_channel_send(channel, &value, THRUM_NOW), 0);
		ck_assert(first.wakes == 0 && first.clones == first.drops);
		ck_assert_int_eq(second.wakes, i < 2 ? 1 : 0);
		thrum_future_drop(leaves[i]);
		ck_assert_int_eq(second.clones, second.drops);
	}
	ck_assert_uint_eq(thrum_channel_len(channel), 1); /* woken, but dropped before it took it */
	thrum_channel_unref(channel);
}
END_TEST

START_TEST(a_oneshot_delivers_a_value_or_the_news_that_there_is_none)
{
	struct thrum_oneshot *sender;
	struct thrum_future_oneshot oneshot;
	int value = 9, output = 0;

	ck_assert_int_eq(thrum_oneshot_create(&sender, &oneshot, sizeof(int)), 0);
	ck_assert_int_eq(thrum_oneshot_send(sender, &value), 0);
	ck_assert_int_eq(thrum_block_on(&oneshot.future, &output, THRUM_FOREVER), 0);
	ck_assert_int_eq(output, 9);
	ck_assert_int_eq(thrum_oneshot_create(&sender, &oneshot, sizeof(int)), 0);
	thrum_oneshot_close(sender);
	ck_assert_int_eq(thrum_block_on(&oneshot.future, &output, THRUM_FOREVER), THRUM_ECLOSED);
	ck_assert_int_eq(thrum_oneshot_create(&sender, &oneshot, sizeof(int)), 0);
	thrum_future_drop(&oneshot.future);
	ck_assert_int_eq(thrum_oneshot_send(sender, &value), THRUM_ECLOSED);
	ck_assert_int_eq(thrum_oneshot_create(&sender, &oneshot, SIZE_MAX - 8), -ENOMEM);
	thrum_oneshot_close(NULL);
}
END_TEST

START_TEST(an_element_announced_to_a_dropped_future_is_announced_to_the_next)
{
	struct thrum_channel *channel;
	struct thrum_future_recv recv[2];
	struct tally tally[2] = {0};
	int value = 5, output = 0;

	ck_assert_int_eq(thrum_channel_create(&channel, sizeof(int), 1), 0);
	for (int i = 0; i < 2; i++) {
		struct thrum_waker waker = {&tally[i], &tally_vtable};
		struct thrum_context context = {&waker};
		thrum_future_recv_init(&recv[i], channel);
		ck_assert_int_eq(
			thrum_future_poll(&recv[i].future, &context, &output), THRUM_PENDING);
	}
	ck_assert_int_eq(thrum_channel_send(channel, &value, THRUM_NOW), 0);
	ck_assert(tally[0].wakes == 1 && tally[1].wakes == 0);
	thrum_future_drop(&recv[0].future);
	ck_assert_int_eq(tally[1].wakes, 1);
	ck_assert_int_eq(thrum_block_on(&recv[1].future, &output, THRUM_NOW), 0);
	ck_assert_int_eq(output, 5);
	thrum_channel_unref(channel);
}
END_TEST

struct scene {
	struct probe probe;
	struct thrum_channel *channel;
	thrum_deadline deadline;
	int result, output, count;
	void *value;
};

static void *give_back(void *arg)
{
	thrum_yield();
	return arg;
}

static void *sleep_long(void *arg)
{
	struct scene *s = arg;

	s->count = 1;
	s->result = thrum_sleep_until(THRUM_FOREVER);
	return NULL;
}

static void *await_threads(void *arg)
{
	struct scene *s = arg;
	struct thrum_future_thread thread[3];
	struct thrum_future_join2 join;
	void *values[2] = {NULL, NULL};

	CHECK(thrum_future_thread_spawn(&thread[0], give_back, s) == 0);
	CHECK(thrum_future_thread_spawn(&thread[1], give_back, &s->value) == 0);
	thrum_future_join2_init(
		&join, &thread[0].future, &values[0], &thread[1].future, &values[1]);
	s->count = thrum_block_on(&join.future, NULL, THRUM_FOREVER);
	s->output = values[0] == s && values[1] == &s->value;

	CHECK(thrum_future_thread_spawn(&thread[2], sleep_long, s) == 0);
	s->count += thrum_block_on(&thread[2].future, &s->value, thrum_after(THRUM_MS));
	return NULL;
}

START_TEST(a_future_awaits_green_threads_and_cancels_one_when_dropped)
{
	struct scene s = {.result = 1};

	run_green(worker_counts[_i], await_threads, &s);
	ck_assert_int_eq(s.output, 1);
	ck_assert_int_eq(s.result, -ECANCELED);
}
END_TEST

START_TEST(a_green_thread_can_be_awaited_only_where_one_can_be_started)
{
	struct thrum_future_thread thread;

	ck_assert_int_eq(thrum_future_thread_spawn(&thread, give_back, NULL), THRUM_ENORUNTIME);
}
END_TEST

static void *send_ten(void *arg)
{
	struct scene *s = arg;

	for (int i = 1; i <= 10; i++)
		CHECK(thrum_channel_send(s->channel, &i, THRUM_FOREVER) == 0);
	thrum_channel_close(s->channel);
	return NULL;
}

static void *recv_by_future(void *arg)
{
	struct scene *s = arg;
	struct thrum_future_recv recv;
	int value;

	CHECK(thrum_spawn(NULL, send_ten, s) == 0);
	while ((s->result = thrum_block_on(
			thrum_future_recv_init(&recv, s->channel), &value, THRUM_FOREVER)) == 0)
		s->count += value;
	return NULL;
}

START_TEST(a_future_receives_from_blocking_senders_until_the_channel_ends)
{
	for (size_t capacity = 0; capacity < 3; capacity++) {
		struct scene s = {0};
		ck_assert_int_eq(thrum_channel_create(&s.channel, sizeof(int), capacity), 0);
		run_green(worker_counts[_i], recv_by_future, &s);
		ck_assert_int_eq(s.count, 55);
		ck_assert_int_eq(s.result, THRUM_EEOF);
		thrum_channel_unref(s.channel);
	}
}
END_TEST

static void *await_timers(void *arg)
{
	struct scene *s = arg;
	struct thrum_future_timer timer[2];
	struct thrum_future_select2 select;

	for (int i = 0; i < 20; i++) {
		thrum_deadline soon = thrum_after((i % 5) * 100 * THRUM_US);
		thrum_future_select2_init(&select, thrum_future_timer_init(&timer[0], soon), NULL,
			thrum_future_timer_init(&timer[1], thrum_after(60 * THRUM_S)), NULL);
		s->result |= thrum_block_on(&select.future, NULL, THRUM_FOREVER);
		s->count += select.winner == 0 && thrum_now() >= soon;
	}
	return NULL;
}

START_TEST(a_green_thread_awaits_timers)
{
	struct scene s = {0};

	run_green(worker_counts[_i], await_timers, &s);
	ck_assert_int_eq(s.result, 0);
	ck_assert_int_eq(s.count, 20);
}
END_TEST

enum { ELEMENTS = 3000, RECEIVERS = 6 };

struct storm {
	struct thrum_channel *channel;
	uint64_t seed;
	unsigned next;
	uint8_t seen[ELEMENTS];
};

static void *storm_send(void *arg)
{
	struct storm *s = arg;

	for (int i = 0; i < ELEMENTS; i++) {
		CHECK(thrum_channel_send(s->channel, &i, THRUM_FOREVER) == 0);
		if (i % 64 == 0)
			thrum_yield();
	}
	thrum_channel_close(s->channel);
	return NULL;
}

/* One receive in one of four ways. 0, THRUM_EEOF, or -ETIMEDOUT. */
static int recv_somehow(struct storm *s, uint64_t dice, int *value)
{
	struct thrum_future_recv recv;
	struct thrum_future_timer timer;
	struct thrum_future_select2 select;
	thrum_deadline soon = thrum_after((int64_t)(dice / 4 % 40) * THRUM_US);

	if (dice % 4 == 0)
		return thrum_channel_recv(s->channel, value, soon);
	thrum_future_recv_init(&recv, s->channel);
	if (dice % 4 == 1)
		return thrum_block_on(&recv.future, value, soon);
	if (dice % 4 == 2)
		return thrum_block_on(&recv.future, value, THRUM_FOREVER);
	thrum_future_select2_init(
		&select, thrum_future_timer_init(&timer, soon), NULL, &recv.future, value);
	int result = thrum_block_on(&select.future, NULL, THRUM_FOREVER);
	return select.winner == 0 ? -ETIMEDOUT : result;
}

static void *storm_recv(void *arg)
{
	struct storm *s = arg;
	uint64_t random = seed_for(s->seed, atomic_add(&s->next, 1));
	int result, value;

	while ((result = recv_somehow(s, thrum__splitmix64(&random), &value)) != THRUM_EEOF) {
		CHECK(result == 0 || result == -ETIMEDOUT);
		if (result == 0)
			atomic_add(&s->seen[value], 1);
	}
	return NULL;
}

static void *storm_main(void *arg)
{
	struct thrum_thread *threads[RECEIVERS + 1];

	for (int i = 0; i < RECEIVERS; i++)
		threads[i] = green(storm_recv, arg);
	threads[RECEIVERS] = green(storm_send, arg);
	for (int i = 0; i <= RECEIVERS; i++)
		join_green(threads[i]);
	return NULL;
}

START_TEST(receives_given_up_at_random_lose_no_element)
{
	for (size_t capacity = 0; capacity < 2; capacity++) {
		struct storm *s = calloc(1, sizeof(*s));
		s->seed = test_seed("future storm");
		ck_assert_int_eq(thrum_channel_create(&s->channel, sizeof(int), capacity * 2), 0);
		pthread_t os = os_thread(storm_recv, s);
		run_green(worker_counts[_i], storm_main, s);
		join_os(os);
		for (int i = 0; i < ELEMENTS; i++)
			ck_assert_uint_eq(s->seen[i], 1);
		thrum_channel_unref(s->channel);
		free(s);
	}
}
END_TEST

Suite *suite_leaf(void)
{
	Suite *suite = suite_create("future/leaf");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, a_ready_future_gives_its_value_or_its_error);
	tcase_add_test(basic, a_timer_is_ready_when_its_time_has_come_and_not_before);
	tcase_add_test(basic, an_earlier_timer_overtakes_and_the_later_one_is_dropped);
	tcase_add_test(basic, a_timer_may_be_dropped_by_its_own_wake);
	tcase_add_test(basic, a_leaf_keeps_the_waker_of_the_last_poll_only);
	tcase_add_test(basic, a_oneshot_delivers_a_value_or_the_news_that_there_is_none);
	tcase_add_test(basic, an_element_announced_to_a_dropped_future_is_announced_to_the_next);
	suite_add_tcase(suite, basic);
	TCase *threads = tcase_create("threads");
	add_for_workers(threads, a_future_awaits_green_threads_and_cancels_one_when_dropped);
	tcase_add_test(threads, a_green_thread_can_be_awaited_only_where_one_can_be_started);
	add_for_workers(threads, a_future_receives_from_blocking_senders_until_the_channel_ends);
	add_for_workers(threads, a_green_thread_awaits_timers);
	suite_add_tcase(suite, threads);
	TCase *stress = tcase_create("stress");
	add_for_workers(stress, receives_given_up_at_random_lose_no_element);
	suite_add_tcase(suite, stress);
	return suite;
}
