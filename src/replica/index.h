/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REPLICA_INDEX_H
#define THRUM_REPLICA_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/decide.h"
#include "replica/vtime.h"

/*
 * What a replica remembers, in one SQLite database: who it is, its shares, peers, tickets, one row
 * per leaf and container, open conflicts, last verdicts, errors.
 *
 * One `struct replica_index` is used under ONE lock that its callers hold: it does not lock itself.
 * No function suspends a green thread, though commit waits for the disk (the worker's monitor
 * covers that). Changes need an open transaction (replica_index_begin); nothing is durable before
 * replica_index_commit returned 0.
 *
 * Errors common to all: -ENOMEM; -ENOSPC, -EIO, -EROFS, -EBUSY (another process has it) from the
 * disk; THRUM_EFORMAT: the database holds something that cannot be right. replica_index_error then
 * says what, in words. A failed change leaves the transaction open but in doubt: roll it back.
 */

struct replica_index;
struct sqlite3;

enum {
	REPLICA_KEY_SIZE = 32,        /* a peer's public key */
	REPLICA_TOKEN_HASH_SIZE = 32, /* of a ticket's secret */
	REPLICA_SHARE_NAME_MAX = 64,
	REPLICA_ERROR_TEXT_MAX = 256,
};

/*
 * Opens (and creates, mode 0600 by the caller's umask) the database. path ":memory:" is for tests.
 * error: NULL or REPLICA_ERROR_TEXT_MAX bytes for a one-line reason on failure.
 * THRUM_EFORMAT: not ours, or written by a newer version.
 */
int replica_index_open(struct replica_index **out, const char *path, char *error);

/* Rolls back what is open and closes. NULL is fine. No tree (tree.h) may be open on it. */
void replica_index_close(struct replica_index *index);

/* What the last failed call ran into, one line; borrowed until the next call. */
const char *replica_index_error(const struct replica_index *index);

/* One transaction at a time; not nested (-EALREADY). commit fails: roll back. */
int replica_index_begin(struct replica_index *index);
int replica_index_commit(struct replica_index *index);
void replica_index_rollback(struct replica_index *index);
bool replica_index_in_transaction(const struct replica_index *index);

/* This replica's id (borrowed; changes when a restore is detected) and event counter. */
const struct replica_id *replica_index_id(const struct replica_index *index);
uint64_t replica_index_now(const struct replica_index *index);

/* The database, for tests and diagnostics. */
struct sqlite3 *replica_index_sqlite(struct replica_index *index);

/* ---- shares ---- */

struct replica_share {
	int64_t id;
	const char *name; /* 1..REPLICA_SHARE_NAME_MAX bytes: no slash, no control character, no
			     leading dot or dash */
	const char *dir;  /* absolute path */
	uint8_t uuid[16]; /* as in the share's marker file */
	int64_t added_us; /* wall clock */
};

/* True if name may be a share's name. */
bool replica_share_name_valid(const char *name, size_t len);

/* Adds a share with its root container. Gives its id. -EINVAL (name), -EEXIST (name or dir taken).
 */
int replica_index_share_add(
	struct replica_index *index, const struct replica_share *share, int64_t *id);

/* Forgets a share with all its rows. -ENOENT. No tree may be open on it. */
int replica_index_share_remove(struct replica_index *index, int64_t share);

/* Calls fn for each share, by name; a non-zero return stops and is returned. Strings are borrowed
 * for the call. */
int replica_index_shares(struct replica_index *index,
	int (*fn)(void *arg, const struct replica_share *share), void *arg);

/* Id of the share called name. -ENOENT. */
int replica_index_share_find(struct replica_index *index, const char *name, int64_t *id);

/* ---- peers and members ---- */

struct replica_peer {
	int64_t id;
	uint8_t key[REPLICA_KEY_SIZE];
	const char *name;          /* for people; may be "" */
	struct replica_id replica; /* all-zero: not known yet */
	const char *address;       /* HOST:PORT to dial, or "" */
	int64_t last_sync_us;      /* wall clock; 0: never */
	int64_t added_us;
};

/* Adds the peer with this key, or changes name, replica and address of the one there is. Gives its
 * row id. */
int replica_index_peer_put(
	struct replica_index *index, const struct replica_peer *peer, int64_t *id);

int replica_index_peer_remove(struct replica_index *index, int64_t peer);
int replica_index_peer_synced(struct replica_index *index, int64_t peer, int64_t when_us);
int replica_index_peer_find(
	struct replica_index *index, const uint8_t key[REPLICA_KEY_SIZE], int64_t *id);
int replica_index_peers(struct replica_index *index,
	int (*fn)(void *arg, const struct replica_peer *peer), void *arg);

/* Lets a peer take part in a share (again: nothing), or no more. */
int replica_index_member_add(struct replica_index *index, int64_t share, int64_t peer);
int replica_index_member_remove(struct replica_index *index, int64_t share, int64_t peer);

/* 1, 0 or an error. */
int replica_index_is_member(struct replica_index *index, int64_t share, int64_t peer);

/* ---- tickets ---- */

