/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "pair.h"

/* The wire of the core: what "Must do" of gRPC asks, one test each, and what a hostile peer may
 * try. */

static struct grpc_call *open_call(struct pair *pair, const char *path)
{
	struct grpc_call *call = NULL;
	ck_assert_int_eq(grpc_call_open(pair->client.conn, path, NULL, 0, NULL, 0, &call), 0);
	pair->client.calls[pair->client.count++] = call;
	return call;
}

static void release(struct core *core, unsigned i)
{
	grpc_call_release(core->calls[i]);
	core->calls[i] = NULL;
}

#define assert_ended(call, code, text_)                                \
	do {                                                           \
		const char *text;                                      \
		ck_assert(grpc_call_ended(call));                      \
		ck_assert_int_eq(grpc_call_status(call, &text), code); \
		ck_assert_str_eq(text, text_);                         \
	} while (0)

/* ---------------------------------------------------------------- calls */

START_TEST(a_unary_call_carries_a_message_each_way_and_an_ok_status)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	struct grpc_call *call = open_call(&pair, "/test.S/Unary");
	ck_assert_int_eq(send_pattern(call, 1000, 1), 0);
	grpc_call_close_send(call);
	pair_pump(&pair);
	ck_assert_uint_eq(pair.server.count, 1);
	struct grpc_call *served = pair.server.calls[0];
	ck_assert_str_eq(grpc_call_path(served), "/test.S/Unary");
	ck_assert_int_lt(grpc_call_timeout(served), 0);
	ck_assert_int_eq(take_pattern(served, 1000, 1), 1);
	ck_assert_int_eq(take_pattern(served, 0, 0), THRUM_EEOF);
	ck_assert_int_eq(send_pattern(served, 5, 2), 0);
	grpc_call_finish(served, GRPC_OK, NULL);
	pair_pump(&pair);
	ck_assert_int_eq(take_pattern(call, 5, 2), 1);
	ck_assert_int_eq(take_pattern(call, 0, 0), THRUM_EEOF);
	assert_ended(call, GRPC_OK, "");
	pair_end(&pair);
}
END_TEST

START_TEST(empty_and_big_messages_cross_any_chunking)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	struct grpc_call *call = open_call(&pair, "/test.S/Stream");
	static const size_t sizes[] = {0, 1, 4, 5, 6, 16384, 65536, 65537, 4 << 20, 0, 70000};
	for (size_t i = 0; i < thrum__countof(sizes); i++) {
		ck_assert_int_eq(send_pattern(call, sizes[i], (unsigned)i), 0);
		if (pair.server.count == 0)
			pair_pump(&pair);
		ck_assert_uint_eq(pair.server.count, 1);
		int r;
		while ((r = take_pattern(pair.server.calls[0], sizes[i], (unsigned)i)) == 0)
			pair_pump(&pair); /* taking opens the window */
		ck_assert_int_eq(r, 1);
	}
	pair_end(&pair);
}
END_TEST

START_TEST(random_calls_echo_every_message_once_and_in_order)
{
	enum { CALLS = 20, MESSAGES = 30 };
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	unsigned sent[CALLS] = {0}, echoed[CALLS] = {0}, received[CALLS] = {0};
	size_t sizes[CALLS][MESSAGES];
	struct grpc_call *served[CALLS] = {0};
	for (unsigned i = 0; i < CALLS; i++) {
		char path[32];
		snprintf(path, sizeof(path), "/test.S/Echo/%u", i);
		open_call(&pair, path);
	}
	pair_pump(&pair);
	ck_assert_uint_eq(pair.server.count, CALLS);
	for (unsigned i = 0; i < CALLS; i++)
		served[atoi(strrchr(grpc_call_path(pair.server.calls[i]), '/') + 1)] =
			pair.server.calls[i];
	for (unsigned done = 0; done < CALLS;) {
		unsigned i = (unsigned)(thrum__splitmix64(&pair.seed) % CALLS);
		struct grpc_call *call = pair.client.calls[i];
		if (sent[i] < MESSAGES) {
			sizes[i][sent[i]] = thrum__splitmix64(&pair.seed) % 20000;
			ck_assert_int_eq(send_pattern(call, sizes[i][sent[i]], sent[i] + i), 0);
			if (++sent[i] == MESSAGES)
				grpc_call_close_send(call);
		}
		pair_pump(&pair);
		while (echoed[i] < sent[i] &&
			take_pattern(served[i], sizes[i][echoed[i]], echoed[i] + i) == 1) {
			ck_assert_int_eq(
				send_pattern(served[i], sizes[i][echoed[i]], echoed[i] + i), 0);
			if (++echoed[i] == MESSAGES)
				grpc_call_finish(served[i], GRPC_OK, NULL);
		}
		pair_pump(&pair);
		while (received[i] < echoed[i] &&
			take_pattern(call, sizes[i][received[i]], received[i] + i) == 1)
			if (++received[i] == MESSAGES)
				done++;
	}
	for (unsigned i = 0; i < CALLS; i++)
		ck_assert_int_eq(take_pattern(pair.client.calls[i], 0, 0), THRUM_EEOF);
	pair_end(&pair);
}
END_TEST

