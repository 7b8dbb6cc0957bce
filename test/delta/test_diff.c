/* SPDX-License-Identifier: MIT */
#include "delta_test.h"

#include <sys/resource.h>

static const uint32_t magics[] = {
	DELTA_MAGIC_RK_BLAKE2, DELTA_MAGIC_BLAKE2, DELTA_MAGIC_RK_MD4, DELTA_MAGIC_MD4};

/* ---- round trips over seeded edits ---- */
enum edit { IDENTICAL, INSERT, DELETE, MOVE, APPEND, CUT, SCATTER, EMPTY, UNRELATED, REPEAT };
enum { EDITS = REPEAT + 1 };

static void add_slice(
	struct thrum__buf *to, const struct thrum__buf *from, size_t start, size_t len)
{
	ck_assert_uint_le(start + len, thrum__buf_len(from));
	ck_assert_int_eq(thrum__buf_append(to, thrum__buf_head(from) + start, len), 0);
}

/* Makes an edited copy. *literal: how many new bytes it holds; *seams: places where old bytes join
 * others. */
static struct thrum__buf edit_copy(const struct thrum__buf *basis, enum edit edit, uint64_t *seed,
	size_t *literal, size_t *seams)
{
	struct thrum__buf out = {0};
	size_t len = thrum__buf_len(basis), at = test_below(seed, len + 1);
	size_t n = test_below(seed, len - at + 1), added = 1 + test_below(seed, 5000);
	*literal = 0;
	*seams = 2;
	switch (edit) {
	case INSERT:
		add_slice(&out, basis, 0, at);
		test_add_random(&out, seed, added);
		add_slice(&out, basis, at, len - at);
		*literal = added;
		break;
	case DELETE:
		add_slice(&out, basis, 0, at);
		add_slice(&out, basis, at + n, len - at - n);
		break;
	case MOVE:
		add_slice(&out, basis, at, len - at);
		add_slice(&out, basis, 0, at);
		break;
	case APPEND:
		add_slice(&out, basis, 0, len);
		test_add_random(&out, seed, added);
		*literal = added;
		break;
	case CUT:
		add_slice(&out, basis, 0, at);
		break;
	case SCATTER:
		add_slice(&out, basis, 0, len);
		for (size_t i = 0; i < 10 && len > 0; i++)
			thrum__buf_head(&out)[test_below(seed, len)] ^= 0x55;
		*literal = 10;
		*seams = 20;
		break;
	case EMPTY:
		break;
	case UNRELATED:
		test_add_random(&out, seed, len + added);
		*literal = len + added;
		break;
	case REPEAT:
		for (size_t i = 0; i < 3; i++)
			add_slice(&out, basis, 0, len);
		*seams = 6;
		break;
	default:
		add_slice(&out, basis, 0, len);
		*seams = 0;
	}
	return out;
}

static void check_round_trip(struct thrum__buf *basis, const struct delta_sign_options *options,
	enum edit edit, uint64_t *seed)
{
	static const size_t pieces[] = {1, 7, 1000, 65536, SIZE_MAX};
	size_t literal, seams, block = options->block_len;
	struct thrum__buf new_file = edit_copy(basis, edit, seed, &literal, &seams), first = {0};
	for (size_t i = 0; i < thrum__countof(pieces); i++) {
		size_t piece = pieces[i];
		struct delta_stats stats;
		struct thrum__buf signature = test_sign(basis, options, piece);
		struct delta_index *index = test_load(&signature, piece);
		struct thrum__buf delta = test_diff(index, &new_file, piece, &stats);
		struct thrum__buf back = test_patch(basis, &delta, piece);
		ck_assert_msg(test_same(&back, &new_file), "edit %d block %zu piece %zu", edit,
			block, piece);
		ck_assert_uint_eq(
			stats.literal_bytes + stats.copy_bytes, thrum__buf_len(&new_file));
		/* Old bytes are copied, but for less than a block on each side of a seam. */
		ck_assert_uint_le(stats.literal_bytes, literal + seams * block);
		if (i == 0)
			first = delta;
		ck_assert_msg(test_same(&first, &delta), "edit %d: the cut %zu shows", edit, piece);
		if (i > 0)
			thrum__buf_fini(&delta);
		thrum__buf_fini(&signature);
		thrum__buf_fini(&back);
		delta_index_destroy(index);
	}
	thrum__buf_fini(&first);
	thrum__buf_fini(&new_file);
}

