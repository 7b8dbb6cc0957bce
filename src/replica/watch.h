/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_WATCH_H
#define REPLICA_WATCH_H

/*
 * Notices changes in a share within milliseconds: inotify on every directory, a settling delay,
 * then the scan of what was named. It finds nothing out itself: an event only says where to look.
 *
 * Race-free order: a directory is watched first and listed afterwards (the scan calls the watcher
 * for every directory it is about to read), so what appears in between is found by the one or
 * reported by the other. Where inotify cannot tell (queue overflow, watch limit), it says so in the
 * log and asks for a full scan.
 */

#include <stdbool.h>
#include <stdint.h>

#include <thrum/error.h>
#include <thrum/time.h>

struct replica_scan;
struct replica_watch;

struct replica_watch_stats {
	uint64_t watches;   /* directories watched now */
	uint64_t events;    /* read from the kernel */
	uint64_t scans;     /* batches scanned */
	uint64_t overflows; /* times the kernel's queue overflowed */
	bool limited;       /* some directory could not be watched: rely on the periodic scan */
	bool gone;          /* the root was deleted, moved away or unmounted */
};

/*
 * Starts watching: two green threads, and the scan's `enter_dir` hook (set by this call; the scan
 * must outlive the watcher). Then makes one full scan, which places the watches; its outcome is the
 * result: 0, or the scan's error, the watcher being stopped again. settled: NULL, or called by the
 * scanner thread after each batch was scanned; result: the scan's. out: gives the handle, to be
 * ended by replica_watch_stop. Errors besides: -EMFILE (fs.inotify.max_user_instances), -ENOMEM.
 * Context: green thread. Suspends: may.
 */
THRUM_NODISCARD int replica_watch_start(struct replica_watch **out, struct replica_scan *scan,
	void (*settled)(void *arg, int result), void *arg);

/* Ends both green threads and takes the handle; nobody may be in another call on it. NULL is fine.
 * Suspends: may; not a cancellation point. */
void replica_watch_stop(struct replica_watch *watch);

/*
 * Waits until every change made to the tree before the call has been scanned. Returns 0,
 * -ETIMEDOUT, -ECANCELED, THRUM_ECLOSED (the watcher ended). Suspends: may.
 */
THRUM_NODISCARD int replica_watch_drain(struct replica_watch *watch, thrum_deadline deadline);

/* Marks a path (all: and everything below it) as to be scanned, as if the kernel had named it.
 * Suspends: may. */
void replica_watch_mark(struct replica_watch *watch, const char *path, bool all);

void replica_watch_stats(struct replica_watch *watch, struct replica_watch_stats *out);

#endif
