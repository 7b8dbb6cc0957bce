/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include <time.h>
#include <unistd.h>

/*
 * Switching between green threads.
 *
 * Directly.  A thread that suspends takes the next one itself and switches straight to it: one
 * switch, where going through a scheduler's stack would be two. Only if there is none at hand, or
 * a turn is due (dispatch.c), does it go to the machine's own stack, where the loop below polls,
 * steals and sleeps: never on a thread's stack, for libuv keeps pointers into the stack it
 * runs on.
 *
 * Publishing.  A thread becomes visible to others again (parked, queued, ended) only when nothing
 * runs on its stack any more: were it published before, another machine could resume it and two
 * would run on one stack. So whoever is switched to does it, first thing: finish_left.
 *
 *   suspend                                 whoever runs next on this machine
 *   1 left = self, action = park …          3 finish_left: park: word RUNNING -> PARKED;
 *   2 switch ------------------------------>   had a signal come before: queue it again
 *                                           4 leave: USER
 *
 * All of it happens in RUNTIME (claim.h), from enter in the call that suspends to leave in the one
 * that is resumed.
 *
 * Carrying.  A join on a child that nobody has started runs it at once: the joiner goes on the
 * machine's `carried` chain, with its wait registered but itself not parked, and switches to the
 * child. If the child ends before it suspends, it switches straight back: no parking, no
 * claiming, no atomics. A turn that comes due is taken on the machine's own stack and leaves the
 * chain as it is (ACT_TURN), unless others are queued. If the child does suspend, or its processor
 * is taken, the chain is published: its members park like others, and find what has come meanwhile.
 * So fork-join goes depth first, and a chain is as long as the recursion is deep. A child that
 * computes for long is a hog like any other (monitor.c), or its joiner would not hear of a deadline.
 */

static _Thread_local struct thrum__machine *current_machine;

/*
 * Not inlined and opaque to the optimiser: the address of a thread-local may be computed once
 * for a whole function, and a function that suspends may go on on another OS thread.
 */
__attribute__((noinline)) struct thrum__machine *thrum__machine_self(void)
{
	__asm__ volatile("" ::: "memory");
	return current_machine;
}

struct thrum__driver *thrum__driver_current(void)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL)
		return NULL;
	bool entered = thrum__entered(machine);
	bool attached = entered ? machine->processor != NULL : thrum__enter(machine);
	struct thrum__driver *driver = attached ? machine->processor->driver : NULL;
	if (!entered)
		thrum__leave(machine);
	return driver;
}

struct thrum__driver *thrum__driver_home(void)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL || machine->current == NULL || machine->runtime->forked)
		return NULL;
	return machine->home->driver;
}

bool thrum__enter_slow(struct thrum__machine *machine)
{
	if (!(__atomic_load_n(&machine->claim.word, __ATOMIC_RELAXED) & THRUM__CLAIM_TAKEN))
		return true;
	machine->processor = NULL;
	return false;
}

/* The weak reference is null unless a C++ runtime is in the process. */
extern void *__cxa_get_globals(void) __attribute__((weak));

/* ---------------------------------------------------------------- publishing */

static void finish_parked(struct thrum__machine *machine, struct thrum_thread *thread)
{
	if (thrum__parker_park(&thread->parker))
		return;
	if (machine->processor != NULL) /* a signal came before: as if it came now */
		thrum__ready_local(machine->processor, thread);
	else
		thrum__rejoin(machine, thread);
}

static void finish_left(struct thrum__machine *machine)
{
	struct thrum_thread *thread = machine->left;
	machine->left = NULL;
	switch (machine->action) {
	case THRUM__ACT_PARK:
		finish_parked(machine, thread);
		break;
	case THRUM__ACT_YIELD:
		if (machine->processor != NULL)
			thrum__ready_yielded(machine->processor, thread);
		else
			thrum__rejoin(machine, thread);
		break;
	case THRUM__ACT_LEND:
		thrum__ready_spawned(machine->processor, thread);
		break;
	case THRUM__ACT_CARRY:
		break;
	case THRUM__ACT_TURN:
		machine->turning = thread;
		break;
	case THRUM__ACT_EXIT:
		thrum__thread_end(machine, thread);
		break;
	case THRUM__ACT_RETURN:
		thrum__thread_end_carried(machine, thread);
		break;
	}
}

void thrum__publish_chain(struct thrum__processor *processor, struct thrum_thread *chain)
{
	while (chain != NULL) {
		struct thrum_thread *thread = chain;
		chain = thread->link;
		if (!thrum__parker_park(&thread->parker))
			thrum__ready_local(processor, thread);
	}
}

/* ---------------------------------------------------------------- switching */

/* What to go on with; NULL for the machine's own stack. */
static struct thrum_thread *pick(
	struct thrum__machine *machine, struct thrum_thread *self, enum thrum__action action)
{
	struct thrum__processor *processor = machine->processor;
	if (processor == NULL) {
		if (machine->runtime->forked)
			thrum__fork_abort(self);
		return NULL;
	}
	if (action == THRUM__ACT_TURN)
		return NULL;
	if (machine->carried != NULL) {
		struct thrum_thread *chain = machine->carried;
		if (action == THRUM__ACT_EXIT) {
			__atomic_store_n(&machine->carried, chain->link, __ATOMIC_RELAXED);
			machine->action = THRUM__ACT_RETURN;
			return chain;
		}
		__atomic_store_n(&machine->carried, NULL, __ATOMIC_RELAXED);
		thrum__publish_chain(processor, chain);
	}
	/* The end of the first thread is a long story, and a pinned one's machine is its own. */
	if (self->pinned != NULL || self == machine->runtime->first)
		return NULL;
	return thrum__dispatch_fast(processor);
}

