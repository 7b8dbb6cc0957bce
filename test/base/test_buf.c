/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "base/base.h"

START_TEST(bytes_come_out_in_the_order_they_went_in)
{
	struct thrum__buf buf = {0};
	uint64_t seed = 42;
	uint8_t next_in = 0, next_out = 0;
	for (int round = 0; round < 10000; round++) {
		uint8_t chunk[300];
		size_t n = thrum__splitmix64(&seed) % sizeof(chunk);
		for (size_t i = 0; i < n; i++)
			chunk[i] = next_in++;
		ck_assert_int_eq(thrum__buf_append(&buf, chunk, n), 0);
		n = thrum__splitmix64(&seed) % (thrum__buf_len(&buf) + 1);
		for (size_t i = 0; i < n; i++)
			ck_assert_uint_eq(thrum__buf_head(&buf)[i], next_out++);
		thrum__buf_consume(&buf, n);
	}
	thrum__buf_fini(&buf);
}
END_TEST

START_TEST(a_request_beyond_memory_leaves_the_buffer_as_it_was)
{
	struct thrum__buf buf = {0};
	ck_assert_int_eq(thrum__buf_append(&buf, "abc", 3), 0);
	ck_assert_ptr_null(thrum__buf_reserve(&buf, SIZE_MAX / 2));
	ck_assert_uint_eq(thrum__buf_len(&buf), 3);
	ck_assert_mem_eq(thrum__buf_head(&buf), "abc", 3);
	thrum__buf_fini(&buf);
}
END_TEST

Suite *suite_buf(void)
{
	Suite *suite = suite_create("base/buf");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, bytes_come_out_in_the_order_they_went_in);
	tcase_add_test(basic, a_request_beyond_memory_leaves_the_buffer_as_it_was);
	suite_add_tcase(suite, basic);
	return suite;
}
