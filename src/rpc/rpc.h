/* SPDX-License-Identifier: MIT */
#ifndef THRUM_RPC_H
#define THRUM_RPC_H

/*
 * gRPC in blocking style: one green thread per call, over a plain socket or a Noise channel.
 *
 * Words.  A *transport* carries the bytes of one connection. A *server* holds a table of methods
 *and serves any number of transports; a *client* starts calls on one transport. Who dialled does
 *not matter: either end of a transport may be the server, as long as the other one is the client.
 *
 * A server, one green thread per connection:
 *
 *	while (thrum_listener_accept(listener, &conn, THRUM_FOREVER) == 0) ...
 *		rpc_transport_plain(&transport, conn);
 *		rpc_server_serve(server, transport);            (returns when the connection has
 *ended)
 *
 *	static int hello(struct rpc_call *call, void *ctx)      (runs on a green thread of its own)
 *	{
 *		ProtobufCMessage *in;
 *		int r = rpc_call_recv(call, &greet__request__descriptor, &in, THRUM_FOREVER);
 *		if (r < 0)
 *			return r;
 *		...
 *		r = rpc_call_send(call, &reply.base, THRUM_FOREVER);
 *		rpc_message_free(in);
 *		return r;                                       (0: status OK)
 *	}
 *
 * All functions are for green threads, may suspend and are cancellation points, unless they say
 *otherwise. A call is used by one green thread at a time, except that one may send while another
 *receives. Each one's deadline argument bounds that one wait; the call's own deadline ends all of
 *them.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <thrum/error.h>
#include <thrum/time.h>

#include "grpc/metadata.h"
#include "grpc/status.h"

struct thrum_conn;

/* ---------------------------------------------------------------- transports */

enum { RPC_KEY_SIZE = 32 }; /* X25519 secret and public keys */

struct rpc_transport;

/*
 * A transport over a connected socket, in the clear (for Unix sockets and tests).
 * Takes conn, also on failure. Returns 0 or -ENOMEM. Suspends: never.
 */
THRUM_NODISCARD int rpc_transport_plain(struct rpc_transport **out, struct thrum_conn *conn);

/* Closes and frees a transport that no server or client has taken. NULL is fine. Suspends: never.
 */
void rpc_transport_destroy(struct rpc_transport *transport);

/* The other end's public key (RPC_KEY_SIZE bytes, borrowed), or NULL on a plain transport. */
const uint8_t *rpc_transport_peer_key(const struct rpc_transport *transport);

/* Bytes on the wire, handshake included. */
struct rpc_traffic {
	uint64_t in, out;
};

/* What this transport has carried so far. Any thread; never suspends. */
struct rpc_traffic rpc_transport_traffic(const struct rpc_transport *transport);

/*
 * Adds what the transport has carried and will carry to a total as well, atomically: several
 * transports may share one. total: borrowed for the transport's life; read it with
 * rpc_traffic_read. Before a server or client takes the transport. Never suspends.
 */
void rpc_transport_account(struct rpc_transport *transport, struct rpc_traffic *total);

/* Reads a total that transports add to. Any thread; never suspends. */
struct rpc_traffic rpc_traffic_read(const struct rpc_traffic *total);

enum {
	RPC_NOISE_PAYLOAD_MAX = 4096, /* application bytes in the handshake */
	RPC_NOISE_VERDICT_MAX = 1024, /* application bytes in the verdict */
};

/*
 * The dialling end of a Noise_XX channel (the wire is in rpc/noise_transport.c).
 *
 * payload travels encrypted in the third message, to the holder of remote_key and nobody else. The
 * channel is open once the other end's verdict has come; verdict receives its text, NUL-terminated
 * (a reason if it refused, what it likes to say if not): escape it before a terminal sees it.
 */
struct rpc_noise_dial {
	const uint8_t *static_key;               /* own secret key */
	const uint8_t *remote_key;               /* public key the other end must prove */
	const void *payload;                     /* borrowed; may be NULL */
	size_t payload_len;                      /* at most RPC_NOISE_PAYLOAD_MAX */
	char verdict[RPC_NOISE_VERDICT_MAX + 1]; /* written */
};

