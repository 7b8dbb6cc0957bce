/* SPDX-License-Identifier: MIT */
#ifndef THRUM_QUEUE_H
#define THRUM_QUEUE_H

#include "base/base.h"

struct thrum_thread;

/*
 * A FIFO of runnable green threads: a short lock, linked through thread->link, and a count that
 * may be read without the lock. All-zero is empty. Used for what comes from outside: a
 * processor's mail and the runtime's inject queue.
 */
struct thrum__queue {
	struct thrum__lock lock;
	uint32_t count; /* atomic; changed under the lock */
	struct thrum_thread *head, *tail;
};

/* Returns how many are queued now. The thread must not be touched afterwards. */
uint32_t thrum__queue_push(struct thrum__queue *queue, struct thrum_thread *thread);

/* The oldest one, or NULL. */
struct thrum_thread *thrum__queue_pop(struct thrum__queue *queue);

/* The oldest `count`, or as many as there are, oldest first, as a chain by link; NULL: none. */
struct thrum_thread *thrum__queue_take(struct thrum__queue *queue, uint32_t count);

static inline uint32_t thrum__queue_count(const struct thrum__queue *queue)
{
	return __atomic_load_n(&queue->count, __ATOMIC_RELAXED);
}

#endif
