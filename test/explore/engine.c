/* SPDX-License-Identifier: MIT */
#include "explore_internal.h"

#include <stdarg.h>

/*
 * Problem.  A race shows on a real machine once in a million runs, and the barrier that is missing
 * does not show on x86 at all. So the lock-free parts are run here by virtual threads, contexts of
 * our own on one OS thread, and every decision that hardware and kernel would take by chance is
 * taken by us: who is next (before each atomic operation, lock, fence and futex call), and which
 * of the values that the memory model allows a load returns (memory.c).
 *
 * Search.  An execution is a list of choices. Depth first: run; take the last choice that has an
 * untried alternative; run again with the same choices up to there. Random: choices by a seeded
 * generator, biased to let a thread run on and to read the newest value by a measure that changes
 * from execution to execution, so that both long and short stretches occur.
 *
 * States.  What a thread will do depends only on what it has seen: its *history*, a hash of its
 * steps and their results. What memory holds, and what each thread may still read, is in turn
 * decided by the histories of all, because each step notes its place in the order of its location,
 * lock or fence. So two executions that reach the same set of histories have the same future, and
 * the second one stops there. Histories only grow: there are no cycles. (A collision of the 64-bit
 * hash would hide a state: with a million states, less than one chance in ten million.) What a
 * scenario notes on the side must follow from what its threads have seen, too.
 *
 * Findings.  The scenario's own checks; a data race (race.c); a CHECK or ASSERT in the source; all
 * threads blocked, which is what a lost wakeup looks like; an execution without end.
 *
 * Limits.  Code between two steps is one unit: a compiler that reorders is not modelled, only the
 * machine. A load never returns what is stored later (load buffering), and stores to one location
 * take effect in the order they are executed: memory.c says why we can do without.
 *
 * Files.  search.c: choices and states. memory.c, atomic.c: the memory model. race.c: plain
 * accesses. sync.c: locks, futexes, spinning, allocation. report.c: traces. subject_*.c: sources of
 * the library under test; in mutants/, the same with one fault each, all of which must be found.
 *
 * Tests.  test_engine.c: the litmus tests of the memory model, each with exactly the outcomes it
 * must have, and planted races and deadlocks.
 */

enum { MAX_STEPS = 4000, STACK_SIZE = 64 * 1024 };

enum outcome { ENDED, PRUNED, FOUND };

static struct {
	const struct explore_scenario *scenario;
	struct virtual threads[EXPLORE_THREADS], *current;
	struct thrum__ctx main;
	bool skips; /* executions end where they reach a known state */
	enum outcome outcome;
	unsigned steps;
	uint64_t prelude; /* history of what was chosen outside of the threads */
	char why[256];
} engine;

static char stacks[EXPLORE_THREADS][STACK_SIZE] __attribute__((aligned(STACK_SIZE)));

/* ---------------------------------------------------------------- leaving an execution */

static void stop(enum outcome outcome)
{
	struct virtual *self = engine.current;
	engine.outcome = outcome;
	engine.current = NULL;
	thrum__ctx_switch(&self->ctx, &engine.main, NULL);
	__builtin_unreachable();
}

static void found(const char *format, va_list args)
{
	if (engine.outcome == FOUND)
		return; /* the first one is the cause */
	vsnprintf(engine.why, sizeof(engine.why), format, args);
	report_line("FOUND: %s", engine.why);
	engine.outcome = FOUND;
}

void engine_fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	found(format, args);
	va_end(args);
	CHECK(engine.current != NULL);
	stop(FOUND);
	__builtin_unreachable();
}

void explore_fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	found(format, args);
	va_end(args);
	if (engine.current != NULL)
		stop(FOUND);
}

/* ---------------------------------------------------------------- states */

/* Everything that decides what can still happen. */
static uint64_t state_hash(void)
{
	uint64_t hash = engine.prelude;
	for (unsigned i = 0; i < engine.scenario->threads; i++) {
		const struct virtual *thread = &engine.threads[i];
		hash = engine_mix(hash, thread->history);
		hash = engine_mix(hash, thread->ended | (unsigned)thread->woken << 1);
	}
	return hash;
}

unsigned explore_choose(unsigned count)
{
	unsigned choice = search_choose(CHOOSE_OTHER, count);
	engine_note(count, choice);
	return choice;
}

/* ---------------------------------------------------------------- threads */

struct virtual *engine_current(void)
{
	return engine.current;
}

struct virtual *engine_thread(unsigned index)
{
	return &engine.threads[index];
}

unsigned engine_threads(void)
{
	return engine.scenario->threads;
}

unsigned explore_self(void)
{
	return engine.current == NULL ? EXPLORE_THREADS
				      : (unsigned)(engine.current - engine.threads);
}

bool engine_on_own_stack(const void *address)
{
	uintptr_t base = (uintptr_t)stacks[explore_self()];
	return (uintptr_t)address - base < STACK_SIZE;
}

void engine_note(uint64_t a, uint64_t b)
{
	uint64_t *history = engine.current != NULL ? &engine.current->history : &engine.prelude;
	*history = engine_mix(engine_mix(*history, a), b);
}

static bool runnable(const struct virtual *thread)
{
	if (thread->ended)
		return false;
	switch (thread->waiting) {
	case WAIT_LOCK:
		return sync_lock_free(thread->waits_for);
	case WAIT_FUTEX:
		return thread->woken;
	case WAIT_CHANGE:
		return memory_glance_changed(thread);
	case WAIT_FUTEX_TIMED:
	case WAIT_NOT:
		break;
	}
	return true;
}

