/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "explore_internal.h"

/*
 * What the kernel and the C library do for the source under test: locks, futexes, memory.
 *
 * The short-term lock is a lock here, not the code of lock.c: it would only multiply the states of
 * whoever uses it. That code is a subject of its own.
 *
 * Memory comes from an arena per thread, so that an address depends on nothing but what its thread
 * has done; it is filled with a pattern and never used again within an execution.
 */

enum { MAX_LOCKS = 16, ARENA = 16 * 1024, POISON = 0xa5 };

static struct lock {
	const void *address;
	bool held;
	uint64_t turns;
	struct view view;
} locks[MAX_LOCKS];
static unsigned lock_count;

static struct {
	char memory[ARENA] __attribute__((aligned(64)));
	size_t used;
} arenas[EXPLORE_THREADS + 1];

void sync_reset(void)
{
	lock_count = 0;
	for (unsigned i = 0; i <= EXPLORE_THREADS; i++) {
		memset(arenas[i].memory, POISON, arenas[i].used);
		arenas[i].used = 0;
	}
}

static struct lock *lock_of(const void *address)
{
	for (unsigned i = 0; i < lock_count; i++)
		if (locks[i].address == address)
			return &locks[i];
	CHECK(lock_count < MAX_LOCKS);
	locks[lock_count] = (struct lock){.address = address};
	return &locks[lock_count++];
}

bool sync_lock_free(const void *address)
{
	return !lock_of(address)->held;
}

void explore_lock(const void *address)
{
	struct virtual *self = engine_current();
	if (self == NULL)
		return;
	engine_wait(WAIT_LOCK, address);
	struct lock *lock = lock_of(address);
	lock->held = true;
	self->now.at[explore_self()]++;
	view_join(&self->now, &lock->view);
	engine_note((uintptr_t)address, ++lock->turns);
	report_line("lock %s", report_tracing() ? report_name(address) : "");
}

void explore_unlock(const void *address)
{
	struct virtual *self = engine_current();
	if (self == NULL)
		return;
	engine_yield();
	struct lock *lock = lock_of(address);
	if (!lock->held)
		engine_fail("%s is unlocked but not held", report_name(address));
	lock->held = false;
	self->now.at[explore_self()]++;
	lock->view = self->now;
	engine_note((uintptr_t)address, ++lock->turns);
	report_line("unlock %s", report_tracing() ? report_name(address) : "");
}

/* The kernel looks at the word under a lock of its own, which is a full barrier to both sides. */
void explore_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout)
{
	struct virtual *self = engine_current();
	if (self == NULL)
		return;
	explore_fence(__ATOMIC_SEQ_CST);
	if (atomic_kernel_load(word) != expected) {
		report_line("futex: not as expected");
		return;
	}
	report_line("sleeps");
	self->woken = false;
	engine_wait(timeout < 0 ? WAIT_FUTEX : WAIT_FUTEX_TIMED, word);
	engine_note((uintptr_t)word, self->woken);
	report_line(self->woken ? "is woken" : "wakes by itself");
	self->woken = false;
}

void explore_futex_wake(const uint32_t *word, int count)
{
	if (engine_current() == NULL)
		return;
	explore_fence(__ATOMIC_SEQ_CST);
	for (; count > 0; count--) {
		struct virtual *asleep[EXPLORE_THREADS];
		unsigned n = 0;
		for (unsigned i = 0; i < engine_threads(); i++) {
			struct virtual *thread = engine_thread(i);
			if ((thread->waiting == WAIT_FUTEX ||
				    thread->waiting == WAIT_FUTEX_TIMED) &&
				thread->waits_for == word && !thread->woken)
				asleep[n++] = thread;
		}
		engine_note((uintptr_t)word, n);
		if (n == 0)
			return;
		unsigned pick = explore_choose(n);
		asleep[pick]->woken = true;
		report_line("wakes thread %td", asleep[pick] - engine_thread(0));
	}
}

void explore_relax(void)
{
	struct virtual *self = engine_current();
	if (self == NULL)
		return;
	engine_wait(WAIT_CHANGE, memory_glanced(self));
	memory_refresh(self);
	engine_note(0, 0);
}

void *explore_malloc(size_t size)
{
	unsigned self = explore_self();
	size = (size + 15) & ~(size_t)15;
	if (size > ARENA - arenas[self].used)
		return NULL;
	void *memory = arenas[self].memory + arenas[self].used;
	arenas[self].used += size;
	return memory;
}

void explore_free(const void *memory)
{
	(void)memory;
}

void explore_check_failed(const char *expr, const char *file, int line)
{
	if (engine_current() != NULL)
		engine_fail("%s:%d: %s does not hold", file, line, expr);
	fprintf(stderr, "%s:%d: %s does not hold outside of a thread\n", file, line, expr);
	abort();
}