START_TEST(a_status_after_messages_arrives_after_them)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	struct grpc_call *call = open_call(&pair, "/test.S/Down");
	pair_pump(&pair);
	struct grpc_call *served = pair.server.calls[0];
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(send_pattern(served, 10, i), 0);
	grpc_call_finish(served, GRPC_NOT_FOUND, "100% gone \xc3\xbc\n");
	pair_pump(&pair);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(take_pattern(call, 10, i), 1);
	ck_assert_int_eq(take_pattern(call, 0, 0), -ENOENT);
	assert_ended(call, GRPC_NOT_FOUND, "100% gone \xc3\xbc\n");
	pair_end(&pair);
}
END_TEST

START_TEST(metadata_crosses_and_binary_values_are_base64)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	struct grpc_metadata meta[] = {{"x-token", "abc def", 7}, {"x-key-bin", "\0\xff\x10", 3}};
	struct grpc_call *call;
	ck_assert_int_eq(
		grpc_call_open(pair.client.conn, "/a/b", NULL, 5000000, meta, 2, &call), 0);
	pair.client.calls[pair.client.count++] = call;
	pair_pump(&pair);
	const struct grpc_metadata *got = grpc_call_metadata(pair.server.calls[0], "x-token");
	ck_assert_uint_eq(got->len, 7);
	ck_assert_mem_eq(got->value, "abc def", 8); /* with its NUL */
	got = grpc_call_metadata(pair.server.calls[0], "x-key-bin");
	ck_assert_uint_eq(got->len, 3);
	ck_assert_mem_eq(got->value, "\0\xff\x10", 3);
	ck_assert_ptr_null(grpc_call_metadata(pair.server.calls[0], "te"));
	ck_assert_int_eq(grpc_call_timeout(pair.server.calls[0]), 5000000);
	pair_end(&pair);
}
END_TEST

START_TEST(malformed_requests_are_refused_before_they_are_sent)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	struct grpc_call *call;
	static const char *const paths[] = {"", "a/b", "/a b", "/a\n", "/\xc3\xbc"};
	for (size_t i = 0; i < thrum__countof(paths); i++)
		ck_assert_int_eq(
			grpc_call_open(pair.client.conn, paths[i], NULL, 0, NULL, 0, &call),
			-EINVAL);
	static const struct grpc_metadata bad[] = {{"X-Upper", "a", 1}, {"", "a", 1},
		{"grpc-status", "0", 1}, {":path", "/", 1}, {"x", "a\r\nb: c", 7}, {"x", " a", 2},
		{"content-type", "a", 1}};
	for (size_t i = 0; i < thrum__countof(bad); i++)
		ck_assert_int_eq(
			grpc_call_open(pair.client.conn, "/a/b", NULL, 0, &bad[i], 1, &call),
			-EINVAL);
	pair_end(&pair);
}
END_TEST

/* ---------------------------------------------------------------- limits and flow control */

