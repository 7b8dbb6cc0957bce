/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>

#include "hooks.h"

#include "explore.h"
#include "subject_wait.h"

/*
 * Parking: a waiter on an object that counts signals, against wakers, a canceller and a clock. A
 * green thread's scheduler is played here: it parks the thread after the switch, and runs it again
 * when it has been made runnable.
 *
 * Nobody waits for ever, nobody is made runnable twice, no signal is lost or counted twice, and
 * nobody touches a wait after its park has returned.
 */

enum role { NOBODY, GREEN, GREEN_TIMED, OS, OS_TIMED, WAKER, CANCELLER, CLOCK };
enum { DEADLINE = 5, LATER = 2 << THRUM__TICK_SHIFT }; /* less than a tick, more than one */

static const struct cast {
	const char *name;
	enum role role[EXPLORE_THREADS];
	unsigned rounds; /* waits of each waiter */
	uint64_t most, random;
} casts[] = {
	{"a green thread and its waker", {GREEN, WAKER}, 1, 100000, 0},
	{"two waits, two wakers", {GREEN, WAKER, WAKER}, 2, 300000, 0},
	{"a waker and a canceller", {GREEN, WAKER, CANCELLER}, 1, 300000, 0},
	{"two cancellers", {GREEN, CANCELLER, CANCELLER}, 2, 300000, 0},
	{"a waker and a deadline", {GREEN_TIMED, WAKER, CLOCK}, 1, 300000, 0},
	{"a canceller and a deadline", {GREEN_TIMED, CANCELLER, CLOCK}, 1, 300000, 0},
	{"an OS thread, two waits, two wakers", {OS, WAKER, WAKER}, 2, 300000, 0},
	{"an OS thread, a waker and a deadline", {OS_TIMED, WAKER}, 2, 300000, 0},
	{"a waker, a canceller and a deadline, twice", {GREEN_TIMED, WAKER, CANCELLER, CLOCK}, 2,
		20000, 10000},
};

static struct world {
	struct thrum__machine machine;
	struct thrum__processor processor;
	struct thrum_thread thread;
	struct thrum__parker os;
	uint32_t runnable; /* atomic */
	uint32_t over;     /* atomic: the waiter has ended */
	uint32_t late;     /* atomic: the clock has moved on */
	/* the object */
	struct thrum__lock lock;
	unsigned signals;
	struct thrum__wait *waiter;
	/* known to the test alone */
	struct thrum__wait wait;
	uint64_t payload;
	unsigned sent, received, cancels, looks;
} world;

static const struct wait_subject *subject;
static const struct cast *cast;

/* ---------------------------------------------------------------- the stage */

static enum role role(void)
{
	return cast->role[explore_self()];
}

struct thrum__machine *stage_machine(void)
{
	return role() == GREEN || role() == GREEN_TIMED ? &world.machine : NULL;
}

/* The switch away, finish_left, and the switch back (machine.c). */
struct thrum__machine *stage_suspend(struct thrum__machine *machine, struct thrum_thread *self,
	enum thrum__action action, struct thrum_thread *next)
{
	CHECK(action == THRUM__ACT_PARK && next == NULL);
	if (!subject->park_word(&self->parker))
		return machine;
	while (__atomic_load_n(&world.runnable, __ATOMIC_ACQUIRE) == 0)
		explore_relax();
	__atomic_store_n(&world.runnable, 0, __ATOMIC_RELAXED);
	return machine;
}

bool stage_enter_slow(struct thrum__machine *machine)
{
	(void)machine;
	CHECK(!"nobody takes the processor here");
	return false;
}

bool stage_claim_enter_slow(struct thrum__claim *claim)
{
	(void)claim;
	return false;
}

void stage_ready(struct thrum_thread *thread)
{
	(void)thread;
	if (__atomic_exchange_n(&world.runnable, 1, __ATOMIC_ACQ_REL) != 0)
		explore_fail("made runnable twice");
}

/* An OS thread that sleeps until its deadline finds that time has passed when it looks again. */
thrum_deadline stage_now(void)
{
	if (role() == OS_TIMED)
		return world.looks++ == 0 ? 0 : LATER;
	return __atomic_load_n(&world.late, __ATOMIC_RELAXED) ? LATER : 0;
}

/* ---------------------------------------------------------------- the roles */

static bool take_signal(void)
{
	explore_plain_read(&world.signals);
	if (world.signals == 0)
		return false;
	explore_plain_write(&world.signals);
	world.signals--;
	world.received++;
	return true;
}

/* What the wait lies on is used for something else now. */
static void reuse(struct thrum__wait *wait)
{
	explore_plain_write(&wait->state);
	explore_plain_write(&wait->result);
	explore_plain_write(&wait->parker);
}

