/* SPDX-License-Identifier: MIT */
#ifndef THRUM_THREAD_H
#define THRUM_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <thrum/error.h>
#include <thrum/time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thrum_thread; /* a green thread; a handle holds one reference */

typedef void *(*thrum_fn)(void *arg);

/* How a runtime is set up. All-zero means the defaults. */
struct thrum_config {
	unsigned workers;      /* OS threads that run green threads; 0: one for each usable CPU */
	unsigned detached_max; /* hogs that may hold an OS thread of their own at once; 0: 256 */
	size_t stack_size;     /* bytes of stack for a green thread, guard included; 0: 256 KiB */
	/*
	 * Nanoseconds from the first thread's return until those that have not ended yet are
	 * named on standard error; 0: two seconds, < 0: never.
	 */
	int64_t shutdown_report;
	uintptr_t reserved_[4]; /* zero */
};

/* How one green thread is set up. All-zero means the defaults. */
struct thrum_attr {
	const char *name;       /* for debugging; borrowed for the thread's life; may be NULL */
	size_t stack_size;      /* bytes; 0: the runtime's default */
	unsigned flags;         /* THRUM_CHILD_FIRST or 0 */
	uintptr_t reserved_[3]; /* zero */
};

/*
 * The child runs at once, in the caller's place, and the caller goes where other workers may steal
 * it: for fork-join code that wants to go depth first without waiting for the join. Then
 * thrum_spawn may suspend. Now and then, when it is others' turn, they come first, and the child is
 * an ordinary one. Ignored for a pinned caller.
 */
#define THRUM_CHILD_FIRST 1u

#define THRUM_STRINGIFY_(x)  #x
#define THRUM_STRINGIFY__(x) THRUM_STRINGIFY_(x)
#define THRUM_SITE_          __FILE__ ":" THRUM_STRINGIFY__(__LINE__)

/*
 * Runs a runtime: starts the workers, runs fn(arg) as the first green thread, and returns once
 * it has returned *and* every other green thread has ended. When fn returns, all others are
 * cancelled (see thrum_cancel), so a thread that heeds -ECANCELED ends the run soon.
 * config: NULL for the defaults; borrowed for the call. result: NULL or where fn's value goes.
 * Returns 0, -ENOMEM, -EAGAIN (no OS thread to be had), -EMFILE or -ENFILE (no descriptor to be
 * had; a worker needs two), -EINVAL (bad config), -EDEADLK (called from a green thread).
 * Context: OS thread; the calling thread becomes a worker. Suspends: no, it
 * blocks the OS thread. Several runtimes may run in one process, and one after another. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_run(
	const struct thrum_config *config, thrum_fn fn, void *arg, void **result);

/*
 * Starts fn(arg) as a green thread. The call never runs the child in the caller's place, so
 * spawning under a lock is safe; another worker may run it at once, with *out already set.
 * out: gives a handle, to be ended by thrum_join or thrum_detach; NULL detaches at once.
 * attr: NULL for the defaults; borrowed for the call (its name for the thread's life).
 * Returns 0, -ENOMEM (also if stack_size is beyond all memory), -EINVAL (an unknown flag, or a
 * reserved field is not zero), THRUM_ENORUNTIME, -ECANCELED (the runtime is shutting down and takes
 * no more). On failure fn never runs and the caller keeps arg. The child gets its stack when it
 * first runs; should there be no memory for one then, it waits until another thread gives one back.
 * Context: green thread. Suspends: never, but with THRUM_CHILD_FIRST. What came before the call happens before fn.
 * Since: 0.1.
 */
#define thrum_spawn(out, fn, arg) thrum_spawn_at((out), (fn), (arg), NULL, THRUM_SITE_)
#define thrum_spawn_with(out, fn, arg, attr) thrum_spawn_at((out), (fn), (arg), (attr), THRUM_SITE_)
THRUM_NODISCARD THRUM_API int thrum_spawn_at(struct thrum_thread **out, thrum_fn fn, void *arg,
	const struct thrum_attr *attr, const char *site);

