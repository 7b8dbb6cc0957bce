/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_SCAN_H
#define REPLICA_SCAN_H

/*
 * Brings the index in line with the disk: what was created, modified or deleted here becomes local
 * events.
 *
 * Protocol for one name, so that neither a write during the scan nor a pull that puts files in
 * place is misread: 1 (lock)     fetch the directory's rows 2 (no lock)  stat each name; a row of
 * equal identity is unchanged 3 (no lock)  hash what differs; stat again: changed meanwhile means
 * dirty, look again later 4 (lock)     stat once more and fetch the row again: only if the disk
 * still is what was hashed and the row is not that yet, record the event; a deletion only if the
 * name is still absent A pull holds the lock from its last check of a target until the row is
 * committed, so step 4 sees both or neither.
 *
 * Nothing is believed absent unless its directory was read to the end without an error, and never
 * while the share is missing. What cannot be read keeps its row as it was and is listed in the
 * index's errors until it can.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <thrum/error.h>
#include <thrum/mutex.h>

struct replica_root;
struct replica_tree;

enum replica_change {
	REPLICA_CREATED,
	REPLICA_MODIFIED,
	REPLICA_METADATA, /* mode or mtime only */
	REPLICA_DELETED,
};

/* Counted up by every scan; atomic, so they can be shown while one runs. */
struct replica_scan_stats {
	uint64_t directories; /* read */
	uint64_t names;       /* looked at */
	uint64_t hashed_files;
	uint64_t hashed_bytes;
	uint64_t created, modified, metadata, deleted; /* events recorded */
	uint64_t errors;                               /* names that could not be read */
	uint64_t dirty; /* names that changed while being looked at */
};

struct replica_scan {
	struct replica_root *root;
	struct replica_tree *tree;
	struct thrum_mutex *lock; /* of the index; held for short pieces only */

	/* An event was recorded and committed; NULL: nobody asks. Called without the lock. */
	void (*change)(void *arg, const char *path, enum replica_change what, bool directory);
	void *arg;

	/* The watcher's hooks; NULL: none. */
	void *watch;
	/* Before a directory is read: time to place a watch. */
	void (*enter_dir)(void *watch, const char *path, int dirfd);
	/* A name that kept changing: scan it again a little later. The lock may be held. */
	void (*dirty)(void *watch, const char *path);

	struct replica_scan_stats stats;
};

struct replica_scan_item {
	const char *path;
	bool deep; /* and everything below it */
};

/*
 * Scans some names; the whole share; a path and everything below it; one name. Of a directory that
 * is not scanned deep: only that it is there, its mode and mtime, unless the index does not know
 * it: then everything below it too. Returns 0 (also if single names had errors), -ENXIO (the share
 * is missing; nothing was changed), -ECANCELED, -ENOMEM, or the index's error (-ENOSPC, -EIO, …):
 * what was committed before stands. Several scans of a share may run at once. Context: green
 * thread. Suspends: may.
 */
THRUM_NODISCARD int replica_scan_items(
	struct replica_scan *scan, const struct replica_scan_item *items, size_t count);
THRUM_NODISCARD int replica_scan_all(struct replica_scan *scan);
THRUM_NODISCARD int replica_scan_below(struct replica_scan *scan, const char *path);
THRUM_NODISCARD int replica_scan_name(struct replica_scan *scan, const char *path);

#endif
