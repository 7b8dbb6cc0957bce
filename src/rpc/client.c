/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_internal.h"

#include <errno.h>
#include <stdio.h>

/* Clients: a connection with a reader thread of its own, and calls that their users hold. */

struct rpc_client {
	struct rpc_conn conn;
	struct thrum_thread *reader;
};

static bool on_opened(struct grpc_call *call, void *ctx)
{
	return false; /* a client is never called */
}

static void *read_loop(void *arg)
{
	rpc__conn_read(arg);
	return NULL;
}

int rpc_client_create(
	struct rpc_client **out, struct rpc_transport *transport, const struct rpc_limits *limits)
{
	static const struct grpc_events events = {on_opened, rpc__call_changed};
	static const struct rpc_limits defaults;
	static const struct thrum_attr attr = {.name = "rpc reader"};
	struct rpc_client *client = calloc(1, sizeof(*client));
	if (client == NULL) {
		rpc_transport_destroy(transport);
		return -ENOMEM;
	}
	int r = rpc__conn_init(
		&client->conn, transport, false, limits ? limits : &defaults, &events);
	if (r < 0)
		goto free_client;
	r = thrum_spawn_with(&client->reader, read_loop, &client->conn, &attr);
	if (r < 0)
		goto fini_conn;
	rpc__conn_lock(&client->conn); /* the preface, so that the server hears of us at once */
	rpc__conn_kick(&client->conn);
	rpc__conn_unlock(&client->conn);
	*out = client;
	return 0;
fini_conn:
	rpc_client_close(client);
	rpc__conn_fini(&client->conn);
free_client:
	free(client);
	return r;
}

void rpc_client_close(struct rpc_client *client)
{
	rpc__conn_lock(&client->conn);
	rpc__conn_close(&client->conn, 0);
	rpc__conn_unlock(&client->conn);
}

void rpc_client_destroy(struct rpc_client *client)
{
	if (client == NULL)
		return;
	rpc_client_close(client);
	thrum_shield_begin();
	CHECK(thrum_join(client->reader, NULL, THRUM_FOREVER) == 0);
	thrum_shield_end();
	rpc__conn_fini(&client->conn);
	free(client);
}

int rpc_client_wait(struct rpc_client *client, thrum_deadline deadline)
{
	struct rpc_conn *conn = &client->conn;
	int r = 0;
	rpc__conn_lock(conn);
	while (r == 0 && !conn->closed)
		r = thrum_cond_wait(&conn->changed, &conn->lock, deadline);
	if (conn->closed)
		r = conn->reason;
	rpc__conn_unlock(conn);
	return r;
}

bool rpc_client_alive(struct rpc_client *client)
{
	rpc__conn_lock(&client->conn);
	bool alive = !client->conn.closed && grpc_conn_accepts_calls(client->conn.grpc);
	rpc__conn_unlock(&client->conn);
	return alive;
}

struct rpc_traffic rpc_client_traffic(const struct rpc_client *client)
{
	return rpc_transport_traffic(client->conn.transport);
}

const uint8_t *rpc_client_peer_key(const struct rpc_client *client)
{
	return rpc_transport_peer_key(client->conn.transport);
}

/* ---------------------------------------------------------------- calls */

int rpc_client_open(struct rpc_client *client, const char *path,
	const struct grpc_metadata *metadata, size_t count, thrum_deadline deadline,
	struct rpc_call **out)
{
	int64_t timeout = deadline == THRUM_FOREVER ? 0 : deadline - thrum_now();
	if (deadline != THRUM_FOREVER && timeout <= 0)
		return -ETIMEDOUT;
	struct rpc_call *call = calloc(1, sizeof(*call));
	if (call == NULL)
		return -ENOMEM;
	call->conn = &client->conn;
	call->deadline = deadline;
	rpc__conn_lock(call->conn);
	int r = grpc_call_open(call->conn->grpc, path, NULL, timeout, metadata, count, &call->grpc);
	if (r == 0) {
		grpc_call_set_user(call->grpc, call);
		rpc__conn_kick(call->conn);
	}
	rpc__conn_unlock(call->conn);
	if (r < 0) {
		free(call);
		return r;
	}
	*out = call;
	return 0;
}

