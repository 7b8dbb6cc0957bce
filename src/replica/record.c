/* SPDX-License-Identifier: MIT */
#include "replica/scan_internal.h"

#include <errno.h>
#include <stdio.h>

#include "replica/path.h"
#include "replica/tree.h"

/*
 * Step 4 of scan.h: findings become events, each only if it still holds under the lock. A batch is
 * one transaction.
 */

/* Errors of reading begin so in the index; those of others (a pull that could not write, say) are
 * not ours to clear. */
#define READ_ERROR "cannot read: "

void replica_scan_dirty(struct scan_walk *walk, const char *path)
{
	scan_count(&walk->scan->stats.dirty, 1);
	if (walk->scan->dirty != NULL)
		walk->scan->dirty(walk->scan->watch, path);
}

static struct replica_ident ident_of(const struct replica_stat *st)
{
	return (struct replica_ident){.dev = st->dev, .ino = st->ino, .ctime_ns = st->ctime_ns};
}

bool replica_scan_unchanged(const struct replica_version *version,
	const struct replica_ident *ident, const struct replica_stat *seen)
{
	if (ident->dev != seen->dev || ident->ino != seen->ino ||
		ident->ctime_ns != seen->ctime_ns || version->mtime_ns != seen->mtime_ns)
		return false;
	if (seen->type == REPLICA_DISK_FILE)
		return version->state == REPLICA_FILE && version->size == seen->size &&
		       version->mode == seen->mode;
	return seen->type == REPLICA_DISK_SYMLINK && version->state == REPLICA_SYMLINK;
}

/* ---------------------------------------------------------------- one finding [lock held,
 * transaction open] */

static int record_event(struct finding *finding, struct replica_tree *tree, const char *path,
	const struct replica_version *version, enum replica_change change)
{
	struct replica_ident ident = ident_of(&finding->seen);
	int r = replica_tree_event(tree, path, version, version != NULL ? &ident : NULL);
	finding->recorded = r == 0;
	finding->change = change;
	return r;
}

/* A file or symlink. row: what the index has, all-zero if nothing. */
static int record_leaf(struct scan_walk *walk, struct finding *finding, struct replica_entry *row)
{
	struct replica_tree *tree = walk->scan->tree;
	const struct replica_version *old = &row->version;
	bool live = old->state != REPLICA_ABSENT;
	if (!live) {
		/* A directory that became a file: all that was in it is gone. */
		uint64_t gone;
		int r = replica_tree_live(tree, finding->path);
		if (r > 0)
			r = replica_tree_event_delete_all(tree, finding->path, &gone);
		if (r < 0)
			return r;
	}
	if (live && replica_version_equal(old, &finding->version)) {
		struct replica_ident ident = ident_of(&finding->seen);
		if (memcmp(&row->ident, &ident, sizeof(ident)) == 0)
			return 0;
		return replica_tree_refresh(tree, finding->path, &ident);
	}
	return record_event(finding, tree, finding->path, &finding->version,
		!live                                                  ? REPLICA_CREATED
		: replica_version_same_content(old, &finding->version) ? REPLICA_METADATA
								       : REPLICA_MODIFIED);
}

static int record_directory(struct scan_walk *walk, struct finding *finding,
	const struct replica_stat *now, struct replica_entry *row)
{
	struct replica_tree *tree = walk->scan->tree;
	struct replica_version version = {.state = REPLICA_DIRMARK, .mode = now->mode};
	char mark[REPLICA_PATH_MAX + 3];
	int r = 0;
	bool live = row->version.state != REPLICA_ABSENT;
	if (finding->path[0] != '\0' && !replica_version_equal(&row->version, &version)) {
		snprintf(mark, sizeof(mark), "%s/%s", finding->path, REPLICA_DIRMARK_NAME);
		r = record_event(
			finding, tree, mark, &version, live ? REPLICA_METADATA : REPLICA_CREATED);
	}
	return r < 0 ? r : replica_tree_dir_mtime(tree, finding->path, now->mtime_ns);
}

static int record_gone(struct scan_walk *walk, struct finding *finding, struct replica_entry *row)
{
	struct replica_tree *tree = walk->scan->tree;
	uint64_t gone = 0;
	if (finding->kind == FOUND_NO_LEAF)
		return row->version.state == REPLICA_ABSENT
			       ? 0
			       : record_event(finding, tree, finding->path, NULL, REPLICA_DELETED);
	/* A live file of the same name is no part of the directory. */
	if (row->version.state != REPLICA_ABSENT)
		return 0;
	int r = replica_tree_live(tree, finding->path);
	if (r > 0)
		r = replica_tree_event_delete_all(tree, finding->path, &gone);
	finding->recorded = gone > 0;
	finding->change = REPLICA_DELETED;
	return r;
}

