/* SPDX-License-Identifier: MIT */
#include "grpc/grpc.h"

#include <errno.h>

#include "grpc/grpc_internal.h"

/*
 * One HTTP/2 connection: nghttp2 with its callbacks turned into calls.
 *
 * Life of a call. It is in conn->calls while its owner holds it or nghttp2 has its stream;
 * grpc__call_settle frees it when both are gone, so the stream's user data never dangles.
 *
 * Ends. The server: RST_STREAM(NO_ERROR) after the trailers if the client has not closed its side,
 * as the specification of gRPC asks. The client: a call that ended while its own side is open is
 * reset after the bytes of this feed were read (conn->late), because the server's own reset usually
 * follows in the same segment.
 *
 * Drain. GOAWAY(2^31-1) and a PING; the answer proves that the client has seen the notice, so that
 * no call it began before is lost; then the final GOAWAY. A peer that never answers is the
 * keepalive's business.
 */

enum {
	MAX_FRAME = 64 * 1024,
	RESET_BURST = 10000, /* client resets before nghttp2 gives up on the peer; 1,000 and 33/s by
				default */
	RESET_RATE = 1000,
	MAX_BACKLOG =
		4096, /* frames a server owes a client that makes it answer and does not read */
};

static const uint8_t drain_ping[8] = "draining";

static struct grpc_call *call_of(nghttp2_session *session, int32_t stream)
{
	return nghttp2_session_get_stream_user_data(session, stream);
}

/* ---------------------------------------------------------------- sending callbacks */

static ssize_t on_send(
	nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *user)
{
	struct grpc_conn *conn = user;
	if (thrum__buf_len(conn->pulling) >= conn->pull_limit)
		return NGHTTP2_ERR_WOULDBLOCK;
	return thrum__buf_append(conn->pulling, data, len) == 0 ? (ssize_t)len
								: NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* A DATA frame: its payload goes from the call's queue to the output with one copy. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
	size_t len, nghttp2_data_source *source, void *user)
{
	struct grpc_conn *conn = user;
	struct grpc_call *call = source->ptr;
	if (thrum__buf_len(conn->pulling) >= conn->pull_limit)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (frame->data.padlen != 0 || len > thrum__buf_len(&call->out))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* dropped since it was announced:
								 reset */
	uint8_t *to = thrum__buf_reserve(conn->pulling, 9 + len);
	if (to == NULL)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	memcpy(to, header, 9);
	if (len > 0)
		memcpy(to + 9, thrum__buf_head(&call->out), len);
	thrum__buf_commit(conn->pulling, 9 + len);
	thrum__buf_consume(&call->out, len);
	if (call->full && grpc_call_room(call)) {
		call->full = false;
		grpc__call_changed(call);
	}
	return 0;
}

static ssize_t on_data_length(nghttp2_session *session, uint8_t type, int32_t stream,
	int32_t session_window, int32_t stream_window, uint32_t max_frame, void *user)
{
	int64_t n = max_frame < MAX_FRAME ? max_frame : MAX_FRAME;
	n = n < session_window ? n : session_window;
	return (ssize_t)(n < stream_window ? n : stream_window);
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct grpc_conn *conn = user;
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
		conn->error == 0)
		conn->error = THRUM_EFORMAT;
	if (conn->server && frame->hd.type == NGHTTP2_HEADERS &&
		(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
		nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
		grpc__note(conn, nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE,
					 frame->hd.stream_id, NGHTTP2_NO_ERROR));
	return 0;
}

static void stream_closed(struct grpc_call *call, uint32_t error)
{
	call->stream_open = false;
	if (!call->ended && call->conn->server)
		grpc__call_end(call, GRPC_CANCELLED, "the client reset the call");
	else if (!call->ended)
		grpc__call_end(call, grpc_status_from_reset(error), "the server reset the call");
	thrum__buf_fini(&call->out);
	grpc__call_settle(call);
}

