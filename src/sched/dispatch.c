/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include "sched/fence.h"

/*
 * Which thread runs next, and when a machine may sleep.
 *
 * Order.  A processor serves its deque (spawned, newest first) and its inbox (woken and yielded,
 * oldest first) in turn, so neither starves the other. Every 61st dispatch looks at the inject
 * queue first, fires timers and polls the driver, whatever the queues hold: sleepers and
 * descriptors cannot be starved by ready work. Half-way between, the oldest of the deque goes
 * first, so that an endless chain of spawns does not bury it.
 *
 * Sleeping and waking.  Work must never lie queued while a machine sleeps that nobody will wake.
 *
 *   submitter                            machine that found nothing
 *   S1 push to a queue                   M1 stop searching: searching-- (if it was counted)
 *   S2 FENCE                             M2 publish idle: onto the idle list, idle_count++
 *   S3 idle_count == 0? done             M3 FENCE
 *   S4 searching != 0? done              M4 look at every queue again; found: back, searching
 *   S5 under idle_lock: if still so,     M5 sleep in the driver until called, an event, a timer
 *      take one off the list, and count
 *      it in searching on its behalf;
 *      wake its driver
 *
 * [I1] S2/M3: of a submitter and a machine going idle, one sees the other. If S3 reads 0, M2
 *      comes later, so M4 sees S1.
 * [I2] Whoever is counted in searching will look at every queue after it is no longer counted: it
 *      either stops without work and does M2..M4, or finds some and, being the last, checks and
 *      wakes another. So S4 may leave the work to it.
 * [I3] Who moves threads from one queue to another holds them in neither for a moment, in which an
 *      M4 may miss them. So the mover is a submitter again: once they are in place it does S2..S5,
 *      or is counted in searching and leaves that to [I2].
 * [I4] A submitter raises `searching` only together with taking a machine off the idle list, both
 *      under idle_lock. Raising it first and lowering it again when nobody was idle would make a
 *      second submitter skip its wake in between while nobody searches at all.
 *
 * At most half of the machines search at a time: more only fight for the same cache lines.
 *
 * Rejected: waking a machine for each submission (a system call for each); spinning before
 * sleeping (an idle program must use no processor time; the searching phase is the spin).
 */

enum { TURN = 61, STEAL_ROUNDS = 2, INJECT_BATCH = 32 };

static bool has_work(struct thrum__processor *processor)
{
	return thrum__queue_count(&processor->inbox) > 0 || !thrum__deque_empty(&processor->deque);
}

/* Is there more than this processor's machine will run next? busy: it has a thread already. */
static bool has_surplus(struct thrum__processor *processor, bool busy)
{
	uint32_t woken = thrum__queue_count(&processor->inbox);
	bool spawned = !thrum__deque_empty(&processor->deque);
	return busy || (woken > 0 && spawned) ? woken > 0 || spawned : woken > 1;
}

/* Is there anything queued that this processor could take? */
static bool work_visible(struct thrum__processor *self)
{
	struct thrum__runtime *runtime = self->runtime;
	if (thrum__queue_count(&runtime->inject) > 0 || has_work(self))
		return true;
	for (unsigned i = 0; i < runtime->count && !runtime->migrate; i++)
		if (has_work(&runtime->processors[i]))
			return true;
	return false;
}

/* S2..S5 */
void thrum__notify(struct thrum__runtime *runtime)
{
	thrum__full_fence();
	if (__atomic_load_n(&runtime->idle_count, __ATOMIC_RELAXED) == 0 ||
		__atomic_load_n(&runtime->searching, __ATOMIC_RELAXED) != 0)
		return;
	struct thrum__processor *processor = NULL;
	thrum__lock(&runtime->idle_lock);
	if (__atomic_load_n(&runtime->searching, __ATOMIC_RELAXED) == 0) {
		struct thrum__list *link = thrum__list_pop_front(&runtime->idle);
		if (link != NULL) {
			processor = thrum__container_of(link, struct thrum__processor, idle_link);
			processor->called = true;
			__atomic_store_n(
				&runtime->idle_count, runtime->idle_count - 1, __ATOMIC_RELAXED);
			__atomic_fetch_add(&runtime->searching, 1, __ATOMIC_SEQ_CST);
		}
	}
	thrum__unlock(&runtime->idle_lock);
	if (processor != NULL)
		thrum__driver_wake(processor->driver);
}

/*
 * Debug mode THRUM_DEBUG_MIGRATE=1: each suspension ends on another worker, which shows up what
 * was kept across it and must not be. Nobody steals then, or it would often come back at once.
 */
