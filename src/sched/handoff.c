/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include <thrum/thread.h>

/*
 * Which machine runs which processor.
 *
 * A processor always has a machine: it is handed from one to another, never put aside. A
 * machine may have none: then it is a *spare*, asleep; or *detached*, running on with a thread
 * whose processor was taken (the monitor) or given away (thrum_blocking_begin); or kept for a
 * pinned thread.
 *
 *            take (monitor), blocking_begin
 *   running ------------------------------> detached
 *      ^  \                                    |  its thread suspends or ends: rejoin
 *      |   \ pass (a pinned thread's turn)     v
 *      +---- given <------------------------ spare / kept
 *
 * [I1] processor->machine changes under machine_lock, and whoever changes it holds the processor:
 *      its machine on its own stack or in blocking_begin, or the monitor after a claim.
 * [I2] A processor is taken only when its next machine exists already, so that no queue is ever
 *      without one, though every other machine be detached and no OS thread to be had.
 * [I3] At most detached_max machines are detached. Past that a hog keeps its processor, and the
 *      refusal is counted.
 * [I4] A thread that rejoins has left its stack before it is queued (machine.c). It goes to the
 *      processor it came from if that is idle, else to any idle one, else to the inject queue.
 * [I5] A machine kept for a pinned thread runs no other, as long as another machine can be had.
 *
 * Spares beyond a few end after a while without work; the caller of thrum_run never does.
 *
 * Rejected: letting a detached thread take part in the queues under a lock of the processor (each
 * operation of everybody would pay for it); giving a hog's processor back when it returns (it
 * has a machine, which is not to be interrupted).
 */

enum { SPARES_KEPT = 2 };

#define SPARE_PATIENCE (5 * THRUM_S)

/* ---------------------------------------------------------------- OS threads */

static void *machine_main(void *machine_v)
{
	struct thrum__machine *machine = machine_v;
	pthread_setname_np(pthread_self(), "thrum");
	thrum__machine_run(machine);
	return NULL;
}

enum { GIVEN = 1, DONE = 2 }; /* bits of a baton */

/* A machine's memory: that of one whose OS thread has ended, or new. Zeroed but for `all`. */
static struct thrum__machine *machine_memory(struct thrum__runtime *runtime)
{
	struct thrum__machine *machine;
	thrum__lock(&runtime->machine_lock);
	for (machine = runtime->machines; machine != NULL && !machine->gone; machine = machine->all)
		;
	if (machine != NULL)
		machine->gone = false;
	thrum__unlock(&runtime->machine_lock);
	if (machine != NULL) {
		if (!machine->caller)
			CHECK(pthread_join(machine->os_thread, NULL) == 0);
		thrum__lock(&runtime->machine_lock); /* others go along the list */
		struct thrum__machine *all = machine->all;
		memset(machine, 0, sizeof(*machine));
		machine->all = all;
		thrum__unlock(&runtime->machine_lock);
		return machine;
	}
	size_t size = sizeof(*machine) + THRUM__CACHELINE - 1;
	machine = aligned_alloc(THRUM__CACHELINE, size - size % THRUM__CACHELINE);
	if (machine == NULL)
		return NULL;
	memset(machine, 0, sizeof(*machine));
	thrum__lock(&runtime->machine_lock);
	machine->all = runtime->machines;
	runtime->machines = machine;
	thrum__unlock(&runtime->machine_lock);
	return machine;
}

static void count_machine(struct thrum__runtime *runtime)
{
	uint32_t now = __atomic_add_fetch(&runtime->machine_count, 1, __ATOMIC_RELAXED);
	if (now > __atomic_load_n(&runtime->machine_peak, __ATOMIC_RELAXED))
		__atomic_store_n(&runtime->machine_peak, now, __ATOMIC_RELAXED);
}

static bool start_thread(struct thrum__machine *machine)
{
	pthread_attr_t attr;
	CHECK(pthread_attr_init(&attr) == 0);
	/* Whoever creates it, it takes the signals that its runtime's first machine takes. */
	int err = pthread_attr_setsigmask_np(&attr, &machine->runtime->signals);
	if (err == 0) /* else it is memory that there is none of */
		err = pthread_create(&machine->os_thread, &attr, machine_main, machine);
	pthread_attr_destroy(&attr);
	return err == 0;
}

