/* SPDX-License-Identifier: MIT */
#include "delta_test.h"

#include <errno.h>

#include "delta/delta_internal.h"

static struct thrum__buf header(uint32_t magic, uint32_t block_len, uint32_t strong_len)
{
	struct thrum__buf buf = {0};
	uint8_t *to = thrum__buf_reserve(&buf, 12);
	ck_assert_ptr_nonnull(to);
	delta__put_be(to, magic, 4);
	delta__put_be(to + 4, block_len, 4);
	delta__put_be(to + 8, strong_len, 4);
	thrum__buf_commit(&buf, 12);
	return buf;
}

static void add_block(
	struct thrum__buf *buf, uint32_t weak, const uint8_t *strong, size_t strong_len)
{
	uint8_t sum[4];
	delta__put_be(sum, weak, 4);
	if (thrum__buf_append(buf, sum, 4) < 0 || thrum__buf_append(buf, strong, strong_len) < 0)
		ck_abort_msg("out of memory");
}

START_TEST(a_signature_with_a_lying_header_is_refused)
{
	static const struct {
		uint32_t magic, block_len, strong_len;
		enum delta_cause cause;
		uint64_t offset;
	} cases[] = {
		{0, 2048, 32, DELTA_CAUSE_MAGIC, 0},
		{DELTA_MAGIC_DELTA, 2048, 32, DELTA_CAUSE_MAGIC, 0},
		{DELTA_MAGIC_RK_BLAKE2, 0, 32, DELTA_CAUSE_CORRUPT, 4},
		{DELTA_MAGIC_RK_BLAKE2, DELTA_BLOCK_MAX + 1, 32, DELTA_CAUSE_CORRUPT, 4},
		{DELTA_MAGIC_RK_BLAKE2, UINT32_MAX, 32, DELTA_CAUSE_CORRUPT, 4},
		{DELTA_MAGIC_RK_BLAKE2, 2048, 0, DELTA_CAUSE_CORRUPT, 8},
		{DELTA_MAGIC_RK_BLAKE2, 2048, 33, DELTA_CAUSE_CORRUPT, 8},
		{DELTA_MAGIC_RK_BLAKE2, 2048, UINT32_MAX, DELTA_CAUSE_CORRUPT, 8},
		{DELTA_MAGIC_RK_MD4, 2048, 17, DELTA_CAUSE_CORRUPT, 8},
	};
	for (size_t i = 0; i < thrum__countof(cases); i++) {
		for (size_t piece = 1; piece <= 64; piece *= 4) {
			struct thrum__buf buf =
				header(cases[i].magic, cases[i].block_len, cases[i].strong_len);
			struct delta_job *job;
			ck_assert_int_eq(delta_load_create(&job, 0), 0);
			ck_assert_int_eq(test_feed(job, &buf, piece, false, NULL), THRUM_EFORMAT);
			ck_assert_int_eq(delta_job_fault(job)->cause, cases[i].cause);
			ck_assert_uint_eq(delta_job_fault(job)->offset, cases[i].offset);
			/* An error stays. */
			struct delta_io io = {.eof = true};
			ck_assert_int_eq(delta_step(job, &io), THRUM_EFORMAT);
			delta_job_destroy(job);
			thrum__buf_fini(&buf);
		}
	}
}
END_TEST

START_TEST(a_signature_cut_anywhere_but_between_blocks_is_truncated)
{
	uint64_t seed = test_seed(3);
	struct thrum__buf basis = {0};
	test_add_random(&basis, &seed, 1000);
	struct delta_sign_options options = {.size = 1000, .block_len = 300, .strong_len = 5};
	struct thrum__buf whole = test_sign(&basis, &options, 1000);
	ck_assert_uint_eq(thrum__buf_len(&whole), 12 + 4 * 9);
	for (size_t len = 0; len < thrum__buf_len(&whole); len++) {
		struct thrum__buf cut = whole;
		cut.end = cut.start + len;
		struct delta_job *job;
		ck_assert_int_eq(delta_load_create(&job, 0), 0);
		bool clean = len >= 12 && (len - 12) % 9 == 0;
		ck_assert_int_eq(test_feed(job, &cut, 7, true, NULL), clean ? 0 : THRUM_EFORMAT);
		if (!clean) {
			ck_assert_int_eq(delta_job_fault(job)->cause, DELTA_CAUSE_TRUNCATED);
			ck_assert_uint_eq(delta_job_fault(job)->offset, len);
		}
		delta_job_destroy(job);
	}
	thrum__buf_fini(&whole);
	thrum__buf_fini(&basis);
}
END_TEST

