/* SPDX-License-Identifier: MIT */
#include "replica/conflict.h"

#include <errno.h>
#include <stdio.h>

struct listing {
	struct replica_folder *folder;
	struct replica_clashes *out;
	size_t cap;
};

static void clash_fini(struct replica_clash *clash)
{
	free(clash->path);
	replica_version_fini(&clash->mine);
	replica_version_fini(&clash->theirs);
}

void replica_clashes_fini(struct replica_clashes *clashes)
{
	for (size_t i = 0; i < clashes->count; i++)
		clash_fini(&clashes->items[i]);
	free(clashes->items);
	*clashes = (struct replica_clashes){0};
}

/* The version of mine at a name: a live leaf, or a directory. 1 if there is one, 0, or an error. */
static int my_version(struct replica_folder *folder, const char *path, struct replica_version *out)
{
	struct replica_entry entry = {0};
	int r = replica_tree_leaf(folder->tree, path, &entry);
	bool live = r == 0 && entry.version.state != REPLICA_ABSENT;
	if (live)
		r = replica_version_copy(out, &entry.version);
	replica_entry_fini(&entry);
	if (r < 0 && r != -ENOENT)
		return r;
	if (live)
		return 1;
	r = replica_tree_live(folder->tree, path);
	if (r == 1)
		out->state = REPLICA_DIRMARK;
	return r;
}

/*
 * Where a file of mine stands in the way of what the row is about: cuts path there and says so
 * with 1. Else only takes the marker's name off.
 */
static int cut_at_file(struct replica_folder *folder, char *path, struct replica_version *mine)
{
	for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int r = my_version(folder, path, mine);
		if (r < 0 || (r == 1 && mine->state != REPLICA_DIRMARK))
			return r;
		replica_version_fini(mine);
		*slash = '/';
	}
	size_t len = strlen(path);
	if (len > 2 && strcmp(path + len - 2, "/.") == 0)
		path[len - 2] = '\0';
	return 0;
}

static int fill(struct replica_folder *folder, const struct replica_conflict *row,
	struct replica_clash *clash)
{
	clash->peer = row->peer;
	clash->verdict = row->verdict;
	clash->since_us = row->since_us;
	clash->path = strdup(row->path);
	if (clash->path == NULL)
		return -ENOMEM;
	if (row->verdict == REPLICA_VERDICT_CONFLICT_TYPE) {
		int r = cut_at_file(folder, clash->path, &clash->mine);
		if (r == 1)
			clash->theirs.state = REPLICA_DIRMARK;
		if (r != 0)
			return r < 0 ? r : 0;
	}
	int r = my_version(folder, clash->path, &clash->mine);
	if (r < 0)
		return r;
	if (clash->mine.state == REPLICA_DIRMARK && row->theirs.state != REPLICA_ABSENT &&
		row->theirs.state != REPLICA_DIRMARK)
		clash->verdict = REPLICA_VERDICT_CONFLICT_TYPE;
	return replica_version_copy(&clash->theirs, &row->theirs);
}

static int add(void *arg, const struct replica_conflict *row)
{
	struct listing *listing = arg;
	struct replica_clashes *out = listing->out;
	if (out->count == listing->cap) {
		size_t cap = listing->cap ? listing->cap * 2 : 16;
		struct replica_clash *items = reallocarray(out->items, cap, sizeof(*items));
		if (items == NULL)
			return -ENOMEM;
		out->items = items;
		listing->cap = cap;
	}
	struct replica_clash *clash = &out->items[out->count++];
	*clash = (struct replica_clash){0};
	return fill(listing->folder, row, clash);
}

/* By path, then peer; of one clash the type conflict first. */
static int compare(const void *left, const void *right)
{
	const struct replica_clash *a = left, *b = right;
	int order = strcmp(a->path, b->path);
	if (order == 0)
		order = (a->peer > b->peer) - (a->peer < b->peer);
	if (order == 0)
		order = (b->verdict == REPLICA_VERDICT_CONFLICT_TYPE) -
			(a->verdict == REPLICA_VERDICT_CONFLICT_TYPE);
	return order;
}

static void merge(struct replica_clashes *clashes)
{
	size_t kept = 0;
	if (clashes->count > 0)
		qsort(clashes->items, clashes->count, sizeof(*clashes->items), compare);
	for (size_t i = 0; i < clashes->count; i++) {
		struct replica_clash *clash = &clashes->items[i];
		const struct replica_clash *last = kept > 0 ? &clashes->items[kept - 1] : NULL;
		bool same_path = last != NULL && strcmp(last->path, clash->path) == 0;
		if (same_path && last->peer == clash->peer) {
			clash_fini(clash);
			continue;
		}
		clashes->paths += !same_path;
		clashes->items[kept++] = *clash;
	}
	clashes->count = kept;
}

int replica_clashes_list(
	struct replica_folder *folder, const char *within, struct replica_clashes *out)
{
	struct listing listing = {.folder = folder, .out = out};
	int r = replica_index_conflicts(folder->daemon->index, folder->id, within, add, &listing);
	merge(out);
	return r;
}

uint64_t replica_clashes_count(struct replica_folder *folder, const char *within)
{
	struct replica_clashes clashes = {0};
	if (replica_clashes_list(folder, within, &clashes) < 0)
		thrum__log(THRUM__LOG_ERROR, "share %s: cannot read the conflicts: %s",
			folder->name, replica_index_error(folder->daemon->index));
	uint64_t paths = clashes.paths;
	replica_clashes_fini(&clashes);
	return paths;
}
