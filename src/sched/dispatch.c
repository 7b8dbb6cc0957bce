/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include "sched/fence.h"

/*
 * Which thread runs next, and who is told that there is work.
 *
 * Order.  The slot first, which holds the thread woken last, for its data is warm; but at most three
 * times in a row, then it goes to the end of the inbox. Then the deque (spawned, newest first) and
 * the inbox (woken and yielded, oldest first) in turn, so neither starves the other.
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
 * Rapid processors.  Where dispatches follow each other within half a microsecond (the monitor measures it),
 * a stolen thread costs more than it takes to run: its lines cross to the thief, and back to who
 * joins it. Such a processor calls nobody, and its work is not visible. But under a pile of small
 * threads the oldest may be the root of a large part of the work. So an idle machine looks out:
 * it sleeps for a tenth of a millisecond, and longer and longer, and what is still the oldest of
 * the same deque then, it takes.
 *
 * A yielded thread is not a submission: there is no more work than before. It wakes a thief only
 * if it sees, without a fence, that one sleeps; the monitor's tick covers what that misses.
 */

enum { TURN = 61, SLOT_MAX = 3, INJECT_BATCH = 32, STEAL_MAX = 32, STEAL_SHARE = 16, LONE_MAX = 8 };

#define POLL_NS (50 * THRUM_US) /* between two polls of a busy processor */
#define BURIED_NS (20 * THRUM_MS) /* for so long the oldest: too long */
#define AGE_NS	(2 * THRUM_US)	/* a thief's moment */
#define LOOKOUT_MIN (100 * THRUM_US)
#define LOOKOUT_MAX (2 * THRUM_MS)

uint64_t thrum__processor_load(const struct thrum__processor *processor)
{
	return (uint64_t)thrum__deque_count(&processor->deque) +
	       (uint64_t)thrum__deque_count(&processor->inbox) +
	       (__atomic_load_n(&processor->slot, __ATOMIC_RELAXED) != NULL);
}

static bool is_rapid(const struct thrum__processor *processor)
{
	return __atomic_load_n(&processor->rapid, __ATOMIC_RELAXED);
}

/* Is there anything queued that this processor could take? */
static bool work_visible(struct thrum__processor *self)
{
	struct thrum__runtime *runtime = self->runtime;
	if (thrum__queue_count(&runtime->inject) > 0 || thrum__queue_count(&self->mail) > 0 ||
		thrum__processor_load(self) > 0)
		return true;
	for (unsigned i = 0; i < runtime->count && !runtime->migrate; i++)
		if (thrum__processor_load(&runtime->processors[i]) > 1 &&
			!is_rapid(&runtime->processors[i]))
			return true;
	return false;
}

/* ---------------------------------------------------------------- submitting */

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
	if (processor->alone || processor->polling || is_rapid(processor))
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

static void push_inbox(struct thrum__processor *processor, struct thrum_thread *thread)
{
	if (!thrum__deque_push(&processor->inbox, thread))
		thrum__queue_push(&processor->runtime->inject, thread); /* no memory to grow */
}

static void push_chain(struct thrum__processor *processor, struct thrum_thread *chain)
{
	while (chain != NULL) {
		struct thrum_thread *thread = chain;
		chain = thread->link; /* queued, it is no longer ours */
		push_inbox(processor, thread);
	}
}

