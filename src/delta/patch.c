/* SPDX-License-Identifier: MIT */
#include "delta/delta.h"

#include <errno.h>

#include "delta/delta_internal.h"

/* Reads what emit.c writes; the table of commands is there. */

enum { COPY_CHUNK = 64 * 1024 };

enum state { MAGIC, COMMAND, ARGUMENTS, LITERAL, COPY, END };

struct patch {
	struct delta_job job;
	delta_read_fn read;
	void *arg;
	uint64_t room; /* bytes that may still be made */
	enum state state;
	uint8_t op;
	unsigned from_size, len_size; /* bytes of the command's arguments; from_size 0: a literal */
	uint8_t piece[16];
	size_t have;
	uint64_t op_at; /* input offset of the command */
	uint64_t from, left;
};

static int corrupt(struct patch *patch, const char *text)
{
	return delta__fault(&patch->job, DELTA_CAUSE_CORRUPT, patch->op_at, text);
}

/* Checks a command's whole extent before its first byte is made. */
static int begin(struct patch *patch, uint64_t from, uint64_t len)
{
	bool copy = patch->from_size > 0;
	if (len == 0)
		return corrupt(patch, copy ? "a copy of no bytes" : "a literal of no bytes");
	if (len > INT64_MAX || from > INT64_MAX - len)
		return corrupt(patch, "a length or offset beyond 2^63");
	if (len > patch->room)
		return -EFBIG;
	patch->room -= len;
	patch->from = from;
	patch->left = len;
	patch->state = copy ? COPY : LITERAL;
	if (copy) {
		patch->job.stats.copies++;
		patch->job.stats.copy_bytes += len;
	} else {
		patch->job.stats.literals++;
		patch->job.stats.literal_bytes += len;
	}
	return 0;
}

static int read_magic(struct patch *patch, struct delta_io *io)
{
	if (!delta__gather(&patch->job, io, patch->piece, &patch->have, 4))
		return 0;
	if (delta__get_be(patch->piece, 4) != DELTA_MAGIC_DELTA)
		return delta__fault(&patch->job, DELTA_CAUSE_MAGIC, 0, "not a delta");
	patch->state = COMMAND;
	return 0;
}

static int read_command(struct patch *patch, struct delta_io *io)
{
	patch->op_at = patch->job.stats.in_bytes;
	patch->op = *io->in;
	patch->have = 0;
	patch->from_size = 0;
	delta__take(&patch->job, io, 1);
	unsigned op = patch->op;
	if (op == 0x00) {
		patch->state = END;
		return 0;
	}
	if (op <= 0x40)
		return begin(patch, 0, op);
	if (op > 0x54)
		return corrupt(patch, "an unknown command");
	if (op <= 0x44) {
		patch->len_size = 1u << (op - 0x41);
	} else {
		patch->from_size = 1u << (op - 0x45) / 4;
		patch->len_size = 1u << (op - 0x45) % 4;
	}
	patch->state = ARGUMENTS;
	return 0;
}

static int read_arguments(struct patch *patch, struct delta_io *io)
{
	unsigned from_size = patch->from_size, len_size = patch->len_size;
	if (!delta__gather(&patch->job, io, patch->piece, &patch->have, from_size + len_size))
		return 0;
	return begin(patch, delta__get_be(patch->piece, from_size),
		delta__get_be(patch->piece + from_size, len_size));
}

static int pass_literal(struct patch *patch, struct delta_io *io)
{
	size_t n = io->in_len < patch->left ? io->in_len : (size_t)patch->left;
	if (n > DELTA_STEP_MAX)
		n = DELTA_STEP_MAX;
	int result = thrum__buf_append(io->out, io->in, n);
	if (result < 0)
		return result;
	delta__take(&patch->job, io, n);
	patch->left -= n;
	if (patch->left == 0)
		patch->state = COMMAND;
	return 0;
}

static int copy_chunk(struct patch *patch, struct delta_io *io)
{
	size_t n = patch->left < COPY_CHUNK ? (size_t)patch->left : COPY_CHUNK;
	uint8_t *to = thrum__buf_reserve(io->out, n);
	if (to == NULL)
		return -ENOMEM;
	ssize_t got = patch->read(patch->arg, to, n, patch->from);
	if (got < 0)
		return (int)got;
	if (got == 0)
		return delta__fault(&patch->job, DELTA_CAUSE_BASIS, patch->op_at,
			"a copy reaches beyond the end of the basis");
	CHECK((size_t)got <= n);
	thrum__buf_commit(io->out, (size_t)got);
	patch->from += (size_t)got;
	patch->left -= (size_t)got;
	if (patch->left == 0)
		patch->state = COMMAND;
	return 0;
}

static int advance(struct patch *patch, struct delta_io *io)
{
	switch (patch->state) {
	case MAGIC:
		return read_magic(patch, io);
	case COMMAND:
		return read_command(patch, io);
	case ARGUMENTS:
		return read_arguments(patch, io);
	case LITERAL:
		return pass_literal(patch, io);
	case COPY:
		return copy_chunk(patch, io);
	case END:
		break;
	}
	return 0;
}

static int patch_step(struct delta_job *job, struct delta_io *io)
{
	struct patch *patch = (struct patch *)job;
	size_t in_start = io->in_len, out_start = thrum__buf_len(io->out);
	while (patch->state != END && (io->in_len > 0 || patch->state == COPY)) {
		if (in_start - io->in_len >= DELTA_STEP_MAX ||
			thrum__buf_len(io->out) - out_start >= DELTA_STEP_MAX)
			return DELTA_AGAIN;
		int result = advance(patch, io);
		if (result < 0)
			return result;
	}
	if (patch->state == END)
		return DELTA_DONE;
	if (!io->eof)
		return DELTA_NEED;
	return delta__fault(
		job, DELTA_CAUSE_TRUNCATED, job->stats.in_bytes, "the delta ends too early");
}

static void patch_fini(struct delta_job *job)
{
	(void)job; /* owns nothing */
}

int delta_patch_create(struct delta_job **out, delta_read_fn read, void *arg, uint64_t limit)
{
	struct patch *patch = delta__job_create(sizeof(*patch), patch_step, patch_fini);
	if (patch == NULL)
		return -ENOMEM;
	patch->read = read;
	patch->arg = arg;
	patch->room = limit;
	*out = &patch->job;
	return 0;
}
