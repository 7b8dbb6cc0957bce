/* SPDX-License-Identifier: MIT */
#include "replica/index.h"

#include <errno.h>
#include <inttypes.h>

#include "replica/index_internal.h"
#include "replica/path.h"
#include "replica/tree.h"

#define COLUMNS "id, share, parent, name, kind, " INDEX_VERSION_COLUMNS ", dev, ino, ctime, m, s, c"

enum {
	COL_ID,
	COL_SHARE,
	COL_PARENT,
	COL_NAME,
	COL_KIND,
	COL_VERSION,
	COL_DEV = COL_VERSION + 6,
	COL_INO,
	COL_CTIME,
	COL_M,
	COL_S,
	COL_C,
};

void replica_entry_fini(struct replica_entry *entry)
{
	free(entry->name);
	replica_version_fini(&entry->version);
	replica_vt_fini(&entry->m);
	replica_vt_fini(&entry->s);
	replica_vt_fini(&entry->c);
	*entry = (struct replica_entry){0};
}

int replica_entry_copy(struct replica_entry *to, const struct replica_entry *from)
{
	if (to == from)
		return 0;
	struct replica_entry fresh = {.id = from->id,
		.share = from->share,
		.parent = from->parent,
		.kind = from->kind,
		.ident = from->ident};
	int rc = 0;
	if (from->name != NULL && (fresh.name = strdup(from->name)) == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = replica_version_copy(&fresh.version, &from->version);
	if (rc == 0)
		rc = replica_vt_copy(&fresh.m, &from->m);
	if (rc == 0)
		rc = replica_vt_copy(&fresh.s, &from->s);
	if (rc == 0)
		rc = replica_vt_copy(&fresh.c, &from->c);
	if (rc < 0) {
		replica_entry_fini(&fresh);
		return rc;
	}
	replica_entry_fini(to);
	*to = fresh;
	return 0;
}

static bool name_fits(const struct replica_entry *entry, const char *name, size_t len)
{
	if (entry->parent == 0)
		return entry->kind == REPLICA_CONTAINER && len == 0;
	if (entry->kind == REPLICA_LEAF && len == 1 && name[0] == '.')
		return true;
	return replica_name_valid(name, len);
}

static int read_row(sqlite3_stmt *stmt, struct replica_entry *out)
{
	replica_entry_fini(out);
	out->id = sqlite3_column_int64(stmt, COL_ID);
	out->share = sqlite3_column_int64(stmt, COL_SHARE);
	out->parent = sqlite3_column_int64(stmt, COL_PARENT);
	int64_t kind = sqlite3_column_int64(stmt, COL_KIND);
	out->kind = (enum replica_kind)kind;
	if (kind != REPLICA_CONTAINER && kind != REPLICA_LEAF)
		return THRUM_EFORMAT;
	const char *name = sqlite3_column_blob(stmt, COL_NAME);
	size_t len = (size_t)sqlite3_column_bytes(stmt, COL_NAME);
	if (!name_fits(out, name, len))
		return THRUM_EFORMAT;
	if ((out->name = strndup(len > 0 ? name : "", len)) == NULL)
		return -ENOMEM;
	int rc = index_column_version(stmt, COL_VERSION, &out->version);
	if (rc == 0)
		rc = index_column_vt(stmt, COL_M, &out->m);
	if (rc == 0)
		rc = index_column_vt(stmt, COL_S, &out->s);
	if (rc == 0)
		rc = index_column_vt(stmt, COL_C, &out->c);
	out->ident.dev = (uint64_t)sqlite3_column_int64(stmt, COL_DEV);
	out->ident.ino = (uint64_t)sqlite3_column_int64(stmt, COL_INO);
	out->ident.ctime_ns = sqlite3_column_int64(stmt, COL_CTIME);
	return rc;
}

/* read_row, with words for what is wrong. */
static int read_checked(struct replica_index *index, sqlite3_stmt *stmt, struct replica_entry *out)
{
	int rc = read_row(stmt, out);
	if (rc == THRUM_EFORMAT)
		return index_fail(index, rc, "index: entry %" PRId64 " is damaged",
			(int64_t)sqlite3_column_int64(stmt, COL_ID));
	return rc;
}

/* Ends a query for one row: -ENOENT if there is none. */
static int read_one(struct replica_index *index, sqlite3_stmt *stmt, struct replica_entry *out)
{
	int rc = index_step(index, stmt);
	if (rc == 1)
		rc = read_checked(index, stmt, out);
	else if (rc == 0)
		rc = -ENOENT;
	index_done(stmt);
	return rc;
}

int replica_index_entry_get(struct replica_index *index, int64_t parent, const char *name,
	enum replica_kind kind, struct replica_entry *out)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT " COLUMNS " FROM entries WHERE parent = ? AND name = ? AND kind = ?", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, parent);
	index_bind_blob(stmt, 2, name, strlen(name));
	sqlite3_bind_int(stmt, 3, (int)kind);
	return read_one(index, stmt, out);
}