START_TEST(patching_the_basis_gives_the_new_file_whatever_the_edit_and_the_cut)
{
	static const uint32_t blocks[] = {1, 2, 31, 256, 700, 4096};
	uint64_t seed = test_seed(1000 + (uint64_t)_i);
	for (size_t b = 0; b < thrum__countof(blocks); b++) {
		uint32_t block = blocks[b];
		/* Around a block's length, and long enough for several literals and slides. */
		size_t sizes[] = {0, 1, block - 1, block, block + 1, 3 * block + block / 2,
			b < 3 ? 3000 : 90000};
		for (size_t s = 0; s < thrum__countof(sizes); s++) {
			size_t len = sizes[s];
			struct thrum__buf basis = {0};
			test_add_random(&basis, &seed, len);
			struct delta_sign_options options = {.size = (int64_t)len,
				.block_len = block,
				.magic = magics[(b + s) % thrum__countof(magics)]};
			check_round_trip(&basis, &options, (enum edit)_i, &seed);
			thrum__buf_fini(&basis);
		}
	}
}
END_TEST

/* Few byte values and long runs: equal blocks, false weak hits, matches at odd places. */
START_TEST(repetitive_files_survive_the_round_trip)
{
	uint64_t seed = test_seed(5);
	for (int round = 0; round < 150; round++) {
		struct thrum__buf files[2] = {{0}, {0}};
		for (int f = 0; f < 2; f++) {
			size_t runs = test_below(&seed, 60);
			for (size_t i = 0; i < runs; i++) {
				uint8_t byte = (uint8_t)('a' + test_below(&seed, 3));
				size_t n = test_below(&seed, 40);
				uint8_t *to = thrum__buf_reserve(&files[f], 40);
				ck_assert_ptr_nonnull(to);
				memset(to, byte, n);
				thrum__buf_commit(&files[f], n);
			}
		}
		struct delta_sign_options options = {.size = -1,
			.block_len = (uint32_t)(1 + test_below(&seed, 24)),
			.magic = magics[round % 4]};
		struct thrum__buf signature = test_sign(&files[0], &options, 100);
		struct delta_index *index = test_load(&signature, 100);
		struct thrum__buf delta = test_diff(index, &files[1], 100, NULL);
		struct thrum__buf again = test_diff(index, &files[1], 1, NULL);
		struct thrum__buf back = test_patch(&files[0], &delta, 100);
		ck_assert_msg(test_same(&back, &files[1]), "round %d", round);
		ck_assert(test_same(&again, &delta));
		delta_index_destroy(index);
		struct thrum__buf *all[] = {
			&files[0], &files[1], &signature, &delta, &again, &back};
		for (size_t i = 0; i < thrum__countof(all); i++)
			thrum__buf_fini(all[i]);
	}
}
END_TEST

START_TEST(an_identical_file_is_one_copy)
{
	uint64_t seed = test_seed(6);
	struct thrum__buf basis = {0};
	/* Half of it zeroes: many equal blocks, which must still go in order. */
	test_add_random(&basis, &seed, 300000);
	memset(thrum__buf_head(&basis) + 100000, 0, 150000);
	struct delta_sign_options options = {.size = 300000, .block_len = 512};
	struct thrum__buf signature = test_sign(&basis, &options, 65536);
	struct delta_index *index = test_load(&signature, 65536);
	struct delta_stats stats;
	struct thrum__buf delta = test_diff(index, &basis, 65536, &stats);
	ck_assert_uint_eq(stats.copies, 1);
	ck_assert_uint_eq(stats.copy_bytes, 300000);
	ck_assert_uint_eq(stats.literals, 0);
	ck_assert_uint_eq(thrum__buf_len(&delta), 4 + 1 + 1 + 4 + 1);
	delta_index_destroy(index);
	thrum__buf_fini(&basis);
	thrum__buf_fini(&signature);
	thrum__buf_fini(&delta);
}
END_TEST

