/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REACTOR_H
#define THRUM_REACTOR_H

#include <thrum/time.h>

#include "base/base.h"

/*
 * The reactor: where a processor sleeps and learns what the kernel has for its threads. For the
 * layers below it offers readiness of descriptors (pollables), and the processor's libuv loop
 * (reactor/loop.h).
 */

enum { THRUM__READABLE = 1, THRUM__WRITABLE = 2 };

/*
 * A descriptor whose readiness can be waited for. How to use it:
 *
 *	while ((n = read(fd, ...)) == -1 && errno == EAGAIN)
 *		if ((err = thrum__pollable_wait(p, THRUM__READABLE, "read", deadline)) < 0)
 *			return err;
 *
 * Always try the system call first, and again after a wait: readiness is a hint. On a TCP socket
 * the thread whose last try read less than it asked for may wait at once.
 */
struct thrum__pollable;

/*
 * Makes fd non-blocking and ready to be waited for. The descriptor stays the caller's. 0,
 * -ENOMEM, -EPERM (a kind of file that is always ready, a regular one say), or what the kernel
 * says. Any thread; never suspends.
 */
THRUM_NODISCARD int thrum__pollable_open(struct thrum__pollable **out, int fd);

/* The same for a descriptor that stays as blocking as it is: its owner only waits for it. */
THRUM_NODISCARD int thrum__pollable_watch(struct thrum__pollable **out, int fd);

/*
 * Waits until fd may be ready. events: THRUM__READABLE or THRUM__WRITABLE. Any number of green
 * threads, of any worker and runtime, and of OS threads may wait at once. End of stream and
 * errors count as ready. 0, -ETIMEDOUT, -ECANCELED, THRUM_ECLOSED (by thrum__pollable_close), or
 * an errno of the kernel's.
 */
THRUM_NODISCARD int thrum__pollable_wait(
	struct thrum__pollable *pollable, int events, const char *reason, thrum_deadline deadline);

/*
 * Ends all waits with THRUM_ECLOSED, and each that begins later; the pollable stays until close.
 * An OS thread's wait on a pollable that no green thread has used sleeps in poll(2) and is not
 * ended. Any thread; never suspends.
 */
void thrum__pollable_shut(struct thrum__pollable *pollable);

/*
 * Ends all waits, with THRUM_ECLOSED, and the pollable. Call it before closing the descriptor. No
 * wait may *begin* any more; those that sleep are woken and may still be returning. (One that is
 * only just registering the descriptor with its runtime would register it after us: who cannot
 * exclude that calls thrum__pollable_shut, and this once the last wait has returned.) An OS thread
 * that waits for a descriptor no runtime knows sits in poll(2), and is not woken. NULL is fine. Any
 * thread; never suspends.
 */
void thrum__pollable_close(struct thrum__pollable *pollable);

#endif
