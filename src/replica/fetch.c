/* SPDX-License-Identifier: MIT */
#include "replica/transfer.h"

#include <errno.h>
#include <unistd.h>

#include <thrum/fs.h>
#include <thrum/thread.h>

#include "delta/delta.h"
#include "replica/transfer_internal.h"

/* The puller's side of transfer.h. */

enum {
	STRONG_MARGIN =
		2, /* bytes over the shortest safe strong sum: a wrong match costs a whole file */
};

struct fetch {
	struct replica_root *root;
	const struct replica_fetch *want;
	const struct replica_chunk_io *io;
	struct replica_transfer_stats *stats;
	struct replica_sink sink;
	int basis; /* descriptor, or -1 */
	uint64_t basis_size;
	bool sink_failed; /* our own disk refused: asking again is no use */
};

static int write_out(struct fetch *fetch, const void *data, size_t len)
{
	int r = replica_sink_write(&fetch->sink, data, len);
	fetch->sink_failed = r < 0 && r != THRUM_EFORMAT;
	if (r == 0 && fetch->want->progress != NULL && len > 0)
		fetch->want->progress(fetch->want->progress_arg, len);
	return r;
}

/* ---------------------------------------------------------------- signature */

static int sign_all(
	struct fetch *fetch, struct delta_job *sign, uint8_t *data, struct thrum__buf *buf)
{
	struct replica_chunk_out out = {.io = fetch->io, .stats = fetch->stats};
	struct delta_io io = {.out = buf};
	uint64_t offset = 0;
	int r;
	do {
		ssize_t n =
			thrum_file_pread(fetch->basis, data, REPLICA_CHUNK_MAX, (int64_t)offset);
		if (n < 0)
			return (int)n;
		offset += (uint64_t)n;
		io.in = data;
		io.in_len = (size_t)n;
		io.eof = n == 0;
		while ((r = delta_step(sign, &io)) == DELTA_AGAIN)
			thrum_yield();
		if (r < 0)
			return r;
		/* Sums do not shrink: never compressed. */
		if (thrum__buf_len(buf) >= REPLICA_CHUNK_MAX / 4 || r == DELTA_DONE) {
			int sent = replica_chunk_send(
				&out, thrum__buf_head(buf), thrum__buf_len(buf), false);
			if (sent < 0)
				return sent;
			thrum__buf_clear(buf);
		}
		thrum_yield();
	} while (r == DELTA_NEED);
	return 0;
}

static int send_signature(struct fetch *fetch)
{
	struct delta_sign_options options = {.size = (int64_t)fetch->basis_size, .strong_len = -1};
	struct thrum__buf buf = {0};
	struct delta_job *sign;
	int r = delta_recommend(&options);
	if (r < 0)
		return r;
	options.strong_len += STRONG_MARGIN;
	if (options.strong_len > DELTA_STRONG_MAX)
		options.strong_len = DELTA_STRONG_MAX;
	r = delta_sign_create(&sign, &options);
	if (r < 0)
		return r;
	uint8_t *data = malloc(REPLICA_CHUNK_MAX);
	r = data == NULL ? -ENOMEM : sign_all(fetch, sign, data, &buf);
	free(data);
	thrum__buf_fini(&buf);
	delta_job_destroy(sign);
	return r;
}

/* ---------------------------------------------------------------- content */

static ssize_t read_basis(void *arg, void *to, size_t len, uint64_t offset)
{
	struct fetch *fetch = arg;
	return offset > INT64_MAX ? 0 : thrum_file_pread(fetch->basis, to, len, (int64_t)offset);
}

/* Feeds one chunk (or the end) to the patch and writes what comes out. A delta_status or an error.
 */
static int patch_chunk(struct fetch *fetch, struct delta_job *patch, struct delta_io *io)
{
	int r;
	do {
		r = delta_step(patch, io);
		int written =
			r < 0 ? 0
			      : write_out(fetch, thrum__buf_head(io->out), thrum__buf_len(io->out));
		thrum__buf_clear(io->out);
		if (written < 0)
			return written;
		thrum_yield();
	} while (r == DELTA_AGAIN);
	return r;
}