int replica_index_entry_root(struct replica_index *index, int64_t share, struct replica_entry *out)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(
		index, "SELECT " COLUMNS " FROM entries WHERE share = ? AND parent IS NULL", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	return read_one(index, stmt, out);
}

int replica_index_entry_put(struct replica_index *index, struct replica_entry *entry)
{
	int rc = 0;
	sqlite3_stmt *stmt =
		entry->id == 0
			? index_stmt(index,
				  "INSERT INTO entries(" COLUMNS
				  ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
				  &rc)
			: index_stmt(index,
				  "UPDATE entries SET state = ?6, mode = ?7, mtime = ?8, size = "
				  "?9, hash = ?10,"
				  " target = ?11, dev = ?12, ino = ?13, ctime = ?14, m = ?15, s = "
				  "?16,"
				  " c = ?17 WHERE id = ?1",
				  &rc);
	if (stmt == NULL)
		return rc;
	index_bind_id(stmt, COL_ID + 1, entry->id);
	if (entry->id == 0) {
		sqlite3_bind_int64(stmt, COL_SHARE + 1, entry->share);
		index_bind_id(stmt, COL_PARENT + 1, entry->parent);
		index_bind_blob(stmt, COL_NAME + 1, entry->name, strlen(entry->name));
		sqlite3_bind_int(stmt, COL_KIND + 1, (int)entry->kind);
	}
	index_bind_version(stmt, COL_VERSION + 1, &entry->version);
	sqlite3_bind_int64(stmt, COL_DEV + 1, (int64_t)entry->ident.dev);
	sqlite3_bind_int64(stmt, COL_INO + 1, (int64_t)entry->ident.ino);
	sqlite3_bind_int64(stmt, COL_CTIME + 1, entry->ident.ctime_ns);
	rc = index_bind_vt(stmt, COL_M + 1, &entry->m);
	if (rc == 0)
		rc = index_bind_vt(stmt, COL_S + 1, &entry->s);
	if (rc == 0)
		rc = index_bind_vt(stmt, COL_C + 1, &entry->c);
	if (rc < 0) {
		index_done(stmt);
		return rc;
	}
	rc = index_run(index, stmt);
	if (rc == 0 && entry->id == 0)
		entry->id = sqlite3_last_insert_rowid(index->db);
	return rc;
}

int replica_index_entry_delete(struct replica_index *index, int64_t id)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index, "DELETE FROM entries WHERE id = ?", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, id);
	return index_run(index, stmt);
}

/* Ends a query for rows, calling fn for each. */
static int each(struct replica_index *index, sqlite3_stmt *stmt,
	int (*fn)(void *arg, const struct replica_entry *entry), void *arg)
{
	struct replica_entry entry = {0};
	int rc;
	while ((rc = index_step(index, stmt)) == 1) {
		rc = read_checked(index, stmt, &entry);
		if (rc == 0)
			rc = fn(arg, &entry);
		if (rc != 0)
			break;
	}
	replica_entry_fini(&entry);
	index_done(stmt);
	return rc;
}

