/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_internal.h"

#include <errno.h>

/*
 * One connection, of either role: a reader and a writer green thread around the gRPC core.
 *
 * Protocol
 *  1 conn->lock guards the core and every call. It is never held across I/O, and the core's
 * callbacks run under it: they only signal, spawn and cancel, none of which suspends. 2 The reader
 * reads with the lock free, feeds the core under it, and does what time asks for: calls whose
 * deadline has passed, PINGs, a peer gone silent. No other timer exists. 3 The writer pulls a batch
 * under the lock and writes it with the lock free. Whoever made the core want to send kicks it. 4
 * rpc__conn_close is the one way out: it ends every call, shuts the transport down, which wakes the
 * reader and the writer, and is idempotent. Reader, writer, a user's close and a cancellation all
 * take it.
 *
 * A peer is dead once it says nothing for as long as keepalive allows (the reader notices), or
 * takes nothing of what is to be written (the writer does): one that talks and does not listen
 * would hold calls for ever.
 *
 * A connection that has finished in order (GOAWAY and the last call are flushed) closes its writing
 * side and leaves the peer LINGER to do the same, so that no reset overtakes the last bytes.
 */

/* Bytes pulled and written at a time: full records, few system calls. */
enum { BATCH = 4 * NOISE_PLAIN_MAX };

/* What an idle connection may keep in each of its buffers. */
enum { IDLE_BUFFER = 16 * 1024 };

static const int64_t LINGER = 1 * THRUM_S;
static const int64_t DEFAULT_KEEPALIVE = 20 * THRUM_S;

void rpc__conn_lock(struct rpc_conn *conn)
{
	thrum_shield_begin();
	CHECK(thrum_mutex_lock(&conn->lock, THRUM_FOREVER) == 0);
	thrum_shield_end();
}

void rpc__conn_unlock(struct rpc_conn *conn)
{
	thrum_mutex_unlock(&conn->lock);
}

void rpc__conn_close(struct rpc_conn *conn, int reason)
{
	if (conn->closed)
		return;
	if (conn->hang_up)
		reason = -ECONNABORTED;
	else if (reason == -EPIPE)
		reason = 0; /* the peer left while we were writing: the reader may learn it later */
	conn->closed = true;
	conn->reason = reason;
	grpc_conn_abort(
		conn->grpc, reason == 0 ? "the connection was closed" : thrum_strerror(reason));
	thrum_conn_shutdown(conn->transport->conn);
	thrum_cond_broadcast(&conn->writer_wake);
	thrum_cond_broadcast(&conn->changed);
}

void rpc__conn_hang_up(struct rpc_conn *conn)
{
	thrum_deadline deadline = thrum_after(LINGER);
	int r = 0;
	conn->hang_up = true;
	thrum_cond_signal(&conn->writer_wake);
	thrum_shield_begin();
	while (r == 0 && !conn->closed)
		r = thrum_cond_wait(&conn->changed, &conn->lock, deadline);
	thrum_shield_end();
	rpc__conn_close(conn, 0);
}

void rpc__conn_kick(struct rpc_conn *conn)
{
	if (!conn->closed && grpc_conn_wants_pull(conn->grpc))
		thrum_cond_signal(&conn->writer_wake);
}

/* ---------------------------------------------------------------- writer */

static void trim(struct thrum__buf *buf)
{
	if (buf->cap > IDLE_BUFFER)
		thrum__buf_fini(buf);
}

/* Waits for something to write. False once the connection is closed. The lock is held. */
static bool wait_for_work(struct rpc_conn *conn)
{
	while (!conn->closed && !conn->hang_up && !grpc_conn_wants_pull(conn->grpc)) {
		trim(&conn->out);
		trim(&conn->transport->out);
		int r = thrum_cond_wait(&conn->writer_wake, &conn->lock, THRUM_FOREVER);
		if (r < 0)
			rpc__conn_close(conn, r);
	}
	return !conn->closed;
}

/* Everything is said: lets the peer read it before the connection closes. The lock is held. */
static void linger(struct rpc_conn *conn)
{
	thrum_deadline deadline = thrum_after(LINGER);
	int r = thrum_conn_shutdown_write(conn->transport->conn);
	while (r == 0 && !conn->closed)
		r = thrum_cond_wait(&conn->writer_wake, &conn->lock, deadline);
	rpc__conn_close(conn, grpc_conn_error(conn->grpc));
}

static bool all_said(const struct rpc_conn *conn)
{
	return grpc_conn_finished(conn->grpc) ||
	       (conn->hang_up && !grpc_conn_wants_pull(conn->grpc));
}

