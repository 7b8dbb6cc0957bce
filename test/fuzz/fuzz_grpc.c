/* SPDX-License-Identifier: MIT */
/*
 * Bytes from a hostile peer, to both roles of the gRPC core. An input is two bytes, the role and
 * into what pieces the rest is cut, and the rest. Whatever comes: no crash, no endless answer, and
 * every call can be released.
 */
#include <errno.h>

#include "grpc/grpc.h"

#include "replay.h"

enum { MAX_CALLS = 64, ANSWER_MAX = 1 << 20 };

struct end {
	struct grpc_conn *conn;
	struct grpc_call *calls[MAX_CALLS];
	unsigned count;
	size_t answered;
};

static bool on_opened(struct grpc_call *call, void *ctx)
{
	struct end *end = ctx;
	CHECK(grpc_call_path(call)[0] != 0);
	if (end->count == MAX_CALLS) {
		grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "full");
		return false;
	}
	end->calls[end->count++] = call;
	return true;
}

static void on_changed(struct grpc_call *call, void *ctx)
{
}

/* What an owner does with a call: echo, then end. */
static void serve(struct end *end, unsigned i, bool server)
{
	uint8_t *message, *to;
	size_t len;
	int r;
	while ((r = grpc_call_take(end->calls[i], &message, &len)) == 1) {
		CHECK(len <= 4 << 20);
		if (server && (to = grpc_call_reserve(end->calls[i], len)) != NULL) {
			memcpy(to, message, len);
			CHECK(grpc_call_commit(end->calls[i], len) == 0);
		}
		free(message);
	}
	if (server && r == THRUM_EEOF)
		grpc_call_finish(end->calls[i], i % 2 ? GRPC_OK : GRPC_ABORTED, "fuzz");
	if (grpc_call_ended(end->calls[i])) {
		const char *text;
		CHECK(grpc_call_status(end->calls[i], &text) <= GRPC_UNAUTHENTICATED);
		grpc_call_release(end->calls[i]);
		end->calls[i] = end->calls[--end->count];
	}
}

static void pull(struct end *end)
{
	struct thrum__buf out = {0};
	(void)grpc_conn_pull(end->conn, &out, ANSWER_MAX);
	end->answered += thrum__buf_len(&out);
	thrum__buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	static const struct grpc_limits limits = {.max_calls = 8, .stream_window = 100000};
	static const struct grpc_events events = {on_opened, on_changed};
	bool server = data[0] % 2;
	size_t piece = 1 + (size_t)data[1] * data[1];
	struct end end = {0};
	CHECK(grpc_conn_create(&end.conn, server, &limits, &events, &end) == 0);
	while (!server && end.count < 3) {
		CHECK(grpc_call_open(
			      end.conn, "/fuzz.F/M", NULL, 0, NULL, 0, &end.calls[end.count]) == 0);
		CHECK(grpc_call_reserve(end.calls[end.count], 3) != NULL);
		CHECK(grpc_call_commit(end.calls[end.count++], 3) == 0);
	}
	pull(&end);
	data += 2;
	size -= 2;
	for (int r = 0; size > 0 && r == 0;) {
		size_t n = piece < size ? piece : size;
		r = grpc_conn_feed(end.conn, data, n);
		CHECK(r == 0 || r == THRUM_EFORMAT);
		for (unsigned i = 0; i < end.count; i++)
			serve(&end, i, server);
		pull(&end);
		data += n;
		size -= n;
	}
	CHECK(end.answered < 4 * ANSWER_MAX);
	if (end.answered % 2)
		grpc_conn_abort(end.conn, "cut");
	while (end.count > 0)
		grpc_call_release(end.calls[--end.count]);
	grpc_conn_destroy(end.conn);
	return 0;
}
