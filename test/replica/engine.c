/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <sqlite3.h>

#include "replica/hash.h"
#include "replica/intent.h"

struct engine engine;

static const uint8_t uuid[16] = {9};

/* An index in memory with one share and, for ours, one peer. */
static struct replica_index *new_index(int64_t *share, struct replica_peer *peer)
{
	struct replica_index *index;
	struct replica_share row = {.name = "s", .dir = engine.disk.root};
	ck_assert_int_eq(replica_index_open(&index, ":memory:", NULL), 0);
	ck_assert_int_eq(replica_index_begin(index), 0);
	ck_assert_int_eq(replica_index_share_add(index, &row, share), 0);
	if (peer != NULL)
		ck_assert_int_eq(replica_index_peer_put(index, peer, &peer->id), 0);
	ck_assert_int_eq(replica_index_commit(index), 0);
	return index;
}

void engine_set_up(void)
{
	int64_t source_share;
	struct replica_peer peer = {.name = "source", .address = "", .key = {1}};
	engine = (struct engine){0};
	disk_init(&engine.disk);
	struct replica_daemon *daemon = engine.daemon = calloc(1, sizeof(*daemon));
	struct replica_folder *folder = engine.folder = calloc(1, sizeof(*folder));
	daemon->index = new_index(&folder->id, &peer);
	engine.link = replica_link_get(daemon, &peer);
	ck_assert_ptr_nonnull(engine.link);
	folder->daemon = daemon;
	folder->name = strdup("s");
	folder->dir = strdup(engine.disk.root);
	memcpy(folder->uuid, uuid, sizeof(uuid));
	ck_assert_int_eq(replica_tree_open(&folder->tree, daemon->index, folder->id), 0);
	ck_assert_int_eq(replica_root_init(engine.disk.root, uuid, NULL), 0);
	ck_assert_int_eq(replica_root_open(&folder->root, engine.disk.root, uuid), 0);
	engine.source_index = new_index(&source_share, NULL);
	ck_assert_int_eq(replica_tree_open(&engine.source, engine.source_index, source_share), 0);
}

void engine_tear_down(void)
{
	replica_tree_close(engine.source);
	replica_index_close(engine.source_index);
	replica_root_close(engine.folder->root);
	replica_folder_free(engine.folder);
	replica_link_free(engine.link);
	replica_index_close(engine.daemon->index);
	replica_events_fini(&engine.daemon->events);
	free(engine.daemon);
	disk_fini(&engine.disk);
}

void engine_blame(const char *file, int line, const char *what, long long value)
{
	if (engine.failure[0] == '\0')
		snprintf(engine.failure, sizeof(engine.failure), "%s:%d: %s (%lld)", file, line,
			what, value);
}

static void *tell(void *arg)
{
	struct replica_folder *folder = engine.folder;
	folder->scan = (struct replica_scan){
		.root = folder->root, .tree = folder->tree, .lock = &engine.daemon->lock};
	(*(void (**)(void))arg)();
	return NULL;
}

void engine_run(void (*story)(void))
{
	ck_assert_int_eq(thrum_run(NULL, tell, &story, NULL), 0);
	ck_assert_msg(engine.failure[0] == '\0', "%s", engine.failure);
}

/* ---------------------------------------------------------------- the source */

struct replica_version engine_version(const char *text, int64_t mtime_s)
{
	struct replica_version version = {.state = REPLICA_FILE,
		.mode = 0644,
		.mtime_ns = mtime_s * THRUM_S,
		.size = strlen(text)};
	struct replica_hash *hash = replica_hash_create();
	replica_hash_add(hash, text, strlen(text));
	replica_hash_get(hash, version.hash);
	replica_hash_destroy(hash);
	return version;
}

void engine_source_event(const char *path, const struct replica_version *version)
{
	EXPECT_INT(replica_index_begin(engine.source_index), 0);
	EXPECT_INT(replica_tree_event(engine.source, path, version, NULL), 0);
	EXPECT_INT(replica_index_commit(engine.source_index), 0);
}

/* ---------------------------------------------------------------- the share */

void engine_put(const char *path, const char *text, int64_t mtime_s)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = mtime_s}};
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	EXPECT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	EXPECT(fchmod(fd, 0644) == 0 && futimens(fd, times) == 0);
	close(fd);
}

int engine_visit(struct replica_visit *visit, const char *dir, struct replica_vt *their_s)
{
	struct replica_listing listing = {0};
	int r = replica_tree_list(engine.source, dir, NULL, &listing);
	if (r == 0 && their_s != NULL)
		r = replica_vt_copy(their_s, &listing.s);
	if (r < 0)
		return r;
	replica_lock(engine.daemon);
	r = replica_index_begin(engine.daemon->index);
	if (r == 0)
		r = replica_end(
			engine.daemon, replica_visit_open(visit, engine.folder->tree, dir, &listing,
					       engine.link->peer, REPLICA_POLICY_NONE, NULL));
	replica_unlock(engine.daemon);
	return r;
}

size_t engine_task(const struct replica_visit *visit, const char *name)
{
	for (size_t i = 0; i < visit->count; i++)
		if (visit->tasks[i].kind == REPLICA_LEAF && strcmp(visit->tasks[i].name, name) == 0)
			return i;
	engine_blame(__FILE__, __LINE__, name, (long long)visit->count);
	abort(); /* there is nothing to go on with */
}

enum replica_verdict engine_verdict(const char *dir, const char *name)
{
	struct replica_visit visit;
	enum replica_verdict verdict = REPLICA_VERDICT_SKIP;
	EXPECT_INT(engine_visit(&visit, dir, NULL), 0);
	if (!visit.pruned)
		verdict = visit.tasks[engine_task(&visit, name)].verdict;
	replica_visit_fini(&visit);
	return verdict;
}

bool engine_same_event(const char *path)
{
	struct replica_entry mine = {0}, theirs = {0};
	bool same = replica_tree_leaf(engine.folder->tree, path, &mine) == 0 &&
		    replica_tree_leaf(engine.source, path, &theirs) == 0 &&
		    replica_version_equal(&mine.version, &theirs.version) &&
		    replica_vt_equal(&mine.m, &theirs.m) && replica_vt_equal(&mine.c, &theirs.c);
	replica_entry_fini(&mine);
	replica_entry_fini(&theirs);
	return same;
}

uint64_t engine_scan(void)
{
	struct replica_scan_stats *stats = &engine.folder->scan.stats;
	*stats = (struct replica_scan_stats){0};
	EXPECT_INT(replica_scan_all(&engine.folder->scan), 0);
	return stats->created + stats->modified + stats->metadata + stats->deleted;
}

void engine_reopen(void)
{
	struct replica_folder *folder = engine.folder;
	replica_root_close(folder->root);
	EXPECT_INT(replica_root_open(&folder->root, folder->dir, folder->uuid), 0);
	folder->scan.root = folder->root;
	EXPECT_INT(replica_intents_replay(folder), 0);
}

int64_t engine_intents(void)
{
	sqlite3_stmt *stmt;
	int64_t count = -1;
	sqlite3 *db = replica_index_sqlite(engine.daemon->index);
	if (sqlite3_prepare_v2(db, "SELECT count(*) FROM intents", -1, &stmt, NULL) == SQLITE_OK &&
		sqlite3_step(stmt) == SQLITE_ROW)
		count = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return count;
}
