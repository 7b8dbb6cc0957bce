/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_internal.h"

#include <errno.h>
#include <stdio.h>

/* Calls of either role in blocking style: each wait is on call->changed, under the connection's
 * lock. */

void rpc__call_changed(struct grpc_call *grpc, void *conn)
{
	struct rpc_call *call = grpc_call_user(grpc);
	if (call == NULL)
		return; /* not handed out yet */
	thrum_cond_broadcast(&call->changed);
	if (call->thread != NULL && grpc_call_ended(grpc))
		thrum_cancel(call->thread); /* of no consequence if the handler itself has ended the
					       call */
}

void rpc__calls_expire(struct rpc_conn *conn, int64_t now)
{
	conn->earliest = THRUM_FOREVER;
	thrum__list_foreach (node, &conn->calls) {
		struct rpc_call *call = thrum__container_of(node, struct rpc_call, node);
		if (grpc_call_ended(call->grpc))
			continue;
		if (call->deadline <= now)
			grpc_call_reset(
				call->grpc, GRPC_DEADLINE_EXCEEDED, "the deadline has passed");
		else if (call->deadline < conn->earliest)
			conn->earliest = call->deadline;
	}
}

/* Waits for a change. 0, -ECANCELED or -ETIMEDOUT; ends the call when its own deadline passes. The
 * lock is held. */
static int wait_change(struct rpc_call *call, thrum_deadline deadline)
{
	struct rpc_conn *conn = call->conn;
	rpc__conn_kick(conn);
	thrum_deadline first = deadline < call->deadline ? deadline : call->deadline;
	int r = thrum_cond_wait(&call->changed, &conn->lock, first);
	if (r == -ETIMEDOUT && thrum_now() >= call->deadline) {
		grpc_call_reset(call->grpc, GRPC_DEADLINE_EXCEEDED, "the deadline has passed");
		rpc__conn_kick(conn);
		r = 0; /* the caller finds the call ended */
	}
	return r;
}

/* The error that an ended call's sender gets. */
static int end_code(const struct rpc_call *call)
{
	int status = grpc_call_status(call->grpc, NULL);
	return status == GRPC_OK ? -EPIPE : grpc_status_to_error(status);
}

/* ---------------------------------------------------------------- sending */

static bool one_response(const struct rpc_call *call)
{
	return call->method != NULL &&
	       (call->method->kind == RPC_UNARY || call->method->kind == RPC_CLIENT_STREAM);
}

/* Waits until a message of len bytes may be written to *to. The lock is held. */
static int reserve(struct rpc_call *call, size_t len, uint8_t **to, thrum_deadline deadline)
{
	if (len > INT32_MAX)
		return -EMSGSIZE;
	if (one_response(call) && call->sent > 0)
		return -EINVAL;
	while (!grpc_call_ended(call->grpc) && !grpc_call_room(call->grpc)) {
		int r = wait_change(call, deadline);
		if (r < 0)
			return r;
	}
	if (grpc_call_ended(call->grpc))
		return end_code(call);
	*to = grpc_call_reserve(call->grpc, len);
	if (*to == NULL)
		return grpc_call_sends(call->grpc) ? -ENOMEM : -EINVAL;
	return 0;
}

static int commit(struct rpc_call *call, size_t len)
{
	int r = grpc_call_commit(call->grpc, len);
	call->sent++;
	rpc__conn_kick(call->conn);
	return r;
}

int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message, thrum_deadline deadline)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *to;
	rpc__conn_lock(call->conn);
	int r = reserve(call, len, &to, deadline);
	if (r == 0) {
		protobuf_c_message_pack(message, to);
		r = commit(call, len);
	}
	rpc__conn_unlock(call->conn);
	return r;
}

int rpc_call_send_bytes(
	struct rpc_call *call, const void *bytes, size_t len, thrum_deadline deadline)
{
	uint8_t *to;
	rpc__conn_lock(call->conn);
	int r = reserve(call, len, &to, deadline);
	if (r == 0) {
		if (len > 0)
			memcpy(to, bytes, len);
		r = commit(call, len);
	}
	rpc__conn_unlock(call->conn);
	return r;
}

void rpc_call_close_send(struct rpc_call *call)
{
	rpc__conn_lock(call->conn);
	grpc_call_close_send(call->grpc);
	rpc__conn_kick(call->conn);
	rpc__conn_unlock(call->conn);
}

/* ---------------------------------------------------------------- receiving */

static bool one_request(const struct rpc_call *call)
{
	return call->method != NULL &&
	       (call->method->kind == RPC_UNARY || call->method->kind == RPC_SERVER_STREAM);
}

int rpc_call_recv_bytes(struct rpc_call *call, void **out, size_t *len, thrum_deadline deadline)
{
	uint8_t *message = NULL;
	int r = 0;
	rpc__conn_lock(call->conn);
	if (one_request(call) && call->received > 0)
		r = THRUM_EEOF;
	while (r == 0) {
		r = grpc_call_take(call->grpc, &message, len);
		if (r == 0)
			r = wait_change(call, deadline);
	}
	if (r == 1)
		call->received++;
	rpc__conn_kick(call->conn); /* taking may have opened the window */
	rpc__conn_unlock(call->conn);
	*out = message;
	return r == 1 ? 0 : r;
}

int rpc_call_recv(struct rpc_call *call, const ProtobufCMessageDescriptor *type,
	ProtobufCMessage **out, thrum_deadline deadline)
{
	void *bytes;
	size_t len;
	int r = rpc_call_recv_bytes(call, &bytes, &len, deadline);
	if (r < 0)
		return r;
	r = rpc__message_unpack(type, bytes, len, out);
	free(bytes);
	return r;
}

/* ---------------------------------------------------------------- what a call knows */

const struct grpc_metadata *rpc_call_metadata(struct rpc_call *call, const char *name)
{
	rpc__conn_lock(call->conn); /* trailers may come in meanwhile */
	const struct grpc_metadata *meta = grpc_call_metadata(call->grpc, name);
	rpc__conn_unlock(call->conn);
	return meta;
}

thrum_deadline rpc_call_deadline(const struct rpc_call *call)
{
	return call->deadline;
}

const char *rpc_call_path(const struct rpc_call *call)
{
	return grpc_call_path(call->grpc);
}

const uint8_t *rpc_call_peer_key(const struct rpc_call *call)
{
	return rpc_transport_peer_key(call->conn->transport);
}

void *rpc_call_peer(const struct rpc_call *call)
{
	return call->conn->peer;
}
