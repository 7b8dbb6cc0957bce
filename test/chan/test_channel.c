/* SPDX-License-Identifier: MIT */
#include <thrum/channel.h>

#include "../sync/fixture.h"
#include "chan/channel.h"

static struct thrum_channel *make(size_t elem_size, size_t capacity)
{
	struct thrum_channel *channel;

	CHECK(thrum_channel_create(&channel, elem_size, capacity) == 0);
	return channel;
}

static void send_int(struct thrum_channel *channel, int value)
{
	CHECK(thrum_channel_send(channel, &value, THRUM_FOREVER) == 0);
}

/* ---- one thread is enough */

START_TEST(elements_come_out_in_the_order_they_went_in)
{
	struct thrum_channel *channel = make(sizeof(int), 3);
	int in = 0, out = 0, value;

	for (int round = 0; round < 10; round++) {
		while (thrum_channel_send(channel, &in, THRUM_NOW) == 0)
			in++;
		ck_assert_uint_eq(thrum_channel_len(channel), 3);
		for (int i = 0; i < 1 + round % 3; i++) {
			ck_assert_int_eq(thrum_channel_recv(channel, &value, THRUM_NOW), 0);
			ck_assert_int_eq(value, out++);
		}
	}
	thrum_channel_unref(channel);
}
END_TEST

START_TEST(a_try_on_a_full_or_empty_channel_times_out)
{
	struct thrum_channel *channel = make(sizeof(int), 1);
	int value = 7;

	ck_assert_int_eq(thrum_channel_recv(channel, &value, THRUM_NOW), -ETIMEDOUT);
	ck_assert_int_eq(thrum_channel_send(channel, &value, THRUM_NOW), 0);
	ck_assert_int_eq(thrum_channel_send(channel, &value, THRUM_NOW), -ETIMEDOUT);
	ck_assert_int_eq(
		thrum_channel_send(channel, &value, thrum_after(2 * THRUM_MS)), -ETIMEDOUT);
	ck_assert_uint_eq(thrum_channel_len(channel), 1);
	thrum_channel_unref(channel);
}
END_TEST

START_TEST(without_capacity_a_send_needs_a_receiver)
{
	struct thrum_channel *channel = make(sizeof(int), 0);
	int value = 7;

	ck_assert_int_eq(thrum_channel_send(channel, &value, THRUM_NOW), -ETIMEDOUT);
	ck_assert_int_eq(thrum_channel_recv(channel, &value, THRUM_NOW), -ETIMEDOUT);
	ck_assert_int_eq(
		thrum_channel_send(channel, &value, thrum_after(2 * THRUM_MS)), -ETIMEDOUT);
	ck_assert_int_eq(thrum_channel_recv(channel, &value, THRUM_NOW), -ETIMEDOUT);
	thrum_channel_unref(channel);
}
END_TEST

START_TEST(elements_without_bytes_are_events)
{
	struct thrum_channel *channel = make(0, 2);

	ck_assert_int_eq(thrum_channel_send(channel, NULL, THRUM_NOW), 0);
	ck_assert_int_eq(thrum_channel_send(channel, NULL, THRUM_NOW), 0);
	ck_assert_int_eq(thrum_channel_send(channel, NULL, THRUM_NOW), -ETIMEDOUT);
	ck_assert_int_eq(thrum_channel_recv(channel, NULL, THRUM_NOW), 0);
	ck_assert_uint_eq(thrum_channel_len(channel), 1);
	thrum_channel_unref(channel);
}
END_TEST

START_TEST(close_drains_and_then_ends)
{
	struct thrum_channel *channel = make(sizeof(int), 2);
	int value = 1;

	send_int(channel, 41);
	send_int(channel, 42);
	thrum_channel_close(channel);
	thrum_channel_close(channel);
	ck_assert_int_eq(thrum_channel_send(channel, &value, THRUM_FOREVER), THRUM_ECLOSED);
	ck_assert_int_eq(thrum_channel_recv(channel, &value, THRUM_FOREVER), 0);
	ck_assert_int_eq(value, 41);
	ck_assert_int_eq(thrum_channel_recv(channel, &value, THRUM_FOREVER), 0);
	ck_assert_int_eq(value, 42);
	ck_assert_int_eq(thrum_channel_recv(channel, &value, THRUM_FOREVER), THRUM_EEOF);
	thrum_channel_unref(channel);
}
END_TEST

static int dropped;

static void drop_boxed(void *elem)
{
	dropped += **(int **)elem;
	free(*(int **)elem);
}