int replica_index_entry_list(struct replica_index *index, int64_t parent,
	int (*fn)(void *arg, const struct replica_entry *entry), void *arg)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(
		index, "SELECT " COLUMNS " FROM entries WHERE parent = ? ORDER BY name, kind", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, parent);
	return each(index, stmt, fn, arg);
}

/* Binds (parent, s) and runs. */
static int run_covered(
	struct replica_index *index, const char *sql, int64_t parent, const struct replica_vt *s)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index, sql, &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, parent);
	rc = index_bind_vt(stmt, 2, s);
	if (rc < 0) {
		index_done(stmt);
		return rc;
	}
	return index_run(index, stmt);
}

int replica_index_entry_reclaim(struct replica_index *index, int64_t parent,
	const struct replica_vt *s, bool all_ghosts, void (*gone)(void *arg, const char *name),
	void *arg)
{
	int rc = run_covered(index,
		all_ghosts ? "DELETE FROM entries WHERE parent = ?1 AND kind = 2 AND state = 0"
			     " AND ?2 = ?2"
			   : "DELETE FROM entries WHERE parent = ?1 AND kind = 2 AND state = 0"
			     " AND vt_leq(s, ?2)",
		parent, s);
	if (rc == 0)
		rc = run_covered(index,
			"UPDATE entries SET s = x'' WHERE parent = ?1 AND s <> x'' AND vt_leq(s, "
			"?2)",
			parent, s);
	if (rc < 0)
		return rc;
	sqlite3_stmt *stmt = index_stmt(index,
		"DELETE FROM entries WHERE parent = ?1 AND kind = 1 AND s = x'' AND NOT EXISTS"
		" (SELECT 1 FROM entries AS child WHERE child.parent = entries.id) RETURNING name",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, parent);
	while ((rc = index_step(index, stmt)) == 1)
		gone(arg, index_column_text(stmt, 0));
	index_done(stmt);
	return rc;
}

int replica_index_entry_live_below(struct replica_index *index, int64_t container)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"WITH RECURSIVE below(id) AS (SELECT ?1 UNION SELECT entries.id FROM entries"
		" JOIN below ON entries.parent = below.id WHERE entries.kind = 1)"
		" SELECT 1 FROM entries JOIN below ON entries.parent = below.id"
		" WHERE entries.kind = 2 AND entries.state BETWEEN 1 AND 3 LIMIT 1",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, container);
	rc = index_step(index, stmt);
	index_done(stmt);
	return rc;
}

int replica_index_entry_count(
	struct replica_index *index, int64_t share, struct replica_counts *out)
{
	*out = (struct replica_counts){0};
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT state, count(*), sum(size) FROM entries WHERE share = ? AND kind = 2"
		" GROUP BY state",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	while ((rc = index_step(index, stmt)) == 1) {
		uint64_t count = (uint64_t)sqlite3_column_int64(stmt, 1);
		switch (sqlite3_column_int(stmt, 0)) {
		case REPLICA_ABSENT:
			out->ghosts = count;
			break;
		case REPLICA_FILE:
			out->files = count;
			out->bytes = (uint64_t)sqlite3_column_int64(stmt, 2);
			break;
		case REPLICA_SYMLINK:
			out->symlinks = count;
			break;
		case REPLICA_DIRMARK:
			out->dirs = count;
			break;
		}
	}
	index_done(stmt);
	return rc;
}

int replica_index_known(struct replica_index *index, const struct replica_id *id, uint64_t *time)
{
	*time = 0;
	int rc = 0;
	/* A container's m bounds the events below it, so the roots' are enough of those. */
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT max(time) FROM (SELECT vt_time(s, ?1) AS time FROM entries WHERE s <> x''"
		" UNION ALL SELECT vt_time(m, ?1) FROM entries WHERE parent IS NULL"
		" UNION ALL SELECT vt_time(s, ?1) FROM conflicts)",
		&rc);
	if (stmt == NULL)
		return rc;
	index_bind_blob(stmt, 1, id->bytes, REPLICA_ID_SIZE);
	rc = index_step(index, stmt);
	if (rc == 1)
		*time = (uint64_t)sqlite3_column_int64(stmt, 0);
	index_done(stmt);
	return rc < 0 ? rc : 0;
}