struct thrum__machine *thrum__machine_create(struct thrum__runtime *runtime, bool with_thread)
{
	struct thrum__machine *machine = machine_memory(runtime);
	if (machine == NULL)
		return NULL;
	machine->runtime = runtime;
	machine->waiting = true;
	machine->claim.state = THRUM__RUNTIME;
	machine->claim.word = THRUM__CLAIM_TAKEN | runtime->fenced;
	/* thrum__machines_finish may have been here before it was listed, or before it was wiped.
	 */
	thrum__lock(&runtime->machine_lock);
	if (__atomic_load_n(&runtime->done, __ATOMIC_RELAXED))
		__atomic_fetch_or(&machine->baton, DONE, __ATOMIC_RELAXED);
	thrum__unlock(&runtime->machine_lock);
	machine->caller = true;
	if (with_thread) {
		machine->caller = false;
		if (!start_thread(machine)) {
			machine->caller = true; /* no OS thread to be joined */
			thrum__lock(&runtime->machine_lock);
			machine->gone = true;
			thrum__unlock(&runtime->machine_lock);
			return NULL;
		}
	}
	count_machine(runtime);
	return machine;
}

/* ---------------------------------------------------------------- giving and waiting */

static void hand(struct thrum__machine *machine, struct thrum__processor *processor,
	struct thrum_thread *thread, struct thrum_thread *chain)
{
	machine->given = processor;
	machine->given_thread = thread;
	machine->given_chain = chain;
	machine->waiting = false;
	__atomic_store_n(&processor->machine, machine, __ATOMIC_RELEASE);
	__atomic_fetch_or(&machine->baton, GIVEN, __ATOMIC_RELEASE);
}

void thrum__machine_give(struct thrum__machine *machine, struct thrum__processor *processor)
{
	thrum__lock(&machine->runtime->machine_lock); /* its OS thread may look at it already */
	hand(machine, processor, NULL, NULL);
	thrum__unlock(&machine->runtime->machine_lock);
	thrum__futex_wake(&machine->baton, 1);
}

/* The machine goes on without its processor. Under machine_lock, by itself. */
static void let_go(struct thrum__machine *machine)
{
	__atomic_store_n(&machine->claim.word, THRUM__CLAIM_TAKEN | machine->runtime->fenced,
		__ATOMIC_RELAXED);
	machine->processor = NULL;
}

static void list_spare(struct thrum__machine *machine)
{
	machine->link = machine->runtime->spares;
	machine->runtime->spares = machine;
	__atomic_fetch_add(
		&machine->runtime->spare_count, 1, __ATOMIC_RELAXED); /* read without the lock */
}

struct thrum__machine *thrum__spare_take(struct thrum__runtime *runtime)
{
	thrum__lock(&runtime->machine_lock);
	struct thrum__machine *machine = runtime->spares;
	if (machine != NULL) {
		runtime->spares = machine->link;
		__atomic_fetch_sub(&runtime->spare_count, 1, __ATOMIC_RELAXED);
	}
	thrum__unlock(&runtime->machine_lock);
	return machine != NULL ? machine : thrum__machine_create(runtime, true);
}

void thrum__spare_put(struct thrum__machine *machine)
{
	thrum__lock(&machine->runtime->machine_lock);
	list_spare(machine);
	thrum__unlock(&machine->runtime->machine_lock);
}

/* A spare that has waited long enough ends, if there are others. */
static bool retire(struct thrum__machine *machine)
{
	struct thrum__runtime *runtime = machine->runtime;
	thrum__lock(&runtime->machine_lock);
	struct thrum__machine **at = &runtime->spares;
	while (*at != NULL && *at != machine)
		at = &(*at)->link;
	bool ends = *at != NULL && runtime->spare_count > SPARES_KEPT && !machine->caller;
	if (ends) {
		*at = machine->link;
		__atomic_fetch_sub(&runtime->spare_count, 1, __ATOMIC_RELAXED);
		machine->gone = true;
		__atomic_fetch_sub(&runtime->machine_count, 1, __ATOMIC_RELAXED);
	}
	thrum__unlock(&runtime->machine_lock);
	return ends;
}