static void wait_init(struct thrum__wait *wait)
{
	if (stage_machine() != NULL) {
		subject->init(wait);
	} else {
		reuse(wait);
		*wait = (struct thrum__wait){.parker = &world.os};
	}
	explore_plain_write(&world.waiter);
	world.waiter = wait;
}

static void wait_once(void)
{
	struct thrum__wait *wait = &world.wait;
	bool timed = role() == GREEN_TIMED || role() == OS_TIMED;
	thrum__lock(&world.lock);
	bool took = take_signal();
	if (!took)
		wait_init(wait);
	thrum__unlock(&world.lock);
	if (took)
		return;
	world.looks = 0;
	int result = subject->park(wait, "test", timed ? DEADLINE : THRUM_FOREVER);
	if (result == 1) {
		explore_plain_read(&world.payload);
		world.received++;
	} else if (!(result == -ECANCELED && world.cancels > 0) &&
		   !(result == -ETIMEDOUT && timed)) {
		explore_fail("park returned %d", result);
	}
	thrum__lock(&world.lock);
	if (world.waiter == wait) {
		if (result == 1)
			explore_fail("a claimed wait is still queued");
		explore_plain_write(&world.waiter);
		world.waiter = NULL;
	}
	thrum__unlock(&world.lock);
	reuse(wait);
}

static void waker(void)
{
	thrum__lock(&world.lock);
	explore_plain_read(&world.waiter);
	struct thrum__wait *wait = world.waiter;
	world.sent++;
	if (wait != NULL) {
		explore_plain_write(&world.waiter);
		world.waiter = NULL;
		explore_plain_write(&world.payload);
	}
	if (wait == NULL || !subject->claim(wait, 1)) {
		explore_plain_write(&world.signals);
		world.signals++;
		wait = NULL;
	}
	thrum__unlock(&world.lock);
	if (wait != NULL)
		subject->wake(wait);
}

/* What thrum_cancel does. */
static void canceller(void)
{
	world.cancels++;
	if (__atomic_exchange_n(&world.thread.cancelled, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	if (subject->signal(&world.thread.parker, THRUM__KNOCKED))
		stage_ready(&world.thread);
}

static void clock_moves(void)
{
	__atomic_store_n(&world.late, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&world.over, __ATOMIC_ACQUIRE) == 0) {
		subject->fire(&world.processor);
		explore_relax();
	}
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	(void)self;
	switch (role()) {
	case WAKER:
		waker();
		return;
	case CANCELLER:
		canceller();
		return;
	case CLOCK:
		clock_moves();
		return;
	default:
		for (unsigned i = 0; i < cast->rounds; i++)
			wait_once();
		__atomic_store_n(&world.over, 1, __ATOMIC_RELEASE);
	}
}

static void setup(void *unused)
{
	(void)unused;
	world.machine.processor = &world.processor;
	world.machine.current = &world.thread;
	world.thread.parker.green = true;
	world.machine.claim.state = THRUM__USER;
	world.processor.next_timer = INT64_MAX;
	explore_name(&world.thread.parker.word, "word");
	explore_name(&world.os.word, "word");
	explore_name(&world.thread.cancelled, "cancelled");
	explore_name(&world.runnable, "runnable");
	explore_name(&world.processor.next_timer, "next_timer");
	explore_name(&world.processor.timer_lock, "timer_lock");
	explore_name(&world.lock, "lock");
	explore_name(&world.wait, "wait");
	explore_name(&world.over, "over");
	explore_name(&world.late, "late");
}

static void check(void *unused)
{
	(void)unused;
	if (world.sent != world.received + world.signals)
		explore_fail("%u signals sent, %u received, %u left", world.sent, world.received,
			world.signals);
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

START_TEST(nobody_waits_for_ever_and_no_signal_is_lost)
{
	struct explore_scenario scenario = scenario_of(_i);
	subject = (const struct wait_subject *)subject_real("wait");
	struct explore_result result = explore(&scenario, cast->most, cast->random);
	ck_assert_msg(!result.found, "%s: %s", cast->name, result.why);
	ck_assert(result.complete || cast->random > 0 || explore_is_partial());
}
END_TEST

START_TEST(a_mutant_is_found)
{
	subject = (const struct wait_subject *)subject_mutant("wait", _i);
	for (int i = 0; i < (int)thrum__countof(casts); i++) {
		struct explore_scenario scenario = scenario_of(i);
		if (subject_exposed(&subject->subject, &scenario, casts[i].most, 0))
			return;
	}
	subject_survives(&subject->subject);
}
END_TEST

Suite *suite_wait(void)
{
	Suite *suite = suite_create("explore/wait");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(
		basic, nobody_waits_for_ever_and_no_signal_is_lost, 0, (int)thrum__countof(casts));
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("wait"));
	suite_add_tcase(suite, basic);
	return suite;
}