/* Who is next; NULL: nobody can. Alternative 0 is that the running thread goes on. */
static struct virtual *pick(void)
{
	struct virtual *able[EXPLORE_THREADS];
	unsigned count = 0;
	if (runnable(engine.current))
		able[count++] = engine.current;
	for (unsigned i = 0; i < engine.scenario->threads; i++)
		if (&engine.threads[i] != engine.current && runnable(&engine.threads[i]))
			able[count++] = &engine.threads[i];
	if (count == 0)
		return NULL;
	if (engine.skips && !search_is_replaying() && !search_is_new(state_hash()))
		stop(PRUNED);
	return able[search_choose(CHOOSE_THREAD, count)];
}

static void say_who_waits(void)
{
	char text[200];
	int length = 0;
	for (unsigned i = 0; i < engine.scenario->threads; i++) {
		const struct virtual *thread = &engine.threads[i];
		static const char *const kinds[] = {
			"", "the lock", "a futex", "a futex", "a change of"};
		if (!thread->ended)
			length += snprintf(text + length, sizeof(text) - (size_t)length,
				" thread %u for %s %s;", i, kinds[thread->waiting],
				report_name(thread->waits_for));
	}
	engine_fail("everybody waits:%s", text);
}

void engine_yield(void)
{
	struct virtual *self = engine.current;
	memory_flush_plain();
	if (++engine.steps > MAX_STEPS)
		engine_fail("no end after %d steps", MAX_STEPS);
	struct virtual *next = pick();
	if (next == NULL)
		say_who_waits();
	if (next == self)
		return;
	engine.current = next;
	thrum__ctx_switch(&self->ctx, &next->ctx, NULL);
}

void engine_wait(enum waiting why, const void *what)
{
	struct virtual *self = engine.current;
	self->waiting = why;
	self->waits_for = what;
	engine_yield();
	self->waiting = WAIT_NOT;
}

static struct thrum__ctx_next thread_main(void *arg, void *pass)
{
	struct virtual *self = arg;
	(void)pass;
	thrum__ctx_arrive(&self->ctx);
	engine_note(0, 0); /* started is another state than not started */
	engine.scenario->body(engine.scenario->world, explore_self());
	memory_flush_plain();
	self->ended = true;
	report_line("ends");
	bool all = true;
	for (unsigned i = 0; i < engine.scenario->threads; i++)
		all &= engine.threads[i].ended;
	if (all)
		stop(ENDED);
	struct virtual *next = pick();
	if (next == NULL)
		say_who_waits();
	engine.current = next;
	thrum__ctx_switch(&self->ctx, &next->ctx, NULL);
	__builtin_unreachable();
}

/* ---------------------------------------------------------------- executions */

static void run_threads(void)
{
	for (unsigned i = 0; i < engine.scenario->threads; i++) {
		struct virtual *thread = &engine.threads[i];
		struct thrum__stack stack = {.base = stacks[i], .size = STACK_SIZE};
		*thread = (struct virtual){.history = i + 1};
		thrum__fiber_unpoison(stacks[i], STACK_SIZE);
		thrum__ctx_init(&thread->ctx, &stack, thread_main, thread);
	}
	engine.current = &engine.threads[search_choose(CHOOSE_THREAD, engine.scenario->threads)];
	thrum__ctx_switch(&engine.main, &engine.current->ctx, NULL);
	for (unsigned i = 0; i < engine.scenario->threads; i++)
		thrum__ctx_fini(&engine.threads[i].ctx);
}

static enum outcome execute(void)
{
	const struct explore_scenario *scenario = engine.scenario;
	engine.steps = 0;
	engine.current = NULL;
	engine.outcome = ENDED;
	engine.prelude = 1;
	memset(scenario->world, 0, scenario->size);
	search_start();
	report_forget_names();
	memory_reset();
	race_reset();
	sync_reset();
	scenario->setup(scenario->world);
	run_threads();
	if (engine.outcome == ENDED && scenario->check != NULL)
		scenario->check(scenario->world);
	return engine.outcome;
}

static void begin(const struct explore_scenario *scenario, enum mode mode)
{
	CHECK(scenario->threads > 0 && scenario->threads <= EXPLORE_THREADS);
	engine.scenario = scenario;
	engine.skips = mode == MODE_ALL && !scenario->every_path;
	thrum__ctx_adopt(&engine.main);
}

static bool finds(struct explore_result *result)
{
	result->executions++;
	if (execute() != FOUND)
		return false;
	result->found = true;
	snprintf(result->why, sizeof(result->why), "%s", engine.why);
	search_schedule(result->schedule, sizeof(result->schedule));
	return true;
}

struct explore_result explore_all(const struct explore_scenario *scenario, uint64_t most)
{
	struct explore_result result = {0};
	begin(scenario, MODE_ALL);
	search_begin(MODE_ALL, 0, NULL);
	while (!result.complete && result.executions < most && !finds(&result))
		result.complete = !search_next();
	result.states = search_states();
	return result;
}

struct explore_result explore_random(
	const struct explore_scenario *scenario, uint64_t seed, uint64_t executions)
{
	struct explore_result result = {0};
	begin(scenario, MODE_RANDOM);
	search_begin(MODE_RANDOM, seed, NULL);
	while (result.executions < executions && !finds(&result))
		;
	return result;
}

struct explore_result explore_replay(
	const struct explore_scenario *scenario, const char *schedule, FILE *trace)
{
	struct explore_result result = {0};
	begin(scenario, MODE_REPLAY);
	search_begin(MODE_REPLAY, 0, schedule);
	report_begin(trace);
	finds(&result);
	report_begin(NULL);
	return result;
}
