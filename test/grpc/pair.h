/* SPDX-License-Identifier: MIT */
#ifndef TEST_GRPC_PAIR_H
#define TEST_GRPC_PAIR_H

#include <nghttp2/nghttp2.h>

#include "base/base.h"
#include "grpc/grpc.h"

/*
 * Two ends connected in memory. Either one is our core, or a bare nghttp2 session that can be made
 * to say what a well-behaved one never would.
 */

enum { MAX_CALLS = 256 };

struct core {
	struct grpc_conn *conn;
	struct grpc_call *calls[MAX_CALLS]; /* server: as they came in */
	unsigned count, changes;
};

/* What a bare session saw of its one stream. */
struct raw {
	nghttp2_session *session;
	struct thrum__buf out;
	char http_status[8], grpc_status[8], grpc_message[256], accept_encoding[32], te[16],
		timeout[16];
	unsigned header_blocks;
	bool end_stream, end_on_first, closed, reset;
	uint32_t reset_code;
	size_t data;
	int32_t stream;
	int32_t goaway_last;
	bool goaway;
};

struct pair {
	uint64_t seed;
	struct core client, server;
	struct raw raw; /* in place of the side whose conn is NULL */
};

/* The seed of a randomised test: THRUM_SEED, or a fresh one; printed. */
uint64_t test_seed(void);

void core_start(struct core *core, bool server, const struct grpc_limits *limits);
void pair_start(
	struct pair *pair, const struct grpc_limits *client, const struct grpc_limits *server);
void raw_start(struct raw *raw, bool server);

/* Carries bytes both ways, in pieces of random size, until nothing moves. */
void pair_pump(struct pair *pair);
void pair_end(struct pair *pair);

/* A message of len bytes that differ by tag. */
int send_pattern(struct grpc_call *call, size_t len, unsigned tag);

/* Takes a message and checks it. Returns grpc_call_take's result. */
int take_pattern(struct grpc_call *call, size_t len, unsigned tag);

#endif