static int receive_delta(struct fetch *fetch, struct replica_chunk_in *in)
{
	struct thrum__buf buf = {0};
	struct delta_io io = {.out = &buf};
	struct delta_job *patch;
	int r = delta_patch_create(&patch, read_basis, fetch, fetch->want->size);
	if (r < 0)
		return r;
	do {
		r = replica_chunk_recv(in, &io.in, &io.in_len);
		io.eof = r == THRUM_EEOF;
		if (r < 0 && !io.eof)
			break;
		r = patch_chunk(fetch, patch, &io);
		if (r == DELTA_DONE && io.in_len > 0)
			r = THRUM_EFORMAT;
	} while (r == DELTA_NEED || (r == DELTA_DONE && !io.eof));
	fetch->stats->literal += delta_job_stats(patch)->literal_bytes;
	fetch->stats->copied += delta_job_stats(patch)->copy_bytes;
	delta_job_destroy(patch);
	thrum__buf_fini(&buf);
	/* The patch's own limit: more bytes than the version has. Our disk's limit is told by the
	 * sink. */
	return r == -EFBIG && !fetch->sink_failed ? THRUM_EFORMAT : r;
}

static int receive_plain(struct fetch *fetch, struct replica_chunk_in *in)
{
	for (;;) {
		const uint8_t *data;
		size_t len;
		int r = replica_chunk_recv(in, &data, &len);
		if (r == THRUM_EEOF)
			return 0;
		if (r == 0)
			r = write_out(fetch, data, len);
		if (r < 0)
			return r;
		fetch->stats->literal += len;
		thrum_yield();
	}
}

/* One call, from open to a verified staged file. */
static int attempt(struct fetch *fetch, struct replica_staged *staged)
{
	struct replica_chunk_in in = {.io = fetch->io, .stats = fetch->stats};
	const struct replica_chunk_io *io = fetch->io;
	bool delta = fetch->basis >= 0;
	int r = replica_sink_open(&fetch->sink, fetch->root, fetch->want->size, fetch->want->hash);
	if (r < 0) {
		fetch->sink_failed = true;
		return r;
	}
	/* Nothing needs not be asked for. */
	if (fetch->want->size > 0) {
		r = io->open(io->ctx, delta);
		if (r == 0 && delta)
			r = send_signature(fetch);
		if (r == 0)
			r = io->send_end(io->ctx);
		if (r == 0)
			r = delta ? receive_delta(fetch, &in) : receive_plain(fetch, &in);
	}
	replica_chunk_in_fini(&in);
	if (r == 0)
		return replica_sink_close(&fetch->sink, staged);
	replica_sink_abort(&fetch->sink);
	return r;
}

/* Opens the basis if it is there and worth a signature. */
static void open_basis(struct fetch *fetch)
{
	struct replica_stat st;
	const struct replica_fetch *want = fetch->want;
	fetch->basis = -1;
	if (want->basis == NULL || want->size < REPLICA_DELTA_MIN)
		return;
	fetch->basis = replica_root_open_file(fetch->root, want->basis, &st);
	if (fetch->basis < 0)
		return;
	if (st.size < REPLICA_DELTA_MIN || st.size > replica_basis_max(want->size)) {
		close(fetch->basis);
		fetch->basis = -1;
	}
	fetch->basis_size = st.size;
}

int replica_fetch_file(struct replica_root *root, const struct replica_fetch *want,
	const struct replica_chunk_io *io, struct replica_staged *staged,
	struct replica_transfer_stats *stats)
{
	struct fetch fetch = {.root = root, .want = want, .io = io, .stats = stats};
	open_basis(&fetch);
	int r = attempt(&fetch, staged);
	if (fetch.basis < 0)
		return r;
	close(fetch.basis);
	fetch.basis = -1;
	/* The basis could not be read, changed underneath, or sums met by chance. */
	if ((r == THRUM_EFORMAT || r == -EIO) && !fetch.sink_failed) {
		stats->refetched++;
		r = attempt(&fetch, staged);
	}
	return r;
}
