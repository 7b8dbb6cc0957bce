/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

/*
 * Making threads runnable, and who is told.
 *
 * Lone work.  A thread that is the only one queued on a busy processor is what its machine runs at
 * its next dispatch: a spawned child that is about to be joined, the other half of a ping-pong. To
 * wake a thief for it costs a system call, and to let it be stolen a trip across cores, ten times
 * what the thread takes. So
 *   - lone work wakes a thief only while the processor has a token. The monitor hands out tokens
 *     each tick: more if the thieves found what they were woken for, fewer if they came in vain.
 *   - a thief takes it only if it is still there a moment later and its processor has not
 *     dispatched meanwhile.
 *   - it does not keep a machine from sleeping (work_visible). If its own machine is busy for
 *     long, the monitor's tick calls a thief.
 * Two queued threads are never lone: the second one wakes a thief at once (idle.c).
 *
 * Rapid processors.  Where dispatches follow each other within half a microsecond (the monitor
 * measures it), a stolen thread costs more than it takes to run: its lines cross to the thief, and
 * back to who joins it. Such a processor calls nobody, and its work is not visible. But under a
 * pile of small threads the oldest may be the root of a large part of the work. So an idle machine
 * looks out: it sleeps for a tenth of a millisecond, and longer and longer, and what is still the
 * oldest of the same deque then, it takes. Who sleeps for good is called by the monitor now and
 * then.
 *
 * A yielded thread is not a submission: there is no more work than before. It wakes a thief only
 * if it sees, without a fence, that one sleeps; the monitor's tick covers what that misses.
 */

void thrum__notify(struct thrum__runtime *runtime)
{
	struct thrum__idler *idler = thrum__idlers_call(&runtime->idlers);
	if (idler != NULL)
		thrum__driver_wake(
			thrum__container_of(idler, struct thrum__processor, idler)->driver);
}

static bool somebody_idle(const struct thrum__runtime *runtime)
{
	return __atomic_load_n(&runtime->idlers.count, __ATOMIC_RELAXED) > 0;
}

/* Is what the owner has just queued the only thing there? No, if it cannot tell at once. */
static bool is_lone(const struct thrum__processor *processor)
{
	return thrum__deque_at_most(&processor->deque) + thrum__deque_at_most(&processor->inbox) +
		       (__atomic_load_n(&processor->slot, __ATOMIC_RELAXED) != NULL) <
	       2;
}

/* A thread was queued by the processor's own machine. */
static void submitted(struct thrum__processor *processor)
{
	if (processor->alone || processor->polling || thrum__is_rapid(processor))
		return;
	if (is_lone(processor)) {
		uint32_t tokens = __atomic_load_n(&processor->tokens, __ATOMIC_RELAXED);
		if (tokens == 0 || !somebody_idle(processor->runtime))
			return;
		__atomic_store_n(&processor->tokens, tokens - 1, __ATOMIC_RELAXED);
	}
	thrum__notify(processor->runtime);
}

void thrum__mail(struct thrum__processor *processor, struct thrum_thread *thread)
{
	thrum__queue_push(&processor->mail, thread);
	__atomic_fetch_or(&processor->urgent, THRUM__URGENT_MAIL, __ATOMIC_SEQ_CST);
	if (thrum__idler_call(&processor->runtime->idlers, &processor->idler))
		thrum__driver_wake(processor->driver);
}

/*
 * Debug mode THRUM_DEBUG_MIGRATE=1: each suspension ends on another worker, which shows up what
 * was kept across it and must not be. Nobody steals then, or it would often come back at once.
 */
static void ready_elsewhere(struct thrum__processor *processor, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = processor->runtime;
	thrum__mail(&runtime->processors[(processor->index + 1) % runtime->count], thread);
}

void thrum__push_inbox(struct thrum__processor *processor, struct thrum_thread *thread)
{
	if (!thrum__deque_push(&processor->inbox, thread))
		thrum__queue_push(&processor->runtime->inject, thread); /* no memory to grow */
}

void thrum__push_chain(struct thrum__processor *processor, struct thrum_thread *chain)
{
	while (chain != NULL) {
		struct thrum_thread *thread = chain;
		chain = thread->link; /* queued, it is no longer ours */
		thrum__push_inbox(processor, thread);
	}
}

/* Thieves only ever empty the slot, so what the owner sees empty stays so. */
struct thrum_thread *thrum__slot_exchange(
	struct thrum__processor *processor, struct thrum_thread *thread)
{
	struct thrum_thread *old = __atomic_load_n(&processor->slot, __ATOMIC_RELAXED);
	if (old == NULL || processor->alone) {
		__atomic_store_n(&processor->slot, thread, __ATOMIC_RELEASE);
		return old;
	}
	return __atomic_exchange_n(&processor->slot, thread, __ATOMIC_ACQ_REL);
}

void thrum__ready_local(struct thrum__processor *processor, struct thrum_thread *thread)
{
	if (processor->runtime->migrate) {
		ready_elsewhere(processor, thread);
		return;
	}
	if (!processor->polling)
		thread = thrum__slot_exchange(processor, thread);
	if (thread != NULL)
		thrum__push_inbox(processor, thread);
	submitted(processor);
}

void thrum__ready_spawned(struct thrum__processor *processor, struct thrum_thread *thread)
{
	if (!thrum__deque_push(&processor->deque, thread))
		thrum__queue_push(&processor->runtime->inject, thread);
	submitted(processor);
}

bool thrum__unspawn(struct thrum__processor *processor, struct thrum_thread *thread)
{
	return thrum__deque_peek(&processor->deque) == thread &&
	       thrum__deque_take(&processor->deque) != NULL;
}

void thrum__ready_yielded(struct thrum__processor *processor, struct thrum_thread *thread)
{
	if (processor->runtime->migrate) {
		ready_elsewhere(processor, thread);
		return;
	}
	thrum__push_inbox(processor, thread);
	if (!processor->alone && !thrum__is_rapid(processor) && somebody_idle(processor->runtime) &&
		thrum__processor_load(processor) > 1)
		thrum__notify(processor->runtime);
}

void thrum__ready_inject(struct thrum__runtime *runtime, struct thrum_thread *thread)
{
	/*
	 * Until the push nobody else can run the thread, so the runtime is alive; counted as a
	 * visitor, we keep it alive until we are out.
	 */
	__atomic_fetch_add(&runtime->visitors, 1, __ATOMIC_ACQUIRE);
	thrum__queue_push(&runtime->inject, thread);
	thrum__notify(runtime);
	__atomic_fetch_sub(&runtime->visitors, 1, __ATOMIC_RELEASE);
}

void thrum__ready(struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = __atomic_load_n(&thread->runtime, __ATOMIC_RELAXED);
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL || machine->runtime != runtime) {
		thrum__ready_inject(runtime, thread);
		return;
	}
	bool entered = thrum__entered(machine);
	if (entered ? machine->processor != NULL : thrum__enter(machine))
		thrum__ready_local(machine->processor, thread);
	else if (!runtime->forked)
		thrum__ready_inject(runtime, thread);
	if (!entered)
		thrum__leave(machine);
}
