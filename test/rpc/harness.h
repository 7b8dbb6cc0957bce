/* SPDX-License-Identifier: MIT */
#ifndef TEST_RPC_HARNESS_H
#define TEST_RPC_HARNESS_H

#include <check.h>
#include <errno.h>

#include <thrum/net.h>
#include <thrum/thread.h>

#include "base/base.h"
#include "rpc/rpc.h"

/*
 * Green threads record the first thing that was wrong; the main stack asserts after the runtime has
 * ended, which also shows that no green thread was left behind.
 */
void record_failure(const char *file, int line, const char *text, long long got, long long want);

#define EXPECT(expr) ((expr) ? (void)0 : record_failure(__FILE__, __LINE__, #expr, 0, 1))
#define EXPECT_EQ(got, want)                                                   \
	do {                                                                   \
		long long got_ = (long long)(got), want_ = (long long)(want);  \
		if (got_ != want_)                                             \
			record_failure(__FILE__, __LINE__, #got, got_, want_); \
	} while (0)

/* Runs fn as the first green thread of a runtime; asserts that it recorded no failure. */
void run_green(unsigned workers, void (*fn)(void *), void *arg);

/* The seed of a randomised test: THRUM_SEED, or a fresh one; printed. */
uint64_t test_seed(void);

enum wire { WIRE_UNIX, WIRE_TCP, WIRE_NOISE_UNIX, WIRE_NOISE_TCP, WIRES };

/* What the test server saw. Atomic counters. */
struct seen {
	unsigned canceled, handled;
};
extern struct seen seen;

/* A server with the test methods, serving one connection, and a client on its other end. */
struct link {
	struct rpc_server *server;
	struct rpc_client *client;
	struct thrum_thread *serving;
	struct thrum_conn *raw[2]; /* the sockets: to cut them; borrowed from the transports */
	struct rpc_transport *server_transport;
	int served; /* what rpc_server_serve returned */
};

struct link_options {
	struct rpc_limits client, server;
	bool reversed; /* the dialling end serves */
};

/* Two connected sockets. */
void connect_pair(enum wire wire, struct thrum_conn *out[2]);

extern const uint8_t dialler_secret[RPC_KEY_SIZE], listener_secret[RPC_KEY_SIZE];

/* Makes both into transports of that kind: [0] dialled. */
void open_transports(enum wire wire, struct thrum_conn *conn[2], struct rpc_transport *out[2]);

void link_open(struct link *link, enum wire wire, const struct link_options *options);

/* Ends the client, waits for the server, frees both. */
void link_close(struct link *link);

/* Ends only the client's side. */
void link_close_client(struct link *link);

/* Waits until *counter reaches n (5 s at most). */
void wait_for(const unsigned *counter, unsigned n);

extern const struct rpc_method test_methods[];
extern const size_t test_method_count;

#endif
