/* SPDX-License-Identifier: MIT */
#ifndef THRUM_RPC_INTERNAL_H
#define THRUM_RPC_INTERNAL_H

#include <thrum/cond.h>
#include <thrum/mutex.h>
#include <thrum/net.h>
#include <thrum/thread.h>

#include "base/base.h"
#include "grpc/grpc.h"
#include "noise/noise.h"
#include "rpc/rpc.h"

/* ---- transport.c: bytes of one connection, plain or sealed. One reader and one writer at once. */

struct rpc_transport {
	struct thrum_conn *conn;
	bool sealed;
	uint8_t peer_key[RPC_KEY_SIZE];
	struct noise_cipher sending, receiving;
	struct thrum__buf in;  /* the reader's: what came, from the record given last */
	size_t given;          /* bytes of `in` that the last read gave; consumed by the next one */
	size_t chunk;          /* how much to ask the kernel for */
	struct thrum__buf out; /* the writer's: sealed records */
	struct rpc_traffic traffic;  /* atomic */
	struct rpc_traffic *account; /* atomic; NULL or shared with others */
};

/* A transport over conn (taken, also on failure), plain so far. */
int rpc__transport_create(struct rpc_transport **out, struct thrum_conn *conn);

/*
 * Waits for bytes; gives a piece that stays valid until the next read. Returns its length (> 0), 0
 * at the end of the stream, or an error; after -ETIMEDOUT nothing is lost.
 */
ssize_t rpc__transport_read(
	struct rpc_transport *transport, const uint8_t **bytes, thrum_deadline deadline);

/*
 * Writes all, as long as some of it is taken every `patience` ns (< 0: however long that takes).
 * After an error the stream is broken.
 */
int rpc__transport_write(struct rpc_transport *transport, const void *bytes, size_t len,
	int64_t patience, thrum_deadline deadline);

/* Counts bytes. */
void rpc__transport_count(struct rpc_transport *transport, size_t in, size_t out);

/* ---- message.c */

/*
 * Unpacks a message into memory of its own, bounded by a budget. 0, THRUM_EFORMAT, -EMSGSIZE or
 * -ENOMEM. *out is for rpc_message_free.
 */
int rpc__message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	ProtobufCMessage **out);

/* ---- conn.c: what servers and clients share */

struct rpc_conn {
	struct thrum_mutex
		lock; /* guards all below and the core; held for short, never across I/O */
	struct grpc_conn *grpc;
	struct rpc_transport *transport;
	int64_t keepalive;             /* ns; < 0: none */
	uint64_t heard;                /* bytes that had come in when the reader looked last */
	int64_t last_heard;            /* when it found more of them last */
	bool pinged;                   /* since then */
	thrum_deadline earliest;       /* no call ends by its deadline before this; server */
	struct thrum_cond writer_wake; /* there is something to pull, or closed */
	struct thrum_cond changed;     /* closed was set, or a handler ended */
	bool closed;                   /* the transport is shut down, every call has ended */
	int reason;                    /* why, once closed */
	bool hang_up;                  /* closes once what is queued has left */
	struct thrum__list calls;      /* of struct rpc_call, by node */
	unsigned running;              /* server: handlers */
	struct thrum_thread *writer;
	struct thrum__buf out; /* the writer's */

	struct rpc_server *server; /* NULL on a client */
	struct thrum__list server_node;
	void *peer;
};

struct rpc_call {
	struct thrum__list node;
	struct rpc_conn *conn;
	struct grpc_call *grpc;
	struct thrum_cond changed; /* a message, room, the end */
	thrum_deadline deadline;
	unsigned sent, received; /* messages */

	/* Server. */
	const struct rpc_method *method;
	struct thrum_thread *thread;
	bool hang_up;
	char text[GRPC_TEXT_MAX]; /* of rpc_call_fail */
};

struct rpc_server {
	struct rpc_server_config config;
	struct thrum_mutex lock; /* before any conn's lock */
	struct thrum__list conns;
	bool draining;
};

/* Locks without being a cancellation point. */
void rpc__conn_lock(struct rpc_conn *conn);
void rpc__conn_unlock(struct rpc_conn *conn);

/* Prepares a connection of either role and starts its writer; takes transport, also on failure. */
int rpc__conn_init(struct rpc_conn *conn, struct rpc_transport *transport, bool server,
	const struct rpc_limits *limits, const struct grpc_events *events);

/* Reads until the connection ends; then every call has ended and the transport is shut down. */
void rpc__conn_read(struct rpc_conn *conn);

/* Ends it; the first reason counts. The lock is held. */
void rpc__conn_close(struct rpc_conn *conn, int reason);

/* Ends it once all that is queued has left, after a second at the latest. The lock is held. */
void rpc__conn_hang_up(struct rpc_conn *conn);

/* Wakes the writer if there is something to send. The lock is held. */
void rpc__conn_kick(struct rpc_conn *conn);

/* Waits for the writer and frees what init made; the reader and every call are gone. Shielded. */
void rpc__conn_fini(struct rpc_conn *conn);

enum { RPC_DEFAULT_CALLS = 100 };

/* ---- call.c */

/* Ends calls of a server whose deadline has passed. The lock is held. */
void rpc__calls_expire(struct rpc_conn *conn, int64_t now);

/* The core says that something about a call changed. The lock is held. */
void rpc__call_changed(struct grpc_call *call, void *conn);

#endif
