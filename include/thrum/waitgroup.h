/* SPDX-License-Identifier: MIT */
#ifndef THRUM_WAITGROUP_H
#define THRUM_WAITGROUP_H

#include <stdint.h>
#include <thrum/error.h>
#include <thrum/time.h>
#include <thrum/waitq.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Counts work that is under way and lets threads wait until all of it is done. All-zero counts
 * nothing; nothing needs to be freed. May be used again once it has come back to zero.
 */
struct thrum_waitgroup {
	uint32_t count_;
	uint32_t reserved_;
	struct thrum_waitq waiters_;
};

#ifdef __cplusplus
#define THRUM_WAITGROUP_INIT {}
#else
#define THRUM_WAITGROUP_INIT {0}
#endif

/*
 * Counts n more pieces of work. Call it before the work is handed out: an add that meets a count of
 * zero must happen before the wait. Over UINT32_MAX pieces is a broken program and aborts.
 * Context: green thread or OS thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_waitgroup_add(struct thrum_waitgroup *group, uint32_t n);

/*
 * One piece of work is done; the last one ends every wait. More than were added aborts. Once a wait
 * has returned, the memory may be freed: the last thrum_waitgroup_done no longer touches it.
 * Context: green thread or OS thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_waitgroup_done(struct thrum_waitgroup *group);

/*
 * Waits until the count is zero.
 * group: borrowed for the call. deadline: when to give up; THRUM_NOW makes it a question.
 * Returns 0, or -ETIMEDOUT, -ECANCELED (the work goes on).
 * Context: green thread or OS thread. Suspends: may. All that came before the counted calls of
 * thrum_waitgroup_done happens before the return of 0. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_waitgroup_wait(
	struct thrum_waitgroup *group, thrum_deadline deadline);

#ifdef __cplusplus
}
#endif
#endif
