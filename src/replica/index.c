/* SPDX-License-Identifier: MIT */
#include "replica/index.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "replica/index_internal.h"

enum {
	APPLICATION_ID = 0x7468726d, /* "thrm" */
	SCHEMA_VERSION = 1,
	BUSY_MS = 2000,
};

/*
 * entries: kind and state as in the enums; the root has no parent. m, s, c: encoded vectors. Names
 * are blobs: bytes, compared as bytes, so that a listing is sorted as strcmp sorts.
 */
static const char schema[] =
	"CREATE TABLE meta(id BLOB NOT NULL, now INTEGER NOT NULL, start INTEGER NOT NULL,"
	"  contact INTEGER NOT NULL) STRICT;"
	"CREATE TABLE shares(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
	"  dir TEXT NOT NULL UNIQUE, uuid BLOB NOT NULL, added INTEGER NOT NULL) STRICT;"
	"CREATE TABLE peers(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, name TEXT NOT NULL,"
	"  replica BLOB NOT NULL, address TEXT NOT NULL, synced INTEGER NOT NULL,"
	"  added INTEGER NOT NULL) STRICT;"
	"CREATE TABLE members(share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE,"
	"  peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,"
	"  PRIMARY KEY(share, peer)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX members_peer ON members(peer);"
	"CREATE TABLE tickets(hash BLOB PRIMARY KEY,"
	"  share INTEGER REFERENCES shares ON DELETE CASCADE, expires INTEGER NOT NULL,"
	"  used_by BLOB) STRICT;"
	"CREATE TABLE entries(id INTEGER PRIMARY KEY,"
	"  share INTEGER NOT NULL REFERENCES shares, parent INTEGER REFERENCES entries,"
	"  name BLOB NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL, mode INTEGER NOT "
	"NULL,"
	"  mtime INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB, target BLOB,"
	"  dev INTEGER NOT NULL, ino INTEGER NOT NULL, ctime INTEGER NOT NULL,"
	"  m BLOB NOT NULL, s BLOB NOT NULL, c BLOB NOT NULL, UNIQUE(parent, name, kind)) STRICT;"
	"CREATE UNIQUE INDEX entries_root ON entries(share) WHERE parent IS NULL;"
	"CREATE TABLE conflicts(share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE,"
	"  path BLOB NOT NULL, peer INTEGER REFERENCES peers ON DELETE CASCADE,"
	"  verdict INTEGER NOT NULL, state INTEGER NOT NULL, mode INTEGER NOT NULL,"
	"  mtime INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB, target BLOB,"
	"  m BLOB NOT NULL, s BLOB NOT NULL, c BLOB NOT NULL, my_state INTEGER NOT NULL,"
	"  my_mode INTEGER NOT NULL, my_mtime INTEGER NOT NULL, my_size INTEGER NOT NULL,"
	"  my_hash BLOB, my_target BLOB, since INTEGER NOT NULL, wanted INTEGER NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX conflicts_path ON conflicts(share, path, ifnull(peer, 0));"
	"CREATE INDEX conflicts_peer ON conflicts(peer);"
	"CREATE TABLE verdicts(id INTEGER PRIMARY KEY,"
	"  share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE, path BLOB NOT NULL,"
	"  verdict INTEGER NOT NULL, peer INTEGER NOT NULL, time INTEGER NOT NULL,"
	"  UNIQUE(share, path)) STRICT;"
	"CREATE TABLE intents(share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE,"
	"  path BLOB NOT NULL, state INTEGER NOT NULL, mode INTEGER NOT NULL,"
	"  mtime INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB, target BLOB,"
	"  m BLOB NOT NULL, s BLOB NOT NULL, c BLOB NOT NULL, peer INTEGER NOT NULL,"
	"  PRIMARY KEY(share, path)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE errors(share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE,"
	"  path BLOB NOT NULL, text TEXT NOT NULL, PRIMARY KEY(share, path)) STRICT, WITHOUT "
	"ROWID;";

