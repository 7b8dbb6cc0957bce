/* SPDX-License-Identifier: MIT */
#include <thrum/thread.h>

#include <stdio.h>

#include "sched/sched_internal.h"

/*
 * Green threads: their memory, life and handles.
 *
 * Memory.  struct thrum_thread comes from slabs of the process that are never freed, only
 * recycled, so anybody may look at refs at any time. Taking a reference only if there is one
 * already (try_ref) pins the life the thread is in: this is how cancel_all walks all threads
 * without a list that every spawn and end would have to lock.
 *
 * References.  One for the life, and those of try_ref. The life's is dropped by whoever comes last,
 * of the end and the handle: a join or a detach. At 0 the thread is free.
 *
 * Ending.  thread_end runs when nothing runs on the thread's stack any more. `joiner` says how far
 * the two are: NULL, a joiner's wait, DETACHED, or ENDED.
 *
 *   end                                     join
 *   1 NULL -> ENDED: done. Otherwise        1 NULL -> wait; failed: it has ended: drop
 *   2 old = exchange(joiner, ENDING)        2 park; woken: drop
 *   3 DETACHED: drop. A wait: claim it      3 ended by itself (deadline, cancel): wait -> NULL;
 *   4 joiner = ENDED; claimed: wake it        failed: wait for ENDED
 *
 *                                           detach
 *                                           1 NULL -> DETACHED; failed: wait for ENDED, drop
 *
 * ENDING says that the end may still look at the joiner's wait, which lies on the joiner's stack:
 * so who gave up stays until it is over, a few instructions.
 *
 * Counting.  Each processor counts the threads born and ended on it, plainly; the sums are
 * compared only while the runtime stops (runtime.c).
 */

enum { SLAB = 64, CACHE = 2048, BATCH = 64, WARM = 32, ID_BLOCK = 1024 };

struct slab {
	struct thrum_thread threads[SLAB];
	struct slab *next;
};

static struct {
	struct thrum__lock lock;
	struct slab *slabs;        /* atomic head; slabs are never removed */
	struct thrum_thread *free; /* linked by link */
	uint64_t next_id;          /* atomic */
} threads = {.next_id = 1};

/* ---------------------------------------------------------------- memory */

/* Adds a slab to the free list. */
static bool grow(void)
{
	/* Maybe a system call: not under the lock. */
	struct slab *slab = aligned_alloc(THRUM__CACHELINE, sizeof(*slab));
	if (slab == NULL)
		return false;
	memset(slab, 0, sizeof(*slab));
	thrum__lock(&threads.lock);
	for (int i = SLAB - 1; i >= 0; i--) {
		slab->threads[i].parker.green = true;
		slab->threads[i].link = threads.free;
		threads.free = &slab->threads[i];
	}
	slab->next = threads.slabs;
	__atomic_store_n(&threads.slabs, slab, __ATOMIC_RELEASE);
	thrum__unlock(&threads.lock);
	return true;
}

/* Takes a batch from the process. False: it has none. */
static bool refill(struct thrum__processor *processor)
{
	thrum__lock(&threads.lock);
	while (processor->free_count < BATCH && threads.free != NULL) {
		struct thrum_thread *thread = threads.free;
		threads.free = thread->link;
		thread->link = processor->free_threads;
		processor->free_threads = thread;
		processor->free_count++;
	}
	thrum__unlock(&threads.lock);
	return processor->free_count > 0;
}

/* For a caller without a processor. */
static struct thrum_thread *take_shared(void)
{
	for (;;) {
		thrum__lock(&threads.lock);
		struct thrum_thread *thread = threads.free;
		if (thread != NULL)
			threads.free = thread->link;
		thrum__unlock(&threads.lock);
		if (thread != NULL || !grow())
			return thread;
	}
}

static struct thrum_thread *take_free(struct thrum__processor *processor)
{
	if (processor == NULL)
		return take_shared();
	while (processor->free_count == 0 && !refill(processor))
		if (!grow())
			return NULL;
	struct thrum_thread *thread = processor->free_threads;
	processor->free_threads = thread->link;
	__builtin_prefetch(thread->link, 1);
	processor->free_count--;
	processor->free_warm -= thread->home != 0;
	return thread;
}

