/* SPDX-License-Identifier: MIT */
/*
 * Bounded channel, many senders to many receivers.
 *
 * Picture
 *                 ┌──────────── lock ────────────┐
 *   senders ──►   │ ring: [ head … head + len )  │   ──► receivers
 *   (waiting:     └──────────────────────────────┘       (waiting: the ring is empty,
 *    the ring is full, each with                          each with room for an element)
 *    its element in its hands)                           watches (futures that want to know)
 *
 * An element moves by one copy under the lock: into the ring, or straight into the hands of a
 * waiting receiver; a receive that makes room pulls the first waiting sender's element into the
 * ring. With no ring at all (capacity 0) the same code moves elements from hand to hand only.
 *
 * Invariants, whenever the lock is free
 *   [I1] A receiver that still waits implies that the ring is empty and no sender waits.
 *   [I2] A sender that still waits implies that the ring is full. So elements leave in the order
 *        in which their sends began to wait or finished.
 *   [I3] An element is copied to or from a waiter only after its claim was won. A wait that is
 *        cancelled or times out has moved nothing and lost nothing; a claimed one has moved all.
 *   [I4] Closed implies that nobody waits.
 *   [I5] If there is something to receive and a watch is armed, a watch that has been woken is yet
 *        to look: each arriving element wakes one, each look that leaves something wakes the next.
 *
 * Freeing.  Everybody inside a call holds a reference; waking happens after the lock is released,
 * and a woken watch's waker is moved out of the watch first: the watch may be gone by then.
 *
 * Tests: test/chan/test_channel.c.
 */
#include "chan/channel.h"

#include "sync/waitq.h"

#include <errno.h>

enum { DONE = 1, CLOSED = 2 };

struct chan_waiter {
	struct thrum__waiter waiter;
	void *elem; /* where it is received to, or what is sent (then only read) */
};

struct thrum_channel {
	struct thrum__lock lock;
	uint32_t refs; /* atomic */
	bool closed;
	size_t elem_size, capacity;
	size_t head, len;
	struct thrum_waitq senders, receivers; /* under lock, not their own */
	struct thrum_channel_watch *first_watch, *last_watch;
	void (*drop)(void *elem);
	_Alignas(max_align_t) uint8_t ring[]; /* drop may look at elements in place */
};

int thrum_channel_create(struct thrum_channel **out, size_t elem_size, size_t capacity)
{
	size_t size;

	*out = NULL;
	if (__builtin_mul_overflow(elem_size, capacity, &size) ||
		__builtin_add_overflow(size, sizeof(struct thrum_channel), &size))
		return -ENOMEM;
	struct thrum_channel *channel = calloc(1, size);
	if (channel == NULL)
		return -ENOMEM;
	channel->refs = 1;
	channel->elem_size = elem_size;
	channel->capacity = capacity;
	*out = channel;
	return 0;
}

void thrum_channel_set_drop(struct thrum_channel *channel, void (*drop)(void *elem))
{
	channel->drop = drop;
}

struct thrum_channel *thrum_channel_ref(struct thrum_channel *channel)
{
	__atomic_fetch_add(&channel->refs, 1, __ATOMIC_RELAXED);
	return channel;
}

static inline uint8_t *slot(struct thrum_channel *channel, size_t i)
{
	size_t at = channel->head + i;

	if (at >= channel->capacity)
		at -= channel->capacity;
	return channel->ring + at * channel->elem_size;
}

