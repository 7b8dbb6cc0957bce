/* SPDX-License-Identifier: MIT */
#ifndef THRUM_WAKER_H
#define THRUM_WAKER_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A waker: how an event source says "poll again" to whoever runs a future, without knowing who that
 * is. Anybody's executor and anybody's event source fit together through these two words.
 *
 * What an implementation of the table promises:
 *   - every function may be called from any thread, at any time, also within a poll, also under the
 *     event source's lock;
 *   - waking at most schedules: it never polls and never waits for long;
 *   - many wakes before the next poll make one poll; a wake is never lost once that poll has begun;
 *   - a waker may be kept, and woken, after the future is gone: it then does nothing.
 */
struct thrum_waker;

struct thrum_waker_vtable {
	void (*clone)(void *data);	 /* one more waker with the same data exists from now on */
	void (*wake)(void *data);	 /* wake, and this waker is gone */
	void (*wake_by_ref)(void *data); /* wake; the waker stays */
	void (*drop)(void *data);	 /* this waker is gone */
};

/* All-zero is no waker: waking and dropping it do nothing. */
struct thrum_waker {
	void *data;
	const struct thrum_waker_vtable *vtable;
};

/* Wakes and takes the waker. Context: any thread. Suspends: never. Since: 0.1. */
static inline void thrum_waker_wake(struct thrum_waker waker)
{
	if (waker.vtable != NULL)
		waker.vtable->wake(waker.data);
}

/* Wakes; the waker stays the caller's. Context: any thread. Suspends: never. Since: 0.1. */
static inline void thrum_waker_wake_by_ref(const struct thrum_waker *waker)
{
	if (waker->vtable != NULL)
		waker->vtable->wake_by_ref(waker->data);
}

/* Gives one more waker of the same task. Context: any thread. Suspends: never. Since: 0.1. */
static inline struct thrum_waker thrum_waker_clone(const struct thrum_waker *waker)
{
	if (waker->vtable != NULL)
		waker->vtable->clone(waker->data);
	return *waker;
}

/* Takes the waker without waking. Context: any thread. Suspends: never. Since: 0.1. */
static inline void thrum_waker_drop(struct thrum_waker waker)
{
	if (waker.vtable != NULL)
		waker.vtable->drop(waker.data);
}

/* True if both wake the same task. Context: any thread. Suspends: never. Since: 0.1. */
static inline bool thrum_waker_same(const struct thrum_waker *a, const struct thrum_waker *b)
{
	return a->data == b->data && a->vtable == b->vtable;
}

#ifdef __cplusplus
}
#endif
#endif