/*
 * Takes conn, also on failure (it is then closed).
 * Returns 0, THRUM_EAUTH (it is not the holder of remote_key, or closed without a verdict: it does
 * not know us), -EACCES (refused: see verdict), THRUM_EFORMAT (not a Noise peer), -EINVAL, -ENOMEM,
 * -ETIMEDOUT, -ECANCELED, or a connection error.
 */
THRUM_NODISCARD int rpc_noise_connect(struct rpc_transport **out, struct thrum_conn *conn,
	struct rpc_noise_dial *dial, thrum_deadline deadline);

/* What the accepting end answers to a key and a payload. */
enum rpc_verdict {
	RPC_VERDICT_OK,     /* the channel opens */
	RPC_VERDICT_REFUSE, /* closed with a reason: only for a peer that showed a known key or a
			       valid token */
	RPC_VERDICT_SILENT, /* closed without a word: for everybody else */
};

/*
 * Decides about a peer that has proved it holds remote_key. May suspend. text: NUL-terminated words
 * for the other end, of at most cap - 1 bytes; starts empty; not sent when silent.
 */
typedef enum rpc_verdict (*rpc_noise_decide)(const uint8_t *remote_key, const void *payload,
	size_t payload_len, char *text, size_t cap, void *ctx);

struct rpc_noise_listen {
	const uint8_t *static_key; /* own secret key */
	rpc_noise_decide decide;
	void *ctx;
};

/*
 * The accepting end. Takes conn, also on failure. The whole handshake, decide included, must end
 * before deadline; nothing is said to a peer before it has proved a key. Returns 0, THRUM_EAUTH
 * (tampered, or not let in), THRUM_EFORMAT (not a Noise peer), -ENOMEM, -ETIMEDOUT, -ECANCELED, or
 * a connection error.
 */
THRUM_NODISCARD int rpc_noise_accept(struct rpc_transport **out, struct thrum_conn *conn,
	const struct rpc_noise_listen *listen, thrum_deadline deadline);

/* The public key of a secret key. Never suspends. THRUM_EAUTH if the secret is unusable. */
THRUM_NODISCARD int rpc_noise_public_key(
	uint8_t public_key[RPC_KEY_SIZE], const uint8_t secret_key[RPC_KEY_SIZE]);

/* ---------------------------------------------------------------- limits */

/* Bounds of a connection, for either role. Zero means the default in brackets. */
struct rpc_limits {
	size_t max_message; /* bytes of one message on the wire [4 MiB] */
	unsigned max_calls; /* calls at once that a server runs [100] */
	size_t send_buffer; /* bytes queued per call before a sender waits [256 KiB] */
	/*
	 * ns until a peer counts as dead that says nothing, or takes nothing of what
	 * is to be written [20 s]; < 0: never. After half of
	 * it a PING goes out. Servers of other make may not like PINGs: set -1 for them.
	 */
	int64_t keepalive;
};

/* ---------------------------------------------------------------- calls */

struct rpc_call;

/*
 * Sends one message (borrowed for the call). Returns 0 once it is queued (waiting for room while
 * the peer reads slowly), -EINVAL (after close_send), -EMSGSIZE (beyond 2 GiB), -ENOMEM,
 * -ETIMEDOUT, -ECANCELED (nothing was queued in any of these cases), or, as the peer will read no
 * more, the code of the status the call has ended with (-EPIPE for OK).
 */
THRUM_NODISCARD int rpc_call_send(
	struct rpc_call *call, const ProtobufCMessage *message, thrum_deadline deadline);

/*
 * Receives one message of a type; gives *out, for rpc_message_free.
 * Returns 0, THRUM_EEOF (the peer sends no more and, on a client, the status is OK), THRUM_EFORMAT
 * (it is no message of that type), -EMSGSIZE (it unpacks into far more memory than its size),
 * -ENOMEM, -ETIMEDOUT, -ECANCELED (nothing was lost), or the code of the status the call has ended
 * with.
 */