void thrum_channel_unref(struct thrum_channel *channel)
{
	if (channel == NULL || __atomic_sub_fetch(&channel->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	CHECK(thrum__waitq_first(&channel->senders) == NULL);
	CHECK(thrum__waitq_first(&channel->receivers) == NULL);
	CHECK(channel->first_watch == NULL);
	if (channel->drop != NULL)
		for (size_t i = 0; i < channel->len; i++)
			channel->drop(slot(channel, i));
	free(channel);
}

static inline void copy(const struct thrum_channel *channel, void *to, const void *from)
{
	if (channel->elem_size > 0)
		memcpy(to, from, channel->elem_size);
}

/* The functions from here to the public ones want the lock held. */

static struct chan_waiter *claim(struct thrum_waitq *queue)
{
	struct thrum__waiter *waiter = thrum__waitq_claim(queue, DONE);

	return waiter != NULL ? thrum__container_of(waiter, struct chan_waiter, waiter) : NULL;
}

static void ring_push(struct thrum_channel *channel, const void *elem)
{
	copy(channel, slot(channel, channel->len), elem);
	channel->len++;
}

static void ring_pop(struct thrum_channel *channel, void *elem)
{
	copy(channel, elem, slot(channel, 0));
	channel->head = channel->head + 1 < channel->capacity ? channel->head + 1 : 0;
	channel->len--;
}

static void watch_link(struct thrum_channel *channel, struct thrum_channel_watch *watch)
{
	watch->armed_ = true;
	watch->next_ = NULL;
	watch->prev_ = channel->last_watch;
	if (watch->prev_ != NULL)
		watch->prev_->next_ = watch;
	else
		channel->first_watch = watch;
	channel->last_watch = watch;
}

static void watch_unlink(struct thrum_channel *channel, struct thrum_channel_watch *watch)
{
	if (!watch->armed_)
		return;
	watch->armed_ = false;
	if (watch->prev_ != NULL)
		watch->prev_->next_ = watch->next_;
	else
		channel->first_watch = watch->next_;
	if (watch->next_ != NULL)
		watch->next_->prev_ = watch->prev_;
	else
		channel->last_watch = watch->prev_;
}

/* Takes the waker out of a watch. */
static struct thrum_waker watch_empty(struct thrum_channel_watch *watch)
{
	struct thrum_waker waker = watch->waker_;

	watch->waker_ = (struct thrum_waker){0};
	return waker;
}

/* Disarms the watch that was armed first and gives its waker; none: the waker that wakes nobody. */
static struct thrum_waker announce(struct thrum_channel *channel)
{
	struct thrum_channel_watch *watch = channel->first_watch;

	if (watch == NULL)
		return (struct thrum_waker){0};
	watch_unlink(channel, watch);
	watch->woken_ = true;
	return watch_empty(watch);
}

static bool receivable(const struct thrum_channel *channel)
{
	return channel->len > 0 || channel->closed || thrum__waitq_first(&channel->senders) != NULL;
}

/* Sends without waiting. 0, THRUM_ECLOSED, or -EAGAIN. *woken: a receiver to be woken. */
static int send_now(struct thrum_channel *channel, const void *elem, struct chan_waiter **woken)
{
	if (channel->closed)
		return THRUM_ECLOSED;
	*woken = claim(&channel->receivers);
	if (*woken != NULL) {
		ASSERT(channel->len == 0); /* [I1] */
		copy(channel, (*woken)->elem, elem);
		return 0;
	}
	if (channel->len == channel->capacity)
		return -EAGAIN;
	ring_push(channel, elem);
	return 0;
}

/* Receives without waiting. 0, THRUM_EEOF, or -EAGAIN. *woken: a sender to be woken. */
static int recv_now(struct thrum_channel *channel, void *elem, struct chan_waiter **woken)
{
	*woken = claim(&channel->senders);
	ASSERT(*woken == NULL || channel->len == channel->capacity); /* [I2] */
	if (channel->len > 0) {
		ring_pop(channel, elem);
		if (*woken != NULL)
			ring_push(channel, (*woken)->elem);
		return 0;
	}
	if (*woken == NULL)
		return channel->closed ? THRUM_EEOF : -EAGAIN;
	copy(channel, elem, (*woken)->elem);
	return 0;
}

/* Without the lock. */
static inline void wake(struct chan_waiter *woken)
{
	if (woken != NULL)
		thrum__wait_wake(&woken->waiter.wait);
}

/* Parks a queued waiter. 0, THRUM_ECLOSED (meanwhile), -ETIMEDOUT, -ECANCELED. Without the lock. */
static int wait_for_peer(struct thrum_channel *channel, struct thrum_waitq *queue,
	struct chan_waiter *waiter, const char *reason, thrum_deadline deadline)
{
	int claimed = thrum__wait_park(&waiter->waiter.wait, reason, deadline);

	if (claimed > 0)
		return claimed == DONE ? 0 : THRUM_ECLOSED;
	thrum__lock(&channel->lock);
	thrum__waitq_remove(queue, &waiter->waiter);
	thrum__unlock(&channel->lock);
	return claimed;
}

int thrum_channel_send(struct thrum_channel *channel, const void *elem, thrum_deadline deadline)
{
	struct chan_waiter self = {.elem = (void *)(uintptr_t)elem}, *woken = NULL;
	struct thrum_waker waker = {0};
	int result = thrum__cancel_point();

	if (result < 0)
		return result;
	thrum__lock(&channel->lock);
	result = send_now(channel, elem, &woken);
	bool wait = result == -EAGAIN && deadline != THRUM_NOW;
	if (wait)
		thrum__waitq_push_back(&channel->senders, &self.waiter);
	if (wait || (result == 0 && woken == NULL))
		waker = announce(channel); /* [I5] */
	thrum__unlock(&channel->lock);

	wake(woken);
	thrum_waker_wake(waker);
	if (wait)
		return wait_for_peer(channel, &channel->senders, &self, "channel send", deadline);
	return result == -EAGAIN ? -ETIMEDOUT : result;
}

int thrum_channel_recv(struct thrum_channel *channel, void *elem, thrum_deadline deadline)
{
	struct chan_waiter self = {.elem = elem}, *woken;
	int result = thrum__cancel_point();

	if (result < 0)
		return result;
	thrum__lock(&channel->lock);
	result = recv_now(channel, elem, &woken);
	bool wait = result == -EAGAIN && deadline != THRUM_NOW;
	if (wait)
		thrum__waitq_push_back(&channel->receivers, &self.waiter);
	thrum__unlock(&channel->lock);

	wake(woken);
	if (!wait)
		return result == -EAGAIN ? -ETIMEDOUT : result;
	result = wait_for_peer(channel, &channel->receivers, &self, "channel recv", deadline);
	return result == THRUM_ECLOSED ? THRUM_EEOF : result;
}

/* Tells every watch that the channel is closed: no new one can be armed. */
static void announce_close(struct thrum_channel *channel)
{
	bool more;

	do {
		thrum__lock(&channel->lock);
		more = channel->first_watch != NULL;
		struct thrum_waker waker = announce(channel);
		thrum__unlock(&channel->lock);
		thrum_waker_wake(waker);
	} while (more);
}

void thrum_channel_close(struct thrum_channel *channel)
{
	struct thrum__wakes wakes = {0};

	thrum__lock(&channel->lock);
	channel->closed = true;
	thrum__waitq_claim_all(&channel->senders, CLOSED, &wakes);
	thrum__waitq_claim_all(&channel->receivers, CLOSED, &wakes);
	thrum__unlock(&channel->lock);
	thrum__wakes_fire(&wakes);
	announce_close(channel);
}

size_t thrum_channel_len(struct thrum_channel *channel)
{
	thrum__lock(&channel->lock);
	size_t len = channel->len;
	thrum__unlock(&channel->lock);
	return len;
}

size_t thrum__channel_waiters(struct thrum_channel *channel)
{
	thrum__lock(&channel->lock);
	size_t n = thrum__waitq_count(&channel->senders) + thrum__waitq_count(&channel->receivers);
	thrum__unlock(&channel->lock);
	return n;
}

int thrum__channel_recv_poll(struct thrum_channel *channel, void *elem,
	struct thrum_channel_watch *watch, const struct thrum_waker *waker)
{
	struct thrum_waker fresh = thrum_waker_clone(waker), next = {0};
	struct chan_waiter *woken;

	thrum__lock(&channel->lock);
	int result = recv_now(channel, elem, &woken);
	struct thrum_waker old = watch_empty(watch);
	watch->woken_ = false;
	if (result == -EAGAIN) {
		watch->waker_ = fresh;
		fresh = (struct thrum_waker){0};
		if (!watch->armed_)
			watch_link(channel, watch);
	} else {
		watch_unlink(channel, watch);
		if (receivable(channel))
			next = announce(channel);
	}
	thrum__unlock(&channel->lock);

	wake(woken);
	thrum_waker_wake(next);
	thrum_waker_drop(old);
	thrum_waker_drop(fresh);
	return result;
}

void thrum__channel_unwatch(struct thrum_channel *channel, struct thrum_channel_watch *watch)
{
	struct thrum_waker next = {0};

	thrum__lock(&channel->lock);
	watch_unlink(channel, watch);
	struct thrum_waker old = watch_empty(watch);
	if (watch->woken_ && receivable(channel))
		next = announce(channel);
	watch->woken_ = false;
	thrum__unlock(&channel->lock);
	thrum_waker_drop(old);
	thrum_waker_wake(next);
}
