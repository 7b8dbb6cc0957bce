/* SPDX-License-Identifier: MIT */
#ifndef THRUM_FUTURE_H
#define THRUM_FUTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <thrum/channel.h>
#include <thrum/error.h>
#include <thrum/thread.h>
#include <thrum/time.h>
#include <thrum/waker.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Futures: work that makes progress only when it is polled, and has no stack of its own.
 *
 * A future is a struct of the caller's, with a struct thrum_future in it; nothing here allocates
 * unless it says so. Its life: init, poll until ready, drop. Exactly one owner polls and drops it,
 * from one thread at a time; it must not move in memory once it was polled.
 *
 * Taking.  Whatever takes a future (thrum_block_on, each combinator) drops it exactly once, whether
 * it became ready or not. Dropping a future that is not ready cancels its work. The memory stays
 * the caller's and can be used again afterwards.
 *
 * Output.  Each kind of future says what it writes to output when it is ready with success; output
 * may be NULL if that is nothing, and must otherwise be valid at each poll.
 */

enum {
	THRUM_READY = 0,
	THRUM_PENDING = 1,
};

/* What a poll is told. */
struct thrum_context {
	const struct thrum_waker *waker; /* borrowed for the poll; clone it to keep it */
};

struct thrum_future;

struct thrum_future_vtable {
	/*
	 * Makes progress without waiting. Returns THRUM_READY (output is written), a negative code
	 * (ready too, but failed: output is as it was), or THRUM_PENDING: then a clone of the
	 * context's waker has been put, in place of the last poll's, where it will be woken when
	 * polling again makes sense. Must not be called again once it was ready.
	 */
	int (*poll)(struct thrum_future *self, struct thrum_context *context, void *output);
	/* Frees what the future holds, and cancels what it has under way. */
	void (*drop)(struct thrum_future *self);
};

struct thrum_future {
	const struct thrum_future_vtable *vtable; /* NULL: dropped */
};

/* Polls a future: see struct thrum_future_vtable. Suspends: never. Since: 0.1. */
static inline int thrum_future_poll(
	struct thrum_future *future, struct thrum_context *context, void *output)
{
	return future->vtable->poll(future, context, output);
}

/* Drops a future. NULL, and one that is dropped already, are fine. Suspends: never. Since: 0.1. */
static inline void thrum_future_drop(struct thrum_future *future)
{
	if (future == NULL || future->vtable == NULL)
		return;
	const struct thrum_future_vtable *vtable = future->vtable;
	future->vtable = NULL;
	vtable->drop(future);
}

/*
 * Runs a future to its end on the calling thread. This is also how a green thread awaits one.
 * future: taken. output: where the future's value goes; borrowed for the call.
 * Returns what the future ended with (0 or its negative code), or -ETIMEDOUT, -ECANCELED (the
 * future was dropped before it was ready), -ENOMEM (dropped without a poll). THRUM_NOW polls once.
 * Context: green thread or OS thread. Suspends: may. What came before a wake happens before the
 * poll that follows it. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_block_on(
	struct thrum_future *future, void *output, thrum_deadline deadline);

/* ---- leaves: each init gives the future to hand on; context: any thread; suspends: never */

/* Ready at once. */
struct thrum_future_ready {
	struct thrum_future future;
	const void *value_;
	size_t size_;
	int result_;
};

/*
 * A future that is ready at the first poll with result (0 or a negative code), and with a copy of
 * size bytes at value (retained until it is dropped) as its output. Since: 0.1.
 */
THRUM_API struct thrum_future *thrum_future_ready_init(
	struct thrum_future_ready *ready, int result, const void *value, size_t size);

/* Ready when its time has come. */
struct thrum_future_timer {
	struct thrum_future future;
	thrum_deadline deadline_;
	struct thrum_waker waker_;
	void *node_[5];
};

/*
 * A future that is ready once the clock has reached the deadline; THRUM_FOREVER: never. No output.
 * It fails with -EAGAIN if no OS thread is to be had for the clock that would wake it. Since: 0.1.
 */
THRUM_API struct thrum_future *thrum_future_timer_init(
	struct thrum_future_timer *timer, thrum_deadline deadline);

/* Ready when an element was received. */
struct thrum_future_recv {
	struct thrum_future future;
	struct thrum_channel *channel_;
	struct thrum_channel_watch watch_;
};

/*
 * A future that receives one element from a channel, of which it takes a reference of its own.
 * Output: the element. Fails with THRUM_EEOF as thrum_channel_recv does. Dropped before it was
 * ready, it has taken no element. Since: 0.1.
 */
THRUM_API struct thrum_future *thrum_future_recv_init(
	struct thrum_future_recv *recv, struct thrum_channel *channel);

/* The sending end of a single value. */
struct thrum_oneshot;

/* Ready when the value was sent. */
struct thrum_future_oneshot {
	struct thrum_future future;
	struct thrum_oneshot *cell_;
};