THRUM_NODISCARD int rpc_call_recv(struct rpc_call *call, const ProtobufCMessageDescriptor *type,
	ProtobufCMessage **out, thrum_deadline deadline);

/* Frees a message that rpc_call_recv or rpc_client_unary gave. NULL is fine. Any thread; never
 * suspends. */
void rpc_message_free(ProtobufCMessage *message);

/* The same for messages that are plain bytes. recv gives *out for free(3); *out is non-NULL even if
 * empty. */
THRUM_NODISCARD int rpc_call_send_bytes(
	struct rpc_call *call, const void *bytes, size_t len, thrum_deadline deadline);
THRUM_NODISCARD int rpc_call_recv_bytes(
	struct rpc_call *call, void **out, size_t *len, thrum_deadline deadline);

/* The peer's metadata value of that name (borrowed for the call's life), or NULL. Never suspends.
 */
const struct grpc_metadata *rpc_call_metadata(struct rpc_call *call, const char *name);

/* When the call ends by itself; THRUM_FOREVER if never. Never suspends. */
thrum_deadline rpc_call_deadline(const struct rpc_call *call);

/* The method's path, such as "/pkg.Service/Method" (borrowed). Never suspends. */
const char *rpc_call_path(const struct rpc_call *call);

/* The public key of the peer on the other end of the connection, or NULL if plain (borrowed). */
const uint8_t *rpc_call_peer_key(const struct rpc_call *call);

/* ---------------------------------------------------------------- server */

/*
 * Runs one call on a green thread of its own. It is cancelled (thrum_cancel) once the client resets
 * the call, the call's deadline passes, or the connection dies: every blocking call in it then ends
 * with -ECANCELED. The call and everything borrowed from it is valid until the handler returns.
 * Returns the status: an enum grpc_status, or a negative code (translated by
 * grpc_status_from_error).
 */
typedef int (*rpc_handler)(struct rpc_call *call, void *ctx);

/* Sets the status message of a handler's return: `return rpc_call_fail(call, GRPC_NOT_FOUND, "no
 * %s", x);` */
