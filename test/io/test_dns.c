/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "green.h"
#include <thrum/dns.h>
#include <thrum/net.h>

#include <errno.h>
#include <netinet/in.h>

static bool has(const struct thrum_dns_result *found, const char *text)
{
	for (size_t i = 0; i < found->count; i++) {
		char one[THRUM_ADDRESS_MAX];
		if (thrum_address_format(&found->addresses[i], one, sizeof(one)) == 0 &&
			strcmp(one, text) == 0)
			return true;
	}
	return false;
}

START_TEST(numbers_need_no_lookup)
{
	struct thrum_dns_result found;
	ck_assert_int_eq(thrum_dns_resolve(&found, "192.0.2.1", "80", THRUM_NOW), 0);
	ck_assert_uint_eq(found.count, 1);
	ck_assert(has(&found, "192.0.2.1:80"));
	thrum_dns_result_fini(&found);
	ck_assert_uint_eq(found.count, 0);
	thrum_dns_result_fini(&found);
	ck_assert_int_eq(thrum_dns_resolve(&found, "2001:db8::1", NULL, THRUM_NOW), 0);
	ck_assert(has(&found, "[2001:db8::1]:0"));
	thrum_dns_result_fini(&found);
	ck_assert_int_eq(thrum_dns_resolve(&found, "", "80", THRUM_NOW), 0);
	ck_assert(has(&found, "127.0.0.1:80"));
	thrum_dns_result_fini(&found);
}
END_TEST

START_TEST(a_name_cannot_be_looked_up_in_no_time)
{
	struct thrum_dns_result found = {.count = 7};
	ck_assert_int_eq(thrum_dns_resolve(&found, "localhost", "80", THRUM_NOW), -ETIMEDOUT);
	ck_assert_uint_eq(found.count, 7);
}
END_TEST

static void *names_main(void *arg)
{
	struct thrum_dns_result found;
	REQUIRE_EQ(thrum_dns_resolve(&found, "localhost", "http", GREEN_SOON), 0);
	REQUIRE(has(&found, "127.0.0.1:80") || has(&found, "[::1]:80"));
	thrum_dns_result_fini(&found);
	REQUIRE_EQ(thrum_dns_resolve(&found, "localhost", "no-such-service", GREEN_SOON), -EINVAL);
	/* Without any name server the second answer is the honest one. */
	int r = thrum_dns_resolve(&found, "absent.invalid", "80", GREEN_SOON);
	REQUIRE(r == THRUM_ENOHOST || r == -EAGAIN);
	return NULL;
}

START_TEST(names_are_found_or_said_to_be_absent)
{
	green_run(green_workers[_i], names_main, NULL);
}
END_TEST

START_TEST(a_plain_os_thread_resolves_too)
{
	green_failed = 0;
	names_main(NULL);
	ck_assert_msg(!green_failed, "%s", green_failure);
}
END_TEST

enum { LOOKUPS = 50 };

static void *canceled_lookup(void *arg)
{
	struct thrum_dns_result found;
	int r = thrum_dns_resolve(&found, "localhost", "80", GREEN_SOON);
	if (r == 0)
		thrum_dns_result_fini(&found);
	REQUIRE(r == 0 || r == -ECANCELED);
	return NULL;
}

/* Leak and use-after-free show under ASan: some of these give up before their OS thread is done. */
static void *abandon_main(void *arg)
{
	struct thrum_thread *threads[LOOKUPS];
	for (int i = 0; i < LOOKUPS; i++) {
		struct thrum_dns_result found;
		int r = thrum_dns_resolve(
			&found, "localhost", "80", thrum_after((i + 1) * 4 * THRUM_US));
		REQUIRE(r == 0 || r == -ETIMEDOUT);
		if (r == 0)
			thrum_dns_result_fini(&found);
		threads[i] = green_spawn(canceled_lookup, NULL);
	}
	for (int i = 0; i < LOOKUPS; i++)
		thrum_cancel(threads[i]);
	for (int i = 0; i < LOOKUPS; i++)
		green_join(threads[i]);
	return NULL;
}

START_TEST(an_abandoned_lookup_cleans_up_after_itself)
{
	green_run(green_workers[_i], abandon_main, NULL);
}
END_TEST

Suite *suite_dns(void)
{
	Suite *suite = suite_create("io/dns");
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 30);
	tcase_add_test(basic, numbers_need_no_lookup);
	tcase_add_test(basic, a_name_cannot_be_looked_up_in_no_time);
	tcase_add_loop_test(basic, names_are_found_or_said_to_be_absent, 0, 3);
	tcase_add_test(basic, a_plain_os_thread_resolves_too);
	tcase_add_loop_test(basic, an_abandoned_lookup_cleans_up_after_itself, 0, 3);
	suite_add_tcase(suite, basic);
	return suite;
}