/* Notes what is to be done with the thread that leaves; returns where to go. */
static inline struct thrum__ctx *depart(struct thrum__machine *machine, struct thrum_thread *self,
	enum thrum__action action, struct thrum_thread *next)
{
	machine->left = self;
	machine->action = action;
	if (next == NULL)
		next = pick(machine, self, action);
	machine->current = next;
	return next != NULL ? &next->ctx : &machine->ctx;
}

struct thrum__machine *thrum__suspend(struct thrum__machine *machine, struct thrum_thread *self,
	enum thrum__action action, struct thrum_thread *next)
{
	struct thrum__exceptions saved = {0};
	if (machine->exceptions != NULL)
		saved = *machine->exceptions;
	struct thrum__ctx *to = depart(machine, self, action, next);
	machine = thrum__ctx_switch(&self->ctx, to, machine);
	finish_left(machine);
	if (machine->exceptions != NULL)
		*machine->exceptions = saved;
	return machine;
}

bool thrum__thread_start(struct thrum__processor *processor, struct thrum_thread *thread)
{
	struct thrum__stack stack;
	if (thread->home != 0)
		stack = thrum__stack_at(thread->home);
	else if (thrum__stack_get(&processor->stacks, (size_t)1 << thread->stack_log2, &stack) != 0)
		return false;
	thread->home = stack.home;
	thread->started = true;
	thread->measured = thrum__census_begin(&processor->census, thread->site, &stack);
	thrum__ctx_init(&thread->ctx, &stack, thrum__thread_main, thread);
	return true;
}

struct thrum__ctx_next thrum__thread_main(void *thread_v, void *machine_v)
{
	struct thrum_thread *self = thread_v;
	struct thrum__machine *machine = machine_v;
	thrum__ctx_arrive(&self->ctx);
	finish_left(machine);
	if (machine->exceptions != NULL)
		*machine->exceptions = (struct thrum__exceptions){0};
	thrum__leave(machine);

	self->arg = self->fn(self->arg);

	machine = thrum__machine_self();
	thrum__enter(machine);
	struct thrum__ctx *to = depart(machine, self, THRUM__ACT_EXIT, NULL);
	return thrum__ctx_end(&self->ctx, to, machine);
}

/* ---------------------------------------------------------------- the machine's own stack */

/*
 * No stack for a thread that spawn has accepted: it goes behind all others, so that those that
 * run can end and give their stacks back. The pause keeps a machine that has nothing else from
 * spinning on it.
 */
static void start_later(struct thrum__processor *processor, struct thrum_thread *thread)
{
	static uint32_t told;
	if (__atomic_exchange_n(&told, 1, __ATOMIC_RELAXED) == 0)
		thrum__log(THRUM__LOG_WARN,
			"no memory for another stack: green threads wait until one is free");
	thrum__ready_inject(processor->runtime, thread); /* another worker may have stacks left */
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void run(struct thrum__machine *machine, struct thrum_thread *thread)
{
	if (!thread->started && !thrum__thread_start(machine->processor, thread)) {
		start_later(machine->processor, thread);
		return;
	}
	machine->left = NULL;
	machine->action = THRUM__ACT_CARRY; /* nothing to publish */
	machine->current = thread;
	thrum__ctx_switch(&machine->ctx, &thread->ctx, machine);
	machine->current = NULL;
	finish_left(machine);
}

/*
 * The next thread for a machine; NULL: the processor has gone to another machine, or the runtime
 * is done.
 */
static struct thrum_thread *next_thread(struct thrum__machine *machine)
{
	struct thrum__processor *processor = machine->processor;
	if (machine->turning != NULL) {
		struct thrum_thread *turning = machine->turning;
		machine->turning = NULL;
		thrum__turn(processor);
		return turning;
	}
	if (machine->kept != NULL && thrum__machine_pass(machine, NULL, NULL))
		return NULL;
	struct thrum_thread *thread = thrum__dispatch(machine);
	if (thread == NULL || thread->pinned == NULL || thread->pinned == machine)
		return thread;
	thrum__deliver(machine, thread);
	return NULL;
}

/* Runs a processor until it has gone to another machine or the runtime is done. */
static void run_processor(struct thrum__machine *machine)
{
	struct thrum_thread *thread = machine->given_thread;
	struct thrum_thread *chain = machine->given_chain;
	machine->given_thread = machine->given_chain = NULL;
	thrum__publish_chain(machine->processor, chain);
	while (machine->processor != NULL) {
		if (thread == NULL)
			thread = next_thread(machine);
		if (thread != NULL)
			run(machine, thread);
		else if (__atomic_load_n(&machine->runtime->done, __ATOMIC_ACQUIRE))
			return;
		thread = NULL;
	}
}

void thrum__machine_run(struct thrum__machine *machine)
{
	struct thrum__exceptions saved = {0};
	thrum__ctx_adopt(&machine->ctx);
	machine->os_id = gettid();
	CHECK(pthread_getcpuclockid(pthread_self(), &machine->clock) == 0);
	if (__cxa_get_globals != NULL) {
		machine->exceptions = __cxa_get_globals();
		saved = *machine->exceptions;
	}
	__atomic_store_n(&machine->claim.state, THRUM__RUNTIME, __ATOMIC_RELAXED);
	current_machine = machine;
	thrum__overflow_arm();
	while (thrum__machine_wait(machine)) {
		run_processor(machine);
		if (machine->processor != NULL)
			break;
	}
	thrum__overflow_disarm();
	current_machine = NULL;
	if (machine->exceptions != NULL)
		*machine->exceptions = saved;
}
