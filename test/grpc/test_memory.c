/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "grpc/grpc.h"

#include "../failing.h"

/*
 * Each allocation fails in turn, nghttp2's included: the end that it hits says -ENOMEM or does its
 * work, the other one outlives it, and nothing leaks.
 */

static void *mem_malloc(size_t size, void *user)
{
	return __wrap_malloc(size);
}

static void *mem_calloc(size_t count, size_t size, void *user)
{
	return __wrap_calloc(count, size);
}

static void *mem_realloc(void *old, size_t size, void *user)
{
	return __wrap_realloc(old, size);
}

static void mem_free(void *block, void *user)
{
	__wrap_free(block);
}

static nghttp2_mem mem = {NULL, mem_malloc, mem_free, mem_calloc, mem_realloc};

int __wrap_nghttp2_session_server_new2(nghttp2_session **out, const nghttp2_session_callbacks *cb,
	void *user, const nghttp2_option *option);
int __wrap_nghttp2_session_server_new2(nghttp2_session **out, const nghttp2_session_callbacks *cb,
	void *user, const nghttp2_option *option)
{
	return nghttp2_session_server_new3(out, cb, user, option, &mem);
}

int __wrap_nghttp2_session_client_new2(nghttp2_session **out, const nghttp2_session_callbacks *cb,
	void *user, const nghttp2_option *option);
int __wrap_nghttp2_session_client_new2(nghttp2_session **out, const nghttp2_session_callbacks *cb,
	void *user, const nghttp2_option *option)
{
	return nghttp2_session_client_new3(out, cb, user, option, &mem);
}

/* ---------------------------------------------------------------- one exchange */

enum { CALLS = 4, BIG = 200 * 1000 };

struct end {
	struct grpc_conn *conn;
	struct grpc_call *calls[CALLS];
	unsigned count;
};

static bool on_opened(struct grpc_call *call, void *ctx)
{
	struct end *end = ctx;
	end->calls[end->count++] = call;
	return true;
}

static void on_changed(struct grpc_call *call, void *ctx)
{
}

static int send_message(struct grpc_call *call, size_t len)
{
	uint8_t *to = grpc_call_reserve(call, len);
	if (to == NULL)
		return grpc_call_sends(call) ? -ENOMEM : -EPIPE;
	memset(to, 'm', len);
	return grpc_call_commit(call, len);
}

/* Takes the messages that are there; *taken counts them. 0 or an error. */
static int take_all(struct grpc_call *call, unsigned *taken)
{
	uint8_t *message;
	size_t len;
	int r;
	while ((r = grpc_call_take(call, &message, &len)) == 1) {
		++*taken;
		free(message);
	}
	return r == THRUM_EEOF ? 0 : r;
}

static int carry(struct end *from, struct end *to, bool *moved)
{
	struct thrum__buf bytes = {0};
	int r = grpc_conn_wants_pull(from->conn) ? grpc_conn_pull(from->conn, &bytes, 50000) : 0;
	*moved |= thrum__buf_len(&bytes) > 0;
	if (r == 0)
		r = grpc_conn_feed(to->conn, thrum__buf_head(&bytes), thrum__buf_len(&bytes));
	thrum__buf_fini(&bytes);
	return r;
}

/* Carries bytes both ways and takes what arrives, until nothing moves. */
static int pump(struct end ends[2], unsigned taken[2])
{
	bool moved = true;
	int r = 0;
	while (r == 0 && moved) {
		moved = false;
		for (int i = 0; i < 2 && r == 0; i++) {
			r = carry(&ends[i], &ends[!i], &moved);
			for (unsigned c = 0; c < ends[!i].count && r == 0; c++)
				r = take_all(ends[!i].calls[c], &taken[!i]);
		}
	}
	return r;
}

static int open_call(struct end *end)
{
	static const struct grpc_metadata meta[] = {{"x-a-bin", "\0\1", 2}, {"x-b", "value", 5}};
	int r = grpc_call_open(
		end->conn, "/test.S/M", NULL, 5000000, meta, 2, &end->calls[end->count]);
	end->count += r == 0;
	return r;
}

/* Two calls with messages each way, one more that is given up, a drain. */
static int exchange(struct end ends[2])
{
	static const struct grpc_limits limits;
	struct grpc_events events = {on_opened, on_changed};
	unsigned taken[2] = {0};
	int r = 0;
	for (int i = 0; i < 2 && r == 0; i++)
		r = grpc_conn_create(&ends[i].conn, i == 1, &limits, &events, &ends[i]);
	for (int i = 0; i < 3 && r == 0; i++)
		r = open_call(&ends[0]);
	for (int i = 0; i < 4 && r == 0; i++)
		r = send_message(ends[0].calls[i % 2], i < 2 ? 10 : BIG);
	if (r == 0)
		r = pump(ends, taken);
	for (int i = 0; i < 2 && r == 0; i++) {
		grpc_call_close_send(ends[0].calls[i]);
		r = send_message(ends[1].calls[i], i == 0 ? 0 : BIG);
		grpc_call_finish(ends[1].calls[i], GRPC_OK, NULL);
	}
	if (r == 0) {
		grpc_call_reset(ends[0].calls[2], GRPC_CANCELLED, "given up");
		grpc_call_finish(ends[1].calls[2], GRPC_ABORTED, "\n too late");
		r = grpc_conn_ping(ends[0].conn);
	}
	if (r == 0)
		r = grpc_conn_drain(ends[1].conn);
	while (r == 0 && ends[0].count > 2) { /* its end is no error of the exchange */
		grpc_call_release(ends[0].calls[--ends[0].count]);
		grpc_call_release(ends[1].calls[--ends[1].count]);
	}
	if (r == 0)
		r = pump(ends, taken);
	if (r == 0 && (taken[1] != 4 || taken[0] != 2))
		r = THRUM_EFORMAT;
	return r;
}

static void finish(struct end ends[2])
{
	for (int i = 0; i < 2; i++) {
		if (ends[i].conn != NULL)
			grpc_conn_abort(ends[i].conn, "over");
		while (ends[i].count > 0)
			grpc_call_release(ends[i].calls[--ends[i].count]);
		grpc_conn_destroy(ends[i].conn);
	}
}

START_TEST(each_failed_allocation_is_enomem_and_leaks_nothing)
{
	unsigned long refused = 0;
	for (unsigned long at = 1;; at++) {
		struct end ends[2] = {0};
		failing_begin(at);
		int r = exchange(ends);
		finish(ends);
		bool failed = failing_end();
		ck_assert_msg(r == 0 || (failed && r == -ENOMEM), "allocation %lu: %s", at,
			thrum_strerror(r));
		ck_assert_msg(failing.live == 0, "allocation %lu: %ld leaked", at, failing.live);
		refused += r < 0;
		if (!failed)
			break;
	}
	ck_assert_uint_gt(refused, 50);
}
END_TEST

Suite *suite_memory(void)
{
	Suite *suite = suite_create("grpc/memory");
	TCase *memory = tcase_create("memory");
	tcase_add_test(memory, each_failed_allocation_is_enomem_and_leaks_nothing);
	suite_add_tcase(suite, memory);
	return suite;
}
