/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include <time.h>
#include <unistd.h>

/*
 * A machine's loop: take a thread, switch to it, and when it switches back do what it asked for.
 *
 * A thread becomes visible to others again (parked, queued, ended) only here, on the scheduler's
 * own stack: were it published while still on its stack, another machine could resume it and two
 * would run on one stack.
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
	return machine == NULL ? NULL : machine->processor->driver;
}

void thrum__machine_suspend(struct thrum_thread *self, enum thrum__action action)
{
	struct thrum__machine *machine = thrum__machine_self();
	machine->action = action;
	if (action == THRUM__ACT_EXIT)
		thrum__ctx_leave(&self->ctx, &machine->ctx, NULL);
	thrum__ctx_switch(&self->ctx, &machine->ctx, NULL);
}

/* Gives a thread its stack the first time it runs. False: out of memory. */
static bool start(struct thrum__processor *processor, struct thrum_thread *thread)
{
	if (thrum__stack_get(&processor->stacks, thread->stack_size, &thread->stack) != 0)
		return false;
	thread->measured = thrum__census_begin(&processor->census, thread->site, &thread->stack);
	thrum__ctx_init(&thread->ctx, &thread->stack, thrum__thread_main, thread);
	return true;
}

/*
 * No stack for a thread that spawn has accepted: it goes behind all others, so that those that
 * run can end and give their stacks back. The pause keeps a machine that has nothing else from
 * spinning on it.
 */
static void start_later(struct thrum__machine *machine, struct thrum_thread *thread)
{
	static uint32_t told;
	if (__atomic_exchange_n(&told, 1, __ATOMIC_RELAXED) == 0)
		thrum__log(THRUM__LOG_WARN,
			"no memory for another stack: green threads wait until one is free");
	thrum__queue_push(&machine->processor->runtime->inject, thread);
	thrum__notify(machine->processor->runtime); /* a sleeping worker may have stacks left */
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void run(struct thrum__machine *machine, struct thrum_thread *thread)
{
	struct thrum__processor *processor = machine->processor;
	thrum__count(&processor->counters.dispatches);
	if (thread->stack.base == NULL && !start(processor, thread)) {
		start_later(machine, thread);
		return;
	}
	uint32_t expected;
	do {
		machine->current = thread;
		thrum__ctx_switch(&machine->ctx, &thread->ctx, machine);
		machine->current = NULL;
		expected = THRUM__RUNNING;
		/* A wake or a knock that came before the thread was parked: it simply goes on. */
	} while (machine->action == THRUM__ACT_PARK &&
		 !__atomic_compare_exchange_n(&thread->parker.word, &expected, THRUM__PARKED, false,
			 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	if (machine->action == THRUM__ACT_YIELD)
		thrum__ready_yielded(processor, thread);
	else if (machine->action == THRUM__ACT_EXIT)
		thrum__thread_end(machine, thread);
}

void thrum__machine_run(struct thrum__machine *machine)
{
	thrum__ctx_adopt(&machine->ctx);
	machine->os_id = gettid();
	current_machine = machine;
	thrum__overflow_arm();
	for (;;) {
		struct thrum_thread *thread = thrum__dispatch(machine);
		if (thread == NULL)
			break;
		run(machine, thread);
	}
	thrum__overflow_disarm();
	current_machine = NULL;
}
