/* SPDX-License-Identifier: MIT */
#include <thrum/thread.h>

#include <errno.h>
#include <sched.h>

#include "sched/sched_internal.h"

/*
 * Green threads: their memory, life and handles.
 *
 * Memory.  struct thrum_thread comes from slabs of the process that are never freed, only
 * recycled, so anybody may look at refs at any time. Taking a reference only if there is one
 * already (try_ref) pins the life the thread is in: this is how cancel_all walks all threads
 * without a list that every spawn and end would have to lock.
 *
 * References.  One for the run (until thread_end), one for the handle. At 0 the thread is free.
 *
 * Ending.  thread_end runs on the scheduler's stack: the thread's own is given back there. `done`
 * and `joiner` are under thread->lock; whoever ends claims the joiner's wait under it and wakes
 * it outside.
 *
 * Stopping a runtime.  begin: stopping = 1; FENCE; cancel all that are in it. spawn: publish the
 * thread; FENCE (in notify); stopping? then cancel it. One of the two sees the other. With one
 * worker both are on one OS thread.
 */

enum { SLAB = 64, CACHE = 256, BATCH = 32, ID_BLOCK = 1024 };

struct slab {
	struct slab *next;
	struct thrum_thread threads[SLAB];
};

static struct {
	struct thrum__lock lock;
	struct slab *slabs;        /* atomic head; slabs are never removed */
	struct thrum_thread *free; /* linked by link */
	uint64_t next_id;          /* atomic */
} threads = {.next_id = 1};

static void cancel_in(struct thrum_thread *thread, struct thrum__runtime *runtime);

/* ---------------------------------------------------------------- memory */

/* Adds a slab to the free list. */
static bool grow(void)
{
	struct slab *slab = calloc(1, sizeof(*slab)); /* maybe a system call: not under the lock */
	if (slab == NULL)
		return false;
	thrum__lock(&threads.lock);
	for (int i = SLAB - 1; i >= 0; i--) {
		slab->threads[i].parker.thread = &slab->threads[i];
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

static struct thrum_thread *take_free(struct thrum__processor *processor)
{
	while (processor->free_count == 0 && !refill(processor))
		if (!grow())
			return NULL;
	struct thrum_thread *thread = processor->free_threads;
	processor->free_threads = thread->link;
	processor->free_count--;
	return thread;
}

static void give_free(struct thrum_thread *thread)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine != NULL && machine->processor->free_count < CACHE) {
		thread->link = machine->processor->free_threads;
		machine->processor->free_threads = thread;
		machine->processor->free_count++;
		return;
	}
	thrum__lock(&threads.lock);
	thread->link = threads.free;
	threads.free = thread;
	thrum__unlock(&threads.lock);
}

