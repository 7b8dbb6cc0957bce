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
	size_t stack_size;     /* bytes of stack for a green thread; 0: 256 KiB */
	unsigned reserved_[4]; /* zero */
};

/* How one green thread is set up. All-zero means the defaults. */
struct thrum_attr {
	const char *name;        /* for debugging; borrowed for the thread's life; may be NULL */
	size_t stack_size;       /* bytes; 0: the runtime's default */
	uintptr_t reserved_[3];  /* zero */
};

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
 * Returns 0, -ENOMEM (also if stack_size is beyond all memory), -EINVAL (a reserved field is not
 * zero), THRUM_ENORUNTIME, -ECANCELED (the runtime is shutting down and takes no more).
 * On failure fn never runs and the caller keeps arg.
 * Context: green thread. Suspends: never. What came before the call happens before fn.
 * Since: 0.1.
 */
#define thrum_spawn(out, fn, arg) thrum_spawn_at((out), (fn), (arg), NULL, THRUM_SITE_)
#define thrum_spawn_with(out, fn, arg, attr) thrum_spawn_at((out), (fn), (arg), (attr), THRUM_SITE_)
THRUM_NODISCARD THRUM_API int thrum_spawn_at(struct thrum_thread **out, thrum_fn fn, void *arg,
	const struct thrum_attr *attr, const char *site);

/*
 * Waits for a green thread to end and takes its handle.
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

#ifdef __cplusplus
}
#endif
#endif
