/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "hooks.h"

#include "explore.h"
#include "subject_claim.h"

/*
 * The handshake of claim.h: a machine that leaves and enters again and again, and a monitor that
 * tries twice to take its processor. Taken, the processor is used by another machine (here the
 * monitor plays it too), then lies idle, and may be given back to the machine when it finds out.
 *
 * Whoever has the processor uses it: never two at a time, and each sees what the one before did.
 */

enum { ROUNDS = 3, ATTEMPTS = 2 };
enum owner { OWNER_HOG, OWNER_OTHER, OWNER_NONE };

static struct world {
	struct thrum__claim claim;
	struct thrum__lock lock;
	enum owner owner; /* under lock */
	uint32_t queue;   /* the processor's: one of its atomics, and a plain field */
	uint64_t data;
	unsigned users, uses; /* known to the test alone */
} world;

static const struct claim_subject *claim;
static bool fenced; /* no membarrier: the fallback */

static void use(void)
{
	if (world.users++ != 0)
		explore_fail("two use the processor at once");
	explore_plain_read(&world.data);
	explore_plain_write(&world.data);
	world.data++;
	uint32_t queue = __atomic_load_n(&world.queue, __ATOMIC_RELAXED);
	__atomic_store_n(&world.queue, queue + 1, __ATOMIC_RELAXED);
	world.users--;
	world.uses++;
}

static enum owner owner_get(void)
{
	thrum__lock(&world.lock);
	explore_plain_read(&world.owner);
	enum owner owner = world.owner;
	thrum__unlock(&world.lock);
	return owner;
}

static void owner_set(enum owner owner)
{
	thrum__lock(&world.lock);
	explore_plain_write(&world.owner);
	world.owner = owner;
	thrum__unlock(&world.lock);
}

/* The hog's way back. False: its processor is in use by another. */
static bool rejoin(void)
{
	thrum__lock(&world.lock);
	explore_plain_read(&world.owner);
	bool idle = world.owner == OWNER_NONE;
	if (idle) {
		explore_plain_write(&world.owner);
		world.owner = OWNER_HOG;
		__atomic_store_n(
			&world.claim.word, fenced ? THRUM__CLAIM_FENCED : 0, __ATOMIC_RELAXED);
	}
	thrum__unlock(&world.lock);
	return idle;
}

static void hog(void)
{
	bool mine = true;
	for (int round = 0; round < ROUNDS; round++) {
		if (mine)
			use();
		claim->leave(&world.claim);
		if (!claim->enter(&world.claim))
			mine = rejoin();
		else if (!mine)
			explore_fail("entered, with the processor gone");
	}
	if (mine)
		use();
}

static void monitor(void)
{
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		if (owner_get() != OWNER_HOG || !claim->take(&world.claim))
			continue;
		owner_set(OWNER_OTHER);
		use();
		owner_set(OWNER_NONE);
	}
}

static void setup(void *unused)
{
	(void)unused;
	world.claim.state = THRUM__RUNTIME;
	world.claim.word = fenced ? THRUM__CLAIM_FENCED : 0;
	explore_name(&world.claim.state, "state");
	explore_name(&world.claim.word, "word");
	explore_name(&world.lock, "lock");
	explore_name(&world.owner, "owner");
	explore_name(&world.queue, "queue");
	explore_name(&world.data, "data");
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	if (self == 0)
		hog();
	else
		monitor();
}

static void check(void *unused)
{
	(void)unused;
	if (world.queue != world.uses)
		explore_fail("%u of %u uses were lost", world.uses - world.queue, world.uses);
}

static struct explore_scenario scenario_of(int i)
{
	fenced = i != 0;
	return (struct explore_scenario){.name = fenced ? "without membarrier" : "with membarrier",
		.threads = 2,
		.world = &world,
		.size = sizeof(world),
		.setup = setup,
		.body = body,
		.check = check};
}

enum { MODES = 2, MOST = 1000000 };

START_TEST(hog_and_monitor_never_use_the_processor_at_once)
{
	claim = (const struct claim_subject *)subject_real("claim");
	struct explore_scenario scenario = scenario_of(_i);
	struct explore_result result = explore(&scenario, MOST, 0);
	ck_assert_msg(!result.found, "%s", result.why);
	ck_assert(result.complete || explore_is_partial());
}
END_TEST

START_TEST(a_mutant_is_found)
{
	claim = (const struct claim_subject *)subject_mutant("claim", _i);
	for (int i = 0; i < MODES; i++) {
		struct explore_scenario scenario = scenario_of(i);
		if (subject_exposed(&claim->subject, &scenario, MOST, 0))
			return;
	}
	subject_survives(&claim->subject);
}
END_TEST

Suite *suite_claim(void)
{
	Suite *suite = suite_create("explore/claim");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(basic, hog_and_monitor_never_use_the_processor_at_once, 0, MODES);
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("claim"));
	suite_add_tcase(suite, basic);
	return suite;
}