static void ready_elsewhere(struct thrum__processor *processor, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = processor->runtime;
	processor = &runtime->processors[(processor->index + 1) % runtime->count];
	thrum__queue_push(&processor->inbox, thread);
	thrum__driver_wake(processor->driver);
}

static void ready_local(struct thrum__processor *processor, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = processor->runtime;
	if (runtime->migrate) {
		ready_elsewhere(processor, thread);
		return;
	}
	thrum__queue_push(&processor->inbox, thread);
	if (runtime->count > 1 && !processor->polling)
		thrum__notify(runtime);
}

void thrum__ready_yielded(struct thrum__processor *processor, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = processor->runtime;
	if (runtime->migrate) {
		ready_elsewhere(processor, thread);
		return;
	}
	/*
	 * Alone in our queues it is what we run next, and nobody need be woken to steal it from
	 * us.
	 */
	uint32_t count = thrum__queue_push(&processor->inbox, thread);
	if (runtime->count > 1 && (count > 1 || !thrum__deque_empty(&processor->deque)))
		thrum__notify(runtime);
}

bool thrum__yield_is_vain(struct thrum__processor *processor)
{
	struct thrum__runtime *runtime = processor->runtime;
	if (has_work(processor) || thrum__queue_count(&runtime->inject) > 0 || runtime->migrate ||
		(processor->tick + 1) % TURN == 0)
		return false;
	processor->tick++;
	return true;
}

void thrum__ready(struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = __atomic_load_n(&thread->runtime, __ATOMIC_RELAXED);
	struct thrum__machine *machine = thrum__machine_self();
	if (machine != NULL && machine->processor->runtime == runtime) {
		ready_local(machine->processor, thread);
		return;
	}
	/*
	 * A stranger. Until the push nobody else can run the thread, so the runtime is alive;
	 * counted as a visitor, we keep it alive until we are out.
	 */
	__atomic_fetch_add(&runtime->visitors, 1, __ATOMIC_ACQUIRE);
	thrum__queue_push(&runtime->inject, thread);
	thrum__notify(runtime);
	__atomic_fetch_sub(&runtime->visitors, 1, __ATOMIC_RELEASE);
}

/*
 * Fires timers and lets the driver deliver events, sleeping at most wait_ns. What they make
 * runnable is announced once at the end, not one by one: idle, we would be the first to be called
 * ourselves, each time.
 */
static void poll_driver(struct thrum__processor *processor, int64_t wait_ns)
{
	processor->polling = true;
	thrum__driver_poll(processor->driver, wait_ns);
	thrum__timers_fire(processor);
	processor->polling = false;
}

static struct thrum_thread *take_local(struct thrum__processor *processor)
{
	struct thrum_thread *thread;
	if (processor->tick & 1) {
		thread = thrum__queue_pop(&processor->inbox);
		return thread != NULL ? thread : thrum__deque_take(&processor->deque);
	}
	thread = thrum__deque_take(&processor->deque);
	return thread != NULL ? thread : thrum__queue_pop(&processor->inbox);
}

/* The scheduled unfairness-breakers; NULL means: go on in the usual order. */
static struct thrum_thread *take_in_turn(struct thrum__processor *processor)
{
	uint32_t turn = ++processor->tick % TURN;
	if (turn == 0) {
		thrum__count(&processor->counters.polls);
		poll_driver(processor, 0);
		struct thrum_thread *thread = thrum__queue_pop(&processor->runtime->inject);
		if (processor->runtime->count > 1 && has_surplus(processor, thread != NULL))
			thrum__notify(processor->runtime);
		return thread;
	}
	bool lost;
	if (turn == TURN / 2)
		return thrum__deque_steal(&processor->deque, &lost);
	return NULL;
}

static struct thrum_thread *take_injected(struct thrum__processor *processor)
{
	struct thrum__runtime *runtime = processor->runtime;
	uint32_t count = thrum__queue_count(&runtime->inject);
	if (count == 0)
		return NULL;
	uint32_t share = count / runtime->count + 1;
	struct thrum_thread *thread = thrum__queue_move(
		&runtime->inject, &processor->inbox, share < INJECT_BATCH ? share : INJECT_BATCH);
	/* [I3]; if we are counted in searching, this leaves it to stop_searching. */
	if (runtime->count > 1 && thrum__queue_count(&processor->inbox) > 0)
		thrum__notify(runtime);
	return thread;
}

