/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_STACK_H
#define THRUM_CTX_STACK_H

#include <stddef.h>

/*
 * Stacks: address space with a guard page below, memory only where it was touched. Used ones are
 * kept: a few per processor in a cache that needs no lock, more in a list of the process; above
 * that the memory goes back.
 */

enum {
	THRUM__STACK_DEFAULT = 256 * 1024,
	THRUM__STACK_CACHE = 32, /* stacks one processor keeps */
	THRUM__STACK_POOL = 1024 /* stacks the process keeps, of one size */
};

struct thrum__stack {
	void *base;  /* lowest usable address; the guard is below. NULL: no stack */
	size_t size; /* usable bytes */
};

/* One processor's cache, all of one size. All-zero is empty. One user at a time. */
struct thrum__stack_cache {
	void *slots[THRUM__STACK_CACHE];
	size_t size;
	unsigned count;
};

/* The size a request of `want` bytes (0: the default) is rounded to; 0 if it is absurdly large. */
size_t thrum__stack_size(size_t want);

/*
 * A stack of thrum__stack_size(size) bytes: from the cache, the pool or the kernel. 0 or -ENOMEM.
 */
int thrum__stack_get(struct thrum__stack_cache *cache, size_t size, struct thrum__stack *out);

/* Gives a stack back. Nobody may be running on it. */
void thrum__stack_put(struct thrum__stack_cache *cache, struct thrum__stack *stack);

/* Empties a cache into the pool. */
void thrum__stack_cache_fini(struct thrum__stack_cache *cache);

#endif
