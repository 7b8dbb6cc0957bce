/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "base/base.h"
#include "explore.h"
#include "subject_lock.h"

/* The short-term lock: one holder at a time, who sees what the one before did, and no sleeper left.
 */

static struct world {
	struct thrum__lock lock;
	uint64_t data;
	unsigned holders;
} world;

static const struct lock_subject *lock;
static unsigned turns;

static void setup(void *unused)
{
	(void)unused;
	explore_name(&world.lock, "lock");
	explore_name(&world.data, "data");
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	(void)self;
	for (unsigned i = 0; i < turns; i++) {
		lock->lock(&world.lock);
		if (world.holders++ != 0)
			explore_fail("two hold the lock");
		explore_plain_read(&world.data);
		explore_plain_write(&world.data);
		world.data++;
		world.holders--;
		lock->unlock(&world.lock);
	}
}

static const struct {
	const char *name;
	unsigned threads, turns;
} sizes[] = {{"two threads, twice each", 2, 2}, {"three threads", 3, 1}};

static struct explore_scenario scenario_of(int i)
{
	turns = sizes[i].turns;
	return (struct explore_scenario){.name = sizes[i].name,
		.threads = sizes[i].threads,
		.world = &world,
		.size = sizeof(world),
		.setup = setup,
		.body = body};
}

enum { MOST = 2000000 };

START_TEST(one_holds_the_lock_and_everybody_gets_it)
{
	lock = (const struct lock_subject *)subject_real("lock");
	struct explore_scenario scenario = scenario_of(_i);
	struct explore_result result = explore(&scenario, MOST, 0);
	ck_assert_msg(!result.found, "%s", result.why);
	ck_assert(result.complete || explore_is_partial());
}
END_TEST

START_TEST(a_mutant_is_found)
{
	lock = (const struct lock_subject *)subject_mutant("lock", _i);
	for (int i = 0; i < (int)thrum__countof(sizes); i++) {
		struct explore_scenario scenario = scenario_of(i);
		if (subject_exposed(&lock->subject, &scenario, MOST, 0))
			return;
	}
	subject_survives(&lock->subject);
}
END_TEST

Suite *suite_lock(void)
{
	Suite *suite = suite_create("explore/lock");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(
		basic, one_holds_the_lock_and_everybody_gets_it, 0, (int)thrum__countof(sizes));
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("lock"));
	suite_add_tcase(suite, basic);
	return suite;
}
