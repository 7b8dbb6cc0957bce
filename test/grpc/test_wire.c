/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "grpc/status.h"
#include "grpc/wire.h"

START_TEST(timeouts_parse_as_the_specification_says)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{"1n", 1},
		{"2999540u", INT64_C(2999540000)},
		{"20m", 20000000},
		{"0S", 0},
		{"5S", INT64_C(5000000000)},
		{"1M", INT64_C(60000000000)},
		{"1H", INT64_C(3600000000000)},
		{"99999999H", INT64_MAX},
	};
	static const char *const bad[] = {
		"", "n", "1", "1s", "123456789n", "-1n", "1.5S", " 1n", "1nn", "0x1n"};
	int64_t ns;
	for (size_t i = 0; i < thrum__countof(good); i++) {
		ck_assert_int_eq(grpc_timeout_parse(good[i].text, strlen(good[i].text), &ns), 0);
		ck_assert_int_eq(ns, good[i].ns);
	}
	for (size_t i = 0; i < thrum__countof(bad); i++)
		ck_assert_int_eq(grpc_timeout_parse(bad[i], strlen(bad[i]), &ns), THRUM_EFORMAT);
}
END_TEST

START_TEST(a_formatted_timeout_is_never_shorter_than_asked)
{
	char text[GRPC_TIMEOUT_MAX];
	static const int64_t values[] = {
		1, 99999999, 100000000, 123456789123, INT64_MAX / 1000, INT64_MAX};
	for (size_t i = 0; i < thrum__countof(values); i++) {
		int64_t back;
		grpc_timeout_format(values[i], text);
		ck_assert_uint_le(strlen(text), 9);
		ck_assert_int_eq(grpc_timeout_parse(text, strlen(text), &back), 0);
		ck_assert_int_ge(back, values[i]);
		ck_assert_int_le(back - values[i], values[i] / 100000 + 1);
	}
}
END_TEST

START_TEST(status_messages_are_percent_encoded_and_back)
{
	char encoded[256], back[64];
	size_t len = grpc_percent_encode("50% \xc3\xbc\n~", encoded);
	ck_assert_str_eq(encoded, "50%25 %C3%BC%0A~");
	grpc_percent_decode((const uint8_t *)encoded, len, back, sizeof(back));
	ck_assert_str_eq(back, "50% \xc3\xbc\n~");
	/* What is no escape stays; NUL cannot cut a text; a long one is cut. */
	grpc_percent_decode((const uint8_t *)"%zz %4 %", 8, back, sizeof(back));
	ck_assert_str_eq(back, "%zz %4 %");
	grpc_percent_decode((const uint8_t *)"a%00b", 5, back, sizeof(back));
	ck_assert_str_eq(back, "a?b");
	grpc_percent_decode((const uint8_t *)"abcdef", 6, back, 4);
	ck_assert_str_eq(back, "abc");
}
END_TEST

START_TEST(base64_takes_padding_or_none)
{
	uint8_t bytes[64] = {0}, back[64] = {0};
	char text[128] = {0};
	for (size_t len = 0; len < sizeof(bytes); len++) {
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)(i * 151 + len);
		size_t n = grpc_base64_encode(bytes, len, text);
		ck_assert_int_eq(grpc_base64_decode(text, n, back), (ssize_t)len);
		ck_assert_mem_eq(back, bytes, len);
		while (n > 0 && text[n - 1] == '=')
			n--;
		ck_assert_int_eq(grpc_base64_decode(text, n, back), (ssize_t)len);
		ck_assert_mem_eq(back, bytes, len);
	}
	ck_assert_int_eq(grpc_base64_decode("A", 1, back), THRUM_EFORMAT);
	ck_assert_int_eq(grpc_base64_decode("A*BC", 4, back), THRUM_EFORMAT);
	ck_assert_int_eq(grpc_base64_decode("AB\0C", 4, back), THRUM_EFORMAT);
}
END_TEST

START_TEST(every_status_has_a_code_of_its_own)
{
	for (int status = 0; status <= GRPC_UNAUTHENTICATED; status++) {
		ck_assert_int_eq(grpc_status_from_error(grpc_status_to_error(status)), status);
		ck_assert_int_le(grpc_status_to_error(status), 0);
	}
	ck_assert_int_eq(grpc_status_to_error(17), grpc_status_to_error(GRPC_UNKNOWN));
	ck_assert_int_eq(grpc_status_to_error(-1), grpc_status_to_error(GRPC_UNKNOWN));
	ck_assert_int_eq(grpc_status_from_error(99), GRPC_UNKNOWN);
	ck_assert_int_eq(grpc_status_from_error(-EMSGSIZE), GRPC_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(grpc_status_from_error(THRUM_ECLOSED), GRPC_UNAVAILABLE);
	ck_assert_str_eq(grpc_status_name(GRPC_NOT_FOUND), "NOT_FOUND");
	ck_assert_str_eq(grpc_status_name(99), "UNKNOWN");
}
END_TEST

START_TEST(resets_map_to_the_statuses_of_the_specification)
{
	static const struct {
		uint32_t code;
		enum grpc_status status;
	} table[] = {
		{NGHTTP2_NO_ERROR, GRPC_INTERNAL},
		{NGHTTP2_PROTOCOL_ERROR, GRPC_INTERNAL},
		{NGHTTP2_INTERNAL_ERROR, GRPC_INTERNAL},
		{NGHTTP2_REFUSED_STREAM, GRPC_UNAVAILABLE},
		{NGHTTP2_CANCEL, GRPC_CANCELLED},
		{NGHTTP2_ENHANCE_YOUR_CALM, GRPC_RESOURCE_EXHAUSTED},
		{NGHTTP2_INADEQUATE_SECURITY, GRPC_PERMISSION_DENIED},
		{12345, GRPC_UNKNOWN},
	};
	for (size_t i = 0; i < thrum__countof(table); i++)
		ck_assert_int_eq(grpc_status_from_reset(table[i].code), table[i].status);
	ck_assert_int_eq(grpc_status_from_http(404), GRPC_UNIMPLEMENTED);
	ck_assert_int_eq(grpc_status_from_http(503), GRPC_UNAVAILABLE);
	ck_assert_int_eq(grpc_status_from_http(401), GRPC_UNAUTHENTICATED);
	ck_assert_int_eq(grpc_status_from_http(302), GRPC_UNKNOWN);
}
END_TEST

Suite *suite_wire(void)
{
	Suite *suite = suite_create("grpc/wire");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, timeouts_parse_as_the_specification_says);
	tcase_add_test(basic, a_formatted_timeout_is_never_shorter_than_asked);
	tcase_add_test(basic, status_messages_are_percent_encoded_and_back);
	tcase_add_test(basic, base64_takes_padding_or_none);
	tcase_add_test(basic, every_status_has_a_code_of_its_own);
	tcase_add_test(basic, resets_map_to_the_statuses_of_the_specification);
	suite_add_tcase(suite, basic);
	return suite;
}
