/* SPDX-License-Identifier: MIT */
#include "explore_internal.h"

#include <inttypes.h>
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
 * hash would hide a state; with a million states that is one chance in ten million.)
 *
 * Findings.  The scenario's own checks; a data race (race.c); a CHECK or ASSERT in the source; all
 * threads blocked, which is what a lost wakeup looks like; an execution without end.
 *
 * Limits.  Code between two steps is one unit: a compiler that reorders is not modelled, only the
 * machine. A load never returns what is stored later (load buffering), and stores to one location
 * take effect in the order they are executed: memory.c says why we can do without.
 *
 * Tests.  test_engine.c: the litmus tests of the memory model, each with exactly the outcomes it
 * must have, and planted races and deadlocks.
 */

enum { MAX_CHOICES = 8192, MAX_STEPS = 4000, MAX_NAMES = 32, STACK_SIZE = 64 * 1024 };

enum mode { MODE_ALL, MODE_RANDOM, MODE_REPLAY };
enum outcome { ENDED, PRUNED, FOUND };

static struct {
	const struct explore_scenario *scenario;
	struct virtual threads[EXPLORE_THREADS], *current;
	struct thrum__ctx main;
	enum mode mode;
	enum outcome outcome;
	/* The choices: before `depth` made in this execution, from there to `length` to be made. */
	int depth, length;
	uint8_t taken[MAX_CHOICES], of[MAX_CHOICES];
	unsigned steps, haste; /* haste: of 8 chances, how many let the same thread run on */
	uint64_t random, prelude; /* prelude: history of what was chosen outside of the threads */
	uint64_t *states;	  /* a hash set; 0 is empty */
	size_t state_count, state_capacity;
	struct {
		const char *address, *name;
	} names[MAX_NAMES];
	unsigned name_count;
	char why[256];
	FILE *trace;
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
	engine_trace("FOUND: %s", engine.why);
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

static bool state_add(uint64_t *table, size_t capacity, uint64_t hash)
{
	size_t i = hash & (capacity - 1);
	while (table[i] != 0) {
		if (table[i] == hash)
			return false;
		i = (i + 1) & (capacity - 1);
	}
	table[i] = hash;
	return true;
}

/* Remembers the present state. False: it was known. */
static bool state_is_new(void)
{
	uint64_t hash = engine.prelude;
	for (unsigned i = 0; i < engine.scenario->threads; i++) {
		const struct virtual *thread = &engine.threads[i];
		hash = engine_mix(hash, thread->history);
		hash = engine_mix(hash, thread->ended | (unsigned)thread->woken << 1);
	}
	hash |= hash == 0;
	if (2 * engine.state_count >= engine.state_capacity) {
		size_t capacity = engine.state_capacity == 0 ? 1 << 16 : 2 * engine.state_capacity;
		uint64_t *table = calloc(capacity, sizeof(*table));
		CHECK(table != NULL);
		for (size_t i = 0; i < engine.state_capacity; i++)
			if (engine.states[i] != 0)
				state_add(table, capacity, engine.states[i]);
		free(engine.states);
		engine.states = table;
		engine.state_capacity = capacity;
	}
	if (!state_add(engine.states, engine.state_capacity, hash))
		return false;
	engine.state_count++;
	return true;
}

/* ---------------------------------------------------------------- choices */

static unsigned random_choice(enum choice kind, unsigned count)
{
	uint64_t word = thrum__splitmix64(&engine.random);
	if (kind == CHOOSE_THREAD && (word & 7) < engine.haste)
		return 0;
	if (kind == CHOOSE_MESSAGE && (word & 7) < 4)
		return 0;
	return (unsigned)((word >> 8) % count);
}

unsigned engine_choose(enum choice kind, unsigned count)
{
	CHECK(count > 0 && count < 36);
	if (count == 1)
		return 0;
	if (engine.depth < engine.length) {
		/* The same choices must lead to the same alternatives. */
		CHECK(engine.mode == MODE_REPLAY || engine.of[engine.depth] == count);
		unsigned taken = engine.taken[engine.depth++];
		return taken < count ? taken : 0;
	}
	CHECK(engine.depth < MAX_CHOICES);
	unsigned choice = engine.mode == MODE_RANDOM ? random_choice(kind, count) : 0;
	engine.taken[engine.depth] = (uint8_t)choice;
	engine.of[engine.depth] = (uint8_t)count;
	engine.length = ++engine.depth;
	return choice;
}

unsigned explore_choose(unsigned count)
{
	unsigned choice = engine_choose(CHOOSE_OTHER, count);
	engine_note(count, choice);
	return choice;
}

/* Goes back to the last choice with an untried alternative. False: there is none. */
static bool next_path(void)
{
	while (engine.length > 0 && engine.taken[engine.length - 1] + 1 == engine.of[engine.length - 1])
		engine.length--;
	if (engine.length == 0)
		return false;
	engine.taken[engine.length - 1]++;
	return true;
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
	return engine.current == NULL ? EXPLORE_THREADS : (unsigned)(engine.current - engine.threads);
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
	if (engine.mode == MODE_ALL && !engine.scenario->every_path &&
		engine.depth >= engine.length && !state_is_new())
		stop(PRUNED);
	return able[engine_choose(CHOOSE_THREAD, count)];
}

static void say_who_waits(void)
{
	char text[200];
	int length = 0;
	for (unsigned i = 0; i < engine.scenario->threads; i++) {
		const struct virtual *thread = &engine.threads[i];
		static const char *const kinds[] = {"", "the lock", "a futex", "a futex", "a change of"};
		if (!thread->ended)
			length += snprintf(text + length, sizeof(text) - (size_t)length,
				" thread %u for %s %s;", i, kinds[thread->waiting],
				engine_name(thread->waits_for));
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

static void thread_main(void *arg, void *pass)
{
	struct virtual *self = arg;
	(void)pass;
	thrum__ctx_arrive(&self->ctx);
	engine_note(0, 0); /* started is another state than not started */
	engine.scenario->body(engine.scenario->world, explore_self());
	memory_flush_plain();
	self->ended = true;
	engine_trace("ends");
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
	engine.current = &engine.threads[engine_choose(CHOOSE_THREAD, engine.scenario->threads)];
	thrum__ctx_switch(&engine.main, &engine.current->ctx, NULL);
	for (unsigned i = 0; i < engine.scenario->threads; i++)
		thrum__ctx_fini(&engine.threads[i].ctx);
}

static enum outcome execute(void)
{
	const struct explore_scenario *scenario = engine.scenario;
	engine.depth = 0;
	engine.steps = engine.name_count = 0;
	engine.current = NULL;
	engine.outcome = ENDED;
	engine.prelude = 1;
	memset(scenario->world, 0, scenario->size);
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
	engine.mode = mode;
	engine.length = 0;
	free(engine.states);
	engine.states = NULL;
	engine.state_count = engine.state_capacity = 0;
	thrum__ctx_adopt(&engine.main);
}

static void note_finding(struct explore_result *result)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	result->found = true;
	snprintf(result->why, sizeof(result->why), "%s", engine.why);
	size_t length = 0;
	for (int i = 0; i < engine.depth && length < sizeof(result->schedule) - 1; i++)
		result->schedule[length++] = digits[engine.taken[i]];
	result->schedule[length] = '\0';
}

struct explore_result explore_all(const struct explore_scenario *scenario, uint64_t most)
{
	struct explore_result result = {0};
	begin(scenario, MODE_ALL);
	while (result.executions < most) {
		result.executions++;
		if (execute() == FOUND) {
			note_finding(&result);
			break;
		}
		CHECK(engine.depth == engine.length);
		if (!next_path()) {
			result.complete = true;
			break;
		}
	}
	result.states = engine.state_count;
	return result;
}

struct explore_result explore_random(
	const struct explore_scenario *scenario, uint64_t seed, uint64_t executions)
{
	static const uint8_t hastes[] = {0, 3, 5, 6, 7, 7};
	struct explore_result result = {0};
	begin(scenario, MODE_RANDOM);
	engine.random = seed;
	while (result.executions < executions && !result.found) {
		result.executions++;
		engine.length = 0;
		engine.haste = hastes[thrum__splitmix64(&engine.random) % sizeof(hastes)];
		if (execute() == FOUND)
			note_finding(&result);
	}
	return result;
}

struct explore_result explore_replay(
	const struct explore_scenario *scenario, const char *schedule, FILE *trace)
{
	struct explore_result result = {.executions = 1};
	begin(scenario, MODE_REPLAY);
	for (const char *c = schedule; *c != '\0' && engine.length < MAX_CHOICES; c++)
		engine.taken[engine.length++] = (uint8_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
	engine.trace = trace;
	if (execute() == FOUND)
		note_finding(&result);
	engine.trace = NULL;
	return result;
}

struct explore_result explore(
	const struct explore_scenario *scenario, uint64_t most, uint64_t random)
{
	const char *given = getenv("THRUM_SEED"), *schedule = getenv("THRUM_SCHEDULE");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)thrum_now();
	if (schedule != NULL)
		return explore_replay(scenario, schedule, stdout);
	struct explore_result result = explore_all(scenario, most);
	printf("%s: %" PRIu64 " executions, %" PRIu64 " states%s\n", scenario->name,
		result.executions, result.states, result.complete ? ", all there are" : "");
	if (!result.found && !result.complete && random > 0) {
		uint64_t states = result.states;
		result = explore_random(scenario, seed, random);
		result.states = states;
		printf("%s: %" PRIu64 " random executions; rerun with THRUM_SEED=%" PRIu64 "\n",
			scenario->name, result.executions, seed);
	}
	if (result.found) {
		printf("%s: %s\nrerun with THRUM_SCHEDULE=%s\n", scenario->name, result.why,
			result.schedule);
		explore_replay(scenario, result.schedule, stdout);
	}
	fflush(stdout);
	return result;
}

/* ---------------------------------------------------------------- traces */

void explore_name(const void *address, const char *name)
{
	CHECK(engine.name_count < MAX_NAMES);
	engine.names[engine.name_count].address = address;
	engine.names[engine.name_count++].name = name;
}

const char *engine_name(const void *address)
{
	static char text[64];
	const char *at = address, *best = NULL, *name = NULL;
	for (unsigned i = 0; i < engine.name_count; i++) {
		const char *start = engine.names[i].address;
		if (start <= at && start > best && at - start < 4096) {
			best = start;
			name = engine.names[i].name;
		}
	}
	if (name == NULL)
		snprintf(text, sizeof(text), "%p", address);
	else if (best == at)
		snprintf(text, sizeof(text), "%s", name);
	else
		snprintf(text, sizeof(text), "%s+%td", name, at - best);
	return text;
}

bool engine_tracing(void)
{
	return engine.trace != NULL;
}

void engine_trace(const char *format, ...)
{
	if (engine.trace == NULL)
		return;
	va_list args;
	va_start(args, format);
	if (engine.current != NULL)
		fprintf(engine.trace, "  %*s%u ", (int)explore_self() * 4, "", explore_self());
	else
		fprintf(engine.trace, "  - ");
	vfprintf(engine.trace, format, args);
	fputc('\n', engine.trace);
	va_end(args);
}