/* Sleeps for a baton. 0: there is none and the machine has ended. */
static uint32_t wait_baton(struct thrum__machine *machine)
{
	struct thrum__runtime *runtime = machine->runtime;
	uint32_t baton;
	while ((baton = __atomic_load_n(&machine->baton, __ATOMIC_ACQUIRE)) == 0) {
		/* The caller cannot end: it would wake in vain, again and again. */
		bool surplus = !machine->caller && __atomic_load_n(&runtime->spare_count,
							   __ATOMIC_RELAXED) > SPARES_KEPT;
		int64_t since = thrum_now();
		thrum__futex_wait(&machine->baton, 0, surplus ? SPARE_PATIENCE : -1);
		if (surplus && thrum_now() - since >= SPARE_PATIENCE && retire(machine))
			break;
	}
	return baton;
}

bool thrum__machine_wait(struct thrum__machine *machine)
{
	struct thrum__runtime *runtime = machine->runtime;
	if (machine->processor != NULL)
		return true;
	thrum__lock(&runtime->machine_lock);
	if (machine->detached) {
		machine->detached = false;
		__atomic_store_n(&runtime->detached, runtime->detached - 1, __ATOMIC_RELAXED);
	}
	/* A new machine waits from the start: somebody has created it to give it a processor. */
	if (!machine->waiting && machine->given == NULL) {
		machine->waiting = true;
		if (machine->kept == NULL)
			list_spare(machine);
	}
	/* Made while the runtime ended, it may have missed the baton that says so. */
	bool ends = machine->given == NULL && __atomic_load_n(&runtime->done, __ATOMIC_ACQUIRE);
	thrum__unlock(&runtime->machine_lock);
	if (ends || !(wait_baton(machine) & GIVEN))
		return false;
	__atomic_fetch_and(&machine->baton, ~(uint32_t)GIVEN, __ATOMIC_RELAXED);
	thrum__lock(&runtime->machine_lock); /* a claim may be on its way, and needs the word */
	machine->processor = machine->home = machine->given;
	machine->given = NULL;
	__atomic_store_n(&machine->claim.word, runtime->fenced, __ATOMIC_RELAXED);
	thrum__unlock(&runtime->machine_lock);
	return true;
}

void thrum__machines_finish(struct thrum__runtime *runtime)
{
	thrum__lock(&runtime->machine_lock);
	for (struct thrum__machine *machine = runtime->machines; machine != NULL;
		machine = machine->all) {
		__atomic_fetch_or(&machine->baton, DONE, __ATOMIC_RELEASE);
		thrum__futex_wake(&machine->baton, 1);
	}
	thrum__unlock(&runtime->machine_lock);
}

/* ---------------------------------------------------------------- taking and passing on */

bool thrum__handoff(
	struct thrum__processor *processor, struct thrum__machine *from, struct thrum__machine *to)
{
	struct thrum__runtime *runtime = processor->runtime;
	thrum__lock(&runtime->machine_lock);
	bool taken = processor->machine == from && runtime->detached < runtime->detached_max &&
		     thrum__claim_take(&from->claim);
	if (taken) {
		struct thrum_thread *chain = from->carried;
		__atomic_store_n(&from->carried, NULL, __ATOMIC_RELAXED);
		from->detached = true;
		__atomic_store_n(&runtime->detached, runtime->detached + 1, __ATOMIC_RELAXED);
		hand(to, processor, NULL, chain);
	}
	thrum__unlock(&runtime->machine_lock);
	if (taken)
		thrum__futex_wake(&to->baton, 1);
	return taken;
}

/* The processor that a machine holds, or NULL. Under machine_lock. */
static struct thrum__processor *held_by(const struct thrum__machine *machine)
{
	struct thrum__runtime *runtime = machine->runtime;
	for (unsigned i = 0; i < runtime->count; i++)
		if (runtime->processors[i].machine == machine)
			return &runtime->processors[i];
	return NULL;
}

void thrum__deliver(struct thrum__machine *machine, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = machine->runtime;
	if (thrum__machine_pass(machine, thread->pinned, thread))
		return;
	thrum__lock(&runtime->machine_lock);
	struct thrum__processor *processor = held_by(thread->pinned);
	thrum__unlock(&runtime->machine_lock);
	if (processor != NULL)
		thrum__mail(processor, thread);
	else /* on its way to waiting */
		thrum__ready_yielded(machine->processor, thread);
}

