/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_internal.h"

#include <errno.h>
#include <stdio.h>

/*
 * Servers: a green thread per connection (its reader, the caller of rpc_server_serve), one per
 * call.
 *
 * A handler's thread is spawned by the core's callback, with the connection locked; it begins by
 * taking the lock, so call->thread is set before it runs. At its end it frees the call, under the
 * lock, and only then counts itself out: rpc_server_serve waits for that before it frees the
 * connection.
 */

int rpc_server_create(struct rpc_server **out, const struct rpc_server_config *config)
{
	for (size_t i = 0; i < config->method_count; i++) {
		if (config->methods[i].path == NULL || config->methods[i].handler == NULL)
			return -EINVAL;
		for (size_t j = 0; j < i; j++)
			if (strcmp(config->methods[i].path, config->methods[j].path) == 0)
				return -EINVAL;
	}
	struct rpc_server *server = calloc(1, sizeof(*server));
	if (server == NULL)
		return -ENOMEM;
	server->config = *config;
	*out = server;
	return 0;
}

void rpc_server_destroy(struct rpc_server *server)
{
	if (server == NULL)
		return;
	CHECK(thrum__list_empty(&server->conns));
	free(server);
}

static void lock_server(struct rpc_server *server)
{
	thrum_shield_begin();
	CHECK(thrum_mutex_lock(&server->lock, THRUM_FOREVER) == 0);
	thrum_shield_end();
}

/* ---------------------------------------------------------------- handlers */

int rpc_call_fail(struct rpc_call *call, int status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(call->text, sizeof(call->text), format, args);
	va_end(args);
	return status;
}

void rpc_call_hang_up(struct rpc_call *call)
{
	call->hang_up = true;
}

/* Turns a handler's result into the call's status. The lock is held. */
static void conclude(struct rpc_call *call, int result)
{
	enum grpc_status status = grpc_status_from_error(result);
	const char *text = call->text;
	bool one = call->method->kind == RPC_UNARY || call->method->kind == RPC_CLIENT_STREAM;
	if (status == GRPC_OK && one && call->sent == 0) {
		status = GRPC_INTERNAL;
		text = "the method sent no response";
	} else if (result < 0 && text[0] == 0) {
		text = thrum_strerror(result);
	}
	grpc_call_finish(call->grpc, status, status == GRPC_OK ? NULL : text);
}

static void *run_handler(void *arg)
{
	struct rpc_call *call = arg;
	struct rpc_conn *conn = call->conn;
	rpc__conn_lock(conn); /* call->thread is set */
	rpc__conn_unlock(conn);
	int result = call->method->handler(call, conn->server->config.ctx);

	rpc__conn_lock(conn);
	struct thrum_thread *self = call->thread;
	call->thread = NULL;
	conclude(call, result);
	grpc_call_release(call->grpc);
	thrum__list_remove(&call->node);
	rpc__conn_kick(conn);
	if (call->hang_up)
		rpc__conn_hang_up(conn);
	free(call);
	conn->running--;
	thrum_cond_broadcast(&conn->changed);
	rpc__conn_unlock(conn); /* conn may be gone from here on */
	thrum_detach(self);
	return NULL;
}

static const struct rpc_method *find_method(const struct rpc_server *server, const char *path)
{
	for (size_t i = 0; i < server->config.method_count; i++)
		if (strcmp(server->config.methods[i].path, path) == 0)
			return &server->config.methods[i];
	return NULL;
}

