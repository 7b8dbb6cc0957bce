/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>

#include "hooks.h"

#include "explore.h"
#include "subject_join.h"

/*
 * Ending and joining: a child's end, on one machine, against its joiner on another, a deadline, a
 * canceller, one who walks over all threads to cancel them, and the one who gets the processor when
 * the child was carried and it is taken.
 *
 * The joiner returns, with the child's result or a reason; the child is freed once, and nobody
 * touches it after that; nobody touches the wait, which lies on the joiner's stack, after join
 * has returned.
 */

enum role { NOBODY, JOINER, CHILD, CLOCK, CANCELLER, TAKER, WALKER };
enum { DEADLINE = 5, LATER = 2 << THRUM__TICK_SHIFT }; /* less than a tick, more than one */

enum carried {
	NOT,      /* the child runs elsewhere */
	ENDS,     /* the joiner runs it, and it ends */
	SUSPENDS, /* the joiner runs it, it suspends, and ends later, elsewhere */
	TAKEN     /* the joiner runs it, and the processor goes to another machine meanwhile */
};

static const struct cast {
	const char *name;
	enum role role[EXPLORE_THREADS];
	enum carried carried;
	bool timed;
} casts[] = {
	{"a join", {JOINER, CHILD}, NOT, false},
	{"a join with a deadline", {JOINER, CHILD, CLOCK}, NOT, true},
	{"a join that is cancelled", {JOINER, CHILD, CANCELLER}, NOT, false},
	{"a join, and one who walks over all threads", {JOINER, CHILD, WALKER}, NOT, false},
	{"a carried child", {JOINER}, ENDS, false},
	{"a carried child and a deadline", {JOINER, CLOCK}, ENDS, true},
	{"a carried child and a canceller", {JOINER, CANCELLER}, ENDS, false},
	{"a carried child suspends", {JOINER, CHILD}, SUSPENDS, false},
	{"a carried child suspends, a deadline", {JOINER, CHILD, CLOCK}, SUSPENDS, true},
	{"a carried child suspends, a canceller", {JOINER, CHILD, CANCELLER}, SUSPENDS, false},
	{"a carried child's processor is taken", {JOINER, CHILD, TAKER}, TAKEN, false},
	{"a carried child's processor is taken, a deadline", {JOINER, CHILD, TAKER, CLOCK}, TAKEN,
		true},
	{"a carried child's processor is taken, a canceller", {JOINER, CHILD, TAKER, CANCELLER},
		TAKEN, false},
};

static struct world {
	struct thrum__runtime runtime;
	struct thrum__processor processors[2];
	struct thrum__machine machines[2];
	struct thrum_thread joiner, child;
	struct thrum_thread *chain;             /* of the carried, for who takes the processor */
	uint32_t runnable, started, over, late; /* atomic */
	bool cancelled, child_ran;
} world;

static const struct join_subject *subject;
static const struct cast *cast;
static char child_result;

/* ---------------------------------------------------------------- the stage */

static enum role role(void)
{
	return cast->role[explore_self()];
}

struct thrum__machine *join_machine_self(void)
{
	return role() == JOINER ? &world.machines[0] : role() == CHILD ? &world.machines[1] : NULL;
}

void join_ready(struct thrum_thread *thread)
{
	if (thread != &world.joiner)
		explore_fail("somebody else was made runnable");
	if (__atomic_exchange_n(&world.runnable, 1, __ATOMIC_ACQ_REL) != 0)
		explore_fail("made runnable twice");
}

static void child_runs(void)
{
	explore_plain_write(&world.child.arg);
	world.child.arg = &child_result;
	world.child_ran = true;
}

/* machine.c's, for a chain of one. */
static void publish_chain(struct thrum_thread *chain)
{
	if (chain != NULL && !thrum__parker_park(&chain->parker))
		join_ready(chain);
}

/* The joiner switches away. Returns when it runs again. */
struct thrum__machine *join_suspend(struct thrum__machine *machine, struct thrum_thread *self,
	enum thrum__action action, struct thrum_thread *next)
{
	if (action == THRUM__ACT_CARRY) {
		CHECK(next == &world.child && machine->carried == self);
		machine->carried = NULL;
		if (cast->carried == ENDS) {
			thrum__leave(machine);
			child_runs();
			thrum__enter(machine);
			machine->action = THRUM__ACT_RETURN;
			subject->end_carried(machine, next);
			return machine;
		}
		machine->action = THRUM__ACT_PARK; /* somebody else's, when we are back */
		world.chain = self;
		if (cast->carried == SUSPENDS)
			publish_chain(self);
		__atomic_store_n(&world.started, 1, __ATOMIC_RELEASE);
	} else if (!thrum__parker_park(&self->parker)) {
		return machine;
	}
	while (__atomic_load_n(&world.runnable, __ATOMIC_ACQUIRE) == 0)
		explore_relax();
	__atomic_store_n(&world.runnable, 0, __ATOMIC_RELAXED);
	return machine;
}

thrum_deadline join_now(void)
{
	return __atomic_load_n(&world.late, __ATOMIC_RELAXED) ? LATER : 0;
}

bool join_enter_slow(struct thrum__machine *machine)
{
	(void)machine;
	return true;
}

bool join_claim_enter_slow(struct thrum__claim *claim)
{
	(void)claim;
	return true;
}

/* ---------------------------------------------------------------- the roles */

/* The stack on which a wait lay is used for something else. */
__attribute__((noinline)) static void scribble(void)
{
	char area[1024] __attribute__((aligned(8)));
	for (size_t i = 0; i < sizeof(area); i += 4)
		explore_plain_write(&area[i]);
}

