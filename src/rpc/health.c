/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_internal.h"

#include "rpc/health.pb-c.h"

/* The standard health check: whoever is served at all is told that the server serves. */

static bool known(const struct rpc_server *server, const char *service)
{
	size_t len = strlen(service);
	if (len == 0)
		return true;
	for (size_t i = 0; i < server->config.method_count; i++) {
		const char *path = server->config.methods[i].path;
		if (strncmp(path + 1, service, len) == 0 && path[1 + len] == '/')
			return true;
	}
	return false;
}

int rpc_health_check(struct rpc_call *call, void *ctx)
{
	ProtobufCMessage *request;
	int r = rpc_call_recv(
		call, &grpc__health__v1__health_check_request__descriptor, &request, THRUM_FOREVER);
	if (r < 0)
		return r;
	const struct rpc_server *server = call->conn->server;
	bool found = known(server, ((Grpc__Health__V1__HealthCheckRequest *)request)->service);
	rpc_message_free(request);
	if (!found)
		return rpc_call_fail(call, GRPC_NOT_FOUND, "no such service");
	Grpc__Health__V1__HealthCheckResponse reply = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	reply.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	return rpc_call_send(call, &reply.base, THRUM_FOREVER);
}