static void give_shared(struct thrum_thread *thread)
{
	thrum__lock(&threads.lock);
	thread->link = threads.free;
	threads.free = thread;
	thrum__unlock(&threads.lock);
}

/* Gives a thread's stack back. */
static void cool(struct thrum__processor *processor, struct thrum_thread *thread)
{
	struct thrum__stack stack = thrum__stack_at(thread->home);
	thread->home = 0;
	thrum__stack_put(&processor->stacks, &stack);
}

void thrum__thread_cool(struct thrum__processor *processor)
{
	struct thrum_thread *thread = processor->free_threads;
	for (; processor->free_warm > 0; thread = thread->link)
		if (thread->home != 0) {
			cool(processor, thread);
			processor->free_warm--;
		}
}

/* Half of a processor's free threads go to the process. */
static void shed(struct thrum__processor *processor)
{
	struct thrum_thread *first = processor->free_threads, *last = NULL;
	thrum__thread_cool(processor);
	for (uint32_t i = 0; i < CACHE / 2; i++) {
		last = processor->free_threads;
		processor->free_threads = last->link;
	}
	processor->free_count -= CACHE / 2;
	thrum__lock(&threads.lock);
	last->link = threads.free;
	threads.free = first;
	thrum__unlock(&threads.lock);
}

/* A thread may have kept its stack: the next one that is spawned runs on it, warm as it is. */
static void give_local(struct thrum__processor *processor, struct thrum_thread *thread)
{
	if (processor->free_count >= CACHE)
		shed(processor);
	if (thread->home != 0 && processor->free_warm >= WARM)
		cool(processor, thread);
	processor->free_warm += thread->home != 0;
	thread->link = processor->free_threads;
	processor->free_threads = thread;
	processor->free_count++;
}

static void give_free(struct thrum_thread *thread)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL) {
		give_shared(thread);
		return;
	}
	bool entered = thrum__entered(machine);
	if (entered ? machine->processor != NULL : thrum__enter(machine))
		give_local(machine->processor, thread);
	else
		give_shared(thread);
	if (!entered)
		thrum__leave(machine);
}

void thrum__thread_cache_fini(struct thrum__processor *processor)
{
	thrum__thread_cool(processor);
	thrum__lock(&threads.lock);
	while (processor->free_threads != NULL) {
		struct thrum_thread *thread = processor->free_threads;
		processor->free_threads = thread->link;
		thread->link = threads.free;
		threads.free = thread;
	}
	thrum__unlock(&threads.lock);
	processor->free_count = 0;
}

static uint64_t take_id(struct thrum__processor *processor)
{
	if (processor == NULL)
		return __atomic_fetch_add(&threads.next_id, 1, __ATOMIC_RELAXED);
	if (processor->next_id == processor->end_id) {
		processor->next_id =
			__atomic_fetch_add(&threads.next_id, ID_BLOCK, __ATOMIC_RELAXED);
		processor->end_id = processor->next_id + ID_BLOCK;
	}
	return processor->next_id++;
}

void thrum__thread_lock_all(void)
{
	thrum__lock(&threads.lock);
}

void thrum__thread_unlock_all(void)
{
	thrum__unlock(&threads.lock);
}

/* ---------------------------------------------------------------- references */

