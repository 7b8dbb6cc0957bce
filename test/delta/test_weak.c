/* SPDX-License-Identifier: MIT */
#include "delta_test.h"

#include "delta/delta_internal.h"

/* The definitions, byte by byte. */
static uint32_t naive_sum(bool rabinkarp, const uint8_t *p, size_t len)
{
	uint32_t rk = 1, s1 = 0, s2 = 0;
	for (size_t i = 0; i < len; i++) {
		rk = rk * DELTA__RK_MULT + p[i];
		s1 += p[i] + 31u;
		s2 += (uint32_t)(len - i) * (p[i] + 31u);
	}
	return rabinkarp ? rk : (s2 & 0xffff) << 16 | (s1 & 0xffff);
}

START_TEST(a_sum_of_any_length_is_what_its_definition_says)
{
	uint64_t seed = test_seed(1);
	struct thrum__buf data = {0};
	test_add_random(&data, &seed, 3000);
	for (size_t len = 0; len <= 3000; len = len < 20 ? len + 1 : len * 3 / 2)
		ck_assert_uint_eq(delta__weak_sum(_i, thrum__buf_head(&data), len),
			naive_sum(_i, thrum__buf_head(&data), len));
	thrum__buf_fini(&data);
}
END_TEST

START_TEST(a_shrinking_window_has_the_sum_of_what_is_left)
{
	uint64_t seed = test_seed(2);
	struct thrum__buf data = {0};
	test_add_random(&data, &seed, 700);
	const uint8_t *p = thrum__buf_head(&data);
	uint32_t power = delta__rk_power(700), sum = naive_sum(_i, p, 700);
	for (uint32_t len = 700; len > 0; len--) {
		ck_assert_uint_eq(sum, naive_sum(_i, p + 700 - len, len));
		sum = delta__weak_shrink(_i, sum, p[700 - len], len, &power);
	}
	ck_assert_uint_eq(sum, naive_sum(_i, p, 0));
	thrum__buf_fini(&data);
}
END_TEST

START_TEST(md4_gives_the_digests_of_rfc_1320)
{
	static const struct {
		const char *text, *hex;
	} cases[] = {
		{"", "31d6cfe0d16ae931b73c59d7e0c089c0"},
		{"a", "bde52cb31de33e46245e05fbdbd6fb24"},
		{"abc", "a448017aaf21d8525fc10ae87aa6729d"},
		{"message digest", "d9130a8164549fe818874806e1c7014b"},
		{"abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"},
		{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
			"043f8582f241db351ce627e153e7f0e4"},
		{"1234567890123456789012345678901234567890123456789012345678901234567890123456789"
		 "0",
			"e33b4ddc9c38f2199c3e7b164fcc0536"},
	};
	for (size_t i = 0; i < thrum__countof(cases); i++) {
		uint8_t digest[DELTA__MD4_LEN];
		char hex[2 * DELTA__MD4_LEN + 1];
		delta__md4((const uint8_t *)cases[i].text, strlen(cases[i].text), digest);
		for (size_t k = 0; k < sizeof(digest); k++)
			snprintf(hex + 2 * k, 3, "%02x", digest[k]);
		ck_assert_str_eq(hex, cases[i].hex);
	}
}
END_TEST

Suite *suite_weak(void)
{
	Suite *suite = suite_create("delta/weak");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(basic, a_sum_of_any_length_is_what_its_definition_says, 0, 2);
	tcase_add_loop_test(basic, a_shrinking_window_has_the_sum_of_what_is_left, 0, 2);
	tcase_add_test(basic, md4_gives_the_digests_of_rfc_1320);
	suite_add_tcase(suite, basic);
	return suite;
}
