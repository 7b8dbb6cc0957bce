/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_CONFLICT_H
#define REPLICA_CONFLICT_H

#include "replica/daemon.h"

/*
 * Conflicts as a person sees them: one per name and peer. The index has rows of leaves; where a
 * file meets a directory, the rows of everything in that directory are one conflict, at the name
 * where they meet.
 */
struct replica_clash {
	char *path;
	int64_t peer;
	enum replica_verdict verdict; /* one of REPLICA_VERDICT_CONFLICT_… */
	/* A directory is shown as state REPLICA_DIRMARK, with nothing else known of it. */
	struct replica_version mine, theirs;
	int64_t since_us;
};

struct replica_clashes {
	struct replica_clash *items; /* by path, then peer */
	size_t count;
	size_t paths; /* distinct */
};

/*
 * Lists the conflicts at and below a path ("": all). *out is all-zero before. [lock] held.
 * 0, or an error of the index; out is to be ended in any case.
 */
THRUM_NODISCARD int replica_clashes_list(
	struct replica_folder *folder, const char *within, struct replica_clashes *out);

void replica_clashes_fini(struct replica_clashes *clashes);

/* How many names are in conflict at and below a path. [lock] held. 0 also where the index cannot be
 * read. */
uint64_t replica_clashes_count(struct replica_folder *folder, const char *within);

/*
 * Settles the conflict at a path, for "mine", "theirs" or "both" (a file of mine goes to a conflict
 * name beside it, and theirs comes to the path; a directory of mine stays, and their file comes
 * beside it). The folder is entered. 0, or a negative code with a line for people in text
 * (REPLICA_TEXT bytes). Suspends.
 */
THRUM_NODISCARD int replica_conflict_resolve(
	struct replica_folder *folder, const char *path, const char *keep, char *text);

#endif
