/* SPDX-License-Identifier: MIT */
#include "replica/transfer.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thrum/fs.h>
#include <thrum/thread.h>

#include "delta/delta.h"
#include "replica/root_internal.h"
#include "replica/transfer_internal.h"

/* The source's side of transfer.h. */

struct serve {
	int fd;
	struct replica_stat expect;
	uint64_t offset;
	uint8_t *buf; /* REPLICA_CHUNK_MAX bytes */
	const struct replica_chunk_io *io;
	struct replica_transfer_stats *stats;
	struct replica_chunk_out out;
	struct delta_index *index;
};

/* The next bytes of the file: a count, 0 at its end, THRUM_ECHANGED if it does not end where it
 * should. */
static ssize_t read_next(struct serve *serve)
{
	ssize_t n =
		thrum_file_pread(serve->fd, serve->buf, REPLICA_CHUNK_MAX, (int64_t)serve->offset);
	if (n < 0)
		return n;
	serve->offset += (uint64_t)n;
	if (serve->offset > serve->expect.size || (n == 0 && serve->offset != serve->expect.size))
		return THRUM_ECHANGED;
	return n;
}

static int still_expected(const struct serve *serve)
{
	struct stat st;
	struct replica_stat now;
	if (fstat(serve->fd, &st) < 0)
		return replica_last_error();
	replica_stat_from(&now, &st);
	return replica_stat_equal(&now, &serve->expect) ? 0 : THRUM_ECHANGED;
}

static int send_plain(struct serve *serve)
{
	for (;;) {
		ssize_t n = read_next(serve);
		if (n <= 0)
			return (int)n;
		int r = replica_chunk_send(&serve->out, serve->buf, (size_t)n, true);
		if (r < 0)
			return r;
		serve->stats->literal += (uint64_t)n;
	}
}

/* Blocks a signature may have at most: twice those of the longest basis, as delta_recommend cuts
 * it. */
static uint32_t max_blocks(uint64_t size)
{
	struct delta_sign_options options = {.size = (int64_t)replica_basis_max(size)};
	if (delta_recommend(&options) < 0 || options.block_len == 0)
		return 1;
	uint64_t blocks = replica_basis_max(size) / options.block_len * 2 + 1024;
	return blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX - 1;
}

static int load_signature(struct serve *serve)
{
	struct replica_chunk_in in = {.io = serve->io, .stats = serve->stats};
	struct delta_io io = {0};
	struct delta_job *load;
	int r = delta_load_create(&load, max_blocks(serve->expect.size));
	if (r < 0)
		return r;
	do {
		r = replica_chunk_recv(&in, &io.in, &io.in_len);
		io.eof = r == THRUM_EEOF;
		if (r < 0 && !io.eof)
			break;
		while ((r = delta_step(load, &io)) == DELTA_AGAIN)
			;
	} while (r == DELTA_NEED || (r == DELTA_DONE && !io.eof && io.in_len == 0));
	if (r == DELTA_DONE && io.in_len > 0)
		r = THRUM_EFORMAT;
	if (r == DELTA_DONE) {
		serve->index = delta_load_take(load);
		r = serve->index == NULL ? -ENOMEM : 0;
	}
	delta_job_destroy(load);
	replica_chunk_in_fini(&in);
	return r == -EFBIG ? THRUM_EFORMAT : r;
}

static int diff_all(struct serve *serve, struct delta_job *diff, struct thrum__buf *buf)
{
	struct delta_io io = {.out = buf};
	int r;
	do {
		ssize_t n = read_next(serve);
		if (n < 0)
			return (int)n;
		io.in = serve->buf;
		io.in_len = (size_t)n;
		io.eof = n == 0;
		do {
			r = delta_step(diff, &io);
			/* Small commands wait for company; a full chunk goes. */
			size_t len = thrum__buf_len(buf);
			if (r < 0 || (len < REPLICA_CHUNK_MAX && r != DELTA_DONE)) {
				if (r == DELTA_AGAIN)
					thrum_yield();
				continue;
			}
			int sent = replica_chunk_send(&serve->out, thrum__buf_head(buf), len, true);
			if (sent < 0)
				return sent;
			thrum__buf_clear(buf);
		} while (r == DELTA_AGAIN);
		thrum_yield();
	} while (r == DELTA_NEED);
	return r;
}

static int send_delta(struct serve *serve)
{
	struct thrum__buf buf = {0};
	struct delta_job *diff;
	int r = delta_diff_create(&diff, serve->index);
	if (r < 0)
		return r;
	r = diff_all(serve, diff, &buf);
	serve->stats->literal += delta_job_stats(diff)->literal_bytes;
	serve->stats->copied += delta_job_stats(diff)->copy_bytes;
	delta_job_destroy(diff);
	thrum__buf_fini(&buf);
	return r;
}

int replica_serve_file(struct replica_root *root, const char *path,
	const struct replica_stat *expect, bool with_signature, const struct replica_chunk_io *io,
	struct replica_transfer_stats *stats)
{
	struct replica_stat now;
	struct serve serve = {
		.expect = *expect, .io = io, .stats = stats, .out = {.io = io, .stats = stats}};
	serve.fd = replica_root_open_file(root, path, &now);
	if (serve.fd < 0)
		return serve.fd;
	int r = replica_stat_equal(&now, expect) ? 0 : THRUM_ECHANGED;
	if (r == 0) {
		serve.buf = malloc(REPLICA_CHUNK_MAX);
		r = serve.buf == NULL ? -ENOMEM : 0;
	}
	if (r == 0 && with_signature)
		r = load_signature(&serve);
	if (r == 0)
		r = serve.index != NULL ? send_delta(&serve) : send_plain(&serve);
	if (r == 0)
		r = still_expected(&serve);
	close(serve.fd);
	free(serve.buf);
	delta_index_destroy(serve.index);
	replica_chunk_out_fini(&serve.out);
	return r;
}
