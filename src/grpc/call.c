/* SPDX-License-Identifier: MIT */
#include "grpc/grpc_internal.h"

#include <errno.h>
#include <stdio.h>

#include "grpc/wire.h"

/*
 * One call: messages in and out of its stream, and its end.
 *
 * Invariants
 *  [I1] unconsumed >= bytes of this stream that the windows still count as ours to read.
 *  [I2] A message's memory grows with the bytes that came, not with the length its prefix claims.
 *  [I3] ended is set once, with the status; events.changed follows.
 */

enum { FIRST_CHUNK = 64 * 1024 };

struct grpc_call *grpc__call_new(struct grpc_conn *conn)
{
	struct grpc_call *call = calloc(1, sizeof(*call));
	if (call == NULL)
		return NULL;
	call->conn = conn;
	call->timeout_ns = -1;
	thrum__list_push_back(&conn->calls, &call->node);
	return call;
}

/* Gives n bytes back to the stream's and the connection's window. */
static void consume(struct grpc_call *call, size_t n)
{
	call->unconsumed -= n;
	if (n > 0 && !call->conn->dead)
		grpc__note(
			call->conn, nghttp2_session_consume(call->conn->session, call->stream, n));
}

static void drop_received(struct grpc_call *call)
{
	struct ready_message message;
	while (thrum__buf_len(&call->ready) > 0) {
		memcpy(&message, thrum__buf_head(&call->ready), sizeof(message));
		thrum__buf_consume(&call->ready, sizeof(message));
		free(message.data);
	}
	free(call->partial);
	call->partial = NULL;
	call->prefix_have = 0;
	call->ready_bytes = 0;
	consume(call, call->unconsumed);
}

/* Drops what is queued to be sent and received. */
static void drop_all(struct grpc_call *call)
{
	thrum__buf_clear(&call->out);
	drop_received(call);
}

void grpc__call_settle(struct grpc_call *call)
{
	if (call->held || call->stream_open)
		return;
	drop_all(call);
	grpc__headers_free(call);
	thrum__buf_fini(&call->ready);
	thrum__buf_fini(&call->out);
	thrum__list_remove(&call->node);
	thrum__list_remove(&call->late_node);
	free(call->path);
	free(call);
}

void grpc__call_changed(struct grpc_call *call)
{
	if (call->held)
		call->conn->events.changed(call, call->conn->ctx);
}

void grpc__call_end(struct grpc_call *call, enum grpc_status status, const char *text)
{
	if (call->ended)
		return;
	call->ended = true;
	call->status = status;
	snprintf(call->text, sizeof(call->text), "%s", text != NULL ? text : "");
	grpc__call_changed(call);
}

/* ---------------------------------------------------------------- receiving */

/* Opens the window as far as what is kept allows. */
static void open_window(struct grpc_call *call)
{
	size_t keep = call->ready_bytes;
	if (!call->wanted)
		keep += call->prefix_have + (call->partial != NULL ? call->partial_have : 0);
	if (call->unconsumed > keep)
		consume(call, call->unconsumed - keep);
}

/* The prefix is complete: starts a message, or ends the call. 0 or -ENOMEM. */
static int begin_message(struct grpc_call *call)
{
	const uint8_t *p = call->prefix;
	size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (p[0] != 0) {
		grpc_call_reset(call, GRPC_INTERNAL, "a compressed message without an encoding");
		return 0;
	}
	if (len > call->conn->limits.max_message) {
		char text[96];
		snprintf(text, sizeof(text), "message of %zu bytes, at most %zu are taken", len,
			call->conn->limits.max_message);
		grpc_call_reset(call, GRPC_RESOURCE_EXHAUSTED, text);
		return 0;
	}
	call->partial_cap = len < FIRST_CHUNK ? len : FIRST_CHUNK;
	call->partial = malloc(call->partial_cap != 0 ? call->partial_cap : 1);
	call->partial_len = len;
	call->partial_have = 0;
	return call->partial != NULL ? 0 : -ENOMEM;
}

static int end_message(struct grpc_call *call)
{
	struct ready_message message = {call->partial, call->partial_len};
	if (thrum__buf_append(&call->ready, &message, sizeof(message)) < 0)
		return -ENOMEM;
	call->ready_bytes += GRPC_PREFIX + message.len;
	call->partial = NULL;
	call->prefix_have = 0;
	call->wanted = false;
	grpc__call_changed(call);
	return 0;
}

