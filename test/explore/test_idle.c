/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "hooks.h"

#include "explore.h"
#include "subject_idle.h"

/*
 * The protocol of idle.c, with the least of a dispatcher around it: machines that look for work,
 * steal, sleep and are called, against others that submit. Work is a number; a queue is a word with
 * a bit for each. Some work spawns other work or waits, keeping its machine, until other work has
 * been done. All must be done, once; a lost wake shows as everybody waiting. (test_dispatch.c has
 * the real dispatcher, with too many states to see all of them.)
 */

enum { MACHINES = 2, WORKS = 3, NONE = -1 };

/* Where submitters put work: on the common queue, or a machine's own mail. */
enum { COMMON = -1 };

static const struct play {
	const char *name;
	unsigned machines, submitters; /* each submits the work of its number */
	int to[MACHINES];              /* where: COMMON or a machine's number */
	int first;                     /* lies in the first machine's queue, or NONE */
	unsigned works;
	struct {
		int spawns, waits_for; /* numbers, or NONE */
	} work[WORKS];
	bool blind; /* M4 is left out */
	uint64_t most, random;
} plays[] = {
	{.name = "one machine, one submission",
		.machines = 1,
		.submitters = 1,
		.to = {COMMON},
		.first = NONE,
		.works = 1,
		.work = {{NONE, NONE}},
		.most = 100000},
	{.name = "one machine, a submission and a mail",
		.machines = 1,
		.submitters = 2,
		.to = {COMMON, 0},
		.first = NONE,
		.works = 2,
		.work = {{NONE, NONE}, {NONE, NONE}},
		.most = 1000000},
	{.name = "two machines, one submission",
		.machines = 2,
		.submitters = 1,
		.to = {COMMON},
		.first = NONE,
		.works = 1,
		.work = {{NONE, NONE}},
		.most = 40000,
		.random = 20000},
	{.name = "two machines, a parent that waits for its child",
		.machines = 2,
		.first = 0,
		.works = 2,
		.work = {{1, 1}, {NONE, NONE}},
		.most = 40000,
		.random = 20000},
	{.name = "two machines, two submissions, one waits for the other",
		.machines = 2,
		.submitters = 2,
		.to = {COMMON, COMMON},
		.first = NONE,
		.works = 2,
		.work = {{NONE, 1}, {NONE, NONE}},
		.most = 40000,
		.random = 20000},
	{.name = "two machines, a parent that waits for its child, and a mail",
		.machines = 2,
		.submitters = 1,
		.to = {1},
		.first = 1,
		.works = 3,
		.work = {{NONE, NONE}, {2, 2}, {NONE, NONE}},
		.most = 40000,
		.random = 20000},
};

static const struct play without_a_second_look = {.name = "without a second look",
	.machines = 1,
	.submitters = 1,
	.to = {COMMON},
	.first = NONE,
	.works = 1,
	.work = {{NONE, NONE}},
	.blind = true,
	.most = 100000};

static struct world {
	struct thrum__idlers idlers;
	struct machine {
		struct thrum__idler idler;
		uint32_t queue, mail; /* atomic: a bit for each work */
		uint32_t called;      /* atomic: the driver's */
		bool searching;
	} machines[MACHINES];
	uint32_t common;               /* atomic */
	uint32_t done;                 /* atomic: all is */
	uint32_t is_done[WORKS], left; /* atomic */
	uint64_t payload[WORKS];
} world;

static const struct idle_subject *subject;
static const struct play *play;

/* ---------------------------------------------------------------- queues and drivers */

static void put(uint32_t *queue, int number)
{
	__atomic_fetch_or(queue, 1u << number, __ATOMIC_RELEASE);
}

static int take(uint32_t *queue)
{
	for (;;) {
		uint32_t bits = __atomic_load_n(queue, __ATOMIC_RELAXED);
		if (bits == 0)
			return NONE;
		uint32_t bit = bits & -bits;
		if (__atomic_fetch_and(queue, ~bit, __ATOMIC_ACQ_REL) & bit)
			return __builtin_ctz(bit);
	}
}

static void sleep_in_driver(struct machine *machine)
{
	while (__atomic_exchange_n(&machine->called, 0, __ATOMIC_ACQ_REL) == 0)
		explore_relax();
}

static void wake_driver(struct machine *machine)
{
	__atomic_exchange_n(&machine->called, 1, __ATOMIC_SEQ_CST);
}

static void notify(void)
{
	struct thrum__idler *idler = subject->call_any(&world.idlers);
	if (idler != NULL)
		wake_driver(thrum__container_of(idler, struct machine, idler));
}

static bool visible(struct machine *self)
{
	if (__atomic_load_n(&world.common, __ATOMIC_RELAXED) != 0 ||
		__atomic_load_n(&self->mail, __ATOMIC_RELAXED) != 0)
		return true;
	for (unsigned i = 0; i < play->machines; i++)
		if (__atomic_load_n(&world.machines[i].queue, __ATOMIC_RELAXED) != 0)
			return true;
	return false;
}

/* ---------------------------------------------------------------- a machine */

static int steal(struct machine *self)
{
	if (play->machines == 1)
		return NONE;
	if (!self->searching)
		self->searching = subject->search_start(&world.idlers, play->machines);
	return self->searching ? take(&world.machines[self == world.machines].queue) : NONE;
}

