/* SPDX-License-Identifier: MIT */
#include "grpc/status.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "base/base.h"

static const struct {
	const char *name;
	int code;
} statuses[] = {
#define STATUS_ENTRY(name, number, code) [number] = {#name, code},
	GRPC_STATUS_CODES(STATUS_ENTRY)
#undef STATUS_ENTRY
};

/* Codes that are no status's own. */
static const struct {
	int code;
	enum grpc_status status;
} others[] = {
	{-EMSGSIZE, GRPC_RESOURCE_EXHAUSTED},
	{-ENOMEM, GRPC_RESOURCE_EXHAUSTED},
	{-ENOSPC, GRPC_RESOURCE_EXHAUSTED},
	{-EDQUOT, GRPC_RESOURCE_EXHAUSTED},
	{-EMFILE, GRPC_RESOURCE_EXHAUSTED},
	{-ENFILE, GRPC_RESOURCE_EXHAUSTED},
	{-EPERM, GRPC_PERMISSION_DENIED},
	{-EROFS, GRPC_PERMISSION_DENIED},
	{-ENOTDIR, GRPC_FAILED_PRECONDITION},
	{-EISDIR, GRPC_FAILED_PRECONDITION},
	{-ENOTEMPTY, GRPC_FAILED_PRECONDITION},
	{-ENAMETOOLONG, GRPC_INVALID_ARGUMENT},
	{-EAGAIN, GRPC_UNAVAILABLE},
	{-EPIPE, GRPC_UNAVAILABLE},
	{-ECONNREFUSED, GRPC_UNAVAILABLE},
	{-ECONNABORTED, GRPC_UNAVAILABLE},
	{-EHOSTUNREACH, GRPC_UNAVAILABLE},
	{-ENETUNREACH, GRPC_UNAVAILABLE},
	{THRUM_ECLOSED, GRPC_UNAVAILABLE},
	{THRUM_ENOHOST, GRPC_UNAVAILABLE},
	{THRUM_EFORMAT, GRPC_INTERNAL},
	{THRUM_EEOF, GRPC_INTERNAL},
	{-EOPNOTSUPP, GRPC_UNIMPLEMENTED},
};

const char *grpc_status_name(int status)
{
	if (status < 0 || (size_t)status >= thrum__countof(statuses))
		return "UNKNOWN";
	return statuses[status].name;
}

int grpc_status_to_error(int status)
{
	if (status < 0 || (size_t)status >= thrum__countof(statuses))
		return statuses[GRPC_UNKNOWN].code;
	return statuses[status].code;
}

enum grpc_status grpc_status_from_error(int code)
{
	if (code >= 0)
		return (size_t)code < thrum__countof(statuses) ? (enum grpc_status)code
							       : GRPC_UNKNOWN;
	for (size_t i = 0; i < thrum__countof(statuses); i++)
		if (statuses[i].code == code)
			return (enum grpc_status)i;
	for (size_t i = 0; i < thrum__countof(others); i++)
		if (others[i].code == code)
			return others[i].status;
	return GRPC_UNKNOWN;
}

enum grpc_status grpc_status_from_reset(uint32_t http2_error)
{
	switch (http2_error) {
	case NGHTTP2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return GRPC_PERMISSION_DENIED;
	case NGHTTP2_NO_ERROR:
	case NGHTTP2_PROTOCOL_ERROR:
	case NGHTTP2_INTERNAL_ERROR:
	case NGHTTP2_FLOW_CONTROL_ERROR:
	case NGHTTP2_SETTINGS_TIMEOUT:
	case NGHTTP2_FRAME_SIZE_ERROR:
	case NGHTTP2_COMPRESSION_ERROR:
	case NGHTTP2_CONNECT_ERROR:
		return GRPC_INTERNAL;
	default:
		return GRPC_UNKNOWN;
	}
}

enum grpc_status grpc_status_from_http(int http_status)
{
	switch (http_status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}
