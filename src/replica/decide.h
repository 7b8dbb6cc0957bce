/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REPLICA_DECIDE_H
#define THRUM_REPLICA_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/vtime.h"

/*
 * The decision of one leaf when B pulls from A ("they" are A, "mine" is B), as a pure function.
 * Source: Cox and Josephson, Optimistic Replication Using Vector Time Pairs, with the refinements that the
 * property tests demand (see decide.c).
 */

enum { REPLICA_HASH_SIZE = 32 }; /* BLAKE2b-256 */

/* What a leaf is. The numbers are stored and sent: never reuse one. */
enum replica_state {
	REPLICA_ABSENT = 0,  /* a ghost: nothing there, but knowledge about it */
	REPLICA_FILE = 1,    /* regular file */
	REPLICA_SYMLINK = 2, /* symbolic link */
	REPLICA_DIRMARK = 3, /* the leaf "." of an existing directory */
	REPLICA_IGNORED = 4, /* not replicated by its owner's wish */
};

/* A leaf's contents as seen by a person. Fields that do not apply to the state are zero. */
struct replica_version {
	enum replica_state state;
	uint32_t mode;	  /* permission bits, & 07777 */
	int64_t mtime_ns; /* since 1970; no part of equality for a DIRMARK */
	uint64_t size;
	uint8_t hash[REPLICA_HASH_SIZE]; /* of a file's content */
	char *target;	  /* of a symlink, NUL-terminated; else NULL */
};

/* One side of a decision. Vectors are borrowed; s is effective (joined along the path). */
struct replica_side {
	const struct replica_version *version; /* NULL or state REPLICA_ABSENT: not there */
	const struct replica_vt *m;	       /* last event; may be NULL if not there */
	const struct replica_vt *s;	       /* everything known at this path */
	const struct replica_vt *c;	       /* creations; may be NULL if not there */
};

/* What becomes of a conflict. The numbers are stored. */
enum replica_policy {
	REPLICA_POLICY_NONE = 0,   /* leave both, ask a person */
	REPLICA_POLICY_MINE = 1,   /* the pulling side's version wins */
	REPLICA_POLICY_THEIRS = 2, /* the source's wins */
	REPLICA_POLICY_MERGE = 3,  /* update/update: the caller supplies a merged version; else the survivor */
};

/* X(NAME, action, complete, reason): see enum replica_action. The order is stored: append only. */
#define REPLICA_VERDICTS(X)                                                                        \
	X(BOTH_ABSENT, NONE, 1, "absent on both sides")                                            \
	X(SKIP, NONE, 1, "their version is already known here")                                    \
	X(COPY, INSTALL, 1, "their version is newer")                                              \
	X(CREATE, INSTALL, 1, "new there, never known here")                                       \
	X(DELETE, DELETE, 1, "they deleted the version that is here")                              \
	X(INDEPENDENT, NONE, 1, "created here, never known there")                                 \
	X(EQUAL, NONE, 1, "changed on both sides to the same")                                     \
	X(MERGE_MINE, NONE, 1, "same content; my newer mode and time stay")                        \
	X(MERGE_THEIRS, INSTALL, 1, "same content; their newer mode and time win")                 \
	X(RECREATE_MINE, NONE, 1, "kept here against a deletion there, as a new file")             \
	X(RECREATE_THEIRS, INSTALL, 1, "taken from there against a deletion here, as a new file")  \
	X(KEEP, NONE, 1, "conflict resolved: mine kept")                                           \
	X(TAKE, INSTALL, 1, "conflict resolved: theirs taken")                                     \
	X(MERGED, MERGE, 1, "conflict resolved: merged")                                           \
	X(KEEP_DELETED, NONE, 1, "conflict resolved: my deletion stands")                          \
	X(TAKE_DELETED, DELETE, 1, "conflict resolved: their deletion taken")                      \
	X(CONFLICT_UPDATE_UPDATE, CONFLICT, 0, "changed on both sides")                            \
	X(CONFLICT_DELETE_UPDATE, CONFLICT, 0, "deleted there, changed here")                      \
	X(CONFLICT_UPDATE_DELETE, CONFLICT, 0, "changed there, deleted here")                      \
	X(CONFLICT_TYPE, CONFLICT, 0, "a directory on one side, a file on the other")              \
	X(IGNORED, IGNORE, 0, "ignored on one side")

enum replica_verdict {
#define REPLICA_VERDICT_ENUM(name, action, complete, reason) REPLICA_VERDICT_##name,
	REPLICA_VERDICTS(REPLICA_VERDICT_ENUM)
#undef REPLICA_VERDICT_ENUM
	REPLICA_VERDICT_COUNT
};

/* What the pulling side's disk needs before the verdict may be committed. */
enum replica_action {
	REPLICA_DO_NONE,     /* nothing: only knowledge changes (or an event without a disk change) */
	REPLICA_DO_INSTALL,  /* put their version in place (if the content is equal: mode and mtime only) */
	REPLICA_DO_DELETE,   /* remove mine */
	REPLICA_DO_MERGE,    /* put a merged version in place */
	REPLICA_DO_CONFLICT, /* nothing; a person is asked */
	REPLICA_DO_IGNORE,   /* nothing, and nothing is learned */
};

/*
 * Decides one leaf. `dirmark`: the leaf is ".", whose conflicts are settled here: the greater mode wins,
 * and a directory survives a concurrent deletion. Never returns REPLICA_VERDICT_CONFLICT_TYPE (see tree.h).
 */
enum replica_verdict replica_decide(const struct replica_side *theirs, const struct replica_side *mine,
	bool dirmark, enum replica_policy policy);

enum replica_action replica_verdict_action(enum replica_verdict verdict);

/* True if the leaf may then count as complete: its s may be joined with theirs. */
bool replica_verdict_completes(enum replica_verdict verdict);

/* One line for `replica why`; a constant. */
const char *replica_verdict_reason(enum replica_verdict verdict);

/* Stable name, such as "CONFLICT_UPDATE_UPDATE"; a constant. */
const char *replica_verdict_name(enum replica_verdict verdict);

/* True if the two are the same to a person: everything but a DIRMARK's mtime. Absent equals absent. */
bool replica_version_equal(const struct replica_version *a, const struct replica_version *b);

/* True if type and content (bytes, link target) are equal, whatever mode and mtime. */
bool replica_version_same_content(const struct replica_version *a, const struct replica_version *b);

/* to := from, with an own copy of the target. 0 or -ENOMEM. `to` is valid before (all-zero, say). */
int replica_version_copy(struct replica_version *to, const struct replica_version *from);

/* Frees what the version holds and leaves it absent. */
void replica_version_fini(struct replica_version *version);

/* Checks a version that came from a peer or a disk: 0 or THRUM_EFORMAT. */
int replica_version_check(const struct replica_version *version);

#endif
