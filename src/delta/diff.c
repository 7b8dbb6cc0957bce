/* SPDX-License-Identifier: MIT */
#include "delta/delta.h"

#include <errno.h>

#include "delta/delta_internal.h"

/*
 * Words   window: the next block_len bytes. tested: its weak sum is known and it equals no block.
 * Picture the buffer; it slides left when its end is reached:
 *
 *   [ done | pending literal | window ........ | bytes not looked at | free ]
 *          lit               pos               pos + block_len       end    cap
 *
 * A window that equals a block goes out as a copy, and the next window starts behind it. Else the
 * window rolls on by one byte, which joins the literal; every LITERAL_MAX of them go out. At the
 * end of the input the window shrinks: only the basis' last block can be shorter than the others,
 * so only that one is tried.
 *
 * Invariants
 *   [I1] lit <= pos <= end <= cap, and pos - lit <= LITERAL_MAX until the input is over.
 *   [I2] What goes out depends on the bytes alone, not on how the steps cut them: flushing and
 *        the budget look at lit and pos, never at end, until the input is over.
 *
 * Rejected: a strong sum at every weak hit. With 32-bit weak sums a file of many blocks, or one
 * made for it, has a false hit every few bytes, and each costs a whole block's hash. The budget
 * allows BUDGET_FACTOR bytes hashed in vain for each byte seen; beyond it table hits are passed
 * over. The block after the last copied one is tried always, so a run of matches goes on once it is
 * found.
 */

enum {
	LITERAL_MAX = 64 * 1024,
	BUDGET_FACTOR = 8,
	BUDGET_START = 1024 * 1024,
};

struct diff {
	struct delta_job job;
	const struct delta_index *index; /* NULL: no blocks */
	struct delta__emit emit;
	uint8_t *buf;
	size_t lit, pos, end, cap;
	uint64_t slid; /* bytes of input before buf[0] */
	bool started, tested;
	uint32_t sum;    /* of the window, if tested */
	uint32_t next;   /* block behind the last copied one, or DELTA__NO_BLOCK */
	uint64_t wasted; /* bytes hashed in vain */
	struct delta__weak weak;
};

/* ---- rolling ---- */
static inline bool maybe(const struct delta_index *index, bool rabinkarp, uint32_t sum)
{
	return delta__filter_may_have(
		index->filter, index->filter_shift, delta__filter_key(rabinkarp, sum));
}

/*
 * Rolls the window at p by up to `most` bytes, to the first place where the index has its weak sum.
 * Returns how far; *sum is the sum there, *hit tells a hit from the end.
 */
static size_t roll_rabinkarp(
	const struct diff *diff, const uint8_t *p, size_t most, uint32_t *sum, bool *hit)
{
	const struct delta_index *index = diff->index;
	const uint32_t *drop = diff->weak.drop;
	const uint32_t m = DELTA__RK_MULT, m2 = m * m;
	const uint8_t *in = p + diff->weak.len;
	uint32_t s = *sum;
	size_t i = 0;
	/* Two bytes per link of the chain of multiplications; one branch for four sums. */
	for (; most - i >= 4; i += 4) {
		uint32_t t0 = in[i] - drop[p[i]], t1 = in[i + 1] - drop[p[i + 1]];
		uint32_t t2 = in[i + 2] - drop[p[i + 2]], t3 = in[i + 3] - drop[p[i + 3]];
		uint32_t s1 = s * m + t0, s2 = s * m2 + (t0 * m + t1);
		uint32_t s3 = s2 * m + t2, s4 = s2 * m2 + (t2 * m + t3);
		bool any = maybe(index, true, s1) | maybe(index, true, s2) |
			   maybe(index, true, s3) | maybe(index, true, s4);
		if (thrum__unlikely(any)) {
			const uint32_t four[4] = {s1, s2, s3, s4};
			for (unsigned k = 0; k < 4; k++) {
				if (maybe(index, true, four[k]) &&
					delta__index_has_weak(index, four[k])) {
					*sum = four[k];
					*hit = true;
					return i + k + 1;
				}
			}
		}
		s = s4;
	}
	while (i < most) {
		s = s * m + in[i] - drop[p[i]];
		i++;
		if (maybe(index, true, s) && delta__index_has_weak(index, s)) {
			*hit = true;
			break;
		}
	}
	*sum = s;
	return i;
}

