/* SPDX-License-Identifier: MIT */
#include "replica/scan.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thrum/fs.h>
#include <thrum/thread.h>

#include "replica/path.h"
#include "replica/scan_internal.h"
#include "replica/tree.h"

/*
 * The walk: one directory at a time, from a stack of paths, so depth costs no stack and no
 * descriptors. Of a directory it holds the names on disk and the rows of the index, both sorted by
 * bytes, and goes through them like a merge.
 */

/* One row of a directory, as far as the comparison needs it. */
struct row {
	char *name;
	enum replica_kind kind;
	bool live;                      /* of a leaf */
	struct replica_version version; /* without target */
	struct replica_ident ident;
};

/* A growing array of names or paths. */
struct name {
	char *text;
	int64_t mtime_ns; /* of a directory, as the index has it; UNKNOWN */
};

struct names {
	struct name *items;
	size_t count, cap;
};

#define UNKNOWN INT64_MIN

struct directory {
	const char *path;
	int64_t known_mtime_ns; /* as the index has it; UNKNOWN */
	int fd;
	struct replica_stat st;
	struct names names; /* on disk, sorted */
	struct row *rows; /* in the index, sorted; the container before the leaf of the same name */
	size_t row_count, row_cap;
	struct row *mark; /* its own ".", or NULL */
};

/* Takes text, on failure too. */
static int names_add(struct names *names, char *text, int64_t mtime_ns)
{
	if (text == NULL)
		return -ENOMEM;
	if (names->count == names->cap) {
		size_t cap = names->cap ? 2 * names->cap : 64;
		struct name *grown = realloc(names->items, cap * sizeof(*grown));
		if (grown == NULL) {
			free(text);
			return -ENOMEM;
		}
		names->items = grown;
		names->cap = cap;
	}
	names->items[names->count++] = (struct name){.text = text, .mtime_ns = mtime_ns};
	return 0;
}

static void names_fini(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i].text);
	free(names->items);
	*names = (struct names){0};
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static char *join(const char *dir, const char *name)
{
	char *path;
	return asprintf(&path, "%s%s%s", dir, dir[0] ? "/" : "", name) < 0 ? NULL : path;
}

/* ---------------------------------------------------------------- reading one directory */

/* Reads every name; an error means that nothing may be believed absent. */
static int list_disk(struct directory *dir)
{
	struct thrum_dir *handle;
	struct thrum_dir_entry entry;
	int r = thrum_dir_open(&handle, dir->fd, ".");
	if (r < 0)
		return r;
	while ((r = thrum_dir_next(handle, &entry)) > 0) {
		if (dir->path[0] == '\0' && strcmp(entry.name, REPLICA_RESERVED) == 0)
			continue;
		r = names_add(&dir->names, strdup(entry.name), UNKNOWN);
		if (r < 0)
			break;
	}
	thrum_dir_close(handle);
	if (r == 0 && dir->names.count > 0)
		qsort(dir->names.items, dir->names.count, sizeof(struct name), by_bytes);
	return r;
}

