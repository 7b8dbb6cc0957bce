/* SPDX-License-Identifier: MIT */
#include "delta/delta.h"

#include <errno.h>
#include <sodium.h>

#include "delta/delta_internal.h"

struct sign {
	struct delta_job job;
	struct delta_sign_options options;
	bool started;
	uint8_t *block; /* [block_len]: a block that came in pieces */
	size_t have;
};

static int put_header(struct sign *sign, struct thrum__buf *out)
{
	uint8_t header[12];
	delta__put_be(header, sign->options.magic, 4);
	delta__put_be(header + 4, sign->options.block_len, 4);
	delta__put_be(header + 8, (uint32_t)sign->options.strong_len, 4);
	sign->started = true;
	return thrum__buf_append(out, header, sizeof(header));
}

static int put_block(struct sign *sign, const uint8_t *bytes, size_t len, struct thrum__buf *out)
{
	uint8_t sums[4 + DELTA_STRONG_MAX];
	bool rabinkarp = delta__is_rabinkarp(sign->options.magic);
	delta__put_be(sums, delta__weak_sum(rabinkarp, bytes, len), 4);
	delta__strong_sum(sign->options.magic, bytes, len, sums + 4);
	sign->job.stats.blocks++;
	return thrum__buf_append(out, sums, 4 + (size_t)sign->options.strong_len);
}

/* One block, straight from the input where it lies there in one piece. */
static int sign_block(struct sign *sign, struct delta_io *io)
{
	size_t block_len = sign->options.block_len;
	if (sign->have == 0 && io->in_len >= block_len) {
		const uint8_t *bytes = io->in;
		delta__take(&sign->job, io, block_len);
		return put_block(sign, bytes, block_len, io->out);
	}
	if (!delta__gather(&sign->job, io, sign->block, &sign->have, block_len))
		return 0;
	sign->have = 0;
	return put_block(sign, sign->block, block_len, io->out);
}

static int sign_step(struct delta_job *job, struct delta_io *io)
{
	struct sign *sign = (struct sign *)job;
	size_t start = io->in_len;
	int result = sign->started ? 0 : put_header(sign, io->out);
	while (result == 0 && io->in_len > 0 && start - io->in_len < DELTA_STEP_MAX)
		result = sign_block(sign, io);
	if (result < 0)
		return result;
	if (io->in_len > 0)
		return DELTA_AGAIN;
	if (!io->eof)
		return DELTA_NEED;
	if (sign->have > 0)
		result = put_block(sign, sign->block, sign->have, io->out);
	return result < 0 ? result : DELTA_DONE;
}

static void sign_fini(struct delta_job *job)
{
	free(((struct sign *)job)->block);
}

int delta_sign_create(struct delta_job **out, const struct delta_sign_options *options)
{
	struct delta_sign_options filled = {.size = -1};
	if (options != NULL)
		filled = *options;
	int result = delta_recommend(&filled);
	if (result < 0)
		return result;
	/* Lets libsodium pick the fast BLAKE2b of this processor; later calls do nothing. */
	if (sodium_init() < 0)
		return -ENOMEM;
	struct sign *sign = delta__job_create(sizeof(*sign), sign_step, sign_fini);
	if (sign == NULL)
		return -ENOMEM;
	sign->options = filled;
	sign->block = malloc(filled.block_len);
	if (sign->block == NULL) {
		delta_job_destroy(&sign->job);
		return -ENOMEM;
	}
	*out = &sign->job;
	return 0;
}