START_TEST(without_a_basis_all_is_literal)
{
	uint64_t seed = test_seed(7);
	struct thrum__buf none = {0}, new_file = {0};
	test_add_random(&new_file, &seed, 200000);
	struct delta_stats stats;
	struct thrum__buf delta = test_diff(NULL, &new_file, 1000, &stats);
	struct thrum__buf again = test_diff(NULL, &new_file, SIZE_MAX, NULL);
	ck_assert_uint_eq(stats.literal_bytes, 200000);
	ck_assert_uint_eq(stats.literals, 4);
	ck_assert(test_same(&delta, &again));
	struct thrum__buf back = test_patch(&none, &delta, 1000);
	ck_assert(test_same(&back, &new_file));
	thrum__buf_fini(&new_file);
	thrum__buf_fini(&delta);
	thrum__buf_fini(&again);
	thrum__buf_fini(&back);
}
END_TEST

/* A signature made so that every place of a file of zeroes is a weak hit and none a match. */
START_TEST(false_hits_cannot_cost_more_than_their_budget)
{
	enum { BLOCK = 4096, LEN = 3000000 };
	struct thrum__buf zeroes = {0}, other = {0};
	ck_assert_ptr_nonnull(thrum__buf_reserve(&zeroes, LEN));
	memset(zeroes.data, 0, LEN);
	thrum__buf_commit(&zeroes, LEN);
	struct thrum__buf block = zeroes;
	block.end = BLOCK;
	struct delta_sign_options options = {.size = -1, .block_len = BLOCK};
	other = test_sign(&block, &options, SIZE_MAX);
	thrum__buf_head(&other)[16] ^= 1; /* the strong sum */
	struct delta_index *index = test_load(&other, SIZE_MAX);
	struct delta_stats stats;
	struct thrum__buf delta = test_diff(index, &zeroes, 65536, &stats);
	ck_assert_uint_eq(stats.literal_bytes, LEN);
	ck_assert_uint_gt(stats.false_hits, 0);
	/* Without the budget: LEN of them, each hashing a block. */
	ck_assert_uint_le(stats.false_hits * BLOCK, UINT64_C(9) * LEN + (1 << 20));
	/* The budget is kept by the bytes seen, not by how they came. */
	struct delta_stats again;
	thrum__buf_fini(&delta);
	delta = test_diff(index, &zeroes, 999, &again);
	ck_assert_uint_eq(again.false_hits, stats.false_hits);
	delta_index_destroy(index);
	thrum__buf_fini(&zeroes);
	thrum__buf_fini(&other);
	thrum__buf_fini(&delta);
}
END_TEST

/* ---- memory: 200 MB through every job, in a process whose peak is watched ---- */
enum { HUGE_CHUNK = 65536, HUGE_CHUNKS = 3200 };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEMORY_KIB = 96 * 1024 }; /* shadow and quarantine */
#else
enum { MEMORY_KIB = 12 * 1024 };
#endif

static long peak_kib(void)
{
	struct rusage usage;
	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_maxrss;
}

/* Feeds HUGE_CHUNKS chunks; what comes out is dropped, or kept in keep. */
static void run_huge(struct delta_job *job, const uint8_t *chunk, struct thrum__buf *keep)
{
	struct thrum__buf out = {0};
	struct delta_io io = {.out = &out};
	int fed = 0, result = DELTA_NEED;
	while (result > 0) {
		if (result == DELTA_NEED && fed < HUGE_CHUNKS) {
			io.in = chunk;
			io.in_len = HUGE_CHUNK;
			fed++;
		} else if (result == DELTA_NEED) {
			io.eof = true;
		}
		result = delta_step(job, &io);
		if (keep != NULL && thrum__buf_len(&out) > 0)
			add_slice(keep, &out, 0, thrum__buf_len(&out));
		thrum__buf_clear(&out);
	}
	ck_assert_int_eq(result, 0);
	ck_assert_uint_le(out.cap, 1024 * 1024);
	thrum__buf_fini(&out);
}

static ssize_t read_zeroes(void *arg, void *to, size_t len, uint64_t offset)
{
	(void)arg, (void)offset;
	memset(to, 0, len);
	return (ssize_t)len;
}