START_TEST(unconsumed_elements_are_dropped_with_the_channel)
{
	struct thrum_channel *channel = make(sizeof(int *), 4);

	thrum_channel_set_drop(channel, drop_boxed);
	for (int i = 0; i < 6; i++) {
		int *box = malloc(sizeof(*box));
		*box = 1 << i;
		ck_assert_int_eq(thrum_channel_send(channel, &box, THRUM_NOW), 0);
		if (i < 3) { /* also a ring that has gone round */
			ck_assert_int_eq(thrum_channel_recv(channel, &box, THRUM_NOW), 0);
			free(box);
		}
	}
	thrum_channel_ref(channel);
	thrum_channel_unref(channel);
	ck_assert_int_eq(dropped, 0);
	thrum_channel_unref(channel);
	ck_assert_int_eq(dropped, 8 + 16 + 32);
	thrum_channel_unref(NULL);
}
END_TEST

START_TEST(a_channel_beyond_all_memory_is_refused)
{
	struct thrum_channel *channel;

	ck_assert_int_eq(thrum_channel_create(&channel, SIZE_MAX / 2, 3), -ENOMEM);
	ck_assert_ptr_null(channel);
	ck_assert_int_eq(thrum_channel_create(&channel, SIZE_MAX, 1), -ENOMEM);
	ck_assert_ptr_null(channel);
}
END_TEST

/* ---- waiting */

struct pair {
	struct thrum_channel *channel;
	thrum_deadline deadline;
	int send_result, recv_result;
	int received, count;
};

static void *send_seven(void *arg)
{
	struct pair *p = arg;
	int value = 7;

	p->send_result = thrum_channel_send(p->channel, &value, p->deadline);
	return NULL;
}

static void *recv_one(void *arg)
{
	struct pair *p = arg;

	p->recv_result = thrum_channel_recv(p->channel, &p->received, p->deadline);
	return NULL;
}

static void *meet(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < 2; i++) { /* either may be there first */
		struct thrum_thread *first = green(i == 0 ? send_seven : recv_one, p);
		wait_until(thrum__channel_waiters(p->channel) == 1);
		join_green(green(i == 0 ? recv_one : send_seven, p));
		join_green(first);
		p->count += p->send_result == 0 && p->recv_result == 0 && p->received == 7;
		p->received = 0;
	}
	return NULL;
}

START_TEST(without_capacity_sender_and_receiver_meet)
{
	struct pair p = {.channel = make(sizeof(int), 0), .deadline = THRUM_FOREVER};

	run_green(worker_counts[_i], meet, &p);
	ck_assert_int_eq(p.count, 2);
	thrum_channel_unref(p.channel);
}
END_TEST

static void *close_on_both(void *arg)
{
	struct pair *p = arg;

	struct thrum_thread *thread = green(p->count ? send_seven : recv_one, p);
	wait_until(thrum__channel_waiters(p->channel) == 1);
	thrum_channel_close(p->channel);
	join_green(thread);
	return NULL;
}

START_TEST(close_ends_a_waiting_receive_and_a_waiting_send)
{
	for (int sender = 0; sender < 2; sender++) {
		struct pair p = {.channel = make(sizeof(int), (size_t)sender),
			.deadline = THRUM_FOREVER,
			.count = sender};
		int value;
		if (sender)
			send_int(p.channel, 1);
		run_green(worker_counts[_i], close_on_both, &p);
		if (sender) {
			ck_assert_int_eq(p.send_result, THRUM_ECLOSED);
			ck_assert_int_eq(thrum_channel_recv(p.channel, &value, THRUM_NOW), 0);
			ck_assert_int_eq(value, 1);
		} else {
			ck_assert_int_eq(p.recv_result, THRUM_EEOF);
		}
		ck_assert_int_eq(thrum_channel_recv(p.channel, &value, THRUM_NOW), THRUM_EEOF);
		thrum_channel_unref(p.channel);
	}
}
END_TEST

static void *cancel_both(void *arg)
{
	struct pair *p = arg;

	struct thrum_thread *thread = green(recv_one, p);
	wait_until(thrum__channel_waiters(p->channel) == 1);
	thrum_cancel(thread);
	join_green(thread);
	send_int(p->channel, 1);
	thread = green(send_seven, p);
	wait_until(thrum__channel_waiters(p->channel) == 1);
	thrum_cancel(thread);
	join_green(thread);
	return NULL;
}

START_TEST(a_cancelled_send_sent_nothing_and_a_cancelled_receive_took_nothing)
{
	struct pair p = {.channel = make(sizeof(int), 1), .deadline = THRUM_FOREVER};
	int value;

	run_green(worker_counts[_i], cancel_both, &p);
	ck_assert_int_eq(p.recv_result, -ECANCELED);
	ck_assert_int_eq(p.send_result, -ECANCELED);
	ck_assert_int_eq(thrum_channel_recv(p.channel, &value, THRUM_NOW), 0);
	ck_assert_int_eq(value, 1);
	ck_assert_int_eq(thrum_channel_recv(p.channel, &value, THRUM_NOW), -ETIMEDOUT);
	thrum_channel_unref(p.channel);
}
END_TEST