void rpc_call_cancel(struct rpc_call *call)
{
	rpc__conn_lock(call->conn);
	grpc_call_reset(call->grpc, GRPC_CANCELLED, "cancelled here");
	rpc__conn_kick(call->conn);
	rpc__conn_unlock(call->conn);
}

void rpc_call_destroy(struct rpc_call *call)
{
	if (call == NULL)
		return;
	struct rpc_conn *conn = call->conn;
	rpc__conn_lock(conn);
	grpc_call_release(call->grpc);
	rpc__conn_kick(conn);
	rpc__conn_unlock(conn);
	free(call);
}

static void fill_status(struct rpc_call *call, struct rpc_status *status)
{
	if (status == NULL)
		return;
	const char *text;
	rpc__conn_lock(call->conn);
	status->code = grpc_call_status(call->grpc, &text);
	snprintf(status->message, sizeof(status->message), "%s", text);
	rpc__conn_unlock(call->conn);
}

int rpc_call_finish(struct rpc_call *call, struct rpc_status *status, thrum_deadline deadline)
{
	void *bytes;
	size_t len;
	int r;
	rpc_call_close_send(call);
	while ((r = rpc_call_recv_bytes(call, &bytes, &len, deadline)) == 0)
		free(bytes);
	rpc__conn_lock(call->conn);
	if (grpc_call_ended(call->grpc)) /* maybe since the wait gave up */
		r = grpc_status_to_error(grpc_call_status(call->grpc, NULL));
	bool ended = grpc_call_ended(call->grpc);
	rpc__conn_unlock(call->conn);
	if (ended)
		fill_status(call, status);
	return r;
}

/* The response of a unary call and the end after it. */
static int recv_only(
	struct rpc_call *call, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out)
{
	int r = rpc_call_recv(call, type, out, THRUM_FOREVER);
	if (r < 0)
		return r == THRUM_EEOF ? -EIO : r; /* OK without a response is none */
	void *extra;
	size_t len;
	r = rpc_call_recv_bytes(call, &extra, &len, THRUM_FOREVER);
	if (r == THRUM_EEOF)
		return 0;
	if (r == 0) {
		free(extra);
		r = -EIO;
	}
	rpc_message_free(*out);
	*out = NULL;
	return r;
}

/* How a call that failed here with r ended: as the server said, if it did. */
static void explain(struct rpc_call *call, int r, struct rpc_status *status)
{
	if (status == NULL)
		return;
	fill_status(call, status);
	if (r == 0 || status->code != GRPC_OK)
		return;
	status->code = grpc_status_from_error(r);
	snprintf(status->message, sizeof(status->message), "%s", thrum_strerror(r));
}

int rpc_client_unary(struct rpc_client *client, const char *path, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *response_type, ProtobufCMessage **response,
	thrum_deadline deadline, struct rpc_status *status)
{
	struct rpc_call *call;
	*response = NULL;
	int r = rpc_client_open(client, path, NULL, 0, deadline, &call);
	if (r < 0) {
		if (status != NULL) {
			status->code = grpc_status_from_error(r);
			snprintf(status->message, sizeof(status->message), "%s", thrum_strerror(r));
		}
		return r;
	}
	/* A server may refuse without reading: then its status counts, not our failed send. */
	int sent = rpc_call_send(call, request, THRUM_FOREVER);
	rpc_call_close_send(call);
	r = recv_only(call, response_type, response);
	if (r == 0 && sent < 0) {
		rpc_message_free(*response);
		*response = NULL;
		r = sent;
	}
	explain(call, r, status);
	rpc_call_destroy(call);
	return r;
}
