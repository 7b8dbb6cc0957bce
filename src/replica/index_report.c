/* SPDX-License-Identifier: MIT */
#include "replica/index.h"

#include <errno.h>

#include "replica/index_internal.h"

/* ---------------------------------------------------------------- conflicts */

/* Paths are blobs: bytes, in the order strcmp has. */
static void bind_path(sqlite3_stmt *stmt, int at, const char *path)
{
	index_bind_blob(stmt, at, path, strlen(path));
}

int replica_index_conflict_put(struct replica_index *index, const struct replica_conflict *conflict)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"INSERT OR REPLACE INTO conflicts VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
		"?,"
		" ?, ?, ?, ?, ?, ?)",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, conflict->share);
	bind_path(stmt, 2, conflict->path);
	index_bind_id(stmt, 3, conflict->peer);
	sqlite3_bind_int(stmt, 4, (int)conflict->verdict);
	index_bind_version(stmt, 5, &conflict->theirs);
	rc = index_bind_vt(stmt, 11, &conflict->m);
	if (rc == 0)
		rc = index_bind_vt(stmt, 12, &conflict->s);
	if (rc == 0)
		rc = index_bind_vt(stmt, 13, &conflict->c);
	index_bind_version(stmt, 14, &conflict->mine);
	sqlite3_bind_int64(stmt, 20, conflict->since_us);
	sqlite3_bind_int(stmt, 21, (int)conflict->wanted);
	if (rc < 0) {
		index_done(stmt);
		return rc;
	}
	return index_run(index, stmt);
}

int replica_index_conflict_remove(
	struct replica_index *index, int64_t share, const char *path, int64_t peer)
{
	const struct replica_vt nothing = {0};
	return replica_index_conflict_settle(index, share, path, peer, &nothing);
}

int replica_index_conflict_settle(struct replica_index *index, int64_t share, const char *path,
	int64_t peer, const struct replica_vt *s)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"DELETE FROM conflicts WHERE share = ?1 AND path = ?2 AND"
		" (ifnull(peer, 0) = ?3 OR (state <> 0 AND m <> x'' AND vt_leq(m, ?4)))",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	bind_path(stmt, 2, path);
	sqlite3_bind_int64(stmt, 3, peer);
	rc = index_bind_vt(stmt, 4, s);
	if (rc < 0) {
		index_done(stmt);
		return rc;
	}
	return index_run(index, stmt);
}

/* Everything below a path starts with "path/"; '0' is the byte after '/'. */
#define PATH_BELOW  " (path > CAST(?2 || '/' AS BLOB) AND path < CAST(?2 || '0' AS BLOB))"
#define PATH_WITHIN "(?2 = x'' OR path = ?2 OR" PATH_BELOW ")"

int replica_index_conflict_clear(
	struct replica_index *index, int64_t share, const char *within, int64_t peer)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"DELETE FROM conflicts WHERE share = ?1 AND ifnull(peer, 0) = ?3 AND"
		" (?2 = x'' OR" PATH_BELOW ")",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	bind_path(stmt, 2, within);
	sqlite3_bind_int64(stmt, 3, peer);
	return index_run(index, stmt);
}

int replica_index_conflict_want(struct replica_index *index, int64_t share, const char *path,
	int64_t peer, enum replica_policy wanted)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"UPDATE conflicts SET wanted = ?4"
		" WHERE share = ?1 AND path = ?2 AND ifnull(peer, 0) = ?3",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	bind_path(stmt, 2, path);
	sqlite3_bind_int64(stmt, 3, peer);
	sqlite3_bind_int(stmt, 4, (int)wanted);
	return index_run(index, stmt);
}

static int conflict_read(sqlite3_stmt *stmt, struct replica_conflict *out)
{
	int verdict = sqlite3_column_int(stmt, 2), wanted = sqlite3_column_int(stmt, 19);
	if (verdict < 0 || verdict >= REPLICA_VERDICT_COUNT || wanted < 0 ||
		wanted > REPLICA_POLICY_MERGE)
		return THRUM_EFORMAT;
	out->path = index_column_text(stmt, 0);
	out->peer = sqlite3_column_int64(stmt, 1);
	out->verdict = (enum replica_verdict)verdict;
	out->since_us = sqlite3_column_int64(stmt, 18);
	out->wanted = (enum replica_policy)wanted;
	int rc = index_column_version(stmt, 3, &out->theirs);
	if (rc == 0)
		rc = index_column_vt(stmt, 9, &out->m);
	if (rc == 0)
		rc = index_column_vt(stmt, 10, &out->s);
	if (rc == 0)
		rc = index_column_vt(stmt, 11, &out->c);
	if (rc == 0)
		rc = index_column_version(stmt, 12, &out->mine);
	return rc;
}

