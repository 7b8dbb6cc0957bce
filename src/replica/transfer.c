/* SPDX-License-Identifier: MIT */
#include "replica/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <thrum/fs.h>
#include <thrum/thread.h>

#include "replica/hash.h"
#include "replica/root_internal.h"
#include "replica/transfer_internal.h"

enum {
	ZSTD_LEVEL = 1,
	PACK_MIN = 128,      /* shorter chunks gain nothing */
	SKIP_MAX = 16,       /* chunks sent unpacked between two tries on data that do not shrink */
	ROOM_LEFT = 1 << 20, /* bytes a file leaves for the index and others */
	PREALLOCATE_MIN = 1 << 20, /* bytes; smaller files meet a full disk soon enough */
};

/* A much longer basis costs more to sign, send and load than the few blocks it may save. */
uint64_t replica_basis_max(uint64_t size)
{
	return (size < UINT64_MAX / 32 ? size * 16 : UINT64_MAX / 2) + (1 << 20);
}

/* ---------------------------------------------------------------- chunks */

/* Packs a chunk if that makes it smaller by at least a sixteenth. */
static int pack(struct replica_chunk_out *out, struct replica_chunk *chunk)
{
	if (out->skip > 0) {
		out->skip--;
		return 0;
	}
	if (out->zstd == NULL) {
		out->zstd = ZSTD_createCCtx();
		out->packed = malloc(REPLICA_CHUNK_MAX);
		if (out->zstd == NULL || out->packed == NULL)
			return -ENOMEM;
	}
	size_t n = ZSTD_compressCCtx(out->zstd, out->packed, chunk->len - chunk->len / 16,
		chunk->data, chunk->len, ZSTD_LEVEL);
	if (ZSTD_isError(n)) {
		/* It did not fit: such data are rarely alone. */
		out->skip = 1u << (out->useless < 4 ? out->useless++ : 4);
		CHECK(out->skip <= SKIP_MAX);
		return 0;
	}
	out->useless = 0;
	chunk->raw_len = (uint32_t)chunk->len;
	chunk->data = out->packed;
	chunk->len = n;
	return 0;
}

int replica_chunk_send(struct replica_chunk_out *out, const void *data, size_t len, bool literal)
{
	const uint8_t *next = data;
	while (len > 0) {
		size_t n = len < REPLICA_CHUNK_MAX ? len : REPLICA_CHUNK_MAX;
		struct replica_chunk chunk = {.data = next, .len = n};
		int r = literal && n >= PACK_MIN ? pack(out, &chunk) : 0;
		if (r == 0)
			r = out->io->send(out->io->ctx, &chunk);
		if (r < 0)
			return r;
		out->stats->sent += chunk.len;
		next += n;
		len -= n;
		thrum_yield();
	}
	return 0;
}

void replica_chunk_out_fini(struct replica_chunk_out *out)
{
	ZSTD_freeCCtx(out->zstd);
	free(out->packed);
	out->zstd = NULL;
	out->packed = NULL;
}

int replica_chunk_recv(struct replica_chunk_in *in, const uint8_t **data, size_t *len)
{
	struct replica_chunk chunk = {0};
	int r = in->io->recv(in->io->ctx, &chunk);
	if (r < 0)
		return r;
	/* An empty chunk would let a peer keep us busy without ever reaching a bound. */
	if (chunk.len == 0 || chunk.len > REPLICA_CHUNK_MAX || chunk.raw_len > REPLICA_CHUNK_MAX)
		return THRUM_EFORMAT;
	in->stats->received += chunk.len;
	*data = chunk.data;
	*len = chunk.len;
	if (chunk.raw_len == 0)
		return 0;
	if (in->zstd == NULL) {
		in->zstd = ZSTD_createDCtx();
		in->raw = malloc(REPLICA_CHUNK_MAX);
		if (in->zstd == NULL || in->raw == NULL)
			return -ENOMEM;
	}
	/* The output's capacity is the bound, whatever the frame claims. */
	size_t n = ZSTD_decompressDCtx(in->zstd, in->raw, chunk.raw_len, chunk.data, chunk.len);
	if (ZSTD_isError(n) || n != chunk.raw_len)
		return THRUM_EFORMAT;
	*data = in->raw;
	*len = n;
	return 0;
}

void replica_chunk_in_fini(struct replica_chunk_in *in)
{
	ZSTD_freeDCtx(in->zstd);
	free(in->raw);
	in->zstd = NULL;
	in->raw = NULL;
}

/* ---------------------------------------------------------------- sink */

/* False if a file of that size would fill the disk: whoever else writes there needs some of it,
 * too. */
static bool has_room(struct replica_root *root, uint64_t size)
{
	struct statvfs st;
	/* A file system that does not tell its size is tried. */
	return fstatvfs(root->staging_fd, &st) < 0 || st.f_frsize == 0 || st.f_blocks == 0 ||
	       size / st.f_frsize + ROOM_LEFT / st.f_frsize < st.f_bavail;
}

int replica_sink_open(
	struct replica_sink *sink, struct replica_root *root, uint64_t size, const uint8_t *hash)
{
	*sink = (struct replica_sink){.root = root, .size = size};
	memcpy(sink->expected, hash, REPLICA_HASH_SIZE);
	if (size > INT64_MAX)
		return -EFBIG;
	sink->hash = replica_hash_create();
	if (sink->hash == NULL)
		return -ENOMEM;
	int r = replica_stage_file(root, &sink->staged);
	/* Too big for the disk is better known now than after an hour. */
	if (r == 0 && size >= PREALLOCATE_MIN && !has_room(root, size))
		r = -ENOSPC;
	if (r == 0 && size >= PREALLOCATE_MIN &&
		fallocate(sink->staged.fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0 &&
		replica_last_error() != -EOPNOTSUPP && replica_last_error() != -ENOSYS)
		r = replica_last_error();
	if (r < 0)
		replica_sink_abort(sink);
	return r;
}

int replica_sink_write(struct replica_sink *sink, const void *data, size_t len)
{
	if (len > sink->size - sink->written)
		return THRUM_EFORMAT;
	int r = thrum_file_write(sink->staged.fd, data, len, NULL);
	if (r < 0)
		return r;
	replica_hash_add(sink->hash, data, len);
	sink->written += len;
	return 0;
}

int replica_sink_close(struct replica_sink *sink, struct replica_staged *staged)
{
	uint8_t hash[REPLICA_HASH_SIZE];
	replica_hash_get(sink->hash, hash);
	if (sink->written != sink->size || memcmp(hash, sink->expected, sizeof(hash)) != 0) {
		replica_sink_abort(sink);
		return THRUM_EFORMAT;
	}
	*staged = sink->staged;
	sink->staged.name[0] = '\0';
	sink->staged.fd = -1;
	replica_sink_abort(sink);
	return 0;
}

void replica_sink_abort(struct replica_sink *sink)
{
	replica_hash_destroy(sink->hash);
	sink->hash = NULL;
	replica_staged_discard(sink->root, &sink->staged);
}
