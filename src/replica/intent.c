/* SPDX-License-Identifier: MIT */
#include "replica/intent.h"

#include <errno.h>

#include "replica/hash.h"
#include "replica/index_internal.h"

/* ---------------------------------------------------------------- rows */

int replica_intent_put(struct replica_folder *folder, int64_t peer, const struct replica_task *task,
	const struct replica_vt *their_s)
{
	const struct replica_child *theirs = task->theirs;
	struct replica_index *index = folder->daemon->index;
	struct replica_vt s = {0};
	int r = replica_vt_copy(&s, their_s);
	if (r == 0)
		r = replica_vt_join(&s, &theirs->s);
	sqlite3_stmt *stmt =
		r < 0 ? NULL
		      : index_stmt(index,
				"INSERT OR REPLACE INTO intents(share, path, state, mode,"
				" mtime, size, hash, target, m, s, c, peer)"
				" VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
				&r);
	if (stmt == NULL)
		goto fini;
	sqlite3_bind_int64(stmt, 1, folder->id);
	index_bind_blob(stmt, 2, task->path, strlen(task->path));
	index_bind_version(stmt, 3, &theirs->version);
	r = index_bind_vt(stmt, 9, &theirs->m);
	if (r == 0)
		r = index_bind_vt(stmt, 10, &s);
	if (r == 0)
		r = index_bind_vt(stmt, 11, &theirs->c);
	sqlite3_bind_int64(stmt, 12, peer);
	if (r == 0)
		r = index_run(index, stmt);
	else
		index_done(stmt);
fini:
	replica_vt_fini(&s);
	return r < 0 ? r : 0;
}

int replica_intents_clear(struct replica_folder *folder)
{
	struct replica_index *index = folder->daemon->index;
	int r = 0;
	sqlite3_stmt *stmt = index_stmt(index, "DELETE FROM intents WHERE share = ?", &r);
	if (stmt == NULL)
		return r;
	sqlite3_bind_int64(stmt, 1, folder->id);
	r = index_run(index, stmt);
	return r < 0 ? r : 0;
}

/* ---------------------------------------------------------------- replay */

struct intent {
	char *path;
	struct replica_child child; /* s: effective */
	int64_t peer;
};

static void intent_fini(struct intent *intent)
{
	free(intent->path);
	free(intent->child.name);
	replica_version_fini(&intent->child.version);
	replica_vt_fini(&intent->child.m);
	replica_vt_fini(&intent->child.s);
	replica_vt_fini(&intent->child.c);
}

static int read_intent(sqlite3_stmt *stmt, struct intent *intent)
{
	size_t parent_len;
	intent->path = strdup(index_column_text(stmt, 0));
	if (intent->path == NULL)
		return -ENOMEM;
	const char *name = replica_path_last(intent->path, &parent_len);
	/* A marker's name is no component that a path may have. */
	size_t checked =
		strcmp(name, REPLICA_DIRMARK_NAME) == 0 ? parent_len : strlen(intent->path);
	int r = replica_path_check(intent->path, checked);
	intent->child.kind = REPLICA_LEAF;
	intent->child.name = strdup(name);
	if (r == 0 && intent->child.name == NULL)
		r = -ENOMEM;
	if (r == 0)
		r = index_column_version(stmt, 1, &intent->child.version);
	if (r == 0)
		r = index_column_vt(stmt, 7, &intent->child.m);
	if (r == 0)
		r = index_column_vt(stmt, 8, &intent->child.s);
	if (r == 0)
		r = index_column_vt(stmt, 9, &intent->child.c);
	intent->peer = sqlite3_column_int64(stmt, 10);
	return r;
}

/* All intents of a folder; *out is the caller's to free. [lock] held. Returns how many, or an
 * error. */
static ssize_t load(struct replica_folder *folder, struct intent **out)
{
	struct replica_index *index = folder->daemon->index;
	size_t count = 0, cap = 0;
	int r = 0;
	*out = NULL;
	sqlite3_stmt *stmt = index_stmt(index,
		"SELECT CAST(path AS TEXT), state, mode, mtime, size, hash, target, m, s, c, peer"
		" FROM intents WHERE share = ? ORDER BY path",
		&r);
	if (stmt == NULL)
		return r;
	sqlite3_bind_int64(stmt, 1, folder->id);
	while ((r = index_step(index, stmt)) == 1) {
		if (count == cap) {
			cap = cap ? cap * 2 : 64;
			struct intent *grown = reallocarray(*out, cap, sizeof(**out));
			r = grown == NULL ? -ENOMEM : 0;
			*out = grown != NULL ? grown : *out;
		}
		if (r < 0)
			break;
		(*out)[count] = (struct intent){0};
		if ((r = read_intent(stmt, &(*out)[count++])) < 0)
			break;
	}
	index_done(stmt);
	if (r >= 0)
		return (ssize_t)count;
	for (size_t i = 0; i < count; i++)
		intent_fini(&(*out)[i]);
	free(*out);
	return r;
}

