/* SPDX-License-Identifier: MIT */
/*
 * Mutex.
 *
 * Problem.  A fast path of one compare-and-swap; no convoy (handing the lock to a thread that is
 * not running yet makes everybody wait for it to be scheduled); no starvation (without hand-over a
 * thread that keeps re-locking beats every waiter); no wake lost when a waiter is cancelled.
 *
 * Words.  state is three bits. LOCKED: somebody holds it. WAITERS: the queue is not empty. WOKEN: a
 * waiter has been taken out of the queue and told to try again, and has not tried yet. A waiter is
 * *overtaken* when it has tried again and lost.
 *
 * Protocol
 *   lock    1  LOCKED clear: set it (compare-and-swap), done. Waiters are passed by.
 *           2  else, under the queue's lock: the same test again; if still locked set WAITERS,
 *              queue (overtaken: in front, else at the end) and park. A woken waiter clears WOKEN
 *              in the same compare-and-swap, whether it got the lock or not.
 *           3  claimed with HANDED: the caller holds the lock already. With RETRY: again from 2.
 *           4  timed out or cancelled: unlink; if the queue is now empty clear WAITERS.
 *   unlock  1  nobody waits, or WOKEN is set: clear LOCKED (compare-and-swap), done.
 *           2  else, under the queue's lock, claim the first waiter: one that was overtaken gets
 *              the lock (LOCKED stays, HANDED), another is told to RETRY (LOCKED goes, WOKEN
 *              comes). Wake it after the queue is unlocked.
 *           3  all waiters gave up meanwhile: only clear WAITERS, and again from 1. Clearing
 *              LOCKED here would let another thread lock, unlock and free the mutex before the
 *              queue's lock is released [I5].
 *
 * Invariants
 *   [I1] WAITERS and WOKEN change only under the queue's lock; LOCKED is cleared only by its
 *        holder, WOKEN set only by the holder. So to a holder in step 2 all bits are constant.
 *   [I2] Free and WAITERS set implies WOKEN set: somebody is on the way who will take the lock, or
 *        queue again while another holds it. So no wake is lost; a storm of unlocks wakes one.
 *   [I3] WOKEN set implies that nobody in the queue is overtaken (an overtaken one stands in front,
 *        so step 2 hands over instead of setting WOKEN): step 1 of unlock keeps no promise waiting.
 *   [I4] A waiter whose wait fails was not claimed, so it has no wake to pass on: the unlock that
 *        lost the claim has gone on to the next waiter.
 *   [I5] After the step that lets another thread hold the lock, unlock touches the mutex only while
 *        a woken or timed out waiter, still inside thrum_mutex_lock, has yet to take the queue's
 *        lock. So who holds it last may free it.
 *
 * Memory order.  Taking LOCKED acquires, clearing it releases; HANDED is ordered by claim and park.
 *
 * Rejected.  Always handing over: FIFO, but one switch per critical section under contention.
 * Never handing over: a waiter on another worker can lose for seconds.
 *
 * Tests: test/sync/test_mutex.c.
 */
#include <thrum/mutex.h>

#include "sync/waitq.h"

#include <errno.h>

enum {
	LOCKED = 1,
	WAITERS = 2,
	WOKEN = 4,
};

enum {
	RETRY = 1,
	HANDED = 2,
};

struct mutex_waiter {
	struct thrum__waiter waiter;
	bool overtaken;
};

/* Debug builds know who holds it: a green thread, or an OS thread by the place of its own byte. */
#ifdef THRUM_DEBUG
static THRUM__NOINLINE uintptr_t self(void)
{
	static _Thread_local char place;
	struct thrum_thread *thread = thrum_self();

	return thread != NULL ? (uintptr_t)thread : (uintptr_t)&place;
}

static void owner_set(struct thrum_mutex *mutex)
{
	__atomic_store_n(&mutex->owner_, self(), __ATOMIC_RELAXED);
}

static void owner_clear(struct thrum_mutex *mutex)
{
	ASSERT(__atomic_load_n(&mutex->owner_, __ATOMIC_RELAXED) == self());
	__atomic_store_n(&mutex->owner_, 0, __ATOMIC_RELAXED);
}

static void owner_forbid(const struct thrum_mutex *mutex)
{
	ASSERT(__atomic_load_n(&mutex->owner_, __ATOMIC_RELAXED) != self());
}
#else
static inline void owner_set(struct thrum_mutex *mutex)
{
}

static inline void owner_clear(struct thrum_mutex *mutex)
{
}

static inline void owner_forbid(const struct thrum_mutex *mutex)
{
}
#endif

