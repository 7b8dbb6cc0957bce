/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include "sched/fence.h"

/*
 * Which thread runs next, and what a machine does that has none.
 *
 * Order.  The slot first, which holds the thread woken last, for its data is warm; but at most
 * three times in a row, then it goes to the end of the inbox. Then the deque (spawned, newest
 * first) and the inbox (woken and yielded, oldest first) in turn, so neither starves the other.
 *
 * Turns.  Every 61 dispatches, whatever the queues hold, the inject queue comes first, timers fire,
 * and the driver is polled if that was not done for some time. Who has been the oldest of the deque
 * for long then comes next, so that an endless chain of spawns does not bury it; not sooner, for in
 * fork-join code it is the root of another branch, which would be begun beside the first, and each
 * needs stacks as many as it is deep. For the same reason a joiner whose child has ended does not
 * count in the slot's row of three. The monitor calls for a
 * poll besides (urgent) when a millisecond has passed without one: sleepers and descriptors
 * cannot be starved, neither by many short slices nor by a few long ones.
 *
 * Who is told of work: ready.c. Who may take it from others: steal.c. Sleeping: idle.c.
 */

enum { TURN = 61, SLOT_MAX = 3, INJECT_BATCH = 32 };

#define POLL_NS   (50 * THRUM_US) /* between two polls of a busy processor */
#define BURIED_NS (20 * THRUM_MS) /* for so long the oldest: too long */

/* Is there anything queued that this processor could take? */
static bool work_visible(struct thrum__processor *self)
{
	struct thrum__runtime *runtime = self->runtime;
	if (thrum__queue_count(&runtime->inject) > 0 || thrum__queue_count(&self->mail) > 0 ||
		thrum__processor_load(self) > 0)
		return true;
	for (unsigned i = 0; i < runtime->count && !runtime->migrate; i++)
		if (thrum__processor_load(&runtime->processors[i]) > 1 &&
			!thrum__is_rapid(&runtime->processors[i]))
			return true;
	return false;
}

/* ---------------------------------------------------------------- the own queues */

static struct thrum_thread *take_slot(struct thrum__processor *processor)
{
	struct thrum_thread *thread = __atomic_load_n(&processor->slot, __ATOMIC_RELAXED);
	if (thread == NULL) {
		processor->slot_run = 0;
		return NULL;
	}
	thread = thrum__slot_exchange(processor, NULL);
	if (thread != NULL && processor->slot_run++ >= SLOT_MAX) {
		thrum__push_inbox(processor, thread);
		processor->slot_run = 0;
		return NULL;
	}
	return thread;
}

static struct thrum_thread *take_local(struct thrum__processor *processor)
{
	struct thrum_thread *thread = take_slot(processor);
	if (thread != NULL)
		return thread;
	/* After a turn, with an even one, the inbox: else code that seldom comes here may starve it. */
	if (processor->countdown % 2 == 0) {
		thread = thrum__deque_shift(&processor->inbox);
		return thread != NULL ? thread : thrum__deque_take(&processor->deque);
	}
	thread = thrum__deque_take(&processor->deque);
	return thread != NULL ? thread : thrum__deque_shift(&processor->inbox);
}

/*
 * The one after the next is on its way into the cache while the next one runs: with a thousand
 * threads none of this is in the first level.
 */
static inline void prefetch(struct thrum__processor *processor)
{
#if !defined(THRUM__TSAN) /* a thief may have it already: a race, and harmless */
	struct thrum_thread *soon = thrum__deque_ahead(&processor->inbox, 1);
	if (soon != NULL)
		__builtin_prefetch(soon, 1);
	soon = thrum__deque_ahead(&processor->inbox, 0);
	if (soon != NULL) {
		__builtin_prefetch(soon->ctx.frame);
		__builtin_prefetch((char *)soon->ctx.frame + THRUM__CACHELINE);
	}
	soon = thrum__deque_peek(&processor->deque);
	if (soon != NULL) {
		__builtin_prefetch(soon, 1);
		__builtin_prefetch((char *)soon + THRUM__CACHELINE);
	}
#else
	(void)processor;
#endif
}

bool thrum__yield_is_vain(struct thrum__processor *processor)
{
	struct thrum__runtime *runtime = processor->runtime;
	if (thrum__turn_due(processor) || thrum__processor_load(processor) > 0 ||
		thrum__queue_count(&runtime->inject) > 0 || runtime->migrate)
		return false;
	processor->countdown--;
	thrum__count(&processor->counters.dispatches);
	return true;
}

struct thrum_thread *thrum__dispatch_fast(struct thrum__processor *processor)
{
	if (thrum__turn_due(processor))
		return NULL;
	struct thrum_thread *thread = take_local(processor);
	if (thread == NULL)
		return NULL;
	if (thread->pinned != NULL ||
		(!thread->started && !thrum__thread_start(processor, thread))) {
		processor->next = thread;
		return NULL;
	}
	processor->countdown--;
	thrum__count(&processor->counters.dispatches);
	prefetch(processor);
	return thread;
}

/* ---------------------------------------------------------------- turns */

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
	processor->polled_at = thrum_now();
}

static void poll_in_turn(struct thrum__processor *processor, bool urgent)
{
	if (urgent || thrum_now() - processor->polled_at >= POLL_NS) {
		thrum__count(&processor->counters.polls);
		poll_driver(processor, 0);
		return;
	}
	processor->polling = true;
	thrum__timers_fire(processor);
	processor->polling = false;
}