START_TEST(a_message_beyond_the_limit_ends_in_resource_exhausted)
{
	struct pair pair;
	struct grpc_limits small = {.max_message = 1000};
	pair_start(&pair, &small, &small);
	struct grpc_call *call = open_call(&pair, "/test.S/Up");
	ck_assert_int_eq(send_pattern(call, 1001, 1), 0);
	pair_pump(&pair);
	ck_assert_int_eq(take_pattern(pair.server.calls[0], 0, 0),
		grpc_status_to_error(GRPC_RESOURCE_EXHAUSTED));
	assert_ended(
		call, GRPC_RESOURCE_EXHAUSTED, "message of 1001 bytes, at most 1000 are taken");
	/* And downwards: the client refuses. */
	call = open_call(&pair, "/test.S/Down");
	pair_pump(&pair);
	ck_assert_int_eq(send_pattern(pair.server.calls[1], 1001, 1), 0);
	pair_pump(&pair);
	assert_ended(
		call, GRPC_RESOURCE_EXHAUSTED, "message of 1001 bytes, at most 1000 are taken");
	ck_assert(grpc_call_ended(pair.server.calls[1]));
	ck_assert(!grpc_conn_finished(pair.client.conn)); /* the connection lives on */
	pair_end(&pair);
}
END_TEST

START_TEST(unread_messages_hold_the_sender_back)
{
	struct pair pair;
	struct grpc_limits narrow = {.stream_window = 100000};
	pair_start(&pair, NULL, &narrow);
	struct grpc_call *call = open_call(&pair, "/test.S/Up");
	pair_pump(&pair); /* the window is known */
	enum { SIZE = 10000 - 5, MESSAGES = 100 };
	for (unsigned i = 0; i < MESSAGES; i++)
		ck_assert_int_eq(send_pattern(call, SIZE, i), 0);
	ck_assert(!grpc_call_room(call));
	pair_pump(&pair);
	unsigned changes = pair.client.changes;
	struct grpc_call *served = pair.server.calls[0];
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(take_pattern(served, SIZE, i), 1);
	ck_assert_int_eq(take_pattern(served, SIZE, 10), 0); /* no more than the window came */
	ck_assert(!grpc_call_room(call));
	for (unsigned i = 10; i < MESSAGES; i++) {
		pair_pump(&pair);
		ck_assert_int_eq(take_pattern(served, SIZE, i), 1);
	}
	ck_assert(grpc_call_room(call));
	ck_assert_uint_gt(pair.client.changes, changes); /* the sender was told */
	pair_end(&pair);
}
END_TEST

START_TEST(calls_given_up_unread_give_the_window_back)
{
	struct pair pair;
	struct grpc_limits narrow = {.stream_window = 200000, .conn_window = 300000};
	pair_start(&pair, NULL, &narrow);
	for (unsigned i = 0; i < 50; i++) { /* 5 MB that nobody reads, through a window of 300 KB */
		struct grpc_call *call = open_call(&pair, "/test.S/Up");
		ck_assert_int_eq(send_pattern(call, 100000, i), 0);
		ck_assert_int_eq(send_pattern(call, 100000, i), 0);
		pair_pump(&pair);
		ck_assert_uint_eq(pair.server.count, i + 1);
		grpc_call_finish(pair.server.calls[i], i % 2 ? GRPC_OK : GRPC_ABORTED, NULL);
		pair_pump(&pair);
		ck_assert(grpc_call_ended(call));
		release(&pair.server, i);
		release(&pair.client, i);
		pair_pump(&pair);
	}
	struct grpc_call *call = open_call(&pair, "/test.S/Up");
	ck_assert_int_eq(send_pattern(call, 150000, 9), 0);
	pair_pump(&pair);
	while (take_pattern(pair.server.calls[50], 150000, 9) == 0)
		pair_pump(&pair);
	pair_end(&pair);
}
END_TEST

START_TEST(a_server_admits_only_so_many_calls_at_once)
{
	struct pair pair;
	struct grpc_limits few = {.max_calls = 3};
	pair_start(&pair, NULL, &few);
	pair_pump(&pair);
	for (unsigned i = 0; i < 5; i++)
		open_call(&pair, "/test.S/Wait");
	pair_pump(&pair);
	ck_assert_uint_eq(pair.server.count, 3);
	grpc_call_finish(pair.server.calls[0], GRPC_OK, NULL); /* the client's queue moves up */
	grpc_call_close_send(pair.client.calls[0]);
	pair_pump(&pair);
	ck_assert_uint_eq(pair.server.count, 4);
	/* A call cancelled while it still waits in that queue ends and frees itself. */
	release(&pair.client, 4);
	grpc_call_finish(pair.server.calls[1], GRPC_OK, NULL);
	pair_pump(&pair);
	ck_assert_uint_eq(pair.server.count, 4);
	pair_end(&pair);
}
END_TEST

