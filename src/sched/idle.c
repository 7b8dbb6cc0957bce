/* SPDX-License-Identifier: MIT */
#include "sched/idle.h"

#include "sched/fence.h"

/*
 * Sleeping and waking.  Work must never lie queued for others while a machine sleeps that nobody
 * will wake.
 *
 *   submitter                            machine that found nothing
 *   S1 push to a queue                   M1 stop searching: searching-- (if it was counted)
 *   S2 FENCE                             M2 publish idle: onto the list, count++
 *   S3 count == 0? done                  M3 FENCE
 *   S4 searching != 0? done              M4 look at every queue again; found: back, searching
 *   S5 under the lock: if still so,      M5 sleep in the driver until called, an event, a timer
 *      take one off the list, and count
 *      it in searching on its behalf;
 *      wake its driver
 *
 * [I1] S2/M3: of a submitter and a machine going idle, one sees the other. If S3 reads 0, M2
 *      comes later, so M4 sees S1.
 * [I2] Whoever is counted in searching will look at every queue after it is no longer counted: it
 *      either stops without work and does M2..M4, or finds some and, being the last, checks and
 *      wakes another. So S4 may leave the work to it.
 * [I3] Who moves threads from one queue to another holds them in neither for a moment, in which an
 *      M4 may miss them. So the mover is a submitter again: once they are in place it does S2..S5,
 *      or is counted in searching and leaves that to [I2].
 * [I4] A submitter raises `searching` only together with taking a machine off the list, both under
 *      the lock. Raising it first and lowering it again when nobody was idle would make a second
 *      submitter skip its wake in between while nobody searches at all.
 *
 * At most half of the machines search at a time: more only fight for the same cache lines.
 *
 * What counts as work for others is dispatch.c's to say: a lone thread that its own machine runs
 * next does not, see there.
 *
 * Rejected: waking a machine for each submission (a system call for each); spinning before
 * sleeping (an idle program must use no processor time; the searching phase is the spin).
 *
 * Tests: test_idle.c holds a machine at each step; test/explore runs all interleavings of the
 * real code and finds the lost wake when a fence, M4 or [I2] is taken out.
 */

struct thrum__idler *thrum__idlers_call(struct thrum__idlers *idlers)
{
	thrum__full_fence();
	if (__atomic_load_n(&idlers->count, __ATOMIC_RELAXED) == 0 ||
		__atomic_load_n(&idlers->searching, __ATOMIC_RELAXED) != 0)
		return NULL;
	struct thrum__idler *idler = NULL;
	thrum__lock(&idlers->lock);
	if (__atomic_load_n(&idlers->searching, __ATOMIC_RELAXED) == 0) {
		struct thrum__list *link = thrum__list_pop_front(&idlers->list);
		if (link != NULL) {
			idler = thrum__container_of(link, struct thrum__idler, link);
			idler->called = true;
			__atomic_store_n(&idlers->count, idlers->count - 1, __ATOMIC_RELAXED);
			__atomic_fetch_add(&idlers->searching, 1, __ATOMIC_SEQ_CST);
		}
	}
	thrum__unlock(&idlers->lock);
	return idler;
}

bool thrum__idler_call(struct thrum__idlers *idlers, struct thrum__idler *idler)
{
	thrum__lock(&idlers->lock);
	bool listed = thrum__list_linked(&idler->link);
	if (listed) {
		thrum__list_remove(&idler->link);
		idler->called = true;
		__atomic_store_n(&idlers->count, idlers->count - 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&idlers->searching, 1, __ATOMIC_SEQ_CST);
	}
	thrum__unlock(&idlers->lock);
	return listed;
}

void thrum__idler_enter(struct thrum__idlers *idlers, struct thrum__idler *idler)
{
	thrum__lock(&idlers->lock);
	idler->called = false;
	thrum__list_push_front(&idlers->list, &idler->link);
	__atomic_store_n(&idlers->count, idlers->count + 1, __ATOMIC_RELAXED);
	thrum__unlock(&idlers->lock);
	thrum__full_fence();
}

bool thrum__idler_leave(struct thrum__idlers *idlers, struct thrum__idler *idler, bool saw_work)
{
	thrum__lock(&idlers->lock);
	bool searching = idler->called; /* counted by the one who called */
	if (!searching) {
		thrum__list_remove(&idler->link);
		__atomic_store_n(&idlers->count, idlers->count - 1, __ATOMIC_RELAXED);
		if (saw_work) { /* search whatever the limit says */
			__atomic_fetch_add(&idlers->searching, 1, __ATOMIC_SEQ_CST);
			searching = true;
		}
	}
	thrum__unlock(&idlers->lock);
	return searching;
}

bool thrum__search_start(struct thrum__idlers *idlers, unsigned count)
{
	if (2 * __atomic_load_n(&idlers->searching, __ATOMIC_RELAXED) >= count)
		return false;
	__atomic_fetch_add(&idlers->searching, 1, __ATOMIC_SEQ_CST);
	return true;
}

bool thrum__search_stop(struct thrum__idlers *idlers, bool found)
{
	uint32_t before = __atomic_fetch_sub(&idlers->searching, 1, __ATOMIC_SEQ_CST);
	if (!found || before != 1)
		return false;
	thrum__full_fence(); /* S4 of a submitter, or our look at its queue: one sees the other */
	return true;
}
