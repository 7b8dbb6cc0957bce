/* SPDX-License-Identifier: MIT */
#ifndef THRUM_LOOP_H
#define THRUM_LOOP_H

#include <uv.h>

/*
 * The libuv loop of a processor, for what libuv does best: child processes, signals, terminals,
 * file events. Started with its first user. Callbacks run on a scheduler's stack: they claim and
 * wake waits and never suspend.
 *
 * A handle may be touched only between enter and leave of its own loop, from any OS thread:
 *
 *	struct thrum__reactor *r = thrum__reactor_home();
 *	uv_loop_t *loop = thrum__loop_enter(r);		lock
 *	uv_signal_init(loop, &h); uv_signal_start(...);
 *	thrum__loop_leave(r);				unlock; the reactor looks before it sleeps
 *	thrum__wait_park(...);				maybe resumed by another worker
 *	thrum__loop_enter(r); uv_close(...); ...	the same r
 */
struct thrum__reactor;

/* The reactor of the calling green thread's processor. NULL on an OS thread, and while detached. */
struct thrum__reactor *thrum__reactor_current(void);

/* The one to register with: see thrum__driver_home. */
struct thrum__reactor *thrum__reactor_home(void);

/*
 * Locks the reactor's loop, making it if need be. NULL (and not locked): out of memory or
 * descriptors. No suspension until leave.
 */
uv_loop_t *thrum__loop_enter(struct thrum__reactor *reactor);
void thrum__loop_leave(struct thrum__reactor *reactor);

#endif
