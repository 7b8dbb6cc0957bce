/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/tree_internal.h"

/* ---------------------------------------------------------------- leaves */

int tree_split_leaf(const char *path, size_t *dir_len, const char **name)
{
	*name = replica_path_last(path, dir_len);
	if (strcmp(*name, REPLICA_DIRMARK_NAME) != 0) {
		int rc = replica_path_check(path, strlen(path));
		return rc == 0 && path[0] == '\0' ? -EINVAL : rc;
	}
	/* The root has no marker. */
	return *dir_len == 0 ? -EINVAL : replica_path_check(path, *dir_len);
}

int tree_leaf_get(struct replica_tree *tree, const struct tree_node *dir, const char *name,
	struct replica_entry *out)
{
	int rc = replica_index_entry_get(tree->index, dir->id, name, REPLICA_LEAF, out);
	if (rc != -ENOENT)
		return rc < 0 ? rc : 1;
	replica_entry_fini(out);
	out->share = tree->share;
	out->parent = dir->id;
	out->kind = REPLICA_LEAF;
	out->name = strdup(name);
	return out->name != NULL ? 0 : -ENOMEM;
}

int tree_leaf_put(struct replica_tree *tree, struct tree_node *dir, struct replica_entry *leaf,
	const struct replica_vt *known)
{
	CHECK(replica_index_in_transaction(tree->index));
	bool live = tree_live(&leaf->version);
	struct tree_node *same = tree_lookup(tree, dir, leaf->name, strlen(leaf->name));
	if (same != NULL)
		same->shadowed = live;
	if (live || !(replica_vt_leq(&leaf->s, known) || mutant(MUTANT_NO_GHOST)))
		return replica_index_entry_put(tree->index, leaf);
	return leaf->id != 0 ? replica_index_entry_delete(tree->index, leaf->id) : 0; /* [T3] */
}

int tree_leaf_event(struct replica_tree *tree, struct tree_node *dir, struct replica_entry *leaf,
	const struct replica_version *version, const struct replica_ident *ident)
{
	const struct replica_id *me = replica_index_id(tree->index);
	uint64_t now = replica_index_tick(tree->index); /* [T4] */
	if (!tree_live(version))
		replica_vt_fini(&leaf->c);
	else if (!tree_live(&leaf->version))
		replica_vt_single(&leaf->c, me, now);
	replica_vt_single(&leaf->m, me, now);
	leaf->ident = ident != NULL ? *ident : (struct replica_ident){0};
	int rc = 0;
	if (tree_live(version))
		rc = replica_version_copy(&leaf->version, version);
	else
		replica_version_fini(&leaf->version);
	return rc < 0 ? rc : tree_raise(tree, dir, &leaf->m);
}

int tree_leaf_changed(struct replica_tree *tree, struct tree_node *dir, const char *name,
	const struct replica_version *version, const struct replica_ident *ident)
{
	struct replica_entry leaf = {0};
	struct replica_vt known = {0};
	int rc = tree_leaf_get(tree, dir, name, &leaf);
	if (rc < 0 || (!tree_live(version) && !tree_live(&leaf.version)))
		goto out;
	rc = tree_leaf_event(tree, dir, &leaf, version, ident);
	if (rc == 0 && !tree_live(version))
		rc = tree_effective(tree, dir, &known);
	if (rc == 0)
		rc = tree_leaf_put(tree, dir, &leaf, &known);
out:
	replica_entry_fini(&leaf);
	replica_vt_fini(&known);
	return rc < 0 ? rc : 0;
}

int replica_tree_event(struct replica_tree *tree, const char *path,
	const struct replica_version *version, const struct replica_ident *ident)
{
	size_t dir_len;
	const char *name;
	struct tree_node *dir;
	int rc = tree_split_leaf(path, &dir_len, &name);
	if (rc == 0)
		rc = tree_enter(tree);
	if (rc < 0)
		return rc;
	if (!tree_live(version)) {
		bool whole;
		rc = tree_find(tree, path, dir_len, &dir, &whole);
		if (rc < 0 || !whole)
			return rc;
	} else {
		rc = tree_make(tree, path, dir_len, &dir);
		if (rc < 0)
			return rc;
	}
	return tree_leaf_changed(tree, dir, name, version, ident);
}

int replica_tree_leaf(struct replica_tree *tree, const char *path, struct replica_entry *out)
{
	size_t dir_len;
	const char *name;
	struct tree_node *dir;
	bool whole;
	int rc = tree_split_leaf(path, &dir_len, &name);
	if (rc == 0)
		rc = tree_enter(tree);
	if (rc == 0)
		rc = tree_find(tree, path, dir_len, &dir, &whole);
	if (rc < 0)
		return rc;
	return whole ? replica_index_entry_get(tree->index, dir->id, name, REPLICA_LEAF, out)
		     : -ENOENT;
}