/* Reads the row a finding is about: of the leaf at path, or of the directory's marker. */
static int read_row(
	struct scan_walk *walk, const struct finding *finding, struct replica_entry *row)
{
	char mark[REPLICA_PATH_MAX + 3];
	const char *path = finding->path;
	if (finding->kind == FOUND_DIRECTORY) {
		if (path[0] == '\0')
			return 0;
		snprintf(mark, sizeof(mark), "%s/%s", path, REPLICA_DIRMARK_NAME);
		path = mark;
	}
	int r = replica_tree_leaf(walk->scan->tree, path, row);
	return r == -ENOENT ? 0 : r;
}

static int record(struct scan_walk *walk, struct finding *finding)
{
	struct replica_stat now;
	struct replica_entry row = {0};
	/* What cannot be looked at any more is for the next scan. */
	if (replica_root_stat(walk->scan->root, finding->path, &now) < 0)
		return 0;
	int r = read_row(walk, finding, &row);
	if (r == 0)
		switch (finding->kind) {
		case FOUND_LEAF:
			if (replica_stat_equal(&now, &finding->seen))
				r = record_leaf(walk, finding, &row);
			else
				replica_scan_dirty(walk, finding->path);
			break;
		case FOUND_DIRECTORY:
			if (now.type == REPLICA_DISK_DIR)
				r = record_directory(walk, finding, &now, &row);
			break;
		case FOUND_NO_LEAF:
			if (now.type != REPLICA_DISK_FILE && now.type != REPLICA_DISK_SYMLINK)
				r = record_gone(walk, finding, &row);
			break;
		case FOUND_NO_TREE:
			if (now.type != REPLICA_DISK_DIR)
				r = record_gone(walk, finding, &row);
			break;
		}
	replica_entry_fini(&row);
	return r;
}

/* ---------------------------------------------------------------- batches */

static int record_all(struct scan_walk *walk)
{
	struct replica_index *index = replica_tree_index(walk->scan->tree);
	int r = replica_index_begin(index);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < walk->count; i++)
		r = record(walk, &walk->findings[i]);
	if (r == 0)
		r = replica_index_commit(index);
	if (r < 0)
		replica_index_rollback(index);
	return r;
}

/* Counts and tells what was committed. */
static void announce(struct scan_walk *walk)
{
	struct replica_scan *scan = walk->scan;
	uint64_t *counters[] = {
		[REPLICA_CREATED] = &scan->stats.created,
		[REPLICA_MODIFIED] = &scan->stats.modified,
		[REPLICA_METADATA] = &scan->stats.metadata,
		[REPLICA_DELETED] = &scan->stats.deleted,
	};
	for (size_t i = 0; i < walk->count; i++) {
		const struct finding *finding = &walk->findings[i];
		if (!finding->recorded)
			continue;
		scan_count(counters[finding->change], 1);
		if (scan->change != NULL)
			scan->change(scan->arg, finding->path, finding->change,
				finding->kind == FOUND_DIRECTORY || finding->kind == FOUND_NO_TREE);
	}
}

void replica_scan_drop(struct scan_walk *walk)
{
	for (size_t i = 0; i < walk->count; i++) {
		free(walk->findings[i].path);
		replica_version_fini(&walk->findings[i].version);
	}
	walk->count = 0;
}

int replica_scan_flush(struct scan_walk *walk)
{
	if (walk->count == 0)
		return 0;
	int r = thrum_mutex_lock(walk->scan->lock, THRUM_FOREVER);
	if (r == 0) {
		/* Every deletion in the batch rests on this: the share is there. */
		r = replica_root_check(walk->scan->root);
		if (r == 0)
			r = record_all(walk);
		thrum_mutex_unlock(walk->scan->lock);
	}
	if (r == 0)
		announce(walk);
	replica_scan_drop(walk);
	return r;
}

