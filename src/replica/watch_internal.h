/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_WATCH_INTERNAL_H
#define REPLICA_WATCH_INTERNAL_H

/* What watch.c (life, the scanner) and notify.c (inotify) share. */

#include <thrum/cond.h>
#include <thrum/mutex.h>
#include <thrum/poll.h>
#include <thrum/thread.h>

#include "base/base.h"
#include "replica/root.h"
#include "replica/scan.h"
#include "replica/watch.h"
#include "replica/watch_map.h"

/* Paths to scan; sorted and made unique when they are taken. */
struct marks {
	struct replica_scan_item *items; /* paths owned */
	size_t count, cap;
	bool all;         /* the whole share: the items do not matter */
	int64_t first_ns; /* when the oldest mark came; 0: there is none */
	int64_t quiet_ns; /* when all of them have settled, if no other comes */
};

struct replica_watch {
	struct replica_scan *scan;
	void (*settled)(void *arg, int result);
	void *arg;

	int fd; /* inotify */
	struct thrum_poll *poll;
	struct thrum_mutex reading; /* who reads the descriptor; taken before lock */

	struct thrum_mutex lock; /* guards the rest; never held while scanning */
	struct thrum_cond changed;
	struct replica_watch_map map;
	struct marks soon;      /* to scan once it is quiet */
	struct marks later;     /* files that are still being written */
	struct marks moved;     /* directories that were moved away: their watches may be stale */
	uint64_t asked, served; /* drains */
	int result;             /* of the last batch */
	bool stopping, ended;
	bool told_limit;
	struct replica_watch_stats stats;

	struct thrum_thread *reader, *scanner;
};

/* Takes the lock whatever happens: it is held for moments only, and cancellation has its place
 * elsewhere. */
static inline void replica_watch_lock(struct replica_watch *watch)
{
	thrum_shield_begin();
	int r = thrum_mutex_lock(&watch->lock, THRUM_FOREVER);
	CHECK(r == 0);
	thrum_shield_end();
}

/* How long a mark waits for company, in ms. */
enum {
	QUIET_DONE = 5,  /* closed after writing, moved into place, changed in its metadata */
	QUIET_GONE = 20, /* deleted or moved away: often only to be replaced */
};

/* Notes a path; takes a copy. Never fails: without memory the mark becomes "all". [lock] */
void replica_marks_add(struct marks *marks, const char *path, bool deep, int quiet_ms);
void replica_marks_clear(struct marks *marks);

/* Sorts, drops duplicates and what lies below a deep mark. */
void replica_marks_settle(struct marks *marks);

/* Opens inotify. */
int replica_notify_open(struct replica_watch *watch);

/* Reads and digests all events there are now. 0 or -errno. Suspends: may. */
int replica_notify_read(struct replica_watch *watch);

/* Drops the watches of directories that were moved out of the tree. */
void replica_notify_prune(struct replica_watch *watch, struct marks *moved);

/* The scan's hooks. */
void replica_notify_enter_dir(void *watch, const char *path, int dirfd);
void replica_notify_dirty(void *watch, const char *path);

#endif