static int find(struct machine *self)
{
	int number = take(&self->mail);
	if (number == NONE)
		number = take(&self->queue);
	if (number == NONE && (number = take(&world.common)) != NONE) {
		int more = take(&world.common); /* I3: a second one changes queues */
		if (more != NONE) {
			put(&self->queue, more);
			notify();
		}
	}
	if (number == NONE)
		number = steal(self);
	if (self->searching) {
		self->searching = false;
		if (subject->search_stop(&world.idlers, number != NONE) && visible(self))
			notify();
	}
	return number;
}

static void idle(struct machine *self)
{
	subject->enter(&world.idlers, &self->idler);
	bool stay =
		(play->blind || !visible(self)) && !__atomic_load_n(&world.done, __ATOMIC_ACQUIRE);
	if (stay)
		sleep_in_driver(self);
	self->searching = subject->leave(&world.idlers, &self->idler, !stay);
}

static void run(struct machine *self, int number)
{
	explore_plain_read(&world.payload[number]);
	int child = play->work[number].spawns, other = play->work[number].waits_for;
	if (child != NONE) {
		explore_plain_write(&world.payload[child]);
		put(&self->queue, child);
		notify();
	}
	while (other != NONE && __atomic_load_n(&world.is_done[other], __ATOMIC_ACQUIRE) == 0)
		explore_relax();
	if (__atomic_exchange_n(&world.is_done[number], 1, __ATOMIC_ACQ_REL) != 0)
		explore_fail("work %d was done twice", number);
	if (__atomic_fetch_sub(&world.left, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	__atomic_store_n(&world.done, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < play->machines; i++)
		wake_driver(&world.machines[i]);
}

static void machine_main(struct machine *self)
{
	for (;;) {
		int number = find(self);
		if (number != NONE)
			run(self, number);
		else if (__atomic_load_n(&world.done, __ATOMIC_ACQUIRE))
			return;
		else
			idle(self);
	}
}

static void submit(int number)
{
	explore_plain_write(&world.payload[number]);
	int to = play->to[number];
	if (to == COMMON) {
		put(&world.common, number);
		notify();
		return;
	}
	put(&world.machines[to].mail, number);
	if (subject->call(&world.idlers, &world.machines[to].idler))
		wake_driver(&world.machines[to]);
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	if (self < play->machines)
		machine_main(&world.machines[self]);
	else
		submit((int)(self - play->machines));
}

static void setup(void *unused)
{
	(void)unused;
	world.left = play->works;
	if (play->first != NONE)
		world.machines[0].queue = 1u << play->first;
	explore_name(&world.idlers.searching, "searching");
	explore_name(&world.idlers.count, "count");
	explore_name(&world.idlers.lock, "lock");
	explore_name(&world.common, "common");
	explore_name(&world.done, "done");
	explore_name(world.is_done, "is_done");
	explore_name(&world.left, "left");
	explore_name(&world.machines[0].queue, "queue 0");
	explore_name(&world.machines[0].mail, "mail 0");
	explore_name(&world.machines[0].called, "called 0");
	explore_name(&world.machines[1].queue, "queue 1");
	explore_name(&world.machines[1].mail, "mail 1");
	explore_name(&world.machines[1].called, "called 1");
}

static void check(void *unused)
{
	(void)unused;
	if (world.idlers.searching != 0 || world.idlers.count != 0)
		explore_fail("at the end %u search and %u are idle", world.idlers.searching,
			world.idlers.count);
}

/* ---------------------------------------------------------------- tests */

enum { MUTANT_MOST = 5000, MUTANT_RANDOM = 20000 }; /* executions for each play */

static struct explore_scenario scenario_of(const struct play *of)
{
	play = of;
	return (struct explore_scenario){.name = of->name,
		.threads = of->machines + of->submitters,
		.world = &world,
		.size = sizeof(world),
		.setup = setup,
		.body = body,
		.check = check};
}

START_TEST(whatever_is_submitted_is_done)
{
	struct explore_scenario scenario = scenario_of(&plays[_i]);
	subject = (const struct idle_subject *)subject_real("idle");
	struct explore_result result = explore(&scenario, play->most, play->random);
	ck_assert_msg(!result.found, "%s: %s", play->name, result.why);
	ck_assert(result.complete || play->random > 0 || explore_is_partial());
}
END_TEST

START_TEST(without_a_second_look_a_wake_is_lost)
{
	struct explore_scenario scenario = scenario_of(&without_a_second_look);
	subject = (const struct idle_subject *)subject_real("idle");
	struct explore_result result = explore_all(&scenario, play->most);
	ck_assert(result.found);
	printf("%s: %s\n", play->name, result.why);
}
END_TEST

START_TEST(a_mutant_is_found)
{
	subject = (const struct idle_subject *)subject_mutant("idle", _i);
	for (int i = 0; i < (int)thrum__countof(plays); i++) {
		struct explore_scenario scenario = scenario_of(&plays[i]);
		if (subject_exposed(&subject->subject, &scenario, MUTANT_MOST, MUTANT_RANDOM))
			return;
	}
	subject_survives(&subject->subject);
}
END_TEST

Suite *suite_idle(void)
{
	Suite *suite = suite_create("explore/idle");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(basic, whatever_is_submitted_is_done, 0, (int)thrum__countof(plays));
	tcase_add_test(basic, without_a_second_look_a_wake_is_lost);
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("idle"));
	suite_add_tcase(suite, basic);
	return suite;
}
