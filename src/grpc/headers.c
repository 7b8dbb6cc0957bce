/* SPDX-License-Identifier: MIT */
#include "grpc/grpc_internal.h"

#include <errno.h>
#include <stdio.h>

#include "grpc/wire.h"

/* Header blocks: what comes in, and what a request and its answer must look like. */

struct field {
	struct thrum__list node;
	struct grpc_metadata meta;
	char bytes[]; /* the name, NUL, the value, NUL */
};

static bool equals(const uint8_t *bytes, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(bytes, text, len) == 0;
}

static bool starts_with(const uint8_t *bytes, size_t len, const char *text)
{
	return len >= strlen(text) && memcmp(bytes, text, strlen(text)) == 0;
}

bool grpc__name_is_binary(const char *name, size_t len)
{
	return len > 4 && memcmp(name + len - 4, "-bin", 4) == 0;
}

static int add_field(struct grpc_call *call, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t value_len)
{
	struct field *field = calloc(1, sizeof(*field) + name_len + value_len + 3);
	if (field == NULL)
		return -ENOMEM;
	char *text = field->bytes + name_len + 1;
	memcpy(field->bytes, name, name_len);
	ssize_t len = (ssize_t)value_len;
	if (grpc__name_is_binary((const char *)name, name_len))
		len = grpc_base64_decode((const char *)value, value_len, (uint8_t *)text);
	else
		memcpy(text, value, value_len);
	if (len < 0) { /* not base64: nobody can use it */
		free(field);
		return 0;
	}
	text[len] = 0;
	field->meta = (struct grpc_metadata){field->bytes, text, (size_t)len};
	thrum__list_push_back(&call->fields, &field->node);
	return 0;
}

/* Counts a field. False once they are more than is kept. */
static bool count_field(struct grpc_call *call, size_t name_len, size_t value_len)
{
	call->fields_size += name_len + value_len + 32;
	if (call->fields_size > GRPC_HEADERS_MAX)
		call->block.too_large = true;
	return !call->block.too_large;
}

/*
 * Binary values may be joined by commas: each is a value of its own, and counts like one, as each
 * keeps a copy of the name.
 */
static int add_metadata(struct grpc_call *call, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t value_len)
{
	const uint8_t *comma;
	while (grpc__name_is_binary((const char *)name, name_len) &&
		(comma = memchr(value, ',', value_len)) != NULL) {
		size_t len = (size_t)(comma - value);
		int r = add_field(call, name, name_len, value, len);
		if (r < 0)
			return r;
		if (!count_field(call, name_len, 0))
			return 0;
		value += len + 1;
		value_len -= len + 1;
		while (value_len > 0 && *value == ' ')
			value++, value_len--;
	}
	return add_field(call, name, name_len, value, value_len);
}

void grpc__headers_free(struct grpc_call *call)
{
	struct thrum__list *node;
	while ((node = thrum__list_pop_front(&call->fields)) != NULL)
		free(thrum__container_of(node, struct field, node));
}

const struct grpc_metadata *grpc_call_metadata(const struct grpc_call *call, const char *name)
{
	thrum__list_foreach (node, &call->fields) {
		const struct field *field = thrum__container_of(node, struct field, node);
		if (strcmp(field->meta.name, name) == 0)
			return &field->meta;
	}
	return NULL;
}

