/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_CONTROL_H
#define REPLICA_CONTROL_H

#include "replica/control.pb-c.h"
#include "replica/daemon.h"

/* What the files of the Control service share. Handlers: control_service.c has the table. */

#define CONTROL_TIME (30 * THRUM_S) /* for a request to arrive and an answer to leave */

/* Receives the request of a unary call. */
int control_recv(struct rpc_call *call, const ProtobufCMessageDescriptor *type, void *out);

/* Sends the empty answer. */
int control_done(struct rpc_call *call);

static inline ProtobufCBinaryData control_bytes(const void *data, size_t len)
{
	return (ProtobufCBinaryData){len, (uint8_t *)data};
}

/* The folder called name, entered; or NOT_FOUND or FAILED_PRECONDITION with a line for people. */
int control_enter(struct rpc_call *call, struct replica_daemon *daemon, const char *name,
	struct replica_folder **out);

/* Copies a path of a request, checked; or INVALID_ARGUMENT. A slash at the end is forgiven. */
int control_path(
	struct rpc_call *call, const ProtobufCBinaryData *bytes, char out[REPLICA_PATH_MAX + 1]);

int control_share(struct rpc_call *call, void *ctx);
int control_unshare(struct rpc_call *call, void *ctx);
int control_invite(struct rpc_call *call, void *ctx);
int control_join(struct rpc_call *call, void *ctx);
int control_sync(struct rpc_call *call, void *ctx);
int control_resolve(struct rpc_call *call, void *ctx);

#endif
