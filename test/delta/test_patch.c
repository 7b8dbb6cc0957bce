/* SPDX-License-Identifier: MIT */
#include "delta_test.h"

#include <errno.h>

/* One delta in hex, without the magic, blanks between bytes as one likes; the basis is
 * "0123456789". */
struct sample {
	const char *hex;
	int result;
	enum delta_cause cause;
	const char *text; /* what comes out if result is 0 */
};

static const struct sample samples[] = {
	{"00", 0, 0, ""},
	{"0361626300", 0, 0, "abc"},
	{"41036162630000", 0, 0, "abc"}, /* bytes behind the end are left to the caller */
	{"420003616263 00", 0, 0, "abc"},
	{"4300000003616263 00", 0, 0, "abc"},
	{"440000000000000003616263 00", 0, 0, "abc"},
	{"45020300", 0, 0, "234"},
	{"46 02 0003 00", 0, 0, "234"},
	{"54 0000000000000002 0000000000000003 00", 0, 0, "234"},
	{"45000a 0161 450901 00", 0, 0, "0123456789a9"},
	{"", THRUM_EFORMAT, DELTA_CAUSE_TRUNCATED, NULL},
	{"03616263", THRUM_EFORMAT, DELTA_CAUSE_TRUNCATED, NULL},
	{"036162", THRUM_EFORMAT, DELTA_CAUSE_TRUNCATED, NULL},
	{"42 00", THRUM_EFORMAT, DELTA_CAUSE_TRUNCATED, NULL},
	{"4502", THRUM_EFORMAT, DELTA_CAUSE_TRUNCATED, NULL},
	{"4502 03", THRUM_EFORMAT, DELTA_CAUSE_TRUNCATED, NULL},
	{"55", THRUM_EFORMAT, DELTA_CAUSE_CORRUPT, NULL},
	{"ff", THRUM_EFORMAT, DELTA_CAUSE_CORRUPT, NULL},
	{"4100 00", THRUM_EFORMAT, DELTA_CAUSE_CORRUPT, NULL},
	{"450200 00", THRUM_EFORMAT, DELTA_CAUSE_CORRUPT, NULL},
	{"450a01 00", THRUM_EFORMAT, DELTA_CAUSE_BASIS, NULL},
	{"450803 00", THRUM_EFORMAT, DELTA_CAUSE_BASIS, NULL},
	{"54 7fffffffffffffff 0000000000000001 00", THRUM_EFORMAT, DELTA_CAUSE_CORRUPT, NULL},
	{"54 ffffffffffffffff 0000000000000002 00", THRUM_EFORMAT, DELTA_CAUSE_CORRUPT, NULL},
	{"54 0000000000000001 ffffffffffffffff 00", THRUM_EFORMAT, DELTA_CAUSE_CORRUPT, NULL},
	{"44 8000000000000000 00", THRUM_EFORMAT, DELTA_CAUSE_CORRUPT, NULL},
	{"44 7fffffffffffffff 61", THRUM_EFORMAT, DELTA_CAUSE_TRUNCATED, NULL},
};

static struct thrum__buf from_hex(const char *magic, const char *hex)
{
	struct thrum__buf buf = {0};
	for (const char *part = magic; part != NULL; part = part == magic ? hex : NULL) {
		for (size_t i = 0; part[i] != '\0'; i += 2) {
			unsigned byte;
			i += part[i] == ' ';
			ck_assert_int_eq(sscanf(part + i, "%2x", &byte), 1);
			uint8_t value = (uint8_t)byte;
			ck_assert_int_eq(thrum__buf_append(&buf, &value, 1), 0);
		}
	}
	return buf;
}