struct cached {
	struct thrum__list node;
	const char *sql; /* compared as a pointer: always a constant */
	sqlite3_stmt *stmt;
	bool lent;
};

/* ---------------------------------------------------------------- errors */

int index_fail(struct replica_index *index, int rc, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(index->error, sizeof(index->error), format, args);
	va_end(args);
	return rc;
}

static int code_of(int sqlite_rc, int system_errno)
{
	switch (sqlite_rc & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
	case SQLITE_MISMATCH:
		return THRUM_EFORMAT;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_TOOBIG:
		return -E2BIG;
	case SQLITE_CANTOPEN:
		return system_errno > 0 ? -system_errno : -EIO;
	default:
		return system_errno == ENOSPC || system_errno == EDQUOT ? -ENOSPC : -EIO;
	}
}

int index_sqlite_error(struct replica_index *index, int sqlite_rc)
{
	int rc = code_of(sqlite_rc, sqlite3_system_errno(index->db));
	return index_fail(index, rc, "index: %s", sqlite3_errmsg(index->db));
}

const char *replica_index_error(const struct replica_index *index)
{
	return index->error;
}

/* ---------------------------------------------------------------- statements */

sqlite3_stmt *index_stmt(struct replica_index *index, const char *sql, int *rc)
{
	thrum__list_foreach (it, &index->cached) {
		struct cached *cached = thrum__container_of(it, struct cached, node);
		if (cached->sql != sql || sqlite3_stmt_busy(cached->stmt))
			continue;
		/* The ones in use gather at the front. */
		if (it != thrum__list_first(&index->cached)) {
			thrum__list_remove(it);
			thrum__list_push_front(&index->cached, it);
		}
		return cached->stmt;
	}
	struct cached *cached = calloc(1, sizeof(*cached));
	if (cached == NULL) {
		*rc = -ENOMEM;
		return NULL;
	}
	int code = sqlite3_prepare_v3(
		index->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &cached->stmt, NULL);
	if (code != SQLITE_OK) {
		free(cached);
		*rc = index_sqlite_error(index, code);
		return NULL;
	}
	cached->sql = sql;
	thrum__list_push_front(&index->cached, &cached->node);
	return cached->stmt;
}

int index_step(struct replica_index *index, sqlite3_stmt *stmt)
{
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		return 1;
	return code == SQLITE_DONE ? 0 : index_sqlite_error(index, code);
}

void index_done(sqlite3_stmt *stmt)
{
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

int index_run(struct replica_index *index, sqlite3_stmt *stmt)
{
	int rc = index_step(index, stmt);
	index_done(stmt);
	return rc;
}

static int exec(struct replica_index *index, const char *sql)
{
	int code = sqlite3_exec(index->db, sql, NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : index_sqlite_error(index, code);
}

static void drop_statements(struct replica_index *index)
{
	struct thrum__list *it;
	while ((it = thrum__list_pop_front(&index->cached)) != NULL) {
		struct cached *cached = thrum__container_of(it, struct cached, node);
		sqlite3_finalize(cached->stmt);
		free(cached);
	}
}

/* ---------------------------------------------------------------- meta */

static int meta_write(struct replica_index *index)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index,
		"INSERT OR REPLACE INTO meta(rowid, id, now, start, contact) VALUES(1, ?, ?, ?, ?)",
		&rc);
	if (stmt == NULL)
		return rc;
	index_bind_blob(stmt, 1, index->meta.id.bytes, REPLICA_ID_SIZE);
	sqlite3_bind_int64(stmt, 2, (int64_t)index->meta.now);
	sqlite3_bind_int64(stmt, 3, (int64_t)index->meta.start);
	sqlite3_bind_int(stmt, 4, index->meta.contact);
	return index_run(index, stmt);
}