static int keep_row(void *arg, const struct replica_entry *entry)
{
	struct directory *dir = arg;
	if (dir->row_count == dir->row_cap) {
		size_t cap = dir->row_cap ? 2 * dir->row_cap : 64;
		struct row *grown = realloc(dir->rows, cap * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		dir->rows = grown;
		dir->row_cap = cap;
	}
	struct row *row = &dir->rows[dir->row_count];
	*row = (struct row){
		.name = strdup(entry->name),
		.kind = entry->kind,
		.live = entry->kind == REPLICA_LEAF && entry->version.state != REPLICA_ABSENT,
		.version = entry->version,
		.ident = entry->ident,
	};
	row->version.target = NULL;
	if (row->name == NULL)
		return -ENOMEM;
	dir->row_count++;
	return 0;
}

static int list_index(struct scan_walk *walk, struct directory *dir)
{
	int r = thrum_mutex_lock(walk->scan->lock, THRUM_FOREVER);
	if (r < 0)
		return r;
	r = replica_tree_rows(walk->scan->tree, dir->path, keep_row, dir);
	thrum_mutex_unlock(walk->scan->lock);
	for (size_t i = 0; i < dir->row_count; i++)
		if (strcmp(dir->rows[i].name, REPLICA_DIRMARK_NAME) == 0 &&
			dir->rows[i].kind == REPLICA_LEAF)
			dir->mark = &dir->rows[i];
	return r;
}

static void directory_fini(struct directory *dir)
{
	if (dir->fd >= 0)
		close(dir->fd);
	names_fini(&dir->names);
	for (size_t i = 0; i < dir->row_count; i++)
		free(dir->rows[i].name);
	free(dir->rows);
}

/* ---------------------------------------------------------------- comparing */

static bool fatal(int code)
{
	return code == -ENOMEM || code == -ECANCELED || code == -ENXIO;
}

/* A file or symlink that is not what the row says: reads it and queues it. */
static int look_at_leaf(struct scan_walk *walk, const char *path)
{
	struct replica_stat seen;
	struct replica_version version = {0};
	int r = replica_path_check(path, strlen(path));
	if (r == 0)
		r = replica_scan_content(walk, path, &seen, &version);
	if (r == 0)
		return replica_scan_found(walk, FOUND_LEAF, strdup(path), &seen, &version);
	replica_version_fini(&version);
	if (fatal(r))
		return r;
	/* Gone or busy: look again later. */
	if (r == THRUM_ECHANGED || r == -ENOENT) {
		replica_scan_dirty(walk, path);
		return 0;
	}
	return replica_scan_failed(walk, path, r);
}

/* One name on disk against its rows. Subdirectories go to `below`. */
static int compare_name(struct scan_walk *walk, struct directory *dir, const char *name,
	const struct row *container, const struct row *leaf, struct names *below)
{
	struct replica_stat st;
	bool live = leaf != NULL && leaf->live;
	scan_count(&walk->scan->stats.names, 1);
	int r = replica_stat_at(dir->fd, name, &st);
	if (r == 0 && live && replica_scan_unchanged(&leaf->version, &leaf->ident, &st) &&
		container == NULL)
		return 0;
	char *path = join(dir->path, name);
	if (path == NULL)
		return -ENOMEM;
	if (r < 0) {
		r = replica_scan_failed(walk, path, r);
		free(path);
		return r;
	}
	if (st.type == REPLICA_DISK_DIR) {
		if (live)
			r = replica_scan_found(walk, FOUND_NO_LEAF, strdup(path), NULL, NULL);
		if (r < 0) {
			free(path);
			return r;
		}
		return names_add(
			below, path, container != NULL ? container->version.mtime_ns : UNKNOWN);
	}
	if (st.type == REPLICA_DISK_FILE || st.type == REPLICA_DISK_SYMLINK) {
		if (!live || !replica_scan_unchanged(&leaf->version, &leaf->ident, &st))
			r = look_at_leaf(walk, path);
	} else if (live) {
		/* Something that is not replicated took the place of a file. */
		r = replica_scan_found(walk, FOUND_NO_LEAF, strdup(path), NULL, NULL);
	}
	if (r == 0 && container != NULL && !live)
		r = replica_scan_found(walk, FOUND_NO_TREE, strdup(path), NULL, NULL);
	free(path);
	return r;
}

/* The rows of one name that is not on disk. */
static int compare_missing(struct scan_walk *walk, struct directory *dir,
	const struct row *container, const struct row *leaf)
{
	int r = 0;
	const char *name = container != NULL ? container->name : leaf->name;
	if (leaf != NULL && leaf->live)
		r = replica_scan_found(walk, FOUND_NO_LEAF, join(dir->path, name), NULL, NULL);
	if (r == 0 && container != NULL)
		r = replica_scan_found(walk, FOUND_NO_TREE, join(dir->path, name), NULL, NULL);
	return r;
}

static int compare(struct scan_walk *walk, struct directory *dir, struct names *below)
{
	size_t n = 0, i = 0;
	int r = 0;
	while (r == 0 && (n < dir->names.count || i < dir->row_count)) {
		const struct row *container = NULL, *leaf = NULL;
		int order = n == dir->names.count ? 1
			    : i == dir->row_count
				    ? -1
				    : strcmp(dir->names.items[n].text, dir->rows[i].name);
		if (order >= 0) {
			const char *name = dir->rows[i].name;
			while (i < dir->row_count && strcmp(dir->rows[i].name, name) == 0) {
				*(dir->rows[i].kind == REPLICA_CONTAINER ? &container : &leaf) =
					&dir->rows[i];
				i++;
			}
			if (leaf != NULL && leaf == dir->mark)
				continue;
		}
		r = order > 0 ? compare_missing(walk, dir, container, leaf)
			      : compare_name(walk, dir, dir->names.items[n++].text, container, leaf,
					below);
	}
	return r;
}

/* ---------------------------------------------------------------- the walk */

static int read_directory(struct scan_walk *walk, struct directory *dir, struct names *below)
{
	struct stat st;
	struct replica_scan *scan = walk->scan;
	dir->fd = replica_root_open_dir(scan->root, dir->path);
	if (dir->fd < 0)
		return dir->fd;
	if (fstat(dir->fd, &st) == 0)
		replica_stat_from(&dir->st, &st);
	if (scan->enter_dir != NULL)
		scan->enter_dir(scan->watch, dir->path, dir->fd);
	scan_count(&scan->stats.directories, 1);
	int r = list_disk(dir);
	if (r == 0)
		r = list_index(walk, dir);
	if (r < 0)
		return r;
	bool known = dir->known_mtime_ns == dir->st.mtime_ns && dir->mark != NULL &&
		     dir->mark->live && dir->mark->version.mode == dir->st.mode;
	if (!known)
		r = replica_scan_found(walk, FOUND_DIRECTORY, strdup(dir->path), &dir->st, NULL);
	return r < 0 ? r : compare(walk, dir, below);
}

static int walk_one(
	struct scan_walk *walk, const char *path, int64_t known_mtime_ns, struct names *below)
{
	struct directory dir = {.path = path, .known_mtime_ns = known_mtime_ns, .fd = -1};
	int r = replica_path_check(path, strlen(path));
	if (r == 0)
		r = read_directory(walk, &dir, below);
	directory_fini(&dir);
	if (r == 0 || fatal(r))
		return r;
	/* It went away while we were on the way: its parent's watch, or the next scan, sees that.
	 */
	if (r == -ENOENT || r == THRUM_ECHANGED) {
		replica_scan_dirty(walk, path);
		return 0;
	}
	return replica_scan_failed(walk, path, r);
}

static int walk_below(struct scan_walk *walk, const char *path)
{
	struct names stack = {0}, below = {0};
	int r = names_add(&stack, strdup(path), UNKNOWN);
	while (r == 0 && stack.count > 0) {
		struct name next = stack.items[--stack.count];
		r = walk_one(walk, next.text, next.mtime_ns, &below);
		free(next.text);
		/* In reverse, so that they come off the stack in order. */
		while (r == 0 && below.count > 0) {
			struct name *last = &below.items[--below.count];
			r = names_add(&stack, last->text, last->mtime_ns);
		}
		if (r == 0 && thrum_canceled())
			r = -ECANCELED;
		thrum_yield();
	}
	names_fini(&stack);
	names_fini(&below);
	return r;
}

/* ---------------------------------------------------------------- single names */

/* Reads the row of the leaf at path and says whether it is live. 1, 0 or an error. */
static int read_leaf(struct scan_walk *walk, const char *path, struct replica_entry *row)
{
	int r = thrum_mutex_lock(walk->scan->lock, THRUM_FOREVER);
	if (r < 0)
		return r;
	r = replica_tree_leaf(walk->scan->tree, path, row);
	thrum_mutex_unlock(walk->scan->lock);
	return r == -ENOENT ? 0 : r < 0 ? r : row->version.state != REPLICA_ABSENT;
}

static int look_at_directory(
	struct scan_walk *walk, const char *path, const struct replica_stat *st)
{
	struct replica_entry row = {0};
	/* The root is always a directory and has no mark. */
	int r = path[0] == '\0' ? 0 : read_leaf(walk, path, &row);
	if (r > 0)
		r = replica_scan_found(walk, FOUND_NO_LEAF, strdup(path), NULL, NULL);
	if (r == 0 && path[0] != '\0') {
		char *mark = join(path, REPLICA_DIRMARK_NAME);
		r = mark == NULL ? -ENOMEM : read_leaf(walk, mark, &row);
		free(mark);
		/* Unknown so far, or not readable until now: all of it may be new. */
		bool deep = r == 0;
		if (r > 0) {
			r = replica_scan_had_errors(walk, path);
			deep = r > 0;
		}
		if (r >= 0)
			r = deep ? walk_below(walk, path) : 0;
	}
	if (r == 0)
		r = replica_scan_found(walk, FOUND_DIRECTORY, strdup(path), st, NULL);
	replica_entry_fini(&row);
	return r;
}

static int look_at_name(struct scan_walk *walk, const char *path, const struct replica_stat *st)
{
	struct replica_entry row = {0};
	size_t parent_len, before = walk->count;
	int r;
	if (st->type == REPLICA_DISK_DIR)
		return look_at_directory(walk, path, st);
	if (st->type == REPLICA_DISK_FILE || st->type == REPLICA_DISK_SYMLINK) {
		r = read_leaf(walk, path, &row);
		if (r == 0 || (r > 0 && !replica_scan_unchanged(&row.version, &row.ident, st)))
			r = look_at_leaf(walk, path);
		replica_entry_fini(&row);
	} else {
		r = replica_scan_found(walk, FOUND_NO_LEAF, strdup(path), NULL, NULL);
		if (r == 0)
			r = replica_scan_found(walk, FOUND_NO_TREE, strdup(path), NULL, NULL);
	}
	/* What came or went in a directory changed its mtime too. */
	if (r >= 0 && walk->count != before) {
		(void)replica_path_last(path, &parent_len);
		r = replica_scan_found(
			walk, FOUND_DIRECTORY, strndup(path, parent_len), NULL, NULL);
	}
	return r < 0 ? r : 0;
}

static int look_at_item(struct scan_walk *walk, const struct replica_scan_item *item)
{
	struct replica_stat st;
	if (replica_path_check(item->path, strlen(item->path)) < 0)
		return 0; /* ours, or nothing the index could hold */
	int r = replica_root_stat(walk->scan->root, item->path, &st);
	if (r < 0)
		return replica_scan_failed(walk, item->path, r);
	scan_count(&walk->scan->stats.names, 1);
	if (!item->deep || st.type != REPLICA_DISK_DIR)
		return look_at_name(walk, item->path, &st);
	/* Deep: the name itself first, which may be a file in the index. */
	struct replica_entry row = {0};
	r = item->path[0] == '\0' ? 0 : read_leaf(walk, item->path, &row);
	replica_entry_fini(&row);
	if (r > 0)
		r = replica_scan_found(walk, FOUND_NO_LEAF, strdup(item->path), NULL, NULL);
	return r < 0 ? r : walk_below(walk, item->path);
}

static void walk_fini(struct scan_walk *walk)
{
	replica_scan_drop(walk);
	for (size_t i = 0; i < walk->failure_count; i++)
		free(walk->failures[i].path);
	free(walk->findings);
	free(walk->failures);
	free(walk->buf);
	replica_hash_destroy(walk->hash);
}

int replica_scan_items(
	struct replica_scan *scan, const struct replica_scan_item *items, size_t count)
{
	struct scan_walk walk = {.scan = scan};
	int r = replica_root_check(scan->root);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = look_at_item(&walk, &items[i]);
	if (r == 0)
		r = replica_scan_flush(&walk);
	if (r == 0)
		r = replica_scan_settle_errors(&walk, items, count);
	walk_fini(&walk);
	return r;
}

int replica_scan_all(struct replica_scan *scan)
{
	return replica_scan_below(scan, "");
}

int replica_scan_below(struct replica_scan *scan, const char *path)
{
	return replica_scan_items(scan, &(struct replica_scan_item){.path = path, .deep = true}, 1);
}

int replica_scan_name(struct replica_scan *scan, const char *path)
{
	return replica_scan_items(scan, &(struct replica_scan_item){.path = path}, 1);
}
