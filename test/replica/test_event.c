/* SPDX-License-Identifier: MIT */
#include "replica/event.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <thrum/thread.h>

static struct replica_events events;
static char seen[4][64];
static int results[4];
static uint64_t at;

static void set_up(void)
{
	memset(&events, 0, sizeof(events));
	memset(seen, 0, sizeof(seen));
	at = 0;
}

static void tear_down(void)
{
	replica_events_fini(&events);
}

static void publish(unsigned number)
{
	replica_events_publish(
		&events, REPLICA_EVENT_CHANGED, "s", NULL, NULL, "number %u", number);
}

static void take(int slot, thrum_deadline deadline)
{
	struct replica_event event;
	results[slot] = replica_events_next(&events, &at, &event, deadline);
	if (results[slot] == 0)
		snprintf(seen[slot], sizeof(seen[slot]), "%s %s",
			replica_event_kind_name(event.kind), event.text);
	replica_event_fini(&event);
}

static void *fall_behind(void *arg)
{
	for (unsigned i = 0; i < REPLICA_EVENT_RING + 10; i++)
		publish(i);
	take(0, THRUM_NOW);
	take(1, THRUM_NOW);
	return NULL;
}

START_TEST(a_slow_subscriber_learns_how_many_events_it_missed)
{
	ck_assert_int_eq(thrum_run(NULL, fall_behind, NULL, NULL), 0);
	ck_assert_str_eq(seen[0], "missed 10 events were missed");
	ck_assert_str_eq(seen[1], "changed number 10");
	ck_assert_uint_eq(at, 11);
}
END_TEST

static void *keep_up(void *arg)
{
	for (unsigned i = 0; i < REPLICA_EVENT_RING; i++)
		publish(i);
	take(0, THRUM_NOW);
	at = replica_events_now(&events);
	take(1, THRUM_NOW);
	return NULL;
}

START_TEST(a_full_ring_has_missed_nothing)
{
	ck_assert_int_eq(thrum_run(NULL, keep_up, NULL, NULL), 0);
	ck_assert_str_eq(seen[0], "changed number 0");
	ck_assert_int_eq(results[1], -ETIMEDOUT);
}
END_TEST

static void *subscribe(void *arg)
{
	take(0, THRUM_FOREVER);
	take(1, THRUM_FOREVER);
	return NULL;
}

static void *wake(void *arg)
{
	struct thrum_thread *subscriber;
	results[2] = thrum_spawn(&subscriber, subscribe, NULL);
	publish(1);
	replica_events_close(&events);
	results[3] = thrum_join(subscriber, NULL, THRUM_FOREVER);
	return NULL;
}

START_TEST(a_close_wakes_a_subscriber_after_what_it_has_not_seen)
{
	ck_assert_int_eq(thrum_run(NULL, wake, NULL, NULL), 0);
	ck_assert_str_eq(seen[0], "changed number 1");
	ck_assert_int_eq(results[1], THRUM_ECLOSED);
	ck_assert_int_eq(results[2], 0);
	ck_assert_int_eq(results[3], 0);
}
END_TEST

Suite *suite_event(void)
{
	Suite *suite = suite_create("event");
	TCase *tc = tcase_create("ring");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_slow_subscriber_learns_how_many_events_it_missed);
	tcase_add_test(tc, a_full_ring_has_missed_nothing);
	tcase_add_test(tc, a_close_wakes_a_subscriber_after_what_it_has_not_seen);
	suite_add_tcase(suite, tc);
	return suite;
}
