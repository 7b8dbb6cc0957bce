/* SPDX-License-Identifier: MIT */
#ifndef THRUM_COND_H
#define THRUM_COND_H

#include <thrum/error.h>
#include <thrum/mutex.h>
#include <thrum/time.h>
#include <thrum/waitq.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A condition variable: wait, under a mutex, until another thread says that something has changed.
 * All-zero is ready; nothing needs to be freed. Waiters are signalled first come, first served.
 */
struct thrum_cond {
	struct thrum_waitq waiters_;
};

#ifdef __cplusplus
#define THRUM_COND_INIT {}
#else
#define THRUM_COND_INIT {0}
#endif

/*
 * Unlocks the mutex, waits for a signal, and locks the mutex again. Unlocking and starting to wait
 * are one step for everybody who locks the mutex before signalling.
 * cond, mutex: borrowed for the call; the caller holds the mutex, before *and* after, whatever the
 * result: re-locking knows neither deadline nor cancellation.
 * Returns 0 (signalled; test the condition again: another thread may have been faster),
 * -ETIMEDOUT or -ECANCELED (not signalled: a signal is never used up by a wait that fails).
 * A thread that was already cancelled gets -ECANCELED without having unlocked the mutex.
 * Context: green thread or OS thread. Suspends: may. What came before the signal happens before
 * the return of 0. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_cond_wait(
	struct thrum_cond *cond, struct thrum_mutex *mutex, thrum_deadline deadline);

/*
 * Ends the wait of the thread that has waited longest, if any waits.
 * Context: green thread or OS thread, with or without the mutex. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_cond_signal(struct thrum_cond *cond);

/* Ends the wait of every thread that waits now. Otherwise as thrum_cond_signal. Since: 0.1. */
THRUM_API void thrum_cond_broadcast(struct thrum_cond *cond);

#ifdef __cplusplus
}
#endif
#endif
