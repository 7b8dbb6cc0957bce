/* SPDX-License-Identifier: MIT */
#include "replica/index.h"

#include <errno.h>

#include "replica/index_internal.h"

/* ---------------------------------------------------------------- shares */

bool replica_share_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > REPLICA_SHARE_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];
		if (c < 0x20 || c == 0x7f || c == '/')
			return false;
	}
	return true;
}

static int insert_share(
	struct replica_index *index, const struct replica_share *share, int64_t *id)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(
		index, "INSERT INTO shares(name, dir, uuid, added) VALUES(?, ?, ?, ?)", &rc);
	if (stmt == NULL)
		return rc;
	index_bind_text(stmt, 1, share->name);
	index_bind_text(stmt, 2, share->dir);
	index_bind_blob(stmt, 3, share->uuid, sizeof(share->uuid));
	sqlite3_bind_int64(stmt, 4, share->added_us);
	rc = index_run(index, stmt);
	if (rc < 0)
		return rc;
	struct replica_entry root = {.share = sqlite3_last_insert_rowid(index->db),
		.kind = REPLICA_CONTAINER, .name = (char[]){""}};
	*id = root.share;
	return replica_index_entry_put(index, &root);
}

/* For changes of more than one row: in the caller's transaction, or in one of their own. */
static int end_own(struct replica_index *index, bool own, int rc)
{
	if (own && rc == 0)
		rc = replica_index_commit(index);
	if (own && rc < 0)
		replica_index_rollback(index);
	return rc;
}

int replica_index_share_add(
	struct replica_index *index, const struct replica_share *share, int64_t *id)
{
	if (!replica_share_name_valid(share->name, strlen(share->name)))
		return index_fail(index, -EINVAL, "not a valid share name");
	bool own = !index->open;
	int rc = own ? replica_index_begin(index) : 0;
	if (rc < 0)
		return rc;
	return end_own(index, own, insert_share(index, share, id));
}

/* Binds one number and runs. */
static int run_id(struct replica_index *index, const char *sql, int64_t id)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index, sql, &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, id);
	rc = index_run(index, stmt);
	if (rc == 0)
		rc = sqlite3_changes(index->db);
	return rc;
}

int replica_index_share_remove(struct replica_index *index, int64_t share)
{
	bool own = !index->open;
	int rc = own ? replica_index_begin(index) : 0;
	if (rc < 0)
		return rc;
	rc = run_id(index, "DELETE FROM entries WHERE share = ?", share);
	if (rc >= 0)
		rc = run_id(index, "DELETE FROM shares WHERE id = ?", share);
	return end_own(index, own, rc < 0 ? rc : rc == 0 ? -ENOENT : 0);
}

int replica_index_shares(struct replica_index *index,
	int (*fn)(void *arg, const struct replica_share *share), void *arg)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(
		index, "SELECT id, name, dir, uuid, added FROM shares ORDER BY name", &rc);
	if (stmt == NULL)
		return rc;
	while ((rc = index_step(index, stmt)) == 1) {
		struct replica_share share = {.id = sqlite3_column_int64(stmt, 0),
			.name = index_column_text(stmt, 1),
			.dir = index_column_text(stmt, 2),
			.added_us = sqlite3_column_int64(stmt, 4)};
		if (!replica_share_name_valid(share.name, strlen(share.name)))
			rc = THRUM_EFORMAT;
		else
			rc = index_column_bytes(stmt, 3, share.uuid, sizeof(share.uuid));
		if (rc == THRUM_EFORMAT)
			index_fail(index, rc, "index: a share's record is damaged");
		if (rc == 0)
			rc = fn(arg, &share);
		if (rc != 0)
			break;
	}
	index_done(stmt);
	return rc;
}

/* Ends a query for one number: -ENOENT if there is none. */
static int read_number(struct replica_index *index, sqlite3_stmt *stmt, int64_t *out)
{
	int rc = index_step(index, stmt);
	if (rc == 1)
		*out = sqlite3_column_int64(stmt, 0);
	index_done(stmt);
	return rc < 0 ? rc : rc == 0 ? -ENOENT : 0;
}

