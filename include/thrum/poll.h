/* SPDX-License-Identifier: MIT */
#ifndef THRUM_POLL_H
#define THRUM_POLL_H

#include <thrum/error.h>
#include <thrum/time.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Waiting for any descriptor the kernel can poll: pipes, inotify, signalfd, timerfd, another
 * library's socket. A thrum_poll is for a descriptor waited on again and again; thrum_fd_wait
 * for a single wait. Readiness is a level, as with poll(2): a wait returns at once while unread
 * data lie there.
 */
struct thrum_poll;

enum thrum_poll_events {
	THRUM_READABLE = 1, /* a read will not block: data, end of stream or an error to fetch */
	THRUM_WRITABLE = 2, /* a write will not block, or has an error to fetch */
};

/*
 * Prepares a descriptor for waits. fd: borrowed for the call (a duplicate is kept); nothing about
 * it changes, so the caller decides whether it is non-blocking (it should be: readiness is a hint).
 * Several handles for one descriptor are fine.
 * out: gives the handle. Returns 0, -EBADF, -EMFILE, -ENOMEM, -EPERM (a regular file or directory:
 * always ready).
 * Context: green thread or OS thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_poll_open(struct thrum_poll **out, int fd);

/*
 * Waits until the descriptor is readable or writable.
 * events: THRUM_READABLE or THRUM_WRITABLE, one of the two.
 * Returns 0, -ETIMEDOUT, -ECANCELED, THRUM_ECLOSED (the handle was closed meanwhile), -EINVAL.
 * One waiter per direction at a time. Context: green thread or OS thread. Suspends: may. Since:
 * 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_poll_wait(
	struct thrum_poll *poll, int events, thrum_deadline deadline);

/*
 * Takes the handle and wakes its waiters with THRUM_ECLOSED. NULL is fine. No wait may start
 * afterwards. Not woken, but ended by its deadline: a plain OS thread's wait, if no green thread
 * has opened the handle or waited on it before. Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_poll_close(struct thrum_poll *poll);

/*
 * Waits once for a descriptor of somebody else's: nothing about it changes, and nothing is kept.
 * Costs a few system calls more than thrum_poll_wait. fd must stay open during the call.
 * events: THRUM_READABLE, THRUM_WRITABLE. Returns 0 (ready; regular files always are),
 * -ETIMEDOUT, -ECANCELED, -EBADF, -EINVAL, -EMFILE, -ENOMEM.
 * Context: green thread or OS thread. Suspends: may. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_fd_wait(int fd, int events, thrum_deadline deadline);

#ifdef __cplusplus
}
#endif
#endif
