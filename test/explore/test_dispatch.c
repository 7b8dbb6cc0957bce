/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "hooks.h"

#include "explore.h"
#include "subject_dispatch.h"

/*
 * The real dispatcher with all its queues: machines that look for work, sleep and are called,
 * against others that submit, and the monitor, whose tick covers lone work (dispatch.c). The first
 * thread may spawn and wake others and wait, keeping its machine, until one of them has run or the
 * monitor has ticked. All must run, once; a lost wake shows as everybody waiting.
 *
 * The states are too many to see all: depth first from the quietest schedule, then random.
 */

enum { MACHINES = 2, THREADS = 3 };
enum { TICK_OF_MONITOR = -1 };

/* Where a submitter puts its thread: the inject queue, or a processor's mail. */
enum { INJECT = -1 };

static const struct play {
	const char *name;
	unsigned threads, machines, submitters; /* each submits the thread of its number */
	bool monitor;
	int to[MACHINES];
	struct {
		unsigned spawns, wakes, wakes_too; /* other threads; 0: none */
		int waits_for;
	} first; /* thread 0, which lies in the first deque where there are no submitters */
} plays[] = {
	{"one machine, one submission", 1, 1, 1, false, {INJECT}, {0}},
	{"one machine, a submission and a mail", 2, 1, 2, false, {INJECT, 0}, {0}},
	{"a submission that needs the monitor", 1, 1, 1, true, {INJECT},
		{.waits_for = TICK_OF_MONITOR}},
	{"two machines, one submission", 1, 2, 1, false, {INJECT}, {0}},
	{"two machines, a mail", 1, 2, 1, false, {1}, {0}},
	{"a parent that waits for its child", 2, 2, 0, true, {0}, {.spawns = 1, .waits_for = 1}},
	{"a waker that waits for the woken one", 2, 2, 0, true, {0}, {.wakes = 1, .waits_for = 1}},
	{"a child and a woken one, of which one is waited for", 3, 2, 0, true, {0},
		{.spawns = 1, .wakes = 2, .waits_for = 2}},
	{"two woken ones and a thief", 3, 2, 0, false, {0}, {.wakes = 1, .wakes_too = 2}},
};

enum { MOST = 6000, RANDOM = 8000 };

static struct world {
	struct thrum__runtime runtime;
	struct thrum__processor processors[MACHINES];
	struct thrum__machine machines[MACHINES];
	struct thrum_thread threads[THREADS];
	uint32_t called[MACHINES];          /* atomic: the drivers' */
	uint32_t ran[THREADS], left, ticks; /* atomic */
	int64_t now[EXPLORE_THREADS + 1];
} world;

static const struct dispatch_subject *subject;
static const struct play *play;

/* ---------------------------------------------------------------- the stage */

struct thrum__machine *dispatch_machine_self(void)
{
	return explore_self() < play->machines ? &world.machines[explore_self()] : NULL;
}

/* Each look at the clock finds that time has passed. */
thrum_deadline dispatch_now(void)
{
	return world.now[explore_self()] += 10 * THRUM_US;
}

void dispatch_fire(struct thrum__processor *processor)
{
	(void)processor;
}

bool dispatch_enter_slow(struct thrum__machine *machine)
{
	(void)machine;
	return true;
}

bool dispatch_claim_enter_slow(struct thrum__claim *claim)
{
	(void)claim;
	return true;
}

static uint32_t *called(struct thrum__driver *driver)
{
	return (uint32_t *)driver;
}

/* As the reactor does: a call that comes before the sleep ends it. */
void dispatch_poll(struct thrum__driver *driver, int64_t max_wait_ns)
{
	while (max_wait_ns != 0 && __atomic_exchange_n(called(driver), 0, __ATOMIC_SEQ_CST) == 0)
		explore_relax();
}

void dispatch_wake(struct thrum__driver *driver)
{
	__atomic_exchange_n(called(driver), 1, __ATOMIC_SEQ_CST);
}

/* ---------------------------------------------------------------- the roles */

static void end_of_all(void)
{
	__atomic_store_n(&world.runtime.done, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < play->machines; i++)
		dispatch_wake(world.processors[i].driver);
	subject->monitor_wake(&world.runtime);
}

static struct thrum_thread *prepare(unsigned number)
{
	explore_plain_write(&world.threads[number].id);
	return &world.threads[number];
}

static void run_first(struct thrum__processor *processor)
{
	if (play->first.spawns != 0)
		subject->spawned(processor, prepare(play->first.spawns));
	if (play->first.wakes != 0)
		subject->woken(processor, prepare(play->first.wakes));
	if (play->first.wakes_too != 0)
		subject->woken(processor, prepare(play->first.wakes_too));
	int other = play->first.waits_for;
	uint32_t *flag = other == TICK_OF_MONITOR ? &world.ticks : &world.ran[other];
	while (other != 0 && __atomic_load_n(flag, __ATOMIC_ACQUIRE) == 0)
		explore_relax();
}

static void run(struct thrum_thread *thread)
{
	size_t number = (size_t)(thread - world.threads);
	if (number >= play->threads)
		explore_fail("dispatched what is no thread");
	explore_plain_read(&thread->id);
	if (number == 0)
		run_first(&world.processors[explore_self()]);
	if (__atomic_exchange_n(&world.ran[number], 1, __ATOMIC_ACQ_REL) != 0)
		explore_fail("thread %zu ran twice", number);
	if (__atomic_fetch_sub(&world.left, 1, __ATOMIC_ACQ_REL) == 1)
		end_of_all();
}

