/* SPDX-License-Identifier: MIT */
/*
 * block_on: a thread, green or not, as the executor of one future.
 *
 * Words.  The *cell* is what this executor's wakers point to. It is shared by the thread and by
 * every clone of its waker and freed by the last of them, so a waker that is woken after block_on
 * has returned finds a cell in which nobody waits.
 *
 * Protocol
 *   thread                                    waker, any thread
 *   1 notified = false                        1 lock; notified = true
 *   2 poll                                    2 take wait out of the cell; claim it
 *   3 lock; notified: unlock, go to 1         3 unlock; if claimed: wake
 *     else put a wait into the cell; unlock
 *   4 park
 *
 * Invariants
 *   [I1] A wake after step 1 makes one more poll: it sets notified before step 3 looks, or finds
 *        the wait.
 *   [I2] A wait lies in the cell only while its thread is between 3 and the end of 4; a thread
 *        whose park failed takes it out under the lock before its stack goes on.
 *   [I3] A waker never polls and takes no lock but the cell's, for a handful of instructions: so
 *        waking under an event source's lock is safe.
 */
#include <thrum/future.h>

#include "sync/waitq.h"

#include <errno.h>

struct cell {
	struct thrum__lock lock;
	uint32_t refs; /* atomic: the thread's own, and one for each waker */
	bool notified;
	struct thrum__wait *wait;
};

static void cell_clone(void *data)
{
	struct cell *cell = data;

	__atomic_fetch_add(&cell->refs, 1, __ATOMIC_RELAXED);
}

static void cell_drop(void *data)
{
	struct cell *cell = data;

	if (__atomic_sub_fetch(&cell->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(cell);
}

static void cell_wake_by_ref(void *data)
{
	struct cell *cell = data;

	thrum__lock(&cell->lock);
	struct thrum__wait *wait = cell->wait;
	cell->notified = true;
	cell->wait = NULL;
	bool won = wait != NULL && thrum__wait_claim(wait, 1);
	thrum__unlock(&cell->lock);
	if (won)
		thrum__wait_wake(wait);
}

static void cell_wake(void *data)
{
	cell_wake_by_ref(data);
	cell_drop(data);
}

static const struct thrum_waker_vtable cell_vtable = {
	.clone = cell_clone,
	.wake = cell_wake,
	.wake_by_ref = cell_wake_by_ref,
	.drop = cell_drop,
};

static void cell_rearm(struct cell *cell)
{
	thrum__lock(&cell->lock);
	cell->notified = false;
	thrum__unlock(&cell->lock);
}

/* A future that keeps waking itself must stop neither the others nor the clock. */
static int go_on(thrum_deadline deadline)
{
	thrum_yield();
	if (deadline != THRUM_FOREVER && thrum_now() >= deadline)
		return -ETIMEDOUT;
	return thrum__cancel_point();
}

/* Steps 3 and 4: 0 when there was a wake since the last rearm, -ETIMEDOUT, -ECANCELED. */
static int cell_wait(struct cell *cell, thrum_deadline deadline)
{
	struct thrum__wait wait;

	thrum__lock(&cell->lock);
	bool notified = cell->notified;
	if (!notified) {
		thrum__wait_init(&wait);
		cell->wait = &wait;
	}
	thrum__unlock(&cell->lock);
	if (notified)
		return go_on(deadline);

	int claimed = thrum__wait_park(&wait, "future", deadline);
	if (claimed > 0)
		return 0;
	thrum__lock(&cell->lock);
	cell->wait = NULL;
	thrum__unlock(&cell->lock);
	return claimed;
}

static int run(
	struct cell *cell, struct thrum_future *future, void *output, thrum_deadline deadline)
{
	struct thrum_waker waker = {cell, &cell_vtable};
	struct thrum_context context = {&waker};
	int result = thrum__cancel_point();

	while (result == 0) {
		cell_rearm(cell);
		result = thrum_future_poll(future, &context, output);
		if (result != THRUM_PENDING)
			return result;
		result = cell_wait(cell, deadline);
	}
	return result;
}

int thrum_block_on(struct thrum_future *future, void *output, thrum_deadline deadline)
{
	struct cell *cell = calloc(1, sizeof(*cell));
	int result = -ENOMEM;

	if (cell != NULL) {
		cell->refs = 1;
		result = run(cell, future, output, deadline);
	}
	thrum_future_drop(future);
	if (cell != NULL)
		cell_drop(cell);
	return result;
}