static size_t roll_rollsum(
	const struct diff *diff, const uint8_t *p, size_t most, uint32_t *sum, bool *hit)
{
	const struct delta_index *index = diff->index;
	const uint32_t len = diff->weak.len;
	const uint8_t *in = p + len;
	uint32_t s1 = *sum & 0xffff, s2 = *sum >> 16;
	size_t i = 0;
	while (i < most) {
		s1 += in[i] - (uint32_t)p[i];
		s2 += s1 - len * (p[i] + UINT32_C(31));
		i++;
		uint32_t s = s2 << 16 | (s1 & 0xffff);
		if (maybe(index, false, s) && delta__index_has_weak(index, s)) {
			*hit = true;
			break;
		}
	}
	*sum = s2 << 16 | (s1 & 0xffff);
	return i;
}

/* ---- matching ---- */
static bool budget_left(const struct diff *diff)
{
	return diff->wasted <= (diff->slid + diff->pos) * BUDGET_FACTOR + BUDGET_START;
}

/* The basis block that the window of len bytes, whose weak sum is diff->sum, equals. */
static uint32_t find_block(struct diff *diff, size_t len)
{
	const struct delta_index *index = diff->index;
	uint32_t last = index->count - 1, next = diff->next;
	bool whole = len == index->block_len;
	bool is_next = whole && next <= last && index->weak[next] == diff->sum;
	bool weak_hit = is_next || (whole ? delta__index_has_weak(index, diff->sum)
					  : index->weak[last] == diff->sum);
	if (!weak_hit)
		return DELTA__NO_BLOCK;
	bool run_goes_on = is_next && diff->lit == diff->pos;
	if (!run_goes_on && !budget_left(diff))
		return DELTA__NO_BLOCK;
	uint8_t strong[DELTA_STRONG_MAX];
	delta__strong_sum(index->magic, diff->buf + diff->pos, len, strong);
	if (is_next && delta__index_is(index, next, strong))
		return next;
	uint32_t block = DELTA__NO_BLOCK;
	if (whole)
		block = delta__index_find(index, diff->sum, strong);
	else if (delta__index_is(index, last, strong))
		block = last;
	if (block == DELTA__NO_BLOCK) {
		diff->job.stats.false_hits++;
		diff->wasted += len;
	}
	return block;
}

/* Sends the pending literal; in pieces of LITERAL_MAX. */
static int flush_literal(struct diff *diff, struct thrum__buf *out)
{
	int result = 0;
	while (result == 0 && diff->lit < diff->pos) {
		size_t n = diff->pos - diff->lit;
		if (n > LITERAL_MAX)
			n = LITERAL_MAX;
		result = delta__emit_literal(
			&diff->emit, &diff->job.stats, diff->buf + diff->lit, n, out);
		diff->lit += n;
	}
	return result;
}

static int copy_block(struct diff *diff, uint32_t block, size_t len, struct thrum__buf *out)
{
	int result = flush_literal(diff, out);
	if (result < 0)
		return result;
	diff->pos += len;
	diff->lit = diff->pos;
	diff->tested = false;
	diff->next = block + 1;
	return delta__emit_copy(
		&diff->emit, &diff->job.stats, (uint64_t)block * diff->index->block_len, len, out);
}

/* Moves pos to the next window to test: it is there if untested, else at the next weak hit. */
static bool next_window(struct diff *diff)
{
	size_t len = diff->index->block_len;
	const uint8_t *window = diff->buf + diff->pos;
	if (!diff->tested) {
		diff->sum = delta__weak_sum(diff->weak.rabinkarp, window, len);
		diff->tested = true;
		return true;
	}
	size_t most = diff->end - diff->pos - len;
	size_t literal_room = LITERAL_MAX - (diff->pos - diff->lit);
	bool hit = false;
	if (most > literal_room)
		most = literal_room;
	diff->pos += diff->weak.rabinkarp ? roll_rabinkarp(diff, window, most, &diff->sum, &hit)
					  : roll_rollsum(diff, window, most, &diff->sum, &hit);
	return hit;
}