/* A request that never left: cancelled in the queue, or the connection closes. */
static int on_frame_not_sent(
	nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	struct grpc_conn *conn = user;
	if (error == NGHTTP2_ERR_HEADER_COMP)
		conn->error = -ENOMEM; /* our header blocks are bounded: nothing else stops them */
	if (conn->server || frame->hd.type != NGHTTP2_HEADERS ||
		frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	thrum__list_foreach_safe (node, &conn->calls) {
		struct grpc_call *call = thrum__container_of(node, struct grpc_call, node);
		if (call->stream != frame->hd.stream_id)
			continue;
		nghttp2_session_set_stream_user_data(session, call->stream, NULL);
		stream_closed(call, NGHTTP2_REFUSED_STREAM);
		break;
	}
	return 0;
}

/* ---------------------------------------------------------------- receiving callbacks */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct grpc_conn *conn = user;
	struct grpc_call *call = call_of(session, frame->hd.stream_id);
	if (conn->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		call = grpc__call_new(conn);
		if (call == NULL)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		call->stream = frame->hd.stream_id;
		call->stream_open = true;
		nghttp2_session_set_stream_user_data(session, call->stream, call);
	}
	if (call != NULL)
		call->block = (struct header_block){.status = -1,
			.encoding_ok = true,
			.timeout_ok = true,
			.too_large = call->block.too_large};
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct grpc_call *call = call_of(session, frame->hd.stream_id);
	if (call == NULL || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	return grpc__headers_field(call, name, name_len, value, value_len) == 0
		       ? 0
		       : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream,
	const uint8_t *data, size_t len, void *user)
{
	struct grpc_call *call = call_of(session, stream);
	if (call == NULL) {
		nghttp2_session_consume(session, stream, len);
		return 0;
	}
	return grpc__call_data(call, data, len) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_frame_received(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct grpc_conn *conn = user;
	struct grpc_call *call = NULL;
	bool end_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		call = call_of(session, frame->hd.stream_id);
		if (call != NULL)
			grpc__headers_done(call, end_stream);
		break;
	case NGHTTP2_DATA:
		call = call_of(session, frame->hd.stream_id);
		if (call != NULL && end_stream)
			grpc__call_remote_end(call);
		break;
	case NGHTTP2_GOAWAY:
		conn->going_away = true;
		break;
	case NGHTTP2_PING:
		if (conn->draining && (frame->hd.flags & NGHTTP2_FLAG_ACK) &&
			memcmp(frame->ping.opaque_data, drain_ping, sizeof(drain_ping)) == 0)
			grpc__note(conn, nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
						 nghttp2_session_get_last_proc_stream_id(session),
						 NGHTTP2_NO_ERROR, NULL, 0));
		break;
	}
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
	struct grpc_call *call = call_of(session, stream);
	if (call != NULL)
		stream_closed(call, error);
	return 0;
}

/* ---------------------------------------------------------------- life */

static int set_up_session(struct grpc_conn *conn)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;
	if (nghttp2_session_callbacks_new(&cb) != 0)
		return -ENOMEM;
	if (nghttp2_option_new(&option) != 0) {
		nghttp2_session_callbacks_del(cb);
		return -ENOMEM;
	}
	nghttp2_session_callbacks_set_send_callback(cb, on_send);
	nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
	nghttp2_session_callbacks_set_data_source_read_length_callback(cb, on_data_length);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_sent);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_received);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_stream_reset_rate_limit(option, RESET_BURST, RESET_RATE);
	int r = conn->server ? nghttp2_session_server_new2(&conn->session, cb, conn, option)
			     : nghttp2_session_client_new2(&conn->session, cb, conn, option);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cb);
	return r == 0 ? 0 : -ENOMEM;
}

static int submit_settings(struct grpc_conn *conn)
{
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)conn->limits.stream_window},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEADERS_MAX},
		{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, MAX_FRAME},
		conn->server ? (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
				       conn->limits.max_calls}
			     : (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
	};
	if (nghttp2_submit_settings(
		    conn->session, NGHTTP2_FLAG_NONE, settings, thrum__countof(settings)) != 0 ||
		nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0,
			(int32_t)conn->limits.conn_window) != 0)
		return -ENOMEM;
	return 0;
}

static size_t or_default(size_t value, size_t otherwise)
{
	size_t most = INT32_MAX; /* of a window, and more than anybody wants of the others */
	return value == 0 ? otherwise : value < most ? value : most;
}

int grpc_conn_create(struct grpc_conn **out, bool server, const struct grpc_limits *limits,
	const struct grpc_events *events, void *ctx)
{
	struct grpc_conn *conn = calloc(1, sizeof(*conn));
	if (conn == NULL)
		return -ENOMEM;
	conn->server = server;
	conn->events = *events;
	conn->ctx = ctx;
	conn->limits = (struct grpc_limits){
		.max_message = or_default(limits->max_message, 4 << 20),
		.max_calls = (unsigned)or_default(limits->max_calls, 100),
		.send_buffer = or_default(limits->send_buffer, 256 << 10),
		.stream_window = or_default(limits->stream_window, 1 << 20),
		.conn_window = or_default(limits->conn_window, 16 << 20),
	};
	int r = set_up_session(conn);
	if (r == 0)
		r = submit_settings(conn);
	if (r < 0) {
		nghttp2_session_del(conn->session);
		free(conn);
		return r;
	}
	*out = conn;
	return 0;
}