static void conflict_fini(struct replica_conflict *conflict)
{
	replica_version_fini(&conflict->theirs);
	replica_version_fini(&conflict->mine);
	replica_vt_fini(&conflict->m);
	replica_vt_fini(&conflict->s);
	replica_vt_fini(&conflict->c);
}

int replica_index_conflicts(struct replica_index *index, int64_t share, const char *within,
	int (*fn)(void *arg, const struct replica_conflict *conflict), void *arg)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT CAST(path AS TEXT), peer, verdict, state, mode, mtime, size, hash, target,"
		" m, s, c, my_state, my_mode, my_mtime, my_size, my_hash, my_target, since, wanted"
		" FROM conflicts WHERE share = ?1 AND " PATH_WITHIN " ORDER BY path, peer",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	bind_path(stmt, 2, within);
	struct replica_conflict row = {.share = share};
	while ((rc = index_step(index, stmt)) == 1) {
		rc = conflict_read(stmt, &row);
		if (rc == THRUM_EFORMAT)
			index_fail(index, rc, "index: a conflict's record is damaged");
		if (rc == 0)
			rc = fn(arg, &row);
		if (rc != 0)
			break;
	}
	conflict_fini(&row);
	index_done(stmt);
	return rc;
}

int replica_index_conflict_count(struct replica_index *index, int64_t share, uint64_t *count)
{
	int rc = 0;
	sqlite3_stmt *stmt =
		index_stmt(index, "SELECT count(*) FROM conflicts WHERE share = ?", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	int64_t n = 0;
	rc = index_read_number(index, stmt, &n);
	*count = (uint64_t)n;
	return rc;
}

/* ---------------------------------------------------------------- verdicts and errors */

int replica_index_verdict_put(struct replica_index *index, int64_t share, const char *path,
	enum replica_verdict verdict, int64_t peer, int64_t when_us)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"INSERT OR REPLACE INTO verdicts(share, path, verdict, peer, time)"
		" VALUES(?, ?, ?, ?, ?)",
		&rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	bind_path(stmt, 2, path);
	sqlite3_bind_int(stmt, 3, (int)verdict);
	sqlite3_bind_int64(stmt, 4, peer);
	sqlite3_bind_int64(stmt, 5, when_us);
	rc = index_run(index, stmt);
	if (rc < 0)
		return rc;
	/* A replaced row gets a new, greater id: the oldest ids are the longest unchanged paths. */
	int64_t last = sqlite3_last_insert_rowid(index->db);
	rc = index_run_id(
		index, "DELETE FROM verdicts WHERE id <= ?", last - REPLICA_VERDICTS_KEPT);
	return rc < 0 ? rc : 0;
}

int replica_index_verdict_get(struct replica_index *index, int64_t share, const char *path,
	int (*fn)(void *arg, const struct replica_verdict_row *row), void *arg)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT verdict, peer, time FROM verdicts WHERE share = ? AND path = ?", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	bind_path(stmt, 2, path);
	rc = index_step(index, stmt);
	if (rc == 1) {
		int verdict = sqlite3_column_int(stmt, 0);
		struct replica_verdict_row row = {.path = path,
			.verdict = (enum replica_verdict)verdict,
			.peer = sqlite3_column_int64(stmt, 1),
			.when_us = sqlite3_column_int64(stmt, 2)};
		if (verdict < 0 || verdict >= REPLICA_VERDICT_COUNT)
			rc = index_fail(index, THRUM_EFORMAT, "index: a verdict is damaged");
		else
			rc = fn(arg, &row);
	} else if (rc == 0) {
		rc = -ENOENT;
	}
	index_done(stmt);
	return rc;
}

int replica_index_error_set(
	struct replica_index *index, int64_t share, const char *path, const char *text)
{
	int rc = 0;
	sqlite3_stmt *stmt =
		text != NULL
			? index_stmt(index, "INSERT OR REPLACE INTO errors VALUES(?, ?, ?)", &rc)
			: index_stmt(index, "DELETE FROM errors WHERE share = ? AND path = ?", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	bind_path(stmt, 2, path);
	if (text != NULL)
		index_bind_text(stmt, 3, text);
	return index_run(index, stmt);
}

int replica_index_errors(struct replica_index *index, int64_t share,
	int (*fn)(void *arg, const char *path, const char *text), void *arg)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT CAST(path AS TEXT), text FROM errors WHERE share = ? ORDER BY path", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, share);
	while ((rc = index_step(index, stmt)) == 1)
		if ((rc = fn(arg, index_column_text(stmt, 0), index_column_text(stmt, 1))) != 0)
			break;
	index_done(stmt);
	return rc;
}
