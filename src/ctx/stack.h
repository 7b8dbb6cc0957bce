/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_STACK_H
#define THRUM_CTX_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Stacks: address space with a guard below, memory only where it was touched. A stack's size is a
 * power of two and counts its guard, so that stacks lie at exact distances: the page tables of a
 * million parked threads weigh as much as their address space is wide. Used ones are kept, a few
 * per processor in a cache that needs no lock, the others in the process's pool, until a trim or a
 * decay gives their memory back.
 */

enum {
	THRUM__STACK_DEFAULT = 256 * 1024,
	THRUM__STACK_CACHE = 32, /* stacks one processor keeps */
	THRUM__STACK_POOL = 1024 /* used stacks of one size that the pool keeps beyond a run */
};

struct thrum__stack {
	void *base;     /* lowest usable address; the guard is below. NULL: no stack */
	size_t size;    /* usable bytes */
	uintptr_t home; /* where it belongs; all that need be kept of it: see thrum__stack_at */
};

/* One processor's cache, all of one size. All-zero is empty. One user at a time. */
struct thrum__stack_cache {
	uintptr_t slots[THRUM__STACK_CACHE]; /* homes */
	size_t size;
	unsigned count;
};

/*
 * The size, guard included, of a stack for a request of `want` bytes (0: the default): a power of
 * two of which at least 15/16 of the request is usable. 0 if the request is absurdly large.
 */
size_t thrum__stack_size(size_t want);

/* True if stacks of this size are not pooled, but each is mapped for its one use. */
bool thrum__stack_is_large(size_t size);

/* False: a stack of this size is more than the process can have now. Only said of large ones. */
bool thrum__stack_possible(size_t size);

/* Bytes below a stack's base that fault. */
size_t thrum__stack_guard(void);

/*
 * A stack of a size from thrum__stack_size: from the cache, the pool or the kernel. 0 or -ENOMEM.
 */
int thrum__stack_get(struct thrum__stack_cache *cache, size_t size, struct thrum__stack *out);

/* Gives a stack back. Nobody may be running on it. */
void thrum__stack_put(struct thrum__stack_cache *cache, struct thrum__stack *stack);

/* log2 of the size, as from thrum__stack_size, of the stack that belongs there. */
uint8_t thrum__stack_log2(uintptr_t home);

/* The stack in use that belongs there. */
struct thrum__stack thrum__stack_at(uintptr_t home);

/* Empties a cache into the pool. The cache's one user, or while it has none. */
void thrum__stack_cache_trim(struct thrum__stack_cache *cache);

/* The same for good; of what the pool then has, THRUM__STACK_POOL of each size stay. */
void thrum__stack_cache_fini(struct thrum__stack_cache *cache);

/*
 * Gives all memory of the pool back to the kernel, and the address space where nothing near is in
 * use. For when all is idle. Any thread; a burst of 100,000 stacks takes some 50 ms. The other one
 * stops after a step of some hundred stacks: true, there is more.
 */
void thrum__stack_trim(void);
bool thrum__stack_trim_some(void);

/*
 * Gives back what a busy process does not need: each second, half of the used stacks that the pool
 * had to spare all through the second before. A call does one step of it at most and costs next to
 * nothing when there is none to do. To be called often, with the time. Any thread.
 */
void thrum__stack_decay(int64_t now);

/* Around a fork. */
void thrum__stack_lock_all(void);
void thrum__stack_unlock_all(void);

struct thrum__stack_stats {
	size_t mapped; /* stacks, in use or not; large ones do not count */
	size_t free;   /* of these: in the pool */
	size_t used;   /* of these: with memory */
};

/* What the process has. Any thread. */
struct thrum__stack_stats thrum__stack_stats(void);

/*
 * High-water mark of one life. clean makes the whole stack zero, before its first frame; used then
 * tells, after its last, the bytes from the deepest that is not zero to the end. Pages that went to
 * swap meanwhile count as untouched.
 */
void thrum__stack_clean(const struct thrum__stack *stack);
size_t thrum__stack_used(const struct thrum__stack *stack);

#endif
