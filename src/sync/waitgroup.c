/* SPDX-License-Identifier: MIT */
/*
 * Wait group. The count reaches zero only under the queue's lock, and a wait looks at it only under
 * that lock: so a wait that returns comes after the unlock of the last thrum_waitgroup_done, and
 * its caller may free the group.
 */
#include <thrum/waitgroup.h>

#include "sync/waitq.h"

#include <errno.h>

void thrum_waitgroup_add(struct thrum_waitgroup *group, uint32_t n)
{
	uint32_t before = __atomic_fetch_add(&group->count_, n, __ATOMIC_RELAXED);

	CHECK(before <= UINT32_MAX - n);
}

/* Counts one down unless it is the last. */
static bool done_before_last(struct thrum_waitgroup *group)
{
	uint32_t count = __atomic_load_n(&group->count_, __ATOMIC_RELAXED);

	while (count > 1)
		if (__atomic_compare_exchange_n(&group->count_, &count, count - 1, false,
			    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return true;
	return false;
}

void thrum_waitgroup_done(struct thrum_waitgroup *group)
{
	struct thrum__wakes wakes = {0};

	if (done_before_last(group))
		return;
	thrum__waitq_lock(&group->waiters_);
	uint32_t before = __atomic_fetch_sub(&group->count_, 1, __ATOMIC_ACQ_REL);
	CHECK(before > 0);
	if (before == 1)
		thrum__waitq_claim_all(&group->waiters_, 1, &wakes);
	thrum__waitq_unlock(&group->waiters_);
	thrum__wakes_fire(&wakes);
}

int thrum_waitgroup_wait(struct thrum_waitgroup *group, thrum_deadline deadline)
{
	struct thrum__waiter waiter;
	int result = thrum__cancel_point();

	if (result < 0)
		return result;
	thrum__waitq_lock(&group->waiters_);
	bool over = __atomic_load_n(&group->count_, __ATOMIC_ACQUIRE) == 0;
	bool wait = !over && deadline != THRUM_NOW;
	if (wait)
		thrum__waitq_push_back(&group->waiters_, &waiter);
	thrum__waitq_unlock(&group->waiters_);
	if (!wait)
		return over ? 0 : -ETIMEDOUT;

	result = thrum__wait_park(&waiter.wait, "waitgroup", deadline);
	if (result > 0)
		return 0;
	thrum__waitq_lock(&group->waiters_);
	thrum__waitq_remove(&group->waiters_, &waiter);
	thrum__waitq_unlock(&group->waiters_);
	return result;
}