int replica_index_share_find(struct replica_index *index, const char *name, int64_t *id)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index, "SELECT id FROM shares WHERE name = ?", &rc);
	if (stmt == NULL)
		return rc;
	index_bind_text(stmt, 1, name);
	return read_number(index, stmt, id);
}

/* ---------------------------------------------------------------- peers and members */

int replica_index_peer_put(
	struct replica_index *index, const struct replica_peer *peer, int64_t *id)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"INSERT INTO peers(key, name, replica, address, synced, added)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(key) DO UPDATE"
		" SET name = ?2, replica = ?3, address = ?4 RETURNING id",
		&rc);
	if (stmt == NULL)
		return rc;
	index_bind_blob(stmt, 1, peer->key, sizeof(peer->key));
	index_bind_text(stmt, 2, peer->name != NULL ? peer->name : "");
	index_bind_blob(stmt, 3, peer->replica.bytes, REPLICA_ID_SIZE);
	index_bind_text(stmt, 4, peer->address != NULL ? peer->address : "");
	sqlite3_bind_int64(stmt, 5, peer->last_sync_us);
	sqlite3_bind_int64(stmt, 6, peer->added_us);
	return read_number(index, stmt, id);
}

int replica_index_peer_remove(struct replica_index *index, int64_t peer)
{
	int rc = run_id(index, "DELETE FROM peers WHERE id = ?", peer);
	return rc < 0 ? rc : rc == 0 ? -ENOENT : 0;
}

int replica_index_peer_synced(struct replica_index *index, int64_t peer, int64_t when_us)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index, "UPDATE peers SET synced = ? WHERE id = ?", &rc);
	if (stmt == NULL)
		return rc;
	sqlite3_bind_int64(stmt, 1, when_us);
	sqlite3_bind_int64(stmt, 2, peer);
	return index_run(index, stmt);
}

int replica_index_peer_find(
	struct replica_index *index, const uint8_t key[REPLICA_KEY_SIZE], int64_t *id)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index, "SELECT id FROM peers WHERE key = ?", &rc);
	if (stmt == NULL)
		return rc;
	index_bind_blob(stmt, 1, key, REPLICA_KEY_SIZE);
	return read_number(index, stmt, id);
}

int replica_index_peers(struct replica_index *index,
	int (*fn)(void *arg, const struct replica_peer *peer), void *arg)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT id, key, name, replica, address, synced, added FROM peers ORDER BY id", &rc);
	if (stmt == NULL)
		return rc;
	while ((rc = index_step(index, stmt)) == 1) {
		struct replica_peer peer = {.id = sqlite3_column_int64(stmt, 0),
			.name = index_column_text(stmt, 2),
			.address = index_column_text(stmt, 4),
			.last_sync_us = sqlite3_column_int64(stmt, 5),
			.added_us = sqlite3_column_int64(stmt, 6)};
		rc = index_column_bytes(stmt, 1, peer.key, sizeof(peer.key));
		if (rc == 0)
			rc = index_column_bytes(stmt, 3, peer.replica.bytes, REPLICA_ID_SIZE);
		if (rc < 0)
			index_fail(index, rc, "index: a peer's record is damaged");
		if (rc == 0)
			rc = fn(arg, &peer);
		if (rc != 0)
			break;
	}
	index_done(stmt);
	return rc;
}

static sqlite3_stmt *member_stmt(struct replica_index *index, const char *sql, int64_t share,
	int64_t peer, int *rc)
{
	sqlite3_stmt *stmt = index_stmt(index, sql, rc);
	if (stmt != NULL) {
		sqlite3_bind_int64(stmt, 1, share);
		sqlite3_bind_int64(stmt, 2, peer);
	}
	return stmt;
}

int replica_index_member_add(struct replica_index *index, int64_t share, int64_t peer)
{
	int rc = 0;
	sqlite3_stmt *stmt = member_stmt(index,
		"INSERT INTO members(share, peer) VALUES(?, ?) ON CONFLICT DO NOTHING", share, peer,
		&rc);
	return stmt == NULL ? rc : index_run(index, stmt);
}