/*
 * Creates a sender and the future that receives the one value it sends.
 * sender: gives the sending end, to be ended by thrum_oneshot_send or thrum_oneshot_close.
 * receiver: initialised; its output is the value; it fails with THRUM_ECLOSED if there will be
 * none.
 * size: bytes of the value. Returns 0, or -ENOMEM (nothing was made). Allocates. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_oneshot_create(
	struct thrum_oneshot **sender, struct thrum_future_oneshot *receiver, size_t size);

/*
 * Sends the value at value (borrowed for the call) and takes the sender.
 * Returns 0, or THRUM_ECLOSED: the receiver was dropped and will not see it. A value that is in
 * flight when the receiver is dropped is forgotten. Context: any thread. Suspends: never. Since:
 * 0.1.
 */
THRUM_API int thrum_oneshot_send(struct thrum_oneshot *sender, const void *value);

/* Takes the sender and sends nothing. NULL is fine. Context: any thread. Suspends: never. */
THRUM_API void thrum_oneshot_close(struct thrum_oneshot *sender);

/* Ready when a green thread's function has returned. */
struct thrum_future_thread {
	struct thrum_future future;
	struct thrum_future_oneshot result_;
	struct thrum_thread *thread_;
};

/*
 * Starts fn(arg) as a green thread, like thrum_spawn, and initialises the future that awaits it.
 * Output: a void *, what fn returned. Dropped before it was ready, it cancels the thread, which
 * ends by itself, maybe later: what arg points to must live that long.
 * Returns what thrum_spawn does; on failure the future is not initialised. Allocates. Since: 0.1.
 */
#define thrum_future_thread_spawn(future, fn, arg) \
	thrum_future_thread_spawn_at((future), (fn), (arg), THRUM_SITE_)
THRUM_NODISCARD THRUM_API int thrum_future_thread_spawn_at(
	struct thrum_future_thread *future, thrum_fn fn, void *arg, const char *site);

/* ---- combinators: each init takes its futures and gives the one to hand on */

/* Computes a value from another future's. */
struct thrum_future_map {
	struct thrum_future future;
	struct thrum_future *inner_;
	int (*fn_)(void *arg, void *value, void *output);
	void *arg_, *value_;
};

/*
 * A future that runs inner and, when it has succeeded, ends with what fn(arg, value, output)
 * returns (0, having written output, or a negative code). If inner fails so does it, without
 * calling fn.
 * value: where inner's output goes; retained until it is dropped. Since: 0.1.
 */
THRUM_API struct thrum_future *thrum_future_map_init(struct thrum_future_map *map,
	struct thrum_future *inner, int (*fn)(void *arg, void *value, void *output), void *arg,
	void *value);

/* Goes on with another future, chosen from the first one's value. */
struct thrum_future_then {
	struct thrum_future future;
	struct thrum_future *now_;
	struct thrum_future *(*fn_)(void *arg, void *value);
	void *arg_, *value_;
};

/*
 * A future that runs first and, when it has succeeded, drops it and runs the future that fn(arg,
 * value) gives, whose output is its own. If first fails so does it, without calling fn; NULL from
 * fn fails with -ENOMEM. value: where first's output goes; retained until it is dropped. Since:
 * 0.1.
 */
THRUM_API struct thrum_future *thrum_future_then_init(struct thrum_future_then *then,
	struct thrum_future *first, struct thrum_future *(*fn)(void *arg, void *value), void *arg,
	void *value);

/* Runs two futures, until both are ready. */
struct thrum_future_join2 {
	struct thrum_future future;
	int result[2]; /* what each ended with; THRUM_PENDING before */
	struct thrum_future *each_[2];
	void *output_[2];
};

/*
 * A future that runs a and b side by side until both are ready, and ends with 0, or with a's code
 * if a failed, else b's; each one's own is in result. output_a, output_b: where their outputs go;
 * retained until it is dropped. No output of its own. Since: 0.1.
 */
THRUM_API struct thrum_future *thrum_future_join2_init(struct thrum_future_join2 *join,
	struct thrum_future *a, void *output_a, struct thrum_future *b, void *output_b);

/* Runs two futures, until one is ready. */
struct thrum_future_select2 {
	struct thrum_future future;
	int winner; /* 0: a, 1: b; -1 before */
	struct thrum_future *each_[2];
	void *output_[2];
};

/*
 * A future that runs a and b side by side until one is ready, drops the other one, and ends with
 * the winner's result; who won is in winner. If both are ready at the same poll a wins.
 * output_a, output_b: where their outputs go; retained until it is dropped. No output of its own.
 * Since: 0.1.
 */
THRUM_API struct thrum_future *thrum_future_select2_init(struct thrum_future_select2 *select,
	struct thrum_future *a, void *output_a, struct thrum_future *b, void *output_b);

#ifdef __cplusplus
}
#endif
#endif
