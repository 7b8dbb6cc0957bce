/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CHANNEL_H
#define THRUM_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <thrum/error.h>
#include <thrum/time.h>
#include <thrum/waker.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A channel hands elements of a fixed size from any number of senders to any number of receivers,
 * each element to exactly one, in the order in which they were sent. They are copied in and out.
 */
struct thrum_channel;

/*
 * Creates a channel.
 * out: gives one reference, to be ended by thrum_channel_unref. elem_size: bytes of an element; 0
 * is allowed (the elements are then mere events). capacity: how many elements may lie in the
 * channel; with 0 a send waits until a receiver takes the element out of the sender's hands.
 * Returns 0, or -ENOMEM (also if elem_size * capacity is beyond all memory); *out is NULL then.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_channel_create(
	struct thrum_channel **out, size_t elem_size, size_t capacity);

/*
 * Sets what is called with each element that is still in the channel when its last reference goes,
 * so that elements which own something do not leak. Call it before the channel is shared.
 * drop: called on the thread that dropped the last reference; must not use the channel.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_channel_set_drop(struct thrum_channel *channel, void (*drop)(void *elem));

/* Takes one more reference; returns channel. Context: any thread. Suspends: never. Since: 0.1. */
THRUM_API struct thrum_channel *thrum_channel_ref(struct thrum_channel *channel);

/*
 * Ends a reference; the last one frees the channel with what is in it. NULL is fine. It does not
 * close the channel. Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_channel_unref(struct thrum_channel *channel);

/*
 * Sends the element at elem (borrowed for the call; may be NULL if elements have no bytes).
 * Returns 0: the element is in the channel or with a receiver. -ETIMEDOUT, -ECANCELED or
 * THRUM_ECLOSED: it was not sent, and nobody will receive it. THRUM_NOW makes it a try.
 * Context: green thread or OS thread. Suspends: may. The send happens before the return of the
 * receive that gets the element. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_channel_send(
	struct thrum_channel *channel, const void *elem, thrum_deadline deadline);

/*
 * Receives one element into elem (borrowed for the call; may be NULL if elements have no bytes).
 * Returns 0, or -ETIMEDOUT, -ECANCELED (no element was taken; elem may not be relied on), or
 * THRUM_EEOF (closed, and all that was sent has been received). THRUM_NOW makes it a try.
 * Context: green thread or OS thread. Suspends: may. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_channel_recv(
	struct thrum_channel *channel, void *elem, thrum_deadline deadline);

/*
 * Closes the channel: senders, also those that wait, get THRUM_ECLOSED; receivers get what is left
 * in the channel and then THRUM_EEOF. Closing twice is fine.
 * Context: green thread or OS thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_channel_close(struct thrum_channel *channel);

/*
 * How many elements lie in the channel at this moment: a hint, for it may be different when the
 * call has returned. Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API size_t thrum_channel_len(struct thrum_channel *channel);

/*
 * What a future that receives keeps in a channel between two polls. Complete so that it can live in
 * the future; its fields are the library's own. All-zero before its first use.
 */
struct thrum_channel_watch {
	struct thrum_channel_watch *next_, *prev_;
	struct thrum_waker waker_;
	bool armed_; /* in the channel's list */
	bool woken_; /* an element was announced to it, and it has not looked yet */
};

#ifdef __cplusplus
}
#endif
#endif
