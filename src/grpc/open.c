/* SPDX-License-Identifier: MIT */
#include "grpc/grpc_internal.h"

#include <errno.h>

#include "grpc/wire.h"

/* Starting a call: the request's header block. */

enum { PATH_MAX_LEN = 1024, FIXED_FIELDS = 8 };

static bool valid_path(const char *path)
{
	size_t len = strlen(path);
	if (path[0] != '/' || len > PATH_MAX_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (path[i] <= 0x20 || path[i] >= 0x7f)
			return false;
	return true;
}

static bool valid_metadata(const struct grpc_metadata *meta)
{
	if (meta->name[0] == 0 || strncmp(meta->name, "grpc-", 5) == 0 ||
		strspn(meta->name, "abcdefghijklmnopqrstuvwxyz0123456789_-.") !=
			strlen(meta->name) ||
		strcmp(meta->name, "te") == 0 || strcmp(meta->name, "content-type") == 0)
		return false;
	if (grpc__name_is_binary(meta->name, strlen(meta->name)))
		return true;
	const uint8_t *value = meta->value;
	for (size_t i = 0; i < meta->len; i++)
		if (value[i] < 0x20 || value[i] > 0x7e)
			return false;
	return meta->len == 0 || (value[0] != ' ' && value[meta->len - 1] != ' ');
}

/* Bytes of the metadata on the wire, at most; or -EINVAL. */
static ssize_t metadata_size(const struct grpc_metadata *metadata, size_t count)
{
	size_t size = 0;
	for (size_t i = 0; i < count; i++) {
		if (metadata[i].len > GRPC_HEADERS_MAX || !valid_metadata(&metadata[i]))
			return -EINVAL;
		size += strlen(metadata[i].name) + 4 * ((metadata[i].len + 2) / 3) + 32;
		if (size > GRPC_HEADERS_MAX)
			return -EINVAL;
	}
	return (ssize_t)size;
}

/* Fills in the request's fields; text takes the encoded binary values. Returns how many. */
static size_t request_fields(nghttp2_nv *nv, const char *path, const char *authority,
	const char *timeout, const struct grpc_metadata *metadata, size_t count, char *text)
{
	size_t n = 0;
	nv[n++] = grpc__nv(":method", "POST");
	nv[n++] = grpc__nv(":scheme", "http");
	nv[n++] = grpc__nv(":path", path);
	nv[n++] = grpc__nv(":authority", authority);
	nv[n++] = grpc__nv("te", "trailers");
	if (timeout[0] != 0)
		nv[n++] = grpc__nv("grpc-timeout", timeout);
	nv[n++] = grpc__nv("content-type", "application/grpc");
	nv[n++] = grpc__nv("user-agent", "thrum/" THRUM_VERSION);
	for (size_t i = 0; i < count; i++) {
		if (!grpc__name_is_binary(metadata[i].name, strlen(metadata[i].name))) {
			nv[n++] = grpc__nv_bytes(
				metadata[i].name, metadata[i].value, metadata[i].len);
			continue;
		}
		size_t len = grpc_base64_encode(metadata[i].value, metadata[i].len, text);
		nv[n++] = grpc__nv_bytes(metadata[i].name, text, len);
		text += len;
	}
	return n;
}

static int submit(struct grpc_call *call, const nghttp2_nv *nv, size_t count)
{
	nghttp2_data_provider provider = grpc__call_provider(call);
	int32_t stream =
		nghttp2_submit_request(call->conn->session, NULL, nv, count, &provider, call);
	if (stream == NGHTTP2_ERR_NOMEM)
		return -ENOMEM;
	if (stream < 0)
		return -ECONNRESET;
	call->stream = stream;
	call->stream_open = true;
	call->held = true;
	return 0;
}

int grpc_call_open(struct grpc_conn *conn, const char *path, const char *authority,
	int64_t timeout_ns, const struct grpc_metadata *metadata, size_t count,
	struct grpc_call **out)
{
	ssize_t size = metadata_size(metadata, count);
	if (conn->server || !valid_path(path) || size < 0)
		return -EINVAL;
	if (!grpc_conn_accepts_calls(conn))
		return -ECONNRESET;
	struct grpc_call *call = grpc__call_new(conn);
	nghttp2_nv *nv = malloc((FIXED_FIELDS + count) * sizeof(*nv));
	char *text = malloc((size_t)size + 1);
	int r = -ENOMEM;
	if (call == NULL || nv == NULL || text == NULL || (call->path = strdup(path)) == NULL)
		goto done;
	char timeout[GRPC_TIMEOUT_MAX] = "";
	if (timeout_ns > 0)
		grpc_timeout_format(timeout_ns, timeout);
	size_t n = request_fields(nv, path, authority != NULL ? authority : "localhost", timeout,
		metadata, count, text);
	r = submit(call, nv, n);
	if (r == 0)
		*out = call;
done:
	if (r < 0 && call != NULL)
		grpc__call_settle(call);
	free(nv);
	free(text);
	return r;
}
