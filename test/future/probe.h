/* SPDX-License-Identifier: MIT */
#ifndef TEST_FUTURE_PROBE_H
#define TEST_FUTURE_PROBE_H

#include <thrum/future.h>

#include "../sync/fixture.h"

/*
 * A future made for looking at: it is ready after a number of events, with that number as its
 * output, and counts what is done to it. Its event source is whoever calls probe_wake, under its
 * own lock.
 */
struct probe {
	struct thrum_future future;
	pthread_mutex_t lock;
	struct thrum_waker waker;
	int wanted, events; /* under lock */
	int polls, drops;
	bool ready;
	int self_wakes;   /* wakes within the first poll; < 0: one within each */
	bool keeps_waker; /* even when it is dropped */
};

static inline int probe_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct probe *p = thrum__container_of(self, struct probe, future);
	struct thrum_waker old = {0};

	atomic_add(&p->polls, 1);
	CHECK(!p->ready); /* nobody polls again what was ready */
	for (int n = p->self_wakes < 0 ? 1 : p->polls == 1 ? p->self_wakes : 0; n > 0; n--)
		thrum_waker_wake_by_ref(context->waker);
	pthread_mutex_lock(&p->lock);
	p->ready = p->events >= p->wanted;
	if (!p->ready) {
		old = p->waker;
		p->waker = thrum_waker_clone(context->waker);
	}
	pthread_mutex_unlock(&p->lock);
	thrum_waker_drop(old);
	if (!p->ready)
		return THRUM_PENDING;
	if (output != NULL)
		*(int *)output = p->wanted;
	return THRUM_READY;
}

static inline void probe_drop(struct thrum_future *self)
{
	struct probe *p = thrum__container_of(self, struct probe, future);

	p->drops++;
	if (p->keeps_waker)
		return;
	pthread_mutex_lock(&p->lock);
	struct thrum_waker old = p->waker;
	p->waker = (struct thrum_waker){0};
	pthread_mutex_unlock(&p->lock);
	thrum_waker_drop(old);
}

static const struct thrum_future_vtable probe_vtable = {probe_poll, probe_drop};

static inline struct thrum_future *probe_init(struct probe *p, int wanted)
{
	memset(p, 0, sizeof(*p));
	pthread_mutex_init(&p->lock, NULL);
	p->future.vtable = &probe_vtable;
	p->wanted = wanted;
	return &p->future;
}

/* True once it has been polled and knows whom to wake. */
static inline bool probe_waits(struct probe *p)
{
	pthread_mutex_lock(&p->lock);
	bool waits = p->waker.vtable != NULL;
	pthread_mutex_unlock(&p->lock);
	return waits;
}

/* One event; wakes while it holds the source's lock, as a waker must allow. */
static inline void probe_wake(struct probe *p)
{
	pthread_mutex_lock(&p->lock);
	p->events++;
	thrum_waker_wake_by_ref(&p->waker);
	pthread_mutex_unlock(&p->lock);
}

/* A foreign executor's waker: it counts. */
struct tally {
	int clones, wakes, drops;
};

static inline void tally_clone(void *data)
{
	((struct tally *)data)->clones++;
}

static inline void tally_wake(void *data)
{
	((struct tally *)data)->wakes++;
	((struct tally *)data)->drops++;
}

static inline void tally_wake_by_ref(void *data)
{
	((struct tally *)data)->wakes++;
}

static inline void tally_drop(void *data)
{
	((struct tally *)data)->drops++;
}

static const struct thrum_waker_vtable tally_vtable = {
	tally_clone, tally_wake, tally_wake_by_ref, tally_drop};

#endif
