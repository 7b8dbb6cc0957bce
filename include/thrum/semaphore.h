/* SPDX-License-Identifier: MIT */
#ifndef THRUM_SEMAPHORE_H
#define THRUM_SEMAPHORE_H

#include <stdint.h>
#include <thrum/error.h>
#include <thrum/time.h>
#include <thrum/waitq.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A counting semaphore. All-zero holds no permit; nothing needs to be freed. Fair: a permit that is
 * released while threads wait goes to the one that has waited longest, past any newcomer.
 *
 * Whoever got the last permit may free the memory it lives in at once: a release does not touch the
 * semaphore after its last permit can be had. So it also serves as a completion on a stack.
 */
struct thrum_semaphore {
	uint64_t state_; /* 2 * permits + 1 if threads wait */
	struct thrum_waitq waiters_;
};

#define THRUM_SEMAPHORE_MAX       UINT32_MAX
#define THRUM_SEMAPHORE_INIT(permits) {(uint64_t)(uint32_t)(permits) << 1, {0, 0, 0, 0}}

/*
 * Takes one permit, waiting for it if there is none.
 * semaphore: borrowed for the call. deadline: when to give up; THRUM_NOW makes it a try.
 * Returns 0, or -ETIMEDOUT, -ECANCELED (no permit was taken).
 * Context: green thread or OS thread. Suspends: may. The release of a permit happens before the
 * return of the call that got it. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_semaphore_acquire(
	struct thrum_semaphore *semaphore, thrum_deadline deadline);

/*
 * Gives n permits. More than THRUM_SEMAPHORE_MAX at a time is a broken program and aborts.
 * Context: green thread or OS thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_semaphore_release(struct thrum_semaphore *semaphore, uint32_t n);

/*
 * The permits that nobody holds at this moment: a hint, for it may be different when the call has
 * returned. Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API uint32_t thrum_semaphore_permits(const struct thrum_semaphore *semaphore);

#ifdef __cplusplus
}
#endif
#endif