/* ---------------------------------------------------------------- a new id after a restore */

struct restamp {
	struct replica_index *index;
	const struct replica_id *old;
	uint64_t start;
};

/* vt without what `id` stamped after `start`. */
static int without_later(struct replica_vt *vt, const struct replica_id *id, uint64_t start)
{
	struct replica_vt rest = {0};
	const struct replica_vt_item *items = replica_vt_items(vt);
	int rc = 0;
	for (uint32_t i = 0; i < vt->count && rc == 0; i++) {
		bool later = memcmp(&items[i].id, id, sizeof(*id)) == 0 && items[i].time > start;
		if (!later)
			rc = replica_vt_raise(&rest, &items[i].id, items[i].time);
	}
	replica_vt_fini(rc == 0 ? vt : &rest);
	if (rc == 0)
		*vt = rest;
	return rc;
}

static int restamp_leaf(struct restamp *job, struct replica_entry *entry)
{
	const struct replica_id *me = replica_index_id(job->index);
	uint64_t now = replica_index_tick(job->index);
	int rc = without_later(&entry->m, job->old, job->start);
	if (rc < 0)
		return rc;
	if (entry->version.state == REPLICA_ABSENT)
		return replica_vt_raise(&entry->m, me, now);
	replica_vt_single(&entry->m, me, now);
	if (replica_vt_get(&entry->c, job->old) <= job->start)
		return 0;
	rc = without_later(&entry->c, job->old, job->start);
	return rc < 0 ? rc : replica_vt_raise(&entry->c, me, now);
}

static int restamp_entry(struct restamp *job, struct replica_entry *entry)
{
	int rc;
	if (entry->kind == REPLICA_LEAF) {
		rc = restamp_leaf(job, entry);
	} else {
		rc = replica_vt_raise(
			&entry->m, replica_index_id(job->index), replica_index_now(job->index));
		if (rc == 0 && entry->parent == 0)
			rc = replica_vt_raise(&entry->s, job->old, job->start);
	}
	return rc < 0 ? rc : replica_index_entry_put(job->index, entry);
}

/* The next row that has something of `old` after `start`, and is after `id`. */
static int next_stale(
	struct restamp *job, enum replica_kind kind, int64_t after, struct replica_entry *out)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(job->index,
		"SELECT " COLUMNS " FROM entries WHERE id > ?1 AND kind = ?2"
		" AND (parent IS NULL OR vt_time(m, ?3) > ?4) ORDER BY id LIMIT 1",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, after);
	sqlite3_bind_int(stmt, 2, (int)kind);
	index_bind_blob(stmt, 3, job->old->bytes, REPLICA_ID_SIZE);
	sqlite3_bind_int64(stmt, 4, (int64_t)job->start);
	return read_one(job->index, stmt, out);
}

int replica_index_entry_restamp(
	struct replica_index *index, const struct replica_id *old, uint64_t start)
{
	struct restamp job = {index, old, start};
	static const enum replica_kind order[] = {REPLICA_LEAF, REPLICA_CONTAINER};
	for (size_t i = 0; i < thrum__countof(order); i++) {
		/* All containers get one event, later than any leaf's: deletions left only their m.
		 */
		if (order[i] == REPLICA_CONTAINER)
			replica_index_tick(index);
		struct replica_entry entry = {0};
		int rc;
		while ((rc = next_stale(&job, order[i], entry.id, &entry)) == 0)
			if ((rc = restamp_entry(&job, &entry)) < 0)
				break;
		replica_entry_fini(&entry);
		if (rc != -ENOENT)
			return rc;
	}
	return 0;
}