void grpc_conn_destroy(struct grpc_conn *conn)
{
	if (conn == NULL)
		return;
	grpc_conn_abort(conn, "closed");
	CHECK(thrum__list_empty(&conn->calls)); /* the owner released every call */
	nghttp2_session_del(conn->session);
	free(conn);
}

void grpc_conn_abort(struct grpc_conn *conn, const char *text)
{
	conn->dead = true;
	thrum__list_foreach_safe (node, &conn->calls) {
		struct grpc_call *call = thrum__container_of(node, struct grpc_call, node);
		call->stream_open = false;
		if (!call->ended)
			grpc__call_end(call, GRPC_UNAVAILABLE, text);
		grpc__call_settle(call);
	}
}

/* ---------------------------------------------------------------- bytes */

/* Resets the streams of calls that ended while our side of them was open. */
static void reset_late(struct grpc_conn *conn)
{
	struct thrum__list *node;
	while ((node = thrum__list_pop_front(&conn->late)) != NULL) {
		struct grpc_call *call = thrum__container_of(node, struct grpc_call, late_node);
		if (call->stream_open)
			grpc__note(conn, nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE,
						 call->stream, NGHTTP2_CANCEL));
	}
}

/* The result of feed and pull; an error is final. */
static int outcome(struct grpc_conn *conn, ssize_t nghttp2_result)
{
	if (nghttp2_result == NGHTTP2_ERR_NOMEM || nghttp2_result == NGHTTP2_ERR_CALLBACK_FAILURE)
		conn->error = -ENOMEM;
	else if (nghttp2_result < 0 && conn->error == 0)
		conn->error = THRUM_EFORMAT;
	if (nghttp2_result < 0 || conn->error == -ENOMEM) {
		conn->dead = true;
		return conn->error;
	}
	return 0;
}

int grpc_conn_feed(struct grpc_conn *conn, const void *bytes, size_t len)
{
	if (conn->dead)
		return conn->error != 0 ? conn->error : THRUM_ECLOSED;
	ssize_t n = nghttp2_session_mem_recv(conn->session, bytes, len);
	if (n >= 0)
		reset_late(conn);
	if (n >= 0 && conn->server &&
		nghttp2_session_get_outbound_queue_size(conn->session) > MAX_BACKLOG)
		n = NGHTTP2_ERR_FLOODED;
	return outcome(conn, n);
}

int grpc_conn_pull(struct grpc_conn *conn, struct thrum__buf *out, size_t limit)
{
	if (conn->dead)
		return conn->error != 0 ? conn->error : THRUM_ECLOSED;
	conn->pulling = out;
	conn->pull_limit = limit;
	int r = nghttp2_session_send(conn->session);
	conn->pulling = NULL;
	return outcome(conn, r);
}

bool grpc_conn_wants_pull(const struct grpc_conn *conn)
{
	return !conn->dead && nghttp2_session_want_write(conn->session);
}

bool grpc_conn_finished(const struct grpc_conn *conn)
{
	return conn->dead || (!nghttp2_session_want_read(conn->session) &&
				     !nghttp2_session_want_write(conn->session));
}

int grpc_conn_error(const struct grpc_conn *conn)
{
	return conn->error;
}

int grpc_conn_drain(struct grpc_conn *conn)
{
	if (conn->draining || conn->dead)
		return 0;
	conn->draining = true;
	if (nghttp2_submit_shutdown_notice(conn->session) == NGHTTP2_ERR_NOMEM ||
		nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, drain_ping) ==
			NGHTTP2_ERR_NOMEM)
		return -ENOMEM;
	return 0;
}

bool grpc_conn_accepts_calls(const struct grpc_conn *conn)
{
	return !conn->dead && !conn->going_away &&
	       nghttp2_session_check_request_allowed(conn->session);
}

int grpc_conn_ping(struct grpc_conn *conn)
{
	if (conn->dead)
		return 0;
	return nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL) == NGHTTP2_ERR_NOMEM
		       ? -ENOMEM
		       : 0;
}
