/* SPDX-License-Identifier: MIT */
#include "replica/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/base.h"
#include <thrum/thread.h>

const char *replica_event_kind_name(enum replica_event_kind kind)
{
	static const char *const names[] = {
		[REPLICA_EVENT_CHANGED] = "changed",
		[REPLICA_EVENT_APPLIED] = "applied",
		[REPLICA_EVENT_DELETED] = "deleted",
		[REPLICA_EVENT_CONFLICT] = "conflict",
		[REPLICA_EVENT_RESOLVED] = "resolved",
		[REPLICA_EVENT_CONNECTED] = "connected",
		[REPLICA_EVENT_DISCONNECTED] = "disconnected",
		[REPLICA_EVENT_SYNCED] = "synced",
		[REPLICA_EVENT_ERROR] = "error",
		[REPLICA_EVENT_SHARE] = "share",
		[REPLICA_EVENT_UNSHARE] = "unshare",
		[REPLICA_EVENT_MISSED] = "missed",
	};
	return names[kind];
}

/* The lock is held for moments only, and an event must not get lost to a cancellation. */
static void lock(struct replica_events *events)
{
	thrum_shield_begin();
	CHECK(thrum_mutex_lock(&events->lock, THRUM_FOREVER) == 0);
}

static void unlock(struct replica_events *events)
{
	thrum_mutex_unlock(&events->lock);
	thrum_shield_end();
}

void replica_event_fini(struct replica_event *event)
{
	free(event->share);
	free(event->path);
	free(event->peer);
	free(event->text);
	*event = (struct replica_event){0};
}

void replica_events_fini(struct replica_events *events)
{
	for (size_t i = 0; i < REPLICA_EVENT_RING; i++)
		replica_event_fini(&events->ring[i]);
}

void replica_events_close(struct replica_events *events)
{
	lock(events);
	events->closed = true;
	thrum_cond_broadcast(&events->more);
	unlock(events);
}

/* Copies all strings. False if memory ran out; the event then owns nothing. */
static bool event_set(struct replica_event *event, const char *share, const char *path,
	const char *peer, const char *text)
{
	event->share = strdup(share);
	event->path = strdup(path);
	event->peer = strdup(peer);
	event->text = strdup(text);
	if (event->share && event->path && event->peer && event->text)
		return true;
	replica_event_fini(event);
	return false;
}

void replica_events_publish(struct replica_events *events, enum replica_event_kind kind,
	const char *share, const char *path, const char *peer, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	struct replica_event event = {0};
	if (!event_set(&event, share ? share : "", path ? path : "", peer ? peer : "", text))
		return;
	event.time_us = thrum__wall_us();
	event.kind = kind;

	lock(events);
	struct replica_event *slot = &events->ring[events->next++ % REPLICA_EVENT_RING];
	struct replica_event old = *slot;
	*slot = event;
	thrum_cond_broadcast(&events->more);
	unlock(events);
	replica_event_fini(&old);
}

uint64_t replica_events_now(struct replica_events *events)
{
	lock(events);
	uint64_t now = events->next;
	unlock(events);
	return now;
}

int replica_events_next(struct replica_events *events, uint64_t *at, struct replica_event *out,
	thrum_deadline deadline)
{
	*out = (struct replica_event){0};
	int r = thrum_mutex_lock(&events->lock, THRUM_FOREVER);
	if (r < 0)
		return r;
	while (*at == events->next && !events->closed && r == 0)
		r = thrum_cond_wait(&events->more, &events->lock, deadline);
	if (*at == events->next) {
		r = events->closed ? THRUM_ECLOSED : r;
		goto unlock;
	}
	r = 0;
	if (events->next - *at > REPLICA_EVENT_RING) {
		char text[64];
		snprintf(text, sizeof(text), "%llu events were missed",
			(unsigned long long)(events->next - REPLICA_EVENT_RING - *at));
		*at = events->next - REPLICA_EVENT_RING;
		out->kind = REPLICA_EVENT_MISSED;
		out->time_us = thrum__wall_us();
		r = event_set(out, "", "", "", text) ? 0 : -ENOMEM;
		goto unlock;
	}
	const struct replica_event *event = &events->ring[(*at)++ % REPLICA_EVENT_RING];
	out->kind = event->kind;
	out->time_us = event->time_us;
	r = event_set(out, event->share, event->path, event->peer, event->text) ? 0 : -ENOMEM;
unlock:
	thrum_mutex_unlock(&events->lock);
	return r;
}
