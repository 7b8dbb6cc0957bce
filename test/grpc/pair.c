/* SPDX-License-Identifier: MIT */
#include "pair.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>

uint64_t test_seed(void)
{
	uint64_t seed;
	const char *text = getenv("THRUM_SEED");
	if (text != NULL)
		seed = strtoull(text, NULL, 0);
	else
		thrum__random_bytes(&seed, sizeof(seed));
	printf("THRUM_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout); /* a test that times out is killed */
	return seed;
}

/* ---------------------------------------------------------------- our core */

static bool on_opened(struct grpc_call *call, void *ctx)
{
	struct core *core = ctx;
	if (core->count == MAX_CALLS) {
		grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "the test takes no more");
		return false;
	}
	core->calls[core->count++] = call;
	return true;
}

static void on_changed(struct grpc_call *call, void *ctx)
{
	struct core *core = ctx;
	core->changes++;
}

void core_start(struct core *core, bool server, const struct grpc_limits *limits)
{
	static const struct grpc_limits defaults;
	struct grpc_events events = {on_opened, on_changed};
	ck_assert_int_eq(
		grpc_conn_create(&core->conn, server, limits ? limits : &defaults, &events, core),
		0);
}

void pair_start(
	struct pair *pair, const struct grpc_limits *client, const struct grpc_limits *server)
{
	*pair = (struct pair){.seed = test_seed()};
	core_start(&pair->client, false, client);
	core_start(&pair->server, true, server);
}

/* ---------------------------------------------------------------- a bare session */

static void copy_value(char *to, size_t cap, const uint8_t *value, size_t len)
{
	snprintf(to, cap, "%.*s", (int)len, (const char *)value);
}

static int raw_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *user)
{
	struct raw *raw = user;
	const char *n = (const char *)name;
	if (strcmp(n, ":status") == 0)
		copy_value(raw->http_status, sizeof(raw->http_status), value, len);
	else if (strcmp(n, "grpc-status") == 0)
		copy_value(raw->grpc_status, sizeof(raw->grpc_status), value, len);
	else if (strcmp(n, "grpc-message") == 0)
		copy_value(raw->grpc_message, sizeof(raw->grpc_message), value, len);
	else if (strcmp(n, "grpc-accept-encoding") == 0)
		copy_value(raw->accept_encoding, sizeof(raw->accept_encoding), value, len);
	else if (strcmp(n, "te") == 0)
		copy_value(raw->te, sizeof(raw->te), value, len);
	else if (strcmp(n, "grpc-timeout") == 0)
		copy_value(raw->timeout, sizeof(raw->timeout), value, len);
	return 0;
}

static int raw_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct raw *raw = user;
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		raw->stream = frame->hd.stream_id;
		raw->header_blocks++;
		if (raw->header_blocks == 1)
			raw->end_on_first = end;
		raw->end_stream |= end;
	} else if (frame->hd.type == NGHTTP2_DATA) {
		raw->end_stream |= end;
	} else if (frame->hd.type == NGHTTP2_RST_STREAM) {
		raw->reset = true;
		raw->reset_code = frame->rst_stream.error_code;
	} else if (frame->hd.type == NGHTTP2_GOAWAY) {
		raw->goaway = true;
		raw->goaway_last = frame->goaway.last_stream_id;
	}
	return 0;
}

static int raw_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
	size_t len, void *user)
{
	((struct raw *)user)->data += len;
	return 0;
}

static int raw_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
	((struct raw *)user)->closed = true;
	return 0;
}

static ssize_t raw_send(
	nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *user)
{
	ck_assert_int_eq(thrum__buf_append(&((struct raw *)user)->out, data, len), 0);
	return (ssize_t)len;
}

void raw_start(struct raw *raw, bool server)
{
	nghttp2_session_callbacks *cb;
	ck_assert_int_eq(nghttp2_session_callbacks_new(&cb), 0);
	nghttp2_session_callbacks_set_on_header_callback(cb, raw_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, raw_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, raw_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, raw_close);
	nghttp2_session_callbacks_set_send_callback(cb, raw_send);
	*raw = (struct raw){0};
	int r = server ? nghttp2_session_server_new(&raw->session, cb, raw)
		       : nghttp2_session_client_new(&raw->session, cb, raw);
	ck_assert_int_eq(r, 0);
	nghttp2_session_callbacks_del(cb);
	ck_assert_int_eq(nghttp2_submit_settings(raw->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

/* ---------------------------------------------------------------- the wire */

/* Moves what one end has to say to the other. True if anything moved. */
static bool carry(struct pair *pair, struct core *from, struct core *to)
{
	struct thrum__buf bytes = {0};
	if (from->conn != NULL) {
		if (!grpc_conn_wants_pull(from->conn))
			return false;
		size_t limit = 1 + thrum__splitmix64(&pair->seed) % 70000;
		(void)grpc_conn_pull(from->conn, &bytes, limit);
	} else {
		ck_assert_int_eq(nghttp2_session_send(pair->raw.session), 0);
		bytes = pair->raw.out;
		pair->raw.out = (struct thrum__buf){0};
	}
	bool moved = thrum__buf_len(&bytes) > 0;
	while (thrum__buf_len(&bytes) > 0) {
		uint64_t roll = thrum__splitmix64(&pair->seed);
		size_t n = roll % 4 == 0 ? 1 + roll / 4 % 16 : 1 + roll / 4 % 30000;
		n = n < thrum__buf_len(&bytes) ? n : thrum__buf_len(&bytes);
		if (to->conn != NULL)
			(void)grpc_conn_feed(to->conn, thrum__buf_head(&bytes), n);
		else
			(void)nghttp2_session_mem_recv(
				pair->raw.session, thrum__buf_head(&bytes), n);
		thrum__buf_consume(&bytes, n);
	}
	thrum__buf_fini(&bytes);
	return moved;
}

void pair_pump(struct pair *pair)
{
	bool moved;
	do {
		moved = carry(pair, &pair->client, &pair->server);
		moved |= carry(pair, &pair->server, &pair->client);
	} while (moved);
}

static void core_end(struct core *core)
{
	if (core->conn == NULL)
		return;
	for (unsigned i = 0; i < core->count; i++)
		if (core->calls[i] != NULL)
			grpc_call_release(core->calls[i]);
	grpc_conn_destroy(core->conn);
}

void pair_end(struct pair *pair)
{
	core_end(&pair->client);
	core_end(&pair->server);
	if (pair->raw.session != NULL)
		nghttp2_session_del(pair->raw.session);
	thrum__buf_fini(&pair->raw.out);
}

int send_pattern(struct grpc_call *call, size_t len, unsigned tag)
{
	uint8_t *to = grpc_call_reserve(call, len);
	if (to == NULL)
		return -ECANCELED;
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(i * 7 + tag);
	return grpc_call_commit(call, len);
}

int take_pattern(struct grpc_call *call, size_t len, unsigned tag)
{
	uint8_t *message;
	size_t got;
	int r = grpc_call_take(call, &message, &got);
	if (r != 1)
		return r;
	ck_assert_uint_eq(got, len);
	size_t same = 0; /* one assert for all bytes: each is a system call */
	while (same < len && message[same] == (uint8_t)(same * 7 + tag))
		same++;
	ck_assert_uint_eq(same, len);
	free(message);
	return 1;
}