int replica_tree_refresh(
	struct replica_tree *tree, const char *path, const struct replica_ident *ident)
{
	CHECK(replica_index_in_transaction(tree->index));
	struct replica_entry leaf = {0};
	int rc = replica_tree_leaf(tree, path, &leaf);
	if (rc == 0 && !tree_live(&leaf.version))
		rc = -ENOENT;
	if (rc == 0) {
		leaf.ident = *ident;
		rc = replica_index_entry_put(tree->index, &leaf);
	}
	replica_entry_fini(&leaf);
	return rc;
}

int replica_tree_dir_mtime(struct replica_tree *tree, const char *path, int64_t mtime_ns)
{
	size_t len = strlen(path);
	struct tree_node *dir;
	int rc = replica_path_check(path, len);
	if (rc == 0)
		rc = tree_enter(tree);
	if (rc == 0)
		rc = tree_make(tree, path, len, &dir);
	if (rc == 0 && dir->mtime_ns != mtime_ns) {
		dir->mtime_ns = mtime_ns;
		tree_dirty(tree, dir);
	}
	return rc;
}

/* ---------------------------------------------------------------- rows */

struct overlay {
	struct replica_tree *tree;
	struct tree_node *dir;
	int (*fn)(void *arg, const struct replica_entry *entry);
	void *arg;
};

static int overlay_row(void *arg, const struct replica_entry *entry)
{
	struct overlay *overlay = arg;
	struct tree_node *node =
		entry->kind == REPLICA_CONTAINER
			? tree_lookup(overlay->tree, overlay->dir, entry->name, strlen(entry->name))
			: NULL;
	if (node == NULL)
		return overlay->fn(overlay->arg, entry);
	struct replica_entry row = *entry;
	row.m = node->m;
	row.s = node->s;
	row.version.mtime_ns = node->mtime_ns;
	return overlay->fn(overlay->arg, &row);
}

int tree_each_row(struct replica_tree *tree, struct tree_node *dir,
	int (*fn)(void *arg, const struct replica_entry *entry), void *arg)
{
	struct overlay overlay = {tree, dir, fn, arg};
	return replica_index_entry_list(tree->index, dir->id, overlay_row, &overlay);
}

int tree_find_dir(struct replica_tree *tree, const char *path, struct tree_node **out, bool *whole)
{
	size_t len = strlen(path);
	int rc = replica_path_check(path, len);
	if (rc == 0)
		rc = tree_enter(tree);
	return rc < 0 ? rc : tree_find(tree, path, len, out, whole);
}

int replica_tree_rows(struct replica_tree *tree, const char *dir,
	int (*fn)(void *arg, const struct replica_entry *entry), void *arg)
{
	struct tree_node *node;
	bool whole;
	int rc = tree_find_dir(tree, dir, &node, &whole);
	return rc < 0 || !whole ? rc : tree_each_row(tree, node, fn, arg);
}

int replica_tree_live(struct replica_tree *tree, const char *path)
{
	struct tree_node *node;
	bool whole;
	if (path[0] != '\0') {
		struct replica_entry leaf = {0};
		int rc = replica_tree_leaf(tree, path, &leaf);
		bool live = rc == 0 && tree_live(&leaf.version);
		replica_entry_fini(&leaf);
		if (live || (rc < 0 && rc != -ENOENT))
			return live ? 1 : rc;
	}
	int rc = tree_find_dir(tree, path, &node, &whole);
	if (rc == -EINVAL && strcmp(path, REPLICA_DIRMARK_NAME) != 0)
		return 0; /* the marker of a directory: a leaf only */
	return rc < 0 || !whole ? rc : replica_index_entry_live_below(tree->index, node->id);
}

int tree_shadowed(struct replica_tree *tree, const char *path, size_t len)
{
	struct tree_node *node = tree->root;
	const char *cursor = path, *name;
	while (cursor < path + len) {
		size_t n = replica_path_next(&cursor, &name);
		struct tree_node *next = NULL;
		int rc = tree_child(tree, node, name, n, &next);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		if (next == NULL || next->shadowed < 0) {
			char text[REPLICA_NAME_MAX + 1];
			memcpy(text, name, n);
			text[n] = '\0';
			struct replica_entry leaf = {0};
			int found = tree_leaf_get(tree, node, text, &leaf);
			bool live = found == 1 && tree_live(&leaf.version);
			replica_entry_fini(&leaf);
			if (found < 0 || live || next == NULL)
				return found < 0 ? found : live;
			next->shadowed = live;
		}
		if (next->shadowed)
			return 1;
		node = next;
	}
	return 0;
}

int replica_tree_count(struct replica_tree *tree, struct replica_counts *out)
{
	int rc = replica_index_entry_count(tree->index, tree->share, out);
	return rc < 0 ? rc
		      : replica_index_conflict_count(tree->index, tree->share, &out->conflicts);
}

/* ---------------------------------------------------------------- whole subtrees */

/* Paths waiting for their turn. Directories nest too deep for recursion on a green thread's stack.
 */
