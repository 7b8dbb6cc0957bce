/* SPDX-License-Identifier: MIT */
#include "delta_test.h"

#include <errno.h>

START_TEST(open_lengths_are_filled_in_by_size)
{
	static const struct {
		int64_t size;
		uint32_t block_len;
		int shortest;
	} cases[] = {
		{-1, 2048, 12},
		{0, 256, 5},
		{65536, 256, 6},
		{123456, 256, 6},
		{16777216, 4096, 7},
		{33554432, 5760, 7},
		{INT64_C(4294967296), 65536, 8},
		{INT64_C(8589934592), 92672, 9},
		{INT64_MAX, DELTA_BLOCK_MAX, 15},
	};
	for (size_t i = 0; i < thrum__countof(cases); i++) {
		struct delta_sign_options options = {.size = cases[i].size, .strong_len = -1};
		ck_assert_int_eq(delta_recommend(&options), 0);
		ck_assert_uint_eq(options.magic, DELTA_MAGIC_RK_BLAKE2);
		ck_assert_uint_eq(options.block_len, cases[i].block_len);
		ck_assert_int_eq(options.strong_len, cases[i].shortest);
	}
}
END_TEST

START_TEST(lengths_that_cannot_be_are_refused)
{
	static const struct delta_sign_options cases[] = {
		{.magic = DELTA_MAGIC_DELTA},
		{.block_len = DELTA_BLOCK_MAX + 1},
		{.strong_len = -2},
		{.strong_len = 33},
		{.magic = DELTA_MAGIC_MD4, .strong_len = 17},
	};
	for (size_t i = 0; i < thrum__countof(cases); i++) {
		struct delta_sign_options options = cases[i];
		struct delta_job *job = NULL;
		ck_assert_int_eq(delta_recommend(&options), -EINVAL);
		ck_assert_int_eq(delta_sign_create(&job, &cases[i]), -EINVAL);
		ck_assert_ptr_null(job);
	}
}
END_TEST

static struct thrum__buf read_golden(const char *name)
{
	struct thrum__buf buf = {0};
	char path[200];
	snprintf(path, sizeof(path), "test/golden/delta/%s", name);
	FILE *file = fopen(path, "rb");
	ck_assert_msg(file != NULL, "%s is missing; run the tests in the source tree's root", path);
	uint8_t chunk[4096];
	size_t n;
	while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
		ck_assert_int_eq(thrum__buf_append(&buf, chunk, n), 0);
	fclose(file);
	return buf;
}

START_TEST(the_golden_files_come_out_byte_by_byte)
{
	static const struct {
		const char *signature;
		struct delta_sign_options options;
	} cases[] = {
		{"rk_blake2.sig", {.magic = DELTA_MAGIC_RK_BLAKE2, .block_len = 64}},
		{"blake2.sig", {.magic = DELTA_MAGIC_BLAKE2, .block_len = 64, .strong_len = 8}},
		{"rk_md4.sig", {.magic = DELTA_MAGIC_RK_MD4, .block_len = 64}},
		{"md4.sig", {.magic = DELTA_MAGIC_MD4, .block_len = 64, .strong_len = 8}},
	};
	struct thrum__buf basis = read_golden("basis"), new_file = read_golden("new");
	struct thrum__buf delta = read_golden("delta");
	ck_assert_uint_gt(thrum__buf_len(&basis), 0);
	for (size_t i = 0; i < thrum__countof(cases); i++) {
		struct thrum__buf golden = read_golden(cases[i].signature);
		struct thrum__buf made = test_sign(&basis, &cases[i].options, 1 + 97 * i);
		ck_assert(test_same(&made, &golden));
		struct delta_index *index = test_load(&golden, 1 + 97 * i);
		struct thrum__buf found = test_diff(index, &new_file, 1 + 97 * i, NULL);
		ck_assert(test_same(&found, &delta));
		delta_index_destroy(index);
		thrum__buf_fini(&golden);
		thrum__buf_fini(&made);
		thrum__buf_fini(&found);
	}
	struct thrum__buf patched = test_patch(&basis, &delta, 3);
	ck_assert(test_same(&patched, &new_file));
	thrum__buf_fini(&patched);
	thrum__buf_fini(&basis);
	thrum__buf_fini(&new_file);
	thrum__buf_fini(&delta);
}
END_TEST

Suite *suite_format(void)
{
	Suite *suite = suite_create("delta/format");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, open_lengths_are_filled_in_by_size);
	tcase_add_test(basic, lengths_that_cannot_be_are_refused);
	tcase_add_test(basic, the_golden_files_come_out_byte_by_byte);
	suite_add_tcase(suite, basic);
	return suite;
}