/* A decimal of at most nine digits, or -1. */
static int small_number(const uint8_t *text, size_t len)
{
	int value = 0;
	if (len == 0 || len > 9)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

/* "application/grpc" alone or followed by '+' or ';'. */
static bool is_grpc_type(const uint8_t *value, size_t len)
{
	const char *type = "application/grpc";
	size_t n = strlen(type);
	return starts_with(value, len, type) && (len == n || value[n] == '+' || value[n] == ';');
}

static int request_path(struct grpc_call *call, const uint8_t *value, size_t len)
{
	free(call->path);
	call->path = strndup((const char *)value, len);
	return call->path != NULL ? 0 : -ENOMEM;
}

static int pseudo_field(struct grpc_call *call, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t len)
{
	if (equals(name, name_len, ":method"))
		call->block.is_post = equals(value, len, "POST");
	else if (equals(name, name_len, ":status"))
		call->block.http_status = small_number(value, len);
	else if (equals(name, name_len, ":path") && call->conn->server)
		return request_path(call, value, len);
	return 0;
}

static void grpc_field(struct grpc_call *call, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t len)
{
	struct header_block *block = &call->block;
	if (equals(name, name_len, "grpc-status")) {
		int status = small_number(value, len);
		block->status = status < 0 || status > GRPC_UNAUTHENTICATED ? GRPC_UNKNOWN : status;
	} else if (equals(name, name_len, "grpc-message")) {
		grpc_percent_decode(value, len, block->text, sizeof(block->text));
	} else if (equals(name, name_len, "grpc-encoding")) {
		block->encoding_ok = equals(value, len, "identity");
	} else if (equals(name, name_len, "grpc-timeout")) {
		block->timeout_ok =
			grpc_timeout_parse((const char *)value, len, &call->timeout_ns) == 0;
	}
}

int grpc__headers_field(struct grpc_call *call, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t value_len)
{
	bool keep = count_field(call, name_len, value_len);
	if (name_len > 0 && name[0] == ':' && value_len <= GRPC_HEADERS_MAX)
		return pseudo_field(call, name, name_len, value, value_len);
	if (starts_with(name, name_len, "grpc-"))
		grpc_field(call, name, name_len, value, value_len);
	else if (equals(name, name_len, "content-type"))
		call->block.content_type_ok = is_grpc_type(value, value_len);
	else if (keep && !equals(name, name_len, "te"))
		return add_metadata(call, name, name_len, value, value_len);
	return 0;
}

/* ---------------------------------------------------------------- a complete block */

/* Answers with a plain HTTP status: whoever asked does not speak gRPC. */
static void answer_http(struct grpc_call *call, const char *status)
{
	nghttp2_nv nv = grpc__nv(":status", status);
	grpc__note(call->conn,
		nghttp2_submit_response(call->conn->session, call->stream, &nv, 1, NULL));
	call->responded = call->send_closed = true;
	grpc__call_end(call, GRPC_UNKNOWN, "");
}

static void request_done(struct grpc_call *call, bool end_stream)
{
	struct header_block *block = &call->block;
	call->headers_done = true;
	call->remote_closed = end_stream;
	if (block->too_large)
		grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "header list too large");
	else if (!block->is_post)
		answer_http(call, "405");
	else if (!block->content_type_ok)
		answer_http(call, "415");
	else if (!block->encoding_ok)
		grpc_call_finish(call, GRPC_UNIMPLEMENTED, "message encoding not supported");
	else if (!block->timeout_ok)
		grpc_call_finish(call, GRPC_INTERNAL, "malformed grpc-timeout");
	else
		call->held = call->conn->events.opened(call, call->conn->ctx);
}

/* The status came in: what was received before it counts, if no message is cut. */
static void status_done(struct grpc_call *call)
{
	call->remote_closed = true;
	if (call->block.status < 0)
		grpc__call_end(call, GRPC_UNKNOWN, "the server sent no grpc-status");
	else if (call->block.status == GRPC_OK && (call->prefix_have > 0 || call->partial != NULL))
		grpc__call_end(call, GRPC_INTERNAL, "the last message is cut");
	else
		grpc__call_end(call, (enum grpc_status)call->block.status, call->block.text);
	thrum__list_remove(&call->late_node);
	thrum__list_push_back(&call->conn->late, &call->late_node);
}

static void response_done(struct grpc_call *call, bool end_stream)
{
	struct header_block *block = &call->block;
	if (block->http_status >= 100 && block->http_status < 200)
		return; /* informational: the answer follows */
	call->headers_done = true;
	char text[64];
	if (block->too_large) {
		grpc_call_reset(call, GRPC_RESOURCE_EXHAUSTED, "header list too large");
	} else if (block->http_status != 200 && block->status < 0) {
		snprintf(text, sizeof(text), "HTTP status %d", block->http_status);
		grpc_call_reset(call, grpc_status_from_http(block->http_status), text);
	} else if (!block->content_type_ok) {
		grpc_call_reset(call, GRPC_UNKNOWN, "the answer is not application/grpc");
	} else if (!block->encoding_ok) {
		grpc_call_reset(
			call, GRPC_INTERNAL, "the server used an encoding it was not offered");
	} else if (end_stream) {
		status_done(call);
	}
}

void grpc__headers_done(struct grpc_call *call, bool end_stream)
{
	if (call->ended)
		return;
	if (call->conn->server && !call->headers_done)
		request_done(call, end_stream);
	else if (call->conn->server)
		grpc__call_remote_end(
			call); /* trailers of a request: legal, and nothing but its end */
	else if (!call->headers_done)
		response_done(call, end_stream);
	else if (call->block.too_large)
		grpc_call_reset(call, GRPC_RESOURCE_EXHAUSTED, "trailers too large");
	else
		status_done(call);
}
