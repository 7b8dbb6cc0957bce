/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>

#include "base/base.h"

static const char *escaped(const char *text, size_t len)
{
	static char out[64];
	return thrum__escape(out, sizeof(out), text, len);
}

START_TEST(names_from_a_peer_cannot_paint_on_a_terminal)
{
	ck_assert_str_eq(escaped("plain name.txt", 14), "plain name.txt");
	ck_assert_str_eq(escaped("\x1b[31m", 5), "\\x1b[31m");
	ck_assert_str_eq(escaped("a\nb\0c\\", 6), "a\\x0ab\\x00c\\x5c");
	ck_assert_str_eq(escaped("gr\xc3\xbc\xc3\x9f", 6), "gr\xc3\xbc\xc3\x9f");
	ck_assert_str_eq(escaped("\xff\xc3", 2), "\\xff\\xc3");
	ck_assert_str_eq(escaped("\xc0\xaf", 2), "\\xc0\\xaf");		  /* overlong '/' */
	ck_assert_str_eq(escaped("\xc2\x9b", 2), "\\xc2\\x9b");		  /* C1 CSI */
	ck_assert_str_eq(escaped("\xe2\x80\xae", 3), "\\xe2\\x80\\xae"); /* right-to-left override */
}
END_TEST

START_TEST(a_long_text_is_cut_between_characters)
{
	char out[6];
	ck_assert_str_eq(thrum__escape(out, sizeof(out), "abcd\xc3\xbc", 6), "abcd");
	ck_assert_str_eq(thrum__escape(out, sizeof(out), "abc\n", 4), "abc");
}
END_TEST

START_TEST(every_private_code_has_a_name_and_a_text)
{
	ck_assert_str_eq(thrum_errname(THRUM_EEOF), "THRUM_EEOF");
	ck_assert_str_eq(thrum_strerror(THRUM_EEOF), "end of stream");
	ck_assert_str_eq(thrum_errname(-ECONNREFUSED), "ECONNREFUSED");
	ck_assert_str_eq(thrum_strerror(-ECONNREFUSED), "Connection refused");
	ck_assert_str_eq(thrum_errname(-4999), "EUNKNOWN");
	ck_assert_str_eq(thrum_strerror(77777), "unknown error");
}
END_TEST

Suite *suite_log(void)
{
	Suite *suite = suite_create("base/log");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, names_from_a_peer_cannot_paint_on_a_terminal);
	tcase_add_test(basic, a_long_text_is_cut_between_characters);
	tcase_add_test(basic, every_private_code_has_a_name_and_a_text);
	suite_add_tcase(suite, basic);
	return suite;
}
