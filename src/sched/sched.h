/* SPDX-License-Identifier: MIT */
#ifndef THRUM_SCHED_H
#define THRUM_SCHED_H

/*
 * What the layers below may ask of the scheduler: one wait, claimed once.
 *
 * Words.  A *wait* lives on the waiter's stack for one suspension. Anybody who wants to end it
 * *claims* it: one compare-and-swap, one winner (a waker, the deadline, a cancellation). The
 * winner alone calls wake. The waiter returns only after it has consumed exactly that wake, so
 * after wake nobody touches the wait any more, and a loser of the claim touches it only while it
 * holds the lock of the object the wait is queued on.
 *
 * Protocol of a blocking object:
 *
 *   waiter                                     waker
 *   1 lock(object)                             1 lock(object)
 *   2 test; if it need not wait, done          2 change the state
 *   3 wait_init(&w); enqueue w                 3 dequeue w; if !claim(w, value): take the next one
 *   4 unlock(object)                           4 unlock(object)
 *   5 r = wait_park(&w, reason, deadline)      5 wait_wake(w)       (may also be before 4)
 *   6 r < 0: lock; unlink w if still linked; unlock
 *
 * All of it works for green threads and for plain OS threads (which sleep on a futex), and a
 * waker may be either, of any runtime.
 */

#include "base/base.h"
#include <thrum/thread.h>

struct thrum__parker; /* who sleeps: a green thread or an OS thread; never unmapped */

enum { THRUM__WAIT_PENDING = 0 };

struct thrum__wait {
	uint32_t state;               /* atomic: PENDING, or what the winner claimed it with */
	int result;                   /* 0, -ETIMEDOUT or -ECANCELED; written before the wake */
	struct thrum__parker *parker; /* set by init */
};

/* Binds a wait to the caller. Never fails, never suspends. */
void thrum__wait_init(struct thrum__wait *wait);

/*
 * Claims a wait with a value > 0 of the object's own choosing (a select case number, say). True:
 * the caller won and must call thrum__wait_wake exactly once. Acquire-release. Any thread; never
 * suspends.
 */
bool thrum__wait_claim(struct thrum__wait *wait, uint32_t value);

/*
 * Makes the waiter runnable. The wait must not be touched afterwards. Any thread; never suspends.
 */
void thrum__wait_wake(struct thrum__wait *wait);

/*
 * Suspends the caller until its wait is claimed, by a waker, by the deadline or by thrum_cancel.
 * reason: a constant string for dumps ("mutex", "chan recv"). Returns the claimed value (> 0),
 * -ETIMEDOUT or -ECANCELED. THRUM_NOW does not suspend unless a claim is already on its way.
 */
int thrum__wait_park(struct thrum__wait *wait, const char *reason, thrum_deadline deadline);

/*
 * True if a park would now end with -ECANCELED: the calling green thread was asked to stop and is
 * not shielded. For calls that are cancellation points also where they need not wait. False on an
 * OS thread.
 */
bool thrum__cancel_due(void);

/*
 * A call for the pool of OS threads behind thrum_blocking that nobody need wait for. run is
 * called once, on an OS thread, and owns the job from then on: it frees it, say. Lives until
 * then, wherever it lies.
 */
struct thrum__job {
	void (*run)(struct thrum__job *job);
	struct thrum__list link;
};

/* 0, or -EAGAIN (no OS thread to be had; run is not called). Any thread; never suspends. */
THRUM_NODISCARD int thrum__job_submit(struct thrum__job *job);

#endif
