/* SPDX-License-Identifier: MIT */
#include "delta/delta.h"

#include <errno.h>
#include <sodium.h>

#include "delta/delta_internal.h"

enum {
	HEADER_LEN = 12,
	FIRST_CAP = 1024,         /* blocks */
	BUILD_PER_STEP = 8 * 1024 /* blocks */
};

struct load {
	struct delta_job job;
	struct delta_index *index;
	uint32_t cap, max_blocks;
	bool has_header, prepared;
	uint8_t piece[HEADER_LEN + DELTA_STRONG_MAX]; /* header or block sums that came in pieces */
	size_t have;
};

static int read_header(struct load *load, struct delta_io *io)
{
	struct delta_job *job = &load->job;
	struct delta_index *index = load->index;
	if (!delta__gather(job, io, load->piece, &load->have, HEADER_LEN)) {
		if (load->have >= 4 &&
			delta__strong_max((uint32_t)delta__get_be(load->piece, 4)) == 0)
			return delta__fault(job, DELTA_CAUSE_MAGIC, 0, "not a signature");
		return 0;
	}
	load->have = 0;
	load->has_header = true;
	index->magic = (uint32_t)delta__get_be(load->piece, 4);
	index->block_len = (uint32_t)delta__get_be(load->piece + 4, 4);
	index->strong_len = (uint32_t)delta__get_be(load->piece + 8, 4);
	unsigned most = delta__strong_max(index->magic);
	if (most == 0)
		return delta__fault(job, DELTA_CAUSE_MAGIC, 0, "not a signature");
	if (index->block_len == 0 || index->block_len > DELTA_BLOCK_MAX)
		return delta__fault(job, DELTA_CAUSE_CORRUPT, 4, "block length out of range");
	if (index->strong_len == 0 || index->strong_len > most)
		return delta__fault(job, DELTA_CAUSE_CORRUPT, 8, "strong sum length out of range");
	return 0;
}

static int grow(struct load *load)
{
	struct delta_index *index = load->index;
	uint64_t want = load->cap == 0 ? FIRST_CAP : (uint64_t)load->cap * 2;
	uint32_t cap = want < load->max_blocks ? (uint32_t)want : load->max_blocks;
	uint32_t *weak = realloc(index->weak, cap * sizeof(*weak));
	if (weak == NULL)
		return -ENOMEM;
	index->weak = weak;
	uint8_t *strong = realloc(index->strong, (size_t)cap * index->strong_len);
	if (strong == NULL)
		return -ENOMEM;
	index->strong = strong;
	load->cap = cap;
	return 0;
}

static int add_block(struct load *load, const uint8_t *sums)
{
	struct delta_index *index = load->index;
	if (index->count == load->max_blocks)
		return -EFBIG;
	int result = index->count == load->cap ? grow(load) : 0;
	if (result < 0)
		return result;
	index->weak[index->count] = (uint32_t)delta__get_be(sums, 4);
	memcpy(index->strong + (size_t)index->count * index->strong_len, sums + 4,
		index->strong_len);
	index->count++;
	load->job.stats.blocks++;
	return 0;
}

/* One block's sums, straight from the input where they lie there in one piece. */
static int read_block(struct load *load, struct delta_io *io)
{
	size_t len = 4 + (size_t)load->index->strong_len;
	if (load->have == 0 && io->in_len >= len) {
		const uint8_t *sums = io->in;
		delta__take(&load->job, io, len);
		return add_block(load, sums);
	}
	if (!delta__gather(&load->job, io, load->piece, &load->have, len))
		return 0;
	load->have = 0;
	return add_block(load, load->piece);
}

static int build(struct load *load)
{
	if (!load->prepared) {
		int result = delta__index_prepare(load->index);
		if (result < 0)
			return result;
		load->prepared = true;
	}
	return delta__index_build(load->index, BUILD_PER_STEP) ? DELTA_DONE : DELTA_AGAIN;
}

static int load_step(struct delta_job *job, struct delta_io *io)
{
	struct load *load = (struct load *)job;
	size_t start = io->in_len;
	int result = load->has_header ? 0 : read_header(load, io);
	while (result == 0 && io->in_len > 0 && start - io->in_len < DELTA_STEP_MAX)
		result = read_block(load, io);
	if (result < 0)
		return result;
	if (io->in_len > 0)
		return DELTA_AGAIN;
	if (!io->eof)
		return DELTA_NEED;
	if (!load->has_header || load->have > 0)
		return delta__fault(job, DELTA_CAUSE_TRUNCATED, job->stats.in_bytes,
			"the signature ends too early");
	return build(load);
}

static void load_fini(struct delta_job *job)
{
	delta_index_destroy(((struct load *)job)->index);
}

int delta_load_create(struct delta_job **out, uint32_t max_blocks)
{
	/* For the diff job's sake: see delta_sign_create. */
	if (sodium_init() < 0)
		return -ENOMEM;
	struct load *load = delta__job_create(sizeof(*load), load_step, load_fini);
	if (load == NULL)
		return -ENOMEM;
	load->max_blocks =
		max_blocks > 0 && max_blocks < DELTA__NO_BLOCK ? max_blocks : DELTA__NO_BLOCK - 1;
	load->index = calloc(1, sizeof(*load->index));
	if (load->index == NULL) {
		delta_job_destroy(&load->job);
		return -ENOMEM;
	}
	*out = &load->job;
	return 0;
}

struct delta_index *delta_load_take(struct delta_job *job)
{
	struct load *load = (struct load *)job;
	CHECK(job->step == load_step && job->result == DELTA_DONE);
	struct delta_index *index = load->index;
	load->index = NULL;
	return index;
}