/* The oldest of the deque, if it has been that for too long. */
static struct thrum_thread *take_buried(struct thrum__processor *processor)
{
	int64_t top = __atomic_load_n(&processor->deque.top, __ATOMIC_RELAXED);
	if (top != processor->oldest || thrum__deque_empty(&processor->deque)) {
		processor->oldest = top;
		processor->oldest_since = processor->polled_at;
		return NULL;
	}
	if (processor->polled_at - processor->oldest_since < BURIED_NS)
		return NULL;
	return thrum__deque_shift(&processor->deque);
}

/* The scheduled unfairness-breakers; NULL means: go on in the usual order. */
static struct thrum_thread *turn(struct thrum__processor *processor)
{
	struct thrum__runtime *runtime = processor->runtime;
	uint32_t urgent = __atomic_exchange_n(&processor->urgent, 0, __ATOMIC_ACQUIRE);
	processor->countdown = TURN - 1;
	thrum__push_chain(processor, thrum__queue_take(&processor->mail, UINT32_MAX));
	if (urgent & THRUM__URGENT_TRIM) {
		thrum__thread_cool(processor);
		thrum__stack_cache_trim(&processor->stacks);
	}
	poll_in_turn(processor, urgent & THRUM__URGENT_POLL);
	struct thrum_thread *thread = thrum__queue_pop(&runtime->inject);
	if (thread == NULL)
		thread = take_buried(processor);
	if (processor->alone || runtime->migrate)
		return thread;
	uint64_t load = thrum__processor_load(processor);
	if (thread == NULL && load < 2) /* a thread that yields alone should see others' work */
		thread = thrum__steal_one(processor);
	if (load + (thread != NULL) > 1 && !thrum__is_rapid(processor))
		thrum__notify(runtime);
	return thread;
}

void thrum__turn(struct thrum__processor *processor)
{
	struct thrum_thread *thread = turn(processor);
	if (thread != NULL)
		thrum__push_inbox(processor, thread);
}

static struct thrum_thread *take_injected(struct thrum__processor *processor)
{
	struct thrum__runtime *runtime = processor->runtime;
	uint32_t count = thrum__queue_count(&runtime->inject);
	if (count == 0)
		return NULL;
	uint32_t share = count / runtime->count + 1;
	share = share < INJECT_BATCH ? share : INJECT_BATCH;
	struct thrum_thread *first = thrum__queue_take(&runtime->inject, share);
	thrum__push_chain(processor, first == NULL ? NULL : first->link);
	/* I3 of idle.c; if we are counted in searching, this leaves it to stop_searching. */
	if (!processor->alone && thrum__processor_load(processor) > 0)
		thrum__notify(runtime);
	return first;
}

static struct thrum_thread *search(struct thrum__machine *machine)
{
	struct thrum__processor *processor = machine->processor;
	struct thrum__runtime *runtime = processor->runtime;
	if (processor->alone || runtime->migrate)
		return NULL;
	if (!machine->searching)
		machine->searching = thrum__search_start(&runtime->idlers, runtime->count);
	return machine->searching ? thrum__steal(processor) : NULL;
}

/* ---------------------------------------------------------------- idle */

/* M2..M5 of idle.c; afterwards the machine looks again. */
static void idle(struct thrum__machine *machine)
{
	struct thrum__processor *processor = machine->processor;
	struct thrum__runtime *runtime = processor->runtime;
	thrum__idler_enter(&runtime->idlers, &processor->idler);
	bool stay = !work_visible(processor) &&
		    !__atomic_load_n(&runtime->done, __ATOMIC_ACQUIRE) &&
		    __atomic_load_n(&processor->urgent, __ATOMIC_RELAXED) == 0;
	int64_t next = __atomic_load_n(&processor->next_timer, __ATOMIC_RELAXED);
	int64_t wait = -1;
	if (next != INT64_MAX) {
		wait = next - thrum_now();
		wait = wait < 0 ? 0 : wait;
	}
	if (processor->lookout.pause != 0 && (wait < 0 || wait > processor->lookout.pause))
		wait = processor->lookout.pause;
	thrum__count(stay ? &processor->counters.sleeps : &processor->counters.polls);
	poll_driver(processor, stay ? wait : 0);
	machine->searching = thrum__idler_leave(&runtime->idlers, &processor->idler, !stay);
	thrum__full_fence(); /* partner: the monitor's before it sleeps */
	if (__atomic_load_n(&runtime->monitor.asleep, __ATOMIC_RELAXED) != 0)
		thrum__monitor_wake(runtime);
	/* More than we can run at once. If we are searching, stop_searching will say so. */
	if (!machine->searching && !processor->alone && thrum__processor_load(processor) > 1)
		thrum__notify(runtime);
}

struct thrum_thread *thrum__dispatch(struct thrum__machine *machine)
{
	struct thrum__processor *processor = machine->processor;
	for (;;) {
		struct thrum_thread *thread = processor->next;
		processor->next = NULL;
		if (thread == NULL && thrum__turn_due(processor))
			thread = turn(processor);
		else
			processor->countdown -= processor->countdown > 0;
		if (thread == NULL)
			thread = take_local(processor);
		if (thread == NULL)
			thread = take_injected(processor);
		if (thread == NULL)
			thread = search(machine);
		if (machine->searching) {
			machine->searching = false;
			if (thrum__search_stop(&processor->runtime->idlers, thread != NULL) &&
				work_visible(processor))
				thrum__notify(processor->runtime);
		}
		if (thread != NULL) {
			thrum__count(&processor->counters.dispatches);
			return thread;
		}
		if (__atomic_load_n(&processor->runtime->done, __ATOMIC_ACQUIRE))
			return NULL;
		idle(machine);
	}
}