bool thrum__machine_pass(
	struct thrum__machine *machine, struct thrum__machine *to, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = machine->runtime;
	struct thrum__processor *processor = machine->processor;
	if (to == NULL && (to = thrum__spare_take(runtime)) == NULL)
		return false;
	thrum__lock(&runtime->machine_lock);
	bool waits = to->waiting;
	if (waits) {
		let_go(machine);
		hand(to, processor, thread, NULL);
	}
	thrum__unlock(&runtime->machine_lock);
	if (waits)
		thrum__futex_wake(&to->baton, 1);
	return waits;
}

/* Counted before the thread can run, for it may look. */
static void count_rejoin(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* Publishes a thread to one idle processor. False: it is not idle. */
static bool rejoin_at(
	struct thrum__processor *processor, struct thrum_thread *thread, uint64_t *counter)
{
	if (!thrum__idler_call(&processor->runtime->idlers, &processor->idler))
		return false;
	count_rejoin(counter);
	/* Called, it looks at its mail when it wakes, at the latest by this wake. */
	thrum__queue_push(&processor->mail, thread);
	__atomic_fetch_or(&processor->urgent, THRUM__URGENT_MAIL, __ATOMIC_SEQ_CST);
	thrum__driver_wake(processor->driver);
	return true;
}

void thrum__rejoin(struct thrum__machine *machine, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = machine->runtime;
	struct thrum__counters *handed = &runtime->handed;
	if (rejoin_at(machine->home, thread, &handed->rejoined_old))
		return;
	for (unsigned i = 0; i < runtime->count; i++)
		if (rejoin_at(&runtime->processors[i], thread, &handed->rejoined_idle))
			return;
	count_rejoin(&handed->rejoined_inject);
	thrum__ready_inject(runtime, thread);
}

/* ---------------------------------------------------------------- by the thread's own wish */

/* In USER with a processor -> in USER, detached. */
static void detach(struct thrum__machine *machine)
{
	struct thrum__runtime *runtime = machine->runtime;
	struct thrum__processor *processor = machine->processor;
	struct thrum__machine *spare = NULL;
	if (__atomic_load_n(&runtime->detached, __ATOMIC_RELAXED) < runtime->detached_max)
		spare = thrum__spare_take(runtime);
	thrum__lock(&runtime->machine_lock);
	bool may = spare != NULL && runtime->detached < runtime->detached_max;
	if (may) {
		let_go(machine);
		machine->detached = true;
		__atomic_store_n(&runtime->detached, runtime->detached + 1, __ATOMIC_RELAXED);
		hand(spare, processor, NULL, machine->carried);
		__atomic_store_n(&machine->carried, NULL, __ATOMIC_RELAXED);
	} else if (spare != NULL) {
		list_spare(spare);
	}
	thrum__unlock(&runtime->machine_lock);
	if (may)
		thrum__futex_wake(&spare->baton, 1);
	else /* the monitor may have more luck */
		__atomic_fetch_add(&runtime->handed.capped, 1, __ATOMIC_RELAXED);
}

void thrum_blocking_begin(void)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL || machine->current == NULL || machine->current->blocking++ > 0)
		return;
	if (thrum__enter(machine))
		detach(machine);
	thrum__leave(machine);
}

void thrum_blocking_end(void)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL || machine->current == NULL)
		return;
	CHECK(machine->current->blocking > 0);
	if (--machine->current->blocking > 0)
		return;
	if (!thrum__enter(machine))
		machine = thrum__suspend(machine, machine->current, THRUM__ACT_YIELD, NULL);
	thrum__leave(machine);
}

void thrum_pin(void)
{
	struct thrum_thread *self = thrum_self();
	if (self == NULL || self->pins++ > 0)
		return;
	struct thrum__machine *machine = thrum__machine_self();
	thrum__enter(machine);
	/* Kept for another already: only where no further OS thread was to be had [I5]. */
	while (machine->kept != NULL)
		machine = thrum__suspend(machine, self, THRUM__ACT_YIELD, NULL);
	self->pinned = machine;
	machine->kept = self;
	thrum__leave(machine);
}

void thrum_unpin(void)
{
	struct thrum_thread *self = thrum_self();
	if (self == NULL)
		return;
	CHECK(self->pins > 0);
	if (--self->pins > 0)
		return;
	self->pinned->kept = NULL;
	self->pinned = NULL;
}