/* ---------------------------------------------------------------- ends */

START_TEST(a_cancelled_call_is_cancelled_on_the_server)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	struct grpc_call *call = open_call(&pair, "/test.S/Wait");
	pair_pump(&pair);
	unsigned changes = pair.server.changes;
	grpc_call_reset(call, GRPC_CANCELLED, "enough");
	assert_ended(call, GRPC_CANCELLED, "enough");
	pair_pump(&pair);
	ck_assert_uint_gt(pair.server.changes, changes);
	assert_ended(pair.server.calls[0], GRPC_CANCELLED, "the client reset the call");
	ck_assert_ptr_null(grpc_call_reserve(pair.server.calls[0], 1));
	pair_end(&pair);
}
END_TEST

START_TEST(thousands_of_cancels_do_not_cost_the_connection)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	for (unsigned i = 0; i < 6000; i++) {
		struct grpc_call *call;
		ck_assert_int_eq(
			grpc_call_open(pair.client.conn, "/a/b", NULL, 0, NULL, 0, &call), 0);
		pair_pump(&pair);
		ck_assert_uint_eq(pair.server.count, 1);
		grpc_call_release(call);
		pair_pump(&pair);
		release(&pair.server, 0);
		pair.server.count = 0;
	}
	ck_assert(grpc_conn_accepts_calls(pair.client.conn));
	pair_end(&pair);
}
END_TEST

START_TEST(an_aborted_connection_ends_every_call_as_unavailable)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	struct grpc_call *call = open_call(&pair, "/test.S/Wait"), *other;
	pair_pump(&pair);
	ck_assert_int_eq(send_pattern(pair.server.calls[0], 4, 4), 0);
	pair_pump(&pair);
	grpc_conn_abort(pair.client.conn, "the cable was cut");
	ck_assert_int_eq(take_pattern(call, 4, 4), 1); /* what came in before is not lost */
	ck_assert_int_eq(take_pattern(call, 0, 0), grpc_status_to_error(GRPC_UNAVAILABLE));
	assert_ended(call, GRPC_UNAVAILABLE, "the cable was cut");
	ck_assert_int_eq(
		grpc_call_open(pair.client.conn, "/a/b", NULL, 0, NULL, 0, &other), -ECONNRESET);
	ck_assert(grpc_conn_finished(pair.client.conn));
	pair_end(&pair);
}
END_TEST

START_TEST(a_draining_server_finishes_what_runs_and_takes_no_more)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	struct grpc_call *call = open_call(&pair, "/test.S/Wait"), *other;
	pair_pump(&pair);
	ck_assert_int_eq(grpc_conn_drain(pair.server.conn), 0);
	ck_assert_int_eq(grpc_conn_drain(pair.server.conn), 0);
	/* Begun before the client has seen the notice: still served. */
	struct grpc_call *late = open_call(&pair, "/test.S/Late");
	grpc_call_close_send(late);
	pair_pump(&pair);
	ck_assert_uint_eq(pair.server.count, 2);
	ck_assert(!grpc_conn_accepts_calls(pair.client.conn));
	ck_assert_int_eq(
		grpc_call_open(pair.client.conn, "/a/b", NULL, 0, NULL, 0, &other), -ECONNRESET);
	ck_assert(!grpc_conn_finished(pair.server.conn));
	grpc_call_close_send(call);
	for (unsigned i = 0; i < 2; i++)
		grpc_call_finish(pair.server.calls[i], GRPC_OK, NULL);
	pair_pump(&pair);
	assert_ended(call, GRPC_OK, "");
	assert_ended(late, GRPC_OK, "");
	ck_assert(grpc_conn_finished(pair.server.conn));
	ck_assert(grpc_conn_finished(pair.client.conn));
	ck_assert_int_eq(grpc_conn_error(pair.server.conn), 0);
	pair_end(&pair);
}
END_TEST

START_TEST(garbage_is_not_http2)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	ck_assert_int_eq(grpc_conn_feed(pair.server.conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27),
		THRUM_EFORMAT);
	ck_assert(grpc_conn_finished(pair.server.conn));
	ck_assert_int_eq(grpc_conn_feed(pair.server.conn, "more", 4), THRUM_EFORMAT);
	pair_end(&pair);
}
END_TEST

