/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_EVENT_H
#define REPLICA_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include <thrum/cond.h>
#include <thrum/error.h>
#include <thrum/mutex.h>
#include <thrum/time.h>

/*
 * What `replica watch` shows: a ring of the last events, read by any number of subscribers, each at
 * its own place. Publishing never waits for a slow reader: one that falls behind learns how many it
 * missed.
 */
enum replica_event_kind {
	REPLICA_EVENT_CHANGED, /* a local change was noticed */
	REPLICA_EVENT_APPLIED, /* a peer's version was put in place */
	REPLICA_EVENT_DELETED, /* a peer's deletion was carried out */
	REPLICA_EVENT_CONFLICT,
	REPLICA_EVENT_RESOLVED,
	REPLICA_EVENT_CONNECTED,
	REPLICA_EVENT_DISCONNECTED,
	REPLICA_EVENT_SYNCED, /* a pull has completed */
	REPLICA_EVENT_ERROR,
	REPLICA_EVENT_SHARE,
	REPLICA_EVENT_UNSHARE,
	REPLICA_EVENT_MISSED, /* text: how many events the subscriber was too slow for */
};

/* "changed", "applied" … */
const char *replica_event_kind_name(enum replica_event_kind kind);

enum { REPLICA_EVENT_RING = 4096 };

/* Strings are NUL-terminated, "" where they do not apply, and raw: escape before showing. */
struct replica_event {
	int64_t time_us; /* wall clock, since 1970 */
	enum replica_event_kind kind;
	char *share, *path, *peer, *text;
};

/* All-zero is ready for use. */
struct replica_events {
	struct thrum_mutex lock;
	struct thrum_cond more;
	struct replica_event ring[REPLICA_EVENT_RING];
	uint64_t next; /* number of the next event */
	bool closed;
};

void replica_events_fini(struct replica_events *events);

/* Wakes every subscriber for good. */
void replica_events_close(struct replica_events *events);

/* Publishes one event; NULL strings count as "". Out of memory, the event is dropped. Never waits
 * for readers. */
void replica_events_publish(struct replica_events *events, enum replica_event_kind kind,
	const char *share, const char *path, const char *peer, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

/* Where a subscriber that wants only what comes starts. */
uint64_t replica_events_now(struct replica_events *events);

/*
 * Waits for the event number *at and advances it. out: gives its strings (replica_event_fini).
 * Returns 0, THRUM_ECLOSED, -ETIMEDOUT, -ECANCELED, -ENOMEM (the event is skipped).
 */
THRUM_NODISCARD int replica_events_next(struct replica_events *events, uint64_t *at,
	struct replica_event *out, thrum_deadline deadline);

void replica_event_fini(struct replica_event *event);

#endif