static void machine_main(unsigned self)
{
	struct thrum_thread *thread;
	while ((thread = subject->dispatch(&world.machines[self])) != NULL)
		run(thread);
}

/* Of the monitor's duties: to be awake when a machine is, and to call thieves for what waits. */
static void monitor_main(void)
{
	struct thrum__runtime *runtime = &world.runtime;
	while (!__atomic_load_n(&runtime->done, __ATOMIC_ACQUIRE)) {
		if (subject->all_idle(runtime))
			subject->monitor_sleep(runtime, -1);
		if (subject->all_idle(runtime))
			continue;
		__atomic_store_n(&world.ticks, 1, __ATOMIC_RELEASE);
		for (unsigned i = 0; i < play->machines; i++)
			if (!thrum__deque_empty(&world.processors[i].deque) ||
				__atomic_load_n(&world.processors[i].slot, __ATOMIC_RELAXED) !=
					NULL)
				subject->notify(runtime);
		explore_relax(); /* until something has changed */
	}
}

static void submit(unsigned number)
{
	struct thrum_thread *thread = prepare(number);
	if (play->to[number] == INJECT)
		subject->ready(thread);
	else
		subject->mail(&world.processors[play->to[number]], thread);
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	if (self < play->machines)
		machine_main(self);
	else if (self < play->machines + play->submitters)
		submit(self - play->machines);
	else
		monitor_main();
}

static void name_all(void)
{
	explore_name(&world.runtime.inject, "inject");
	explore_name(&world.runtime.idlers.searching, "searching");
	explore_name(&world.runtime.idlers.count, "idle count");
	explore_name(&world.runtime.idlers.lock, "idle lock");
	explore_name(&world.runtime.done, "done");
	explore_name(&world.runtime.visitors, "visitors");
	explore_name(&world.runtime.monitor.asleep, "asleep");
	explore_name(world.called, "called");
	explore_name(world.ran, "ran");
	explore_name(&world.left, "left");
	explore_name(&world.ticks, "ticks");
	for (unsigned i = 0; i < play->machines; i++) {
		static const char *const names[][6] = {
			{"deque 0", "inbox 0", "slot 0", "urgent 0", "mail 0", "machine 0"},
			{"deque 1", "inbox 1", "slot 1", "urgent 1", "mail 1", "machine 1"}};
		struct thrum__processor *processor = &world.processors[i];
		explore_name(&processor->deque, names[i][0]);
		explore_name(&processor->inbox, names[i][1]);
		explore_name(&processor->slot, names[i][2]);
		explore_name(&processor->urgent, names[i][3]);
		explore_name(&processor->mail, names[i][4]);
		explore_name(&world.machines[i], names[i][5]);
	}
}

static void setup(void *unused)
{
	(void)unused;
	bool alone = play->machines == 1;
	world.runtime.count = play->machines;
	world.runtime.processors = world.processors;
	world.left = play->threads;
	for (unsigned i = 0; i < play->machines; i++) {
		struct thrum__processor *processor = &world.processors[i];
		processor->index = i;
		processor->random = i;
		processor->runtime = &world.runtime;
		processor->next_timer = INT64_MAX;
		processor->countdown = 30; /* no turn is due */
		processor->tokens = 1;
		processor->alone = alone;
		processor->driver = (struct thrum__driver *)&world.called[i];
		ck_assert_int_eq(subject->deque_init(&processor->deque, 4, alone), 0);
		ck_assert_int_eq(subject->deque_init(&processor->inbox, 4, alone), 0);
		world.machines[i].processor = processor;
		world.machines[i].runtime = &world.runtime;
		world.machines[i].claim.state = THRUM__RUNTIME;
	}
	for (unsigned i = 0; i < play->threads; i++)
		world.threads[i].runtime = &world.runtime;
	name_all();
	if (play->submitters == 0)
		subject->spawned(&world.processors[0], &world.threads[0]);
}

static void check(void *unused)
{
	(void)unused;
	if (world.runtime.idlers.searching != 0 || world.runtime.idlers.count != 0)
		explore_fail("at the end %u search and %u are idle", world.runtime.idlers.searching,
			world.runtime.idlers.count);
}

/* ---------------------------------------------------------------- tests */

static struct explore_scenario scenario_of(int i)
{
	play = &plays[i];
	return (struct explore_scenario){.name = play->name,
		.threads = play->machines + play->submitters + play->monitor,
		.world = &world,
		.size = sizeof(world),
		.setup = setup,
		.body = body,
		.check = check};
}

START_TEST(whatever_is_submitted_runs)
{
	struct explore_scenario scenario = scenario_of(_i);
	subject = (const struct dispatch_subject *)subject_real("dispatch");
	struct explore_result result = explore(&scenario, MOST, RANDOM);
	ck_assert_msg(!result.found, "%s: %s", play->name, result.why);
}
END_TEST

START_TEST(a_mutant_is_found)
{
	subject = (const struct dispatch_subject *)subject_mutant("dispatch", _i);
	for (int i = 0; i < (int)thrum__countof(plays); i++) {
		struct explore_scenario scenario = scenario_of(i);
		if (subject_exposed(&subject->subject, &scenario, MOST, RANDOM))
			return;
	}
	subject_survives(&subject->subject);
}
END_TEST

Suite *suite_dispatch(void)
{
	Suite *suite = suite_create("explore/dispatch");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(basic, whatever_is_submitted_runs, 0, (int)thrum__countof(plays));
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("dispatch"));
	suite_add_tcase(suite, basic);
	return suite;
}
