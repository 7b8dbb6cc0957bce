/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_STACK_INTERNAL_H
#define THRUM_CTX_STACK_INTERNAL_H

#include "base/base.h"
#include "ctx/stack.h"

enum { THRUM__SLAB_STACKS = 64 };

/*
 * Neighbouring stacks of one size, from one mapping:
 *
 *   base                    base + size              ...   base + count * size
 *    | guard | stack 0        | guard | stack 1      ...   |
 *
 * Aligned so that a stack's number fits in the low bits of its slab's address: both together are
 * the stack's home.
 */
struct thrum__slab {
	char *base;
	uint32_t count;
	uint32_t shift; /* log2 of the size of one */
	/* under the pool's lock */
	uint64_t free;           /* one bit for each stack in the pool */
	uint64_t used;           /* of the free ones: those that have memory */
	struct thrum__list link; /* in the list it belongs to, if it has free ones */
} __attribute__((aligned(THRUM__SLAB_STACKS)));

static inline uint64_t thrum__slab_all(const struct thrum__slab *slab)
{
	return UINT64_MAX >> (THRUM__SLAB_STACKS - slab->count);
}

static inline char *thrum__slab_stack(const struct thrum__slab *slab, unsigned index)
{
	return slab->base + ((size_t)index << slab->shift);
}

/*
 * A slab of at most `count` stacks, fewer where memory or mappings are short, all of them free.
 * NULL: not even one.
 */
struct thrum__slab *thrum__slab_map(unsigned shift, unsigned count);

/*
 * Unmaps a slab. False: the slab stays and only its memory has gone back; the kernel merges
 * neighbouring mappings and cannot cut one out when the process has all it may have.
 */
bool thrum__slab_unmap(struct thrum__slab *slab);

/* Gives the memory of these of its stacks back; they are zero when touched again. */
void thrum__slab_drop(struct thrum__slab *slab, uint64_t stacks);

#endif