static bool try_ref(struct thrum_thread *thread)
{
	uint32_t refs = __atomic_load_n(&thread->refs, __ATOMIC_RELAXED);
	while (refs != 0)
		if (__atomic_compare_exchange_n(&thread->refs, &refs, refs + 1, true,
			    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

void thrum__thread_unref(struct thrum_thread *thread)
{
	if (__atomic_fetch_sub(&thread->refs, 1, __ATOMIC_ACQ_REL) == 1)
		give_free(thread);
}

void thrum__thread_unref_local(struct thrum__machine *machine, struct thrum_thread *thread)
{
	uint32_t last = 1;
	if (__atomic_compare_exchange_n(
		    &thread->refs, &last, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		give_local(machine->processor, thread);
		return;
	}
	/* Somebody looks at it, too, and may free it, who knows where. */
	cool(machine->processor, thread);
	thrum__thread_unref(thread);
}

void thrum__thread_keep(struct thrum__machine *machine, struct thrum_thread *thread)
{
	cool(machine->processor, thread);
}

/* ---------------------------------------------------------------- life */

static void count_born(struct thrum__runtime *runtime, struct thrum__processor *processor)
{
	if (processor != NULL)
		thrum__count(&processor->born);
	else
		__atomic_fetch_add(&runtime->foreign_born, 1, __ATOMIC_RELAXED);
}

static void count_ended(struct thrum__runtime *runtime, struct thrum__processor *processor)
{
	if (processor != NULL)
		__atomic_store_n(&processor->ended, processor->ended + 1, __ATOMIC_RELEASE);
	else
		__atomic_fetch_add(&runtime->foreign_ended, 1, __ATOMIC_RELEASE);
}

struct thrum_thread *thrum__thread_create(struct thrum__runtime *runtime,
	struct thrum__processor *processor, thrum_fn fn, void *arg, const struct thrum_attr *attr,
	const char *site, bool detached)
{
	struct thrum_thread *thread = take_free(processor);
	if (thread == NULL)
		return NULL;
	__atomic_store_n(&thread->parker.word, THRUM__RUNNING, __ATOMIC_RELAXED);
	__atomic_store_n(&thread->cancelled, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&thread->joiner, detached ? THRUM__DETACHED : NULL, __ATOMIC_RELAXED);
	thread->shield = 0;
	thread->started = false;
	thread->stack_log2 = runtime->stack_log2;
	thread->fn = fn;
	thread->arg = arg;
	thread->name = NULL;
	thread->site = site;
	__atomic_store_n(&thread->reason, NULL, __ATOMIC_RELAXED);
	thread->pinned = NULL;
	thread->pins = thread->blocking = 0;
	if (attr != NULL) {
		thread->name = attr->name;
		if (attr->stack_size != 0)
			thread->stack_log2 =
				(uint8_t)__builtin_ctzll(thrum__stack_size(attr->stack_size));
	}
	if (thread->home != 0 && thrum__stack_log2(thread->home) != thread->stack_log2)
		cool(processor, thread);
	thread->id = take_id(processor);
	count_born(runtime, processor);
	__atomic_store_n(&thread->runtime, runtime, __ATOMIC_RELAXED);
	__atomic_store_n(&thread->refs, 1, __ATOMIC_RELEASE);
	return thread;
}

/* What both ends begin with. */
static void strip(struct thrum__machine *machine, struct thrum_thread *thread,
	const struct thrum__stack *stack)
{
	struct thrum__processor *processor = machine->processor;
	if (thrum__unlikely(thread->pinned != NULL)) /* ended without unpin */
		thread->pinned->kept = NULL;
	thrum__ctx_fini(&thread->ctx);
	if (thrum__unlikely(thread->measured))
		thrum__census_end(
			processor != NULL ? &processor->census : NULL, thread->site, stack);
	count_ended(machine->runtime, processor);
}

/* Keeps its stack for the next one. */
void thrum__thread_end_carried(struct thrum__machine *machine, struct thrum_thread *thread)
{
	struct thrum__stack stack = thrum__stack_at(thread->home);
	strip(machine, thread, &stack);
	thrum__fiber_unpoison(stack.base, stack.size);
	/* Its joiner, which runs now, is the only one to look, but for reports. */
	__atomic_store_n(&thread->joiner, THRUM__ENDED, __ATOMIC_RELAXED);
	if (__atomic_load_n(&machine->runtime->stopping, __ATOMIC_RELAXED))
		thrum__runtime_check_end(machine->runtime);
}

static void give_stack(struct thrum__processor *processor, struct thrum__stack *stack)
{
	if (processor != NULL) {
		thrum__stack_put(&processor->stacks, stack);
		return;
	}
	struct thrum__stack_cache cache = {0};
	thrum__stack_put(&cache, stack);
	thrum__stack_cache_trim(&cache);
}

/* Ends a thread that is detached, or that somebody joins. */
static void settle(struct thrum__machine *machine, struct thrum_thread *thread)
{
	struct thrum__wait *joiner =
		__atomic_exchange_n(&thread->joiner, THRUM__ENDING, __ATOMIC_ACQ_REL);
	if (joiner == THRUM__DETACHED) {
		thrum__thread_unref(thread);
		return;
	}
	bool wake = joiner != NULL && thrum__wait_claim(joiner, THRUM__JOINED);
	__atomic_store_n(&thread->joiner, THRUM__ENDED, __ATOMIC_RELEASE);
	if (!wake)
		return;
	if (machine->processor != NULL)
		machine->processor->slot_run = 0; /* its joiner is its continuation */
	thrum__wait_wake(joiner);
}

void thrum__thread_end(struct thrum__machine *machine, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = machine->runtime;
	bool first = thread == runtime->first;
	struct thrum__stack stack = thrum__stack_at(thread->home);
	strip(machine, thread, &stack);
	thread->home = 0;
	give_stack(machine->processor, &stack);
	if (first)
		thrum__runtime_stop(runtime);
	struct thrum__wait *nobody = NULL;
	if (!__atomic_compare_exchange_n(&thread->joiner, &nobody, THRUM__ENDED, false,
		    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		settle(machine, thread);
	if (first || __atomic_load_n(&runtime->stopping, __ATOMIC_RELAXED))
		thrum__runtime_check_end(runtime);
}

/* ---------------------------------------------------------------- cancelling */

void thrum_cancel(struct thrum_thread *thread)
{
	if (__atomic_exchange_n(&thread->cancelled, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	if (thrum__parker_signal(&thread->parker, THRUM__KNOCKED))
		thrum__ready(thread);
}

void thrum__thread_cancel_in(struct thrum_thread *thread, struct thrum__runtime *runtime)
{
	if (!try_ref(thread))
		return;
	if (__atomic_load_n(&thread->runtime, __ATOMIC_RELAXED) == runtime)
		thrum_cancel(thread);
	thrum__thread_unref(thread);
}

void thrum__thread_cancel_all(struct thrum__runtime *runtime)
{
	struct slab *slab = __atomic_load_n(&threads.slabs, __ATOMIC_ACQUIRE);
	for (; slab != NULL; slab = slab->next)
		for (int i = 0; i < SLAB; i++)
			thrum__thread_cancel_in(&slab->threads[i], runtime);
}

enum { REPORT_MAX = 20 };

static void report(struct thrum_thread *thread)
{
	const char *reason = __atomic_load_n(&thread->reason, __ATOMIC_RELAXED);
	thrum__log(THRUM__LOG_WARN,
		"thrum: still there: green thread %llu '%s' (spawned at %s): %s",
		(unsigned long long)thread->id, thread->name == NULL ? "" : thread->name,
		thread->site, reason == NULL ? "running" : reason);
}

unsigned thrum__thread_report_all(struct thrum__runtime *runtime)
{
	unsigned count = 0;
	struct slab *slab = __atomic_load_n(&threads.slabs, __ATOMIC_ACQUIRE);
	for (; slab != NULL; slab = slab->next)
		for (int i = 0; i < SLAB; i++) {
			struct thrum_thread *thread = &slab->threads[i];
			if (!try_ref(thread))
				continue;
			bool ended =
				__atomic_load_n(&thread->joiner, __ATOMIC_ACQUIRE) == THRUM__ENDED;
			if (__atomic_load_n(&thread->runtime, __ATOMIC_RELAXED) == runtime &&
				!ended && ++count <= REPORT_MAX)
				report(thread);
			thrum__thread_unref(thread);
		}
	if (count > REPORT_MAX)
		thrum__log(THRUM__LOG_WARN, "thrum: still there: %u more green threads",
			count - REPORT_MAX);
	return count;
}

bool thrum_canceled(void)
{
	struct thrum_thread *self = thrum_self();
	return self != NULL && __atomic_load_n(&self->cancelled, __ATOMIC_ACQUIRE) != 0;
}

void thrum_shield_begin(void)
{
	struct thrum_thread *self = thrum_self();
	if (self != NULL)
		self->shield++;
}

void thrum_shield_end(void)
{
	struct thrum_thread *self = thrum_self();
	if (self == NULL)
		return;
	CHECK(self->shield > 0);
	self->shield--;
}

/* ---------------------------------------------------------------- questions */

struct thrum_thread *thrum_self(void)
{
	struct thrum__machine *machine = thrum__machine_self();
	return machine == NULL ? NULL : machine->current;
}

uint64_t thrum_thread_id(const struct thrum_thread *thread)
{
	return thread->id;
}

unsigned thrum_workers(void)
{
	struct thrum__machine *machine = thrum__machine_self();
	return machine == NULL ? 0 : machine->runtime->count;
}
