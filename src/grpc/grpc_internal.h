/* SPDX-License-Identifier: MIT */
#ifndef THRUM_GRPC_INTERNAL_H
#define THRUM_GRPC_INTERNAL_H

#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "grpc/grpc.h"

enum { GRPC_PREFIX = 5 }; /* one flag byte, four length bytes */

struct grpc_conn {
	nghttp2_session *session;
	bool server;
	struct grpc_limits limits;
	struct grpc_events events;
	void *ctx;
	struct thrum__list
		calls; /* of struct grpc_call, by node: every call with a stream or an owner */
	struct thrum__list
		late; /* client: ended calls whose stream may have to be reset, by late_node */
	struct thrum__buf *pulling; /* where send callbacks append, during grpc_conn_pull */
	size_t pull_limit;
	bool dead;       /* the session must not be touched any more */
	bool draining;   /* server: announced; the final GOAWAY follows the ping's answer */
	bool going_away; /* client: the server said so */
	int error;
};

/* A header block as it comes in: what the protocol needs to know of it. */
struct header_block {
	int http_status; /* client */
	int status;      /* grpc-status, -1 if there was none */
	bool is_post, content_type_ok, encoding_ok, timeout_ok, too_large;
	char text[GRPC_TEXT_MAX];
};

struct grpc_call {
	struct thrum__list node, late_node;
	struct grpc_conn *conn;
	int32_t stream; /* HTTP/2 stream id */
	void *user;
	bool held;          /* the owner has not released it */
	bool stream_open;   /* nghttp2 knows the stream; the call lives while held or stream_open */
	bool headers_done;  /* the peer's first header block was read */
	bool responded;     /* server: response headers are on their way */
	bool send_closed;   /* nothing is queued after what is */
	bool remote_closed; /* END_STREAM came in */
	bool ended;
	bool full;   /* no room to send: the owner is told when there is some */
	bool wanted; /* the owner waits for a message: the window may open for its bytes */
	enum grpc_status status;
	char text[GRPC_TEXT_MAX];
	char *path;
	int64_t timeout_ns;
	struct header_block block;
	struct thrum__list fields; /* metadata */
	size_t fields_size;

	/* Receiving: bytes [prefix | message], then the queue of complete messages. */
	uint8_t prefix[GRPC_PREFIX];
	size_t prefix_have;
	uint8_t *partial;
	size_t partial_len, partial_have, partial_cap;
	struct thrum__buf ready; /* of struct ready_message */
	size_t ready_bytes;      /* on the wire, of complete messages not yet taken */
	size_t unconsumed;       /* received, and not yet given back to the windows */

	struct thrum__buf out; /* framed messages to be sent */
};

struct ready_message {
	uint8_t *data;
	size_t len;
};

/* ---- call.c */

/* A call of either role, in the connection's list. NULL: no memory. */
struct grpc_call *grpc__call_new(struct grpc_conn *conn);

/* Frees a call with no owner and no stream; does nothing while it has either. */
void grpc__call_settle(struct grpc_call *call);

/* Marks the end and tells the owner. */
void grpc__call_end(struct grpc_call *call, enum grpc_status status, const char *text);

/* Tells the owner, if there is one. */
void grpc__call_changed(struct grpc_call *call);

/* DATA bytes came in. 0 or -ENOMEM. */
int grpc__call_data(struct grpc_call *call, const uint8_t *bytes, size_t len);

/* END_STREAM came in after data or as part of headers. */
void grpc__call_remote_end(struct grpc_call *call);

/* Keeps the provider's source: data frames of a call. */
nghttp2_data_provider grpc__call_provider(struct grpc_call *call);

/* ---- headers.c */

/* One header field came in. 0 or -ENOMEM. */
int grpc__headers_field(struct grpc_call *call, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t value_len);

/* A header block is complete. */
void grpc__headers_done(struct grpc_call *call, bool end_stream);

/* True for names whose values are base64 on the wire. */
bool grpc__name_is_binary(const char *name, size_t len);

/* Frees the metadata. */
void grpc__headers_free(struct grpc_call *call);

/* A header field for nghttp2, which copies it. */
static inline nghttp2_nv grpc__nv_bytes(const char *name, const void *value, size_t len)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
		len, NGHTTP2_NV_FLAG_NONE};
}

static inline nghttp2_nv grpc__nv(const char *name, const char *value)
{
	return grpc__nv_bytes(name, value, strlen(value));
}

/* Remembers that memory ran out; feed and pull report it. Other nghttp2 results mean: too late, no
 * harm. */
static inline void grpc__note(struct grpc_conn *conn, int nghttp2_result)
{
	if (nghttp2_result == NGHTTP2_ERR_NOMEM)
		conn->error = -ENOMEM;
}

#endif