/*
 * Waits for a green thread to end and takes its handle. A child of the caller's that nobody has
 * begun yet is run at once, in the caller's place: so fork-join code goes depth first.
 * result: NULL or where fn's return value goes.
 * Returns 0 (the handle is gone), or -ETIMEDOUT, -ECANCELED (the handle stays the caller's),
 * -EDEADLK (a thread joining itself).
 * Context: green thread or OS thread. Suspends: may. The thread's whole run happens before the
 * return.
 * At most one joiner at a time. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_join(
	struct thrum_thread *thread, void **result, thrum_deadline deadline);

/* Gives the handle up: the thread frees itself when it ends. NULL is fine. Suspends: never. */
THRUM_API void thrum_detach(struct thrum_thread *thread);

/*
 * Asks a green thread to stop: the blocking call it sits in, or else each one it makes from now
 * on, ends with -ECANCELED. Sticky. Context: any thread that holds the handle. Suspends: never.
 * Since: 0.1.
 */
THRUM_API void thrum_cancel(struct thrum_thread *thread);

/* True if the calling green thread was asked to stop; false on an OS thread. Suspends: never. */
THRUM_API bool thrum_canceled(void);

/*
 * Shields the calling green thread from cancellation while it cleans up: between begin and end
 * no call ends with -ECANCELED. Nests; an end without its begin aborts. Context: green thread
 * (no effect elsewhere). Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_shield_begin(void);
THRUM_API void thrum_shield_end(void);

/*
 * Lets others run: goes to the end of this worker's queue; returns at once if nobody is in it.
 * On an OS thread: sched_yield. Suspends: may. Since: 0.1.
 */
THRUM_API void thrum_yield(void);

/*
 * Keeps the calling green thread on the OS thread it is on, until unpin: for libraries that keep
 * state for each OS thread. That OS thread runs no other green thread meanwhile, so each
 * suspension costs two switches of OS threads. Nests; an unpin without its pin aborts; the
 * end of the thread unpins. Context: green thread (no effect elsewhere). Suspends: pin may, unpin
 * never. Since: 0.1.
 */
THRUM_API void thrum_pin(void);
THRUM_API void thrum_unpin(void);

/*
 * The calling green thread (borrowed), or NULL on a plain OS thread. Suspends: never.
 * Since: 0.1.
 */
THRUM_API struct thrum_thread *thrum_self(void);

/* Process-wide unique number of a green thread, > 0. Suspends: never. Since: 0.1. */
THRUM_API uint64_t thrum_thread_id(const struct thrum_thread *thread);

/*
 * Workers of the calling green thread's runtime; 0 on a plain OS thread. Suspends: never.
 * Since: 0.1.
 */
THRUM_API unsigned thrum_workers(void);

/*
 * Runs fn(arg) on an OS thread kept for calls that block for long (fsync, a slow library), so
 * that the worker runs other green threads meanwhile. Not a cancellation point: fn's effect
 * always happened.
 * Returns 0, or -EAGAIN (no OS thread to be had; fn was not run). result: NULL or fn's value.
 * Context: green thread, or OS thread (fn is then called in place). Suspends: always. What came
 * before the call happens before fn, and fn before the return. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_blocking(thrum_fn fn, void *arg, void **result);

/*
 * What stands between begin and end may block or compute for long: begin gives the worker's queues,
 * timers and descriptors to another OS thread at once, and the caller goes on by itself on its
 * own. Without it the same happens by itself after some milliseconds, if others wait. end takes
 * the caller back among the others; it may go on on another OS thread. Nests; an end without its
 * begin aborts. Where no OS thread is to be had, or detached_max are out already, begin does
 * nothing. Context: green thread (no effect elsewhere). Suspends: begin never, end may. Not a
 * cancellation point. Since: 0.1.
 */
THRUM_API void thrum_blocking_begin(void);
THRUM_API void thrum_blocking_end(void);

#ifdef __cplusplus
}
#endif
#endif
