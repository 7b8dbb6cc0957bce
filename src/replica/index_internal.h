/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REPLICA_INDEX_INTERNAL_H
#define THRUM_REPLICA_INDEX_INTERNAL_H

#include <sqlite3.h>

#include "base/base.h"
#include "replica/index.h"

/*
 * Shared by index.c (database, transactions, statements), index_value.c (binding and reading),
 * index_entry.c (rows of the tree), index_rows.c (shares, peers, tickets) and index_report.c
 * (conflicts, verdicts, errors).
 */

/* Who keeps rows in memory within a transaction (tree.c) writes or drops them at its end. */
struct replica_index_hook {
	struct thrum__list node;
	int (*flush)(struct replica_index_hook *hook); /* before commit: 0 or an error */
	void (*drop)(struct replica_index_hook *hook); /* after a rollback */
};

/* What the meta table holds. */
struct replica_meta {
	struct replica_id id;
	uint64_t now;
	/*
	 * `now` when the database was first opened after the last contact with a peer. Until the
	 * next one nobody can know a later event of ours: who does, knew us before we were set
	 * back, and what was stamped since may bear numbers that were given out twice.
	 */
	uint64_t start;
	bool contact; /* there was a contact since */
};

struct replica_index {
	sqlite3 *db;
	struct thrum__list hooks;
	bool open;                 /* a transaction */
	struct replica_meta meta;  /* as of now */
	struct replica_meta saved; /* as in the database */
	struct thrum__list cached; /* struct cached, in index.c */
	char error[REPLICA_ERROR_TEXT_MAX];
};

/*
 * Gives a reset statement for sql, a string constant: prepared once per index. NULL and *rc set on
 * failure. Every stmt ends with index_done (or index_step's own end), so nesting the same one
 * prepares a second.
 */
sqlite3_stmt *index_stmt(struct replica_index *index, const char *sql, int *rc);

/* 1: a row is there; 0: no more; or an error, noted in index->error. */
int index_step(struct replica_index *index, sqlite3_stmt *stmt);

/* Gives the statement back. */
void index_done(sqlite3_stmt *stmt);

/* Runs a bound statement that returns no rows, and gives it back: 0 or an error. */
int index_run(struct replica_index *index, sqlite3_stmt *stmt);

/* Binds one number and runs. Gives the number of rows changed. */
int index_run_id(struct replica_index *index, const char *sql, int64_t id);

/* Ends a query for one number: -ENOENT if there is none. */
int index_read_number(struct replica_index *index, sqlite3_stmt *stmt, int64_t *out);

/* Notes the text and returns rc. */
int index_fail(struct replica_index *index, int rc, const char *format, ...) THRUM__PRINTF(3, 4);

/* Translates the last SQLite error, notes its text. */
int index_sqlite_error(struct replica_index *index, int sqlite_rc);

/* Binding. Borrowed until the statement is given back; an empty vector is an empty blob. */
void index_bind_text(sqlite3_stmt *stmt, int at, const char *text);
void index_bind_blob(sqlite3_stmt *stmt, int at, const void *bytes, size_t len);
int index_bind_vt(sqlite3_stmt *stmt, int at, const struct replica_vt *vt);
void index_bind_id(sqlite3_stmt *stmt, int at, int64_t id); /* 0: NULL */

/* Reading; each checks what it reads: 0, -ENOMEM or THRUM_EFORMAT. */
int index_column_vt(sqlite3_stmt *stmt, int at, struct replica_vt *out);
int index_column_bytes(sqlite3_stmt *stmt, int at, void *out, size_t len); /* exactly len */
const char *index_column_text(sqlite3_stmt *stmt, int at);                 /* never NULL */

/*
 * A version's columns, six from `at` on: state, mode, mtime, size, hash, target.
 * read: *out is valid before.
 */
void index_bind_version(sqlite3_stmt *stmt, int at, const struct replica_version *version);
int index_column_version(sqlite3_stmt *stmt, int at, struct replica_version *out);
#define INDEX_VERSION_COLUMNS "state, mode, mtime, size, hash, target"

/* Reads the identity again, as at open: after the database was replaced underneath (in tests). */
int replica_index_reload(struct replica_index *index);

/* Makes vt_leq(a, b) and vt_time(vector, id) known to SQL. */
int index_add_functions(struct replica_index *index);

void replica_index_hook_add(struct replica_index *index, struct replica_index_hook *hook);
void replica_index_hook_remove(struct replica_index_hook *hook);

/* now + 1, kept with the transaction. */
uint64_t replica_index_tick(struct replica_index *index);

/*
 * A peer knows our events up to `time`. Can that be? True if not: the database was set back. If it
 * can, this was a contact.
 */
bool replica_index_contradicted(struct replica_index *index, uint64_t time);

/*
 * The database was set back: takes a new id and stamps anew what was stamped since meta.start, in
 * all shares. The hooks' rows must be flushed before and dropped after: it does both.
 */
int replica_index_mint(struct replica_index *index);

/*
 * In one container whose effective s is given: drops residues, ghosts and empty containers it
 * covers; calls gone for each container dropped. all_ghosts: drops even those it does not cover
 * (for mutation tests).
 */
int replica_index_entry_reclaim(struct replica_index *index, int64_t parent,
	const struct replica_vt *s, bool all_ghosts, void (*gone)(void *arg, const char *name),
	void *arg);

/* 1 if a live leaf lies anywhere below the container, else 0. */
int replica_index_entry_live_below(struct replica_index *index, int64_t container);

/*
 * For replica_index_mint: what `old` stamped after `start` becomes events of the present id; roots
 * know `old` up to `start`. Rows in memory must have been flushed.
 */
int replica_index_entry_restamp(
	struct replica_index *index, const struct replica_id *old, uint64_t start);

struct replica_counts;
int replica_index_entry_count(
	struct replica_index *index, int64_t share, struct replica_counts *out);

/*
 * Forgets conflicts on one path: those of `peer`, and those about a version that s already knows.
 * peer 0: those without a peer.
 */
int replica_index_conflict_settle(struct replica_index *index, int64_t share, const char *path,
	int64_t peer, const struct replica_vt *s);

/*
 * Forgets every conflict with `peer` below the directory `within` ("": all). A leaf of that name is
 * another matter: file and directory may be in conflict with each other.
 */
int replica_index_conflict_clear(
	struct replica_index *index, int64_t share, const char *within, int64_t peer);

int replica_index_conflict_want(struct replica_index *index, int64_t share, const char *path,
	int64_t peer, enum replica_policy wanted);

#endif