int replica_index_member_remove(struct replica_index *index, int64_t share, int64_t peer)
{
	int rc = 0;
	sqlite3_stmt *stmt = member_stmt(
		index, "DELETE FROM members WHERE share = ? AND peer = ?", share, peer, &rc);
	return stmt == NULL ? rc : index_run(index, stmt);
}

int replica_index_is_member(struct replica_index *index, int64_t share, int64_t peer)
{
	int rc = 0;
	sqlite3_stmt *stmt = member_stmt(
		index, "SELECT 1 FROM members WHERE share = ? AND peer = ?", share, peer, &rc);
	if (stmt == NULL)
		return rc;
	rc = index_step(index, stmt);
	index_done(stmt);
	return rc;
}

/* ---------------------------------------------------------------- tickets */

int replica_index_ticket_add(struct replica_index *index,
	const uint8_t hash[REPLICA_TOKEN_HASH_SIZE], int64_t share, int64_t expires_us)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(
		index, "INSERT INTO tickets(hash, share, expires) VALUES(?, ?, ?)", &rc);
	if (stmt == NULL)
		return rc;
	index_bind_blob(stmt, 1, hash, REPLICA_TOKEN_HASH_SIZE);
	index_bind_id(stmt, 2, share);
	sqlite3_bind_int64(stmt, 3, expires_us);
	return index_run(index, stmt);
}

/* Looks a ticket up: 0 if this key may use it. */
static int ticket_check(struct replica_index *index,
	const uint8_t hash[REPLICA_TOKEN_HASH_SIZE], const uint8_t key[REPLICA_KEY_SIZE],
	int64_t now_us, int64_t *share)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(
		index, "SELECT share, expires, used_by FROM tickets WHERE hash = ?", &rc);
	if (stmt == NULL)
		return rc;
	index_bind_blob(stmt, 1, hash, REPLICA_TOKEN_HASH_SIZE);
	rc = index_step(index, stmt);
	if (rc == 1) {
		uint8_t by[REPLICA_KEY_SIZE];
		bool used = sqlite3_column_type(stmt, 2) != SQLITE_NULL;
		*share = sqlite3_column_int64(stmt, 0);
		if (used && (index_column_bytes(stmt, 2, by, sizeof(by)) < 0 ||
				    memcmp(by, key, sizeof(by)) != 0))
			rc = -EALREADY;
		else
			rc = !used && sqlite3_column_int64(stmt, 1) < now_us ? -ETIME : 0;
	} else if (rc == 0) {
		rc = -ENOENT;
	}
	index_done(stmt);
	return rc;
}

int replica_index_ticket_use(struct replica_index *index,
	const uint8_t hash[REPLICA_TOKEN_HASH_SIZE], const uint8_t key[REPLICA_KEY_SIZE],
	int64_t now_us, int64_t *share)
{
	int rc = ticket_check(index, hash, key, now_us, share);
	if (rc < 0)
		return rc;
	sqlite3_stmt *stmt =
		index_stmt(index, "UPDATE tickets SET used_by = ? WHERE hash = ?", &rc);
	if (stmt == NULL)
		return rc;
	index_bind_blob(stmt, 1, key, REPLICA_KEY_SIZE);
	index_bind_blob(stmt, 2, hash, REPLICA_TOKEN_HASH_SIZE);
	return index_run(index, stmt);
}

/* ---------------------------------------------------------------- conflicts */

/* Paths are blobs: bytes, in the order strcmp has. */
static void bind_path(sqlite3_stmt *stmt, int at, const char *path)
{
	index_bind_blob(stmt, at, path, strlen(path));
}

int replica_index_conflict_put(
	struct replica_index *index, const struct replica_conflict *conflict)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"INSERT OR REPLACE INTO conflicts VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
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
#define PATH_BELOW " (path > CAST(?2 || '/' AS BLOB) AND path < CAST(?2 || '0' AS BLOB))"
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
	rc = read_number(index, stmt, &n);
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
	rc = run_id(index, "DELETE FROM verdicts WHERE id <= ?", last - REPLICA_VERDICTS_KEPT);
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
	sqlite3_stmt *stmt = text != NULL
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