START_TEST(a_ping_is_answered_and_a_flood_of_them_is_bounded)
{
	struct pair pair;
	pair_start(&pair, NULL, NULL);
	pair_pump(&pair);
	ck_assert_int_eq(grpc_conn_ping(pair.client.conn), 0);
	struct thrum__buf bytes = {0};
	ck_assert_int_eq(grpc_conn_pull(pair.client.conn, &bytes, 100), 0);
	ck_assert_uint_eq(thrum__buf_len(&bytes), 17);
	ck_assert_int_eq(grpc_conn_feed(pair.server.conn, thrum__buf_head(&bytes), 17), 0);
	ck_assert(grpc_conn_wants_pull(pair.server.conn));
	int r = 0;
	for (int i = 0; i < 5000 && r == 0; i++) /* the peer never reads our answers */
		r = grpc_conn_feed(pair.server.conn, thrum__buf_head(&bytes), 17);
	ck_assert_int_eq(r, THRUM_EFORMAT);
	thrum__buf_fini(&bytes);
	pair_end(&pair);
}
END_TEST

START_TEST(answers_that_nobody_reads_do_not_pile_up)
{
	struct pair pair;
	struct thrum__buf bytes = {0};
	int r = 0, rounds = 0;
	pair_start(&pair, NULL, NULL);
	pair_pump(&pair);
	for (; r == 0 && rounds < 9000;
		rounds++) { /* fewer than what the reset limiter would stop */
		struct grpc_call *call;
		ck_assert_int_eq(
			grpc_call_open(pair.client.conn, "/a/b", NULL, 0, NULL, 0, &call), 0);
		ck_assert_int_eq(grpc_conn_pull(pair.client.conn, &bytes, 1 << 20), 0);
		grpc_call_release(call);
		ck_assert_int_eq(grpc_conn_pull(pair.client.conn, &bytes, 1 << 20), 0);
		r = grpc_conn_feed(
			pair.server.conn, thrum__buf_head(&bytes), thrum__buf_len(&bytes));
		thrum__buf_clear(&bytes);
	}
	ck_assert_int_eq(r, THRUM_EFORMAT);
	thrum__buf_fini(&bytes);
	pair_end(&pair);
}
END_TEST

Suite *suite_core(void)
{
	Suite *suite = suite_create("grpc/core");
	TCase *calls = tcase_create("calls");
	tcase_set_timeout(calls, 20);
	tcase_add_test(calls, a_unary_call_carries_a_message_each_way_and_an_ok_status);
	tcase_add_test(calls, empty_and_big_messages_cross_any_chunking);
	tcase_add_test(calls, random_calls_echo_every_message_once_and_in_order);
	tcase_add_test(calls, a_status_after_messages_arrives_after_them);
	tcase_add_test(calls, metadata_crosses_and_binary_values_are_base64);
	tcase_add_test(calls, malformed_requests_are_refused_before_they_are_sent);
	suite_add_tcase(suite, calls);
	TCase *limits = tcase_create("limits");
	tcase_set_timeout(limits, 20);
	tcase_add_test(limits, a_message_beyond_the_limit_ends_in_resource_exhausted);
	tcase_add_test(limits, unread_messages_hold_the_sender_back);
	tcase_add_test(limits, calls_given_up_unread_give_the_window_back);
	tcase_add_test(limits, a_server_admits_only_so_many_calls_at_once);
	suite_add_tcase(suite, limits);
	TCase *ends = tcase_create("ends");
	tcase_set_timeout(ends, 20);
	tcase_add_test(ends, a_cancelled_call_is_cancelled_on_the_server);
	tcase_add_test(ends, thousands_of_cancels_do_not_cost_the_connection);
	tcase_add_test(ends, an_aborted_connection_ends_every_call_as_unavailable);
	tcase_add_test(ends, a_draining_server_finishes_what_runs_and_takes_no_more);
	tcase_add_test(ends, garbage_is_not_http2);
	tcase_add_test(ends, a_ping_is_answered_and_a_flood_of_them_is_bounded);
	tcase_add_test(ends, answers_that_nobody_reads_do_not_pile_up);
	suite_add_tcase(suite, ends);
	return suite;
}