START_TEST(every_command_does_what_it_says_or_is_refused)
{
	const struct sample *sample = &samples[_i];
	for (size_t piece = 1; piece <= 81; piece *= 3) {
		struct thrum__buf delta = from_hex("72730236", sample->hex), basis = {0}, out = {0};
		struct delta_job *job;
		ck_assert_int_eq(thrum__buf_append(&basis, "0123456789", 10), 0);
		ck_assert_int_eq(delta_patch_create(&job, test_read_at, &basis, UINT64_MAX), 0);
		ck_assert_int_eq(test_feed(job, &delta, piece, true, &out), sample->result);
		ck_assert_int_eq(delta_job_fault(job)->cause, sample->cause);
		if (sample->result == 0) {
			ck_assert_uint_eq(thrum__buf_len(&out), strlen(sample->text));
			ck_assert_int_eq(thrum__buf_append(&out, "", 1), 0);
			ck_assert_str_eq((const char *)thrum__buf_head(&out), sample->text);
		}
		/* A lying length must not be believed before its bytes are there. */
		ck_assert_uint_le(out.cap, 256 * 1024);
		delta_job_destroy(job);
		thrum__buf_fini(&delta);
		thrum__buf_fini(&basis);
		thrum__buf_fini(&out);
	}
}
END_TEST

START_TEST(another_files_magic_is_refused)
{
	static const char *const magics[] = {"72730136", "72730147", "00000000", "7f454c46"};
	for (size_t i = 0; i < thrum__countof(magics); i++) {
		struct thrum__buf delta = from_hex(magics[i], "00"), basis = {0}, out = {0};
		struct delta_job *job;
		ck_assert_int_eq(delta_patch_create(&job, test_read_at, &basis, UINT64_MAX), 0);
		ck_assert_int_eq(test_feed(job, &delta, 2, true, &out), THRUM_EFORMAT);
		ck_assert_int_eq(delta_job_fault(job)->cause, DELTA_CAUSE_MAGIC);
		delta_job_destroy(job);
		thrum__buf_fini(&delta);
		thrum__buf_fini(&out);
	}
}
END_TEST

START_TEST(no_byte_beyond_the_limit_is_made)
{
	for (uint64_t limit = 0; limit <= 13; limit++) {
		struct thrum__buf delta = from_hex("72730236", "45000a0361626300");
		struct thrum__buf basis = {0}, out = {0};
		struct delta_job *job;
		ck_assert_int_eq(thrum__buf_append(&basis, "0123456789", 10), 0);
		ck_assert_int_eq(delta_patch_create(&job, test_read_at, &basis, limit), 0);
		ck_assert_int_eq(test_feed(job, &delta, 100, false, &out), limit < 13 ? -EFBIG : 0);
		ck_assert_uint_le(thrum__buf_len(&out), limit);
		delta_job_destroy(job);
		thrum__buf_fini(&delta);
		thrum__buf_fini(&basis);
		thrum__buf_fini(&out);
	}
}
END_TEST

static ssize_t read_fails(void *arg, void *to, size_t len, uint64_t offset)
{
	(void)arg, (void)to, (void)len, (void)offset;
	return -EIO;
}

START_TEST(an_error_of_the_basis_comes_through)
{
	struct thrum__buf delta = from_hex("72730236", "45000a00"), out = {0};
	struct delta_job *job;
	ck_assert_int_eq(delta_patch_create(&job, read_fails, NULL, UINT64_MAX), 0);
	ck_assert_int_eq(test_feed(job, &delta, 100, false, &out), -EIO);
	delta_job_destroy(job);
	thrum__buf_fini(&delta);
	thrum__buf_fini(&out);
}
END_TEST

START_TEST(a_whole_buffer_run_refuses_what_is_left_over)
{
	struct thrum__buf delta = from_hex("72730236", "0161000000"), out = {0};
	struct delta_job *job;
	ck_assert_int_eq(delta_patch_create(&job, read_fails, NULL, UINT64_MAX), 0);
	ck_assert_int_eq(delta_run(job, thrum__buf_head(&delta), thrum__buf_len(&delta), &out),
		THRUM_EFORMAT);
	ck_assert_uint_eq(delta_job_fault(job)->offset, 7);
	delta_job_destroy(job);
	thrum__buf_fini(&delta);
	thrum__buf_fini(&out);
}
END_TEST

Suite *suite_patch(void)
{
	Suite *suite = suite_create("delta/patch");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(basic, every_command_does_what_it_says_or_is_refused, 0,
		(int)thrum__countof(samples));
	tcase_add_test(basic, another_files_magic_is_refused);
	tcase_add_test(basic, no_byte_beyond_the_limit_is_made);
	tcase_add_test(basic, an_error_of_the_basis_comes_through);
	tcase_add_test(basic, a_whole_buffer_run_refuses_what_is_left_over);
	suite_add_tcase(suite, basic);
	return suite;
}
