/* SPDX-License-Identifier: MIT */
#ifndef THRUM_GRPC_STATUS_H
#define THRUM_GRPC_STATUS_H

#include <stdint.h>

/*
 * gRPC status codes, and the one table between them and our error codes.
 * X(name, number, code): a status becomes that code; the other way round there is one more table in
 * status.c for the codes that are no status's own.
 */
#define GRPC_STATUS_CODES(X)                \
	X(OK, 0, 0)                         \
	X(CANCELLED, 1, -ECANCELED)         \
	X(UNKNOWN, 2, -EPROTO)              \
	X(INVALID_ARGUMENT, 3, -EINVAL)     \
	X(DEADLINE_EXCEEDED, 4, -ETIMEDOUT) \
	X(NOT_FOUND, 5, -ENOENT)            \
	X(ALREADY_EXISTS, 6, -EEXIST)       \
	X(PERMISSION_DENIED, 7, -EACCES)    \
	X(RESOURCE_EXHAUSTED, 8, -ENOBUFS)  \
	X(FAILED_PRECONDITION, 9, -EBUSY)   \
	X(ABORTED, 10, THRUM_ECHANGED)      \
	X(OUT_OF_RANGE, 11, -ERANGE)        \
	X(UNIMPLEMENTED, 12, -ENOSYS)       \
	X(INTERNAL, 13, -EIO)               \
	X(UNAVAILABLE, 14, -ECONNRESET)     \
	X(DATA_LOSS, 15, -EBADMSG)          \
	X(UNAUTHENTICATED, 16, THRUM_EAUTH)

enum grpc_status {
#define GRPC_STATUS_ENUM(name, number, code) GRPC_##name = number,
	GRPC_STATUS_CODES(GRPC_STATUS_ENUM)
#undef GRPC_STATUS_ENUM
};

/* "NOT_FOUND", or "UNKNOWN" for a number that is no status. */
const char *grpc_status_name(int status);

/* Our code for a status: 0 for OK, else negative. A number that is no status counts as UNKNOWN. */
int grpc_status_to_error(int status);

/* The status for one of our codes; >= 0 is taken as a status already (UNKNOWN if it is none). */
enum grpc_status grpc_status_from_error(int code);

/* The status that a stream reset with this HTTP/2 error code, and no status, stands for. */
enum grpc_status grpc_status_from_reset(uint32_t http2_error);

/* The status of a response whose :status is not 200. */
enum grpc_status grpc_status_from_http(int http_status);

#endif