static struct thrum_thread *steal_from(
	struct thrum__processor *thief, struct thrum__processor *victim, bool *lost)
{
	struct thrum_thread *thread = thrum__deque_steal(&victim->deque, lost);
	uint32_t count = thrum__queue_count(&victim->inbox);
	if (thread == NULL && count > 0)
		thread = thrum__queue_move(&victim->inbox, &thief->inbox, count - count / 2);
	if (thread != NULL)
		thrum__count(&thief->counters.steals);
	return thread;
}

/* Tries every other processor, from a random one on. */
static struct thrum_thread *steal(struct thrum__processor *thief)
{
	struct thrum__runtime *runtime = thief->runtime;
	for (int round = 0; round < STEAL_ROUNDS; round++) {
		bool lost = false;
		unsigned from = thrum__splitmix64(&thief->random) % runtime->count;
		for (unsigned i = 0; i < runtime->count; i++) {
			struct thrum__processor *victim =
				&runtime->processors[(from + i) % runtime->count];
			struct thrum_thread *thread =
				victim == thief ? NULL : steal_from(thief, victim, &lost);
			if (thread != NULL)
				return thread;
		}
		if (!lost)
			break;
	}
	return NULL;
}

/* [I2] */
static void stop_searching(struct thrum__machine *machine, bool found)
{
	struct thrum__runtime *runtime = machine->processor->runtime;
	machine->searching = false;
	uint32_t before = __atomic_fetch_sub(&runtime->searching, 1, __ATOMIC_SEQ_CST);
	if (!found || before != 1)
		return;
	thrum__full_fence(); /* S4 of a submitter, or our look at its queue: one sees the other */
	if (work_visible(machine->processor))
		thrum__notify(runtime);
}

static struct thrum_thread *search(struct thrum__machine *machine)
{
	struct thrum__runtime *runtime = machine->processor->runtime;
	if (runtime->count == 1 || runtime->migrate)
		return NULL;
	if (!machine->searching) {
		if (2 * __atomic_load_n(&runtime->searching, __ATOMIC_RELAXED) >= runtime->count)
			return NULL;
		__atomic_fetch_add(&runtime->searching, 1, __ATOMIC_SEQ_CST);
		machine->searching = true;
	}
	return steal(machine->processor);
}

/* M2..M5; afterwards the machine looks again. */
static void idle(struct thrum__machine *machine)
{
	struct thrum__processor *processor = machine->processor;
	struct thrum__runtime *runtime = processor->runtime;
	thrum__lock(&runtime->idle_lock);
	processor->called = false;
	thrum__list_push_front(&runtime->idle, &processor->idle_link);
	__atomic_store_n(&runtime->idle_count, runtime->idle_count + 1, __ATOMIC_RELAXED);
	thrum__unlock(&runtime->idle_lock);
	thrum__full_fence();

	int64_t next = __atomic_load_n(&processor->next_timer, __ATOMIC_RELAXED);
	bool stay = !work_visible(processor) && !__atomic_load_n(&runtime->done, __ATOMIC_ACQUIRE);
	int64_t wait = -1;
	if (next != INT64_MAX) {
		wait = next - thrum_now();
		wait = wait < 0 ? 0 : wait;
	}
	thrum__count(stay ? &processor->counters.sleeps : &processor->counters.polls);
	poll_driver(processor, stay ? wait : 0);

	thrum__lock(&runtime->idle_lock);
	if (processor->called) {
		machine->searching = true; /* counted by the one who called */
	} else {
		thrum__list_remove(&processor->idle_link);
		__atomic_store_n(&runtime->idle_count, runtime->idle_count - 1, __ATOMIC_RELAXED);
		if (!stay) { /* work was seen: search whatever the limit says */
			__atomic_fetch_add(&runtime->searching, 1, __ATOMIC_SEQ_CST);
			machine->searching = true;
		}
	}
	thrum__unlock(&runtime->idle_lock);
	/* More than we can run at once. If we are searching, stop_searching will say so. */
	if (!machine->searching && thrum__queue_count(&processor->inbox) > 1 && runtime->count > 1)
		thrum__notify(runtime);
}

struct thrum_thread *thrum__dispatch(struct thrum__machine *machine)
{
	struct thrum__processor *processor = machine->processor;
	for (;;) {
		struct thrum_thread *thread = take_in_turn(processor);
		if (thread == NULL)
			thread = take_local(processor);
		if (thread == NULL)
			thread = take_injected(processor);
		if (thread == NULL)
			thread = search(machine);
		if (machine->searching)
			stop_searching(machine, thread != NULL);
		if (thread != NULL)
			return thread;
		if (__atomic_load_n(&processor->runtime->done, __ATOMIC_ACQUIRE))
			return NULL;
		idle(machine);
	}
}