struct paths {
	char **items;
	size_t count, cap;
};

static int paths_add(struct paths *paths, const char *dir, const char *name)
{
	if (paths->count == paths->cap) {
		size_t cap = paths->cap ? paths->cap * 2 : 16;
		char **items = realloc(paths->items, cap * sizeof(*items));
		if (items == NULL)
			return -ENOMEM;
		paths->items = items;
		paths->cap = cap;
	}
	size_t size = strlen(dir) + strlen(name) + 2;
	char *path = malloc(size);
	if (path == NULL)
		return -ENOMEM;
	if (name[0] == '\0')
		strcpy(path, dir);
	else if (replica_path_join(path, size, dir, name) < 0) {
		free(path);
		return -ENAMETOOLONG;
	}
	paths->items[paths->count++] = path;
	return 0;
}

static void paths_fini(struct paths *paths)
{
	for (size_t i = 0; i < paths->count; i++)
		free(paths->items[i]);
	free(paths->items);
}

struct gather {
	const char *dir;
	struct paths *containers, *leaves; /* leaves: names; NULL: not wanted */
	int rc;
};

static int gather_row(void *arg, const struct replica_entry *entry)
{
	struct gather *gather = arg;
	if (entry->kind == REPLICA_CONTAINER)
		return paths_add(gather->containers, gather->dir, entry->name);
	if (gather->leaves != NULL && tree_live(&entry->version))
		return paths_add(gather->leaves, entry->name, "");
	return 0;
}

/* Deletes the leaves of one container, and adds the containers in it to the list. */
static int delete_in(
	struct replica_tree *tree, const char *dir, struct paths *containers, uint64_t *count)
{
	struct paths names = {0};
	struct gather gather = {.dir = dir, .containers = containers, .leaves = &names};
	struct tree_node *node;
	bool whole;
	int rc = tree_find_dir(tree, dir, &node, &whole);
	if (rc == 0 && whole)
		rc = tree_each_row(tree, node, gather_row, &gather);
	for (size_t i = 0; i < names.count && rc == 0; i++, ++*count)
		rc = tree_leaf_changed(tree, node, names.items[i], NULL, NULL);
	paths_fini(&names);
	return rc;
}

int replica_tree_event_delete_all(struct replica_tree *tree, const char *path, uint64_t *count)
{
	*count = 0;
	int rc = replica_path_check(path, strlen(path));
	if (rc == 0 && path[0] != '\0') {
		struct replica_entry leaf = {0};
		rc = replica_tree_leaf(tree, path, &leaf);
		bool live = rc == 0 && tree_live(&leaf.version);
		replica_entry_fini(&leaf);
		rc = live ? replica_tree_event(tree, path, NULL, NULL) : rc == -ENOENT ? 0 : rc;
		*count = live && rc == 0;
	}
	struct paths containers = {0};
	if (rc == 0)
		rc = paths_add(&containers, path, "");
	for (size_t i = 0; i < containers.count && rc == 0; i++)
		rc = delete_in(tree, containers.items[i], &containers, count);
	paths_fini(&containers);
	return rc;
}

struct eviction {
	struct replica_tree *tree;
	struct tree_node *dir;
};

static void evict(void *arg, const char *name)
{
	struct eviction *eviction = arg;
	struct tree_node *node = tree_lookup(eviction->tree, eviction->dir, name, strlen(name));
	if (node != NULL)
		tree_forget(
			eviction->tree, node); /* its row had no children, so it has none either */
}

int tree_reclaim_in(struct replica_tree *tree, struct tree_node *dir)
{
	CHECK(replica_index_in_transaction(tree->index));
	struct eviction eviction = {tree, dir};
	struct replica_vt known = {0};
	int rc = tree_flush(tree, dir);
	if (rc == 0)
		rc = tree_effective(tree, dir, &known);
	if (rc == 0)
		rc = replica_index_entry_reclaim(
			tree->index, dir->id, &known, mutant(MUTANT_NO_GHOST), evict, &eviction);
	replica_vt_fini(&known);
	return rc;
}

int replica_tree_reclaim(struct replica_tree *tree)
{
	struct paths containers = {0};
	struct gather gather = {.containers = &containers};
	struct tree_node *node;
	bool whole;
	int rc = paths_add(&containers, "", "");
	for (size_t i = 0; i < containers.count && rc == 0; i++) {
		gather.dir = containers.items[i];
		rc = tree_find_dir(tree, gather.dir, &node, &whole);
		if (rc == 0 && whole)
			rc = tree_each_row(tree, node, gather_row, &gather);
	}
	/* Backwards: what is in a container goes before it does. */
	for (size_t i = containers.count; i-- > 0 && rc == 0;) {
		rc = tree_find_dir(tree, containers.items[i], &node, &whole);
		if (rc == 0 && whole)
			rc = tree_reclaim_in(tree, node);
	}
	paths_fini(&containers);
	return rc;
}
