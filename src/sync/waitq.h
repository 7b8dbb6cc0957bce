/* SPDX-License-Identifier: MIT */
#ifndef THRUM_SYNC_WAITQ_H
#define THRUM_SYNC_WAITQ_H

/*
 * The queue of waiters inside every blocking object (see the protocol in sched/sched.h).
 *
 * Lives.  A waiter lies on the stack of the thread that waits. While it is queued, or its claim was
 * lost, it is touched only under the queue's lock, and the waiter takes that lock before it leaves
 * without having been woken. Once claimed it belongs to the claimer until the claimer wakes it.
 *
 * Freeing.  A woken thread may free the object at once. So a waker puts whom it claimed on its own
 * stack (struct thrum__wakes) and wakes them after it has unlocked the queue.
 */

#include "sched/sched.h"
#include <thrum/waitq.h>

#include <errno.h>

struct thrum__waiter {
	struct thrum__wait wait;
	struct thrum__waiter *next, *prev;
	bool linked;
};

/* Whom a waker has claimed and is about to wake, in order. */
struct thrum__wakes {
	struct thrum__waiter *first, **last;
};

static inline void thrum__waitq_lock(struct thrum_waitq *queue)
{
	thrum__lock((struct thrum__lock *)&queue->lock_);
}

static inline void thrum__waitq_unlock(struct thrum_waitq *queue)
{
	thrum__unlock((struct thrum__lock *)&queue->lock_);
}

/* The functions from here on want the queue's lock held, unless they say otherwise. */

static inline struct thrum__waiter *thrum__waitq_first(const struct thrum_waitq *queue)
{
	return queue->first_;
}

static inline size_t thrum__waitq_count(const struct thrum_waitq *queue)
{
	size_t n = 0;

	for (const struct thrum__waiter *w = thrum__waitq_first(queue); w != NULL; w = w->next)
		n++;
	return n;
}

/* Starts a wait and queues it behind, or before, all others. */
void thrum__waitq_push_back(struct thrum_waitq *queue, struct thrum__waiter *waiter);
void thrum__waitq_push_front(struct thrum_waitq *queue, struct thrum__waiter *waiter);

/* Takes a waiter out; does nothing if it is out already. */
void thrum__waitq_remove(struct thrum_waitq *queue, struct thrum__waiter *waiter);

/* Takes waiters out until one is claimed with value (the others had ended already), or NULL. */
struct thrum__waiter *thrum__waitq_claim(struct thrum_waitq *queue, uint32_t value);

/* Claims all that wait. */
void thrum__waitq_claim_all(struct thrum_waitq *queue, uint32_t value, struct thrum__wakes *wakes);

/* Remembers a claimed waiter. The lock does not matter. */
void thrum__wakes_add(struct thrum__wakes *wakes, struct thrum__waiter *waiter);

/* Wakes all that were remembered. Without the lock. */
void thrum__wakes_fire(struct thrum__wakes *wakes);

/*
 * What a call that does not have to wait owes its caller nevertheless: -ECANCELED if the calling
 * green thread is cancelled and not shielded, else 0. Never suspends. Without the lock.
 */
static inline int thrum__cancel_point(void)
{
	return thrum__unlikely(thrum__cancel_due()) ? -ECANCELED : 0;
}

#endif
