/* SPDX-License-Identifier: MIT */
#ifndef THRUM_GRPC_H
#define THRUM_GRPC_H

/*
 * gRPC over HTTP/2 as a pure core: bytes in, bytes out, no clock, no socket. Both roles.
 *
 * Words.  A *connection* is one HTTP/2 connection, client or server. A *call* is one of its
 * streams. The owner *feeds* what arrived, *pulls* what is to be sent, and is told through two
 * callbacks that a call came in or that something about a call changed; it then looks. Callbacks
 * run inside feed, pull and the call functions; they may use every function of a call except
 * grpc_call_release, and none of the connection.
 *
 * Nothing here is thread-safe: one connection with all its calls needs one lock.
 *
 * Flow control is back-pressure. Bytes of messages that nobody has taken keep the stream's window
 * shut, so a peer can make us hold at most the window of each call, plus one message for a call
 * whose owner waits for one; all calls together no more than the connection's window and those
 * messages. That counts bytes on the wire: a message keeps some 50 bytes besides its own, so a
 * window full of empty ones costs ten times as much.
 */

#include "base/base.h"
#include "grpc/metadata.h"
#include "grpc/status.h"

struct grpc_conn;
struct grpc_call;

enum {
	GRPC_HEADERS_MAX =
		16 * 1024,   /* a header list, counted as HTTP/2 does (32 more bytes per field) */
	GRPC_TEXT_MAX = 256, /* a status message, NUL included; longer ones are cut */
};

/* Zero means the default in brackets. */
struct grpc_limits {
	size_t max_message;   /* bytes of a received message [4 MiB] */
	unsigned max_calls;   /* streams at once that a server admits [100] */
	size_t send_buffer;   /* bytes queued per call before grpc_call_room says no [256 KiB] */
	size_t stream_window; /* [1 MiB] */
	size_t conn_window;   /* [16 MiB] */
};

struct grpc_events {
	/*
	 * Server: a call whose headers are fine came in. True: the owner holds it until
	 * grpc_call_release. False: the owner has finished it already and will not look at it
	 * again.
	 */
	bool (*opened)(struct grpc_call *call, void *ctx);
	/* A message, the end, room to send again. Only for calls that the owner holds. */
	void (*changed)(struct grpc_call *call, void *ctx);
};

/* 0, -ENOMEM. events is copied. */
int grpc_conn_create(struct grpc_conn **out, bool server, const struct grpc_limits *limits,
	const struct grpc_events *events, void *ctx);

/* Frees a connection; the owner has released every call. NULL is fine. */
void grpc_conn_destroy(struct grpc_conn *conn);

/* Takes bytes from the peer. 0, THRUM_EFORMAT (it does not speak HTTP/2, or floods us) or -ENOMEM:
 * then it is over. */
int grpc_conn_feed(struct grpc_conn *conn, const void *bytes, size_t len);

/* Appends what is to be sent to out until it holds limit bytes or there is no more. 0, -ENOMEM or
 * THRUM_EFORMAT. */
int grpc_conn_pull(struct grpc_conn *conn, struct thrum__buf *out, size_t limit);

/* True if grpc_conn_pull would give bytes. */
bool grpc_conn_wants_pull(const struct grpc_conn *conn);

/* True once the connection has nothing more to read and to write: close it. */
bool grpc_conn_finished(const struct grpc_conn *conn);

/* Why a finished connection ended: 0, or THRUM_EFORMAT if the peer broke the protocol. */
int grpc_conn_error(const struct grpc_conn *conn);

/* Ends every call here with GRPC_UNAVAILABLE and this text: the transport is gone. */
void grpc_conn_abort(struct grpc_conn *conn, const char *text);

/* Server: no new calls from now on; finished once the running ones are. Idempotent. 0 or -ENOMEM.
 */
int grpc_conn_drain(struct grpc_conn *conn);

/* Client: true if a call may be started. */
bool grpc_conn_accepts_calls(const struct grpc_conn *conn);

/* Sends a PING: any peer that lives answers. 0 or -ENOMEM. */
int grpc_conn_ping(struct grpc_conn *conn);

/* ---------------------------------------------------------------- calls */

/*
 * Client: starts a call; the owner holds it. timeout_ns <= 0: none is sent. authority: NULL for
 * "localhost". 0, -EINVAL (malformed path or metadata), -ECONNRESET (no more calls here), -ENOMEM.
 */
int grpc_call_open(struct grpc_conn *conn, const char *path, const char *authority,
	int64_t timeout_ns, const struct grpc_metadata *metadata, size_t count,
	struct grpc_call **out);

/* Gives the call up; one that has not ended is reset. */
void grpc_call_release(struct grpc_call *call);

void grpc_call_set_user(struct grpc_call *call, void *user);
void *grpc_call_user(const struct grpc_call *call);
const char *grpc_call_path(const struct grpc_call *call);

/* Server: what the client allows, in ns; < 0 if it set no limit. */
int64_t grpc_call_timeout(const struct grpc_call *call);

/* The peer's metadata of that name, headers before trailers; the first of several. NULL: none. */
const struct grpc_metadata *grpc_call_metadata(const struct grpc_call *call, const char *name);

/*
 * Sends a message in two steps: the caller writes len bytes where reserve points, then commits,
 * with nothing in between. NULL: no memory, or the call takes no more messages (it ended or its
 * sending was closed).
 */
uint8_t *grpc_call_reserve(struct grpc_call *call, size_t len);
int grpc_call_commit(struct grpc_call *call, size_t len);

/* True while messages can be sent at all. */
bool grpc_call_sends(const struct grpc_call *call);

/* True while a sender need not wait. */
bool grpc_call_room(const struct grpc_call *call);

/* Client: no more messages from here. */
void grpc_call_close_send(struct grpc_call *call);

/* Server: sends the status after what is queued; the call has ended. text may be NULL. No effect
 * once ended. */
void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *text);

/* Resets the stream; the call has ended with this status. No effect once ended. */
void grpc_call_reset(struct grpc_call *call, enum grpc_status status, const char *text);

/*
 * Takes the next message. 1: *message (for free(3), non-NULL even if empty) and *len are set. 0:
 * none yet; the window opens for one. THRUM_EEOF: the peer sends no more. Else the code of the
 * status the call ended with.
 */
int grpc_call_take(struct grpc_call *call, uint8_t **message, size_t *len);

/* Server: the client was told the status, or has gone. Client: the status is known. */
bool grpc_call_ended(const struct grpc_call *call);

/* The status of a call that has ended; its text (never NULL, borrowed) goes to *text if text is not
 * NULL. */
enum grpc_status grpc_call_status(const struct grpc_call *call, const char **text);

#endif