static int meta_read(struct replica_index *index)
{
	int rc = 0;
	sqlite3_stmt *stmt =
		index_stmt(index, "SELECT id, now, start, contact FROM meta WHERE rowid = 1", &rc);
	if (stmt == NULL)
		return rc;
	rc = index_step(index, stmt);
	if (rc == 1) {
		struct replica_meta *meta = &index->meta;
		rc = index_column_bytes(stmt, 0, meta->id.bytes, REPLICA_ID_SIZE);
		int64_t now = sqlite3_column_int64(stmt, 1), start = sqlite3_column_int64(stmt, 2);
		meta->now = (uint64_t)now;
		meta->start = (uint64_t)start;
		meta->contact = sqlite3_column_int(stmt, 3) != 0;
		if (rc == 0 && (now < 0 || start < 0 || start > now))
			rc = THRUM_EFORMAT;
	} else if (rc == 0) {
		rc = THRUM_EFORMAT;
	}
	index_done(stmt);
	if (rc == THRUM_EFORMAT)
		return index_fail(index, rc, "index: its identity record is damaged");
	return rc;
}

static bool meta_same(const struct replica_meta *a, const struct replica_meta *b)
{
	return memcmp(&a->id, &b->id, sizeof(a->id)) == 0 && a->now == b->now &&
	       a->start == b->start && a->contact == b->contact;
}

const struct replica_id *replica_index_id(const struct replica_index *index)
{
	return &index->meta.id;
}

uint64_t replica_index_now(const struct replica_index *index)
{
	return index->meta.now;
}

uint64_t replica_index_tick(struct replica_index *index)
{
	return ++index->meta.now;
}

bool replica_index_contradicted(struct replica_index *index, uint64_t time)
{
	struct replica_meta *meta = &index->meta;
	if (time > (meta->contact ? meta->now : meta->start))
		return true;
	meta->contact = true;
	return false;
}

sqlite3 *replica_index_sqlite(struct replica_index *index)
{
	return index->db;
}

/* ---------------------------------------------------------------- transactions */

void replica_index_hook_add(struct replica_index *index, struct replica_index_hook *hook)
{
	thrum__list_push_back(&index->hooks, &hook->node);
}

void replica_index_hook_remove(struct replica_index_hook *hook)
{
	thrum__list_remove(&hook->node);
}

static int flush_hooks(struct replica_index *index)
{
	int rc = 0;
	thrum__list_foreach (it, &index->hooks) {
		struct replica_index_hook *hook =
			thrum__container_of(it, struct replica_index_hook, node);
		if (rc == 0)
			rc = hook->flush(hook);
	}
	return rc;
}

static void drop_hooks(struct replica_index *index)
{
	thrum__list_foreach (it, &index->hooks) {
		struct replica_index_hook *hook =
			thrum__container_of(it, struct replica_index_hook, node);
		hook->drop(hook);
	}
}

int replica_index_begin(struct replica_index *index)
{
	if (index->open)
		return -EALREADY;
	int rc = exec(index, "BEGIN");
	index->open = rc == 0;
	return rc;
}

int replica_index_commit(struct replica_index *index)
{
	CHECK(index->open);
	int rc = flush_hooks(index);
	if (rc == 0 && !meta_same(&index->meta, &index->saved))
		rc = meta_write(index);
	if (rc == 0)
		rc = exec(index, "COMMIT");
	if (rc < 0)
		return rc;
	index->open = false;
	index->saved = index->meta;
	return 0;
}

void replica_index_rollback(struct replica_index *index)
{
	if (!index->open)
		return;
	/* SQLite may have rolled back on its own (disk full): then there is nothing left to do. */
	if (!sqlite3_get_autocommit(index->db))
		sqlite3_exec(index->db, "ROLLBACK", NULL, NULL, NULL);
	index->open = false;
	index->meta = index->saved;
	drop_hooks(index);
}

bool replica_index_in_transaction(const struct replica_index *index)
{
	return index->open;
}

int replica_index_mint(struct replica_index *index)
{
	int rc = flush_hooks(index);
	if (rc < 0)
		return rc;
	struct replica_meta old = index->meta;
	thrum__random_bytes(index->meta.id.bytes, REPLICA_ID_SIZE);
	index->meta.now = index->meta.start = 0;
	index->meta.contact = false;
	rc = replica_index_entry_restamp(index, &old.id, old.start);
	drop_hooks(index);
	return rc;
}

