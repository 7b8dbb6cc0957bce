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

static int insert_share(struct replica_index *index, const struct replica_share *share, int64_t *id)
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
		.kind = REPLICA_CONTAINER,
		.name = (char[]){""}};
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

int index_run_id(struct replica_index *index, const char *sql, int64_t id)
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
	rc = index_run_id(index, "DELETE FROM entries WHERE share = ?", share);
	if (rc >= 0)
		rc = index_run_id(index, "DELETE FROM shares WHERE id = ?", share);
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

int index_read_number(struct replica_index *index, sqlite3_stmt *stmt, int64_t *out)
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
	return index_read_number(index, stmt, id);
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
	return index_read_number(index, stmt, id);
}

int replica_index_peer_remove(struct replica_index *index, int64_t peer)
{
	int rc = index_run_id(index, "DELETE FROM peers WHERE id = ?", peer);
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
	return index_read_number(index, stmt, id);
}

int replica_index_peers(struct replica_index *index,
	int (*fn)(void *arg, const struct replica_peer *peer), void *arg)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT id, key, name, replica, address, synced, added FROM peers ORDER BY id",
		&rc);
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

static sqlite3_stmt *member_stmt(
	struct replica_index *index, const char *sql, int64_t share, int64_t peer, int *rc)
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
	sqlite3_stmt *stmt =
		index_stmt(index, "INSERT INTO tickets(hash, share, expires) VALUES(?, ?, ?)", &rc);
	if (stmt == NULL)
		return rc;
	index_bind_blob(stmt, 1, hash, REPLICA_TOKEN_HASH_SIZE);
	index_bind_id(stmt, 2, share);
	sqlite3_bind_int64(stmt, 3, expires_us);
	return index_run(index, stmt);
}

/* Looks a ticket up: 0 if this key may use it. */
static int ticket_check(struct replica_index *index, const uint8_t hash[REPLICA_TOKEN_HASH_SIZE],
	const uint8_t key[REPLICA_KEY_SIZE], int64_t now_us, int64_t *share)
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