int rpc_call_fail(struct rpc_call *call, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Ends the call's whole connection once its status has left (at most a second is given to that):
 * for a client that breaks the rules. Every other call on it ends too. On a handler's green thread
 * only.
 */
void rpc_call_hang_up(struct rpc_call *call);

/* Messages in each direction; a server checks it, so that a handler need not. */
enum rpc_kind {
	RPC_UNARY,
	RPC_CLIENT_STREAM, /* many requests, one response */
	RPC_SERVER_STREAM, /* one request, many responses */
	RPC_BIDI,
};

struct rpc_method {
	const char *path; /* "/pkg.Service/Method" */
	enum rpc_kind kind;
	rpc_handler handler;
};

/*
 * A handler for "/grpc.health.v1.Health/Check" (RPC_UNARY), to be put into a server's table:
 * SERVING for the empty name and for every service with a method there, else GRPC_NOT_FOUND.
 */
int rpc_health_check(struct rpc_call *call, void *ctx);

struct rpc_server;

struct rpc_server_config {
	const struct rpc_method *methods; /* borrowed for the server's life */
	size_t method_count;
	void *ctx; /* handed to every handler */
	struct rpc_limits limits;
};

/* Returns 0, -EINVAL (no handler or path, or a path twice) or -ENOMEM. Never suspends. */
THRUM_NODISCARD int rpc_server_create(
	struct rpc_server **out, const struct rpc_server_config *config);

/*
 * Serves one transport on the calling green thread until the connection has ended and every one of
 * its handlers has returned. Takes transport, also on failure. peer: NULL, or handed to
 * rpc_call_peer. Returns 0 (the client left, or the server drained), -ECANCELED (the caller was
 * cancelled: calls are reset, handlers cancelled), -ETIMEDOUT (a dead peer), THRUM_EFORMAT (not
 * HTTP/2), THRUM_EAUTH (the channel was tampered with), -ECONNABORTED (a handler hung up), or a
 * connection error.
 */
THRUM_NODISCARD int rpc_server_serve(
	struct rpc_server *server, struct rpc_transport *transport, void *peer);

/* What rpc_server_serve was given as peer for this call's connection. Never suspends. */
void *rpc_call_peer(const struct rpc_call *call);

/*
 * Ends every connection gracefully: no new calls, running ones finish, then each rpc_server_serve
 * returns. Sticky. Any thread of the runtime.
 */
void rpc_server_drain(struct rpc_server *server);

/* Frees a server that serves nothing any more. NULL is fine. */
void rpc_server_destroy(struct rpc_server *server);

/* ---------------------------------------------------------------- client */

struct rpc_client;

/*
 * A client on a transport, which it takes, also on failure. limits: NULL for the defaults.
 * Starts two green threads. Returns 0, -ENOMEM, -ECANCELED (the runtime is shutting down).
 */
THRUM_NODISCARD int rpc_client_create(
	struct rpc_client **out, struct rpc_transport *transport, const struct rpc_limits *limits);

/* Ends the connection at once: calls end with GRPC_UNAVAILABLE. Idempotent. */
void rpc_client_close(struct rpc_client *client);

/* Closes, waits for its green threads and frees. Every call must have been destroyed. NULL is fine.
 * Shielded. */
void rpc_client_destroy(struct rpc_client *client);

/*
 * Waits until the connection has ended. Returns 0 (the stream ended; who cut it is not known: what
 * a call's status says is), the reason it ended with
 * (see rpc_server_serve), -ETIMEDOUT (it lives: also with THRUM_NOW) or -ECANCELED.
 */
THRUM_NODISCARD int rpc_client_wait(struct rpc_client *client, thrum_deadline deadline);

/* False once no call can be started any more (ended, or the server drains). Never suspends for
 * long. */
bool rpc_client_alive(struct rpc_client *client);

/* Bytes on the wire so far. */
struct rpc_traffic rpc_client_traffic(const struct rpc_client *client);

/* The other end's public key (borrowed), or NULL on a plain transport. */
const uint8_t *rpc_client_peer_key(const struct rpc_client *client);

/* How a call ended. message is NUL-terminated UTF-8 from the peer: escape it before a terminal sees
 * it. */
struct rpc_status {
	enum grpc_status code;
	char message[256]; /* cut between bytes if longer */
};

/*
 * One request, one response. response: gives, for rpc_message_free. status: NULL or how it ended.
 * deadline ends the call here and is sent to the server. Returns 0 or the code of the status (see
 * grpc_status_to_error), -ETIMEDOUT, -ECANCELED, -ENOMEM.
 */
THRUM_NODISCARD int rpc_client_unary(struct rpc_client *client, const char *path,
	const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response_type,
	ProtobufCMessage **response, thrum_deadline deadline, struct rpc_status *status);

/*
 * Starts a call; gives *out, for rpc_call_destroy. metadata: borrowed for the call, count entries.
 * Returns 0, -ENOMEM, -EINVAL (bad path or metadata), -ECONNRESET (the connection has ended or
 * drains), -ETIMEDOUT (the deadline has passed already). Does not wait for the server.
 */
THRUM_NODISCARD int rpc_client_open(struct rpc_client *client, const char *path,
	const struct grpc_metadata *metadata, size_t count, thrum_deadline deadline,
	struct rpc_call **out);

/* No more messages from here. Idempotent. On a server: no effect, the return is the end. Never
 * fails. */
void rpc_call_close_send(struct rpc_call *call);

/*
 * Closes sending, drops what is still to be received and waits for the status.
 * Returns the status's code translated (0: OK), -ETIMEDOUT or -ECANCELED. status: NULL or how it
 * ended.
 */
THRUM_NODISCARD int rpc_call_finish(
	struct rpc_call *call, struct rpc_status *status, thrum_deadline deadline);

/* Asks the server to stop: the call ends with GRPC_CANCELLED. Also from another green thread. */
void rpc_call_cancel(struct rpc_call *call);

/* Frees a client's call, cancelling it if it has not ended. NULL is fine. Shielded. */
void rpc_call_destroy(struct rpc_call *call);

#endif