/* 1 if the file at path has the content of the version. */
static int same_content(
	struct replica_folder *folder, const char *path, const struct replica_version *version)
{
	enum { PIECE = 256 * 1024 };
	struct replica_stat st;
	uint8_t got[REPLICA_HASH_SIZE];
	int fd = replica_root_open_file(folder->root, path, &st);
	if (fd < 0)
		return 0;
	struct replica_hash *hash = replica_hash_create();
	uint8_t *piece = malloc(PIECE);
	ssize_t n = hash == NULL || piece == NULL ? -ENOMEM : 1;
	while (n > 0 && (n = thrum_file_read(fd, piece, PIECE)) > 0) {
		replica_hash_add(hash, piece, (size_t)n);
		thrum_yield();
	}
	if (n == 0)
		replica_hash_get(hash, got);
	replica_hash_destroy(hash);
	free(piece);
	thrum_file_close(fd);
	return n == 0 && memcmp(got, version->hash, sizeof(got)) == 0;
}

static bool directory_in_place(
	struct replica_folder *folder, const struct intent *intent, struct replica_stat *out)
{
	char dir[REPLICA_PATH_MAX + 1];
	size_t len;
	replica_path_last(intent->path, &len);
	memcpy(dir, intent->path, len); /* a path: read_intent has checked it */
	dir[len] = '\0';
	return replica_root_stat(folder->root, dir, out) == 0 && out->type == REPLICA_DISK_DIR &&
	       out->mode == intent->child.version.mode;
}

/* Is what the intent was about in place? Then *out is its identity. */
static bool in_place(
	struct replica_folder *folder, const struct intent *intent, struct replica_stat *out)
{
	const struct replica_version *version = &intent->child.version;
	if (version->state == REPLICA_DIRMARK)
		return directory_in_place(folder, intent, out);
	if (replica_root_stat(folder->root, intent->path, out) < 0 ||
		out->mtime_ns != version->mtime_ns)
		return false;
	if (version->state == REPLICA_SYMLINK) {
		char target[REPLICA_PATH_MAX + 1];
		return out->type == REPLICA_DISK_SYMLINK &&
		       replica_root_read_link(folder->root, intent->path, target, sizeof(target)) >
			       0 &&
		       strcmp(target, version->target) == 0;
	}
	return out->type == REPLICA_DISK_FILE && out->size == version->size &&
	       out->mode == version->mode && same_content(folder, intent->path, version);
}

/* Decides and commits one intent as its pull would have. [lock] and a transaction held. */
static int commit(
	struct replica_folder *folder, struct intent *intent, const struct replica_stat *st)
{
	struct replica_ident ident = {.dev = st->dev, .ino = st->ino, .ctime_ns = st->ctime_ns};
	struct replica_listing listing = {.exists = true, .count = 1};
	struct replica_visit visit = {0};
	size_t parent_len;
	replica_path_last(intent->path, &parent_len);
	char *parent = strndup(intent->path, parent_len);
	listing.children = malloc(sizeof(*listing.children));
	listing.only = strdup(intent->child.name);
	int r = parent == NULL || listing.children == NULL || listing.only == NULL ? -ENOMEM : 0;
	if (r == 0)
		r = replica_vt_copy(&listing.m, &intent->child.m);
	if (r == 0)
		r = replica_vt_join(&listing.m, &intent->child.c);
	if (r < 0) {
		free(listing.children);
		listing.children = NULL;
		listing.count = 0;
		replica_listing_fini(&listing);
		free(parent);
		return r;
	}
	listing.children[0] = intent->child; /* moves */
	intent->child = (struct replica_child){0};

	r = replica_visit_open(
		&visit, folder->tree, parent, &listing, intent->peer, REPLICA_POLICY_NONE, NULL);
	free(parent);
	if (r < 0)
		return r;
	for (size_t i = 0; i < visit.count && r == 0; i++)
		if (visit.tasks[i].kind == REPLICA_LEAF &&
			visit.tasks[i].action == REPLICA_DO_INSTALL)
			r = replica_visit_commit(&visit, i, &ident, NULL);
	if (r == 0)
		r = replica_visit_close(&visit);
	replica_visit_fini(&visit);
	/* Decided otherwise by now: then it is the scan's to tell. */
	return r == THRUM_ECHANGED || r == -EEXIST || r > 0 ? 0 : r;
}

int replica_intents_replay(struct replica_folder *folder)
{
	struct replica_daemon *daemon = folder->daemon;
	struct intent *intents;
	uint64_t done = 0;
	replica_lock(daemon);
	ssize_t count = load(folder, &intents);
	replica_unlock(daemon);
	if (count <= 0)
		return (int)count;

	/* The watcher does not run yet, so nothing else looks at the tree between the look and the
	 * commit. */
	struct replica_stat *stats = calloc((size_t)count, sizeof(*stats));
	int r = stats == NULL ? -ENOMEM : 0;
	for (ssize_t i = 0; i < count && r == 0; i++)
		if (!in_place(folder, &intents[i], &stats[i]))
			stats[i].type = REPLICA_DISK_ABSENT;
	replica_lock(daemon);
	if (r == 0)
		r = replica_index_begin(daemon->index);
	if (r == 0) {
		for (ssize_t i = 0; i < count && r == 0; i++) {
			if (stats[i].type == REPLICA_DISK_ABSENT)
				continue;
			r = commit(folder, &intents[i], &stats[i]);
			done++;
		}
		if (r == 0)
			r = replica_intents_clear(folder);
		r = replica_end(daemon, r);
	}
	replica_unlock(daemon);
	if (r == 0 && done > 0)
		thrum__log(THRUM__LOG_INFO,
			"share %s: put on record what a batch that was cut off had put in place: "
			"%llu",
			folder->name, (unsigned long long)done);
	for (ssize_t i = 0; i < count; i++)
		intent_fini(&intents[i]);
	free(intents);
	free(stats);
	return r;
}
