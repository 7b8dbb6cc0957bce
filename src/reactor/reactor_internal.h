/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REACTOR_INTERNAL_H
#define THRUM_REACTOR_INTERNAL_H

#include <pthread.h>
#include <sys/epoll.h>

#include "base/base.h"
#include "reactor/loop.h"
#include "reactor/reactor.h"

/* Also the scheduler's struct thrum__driver, which names nothing else. */
struct thrum__reactor {
	uint32_t refs; /* atomic: its processor, and each pollable that is just being closed */
	pid_t process;        /* that it serves */
	int epoll, event;     /* event: an eventfd that ends a sleep */
	uint32_t woken;	      /* atomic: the eventfd has been written and not yet read */
	struct thrum__lock lock;
	struct thrum__list pollables; /* registered here; under lock */

	pthread_mutex_t loop_mutex; /* around every use of the loop */
	bool loop_made;		    /* under loop_mutex */
	uint32_t loop_dirty;	    /* atomic: handles were touched since the loop last ran */
	int64_t loop_due;	    /* libuv's next timer, or INT64_MAX; the poller's own */
	uv_loop_t loop;
};

void thrum__reactor_ref(struct thrum__reactor *reactor);
void thrum__reactor_unref(struct thrum__reactor *reactor);

/* pollable.c */
/* Delivers one event of an epoll batch; data is what epoll was given. */
void thrum__pollable_event(uint64_t data, uint32_t events);
/*
 * The reactor is closing: its pollables are no longer registered anywhere, and their waiters look
 * again.
 */
void thrum__pollables_orphan(struct thrum__reactor *reactor);

#endif
