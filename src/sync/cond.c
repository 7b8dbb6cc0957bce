/* SPDX-License-Identifier: MIT */
#include <thrum/cond.h>

#include "sync/waitq.h"

/* The mutex comes back whatever happens: no deadline, no cancellation. */
static void lock_again(struct thrum_mutex *mutex)
{
	thrum_shield_begin();
	int result = thrum_mutex_lock(mutex, THRUM_FOREVER);
	thrum_shield_end();
	CHECK(result == 0);
}

int thrum_cond_wait(struct thrum_cond *cond, struct thrum_mutex *mutex, thrum_deadline deadline)
{
	struct thrum__waiter waiter;
	int result = thrum__cancel_point();

	if (result < 0)
		return result;
	thrum__waitq_lock(&cond->waiters_);
	thrum__waitq_push_back(&cond->waiters_, &waiter);
	thrum__waitq_unlock(&cond->waiters_);
	thrum_mutex_unlock(mutex);

	result = thrum__wait_park(&waiter.wait, "cond", deadline);
	if (result < 0) {
		thrum__waitq_lock(&cond->waiters_);
		thrum__waitq_remove(&cond->waiters_, &waiter);
		thrum__waitq_unlock(&cond->waiters_);
	}
	lock_again(mutex);
	return result < 0 ? result : 0;
}

void thrum_cond_signal(struct thrum_cond *cond)
{
	thrum__waitq_lock(&cond->waiters_);
	struct thrum__waiter *waiter = thrum__waitq_claim(&cond->waiters_, 1);
	thrum__waitq_unlock(&cond->waiters_);
	if (waiter != NULL)
		thrum__wait_wake(&waiter->wait);
}

void thrum_cond_broadcast(struct thrum_cond *cond)
{
	struct thrum__wakes wakes = {0};

	thrum__waitq_lock(&cond->waiters_);
	thrum__waitq_claim_all(&cond->waiters_, 1, &wakes);
	thrum__waitq_unlock(&cond->waiters_);
	thrum__wakes_fire(&wakes);
}