/* share 0: any share the joiner asks for. */
int replica_index_ticket_add(struct replica_index *index,
	const uint8_t hash[REPLICA_TOKEN_HASH_SIZE], int64_t share, int64_t expires_us);

/*
 * Uses a ticket up for the peer with this key and gives its share. -ENOENT, -EALREADY (used by
 * another key; the same key may ask again: its first try may have been cut off), -ETIME (expired).
 */
int replica_index_ticket_use(struct replica_index *index,
	const uint8_t hash[REPLICA_TOKEN_HASH_SIZE], const uint8_t key[REPLICA_KEY_SIZE],
	int64_t now_us, int64_t *share);

/* ---- entries (rows; their meaning is tree.h's, which is the only one to change them) ---- */

enum replica_kind {
	REPLICA_CONTAINER = 1,
	REPLICA_LEAF = 2,
};

/* Which file on this disk the row describes; all-zero: none. */
struct replica_ident {
	uint64_t dev, ino;
	int64_t ctime_ns;
};

struct replica_entry {
	int64_t id; /* row; 0: not stored yet */
	int64_t share;
	int64_t parent; /* row of the container; 0: this is the share's root */
	enum replica_kind kind;
	char *name;                     /* NUL-terminated; "" for the root */
	struct replica_version version; /* container: only mtime_ns may be set */
	struct replica_ident ident;
	struct replica_vt m, s, c; /* s: the residue over the parent's effective s */
};

/* Frees what the entry holds and zeroes it. */
void replica_entry_fini(struct replica_entry *entry);

/* to := from, nothing shared. `to` is valid before (all-zero, say). 0 or -ENOMEM. */
int replica_entry_copy(struct replica_entry *to, const struct replica_entry *from);

/* Reads one row into *out (valid before; its old content is freed). -ENOENT. */
int replica_index_entry_get(struct replica_index *index, int64_t parent, const char *name,
	enum replica_kind kind, struct replica_entry *out);
int replica_index_entry_root(struct replica_index *index, int64_t share, struct replica_entry *out);

/* Inserts (id 0: the new id is set) or updates the row. */
int replica_index_entry_put(struct replica_index *index, struct replica_entry *entry);
int replica_index_entry_delete(struct replica_index *index, int64_t id);

/*
 * Calls fn for every row in a container, sorted by the bytes of the name, the container before the
 * leaf of the same name. The row is borrowed for the call. fn may read the index but not change
 * entries; a non-zero return stops and is returned.
 */
int replica_index_entry_list(struct replica_index *index, int64_t parent,
	int (*fn)(void *arg, const struct replica_entry *entry), void *arg);

/* The highest time of another replica's counter known here, in any share: to tell it. */
int replica_index_known(struct replica_index *index, const struct replica_id *id, uint64_t *time);

/* ---- conflicts ---- */

struct replica_conflict {
	int64_t share;
	const char *path;              /* of the leaf; ends in "/." for a directory's own marker */
	enum replica_verdict verdict;  /* one of REPLICA_VERDICT_CONFLICT_… */
	int64_t peer;                  /* row id of the source; 0: none (tests) */
	struct replica_version theirs; /* their leaf; absent for deleted */
	struct replica_vt m, s, c;     /* theirs; s is effective */
	struct replica_version mine;   /* ours when it was found */
	int64_t since_us;
	enum replica_policy wanted; /* what a person chose and the next pull shall do */
};

int replica_index_conflict_put(
	struct replica_index *index, const struct replica_conflict *conflict);

/* Forgets the conflict at path with peer. Nothing there is fine. */
int replica_index_conflict_remove(
	struct replica_index *index, int64_t share, const char *path, int64_t peer);

/*
 * Calls fn for each conflict of the share whose path is `within` or lies below it ("": all), by
 * path; everything is borrowed for the call. fn may not change conflicts.
 */
int replica_index_conflicts(struct replica_index *index, int64_t share, const char *within,
	int (*fn)(void *arg, const struct replica_conflict *conflict), void *arg);

int replica_index_conflict_count(struct replica_index *index, int64_t share, uint64_t *count);

/* ---- verdicts (for `replica why`) and errors ---- */

struct replica_verdict_row {
	const char *path;
	enum replica_verdict verdict;
	int64_t peer;
	int64_t when_us;
};

/* The verdicts of the latest REPLICA_VERDICTS_KEPT paths are kept. */
enum { REPLICA_VERDICTS_KEPT = 10000 };
int replica_index_verdict_put(struct replica_index *index, int64_t share, const char *path,
	enum replica_verdict verdict, int64_t peer, int64_t when_us);

/* Calls fn with the last verdict on path. -ENOENT. */
int replica_index_verdict_get(struct replica_index *index, int64_t share, const char *path,
	int (*fn)(void *arg, const struct replica_verdict_row *row), void *arg);

/* Notes that path could not be read or written, or (text NULL) that it now can. */
int replica_index_error_set(
	struct replica_index *index, int64_t share, const char *path, const char *text);
int replica_index_errors(struct replica_index *index, int64_t share,
	int (*fn)(void *arg, const char *path, const char *text), void *arg);

#endif
