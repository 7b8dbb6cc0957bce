/* SPDX-License-Identifier: MIT */
#include <thrum/future.h>

#include "base/base.h"
#include "chan/channel.h"

#include <errno.h>

static int ready_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_ready *ready =
		thrum__container_of(self, struct thrum_future_ready, future);

	if (ready->result_ == THRUM_READY && ready->size_ > 0)
		memcpy(output, ready->value_, ready->size_);
	return ready->result_;
}

static void ready_drop(struct thrum_future *self)
{
}

static const struct thrum_future_vtable ready_vtable = {ready_poll, ready_drop};

struct thrum_future *thrum_future_ready_init(
	struct thrum_future_ready *ready, int result, const void *value, size_t size)
{
	*ready = (struct thrum_future_ready){
		.future = {&ready_vtable},
		.value_ = value,
		.size_ = size,
		.result_ = result,
	};
	return &ready->future;
}

static int recv_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_recv *recv =
		thrum__container_of(self, struct thrum_future_recv, future);
	int result =
		thrum__channel_recv_poll(recv->channel_, output, &recv->watch_, context->waker);

	return result == -EAGAIN ? THRUM_PENDING : result;
}

static void recv_drop(struct thrum_future *self)
{
	struct thrum_future_recv *recv =
		thrum__container_of(self, struct thrum_future_recv, future);

	thrum__channel_unwatch(recv->channel_, &recv->watch_);
	thrum_channel_unref(recv->channel_);
}

static const struct thrum_future_vtable recv_vtable = {recv_poll, recv_drop};

struct thrum_future *thrum_future_recv_init(
	struct thrum_future_recv *recv, struct thrum_channel *channel)
{
	*recv = (struct thrum_future_recv){
		.future = {&recv_vtable},
		.channel_ = thrum_channel_ref(channel),
	};
	return &recv->future;
}