START_TEST(huge_files_take_little_memory)
{
	static uint8_t chunk[HUGE_CHUNK];
	long before = peak_kib();
	struct thrum__buf signature = {0}, delta = {0}, out = {0};
	struct delta_sign_options options = {.size = (int64_t)HUGE_CHUNK * HUGE_CHUNKS};
	struct delta_job *job;
	ck_assert_int_eq(delta_sign_create(&job, &options), 0);
	run_huge(job, chunk, &signature);
	delta_job_destroy(job);
	struct delta_index *index = test_load(&signature, SIZE_MAX);
	ck_assert_int_eq(delta_diff_create(&job, index), 0);
	run_huge(job, chunk, &delta);
	ck_assert_uint_eq(delta_job_stats(job)->copies, 1);
	delta_job_destroy(job);
	/* Literals of the whole length, dropped as they come. */
	ck_assert_int_eq(delta_diff_create(&job, NULL), 0);
	run_huge(job, chunk, NULL);
	ck_assert_uint_eq(delta_job_stats(job)->literal_bytes, (uint64_t)options.size);
	delta_job_destroy(job);
	/* One copy command of 200 MB. */
	ck_assert_int_eq(delta_patch_create(&job, read_zeroes, NULL, UINT64_MAX), 0);
	struct delta_io io = {.in = thrum__buf_head(&delta),
		.in_len = thrum__buf_len(&delta),
		.eof = true,
		.out = &out};
	int result;
	while ((result = delta_step(job, &io)) > 0)
		thrum__buf_clear(&out);
	ck_assert_int_eq(result, 0);
	ck_assert_uint_le(out.cap, 1024 * 1024);
	ck_assert_uint_eq(delta_job_stats(job)->out_bytes, (uint64_t)options.size);
	delta_job_destroy(job);
	ck_assert_int_le(peak_kib() - before, MEMORY_KIB);
	delta_index_destroy(index);
	thrum__buf_fini(&signature);
	thrum__buf_fini(&delta);
	thrum__buf_fini(&out);
}
END_TEST

/* Offsets and lengths beyond 32 bits: a basis of 6 GiB of which only the read positions matter. */
static ssize_t read_position(void *arg, void *to, size_t len, uint64_t offset)
{
	(void)arg;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = (uint8_t)((offset + i) >> 30);
	return (ssize_t)len;
}

START_TEST(offsets_beyond_4_gib_are_whole)
{
	/* Blocks of 64 MiB: number 80 begins at 5 GiB. */
	struct thrum__buf signature = {0}, block = {0}, out = {0};
	enum { BLOCKS = 96, WANTED = 80 };
	ck_assert_ptr_nonnull(thrum__buf_reserve(&block, DELTA_BLOCK_MAX));
	memset(block.data, 5, DELTA_BLOCK_MAX);
	thrum__buf_commit(&block, DELTA_BLOCK_MAX);
	struct delta_sign_options options = {
		.size = -1, .block_len = DELTA_BLOCK_MAX, .strong_len = 16};
	struct thrum__buf one = test_sign(&block, &options, SIZE_MAX);
	add_slice(&signature, &one, 0, 12);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		uint8_t other[20] = {(uint8_t)i, 1};
		if (i == WANTED)
			add_slice(&signature, &one, 12, 20);
		else
			ck_assert_int_eq(thrum__buf_append(&signature, other, 20), 0);
	}
	struct delta_index *index = test_load(&signature, SIZE_MAX);
	struct delta_stats stats;
	struct thrum__buf delta = test_diff(index, &block, SIZE_MAX, &stats);
	ck_assert_uint_eq(stats.copies, 1);
	struct delta_job *job;
	ck_assert_int_eq(delta_patch_create(&job, read_position, NULL, UINT64_MAX), 0);
	ck_assert_int_eq(delta_run(job, thrum__buf_head(&delta), thrum__buf_len(&delta), &out), 0);
	ck_assert(test_same(&out, &block));
	delta_job_destroy(job);
	delta_index_destroy(index);
	struct thrum__buf *all[] = {&signature, &block, &out, &one, &delta};
	for (size_t i = 0; i < thrum__countof(all); i++)
		thrum__buf_fini(all[i]);
}
END_TEST

Suite *suite_diff(void)
{
	Suite *suite = suite_create("delta/diff");
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 10);
	tcase_add_loop_test(basic,
		patching_the_basis_gives_the_new_file_whatever_the_edit_and_the_cut, 0, EDITS);
	tcase_add_test(basic, repetitive_files_survive_the_round_trip);
	tcase_add_test(basic, an_identical_file_is_one_copy);
	tcase_add_test(basic, without_a_basis_all_is_literal);
	tcase_add_test(basic, false_hits_cannot_cost_more_than_their_budget);
	tcase_add_test(basic, huge_files_take_little_memory);
	tcase_add_test(basic, offsets_beyond_4_gib_are_whole);
	suite_add_tcase(suite, basic);
	return suite;
}