/* Makes room for n more bytes of the message [I2]. */
static int grow_partial(struct grpc_call *call, size_t n)
{
	size_t cap = call->partial_cap;
	if (cap - call->partial_have >= n)
		return 0;
	while (cap - call->partial_have < n)
		cap *= 2;
	cap = cap < call->partial_len ? cap : call->partial_len;
	uint8_t *grown = realloc(call->partial, cap);
	if (grown == NULL)
		return -ENOMEM;
	call->partial = grown;
	call->partial_cap = cap;
	return 0;
}

/* Takes some of the bytes; returns how many, or -ENOMEM. */
static ssize_t take_bytes(struct grpc_call *call, const uint8_t *bytes, size_t len)
{
	if (call->partial == NULL) {
		size_t n = GRPC_PREFIX - call->prefix_have;
		n = n < len ? n : len;
		memcpy(call->prefix + call->prefix_have, bytes, n);
		call->prefix_have += n;
		int r = call->prefix_have == GRPC_PREFIX ? begin_message(call) : 0;
		if (r == 0 && call->partial != NULL && call->partial_len == 0)
			r = end_message(call);
		return r < 0 ? r : (ssize_t)n;
	}
	size_t n = call->partial_len - call->partial_have;
	n = n < len ? n : len;
	if (grow_partial(call, n) < 0)
		return -ENOMEM;
	memcpy(call->partial + call->partial_have, bytes, n);
	call->partial_have += n;
	if (call->partial_have == call->partial_len && end_message(call) < 0)
		return -ENOMEM;
	return (ssize_t)n;
}

int grpc__call_data(struct grpc_call *call, const uint8_t *bytes, size_t len)
{
	call->unconsumed += len;
	while (len > 0 && !call->ended) {
		ssize_t n = take_bytes(call, bytes, len);
		if (n < 0)
			return (int)n;
		bytes += n;
		len -= (size_t)n;
	}
	if (call->ended)
		drop_received(call);
	else
		open_window(call);
	return 0;
}

void grpc__call_remote_end(struct grpc_call *call)
{
	if (call->ended)
		return;
	call->remote_closed = true;
	if (!call->conn->server)
		grpc_call_reset(call, GRPC_INTERNAL, "the server closed the call without a status");
	else if (call->prefix_have > 0 || call->partial != NULL)
		grpc_call_reset(call, GRPC_INTERNAL, "the last message is cut");
	else
		grpc__call_changed(call);
}

int grpc_call_take(struct grpc_call *call, uint8_t **message, size_t *len)
{
	struct ready_message next;
	if (thrum__buf_len(&call->ready) >= sizeof(next)) {
		memcpy(&next, thrum__buf_head(&call->ready), sizeof(next));
		thrum__buf_consume(&call->ready, sizeof(next));
		call->ready_bytes -= GRPC_PREFIX + next.len;
		open_window(call);
		*message = next.data;
		*len = next.len;
		return 1;
	}
	if (call->ended)
		return call->status == GRPC_OK ? THRUM_EEOF : grpc_status_to_error(call->status);
	if (call->remote_closed)
		return THRUM_EEOF;
	call->wanted = true;
	open_window(call);
	return 0;
}

/* ---------------------------------------------------------------- sending */

/* grpc-status and grpc-message; encoded takes 3 * GRPC_TEXT_MAX bytes. Returns how many fields. */
static size_t status_fields(struct grpc_call *call, nghttp2_nv nv[3], char number[8], char *encoded)
{
	size_t n = 0;
	snprintf(number, 8, "%d", (int)call->status);
	nv[n++] = grpc__nv("grpc-status", number);
	if (call->text[0] != 0)
		nv[n++] = grpc__nv_bytes(
			"grpc-message", encoded, grpc_percent_encode(call->text, encoded));
	if (!call->block.encoding_ok)
		nv[n++] = grpc__nv("grpc-accept-encoding", "identity");
	return n;
}

static void submit_trailers(struct grpc_call *call)
{
	nghttp2_nv nv[3];
	char number[8], encoded[3 * GRPC_TEXT_MAX];
	size_t n = status_fields(call, nv, number, encoded);
	grpc__note(call->conn, nghttp2_submit_trailer(call->conn->session, call->stream, nv, n));
}

/* One HEADERS frame that is headers and trailers at once. */
static void trailers_only(struct grpc_call *call)
{
	nghttp2_nv nv[5] = {
		grpc__nv(":status", "200"), grpc__nv("content-type", "application/grpc")};
	char number[8], encoded[3 * GRPC_TEXT_MAX];
	size_t n = status_fields(call, nv + 2, number, encoded);
	grpc__note(call->conn,
		nghttp2_submit_response(call->conn->session, call->stream, nv, n + 2, NULL));
}