static void *time_out_both(void *arg)
{
	struct pair *p = arg;

	p->deadline = thrum_after(2 * THRUM_MS);
	join_green(green(recv_one, p));
	p->deadline = thrum_after(2 * THRUM_MS);
	join_green(green(send_seven, p));
	return NULL;
}

START_TEST(a_deadline_ends_the_wait_of_either_side)
{
	struct pair p = {.channel = make(sizeof(int), 0)};

	run_green(worker_counts[_i], time_out_both, &p);
	ck_assert_int_eq(p.recv_result, -ETIMEDOUT);
	ck_assert_int_eq(p.send_result, -ETIMEDOUT);
	ck_assert_uint_eq(thrum__channel_waiters(p.channel), 0);
	thrum_channel_unref(p.channel);
}
END_TEST

static void *send_for_ever(void *arg)
{
	struct pair *p = arg;
	int value = 0;

	while ((p->send_result = thrum_channel_send(p->channel, &value, THRUM_FOREVER)) == 0)
		(void)!thrum_channel_recv(
			p->channel, &value, THRUM_NOW); /* so that it never waits */
	return NULL;
}

static void *cancel_a_sender_that_never_waits(void *arg)
{
	struct pair *p = arg;
	struct thrum_thread *thread = green(send_for_ever, p);

	if (thrum_workers() > 1)
		wait_until(thrum_channel_len(p->channel) > 0);
	thrum_cancel(thread);
	join_green(thread);
	return NULL;
}

START_TEST(a_thread_that_never_has_to_wait_can_be_cancelled_too)
{
	struct pair p = {.channel = make(sizeof(int), 1)};

	run_green(worker_counts[_i], cancel_a_sender_that_never_waits, &p);
	ck_assert_int_eq(p.send_result, -ECANCELED);
	thrum_channel_unref(p.channel);
}
END_TEST

/* A try must see either the element or the close, whatever the other receiver does meanwhile. */
static void *try_once(void *arg)
{
	struct pair *p = arg;
	int value;

	p->recv_result = thrum_channel_recv(p->channel, &value, THRUM_NOW);
	return NULL;
}

static void *race_try_and_close(void *arg)
{
	struct pair *p = arg;
	int value;

	for (int i = 0; i < 1000; i++) {
		p->channel = make(sizeof(int), 1);
		send_int(p->channel, 1);
		struct thrum_thread *thread = green(try_once, p);
		thrum_channel_close(p->channel);
		(void)!thrum_channel_recv(p->channel, &value, THRUM_NOW);
		join_green(thread);
		p->count += p->recv_result == -ETIMEDOUT;
		thrum_channel_unref(p->channel);
	}
	return NULL;
}

START_TEST(a_try_that_races_with_close_never_finds_the_channel_empty_and_open)
{
	struct pair p = {0};

	run_green(worker_counts[_i], race_try_and_close, &p);
	ck_assert_int_eq(p.count, 0);
}
END_TEST

Suite *suite_channel(void)
{
	Suite *suite = suite_create("chan/channel");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, elements_come_out_in_the_order_they_went_in);
	tcase_add_test(basic, a_try_on_a_full_or_empty_channel_times_out);
	tcase_add_test(basic, without_capacity_a_send_needs_a_receiver);
	tcase_add_test(basic, elements_without_bytes_are_events);
	tcase_add_test(basic, close_drains_and_then_ends);
	tcase_add_test(basic, unconsumed_elements_are_dropped_with_the_channel);
	tcase_add_test(basic, a_channel_beyond_all_memory_is_refused);
	add_for_workers(basic, without_capacity_sender_and_receiver_meet);
	add_for_workers(basic, close_ends_a_waiting_receive_and_a_waiting_send);
	suite_add_tcase(suite, basic);
	TCase *cancel = tcase_create("cancel");
	add_for_workers(cancel, a_cancelled_send_sent_nothing_and_a_cancelled_receive_took_nothing);
	add_for_workers(cancel, a_deadline_ends_the_wait_of_either_side);
	add_for_workers(cancel, a_thread_that_never_has_to_wait_can_be_cancelled_too);
	suite_add_tcase(suite, cancel);
	TCase *stress = tcase_create("stress");
	add_for_workers(stress, a_try_that_races_with_close_never_finds_the_channel_empty_and_open);
	suite_add_tcase(suite, stress);
	return suite;
}
