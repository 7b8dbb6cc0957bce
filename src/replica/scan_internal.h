/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_SCAN_INTERNAL_H
#define REPLICA_SCAN_INTERNAL_H

/* What scan.c (walks and compares), content.c (reads) and record.c (writes the index) share. */

#include "base/base.h"
#include "replica/hash.h"
#include "replica/index.h"
#include "replica/root.h"
#include "replica/scan.h"

enum {
	SCAN_BATCH = 1000, /* changes recorded in one transaction */
};

/* What the walk found to differ from the index; recorded only if it still holds under the lock. */
enum finding_kind {
	FOUND_LEAF,      /* a file or symlink: version, seen */
	FOUND_DIRECTORY, /* a directory's mode or mtime */
	FOUND_NO_LEAF,   /* no file or symlink under the name any more */
	FOUND_NO_TREE,   /* no directory under the name any more */
};

struct finding {
	enum finding_kind kind;
	char *path;
	struct replica_stat seen;
	struct replica_version version;
	/* Filled in when recorded: */
	bool recorded;
	enum replica_change change;
};

/* A name that could not be read. */
struct failure {
	char *path;
	int code;
};

struct scan_walk {
	struct replica_scan *scan;
	struct finding *findings;
	size_t count;
	struct failure *failures;
	size_t failure_count, failure_cap;
	struct replica_hash *hash;
	uint8_t *buf; /* HASH_PIECE bytes */
};

/* The row's file is the one seen: nothing to do. */
bool replica_scan_unchanged(const struct replica_version *version,
	const struct replica_ident *ident, const struct replica_stat *seen);

/*
 * Reads the content of the file or symlink at path into *version (all-zero before; ended by
 * replica_version_fini) and its identity into *seen. 0; THRUM_ECHANGED: it kept changing, or is no
 * leaf any more; -ENOENT, -EACCES, -EIO … : cannot be read; -ECANCELED, -ENOMEM. Suspends: may.
 */
int replica_scan_content(struct scan_walk *walk, const char *path, struct replica_stat *seen,
	struct replica_version *version);

/* Queues a finding; takes path and version, on failure too. Records a full batch. 0 or a fatal
 * error. */
int replica_scan_found(struct scan_walk *walk, enum finding_kind kind, char *path,
	const struct replica_stat *seen, struct replica_version *version);

/* Records what is queued, in one transaction. */
int replica_scan_flush(struct scan_walk *walk);

/* Notes that path could not be read. 0 or -ENOMEM. */
int replica_scan_failed(struct scan_walk *walk, const char *path, int code);

/* Brings the index's errors of reading in line with the walk's failures, for the names it looked
 * at. */
int replica_scan_settle_errors(
	struct scan_walk *walk, const struct replica_scan_item *items, size_t count);

/* 1 if something at or below path could not be read before, else 0 or an error. */
int replica_scan_had_errors(struct scan_walk *walk, const char *path);

/* Forgets what is queued. */
void replica_scan_drop(struct scan_walk *walk);

/* Asks for another look at path. */
void replica_scan_dirty(struct scan_walk *walk, const char *path);

static inline void scan_count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

#endif
