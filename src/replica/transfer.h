/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_TRANSFER_H
#define REPLICA_TRANSFER_H

/*
 * One file's content from a source to a puller, by delta where the puller has a basis.
 *
 *   puller                                     source
 *   open(with_signature)  ────────────────►    finds the file its index promises
 *   signature chunks, then end ───────────►    loads them, bounded
 *   patch, write, hash  ◄──────── chunks, end  delta; without a signature: the plain bytes
 *
 * A chunk is at most 256 KiB, one zstd frame if that is smaller. The puller believes nothing: it
 * bounds memory and output by the size it expects and checks the BLAKE2b-256 of the whole. If that
 * is wrong after a delta (a weak or strong sum met twice), it asks once more, for the plain bytes.
 *
 * The channel is two function tables, so that the same code runs over gRPC and over a buffer in a
 * test.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <thrum/error.h>

#include "base/buf.h"
#include "replica/decide.h"
#include "replica/root.h"

enum {
	REPLICA_CHUNK_MAX = 256 * 1024, /* bytes of data in a chunk, before and after compression */
	REPLICA_DELTA_MIN = 8 * 1024,   /* smaller bases and files go whole */
};

/* A chunk on its way; data is borrowed by send, and borrowed until the next call from recv. */
struct replica_chunk {
	const uint8_t *data;
	size_t len;
	uint32_t raw_len; /* not 0: data is one zstd frame of this many bytes */
};

/*
 * How a side talks. Each returns 0 or a negative code that ends the transfer and becomes its result
 * (a deadline, a cancellation, a lost link). All may suspend.
 */
struct replica_chunk_io {
	void *ctx;
	/*
	 * Puller only: starts a call, giving up an earlier one. Called a second time if a delta's
	 * outcome was wrong: for the plain bytes.
	 */
	int (*open)(void *ctx, bool with_signature);
	int (*send)(void *ctx, const struct replica_chunk *chunk);
	/* Puller only: nothing more will be sent in this call. */
	int (*send_end)(void *ctx);
	/* 0; THRUM_EEOF: the other side ended well. */
	int (*recv)(void *ctx, struct replica_chunk *chunk);
};

struct replica_transfer_stats {
	uint64_t sent;      /* bytes of chunks, as sent (after compression) */
	uint64_t received;  /* likewise */
	uint64_t literal;   /* bytes of the new file that travelled (before compression) */
	uint64_t copied;    /* bytes of the new file taken from the basis */
	uint64_t refetched; /* 1 if the delta's result was wrong and the whole file was fetched */
};

/* What to fetch. All borrowed. */
struct replica_fetch {
	const char
		*basis; /* a file in the tree to start from, or NULL; it may be missing or change */
	uint64_t size;  /* of the version wanted */
	const uint8_t *hash; /* of the version wanted */
	/* NULL, or called with the bytes of the new file written since the last call. A second try
	 * counts again. */
	void (*progress)(void *arg, uint64_t bytes);
	void *progress_arg;
};

/*
 * Fetches a file's content into a new staged file. An empty file needs no call.
 * staged: gives the staged file, still open for replica_staged_finish. stats: added to, not reset.
 * Errors: THRUM_EFORMAT (the source sent rubbish or other content), -ENOSPC, -EDQUOT, -EFBIG …, or
 * the io's; THRUM_ECHANGED from the io says that the source's file changed meanwhile. No staged
 * file remains then. Context: green thread. Suspends: may (yields between chunks).
 */
THRUM_NODISCARD int replica_fetch_file(struct replica_root *root, const struct replica_fetch *want,
	const struct replica_chunk_io *io, struct replica_staged *staged,
	struct replica_transfer_stats *stats);

/*
 * Serves a file's content: reads the signature if one is announced, sends the chunks. The caller
 * ends the call with the result. expect: the identity in the index row whose hash the puller asked
 * for; a file that is another one, or changes while it is read, gives THRUM_ECHANGED.
 * with_signature: what the puller announced. Errors besides: THRUM_EFORMAT (a bad or oversized
 * signature), -ENOENT, -EACCES, -EIO, or the io's. Context: green thread. Suspends: may (yields
 * between chunks).
 */
THRUM_NODISCARD int replica_serve_file(struct replica_root *root, const char *path,
	const struct replica_stat *expect, bool with_signature, const struct replica_chunk_io *io,
	struct replica_transfer_stats *stats);

/* ---- a staged file written piece by piece and checked: what fetch uses, and who has the bytes
 * already may too */

struct replica_sink {
	struct replica_root *root;
	struct replica_staged staged;
	uint64_t size, written;
	struct replica_hash *hash;
	uint8_t expected[REPLICA_HASH_SIZE];
};

/* Starts one. On error nothing remains. */
THRUM_NODISCARD int replica_sink_open(
	struct replica_sink *sink, struct replica_root *root, uint64_t size, const uint8_t *hash);

/* Appends. THRUM_EFORMAT: more than size bytes; -ENOSPC … */
THRUM_NODISCARD int replica_sink_write(struct replica_sink *sink, const void *data, size_t len);

/* Ends: size and hash are right, and staged is given; or THRUM_EFORMAT and nothing remains. Takes
 * the sink either way. */
THRUM_NODISCARD int replica_sink_close(struct replica_sink *sink, struct replica_staged *staged);

/* Ends it otherwise; nothing remains. */
void replica_sink_abort(struct replica_sink *sink);

#endif