/* Freed, the child's memory becomes another thread. */
static void reuse(void)
{
	explore_plain_write(&world.child.arg);
	explore_plain_write(&world.child.name);
}

static void reuse_from(struct thrum__processor *processor)
{
	if (processor->free_count == 0)
		return;
	if (processor->free_count > 1 || processor->free_threads != &world.child)
		explore_fail("freed twice");
	reuse();
}

static void joiner(void)
{
	void *result = NULL;
	int err = subject->join(&world.child, &result, cast->timed ? DEADLINE : THRUM_FOREVER);
	if (err == 0) {
		if (result != &child_result)
			explore_fail("join brought another result");
	} else if ((err == -ETIMEDOUT && cast->timed) || (err == -ECANCELED && world.cancelled)) {
		scribble();
		subject->detach(&world.child);
	} else {
		explore_fail("join returned %d", err);
	}
	reuse_from(&world.processors[0]);
	__atomic_store_n(&world.started, 1, __ATOMIC_RELEASE); /* cancelled, it carried nobody */
	__atomic_store_n(&world.over, 1, __ATOMIC_RELEASE);
}

static void wait_started(void)
{
	while (__atomic_load_n(&world.started, __ATOMIC_ACQUIRE) == 0)
		explore_relax();
}

static void child(void)
{
	if (cast->carried != NOT)
		wait_started();
	child_runs();
	subject->end(&world.machines[1], &world.child);
	reuse_from(&world.processors[1]);
}

static void clock_moves(void)
{
	__atomic_store_n(&world.late, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&world.over, __ATOMIC_ACQUIRE) == 0) {
		subject->fire(&world.processors[0]);
		explore_relax();
	}
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	(void)self;
	switch (role()) {
	case JOINER:
		joiner();
		break;
	case CHILD:
		child();
		break;
	case CLOCK:
		clock_moves();
		break;
	case CANCELLER:
		world.cancelled = true;
		subject->cancel(&world.joiner);
		break;
	case TAKER:
		wait_started();
		publish_chain(world.chain);
		break;
	case WALKER:
		subject->cancel_in(&world.child, &world.runtime);
		if (*subject->free_list == &world.child)
			reuse();
		break;
	case NOBODY:
		break;
	}
}

static void setup(void *unused)
{
	(void)unused;
	*subject->free_list = NULL;
	for (int i = 0; i < 2; i++) {
		world.machines[i].runtime = &world.runtime;
		world.machines[i].processor = &world.processors[i];
		world.processors[i].runtime = &world.runtime;
		world.processors[i].next_timer = INT64_MAX;
	}
	world.runtime.processors = world.processors;
	world.runtime.count = 2;
	world.machines[0].claim.state = THRUM__USER;
	world.machines[0].current = &world.joiner;
	world.machines[1].claim.state = THRUM__RUNTIME;
	if (cast->carried == TAKEN) /* the child runs on where it was */
		world.machines[1].processor = NULL;
	world.joiner.parker.green = world.child.parker.green = true;
	world.joiner.runtime = world.child.runtime = &world.runtime;
	world.joiner.refs = world.child.refs = 1;
	world.child.home = 1;
	world.child.started = true;
	world.processors[0].countdown = 100; /* no turn is due */
	ck_assert_int_eq(subject->deque_init(&world.processors[0].deque, 4, false), 0);
	ck_assert_int_eq(subject->deque_init(&world.processors[0].inbox, 4, false), 0);
	if (cast->carried != NOT)
		ck_assert(subject->deque_push(&world.processors[0].deque, &world.child));
	explore_name(&world.joiner.parker.word, "joiner's word");
	explore_name(&world.child.joiner, "joiner");
	explore_name(&world.child.refs, "refs");
	explore_name(&world.runnable, "runnable");
	explore_name(&world.started, "started");
	explore_name(&world.over, "over");
	explore_name(&world.late, "late");
}

static void check(void *unused)
{
	(void)unused;
	if (!world.child_ran && world.cancelled) /* it still lies in its queue */
		return;
	if (world.child.refs != 0)
		explore_fail("the child was never freed");
}

/* ---------------------------------------------------------------- tests */

static struct explore_scenario scenario_of(int i)
{
	cast = &casts[i];
	unsigned threads = 0;
	while (threads < EXPLORE_THREADS && cast->role[threads] != NOBODY)
		threads++;
	return (struct explore_scenario){.name = cast->name,
		.threads = threads,
		.world = &world,
		.size = sizeof(world),
		.setup = setup,
		.body = body,
		.check = check};
}

enum { MOST = 160000, RANDOM = 5000 };

START_TEST(a_join_returns_and_the_thread_is_freed_once)
{
	struct explore_scenario scenario = scenario_of(_i);
	subject = (const struct join_subject *)subject_real("join");
	struct explore_result result = explore(&scenario, MOST, RANDOM);
	ck_assert_msg(!result.found, "%s: %s", cast->name, result.why);
}
END_TEST

START_TEST(a_mutant_is_found)
{
	subject = (const struct join_subject *)subject_mutant("join", _i);
	for (int i = 0; i < (int)thrum__countof(casts); i++) {
		struct explore_scenario scenario = scenario_of(i);
		if (subject_exposed(&subject->subject, &scenario, MOST, 0))
			return;
	}
	subject_survives(&subject->subject);
}
END_TEST

Suite *suite_join(void)
{
	Suite *suite = suite_create("explore/join");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(
		basic, a_join_returns_and_the_thread_is_freed_once, 0, (int)thrum__countof(casts));
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("join"));
	suite_add_tcase(suite, basic);
	return suite;
}
