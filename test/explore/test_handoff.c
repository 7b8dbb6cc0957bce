/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "hooks.h"

#include "explore.h"
#include "subject_handoff.h"

/*
 * A hand-off from end to end: a machine whose thread goes in and out of the runtime, a monitor
 * that takes its processor for a spare, and the thread, which finds out, leaves its machine and
 * goes on where the processor is, by its mail if that one is idle, else by the inject queue.
 *
 * The processor is never used by two, and each sees what the one before did; the thread goes on
 * once; in the end every machine ends.
 */

enum { ROUNDS = 2 };
enum { HOG, SPARE, MONITOR, THREADS };

static struct world {
	struct thrum__runtime runtime;
	struct thrum__processor processor;
	struct thrum__machine machines[2];
	struct thrum_thread thread;
	uint32_t called; /* atomic: the driver's */
	uint64_t data;   /* the processor's */
	unsigned users, went_on;
} world;

static const struct handoff_subject *subject;
static bool fenced; /* no membarrier: the fallback */

/* ---------------------------------------------------------------- the stage */

thrum_deadline handoff_now(void)
{
	return 0;
}

/* As in machine.c. */
bool handoff_enter_slow(struct thrum__machine *machine)
{
	if (!(__atomic_load_n(&machine->claim.word, __ATOMIC_RELAXED) & THRUM__CLAIM_TAKEN))
		return true;
	machine->processor = NULL;
	return false;
}

void handoff_wake(struct thrum__driver *driver)
{
	(void)driver;
	__atomic_exchange_n(&world.called, 1, __ATOMIC_SEQ_CST);
}

static void notify(void)
{
	if (subject->call_any(&world.runtime.idlers) != NULL)
		handoff_wake(NULL);
}

void handoff_inject(struct thrum__runtime *runtime, struct thrum_thread *thread)
{
	subject->push(&runtime->inject, thread);
	notify();
}

static void use(void)
{
	if (world.users++ != 0)
		explore_fail("two use the processor at once");
	explore_plain_read(&world.data);
	explore_plain_write(&world.data);
	world.data++;
	uint64_t count = __atomic_load_n(&world.processor.counters.dispatches, __ATOMIC_RELAXED);
	__atomic_store_n(&world.processor.counters.dispatches, count + 1, __ATOMIC_RELAXED);
	world.users--;
}

/* ---------------------------------------------------------------- machines */

static void end_of_all(void)
{
	__atomic_store_n(&world.runtime.done, true, __ATOMIC_RELEASE);
	handoff_wake(NULL);
	subject->finish(&world.runtime);
}

static void idle(void)
{
	struct thrum__idlers *idlers = &world.runtime.idlers;
	subject->idle_enter(idlers, &world.processor.idler);
	bool stay = thrum__queue_count(&world.runtime.inject) == 0 &&
		    thrum__queue_count(&world.processor.mail) == 0 &&
		    !__atomic_load_n(&world.runtime.done, __ATOMIC_ACQUIRE);
	while (stay && __atomic_exchange_n(&world.called, 0, __ATOMIC_SEQ_CST) == 0)
		explore_relax();
	if (subject->idle_leave(idlers, &world.processor.idler, !stay))
		subject->search_stop(idlers, false);
}

/* Until the runtime is done. */
static void run_processor(void)
{
	for (;;) {
		use();
		struct thrum_thread *thread = subject->take(&world.processor.mail, 1);
		if (thread == NULL)
			thread = subject->take(&world.runtime.inject, 1);
		if (thread != NULL) {
			explore_plain_read(&thread->arg);
			if (world.went_on++ > 0)
				explore_fail("the thread goes on twice");
			use();
			end_of_all();
		}
		if (__atomic_load_n(&world.runtime.done, __ATOMIC_ACQUIRE))
			return;
		idle();
	}
}

static void hog(struct thrum__machine *machine)
{
	for (int i = 0; i < ROUNDS; i++) {
		use();
		subject->leave(machine);
		explore_plain_write(&world.thread.arg); /* the thread's own doings */
		if (!subject->enter(machine)) {
			subject->rejoin(machine, &world.thread);
			if (subject->wait(machine))
				run_processor();
			return;
		}
	}
	use();
	end_of_all();
}

static void monitor(void)
{
	struct thrum__machine *to = subject->spare_take(&world.runtime);
	if (to != NULL && !subject->handoff(&world.processor, &world.machines[HOG], to))
		subject->spare_put(to);
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	if (self == HOG)
		hog(&world.machines[HOG]);
	else if (self == MONITOR)
		monitor();
	else if (subject->wait(&world.machines[SPARE]))
		run_processor();
}

static void setup(void *unused)
{
	(void)unused;
	struct thrum__runtime *runtime = &world.runtime;
	runtime->fenced = fenced ? THRUM__CLAIM_FENCED : 0;
	runtime->detached_max = 1;
	runtime->count = 1;
	runtime->processors = &world.processor;
	runtime->machines = &world.machines[HOG];
	runtime->spares = &world.machines[SPARE];
	runtime->spare_count = 1;
	world.machines[HOG].all = &world.machines[SPARE];
	for (int i = 0; i < 2; i++) {
		world.machines[i].runtime = runtime;
		world.machines[i].claim.state = THRUM__RUNTIME;
		world.machines[i].claim.word = runtime->fenced;
	}
	world.machines[HOG].processor = world.machines[HOG].home = &world.processor;
	world.machines[SPARE].claim.word |= THRUM__CLAIM_TAKEN;
	world.machines[SPARE].waiting = true;
	world.processor.runtime = runtime;
	world.processor.machine = &world.machines[HOG];
	explore_name(&world.machines[HOG].claim.state, "hog's state");
	explore_name(&world.machines[HOG].claim.word, "hog's word");
	explore_name(&world.machines[HOG].baton, "hog's baton");
	explore_name(&world.machines[SPARE].claim.state, "spare's state");
	explore_name(&world.machines[SPARE].claim.word, "spare's word");
	explore_name(&world.machines[SPARE].baton, "spare's baton");
	explore_name(&runtime->machine_lock, "machine lock");
	explore_name(&runtime->inject, "inject");
	explore_name(&runtime->idlers, "idlers");
	explore_name(&runtime->done, "done");
	explore_name(&world.processor.mail, "mail");
	explore_name(&world.processor.urgent, "urgent");
	explore_name(&world.processor.machine, "machine");
	explore_name(&world.called, "called");
	explore_name(&world.data, "data");
}

static const struct explore_scenario scenario = {.name = "a hand-off",
	.threads = THREADS,
	.world = &world,
	.size = sizeof(world),
	.setup = setup,
	.body = body};

enum { MOST = 60000, RANDOM = 15000 };

START_TEST(a_thread_whose_processor_is_taken_goes_on_once)
{
	subject = (const struct handoff_subject *)subject_real("handoff");
	fenced = _i != 0;
	struct explore_result result = explore(&scenario, MOST, RANDOM);
	ck_assert_msg(!result.found, "%s", result.why);
}
END_TEST

START_TEST(a_mutant_is_found)
{
	subject = (const struct handoff_subject *)subject_mutant("handoff", _i);
	fenced = false;
	if (!subject_exposed(&subject->subject, &scenario, MOST, RANDOM))
		subject_survives(&subject->subject);
}
END_TEST

Suite *suite_handoff(void)
{
	Suite *suite = suite_create("explore/handoff");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(basic, a_thread_whose_processor_is_taken_goes_on_once, 0, 2);
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("handoff"));
	suite_add_tcase(suite, basic);
	return suite;
}
