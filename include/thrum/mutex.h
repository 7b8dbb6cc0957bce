/* SPDX-License-Identifier: MIT */
#ifndef THRUM_MUTEX_H
#define THRUM_MUTEX_H

#include <stdbool.h>
#include <stdint.h>
#include <thrum/error.h>
#include <thrum/time.h>
#include <thrum/waitq.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A mutual exclusion lock that suspends the green thread, not its worker. It may be held across any
 * blocking call and unlocked on another worker. All-zero is unlocked; nothing needs to be freed.
 *
 * The thread that gets the lock last may free the memory it lives in as soon as its own unlock has
 * returned: an unlock that lets another thread in does not touch the mutex afterwards.
 */
struct thrum_mutex {
	uint32_t state_;
	uint32_t reserved_;
	uintptr_t owner_;
	struct thrum_waitq waiters_;
};

#ifdef __cplusplus
#define THRUM_MUTEX_INIT {}
#else
#define THRUM_MUTEX_INIT {0}
#endif

/*
 * Locks the mutex. A free mutex may be taken past those who wait for it, but a waiter that was
 * overtaken once is given the lock directly by the next unlock, so nobody starves.
 * mutex: borrowed for the call. deadline: when to give up; THRUM_NOW makes it a try.
 * Returns 0 (the caller holds it), -ETIMEDOUT or -ECANCELED (it does not). A free mutex is locked
 * even by a cancelled thread: only waiting is a cancellation point, so that cleaning up goes on.
 * Not recursive: debug builds abort when the holder locks it for ever once more.
 * Context: green thread or OS thread. Suspends: may. All that the last holder did before its unlock
 * happens before the return of 0. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_mutex_lock(struct thrum_mutex *mutex, thrum_deadline deadline);

/*
 * Locks the mutex if it is free. Returns true if the caller now holds it.
 * Context: green thread or OS thread. Suspends: never. Order as thrum_mutex_lock. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API bool thrum_mutex_try_lock(struct thrum_mutex *mutex);

/*
 * Unlocks the mutex. Only the holder may: debug builds abort otherwise.
 * Context: green thread or OS thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_mutex_unlock(struct thrum_mutex *mutex);

#ifdef __cplusplus
}
#endif
#endif