/* ---------------------------------------------------------------- open and close */

static int pragma_int(struct replica_index *index, const char *sql, int64_t *out)
{
	int rc = 0;
	sqlite3_stmt *stmt = index_stmt(index, sql, &rc);
	if (stmt == NULL)
		return rc;
	rc = index_step(index, stmt);
	*out = rc == 1 ? sqlite3_column_int64(stmt, 0) : 0;
	index_done(stmt);
	return rc < 0 ? rc : 0;
}

static int create(struct replica_index *index)
{
	char pragmas[128];
	snprintf(pragmas, sizeof(pragmas), "PRAGMA application_id = %d; PRAGMA user_version = %d;",
		APPLICATION_ID, SCHEMA_VERSION);
	int rc = exec(index, "BEGIN IMMEDIATE");
	if (rc == 0)
		rc = exec(index, schema);
	if (rc == 0)
		rc = exec(index, pragmas);
	thrum__random_bytes(index->meta.id.bytes, REPLICA_ID_SIZE);
	if (rc == 0)
		rc = meta_write(index);
	if (rc == 0)
		rc = exec(index, "COMMIT");
	return rc;
}

/* Creates the tables, or makes sure that they are ours. */
static int identify(struct replica_index *index)
{
	int64_t app = 0, version = 0, tables = 0;
	int rc = pragma_int(index, "PRAGMA application_id", &app);
	if (rc == 0)
		rc = pragma_int(index, "PRAGMA user_version", &version);
	if (rc == 0)
		rc = pragma_int(index, "SELECT count(*) FROM sqlite_schema", &tables);
	if (rc < 0)
		return rc;
	if (app == 0 && version == 0 && tables == 0)
		return create(index);
	if (app != APPLICATION_ID)
		return index_fail(index, THRUM_EFORMAT, "index: not a database of replicad's");
	if (version != SCHEMA_VERSION)
		return index_fail(index, THRUM_EFORMAT,
			"index: written by another version of replicad (format %" PRId64
			", this one knows %d)",
			version, SCHEMA_VERSION);
	return 0;
}

/* A start after a contact begins a new span of stamps (see struct replica_meta). */
static int start_span(struct replica_index *index)
{
	index->saved = index->meta;
	if (!index->meta.contact)
		return 0;
	index->meta.start = index->meta.now;
	index->meta.contact = false;
	int rc = meta_write(index);
	index->saved = index->meta;
	return rc;
}

int replica_index_reload(struct replica_index *index)
{
	int rc = meta_read(index);
	return rc < 0 ? rc : start_span(index);
}

static int setup(struct replica_index *index)
{
	static const char pragmas[] =
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
		"PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;"
		"PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF;";
	sqlite3_extended_result_codes(index->db, 1);
	sqlite3_busy_timeout(index->db, BUSY_MS);
	int rc = index_add_functions(index);
	if (rc == 0)
		rc = exec(index, pragmas);
	if (rc == 0)
		rc = identify(index);
	if (rc == 0)
		rc = replica_index_reload(index);
	return rc;
}

int replica_index_open(struct replica_index **out, const char *path, char *error)
{
	*out = NULL;
	struct replica_index *index = calloc(1, sizeof(*index));
	if (index == NULL)
		return -ENOMEM;
	/* The callers' lock is the only one needed. */
	int code = sqlite3_open_v2(path, &index->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	int rc = code == SQLITE_OK ? setup(index) : index_sqlite_error(index, code);
	if (rc < 0) {
		if (error != NULL)
			memcpy(error, index->error, sizeof(index->error));
		replica_index_close(index);
		return rc;
	}
	*out = index;
	return 0;
}

void replica_index_close(struct replica_index *index)
{
	if (index == NULL)
		return;
	CHECK(thrum__list_empty(&index->hooks));
	replica_index_rollback(index);
	drop_statements(index);
	sqlite3_close(index->db);
	free(index);
}