static ssize_t read_data(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t len,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct grpc_call *call = source->ptr;
	size_t have = thrum__buf_len(&call->out);
	if (have == 0 && !call->send_closed)
		return NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (have > len)
		return (ssize_t)len;
	if (call->send_closed) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (call->conn->server) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			submit_trailers(call);
		}
	}
	return (ssize_t)have;
}

nghttp2_data_provider grpc__call_provider(struct grpc_call *call)
{
	return (nghttp2_data_provider){.source.ptr = call, .read_callback = read_data};
}

/* Something to send is there, or the end. */
static void wake_sender(struct grpc_call *call)
{
	struct grpc_conn *conn = call->conn;
	if (conn->dead || !call->stream_open)
		return;
	if (conn->server && !call->responded) {
		call->responded = true;
		nghttp2_nv nv[] = {
			grpc__nv(":status", "200"), grpc__nv("content-type", "application/grpc")};
		nghttp2_data_provider provider = grpc__call_provider(call);
		grpc__note(conn,
			nghttp2_submit_response(conn->session, call->stream, nv, 2, &provider));
		return;
	}
	/* INVALID_ARGUMENT: it is not asleep. */
	grpc__note(conn, nghttp2_session_resume_data(conn->session, call->stream));
}

uint8_t *grpc_call_reserve(struct grpc_call *call, size_t len)
{
	if (!grpc_call_sends(call) || len > UINT32_MAX)
		return NULL;
	uint8_t *to = thrum__buf_reserve(&call->out, GRPC_PREFIX + len);
	return to != NULL ? to + GRPC_PREFIX : NULL;
}

int grpc_call_commit(struct grpc_call *call, size_t len)
{
	uint8_t *p = call->out.data + call->out.end;
	p[0] = 0;
	for (int i = 0; i < 4; i++)
		p[1 + i] = (uint8_t)(len >> (24 - 8 * i));
	thrum__buf_commit(&call->out, GRPC_PREFIX + len);
	call->full = !grpc_call_room(call);
	wake_sender(call);
	return call->conn->error == -ENOMEM ? -ENOMEM : 0;
}

bool grpc_call_sends(const struct grpc_call *call)
{
	return !call->ended && !call->send_closed;
}

bool grpc_call_room(const struct grpc_call *call)
{
	return thrum__buf_len(&call->out) < call->conn->limits.send_buffer;
}

void grpc_call_close_send(struct grpc_call *call)
{
	if (call->conn->server || call->send_closed)
		return;
	call->send_closed = true;
	wake_sender(call);
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *text)
{
	if (call->ended)
		return;
	call->send_closed = true;
	grpc__call_end(call, status, text);
	if (call->conn->dead || !call->stream_open)
		return;
	if (call->responded) {
		wake_sender(call);
	} else {
		call->responded = true;
		trailers_only(call);
	}
}

/* What a peer shall read out of a reset. */
static uint32_t reset_code(enum grpc_status status)
{
	switch (status) {
	case GRPC_RESOURCE_EXHAUSTED:
		return NGHTTP2_ENHANCE_YOUR_CALM;
	case GRPC_UNAVAILABLE:
		return NGHTTP2_REFUSED_STREAM;
	case GRPC_INTERNAL:
		return NGHTTP2_INTERNAL_ERROR;
	default:
		return NGHTTP2_CANCEL;
	}
}

void grpc_call_reset(struct grpc_call *call, enum grpc_status status, const char *text)
{
	struct grpc_conn *conn = call->conn;
	if (call->ended)
		return;
	drop_all(call);
	if (conn->server && !call->responded) {
		grpc_call_finish(call, status, text);
		return;
	}
	call->send_closed = true;
	if (!conn->dead && call->stream_open)
		grpc__note(conn,
			nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, call->stream,
				conn->server ? reset_code(status) : NGHTTP2_CANCEL));
	grpc__call_end(call, status, text);
}

/* ---------------------------------------------------------------- the owner's side */

void grpc_call_release(struct grpc_call *call)
{
	call->held = false;
	call->user = NULL;
	grpc_call_reset(call, GRPC_CANCELLED, "");
	drop_received(call);
	grpc__call_settle(call);
}

void grpc_call_set_user(struct grpc_call *call, void *user)
{
	call->user = user;
}

void *grpc_call_user(const struct grpc_call *call)
{
	return call->user;
}

const char *grpc_call_path(const struct grpc_call *call)
{
	return call->path != NULL ? call->path : "";
}

int64_t grpc_call_timeout(const struct grpc_call *call)
{
	return call->timeout_ns;
}

bool grpc_call_ended(const struct grpc_call *call)
{
	return call->ended;
}

enum grpc_status grpc_call_status(const struct grpc_call *call, const char **text)
{
	if (text != NULL)
		*text = call->text;
	return call->status;
}
