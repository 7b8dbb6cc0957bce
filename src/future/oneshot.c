/* SPDX-License-Identifier: MIT */
/*
 * Oneshot: one value from a sender to the future that waits for it, and, built on it, the future of
 * a green thread's result. Sender and receiver share a cell; whoever leaves last frees it.
 */
#include <thrum/future.h>

#include "base/base.h"

#include <errno.h>

enum cell_state { EMPTY, SENT, SENDER_GONE, RECEIVER_GONE };

struct thrum_oneshot {
	struct thrum__lock lock; /* of state and waker */
	uint32_t refs;		 /* atomic */
	enum cell_state state;
	struct thrum_waker waker;
	size_t size;
	uint8_t value[];
};

static void unref(struct thrum_oneshot *cell)
{
	if (__atomic_sub_fetch(&cell->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(cell);
}

/* Exchanges the stored waker, under the lock; the old one is the caller's. */
static struct thrum_waker swap_waker(struct thrum_oneshot *cell, struct thrum_waker waker)
{
	struct thrum_waker old = cell->waker;

	cell->waker = waker;
	return old;
}

static int oneshot_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_oneshot *receiver =
		thrum__container_of(self, struct thrum_future_oneshot, future);
	struct thrum_oneshot *cell = receiver->cell_;
	struct thrum_waker fresh = thrum_waker_clone(context->waker);

	thrum__lock(&cell->lock);
	enum cell_state state = cell->state;
	struct thrum_waker old = state == EMPTY ? swap_waker(cell, fresh) : fresh;
	thrum__unlock(&cell->lock);
	thrum_waker_drop(old);

	if (state == EMPTY)
		return THRUM_PENDING;
	if (state == SENDER_GONE)
		return THRUM_ECLOSED;
	if (cell->size > 0)
		memcpy(output, cell->value, cell->size);
	return THRUM_READY;
}

static void oneshot_drop(struct thrum_future *self)
{
	struct thrum_future_oneshot *receiver =
		thrum__container_of(self, struct thrum_future_oneshot, future);
	struct thrum_oneshot *cell = receiver->cell_;

	thrum__lock(&cell->lock);
	if (cell->state == EMPTY)
		cell->state = RECEIVER_GONE;
	struct thrum_waker old = swap_waker(cell, (struct thrum_waker){0});
	thrum__unlock(&cell->lock);
	thrum_waker_drop(old);
	unref(cell);
}

static const struct thrum_future_vtable oneshot_vtable = {oneshot_poll, oneshot_drop};

int thrum_oneshot_create(
	struct thrum_oneshot **sender, struct thrum_future_oneshot *receiver, size_t size)
{
	struct thrum_oneshot *cell = NULL;

	*sender = NULL;
	if (size <= SIZE_MAX - sizeof(*cell))
		cell = calloc(1, sizeof(*cell) + size);
	if (cell == NULL)
		return -ENOMEM;
	cell->refs = 2;
	cell->size = size;
	*sender = cell;
	*receiver = (struct thrum_future_oneshot){.future = {&oneshot_vtable}, .cell_ = cell};
	return 0;
}

/* Ends the sender: with a value, or (NULL and no bytes) without. */
static int finish(struct thrum_oneshot *cell, enum cell_state state, const void *value)
{
	if (state == SENT && cell->size > 0)
		memcpy(cell->value, value, cell->size); /* published by the lock */
	thrum__lock(&cell->lock);
	bool gone = cell->state == RECEIVER_GONE;
	if (!gone)
		cell->state = state;
	struct thrum_waker waker = swap_waker(cell, (struct thrum_waker){0});
	thrum__unlock(&cell->lock);
	thrum_waker_wake(waker);
	unref(cell);
	return gone ? THRUM_ECLOSED : 0;
}

int thrum_oneshot_send(struct thrum_oneshot *sender, const void *value)
{
	return finish(sender, SENT, value);
}

void thrum_oneshot_close(struct thrum_oneshot *sender)
{
	if (sender != NULL)
		finish(sender, SENDER_GONE, NULL);
}
