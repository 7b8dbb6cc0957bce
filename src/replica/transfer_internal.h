/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_TRANSFER_INTERNAL_H
#define REPLICA_TRANSFER_INTERNAL_H

/* What both ends of a transfer share: chunks out, chunks in. */

#include <zstd.h>

#include "base/base.h"
#include "replica/transfer.h"

/* Chunks on their way out. All-zero but io and stats is ready for use. */
struct replica_chunk_out {
	const struct replica_chunk_io *io;
	struct replica_transfer_stats *stats;
	ZSTD_CCtx *zstd;
	uint8_t *packed;  /* REPLICA_CHUNK_MAX bytes */
	unsigned skip;    /* chunks to send as they are before compression is tried again */
	unsigned useless; /* tries in a row that gained nothing */
};

/*
 * Sends len bytes in as many chunks as it takes; literal: they are worth compressing. Yields after
 * each. 0, -ENOMEM or the io's error.
 */
int replica_chunk_send(struct replica_chunk_out *out, const void *data, size_t len, bool literal);
void replica_chunk_out_fini(struct replica_chunk_out *out);

/* Chunks on their way in. */
struct replica_chunk_in {
	const struct replica_chunk_io *io;
	struct replica_transfer_stats *stats;
	ZSTD_DCtx *zstd;
	uint8_t *raw; /* REPLICA_CHUNK_MAX bytes */
};

/*
 * Receives a chunk and unpacks it; data is borrowed until the next call. 0, THRUM_EEOF,
 * THRUM_EFORMAT (a bad chunk), -ENOMEM or the io's error.
 */
int replica_chunk_recv(struct replica_chunk_in *in, const uint8_t **data, size_t *len);
void replica_chunk_in_fini(struct replica_chunk_in *in);

/* Bytes of the longest basis that is worth a signature for a file of this size; both ends use it.
 */
uint64_t replica_basis_max(uint64_t size);

#endif