static inline bool replace(struct thrum_mutex *mutex, uint32_t *expected, uint32_t state)
{
	return __atomic_compare_exchange_n(
		&mutex->state_, expected, state, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static bool take_if_free(struct thrum_mutex *mutex)
{
	uint32_t state = 0;

	while (!replace(mutex, &state, state | LOCKED))
		if (state & LOCKED)
			return false;
	owner_set(mutex);
	return true;
}

/* Lock, step 2, under the queue's lock: takes the mutex, or marks it as waited for. */
static bool take_or_mark(struct thrum_mutex *mutex, bool woken)
{
	uint32_t state = __atomic_load_n(&mutex->state_, __ATOMIC_RELAXED);
	uint32_t rest, taken;

	do {
		rest = woken ? state & ~(uint32_t)WOKEN : state;
		taken = !(state & LOCKED);
	} while (!replace(mutex, &state, taken ? rest | LOCKED : rest | WAITERS));
	return taken;
}

/* Lock, step 4. */
static void give_up(struct thrum_mutex *mutex, struct mutex_waiter *self_)
{
	thrum__waitq_lock(&mutex->waiters_);
	thrum__waitq_remove(&mutex->waiters_, &self_->waiter);
	if (thrum__waitq_first(&mutex->waiters_) == NULL)
		__atomic_fetch_and(&mutex->state_, ~(uint32_t)WAITERS, __ATOMIC_RELAXED);
	thrum__waitq_unlock(&mutex->waiters_);
}

static int lock_slow(struct thrum_mutex *mutex, thrum_deadline deadline)
{
	struct mutex_waiter waiter = {.overtaken = false};

	for (;;) {
		thrum__waitq_lock(&mutex->waiters_);
		bool taken = take_or_mark(mutex, waiter.overtaken);
		if (!taken && waiter.overtaken)
			thrum__waitq_push_front(&mutex->waiters_, &waiter.waiter);
		else if (!taken)
			thrum__waitq_push_back(&mutex->waiters_, &waiter.waiter);
		thrum__waitq_unlock(&mutex->waiters_);
		if (taken)
			return 0;

		int claimed = thrum__wait_park(&waiter.waiter.wait, "mutex", deadline);
		if (claimed < 0) {
			give_up(mutex, &waiter);
			return claimed;
		}
		if (claimed == HANDED)
			return 0;
		waiter.overtaken = true;
	}
}

int thrum_mutex_lock(struct thrum_mutex *mutex, thrum_deadline deadline)
{
	if (thrum__likely(take_if_free(mutex)))
		return 0;
	if (deadline == THRUM_NOW)
		return -ETIMEDOUT;
	if (deadline == THRUM_FOREVER)
		owner_forbid(mutex);
	int result = lock_slow(mutex, deadline);
	if (result == 0)
		owner_set(mutex);
	return result;
}

bool thrum_mutex_try_lock(struct thrum_mutex *mutex)
{
	return take_if_free(mutex);
}

/*
 * Unlock, step 2: claims whom to wake, or NULL. Gives the state that the mutex is to be left in.
 */
static struct thrum__waiter *choose_next(struct thrum_mutex *mutex, uint32_t *state)
{
	struct thrum_waitq *queue = &mutex->waiters_;
	struct thrum__waiter *first;

	*state = LOCKED;
	while ((first = thrum__waitq_first(queue)) != NULL) {
		bool hand = thrum__container_of(first, struct mutex_waiter, waiter)->overtaken;
		thrum__waitq_remove(queue, first);
		if (thrum__wait_claim(&first->wait, hand ? HANDED : RETRY)) {
			*state = hand ? LOCKED : WOKEN;
			break;
		}
	}
	if (thrum__waitq_first(queue) != NULL)
		*state |= WAITERS;
	return first;
}

/* Unlock, steps 2 and 3. False: nobody waits any more, and the caller still holds the mutex. */
static bool unlock_slow(struct thrum_mutex *mutex)
{
	uint32_t state;

	thrum__waitq_lock(&mutex->waiters_);
	ASSERT(!(__atomic_load_n(&mutex->state_, __ATOMIC_RELAXED) & WOKEN)); /* [I1] */
	struct thrum__waiter *next = choose_next(mutex, &state);
	ASSERT(!(state & WAITERS) || (state & (LOCKED | WOKEN))); /* [I2] */
	__atomic_store_n(&mutex->state_, state, __ATOMIC_RELEASE);
	thrum__waitq_unlock(&mutex->waiters_);
	if (next == NULL)
		return false;
	thrum__wait_wake(&next->wait);
	return true;
}

void thrum_mutex_unlock(struct thrum_mutex *mutex)
{
	uint32_t state = LOCKED;

	owner_clear(mutex);
	for (;;) {
		if ((state & WAITERS) && !(state & WOKEN)) {
			if (unlock_slow(mutex))
				return;
			state = LOCKED;
		}
		if (__atomic_compare_exchange_n(&mutex->state_, &state, state & ~(uint32_t)LOCKED,
			    false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return;
		CHECK(state & LOCKED);
	}
}