/* Thieves only ever empty the slot, so what the owner sees empty stays so. */
static struct thrum_thread *slot_exchange(
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
		thread = slot_exchange(processor, thread);
	if (thread != NULL)
		push_inbox(processor, thread);
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
	push_inbox(processor, thread);
	if (!processor->alone && !is_rapid(processor) && somebody_idle(processor->runtime) &&
		thrum__processor_load(processor) > 1)
		thrum__notify(processor->runtime);
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

/* ---------------------------------------------------------------- the own queues */

static struct thrum_thread *take_slot(struct thrum__processor *processor)
{
	struct thrum_thread *thread = __atomic_load_n(&processor->slot, __ATOMIC_RELAXED);
	if (thread == NULL) {
		processor->slot_run = 0;
		return NULL;
	}
	thread = slot_exchange(processor, NULL);
	if (thread != NULL && processor->slot_run++ >= SLOT_MAX) {
		push_inbox(processor, thread);
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

static struct thrum_thread *steal_one(struct thrum__processor *thief);

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
	push_chain(processor, thrum__queue_take(&processor->mail, UINT32_MAX));
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
		thread = steal_one(processor);
	if (load + (thread != NULL) > 1 && !is_rapid(processor))
		thrum__notify(runtime);
	return thread;
}

void thrum__turn(struct thrum__processor *processor)
{
	struct thrum_thread *thread = turn(processor);
	if (thread != NULL)
		push_inbox(processor, thread);
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
	push_chain(processor, first == NULL ? NULL : first->link);
	/* I3 of idle.c; if we are counted in searching, this leaves it to stop_searching. */
	if (!processor->alone && thrum__processor_load(processor) > 0)
		thrum__notify(runtime);
	return first;
}

/* ---------------------------------------------------------------- stealing */

/* Half of a victim's inbox: the first is returned, the others go to the thief's. */
static struct thrum_thread *steal_inbox(
	struct thrum__processor *thief, struct thrum__processor *victim, int64_t max, bool *lost)
{
	int64_t want = (thrum__deque_count(&victim->inbox) + 1) / 2;
	struct thrum_thread *first = thrum__deque_steal(&victim->inbox, lost);
	for (int64_t i = 1; first != NULL && i < want && i < max; i++) {
		struct thrum_thread *more = thrum__deque_steal(&victim->inbox, lost);
		if (more == NULL)
			break;
		push_inbox(thief, more);
	}
	return first;
}

/*
 * The oldest of a victim's deque: in fork-join code, where there are few, the root of the largest
 * part of the work. Where there are many, one for each trip across cores would be dear: some more
 * come along.
 */
static struct thrum_thread *steal_deque(
	struct thrum__processor *thief, struct thrum__processor *victim, int64_t max, bool *lost)
{
	int64_t want = thrum__deque_count(&victim->deque) / STEAL_SHARE;
	struct thrum_thread *first = thrum__deque_steal(&victim->deque, lost);
	for (int64_t i = 1; first != NULL && i < want && i < max; i++) {
		struct thrum_thread *more = thrum__deque_steal(&victim->deque, lost);
		if (more == NULL)
			break;
		push_inbox(thief, more);
	}
	return first;
}

static struct thrum_thread *steal_from(
	struct thrum__processor *thief, struct thrum__processor *victim, int64_t max, bool *lost)
{
	struct thrum_thread *thread = steal_deque(thief, victim, max, lost);
	if (thread == NULL)
		thread = steal_inbox(thief, victim, max, lost);
	if (thread == NULL && __atomic_load_n(&victim->slot, __ATOMIC_RELAXED) != NULL)
		thread = __atomic_exchange_n(&victim->slot, NULL, __ATOMIC_ACQ_REL);
	if (thread != NULL)
		thrum__count(&thief->counters.steals);
	return thread;
}

/*
 * A rapid victim with more than one thread. First seen: look again later. Still the same oldest
 * one a while after: take it.
 */
static struct thrum_thread *look_out(
	struct thrum__processor *thief, struct thrum__processor *victim, int64_t max, bool *lost)
{
	struct thrum__lookout *lookout = &thief->lookout;
	int64_t top = __atomic_load_n(&victim->deque.top, __ATOMIC_RELAXED), now = thrum_now();
	if (lookout->pause == 0)
		lookout->pause = LOOKOUT_MIN;
	if (lookout->victim != victim || lookout->top != top) {
		lookout->victim = victim;
		lookout->top = top;
		lookout->since = now;
		if (!thrum__deque_empty(&victim->deque))
			return NULL;
	}
	if (now - lookout->since < LOOKOUT_MIN)
		return NULL;
	lookout->since = now;
	struct thrum_thread *thread = thrum__deque_steal(&victim->deque, lost);
	return thread != NULL ? thread : steal_inbox(thief, victim, max, lost);
}

struct lone {
	struct thrum__processor *victim;
	uint64_t dispatches;
};

static uint64_t dispatches_of(const struct thrum__processor *processor)
{
	return __atomic_load_n(&processor->counters.dispatches, __ATOMIC_ACQUIRE);
}

/* Tries every other processor with two threads or more, from a random one on. */
static struct thrum_thread *steal_surplus(
	struct thrum__processor *thief, struct lone *lone, unsigned *lones, int64_t max, bool *lost)
{
	struct thrum__runtime *runtime = thief->runtime;
	unsigned from = thrum__splitmix64(&thief->random) % runtime->count;
	for (unsigned i = 0; i < runtime->count; i++) {
		struct thrum__processor *victim = &runtime->processors[(from + i) % runtime->count];
		uint64_t load = victim == thief ? 0 : thrum__processor_load(victim);
		if (load == 1 && lone != NULL && *lones < LONE_MAX)
			lone[(*lones)++] = (struct lone){victim, dispatches_of(victim)};
		struct thrum_thread *thread = NULL;
		if (load >= 2)
			thread = is_rapid(victim) ? look_out(thief, victim, max, lost)
						  : steal_from(thief, victim, max, lost);
		if (thread != NULL)
			return thread;
	}
	return NULL;
}

static struct thrum_thread *steal_one(struct thrum__processor *thief)
{
	bool lost;
	return steal_surplus(thief, NULL, NULL, 1, &lost);
}

/* What has lain alone on a processor for a moment, in which that one has not dispatched. */
static struct thrum_thread *steal_lone(
	struct thrum__processor *thief, const struct lone *lone, unsigned lones)
{
	bool lost;
	int64_t until = thrum_now() + AGE_NS;
	while (lones > 0 && thrum_now() < until)
		thrum__cpu_relax();
	for (unsigned i = 0; i < lones; i++) {
		struct thrum__processor *victim = lone[i].victim;
		if (dispatches_of(victim) != lone[i].dispatches)
			continue;
		struct thrum_thread *thread = steal_from(thief, victim, STEAL_MAX, &lost);
		if (thread == NULL)
			continue;
		__atomic_fetch_add(&victim->stolen, 1, __ATOMIC_RELAXED);
		return thread;
	}
	return NULL;
}

static struct thrum_thread *steal(struct thrum__processor *thief)
{
	struct lone lone[LONE_MAX];
	unsigned lones = 0;
	bool lost = false;
	struct thrum_thread *thread = steal_surplus(thief, lone, &lones, STEAL_MAX, &lost);
	if (thread == NULL && lost)
		thread = steal_surplus(thief, NULL, NULL, STEAL_MAX, &lost);
	return thread != NULL ? thread : steal_lone(thief, lone, lones);
}

static struct thrum_thread *search(struct thrum__machine *machine)
{
	struct thrum__processor *processor = machine->processor;
	struct thrum__runtime *runtime = processor->runtime;
	if (processor->alone || runtime->migrate)
		return NULL;
	if (!machine->searching)
		machine->searching = thrum__search_start(&runtime->idlers, runtime->count);
	if (!machine->searching)
		return NULL;
	int64_t pause = processor->lookout.pause;
	processor->lookout.pause = 0;
	struct thrum_thread *thread = steal(processor);
	if (thread != NULL)
		processor->lookout.pause = 0;
	else if (processor->lookout.pause != 0 && pause != 0) /* in vain, again */
		processor->lookout.pause = pause < LOOKOUT_MAX ? 2 * pause : pause;
	return thread;
}

/* ---------------------------------------------------------------- idle */

/* M2..M5 of idle.c; afterwards the machine looks again. */
static void idle(struct thrum__machine *machine)
{
	struct thrum__processor *processor = machine->processor;
	struct thrum__runtime *runtime = processor->runtime;
	thrum__idler_enter(&runtime->idlers, &processor->idler);
	bool stay = !work_visible(processor) && !__atomic_load_n(&runtime->done, __ATOMIC_ACQUIRE) &&
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