/* Goes through all whole windows in the buffer, or until a step's worth went out: DELTA_AGAIN. */
static int match_windows(struct diff *diff, struct thrum__buf *out)
{
	size_t len = diff->index->block_len, out_start = thrum__buf_len(out);
	int result = 0;
	while (result == 0 && diff->end - diff->pos >= len) {
		if (thrum__buf_len(out) - out_start >= DELTA_STEP_MAX)
			return DELTA_AGAIN;
		if (diff->tested && diff->end - diff->pos == len)
			break;
		uint32_t block = next_window(diff) ? find_block(diff, len) : DELTA__NO_BLOCK;
		if (block != DELTA__NO_BLOCK)
			result = copy_block(diff, block, len, out);
		else if (diff->pos - diff->lit == LITERAL_MAX)
			result = flush_literal(diff, out);
	}
	return result;
}

/* The input is over: shrinks the window byte by byte, in search of the basis' last block. */
static int match_tail(struct diff *diff, struct thrum__buf *out)
{
	bool rabinkarp = diff->weak.rabinkarp;
	uint32_t len = (uint32_t)(diff->end - diff->pos);
	uint32_t power = delta__rk_power(len);
	if (len > 0 && !diff->tested)
		diff->sum = delta__weak_sum(rabinkarp, diff->buf + diff->pos, len);
	for (; len > 0; len--) {
		/* A tested window is as long as a block, and equals none. */
		uint32_t block = diff->tested ? DELTA__NO_BLOCK : find_block(diff, len);
		if (block != DELTA__NO_BLOCK)
			return copy_block(diff, block, len, out);
		diff->tested = false;
		diff->sum =
			delta__weak_shrink(rabinkarp, diff->sum, diff->buf[diff->pos], len, &power);
		diff->pos++;
	}
	return 0;
}

/* ---- the job ---- */
static void fill(struct diff *diff, struct delta_io *io)
{
	size_t n = io->in_len < DELTA_STEP_MAX ? io->in_len : DELTA_STEP_MAX;
	if (n == 0)
		return;
	if (diff->cap - diff->end < n && diff->lit > 0) {
		memmove(diff->buf, diff->buf + diff->lit, diff->end - diff->lit);
		diff->slid += diff->lit;
		diff->pos -= diff->lit;
		diff->end -= diff->lit;
		diff->lit = 0;
	}
	if (n > diff->cap - diff->end)
		n = diff->cap - diff->end;
	memcpy(diff->buf + diff->end, io->in, n);
	diff->end += n;
	delta__take(&diff->job, io, n);
}

/* Without a basis everything is literal. */
static int pass_literals(struct diff *diff, struct thrum__buf *out)
{
	int result = 0;
	while (result == 0 && diff->end - diff->lit >= LITERAL_MAX) {
		diff->pos = diff->lit + LITERAL_MAX;
		result = flush_literal(diff, out);
	}
	diff->pos = diff->end;
	return result;
}

static int finish(struct diff *diff, struct thrum__buf *out)
{
	int result = diff->index != NULL ? match_tail(diff, out) : 0;
	diff->pos = diff->end;
	if (result == 0)
		result = flush_literal(diff, out);
	return result < 0 ? result : delta__emit_end(&diff->emit, &diff->job.stats, out);
}

static int diff_step(struct delta_job *job, struct delta_io *io)
{
	struct diff *diff = (struct diff *)job;
	int result = 0;
	if (!diff->started) {
		diff->started = true;
		result = delta__emit_magic(io->out);
	}
	fill(diff, io);
	if (result == 0)
		result = diff->index != NULL ? match_windows(diff, io->out)
					     : pass_literals(diff, io->out);
	if (result != 0)
		return result;
	if (io->in_len > 0)
		return DELTA_AGAIN;
	return io->eof ? finish(diff, io->out) : DELTA_NEED;
}

static void diff_fini(struct delta_job *job)
{
	free(((struct diff *)job)->buf);
}

int delta_diff_create(struct delta_job **out, const struct delta_index *index)
{
	struct diff *diff = delta__job_create(sizeof(*diff), diff_step, diff_fini);
	if (diff == NULL)
		return -ENOMEM;
	size_t block_len = 0;
	if (index != NULL && index->count > 0) {
		diff->index = index;
		block_len = index->block_len;
		delta__weak_init(&diff->weak, delta__is_rabinkarp(index->magic), index->block_len);
	}
	diff->next = DELTA__NO_BLOCK;
	diff->cap = 2 * block_len + LITERAL_MAX + DELTA_STEP_MAX;
	diff->buf = malloc(diff->cap);
	if (diff->buf == NULL) {
		delta_job_destroy(&diff->job);
		return -ENOMEM;
	}
	*out = &diff->job;
	return 0;
}