void thrum__thread_cache_fini(struct thrum__processor *processor)
{
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
	if (processor->next_id == processor->end_id) {
		processor->next_id =
			__atomic_fetch_add(&threads.next_id, ID_BLOCK, __ATOMIC_RELAXED);
		processor->end_id = processor->next_id + ID_BLOCK;
	}
	return processor->next_id++;
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

struct thrum_thread *thrum__thread_create(struct thrum__runtime *runtime,
	struct thrum__processor *processor, thrum_fn fn, void *arg, const struct thrum_attr *attr,
	const char *site, uint32_t refs)
{
	struct thrum_thread *thread = take_free(processor);
	if (thread == NULL)
		return NULL;
	__atomic_store_n(&thread->parker.word, THRUM__RUNNING, __ATOMIC_RELAXED);
	__atomic_store_n(&thread->cancelled, 0, __ATOMIC_RELAXED);
	thread->shield = 0;
	thread->done = false;
	thread->joiner = NULL;
	thread->link = NULL;
	thread->fn = fn;
	thread->arg = arg;
	thread->result = NULL;
	thread->stack = (struct thrum__stack){0};
	size_t size = attr == NULL ? 0 : attr->stack_size;
	thread->stack_size = size == 0 ? runtime->stack_size : thrum__stack_size(size);
	thread->name = attr == NULL ? NULL : attr->name;
	thread->site = site;
	thread->reason = NULL;
	thread->id = take_id(processor);
	__atomic_store_n(&thread->runtime, runtime, __ATOMIC_RELAXED);
	__atomic_store_n(&thread->refs, refs, __ATOMIC_RELEASE);
	return thread;
}

/* ---------------------------------------------------------------- life */

void thrum__thread_main(void *arg, void *machine)
{
	(void)machine;
	struct thrum_thread *self = arg;
	thrum__ctx_arrive(&self->ctx);
	self->result = self->fn(self->arg);
	thrum__machine_suspend(self, THRUM__ACT_EXIT);
}

void thrum__thread_end(struct thrum__machine *machine, struct thrum_thread *thread)
{
	struct thrum__runtime *runtime = machine->processor->runtime;
	thrum__ctx_fini(&thread->ctx);
	if (thread->measured)
		thrum__census_end(&machine->processor->census, thread->site, &thread->stack);
	thrum__stack_put(&machine->processor->stacks, &thread->stack);
	if (thread == runtime->first)
		thrum__runtime_stop(runtime);

	thrum__lock(&thread->lock);
	thread->done = true;
	struct thrum__wait *joiner = thread->joiner;
	bool wake = joiner != NULL && thrum__wait_claim(joiner, 1);
	thrum__unlock(&thread->lock);
	if (wake)
		thrum__wait_wake(joiner);
	thrum__thread_unref(thread);
	thrum__runtime_leave(runtime);
}

static int attr_check(const struct thrum_attr *attr)
{
	for (size_t i = 0; i < thrum__countof(attr->reserved_); i++)
		if (attr->reserved_[i] != 0)
			return -EINVAL;
	return thrum__stack_size(attr->stack_size) == 0 ? -ENOMEM : 0;
}

int thrum_spawn_at(struct thrum_thread **out, thrum_fn fn, void *arg, const struct thrum_attr *attr,
	const char *site)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL || machine->current == NULL)
		return THRUM_ENORUNTIME;
	struct thrum__processor *processor = machine->processor;
	struct thrum__runtime *runtime = processor->runtime;
	if (__atomic_load_n(&runtime->stopping, __ATOMIC_RELAXED))
		return -ECANCELED;
	int err = attr == NULL ? 0 : attr_check(attr);
	if (err != 0)
		return err;
	struct thrum_thread *thread =
		thrum__thread_create(runtime, processor, fn, arg, attr, site, out == NULL ? 1 : 2);
	if (thread == NULL)
		return -ENOMEM;
	__atomic_fetch_add(&runtime->live, 1, __ATOMIC_RELAXED);
	if (out != NULL)
		*out = thread;
	if (!thrum__deque_push(&processor->deque, thread))
		thrum__queue_push(&processor->inbox, thread);
	if (runtime->count > 1) {
		thrum__notify(runtime);
		if (__atomic_load_n(&runtime->stopping, __ATOMIC_RELAXED))
			cancel_in(thread, runtime);
	}
	return 0;
}

int thrum_join(struct thrum_thread *thread, void **result, thrum_deadline deadline)
{
	if (thread == thrum_self())
		return -EDEADLK;
	struct thrum__wait wait;
	thrum__lock(&thread->lock);
	if (thread->done) {
		thrum__unlock(&thread->lock);
	} else {
		thrum__wait_init(&wait);
		thread->joiner = &wait;
		thrum__unlock(&thread->lock);
		int err = thrum__wait_park(&wait, "join", deadline);
		if (err < 0) {
			thrum__lock(&thread->lock);
			thread->joiner = NULL;
			thrum__unlock(&thread->lock);
			return err;
		}
	}
	if (result != NULL)
		*result = thread->result;
	thrum__thread_unref(thread);
	return 0;
}

void thrum_detach(struct thrum_thread *thread)
{
	if (thread != NULL)
		thrum__thread_unref(thread);
}

void thrum_yield(void)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL || machine->current == NULL)
		sched_yield();
	else if (!thrum__yield_is_vain(machine->processor))
		thrum__machine_suspend(machine->current, THRUM__ACT_YIELD);
}

/* ---------------------------------------------------------------- cancelling */

void thrum_cancel(struct thrum_thread *thread)
{
	__atomic_store_n(&thread->cancelled, 1, __ATOMIC_RELEASE);
	uint32_t before = __atomic_fetch_or(&thread->parker.word, THRUM__KNOCKED, __ATOMIC_ACQ_REL);
	if (before == THRUM__PARKED)
		thrum__ready(thread);
}

/* Cancels a thread if it is alive and of this runtime. Anything may have become of it meanwhile. */
static void cancel_in(struct thrum_thread *thread, struct thrum__runtime *runtime)
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
			cancel_in(&slab->threads[i], runtime);
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
	return machine == NULL ? 0 : machine->processor->runtime->count;
}
