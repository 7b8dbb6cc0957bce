/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "io/io.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/un.h>

START_TEST(malformed_addresses_are_refused)
{
	static const char *const bad[] = {"", "localhost", "localhost:", "::1:80", "[::1]", "[]:80",
		"[::1]80", "[::1:80", "unix:", "unix:@", "a:b:c",
		"a:65536", "a:99999999999999999999"};
	struct thrum__endpoint endpoint;
	for (size_t i = 0; i < thrum__countof(bad); i++)
		ck_assert_msg(thrum__endpoint_parse(&endpoint, bad[i]) == -EINVAL, "%s", bad[i]);
}
END_TEST

START_TEST(overlong_parts_are_refused)
{
	struct thrum__endpoint endpoint;
	char text[600];
	memset(text, 'x', sizeof(text));
	memcpy(text + sizeof(text) - 4, ":80", 4);
	ck_assert_int_eq(thrum__endpoint_parse(&endpoint, text), -ENAMETOOLONG);
	text[1] = ':';
	memset(text + 2, '1', sizeof(text) - 3);
	ck_assert_int_eq(thrum__endpoint_parse(&endpoint, text), -ENAMETOOLONG);
	memcpy(text, "unix:/", 6);
	ck_assert_int_eq(thrum__endpoint_parse(&endpoint, text), -ENAMETOOLONG);
	text[5 + sizeof(((struct sockaddr_un *)0)->sun_path)] = '\0';
	ck_assert_int_eq(thrum__endpoint_parse(&endpoint, text), -ENAMETOOLONG);
	text[5 + sizeof(((struct sockaddr_un *)0)->sun_path) - 1] = '\0';
	ck_assert_int_eq(thrum__endpoint_parse(&endpoint, text), 0);
}
END_TEST

START_TEST(hosts_and_services_are_told_apart)
{
	struct thrum__endpoint endpoint;
	ck_assert_int_eq(thrum__endpoint_parse(&endpoint, "example.org:http"), 0);
	ck_assert_str_eq(endpoint.host, "example.org");
	ck_assert_str_eq(endpoint.service, "http");
	ck_assert_int_eq(thrum__endpoint_parse(&endpoint, "[fe80::1%lo]:80"), 0);
	ck_assert_str_eq(endpoint.host, "fe80::1%lo");
	ck_assert_int_eq(thrum__endpoint_parse(&endpoint, ":80"), 0);
	ck_assert_str_eq(endpoint.host, "");
}
END_TEST

START_TEST(an_address_is_written_as_it_was_read)
{
	static const char *const good[] = {"127.0.0.1:80", "255.255.255.255:65535", "[::1]:80",
		"[2001:db8::1]:1", "[fe80::1%lo]:80", "unix:/run/x", "unix:@name"};
	for (size_t i = 0; i < thrum__countof(good); i++) {
		struct thrum__endpoint endpoint;
		struct thrum_dns_result found;
		char text[THRUM_ADDRESS_MAX];
		ck_assert_int_eq(thrum__endpoint_parse(&endpoint, good[i]), 0);
		ck_assert_int_eq(thrum__endpoint_resolve(&found, &endpoint, false, THRUM_NOW), 0);
		ck_assert_uint_eq(found.count, 1);
		ck_assert_int_eq(thrum_address_format(&found.addresses[0], text, sizeof(text)), 0);
		ck_assert_str_eq(text, good[i]);
		ck_assert_int_eq(thrum_address_format(&found.addresses[0], text, 5), -ENOSPC);
		thrum_dns_result_fini(&found);
	}
}
END_TEST

START_TEST(odd_kernel_addresses_have_a_text_too)
{
	char text[THRUM_ADDRESS_MAX];
	struct thrum_address address = {.len = sizeof(sa_family_t)};
	address.addr.ss_family = AF_UNIX;
	ck_assert_int_eq(thrum_address_format(&address, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "unix:");
	struct sockaddr_un *un = (struct sockaddr_un *)&address.addr;
	memcpy(un->sun_path, "\0a\0b", 4);
	address.len = offsetof(struct sockaddr_un, sun_path) + 4;
	ck_assert_int_eq(thrum_address_format(&address, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "unix:@a@b");
	memset(un->sun_path, 'p', sizeof(un->sun_path)); /* full, without a NUL */
	address.len = sizeof(*un);
	ck_assert_int_eq(thrum_address_format(&address, text, sizeof(text)), 0);
	ck_assert_uint_eq(strlen(text), 5 + sizeof(un->sun_path));
	address.addr.ss_family = AF_NETLINK;
	ck_assert_int_eq(thrum_address_format(&address, text, sizeof(text)), -EAFNOSUPPORT);
}
END_TEST

Suite *suite_address(void)
{
	Suite *suite = suite_create("io/address");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, malformed_addresses_are_refused);
	tcase_add_test(basic, overlong_parts_are_refused);
	tcase_add_test(basic, hosts_and_services_are_told_apart);
	tcase_add_test(basic, an_address_is_written_as_it_was_read);
	tcase_add_test(basic, odd_kernel_addresses_have_a_text_too);
	suite_add_tcase(suite, basic);
	return suite;
}