int replica_scan_found(struct scan_walk *walk, enum finding_kind kind, char *path,
	const struct replica_stat *seen, struct replica_version *version)
{
	int r = path == NULL ? -ENOMEM : 0;
	if (r == 0 && walk->findings == NULL) {
		walk->findings = calloc(SCAN_BATCH, sizeof(*walk->findings));
		r = walk->findings == NULL ? -ENOMEM : 0;
	}
	if (r < 0) {
		free(path);
		if (version != NULL)
			replica_version_fini(version);
		return r;
	}
	struct finding *finding = &walk->findings[walk->count++];
	*finding = (struct finding){.kind = kind, .path = path};
	if (seen != NULL)
		finding->seen = *seen;
	if (version != NULL) {
		finding->version = *version;
		*version = (struct replica_version){0};
	}
	return walk->count == SCAN_BATCH ? replica_scan_flush(walk) : 0;
}

/* ---------------------------------------------------------------- errors of reading */

int replica_scan_failed(struct scan_walk *walk, const char *path, int code)
{
	if (walk->failure_count == walk->failure_cap) {
		size_t cap = walk->failure_cap ? 2 * walk->failure_cap : 16;
		struct failure *grown = realloc(walk->failures, cap * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		walk->failures = grown;
		walk->failure_cap = cap;
	}
	char *copy = strdup(path);
	if (copy == NULL)
		return -ENOMEM;
	walk->failures[walk->failure_count++] = (struct failure){.path = copy, .code = code};
	scan_count(&walk->scan->stats.errors, 1);
	return 0;
}

struct old_errors {
	const struct replica_scan_item *items;
	size_t count;
	struct thrum__buf paths; /* NUL-terminated, one after the other */
};

static int collect_error(void *arg, const char *path, const char *text)
{
	struct old_errors *old = arg;
	if (strncmp(text, READ_ERROR, strlen(READ_ERROR)) != 0)
		return 0;
	for (size_t i = 0; i < old->count; i++) {
		const struct replica_scan_item *item = &old->items[i];
		if (strcmp(path, item->path) == 0 ||
			(item->deep && replica_path_within(path, item->path)))
			return thrum__buf_append(&old->paths, path, strlen(path) + 1);
	}
	return 0;
}

static int set_errors(struct scan_walk *walk, const struct old_errors *old)
{
	struct replica_index *index = replica_tree_index(walk->scan->tree);
	int64_t share = replica_tree_share(walk->scan->tree);
	const char *end = (const char *)thrum__buf_head(&old->paths) + thrum__buf_len(&old->paths);
	char text[REPLICA_ERROR_TEXT_MAX];
	int r = replica_index_begin(index);
	if (r < 0)
		return r;
	for (const char *path = (const char *)thrum__buf_head(&old->paths); r == 0 && path != end;
		path += strlen(path) + 1)
		r = replica_index_error_set(index, share, path, NULL);
	for (size_t i = 0; r == 0 && i < walk->failure_count; i++) {
		const struct failure *failure = &walk->failures[i];
		snprintf(text, sizeof(text), READ_ERROR "%s",
			failure->code == -EXDEV ? "a mount point inside the share is left out"
						: thrum_strerror(failure->code));
		r = replica_index_error_set(index, share, failure->path, text);
	}
	if (r == 0)
		r = replica_index_commit(index);
	if (r < 0)
		replica_index_rollback(index);
	return r;
}

int replica_scan_had_errors(struct scan_walk *walk, const char *path)
{
	struct replica_scan_item item = {.path = path, .deep = true};
	struct old_errors old = {.items = &item, .count = 1};
	int r = thrum_mutex_lock(walk->scan->lock, THRUM_FOREVER);
	if (r < 0)
		return r;
	r = replica_index_errors(replica_tree_index(walk->scan->tree),
		replica_tree_share(walk->scan->tree), collect_error, &old);
	thrum_mutex_unlock(walk->scan->lock);
	if (r == 0)
		r = thrum__buf_len(&old.paths) > 0;
	thrum__buf_fini(&old.paths);
	return r;
}

int replica_scan_settle_errors(
	struct scan_walk *walk, const struct replica_scan_item *items, size_t count)
{
	struct old_errors old = {.items = items, .count = count};
	int r = thrum_mutex_lock(walk->scan->lock, THRUM_FOREVER);
	if (r < 0)
		return r;
	r = replica_index_errors(replica_tree_index(walk->scan->tree),
		replica_tree_share(walk->scan->tree), collect_error, &old);
	if (r == 0 && (thrum__buf_len(&old.paths) > 0 || walk->failure_count > 0))
		r = set_errors(walk, &old);
	thrum_mutex_unlock(walk->scan->lock);
	thrum__buf_fini(&old.paths);
	return r;
}
