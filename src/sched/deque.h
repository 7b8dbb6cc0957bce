/* SPDX-License-Identifier: MIT */
#ifndef THRUM_DEQUE_H
#define THRUM_DEQUE_H

#include "base/base.h"

/*
 * A work-stealing deque of pointers: its owner pushes and takes at the bottom, anybody steals at
 * the top. It grows.
 */
struct thrum__deque_array;

struct thrum__deque {
	int64_t top __attribute__((aligned(THRUM__CACHELINE)));    /* atomic; thieves advance it */
	int64_t bottom __attribute__((aligned(THRUM__CACHELINE))); /* atomic; the owner's */
	struct thrum__deque_array *array;                          /* atomic; replaced when full */
	int64_t seen_top; /* the owner's: what top was when it last looked; never ahead of it */
	bool alone;       /* nobody ever steals: the owner needs no barrier */
};

/* capacity: a power of two. alone: nobody will ever steal. 0 or -ENOMEM. */
int thrum__deque_init(struct thrum__deque *deque, size_t capacity, bool alone);

/* Nobody may be stealing any more. Frees every array there ever was. */
void thrum__deque_fini(struct thrum__deque *deque);

/* Owner. False: out of memory, and the item was not pushed. */
bool thrum__deque_push(struct thrum__deque *deque, void *item);

/* Owner. The item pushed last, or NULL if there is none. */
void *thrum__deque_take(struct thrum__deque *deque);

/* Owner. What take would return, if no thief is faster. */
void *thrum__deque_peek(const struct thrum__deque *deque);

/* Owner. What a shift would return after `ahead` others; NULL if there are not so many. A guess. */
void *thrum__deque_ahead(const struct thrum__deque *deque, int64_t ahead);

/* Owner. The oldest item, or NULL if there is none: the deque as a FIFO. */
void *thrum__deque_shift(struct thrum__deque *deque);

/*
 * Any thread. The oldest item; NULL if there is none, or another thread was faster (*lost is then
 * set).
 */
void *thrum__deque_steal(struct thrum__deque *deque, bool *lost);

/*
 * Any thread; a snapshot. Exact for the question "has somebody pushed before my last full fence".
 */
static inline int64_t thrum__deque_count(const struct thrum__deque *deque)
{
	int64_t top = __atomic_load_n(&deque->top, __ATOMIC_RELAXED);
	int64_t bottom = __atomic_load_n(&deque->bottom, __ATOMIC_RELAXED);
	return bottom <= top ? 0 : bottom - top;
}

/* Owner. Never less than thrum__deque_count, and without touching what thieves write. */
static inline int64_t thrum__deque_at_most(const struct thrum__deque *deque)
{
	return __atomic_load_n(&deque->bottom, __ATOMIC_RELAXED) - deque->seen_top;
}

static inline bool thrum__deque_empty(const struct thrum__deque *deque)
{
	return thrum__deque_count(deque) == 0;
}

#endif
