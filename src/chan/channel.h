/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CHAN_CHANNEL_H
#define THRUM_CHAN_CHANNEL_H

#include <thrum/channel.h>
#include <thrum/waker.h>

#include "base/base.h"

/*
 * Receives into elem without waiting. If there is nothing, keeps a clone of waker in the watch (in
 * place of what it kept) and arms it: it is woken when there is something. Returns 0, THRUM_EEOF,
 * or -EAGAIN: armed.
 */
int thrum__channel_recv_poll(struct thrum_channel *channel, void *elem,
	struct thrum_channel_watch *watch, const struct thrum_waker *waker);

/* How many threads wait in the channel at this moment. For tests and dumps. */
size_t thrum__channel_waiters(struct thrum_channel *channel);

/* Disarms: the waker goes; an element that was announced to this watch is announced to the next. */
void thrum__channel_unwatch(struct thrum_channel *channel, struct thrum_channel_watch *watch);

#endif
