/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdbool.h>

#include "base/base.h"
#include <thrum/channel.h>
#include <thrum/thread.h>

/* Tries beside threads that close and take. */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { RACES = 300 };
#else
enum { RACES = 3000 };
#endif

struct race {
	struct thrum_channel *channel;
	int result;
};

static void *try_once(void *arg)
{
	struct race *race = arg;
	int value;
	race->result = thrum_channel_recv(race->channel, &value, THRUM_NOW);
	return NULL;
}

/* At each moment there is an element or the end: a try never finds nothing. */
static bool race_once(void)
{
	struct race race = {.result = 1};
	struct thrum_thread *thread = NULL;
	int value = 7;
	if (thrum_channel_create(&race.channel, sizeof(value), 1) != 0)
		return false;
	bool ok = thrum_channel_send(race.channel, &value, THRUM_NOW) == 0 &&
		  thrum_spawn(&thread, try_once, &race) == 0;
	thrum_channel_close(race.channel);
	int mine = thrum_channel_recv(race.channel, &value, THRUM_NOW);
	ok = ok && thrum_join(thread, NULL, THRUM_FOREVER) == 0;
	thrum_channel_unref(race.channel);
	/* One of the two got the element, and the other one the end. */
	return ok && ((mine == 0 && race.result == THRUM_EEOF) ||
			     (mine == THRUM_EEOF && race.result == 0));
}

static void *race_often(void *arg)
{
	for (int i = 0; i < RACES; i++)
		if (!race_once())
			return NULL;
	return arg;
}

START_TEST(a_try_on_a_channel_with_an_element_or_its_end_never_finds_nothing)
{
	static const unsigned workers[] = {1, 2, 8};
	struct thrum_config config = {.workers = workers[_i]};
	void *result = NULL;
	ck_assert_int_eq(thrum_run(&config, race_often, &config, &result), 0);
	ck_assert_ptr_nonnull(result);
}
END_TEST

Suite *suite_try_race(void)
{
	Suite *suite = suite_create("chan/try_race");
	TCase *race = tcase_create("race");
	tcase_set_timeout(race, 60);
	tcase_add_loop_test(
		race, a_try_on_a_channel_with_an_element_or_its_end_never_finds_nothing, 0, 3);
	suite_add_tcase(suite, race);
	return suite;
}
