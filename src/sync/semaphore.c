/* SPDX-License-Identifier: MIT */
/*
 * Counting semaphore: state is 2 * permits + WAITERS.
 *
 * Invariants
 *   [I1] Permits left implies that nobody waits: a release grants to waiters first, and a thread
 *        queues only in the step that finds no permit. So a compare-and-swap overtakes nobody.
 *   [I2] WAITERS is set and cleared under the queue's lock; it says that the queue is not empty.
 *   [I3] A permit becomes visible either by the compare-and-swap that is the last thing release
 *        does to the semaphore, or by waking a waiter after the queue is unlocked. So the one who
 *        gets the last permit may free it.
 */
#include <thrum/semaphore.h>

#include "sync/waitq.h"

#include <errno.h>

enum { WAITERS = 1, PERMIT = 2 };

static inline uint64_t state_of(const struct thrum_semaphore *semaphore)
{
	return __atomic_load_n(&semaphore->state_, __ATOMIC_RELAXED);
}

static inline bool replace(struct thrum_semaphore *semaphore, uint64_t *expected, uint64_t state)
{
	return __atomic_compare_exchange_n(
		&semaphore->state_, expected, state, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static bool take_if_any(struct thrum_semaphore *semaphore)
{
	uint64_t state = state_of(semaphore);

	while (state >= PERMIT)
		if (replace(semaphore, &state, state - PERMIT))
			return true;
	return false;
}

/* Under the queue's lock: takes a permit, or marks the semaphore as waited for. */
static bool take_or_mark(struct thrum_semaphore *semaphore)
{
	uint64_t state = state_of(semaphore);

	for (;;) {
		bool take = state >= PERMIT;
		if (replace(semaphore, &state, take ? state - PERMIT : WAITERS))
			return take;
	}
}

static void unmark_if_empty(struct thrum_semaphore *semaphore)
{
	if (thrum__waitq_first(&semaphore->waiters_) == NULL)
		__atomic_fetch_and(&semaphore->state_, ~(uint64_t)WAITERS, __ATOMIC_RELAXED);
}

static int acquire_slow(struct thrum_semaphore *semaphore, thrum_deadline deadline)
{
	struct thrum__waiter waiter;

	thrum__waitq_lock(&semaphore->waiters_);
	bool taken = take_or_mark(semaphore);
	if (!taken)
		thrum__waitq_push_back(&semaphore->waiters_, &waiter);
	thrum__waitq_unlock(&semaphore->waiters_);
	if (taken)
		return 0;

	int claimed = thrum__wait_park(&waiter.wait, "semaphore", deadline);
	if (claimed > 0)
		return 0;
	thrum__waitq_lock(&semaphore->waiters_);
	thrum__waitq_remove(&semaphore->waiters_, &waiter);
	unmark_if_empty(semaphore);
	thrum__waitq_unlock(&semaphore->waiters_);
	return claimed;
}

int thrum_semaphore_acquire(struct thrum_semaphore *semaphore, thrum_deadline deadline)
{
	int canceled = thrum__cancel_point();

	if (canceled < 0)
		return canceled;
	if (take_if_any(semaphore))
		return 0;
	if (deadline == THRUM_NOW)
		return -ETIMEDOUT;
	return acquire_slow(semaphore, deadline);
}

/* Gives up to n permits to waiters; returns how many are left over. */
static uint32_t grant(struct thrum_semaphore *semaphore, uint32_t n)
{
	struct thrum__wakes wakes = {0};
	struct thrum__waiter *waiter;

	thrum__waitq_lock(&semaphore->waiters_);
	while (n > 0 && (waiter = thrum__waitq_claim(&semaphore->waiters_, 1)) != NULL) {
		thrum__wakes_add(&wakes, waiter);
		n--;
	}
	unmark_if_empty(semaphore);
	thrum__waitq_unlock(&semaphore->waiters_);
	thrum__wakes_fire(&wakes);
	return n;
}

void thrum_semaphore_release(struct thrum_semaphore *semaphore, uint32_t n)
{
	uint64_t state = state_of(semaphore);

	while (n > 0) {
		if (state & WAITERS) {
			n = grant(semaphore, n);
			if (n > 0)
				state = state_of(semaphore);
			continue;
		}
		CHECK(state / PERMIT + n <= THRUM_SEMAPHORE_MAX);
		if (replace(semaphore, &state, state + (uint64_t)PERMIT * n))
			return;
	}
}

uint32_t thrum_semaphore_permits(const struct thrum_semaphore *semaphore)
{
	return (uint32_t)(state_of(semaphore) / PERMIT);
}
