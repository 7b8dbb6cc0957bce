/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "explore.h"
#include "subject_deque.h"

/*
 * The deque, from capacity 4, in every interleaving of an owner and one or two thieves. A script is
 * a string, a letter for each call:
 *
 *   p push the next item   t take   f shift ("front")   s steal
 *   j join: peek, and take that item if it is still there
 *
 * Each item must be got once, by somebody who may read what its pusher put into it, and a thief
 * gets items in the order in which they were pushed.
 */

enum { ITEMS = 16, THIEVES = 2 };

static const struct script {
	const char *name, *setup, *owner, *thief[THIEVES];
	uint64_t most, random; /* executions */
} scripts[] = {
	{"the last item", "p", "t", {"s"}, 100000, 0},
	{"the last item and two thieves", "p", "t", {"s", "s"}, 100000, 0},
	{"a fresh deque", "", "tpt", {"s", "s"}, 100000, 0},
	{"two items, a thief that comes twice", "pp", "tt", {"ss"}, 100000, 0},
	{"two items and two thieves", "pp", "t", {"s", "s"}, 100000, 0},
	{"growing", "pppp", "pt", {"s", "s"}, 100000, 0},
	{"growing under two thefts", "pppp", "pp", {"ss"}, 100000, 0},
	{"wrapping around", "ppppsss", "ppp", {"ss"}, 100000, 0},
	{"a slot used again", "pppp", "pp", {"s", "s"}, 100000, 0},
	{"shifting", "pp", "fpf", {"s", "s"}, 100000, 0},
	{"shifting and taking", "ppp", "ftf", {"ss"}, 100000, 0},
	{"peeking", "pp", "jj", {"s", "s"}, 100000, 0},
	{"all at once", "ppp", "pptfpjtptf", {"sss", "ssss"}, 20000, 20000},
};
enum { SCRIPTS = sizeof(scripts) / sizeof(scripts[0]) };

static struct world {
	struct thrum__deque deque;
	struct item {
		uint64_t payload;
		unsigned got;
	} items[ITEMS];
	unsigned pushed, last[EXPLORE_THREADS + 1];
} world;

static const struct deque_subject *deque;
static const struct script *script;

static void push(void)
{
	struct item *item = &world.items[world.pushed++];
	explore_plain_write(&item->payload);
	item->payload = world.pushed;
	if (!deque->push(&world.deque, item))
		explore_fail("a push failed");
}

static void got(void *item_v, bool in_order)
{
	struct item *item = item_v;
	if (item == NULL)
		return;
	if (item < world.items || item >= world.items + world.pushed) {
		explore_fail("got %p, which nobody pushed", item_v);
		return;
	}
	explore_plain_read(&item->payload);
	unsigned number = (unsigned)(item - world.items) + 1, *last = &world.last[explore_self()];
	if (item->got++ > 0)
		explore_fail("item %u was got twice", number);
	if (in_order && number < *last)
		explore_fail("item %u was got after %u", number, *last);
	if (in_order)
		*last = number;
}

static void join(void)
{
	void *item = deque->peek(&world.deque);
	void *taken = item == NULL ? NULL : deque->take(&world.deque);
	if (taken != NULL && taken != item)
		explore_fail("took another item than the one that was there");
	got(taken, false);
}

static void play(const char *letters)
{
	bool lost = false;
	for (; *letters != '\0'; letters++) {
		if (*letters == 'p')
			push();
		else if (*letters == 't')
			got(deque->take(&world.deque), false);
		else if (*letters == 'j')
			join();
		else if (*letters == 'f')
			got(deque->shift(&world.deque), true);
		else
			got(deque->steal(&world.deque, &lost), true);
	}
}

static void setup(void *unused)
{
	(void)unused;
	ck_assert_int_eq(deque->init(&world.deque, 4, false), 0);
	explore_name(&world.deque.top, "top");
	explore_name(&world.deque.bottom, "bottom");
	explore_name(&world.deque.array, "array");
	explore_name(world.items, "items");
	play(script->setup);
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	play(self == 0 ? script->owner : script->thief[self - 1]);
}

/* What was left is there, and nothing is missing. */
static void check(void *unused)
{
	bool lost = false;
	(void)unused;
	for (unsigned i = 0; i < world.pushed; i++)
		got(deque->steal(&world.deque, &lost), true);
	for (unsigned i = 0; i < world.pushed; i++)
		if (world.items[i].got == 0)
			explore_fail("item %u was lost", i + 1);
}

static struct explore_scenario scenario_of(int i)
{
	script = &scripts[i];
	return (struct explore_scenario){.name = scripts[i].name,
		.threads = scripts[i].thief[1] != NULL ? 3 : 2,
		.world = &world,
		.size = sizeof(world),
		.setup = setup,
		.body = body,
		.check = check};
}

START_TEST(every_item_is_got_once_and_what_it_points_to_is_there)
{
	struct explore_scenario scenario = scenario_of(_i);
	deque = (const struct deque_subject *)subject_real("deque");
	struct explore_result result = explore(&scenario, scripts[_i].most, scripts[_i].random);
	ck_assert_msg(!result.found, "%s: %s", scripts[_i].name, result.why);
	ck_assert(result.complete || scripts[_i].random > 0 || explore_is_partial());
}
END_TEST

START_TEST(a_mutant_is_found)
{
	deque = (const struct deque_subject *)subject_mutant("deque", _i);
	for (int i = 0; i < SCRIPTS; i++) {
		struct explore_scenario scenario = scenario_of(i);
		if (subject_exposed(&deque->subject, &scenario, scripts[i].most, 0))
			return;
	}
	subject_survives(&deque->subject);
}
END_TEST

Suite *suite_deque(void)
{
	Suite *suite = suite_create("explore/deque");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(
		basic, every_item_is_got_once_and_what_it_points_to_is_there, 0, SCRIPTS);
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("deque"));
	suite_add_tcase(suite, basic);
	return suite;
}
