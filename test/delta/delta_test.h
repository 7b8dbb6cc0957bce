/* SPDX-License-Identifier: MIT */
#ifndef DELTA_TEST_H
#define DELTA_TEST_H

#include <check.h>
#include <stdio.h>

#include "delta/delta.h"

/* Seeded data and whole-buffer runs, for the tests of this folder. Buffers grow on the heap and are
 * freed by the caller. */

static inline uint64_t test_seed(uint64_t fallback)
{
	const char *text = getenv("THRUM_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : fallback;
	printf("rerun with THRUM_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout); /* a test that times out is killed */
	return seed;
}

static inline uint64_t test_below(uint64_t *seed, uint64_t bound)
{
	return thrum__splitmix64(seed) % bound;
}

static inline void test_add_random(struct thrum__buf *buf, uint64_t *seed, size_t len)
{
	uint8_t *to = thrum__buf_reserve(buf, len);
	ck_assert(to != NULL || len == 0);
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(thrum__splitmix64(seed) >> 24);
	thrum__buf_commit(buf, len);
}

/*
 * Check writes to a file at every assertion: loops over bytes gather a bool and assert it once.
 * Runs job over in, cut into pieces of at most `piece` bytes; eof comes with the last piece or
 * alone.
 */
static inline int test_feed(struct delta_job *job, const struct thrum__buf *in, size_t piece,
	bool eof_alone, struct thrum__buf *out)
{
	struct delta_io io = {.in = thrum__buf_head(in), .out = out};
	size_t left = thrum__buf_len(in);
	bool asked_in_vain = false;
	int result = DELTA_NEED;
	while (result > 0) {
		if (result == DELTA_NEED) {
			asked_in_vain |= io.in_len > 0 || io.eof;
			io.in_len = left < piece ? left : piece;
			io.eof = left == 0 || (!eof_alone && left <= piece);
			left -= io.in_len;
		}
		result = delta_step(job, &io);
	}
	ck_assert(!asked_in_vain);
	return result;
}

static inline struct thrum__buf test_sign(
	const struct thrum__buf *basis, const struct delta_sign_options *options, size_t piece)
{
	struct thrum__buf out = {0};
	struct delta_job *job;
	ck_assert_int_eq(delta_sign_create(&job, options), 0);
	ck_assert_int_eq(test_feed(job, basis, piece, piece % 2 == 0, &out), 0);
	ck_assert_uint_eq(delta_job_stats(job)->in_bytes, thrum__buf_len(basis));
	ck_assert_uint_eq(delta_job_stats(job)->out_bytes, thrum__buf_len(&out));
	delta_job_destroy(job);
	return out;
}

static inline struct delta_index *test_load(const struct thrum__buf *signature, size_t piece)
{
	struct delta_job *job;
	ck_assert_int_eq(delta_load_create(&job, 0), 0);
	ck_assert_int_eq(test_feed(job, signature, piece, piece % 2 == 0, NULL), 0);
	struct delta_index *index = delta_load_take(job);
	delta_job_destroy(job);
	return index;
}

static inline struct thrum__buf test_diff(const struct delta_index *index,
	const struct thrum__buf *new_file, size_t piece, struct delta_stats *stats)
{
	struct thrum__buf out = {0};
	struct delta_job *job;
	ck_assert_int_eq(delta_diff_create(&job, index), 0);
	ck_assert_int_eq(test_feed(job, new_file, piece, piece % 2 == 0, &out), 0);
	if (stats != NULL)
		*stats = *delta_job_stats(job);
	delta_job_destroy(job);
	return out;
}

static inline ssize_t test_read_at(void *arg, void *to, size_t len, uint64_t offset)
{
	const struct thrum__buf *basis = arg;
	size_t have = thrum__buf_len(basis);
	if (offset >= have)
		return 0;
	/* Short reads are part of the callback's contract. */
	size_t n = have - (size_t)offset < len ? have - (size_t)offset : len;
	n = n > 1000 ? 1000 : n;
	memcpy(to, thrum__buf_head(basis) + offset, n);
	return (ssize_t)n;
}

static inline struct thrum__buf test_patch(
	struct thrum__buf *basis, const struct thrum__buf *delta, size_t piece)
{
	struct thrum__buf out = {0};
	struct delta_job *job;
	ck_assert_int_eq(delta_patch_create(&job, test_read_at, basis, UINT64_MAX), 0);
	ck_assert_int_eq(test_feed(job, delta, piece, piece % 2 == 0, &out), 0);
	delta_job_destroy(job);
	return out;
}

static inline bool test_same(const struct thrum__buf *a, const struct thrum__buf *b)
{
	size_t len = thrum__buf_len(a);
	return len == thrum__buf_len(b) &&
	       (len == 0 || memcmp(thrum__buf_head(a), thrum__buf_head(b), len) == 0);
}

#endif
