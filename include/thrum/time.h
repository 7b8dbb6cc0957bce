/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TIME_H
#define THRUM_TIME_H

#include <stdint.h>
#include <thrum/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Deadlines are absolute: nanoseconds on the monotonic clock that thrum_now() reads.
 * A blocking call takes one as its last parameter; it ends with -ETIMEDOUT once the
 * clock reaches it. THRUM_NOW makes it a try: done at once, or -ETIMEDOUT.
 */
typedef int64_t thrum_deadline;

#define THRUM_NOW     ((thrum_deadline)0)
#define THRUM_FOREVER ((thrum_deadline)INT64_MAX)

#define THRUM_US INT64_C(1000)
#define THRUM_MS INT64_C(1000000)
#define THRUM_S  INT64_C(1000000000)

/*
 * The monotonic clock in nanoseconds, > 0. Context: any thread, signal handler.
 * Suspends: never. Since: 0.1.
 */
THRUM_API int64_t thrum_now(void);

/*
 * The deadline `ns` nanoseconds from now, saturating at THRUM_FOREVER; THRUM_NOW if ns <= 0.
 * Context: any thread, signal handler. Suspends: never. Since: 0.1.
 */
THRUM_API thrum_deadline thrum_after(int64_t ns);

/*
 * Sleeps until the deadline: never shorter; by design up to 66 us longer, or a thousandth of a long
 * sleep, so that what is due together wakes together. Returns 0 when it has come, -ECANCELED if the calling green
 * thread was cancelled first. THRUM_NOW returns at once.
 * Context: green thread or OS thread. Suspends: may. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_sleep_until(thrum_deadline deadline);

/* thrum_sleep_until(thrum_after(ns)). */
THRUM_NODISCARD THRUM_API int thrum_sleep(int64_t ns);

#ifdef __cplusplus
}
#endif
#endif