START_TEST(more_blocks_than_allowed_are_refused)
{
	static const uint8_t strong[8] = {0};
	struct thrum__buf buf = header(DELTA_MAGIC_RK_BLAKE2, 2048, sizeof(strong));
	for (uint32_t i = 0; i < 5; i++)
		add_block(&buf, i, strong, sizeof(strong));
	for (uint32_t most = 4; most <= 5; most++) {
		struct delta_job *job;
		ck_assert_int_eq(delta_load_create(&job, most), 0);
		ck_assert_int_eq(test_feed(job, &buf, 1000, false, NULL), most < 5 ? -EFBIG : 0);
		delta_job_destroy(job);
	}
	thrum__buf_fini(&buf);
}
END_TEST

START_TEST(every_block_is_found_by_its_sums)
{
	enum { BLOCKS = 20000 };
	uint64_t seed = test_seed(4);
	struct thrum__buf buf = header(DELTA_MAGIC_RK_BLAKE2, 2048, 8);
	uint32_t weak[BLOCKS];
	uint64_t strong[BLOCKS];
	for (uint32_t i = 0; i < BLOCKS; i++) {
		weak[i] = (uint32_t)thrum__splitmix64(&seed);
		strong[i] = thrum__splitmix64(&seed);
		add_block(&buf, weak[i], (const uint8_t *)&strong[i], 8);
	}
	struct delta_index *index = test_load(&buf, 4096);
	ck_assert_uint_eq(delta_index_blocks(index), BLOCKS);
	unsigned passed = 0, found = 0;
	for (uint32_t i = 0; i < BLOCKS; i++) {
		uint32_t key = delta__filter_key(true, weak[i]);
		found += delta__filter_may_have(index->filter, index->filter_shift, key) &&
			 delta__index_has_weak(index, weak[i]) &&
			 delta__index_find(index, weak[i], (const uint8_t *)&strong[i]) == i;
		key = delta__filter_key(true, (uint32_t)thrum__splitmix64(&seed));
		passed += delta__filter_may_have(index->filter, index->filter_shift, key);
	}
	ck_assert_uint_eq(found, BLOCKS);
	/* The filter is worth its memory only if it stops nearly all strangers. */
	ck_assert_uint_lt(passed, BLOCKS / 20);
	delta_index_destroy(index);
	thrum__buf_fini(&buf);
}
END_TEST

/* A million blocks of one weak sum, or whose sums all fall into one slot, as a peer might send. */
START_TEST(colliding_weak_sums_cost_bounded_time)
{
	enum { BLOCKS = 1000000 };
	const uint32_t golden = UINT32_C(0x9e3779b1);
	uint32_t inverse = golden; /* by Newton's iteration, modulo 2^32 */
	for (unsigned i = 0; i < 5; i++)
		inverse *= 2 - golden * inverse;
	struct thrum__buf buf = header(DELTA_MAGIC_RK_BLAKE2, 2048, 8);
	for (uint64_t i = 0; i < BLOCKS; i++)
		add_block(&buf, _i == 0 ? 77 : (uint32_t)i % 8192 * inverse, (uint8_t *)&i, 8);
	struct delta_index *index = test_load(&buf, 65536);
	static const uint8_t none[8] = {0xff};
	unsigned found = 0;
	for (uint32_t i = 0; i < BLOCKS; i++)
		found += delta__index_find(index, _i == 0 ? 77 : i % 8192 * inverse, none) !=
			 DELTA__NO_BLOCK;
	ck_assert_uint_eq(found, 0);
	/* Unbounded chains would take 10^12 comparisons: far beyond the test's time limit. */
	delta_index_destroy(index);
	thrum__buf_fini(&buf);
}
END_TEST

Suite *suite_load(void)
{
	Suite *suite = suite_create("delta/load");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, a_signature_with_a_lying_header_is_refused);
	tcase_add_test(basic, a_signature_cut_anywhere_but_between_blocks_is_truncated);
	tcase_add_test(basic, more_blocks_than_allowed_are_refused);
	tcase_add_test(basic, every_block_is_found_by_its_sums);
	tcase_add_loop_test(basic, colliding_weak_sums_cost_bounded_time, 0, 2);
	suite_add_tcase(suite, basic);
	return suite;
}