static void *write_loop(void *arg)
{
	struct rpc_conn *conn = arg;
	rpc__conn_lock(conn);
	while (wait_for_work(conn)) {
		thrum__buf_clear(&conn->out);
		int r = grpc_conn_pull(conn->grpc, &conn->out, BATCH);
		rpc__conn_unlock(conn);
		if (thrum__buf_len(&conn->out) > 0 && r == 0)
			r = rpc__transport_write(conn->transport, thrum__buf_head(&conn->out),
				thrum__buf_len(&conn->out), conn->keepalive, THRUM_FOREVER);
		rpc__conn_lock(conn);
		if (r < 0)
			rpc__conn_close(conn, r);
		else if (!conn->closed && all_said(conn))
			linger(conn);
	}
	rpc__conn_unlock(conn);
	return NULL;
}

/* ---------------------------------------------------------------- reader */

/* What time asks for. Returns 0, or -ETIMEDOUT for a peer gone silent. The lock is held. */
static int tick(struct rpc_conn *conn)
{
	int64_t now = thrum_now();
	if (now >= conn->earliest)
		rpc__calls_expire(conn, now);
	if (conn->keepalive < 0)
		return 0;
	if (now - conn->last_heard >= conn->keepalive)
		return -ETIMEDOUT;
	if (conn->pinged || now - conn->last_heard < conn->keepalive / 2)
		return 0;
	conn->pinged = true;
	return grpc_conn_ping(conn->grpc);
}

/* When tick has something to do next. */
static thrum_deadline next_tick(const struct rpc_conn *conn)
{
	if (conn->keepalive < 0)
		return conn->earliest;
	thrum_deadline alive =
		conn->last_heard + (conn->pinged ? conn->keepalive : conn->keepalive / 2);
	return alive < conn->earliest ? alive : conn->earliest;
}

/* Bytes, the end of the stream (n == 0) or an error came. Returns 0 to go on, 1 at the end, or an
 * error. */
static int react(struct rpc_conn *conn, const uint8_t *bytes, ssize_t n)
{
	if (n == 0)
		return 1;
	if (n < 0 && n != -ETIMEDOUT)
		return (int)n;
	uint64_t heard = rpc_transport_traffic(conn->transport).in;
	if (heard != conn->heard) { /* a part of a record, on a slow wire, is a sign of life too */
		conn->heard = heard;
		conn->last_heard = thrum_now();
		conn->pinged = false;
	}
	if (n > 0) {
		int r = grpc_conn_feed(conn->grpc, bytes, (size_t)n);
		if (r < 0)
			return r;
	}
	return tick(conn);
}

void rpc__conn_read(struct rpc_conn *conn)
{
	rpc__conn_lock(conn);
	while (!conn->closed) {
		const uint8_t *bytes = NULL;
		thrum_deadline deadline = next_tick(conn);
		rpc__conn_unlock(conn);
		ssize_t n = rpc__transport_read(conn->transport, &bytes, deadline);
		rpc__conn_lock(conn);
		if (conn->closed)
			break;
		int r = react(conn, bytes, n);
		if (r != 0)
			rpc__conn_close(conn, r < 0 ? r : grpc_conn_error(conn->grpc));
		rpc__conn_kick(conn);
	}
	rpc__conn_unlock(conn);
}

/* ---------------------------------------------------------------- life */

int rpc__conn_init(struct rpc_conn *conn, struct rpc_transport *transport, bool server,
	const struct rpc_limits *limits, const struct grpc_events *events)
{
	struct grpc_limits core = {
		.max_message = limits->max_message,
		.max_calls = limits->max_calls,
		.send_buffer = limits->send_buffer,
	};
	static const struct thrum_attr attr = {.name = "rpc writer"};
	conn->transport = transport;
	conn->keepalive = limits->keepalive != 0 ? limits->keepalive : DEFAULT_KEEPALIVE;
	conn->heard = rpc_transport_traffic(transport).in; /* the handshake's */
	conn->last_heard = thrum_now();
	conn->earliest = THRUM_FOREVER;
	int r = grpc_conn_create(&conn->grpc, server, &core, events, conn);
	if (r < 0)
		goto destroy_transport;
	r = thrum_spawn_with(&conn->writer, write_loop, conn, &attr);
	if (r < 0)
		goto destroy_grpc;
	return 0;
destroy_grpc:
	grpc_conn_destroy(conn->grpc);
destroy_transport:
	rpc_transport_destroy(transport);
	return r;
}

void rpc__conn_fini(struct rpc_conn *conn)
{
	thrum_shield_begin();
	CHECK(thrum_join(conn->writer, NULL, THRUM_FOREVER) == 0);
	thrum_shield_end();
	grpc_conn_destroy(conn->grpc);
	rpc_transport_destroy(conn->transport);
	thrum__buf_fini(&conn->out);
}
