/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "replica/ticket.h"

static struct replica_ticket sample(void)
{
	struct replica_ticket ticket = {.expires_s = 1790000000};
	memset(ticket.public_key, 0xa5, sizeof(ticket.public_key));
	memset(ticket.token, 0x11, sizeof(ticket.token));
	memset(ticket.share, 0x22, sizeof(ticket.share));
	strcpy(ticket.address, "laptop.example:7400");
	strcpy(ticket.name, "photos");
	return ticket;
}

START_TEST(a_ticket_reads_back_as_it_was_written)
{
	char text[REPLICA_TICKET_MAX], padded[REPLICA_TICKET_MAX + 8];
	struct replica_ticket in = sample(), out;
	ck_assert_int_eq(replica_ticket_format(text, &in), 0);
	snprintf(padded, sizeof(padded), " %s\r\n", text);
	ck_assert_int_eq(replica_ticket_parse(&out, padded), 0);
	ck_assert_mem_eq(out.public_key, in.public_key, 32);
	ck_assert_mem_eq(out.token, in.token, sizeof(in.token));
	ck_assert_mem_eq(out.share, in.share, sizeof(in.share));
	ck_assert_int_eq(out.expires_s, in.expires_s);
	ck_assert_str_eq(out.address, in.address);
	ck_assert_str_eq(out.name, in.name);
}
END_TEST

START_TEST(the_longest_ticket_fits)
{
	char text[REPLICA_TICKET_MAX];
	struct replica_ticket in = sample(), out;
	memset(in.address, 'a', REPLICA_ADDRESS_MAX);
	memset(in.name, 'n', REPLICA_TICKET_NAME_MAX);
	in.address[REPLICA_ADDRESS_MAX] = in.name[REPLICA_TICKET_NAME_MAX] = '\0';
	ck_assert_int_eq(replica_ticket_format(text, &in), 0);
	ck_assert_int_eq(replica_ticket_parse(&out, text), 0);
	ck_assert_str_eq(out.address, in.address);
}
END_TEST

START_TEST(any_changed_character_is_noticed)
{
	char text[REPLICA_TICKET_MAX];
	struct replica_ticket in = sample(), out;
	ck_assert_int_eq(replica_ticket_format(text, &in), 0);
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		char was = text[i];
		text[i] = was == 'A' ? 'B' : 'A';
		ck_assert_int_eq(replica_ticket_parse(&out, text), THRUM_EFORMAT);
		text[i] = was;
	}
	for (size_t cut = 0; cut < len; cut++) {
		char was = text[cut];
		text[cut] = '\0';
		ck_assert_int_eq(replica_ticket_parse(&out, text), THRUM_EFORMAT);
		text[cut] = was;
	}
}
END_TEST

Suite *suite_ticket(void)
{
	Suite *suite = suite_create("replica/ticket");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, a_ticket_reads_back_as_it_was_written);
	tcase_add_test(basic, the_longest_ticket_fits);
	tcase_add_test(basic, any_changed_character_is_noticed);
	suite_add_tcase(suite, basic);
	return suite;
}