/* Starts the handler of a call. 0 or an error. */
static int start_handler(
	struct rpc_conn *conn, struct grpc_call *grpc, const struct rpc_method *method)
{
	struct rpc_call *call = calloc(1, sizeof(*call));
	if (call == NULL)
		return -ENOMEM;
	int64_t timeout = grpc_call_timeout(grpc);
	*call = (struct rpc_call){
		.conn = conn,
		.grpc = grpc,
		.method = method,
		.deadline = timeout < 0    ? THRUM_FOREVER
			    : timeout == 0 ? thrum_now()
					   : thrum_after(timeout),
	};
	struct thrum_attr attr = {.name = method->path};
	int r = thrum_spawn_with(&call->thread, run_handler, call, &attr);
	if (r < 0) {
		free(call);
		return r;
	}
	grpc_call_set_user(grpc, call);
	thrum__list_push_back(&conn->calls, &call->node);
	conn->running++;
	if (call->deadline < conn->earliest)
		conn->earliest = call->deadline;
	return 0;
}

/* The core's callback: a call came in. */
static bool on_opened(struct grpc_call *grpc, void *ctx)
{
	struct rpc_conn *conn = ctx;
	const struct rpc_method *method = find_method(conn->server, grpc_call_path(grpc));
	if (method == NULL) {
		char text[GRPC_TEXT_MAX];
		snprintf(text, sizeof(text), "unknown method %s", grpc_call_path(grpc));
		grpc_call_finish(grpc, GRPC_UNIMPLEMENTED, text);
		return false;
	}
	/* Handlers of calls that were reset may still be ending: a client that resets fast waits
	 * for them. */
	unsigned max = conn->server->config.limits.max_calls;
	if (conn->running >= 2 * (max != 0 ? max : RPC_DEFAULT_CALLS)) {
		grpc_call_finish(grpc, GRPC_RESOURCE_EXHAUSTED, "too many calls are still ending");
		return false;
	}
	int r = start_handler(conn, grpc, method);
	if (r < 0) {
		grpc_call_finish(grpc, grpc_status_from_error(r), thrum_strerror(r));
		return false;
	}
	return true;
}

/* ---------------------------------------------------------------- serving */

static void enlist(struct rpc_server *server, struct rpc_conn *conn)
{
	lock_server(server);
	thrum__list_push_back(&server->conns, &conn->server_node);
	if (server->draining) {
		rpc__conn_lock(conn);
		if (grpc_conn_drain(conn->grpc) < 0)
			rpc__conn_close(conn, -ENOMEM);
		rpc__conn_unlock(conn);
	}
	thrum_mutex_unlock(&server->lock);
}

static void delist(struct rpc_server *server, struct rpc_conn *conn)
{
	lock_server(server);
	thrum__list_remove(&conn->server_node);
	thrum_mutex_unlock(&server->lock);
}

int rpc_server_serve(struct rpc_server *server, struct rpc_transport *transport, void *peer)
{
	static const struct grpc_events events = {on_opened, rpc__call_changed};
	struct rpc_conn *conn = calloc(1, sizeof(*conn));
	if (conn == NULL) {
		rpc_transport_destroy(transport);
		return -ENOMEM;
	}
	conn->server = server;
	conn->peer = peer;
	int r = rpc__conn_init(conn, transport, true, &server->config.limits, &events);
	if (r < 0) {
		free(conn);
		return r;
	}
	enlist(server, conn);
	rpc__conn_read(conn);
	delist(server, conn);
	thrum_shield_begin();
	rpc__conn_lock(conn);
	while (conn->running > 0)
		CHECK(thrum_cond_wait(&conn->changed, &conn->lock, THRUM_FOREVER) == 0);
	r = conn->reason;
	rpc__conn_unlock(conn);
	rpc__conn_fini(conn);
	thrum_shield_end();
	free(conn);
	return r;
}

void rpc_server_drain(struct rpc_server *server)
{
	lock_server(server);
	server->draining = true;
	thrum__list_foreach (node, &server->conns) {
		struct rpc_conn *conn = thrum__container_of(node, struct rpc_conn, server_node);
		rpc__conn_lock(conn);
		if (!conn->closed && grpc_conn_drain(conn->grpc) < 0)
			rpc__conn_close(conn, -ENOMEM);
		rpc__conn_kick(conn);
		rpc__conn_unlock(conn);
	}
	thrum_mutex_unlock(&server->lock);
}
