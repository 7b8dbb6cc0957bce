/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/tree_internal.h"

/*
 * Invariants
 *   [T1] A container's m bounds every event in its leaves and containers from above.
 *   [T2] What is known at a path is the join of s along it and {me: now} at the root; so a row stores only
 *        what it knows beyond its container, and an empty s says "as much as above".
 *   [T3] A missing row says: absent, m at most the nearest container's, s as the nearest container's. A ghost whose
 *        s adds nothing may be dropped, and so may an empty container.
 *   [T4] now is raised in the same transaction as the event that bears it.
 */

enum {
	FIRST_BUCKETS = 64,
	NODES_MAX = 16384, /* containers kept in memory: about 4 MB */
};

/* ---------------------------------------------------------------- containers in memory */

static size_t bucket_of(const struct replica_tree *tree, int64_t parent, const char *name, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t)parent * 0x9e3779b97f4a7c15u;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 0x100000001b3u;
	hash ^= hash >> 32;
	return hash & (tree->bucket_count - 1);
}

static void node_free(struct tree_node *node)
{
	replica_vt_fini(&node->m);
	replica_vt_fini(&node->s);
	free(node);
}

static void drop_nodes(struct replica_tree *tree)
{
	for (size_t i = 0; i < tree->bucket_count; i++) {
		for (struct tree_node *node = tree->buckets[i], *next; node != NULL; node = next) {
			next = node->next;
			node_free(node);
		}
		tree->buckets[i] = NULL;
	}
	thrum__list_init(&tree->dirty);
	tree->root = NULL;
	tree->count = 0;
}

static int grow(struct replica_tree *tree)
{
	size_t count = tree->bucket_count * 2, old_count = tree->bucket_count;
	struct tree_node **old = tree->buckets, **fresh = calloc(count, sizeof(struct tree_node *));
	if (fresh == NULL)
		return -ENOMEM;
	tree->buckets = fresh;
	tree->bucket_count = count;
	for (size_t i = 0; i < old_count; i++)
		for (struct tree_node *node = old[i], *next; node != NULL; node = next) {
			int64_t parent = node->parent != NULL ? node->parent->id : 0;
			size_t at = bucket_of(tree, parent, node->name, strlen(node->name));
			next = node->next;
			node->next = fresh[at];
			fresh[at] = node;
		}
	free(old);
	return 0;
}

/* Takes a container's row into memory; moves its vectors. */
static int node_add(struct replica_tree *tree, struct tree_node *parent, struct replica_entry *row,
	struct tree_node **out)
{
	size_t len = strlen(row->name);
	if (tree->count >= tree->bucket_count && grow(tree) < 0)
		return -ENOMEM;
	struct tree_node *node = calloc(1, sizeof(*node) + len + 1);
	if (node == NULL)
		return -ENOMEM;
	node->parent = parent;
	node->id = row->id;
	node->mtime_ns = row->version.mtime_ns;
	node->m = row->m;
	node->s = row->s;
	row->m = row->s = (struct replica_vt){0};
	node->shadowed = parent == NULL ? 0 : -1;
	memcpy(node->name, row->name, len + 1);
	size_t at = bucket_of(tree, row->parent, row->name, len);
	node->next = tree->buckets[at];
	tree->buckets[at] = node;
	tree->count++;
	*out = node;
	return 0;
}

static struct tree_node *node_lookup(
	struct replica_tree *tree, const struct tree_node *parent, const char *name, size_t len)
{
	struct tree_node *node = tree->buckets[bucket_of(tree, parent->id, name, len)];
	while (node != NULL && (node->parent != parent || strncmp(node->name, name, len) != 0 ||
				       node->name[len] != '\0'))
		node = node->next;
	return node;
}

static void node_forget(struct replica_tree *tree, struct tree_node *node)
{
	struct tree_node **at =
		&tree->buckets[bucket_of(tree, node->parent->id, node->name, strlen(node->name))];
	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	thrum__list_remove(&node->dirty);
	tree->count--;
	node_free(node);
}

void tree_dirty(struct replica_tree *tree, struct tree_node *node)
{
	CHECK(replica_index_in_transaction(tree->index));
	if (!thrum__list_linked(&node->dirty))
		thrum__list_push_back(&tree->dirty, &node->dirty);
}

/* Writes a container's row. */
static int node_write(struct replica_tree *tree, struct tree_node *node)
{
	struct replica_entry row = {.id = node->id, .kind = REPLICA_CONTAINER, .m = node->m, .s = node->s,
		.version = {.mtime_ns = node->mtime_ns}};
	int rc = replica_index_entry_put(tree->index, &row);
	if (rc == 0)
		thrum__list_remove(&node->dirty);
	return rc;
}

/* Writes what is dirty: everything, or only what is directly in `parent`. */
static int flush(struct replica_tree *tree, const struct tree_node *parent)
{
	int rc = 0;
	thrum__list_foreach_safe(it, &tree->dirty)
	{
		struct tree_node *node = thrum__container_of(it, struct tree_node, dirty);
		if (rc == 0 && (parent == NULL || node->parent == parent))
			rc = node_write(tree, node);
	}
	return rc;
}

static int on_flush(struct replica_index_hook *hook)
{
	return flush(thrum__container_of(hook, struct replica_tree, hook), NULL);
}

static void on_drop(struct replica_index_hook *hook)
{
	struct replica_tree *tree = thrum__container_of(hook, struct replica_tree, hook);
	drop_nodes(tree);
	tree->drops++;
}

int tree_enter(struct replica_tree *tree)
{
	if (tree->count > NODES_MAX) {
		int rc = flush(tree, NULL);
		if (rc < 0)
			return rc;
		drop_nodes(tree);
	}
	if (tree->root != NULL)
		return 0;
	struct replica_entry row = {0};
	int rc = replica_index_entry_root(tree->index, tree->share, &row);
	if (rc == 0)
		rc = node_add(tree, NULL, &row, &tree->root);
	replica_entry_fini(&row);
	return rc;
}

int tree_child(struct replica_tree *tree, struct tree_node *parent, const char *name, size_t len,
	struct tree_node **out)
{
	*out = node_lookup(tree, parent, name, len);
	if (*out != NULL)
		return 0;
	char text[REPLICA_NAME_MAX + 1];
	memcpy(text, name, len);
	text[len] = '\0';
	struct replica_entry row = {0};
	int rc = replica_index_entry_get(tree->index, parent->id, text, REPLICA_CONTAINER, &row);
	if (rc == 0)
		rc = node_add(tree, parent, &row, out);
	replica_entry_fini(&row);
	return rc;
}

int tree_find(struct replica_tree *tree, const char *path, size_t len, struct tree_node **out,
	bool *whole)
{
	struct tree_node *node = tree->root;
	const char *cursor = path, *name;
	*whole = true;
	while (cursor < path + len) {
		size_t n = replica_path_next(&cursor, &name);
		struct tree_node *next;
		int rc = tree_child(tree, node, name, n, &next);
		if (rc == -ENOENT) {
			*whole = false;
			break;
		}
		if (rc < 0)
			return rc;
		node = next;
	}
	*out = node;
	return 0;
}

static int create_child(struct replica_tree *tree, struct tree_node *parent, const char *name,
	size_t len, struct tree_node **out)
{
	CHECK(replica_index_in_transaction(tree->index));
	struct replica_entry row = {
		.share = tree->share, .parent = parent->id, .kind = REPLICA_CONTAINER};
	int rc = 0;
	if ((row.name = strndup(name, len)) == NULL)
		rc = -ENOMEM;
	if (rc == 0 && !mutant(MUTANT_EMPTY_GHOST_M))
		rc = replica_vt_copy(&row.m, &parent->m); /* [T1] there may have been events below */
	if (rc == 0)
		rc = replica_index_entry_put(tree->index, &row);
	if (rc == 0)
		rc = node_add(tree, parent, &row, out);
	replica_entry_fini(&row);
	return rc;
}

int tree_make(struct replica_tree *tree, const char *path, size_t len, struct tree_node **out)
{
	struct tree_node *node = tree->root;
	const char *cursor = path, *name;
	while (cursor < path + len) {
		size_t n = replica_path_next(&cursor, &name);
		struct tree_node *next;
		int rc = tree_child(tree, node, name, n, &next);
		if (rc == -ENOENT)
			rc = create_child(tree, node, name, n, &next);
		if (rc < 0)
			return rc;
		node = next;
	}
	*out = node;
	return 0;
}

int tree_effective(struct replica_tree *tree, const struct tree_node *node, struct replica_vt *out)
{
	int rc = replica_vt_copy(out, &node->s);
	for (node = node->parent; node != NULL && rc == 0; node = node->parent)
		rc = replica_vt_join(out, &node->s);
	return rc < 0 ? rc
		      : replica_vt_raise(out, replica_index_id(tree->index),
				replica_index_now(tree->index));
}

int tree_raise(struct replica_tree *tree, struct tree_node *node, const struct replica_vt *m)
{
	for (; node != NULL; node = node->parent) {
		if (replica_vt_leq(m, &node->m))
			continue;
		tree_dirty(tree, node);
		int rc = replica_vt_join(&node->m, m);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int tree_learn(struct replica_tree *tree, struct tree_node *node, const struct replica_vt *s)
{
	struct replica_vt known = {0};
	int rc = tree_effective(tree, node, &known);
	if (rc == 0 && mutant(MUTANT_ASSIGN_S)) {
		tree_dirty(tree, node);
		rc = replica_vt_copy(&node->s, s);
	} else if (rc == 0 && !replica_vt_leq(s, &known)) {
		tree_dirty(tree, node);
		rc = replica_vt_join(&node->s, s);
	}
	replica_vt_fini(&known);
	return rc;
}

/* ---------------------------------------------------------------- open and close */

int replica_tree_open(struct replica_tree **out, struct replica_index *index, int64_t share)
{
	*out = NULL;
	struct replica_tree *tree = calloc(1, sizeof(*tree));
	if (tree == NULL)
		return -ENOMEM;
	tree->index = index;
	tree->share = share;
	tree->hook.flush = on_flush;
	tree->hook.drop = on_drop;
	tree->bucket_count = FIRST_BUCKETS;
	tree->buckets = calloc(FIRST_BUCKETS, sizeof(struct tree_node *));
	replica_index_hook_add(index, &tree->hook);
	int rc = tree->buckets != NULL ? tree_enter(tree) : -ENOMEM;
	if (rc < 0) {
		replica_tree_close(tree);
		return rc;
	}
	*out = tree;
	return 0;
}

void replica_tree_close(struct replica_tree *tree)
{
	if (tree == NULL)
		return;
	/* What is dirty belongs to a transaction that is still open, and can no longer be committed whole. */
	CHECK(thrum__list_empty(&tree->dirty));
	replica_index_hook_remove(&tree->hook);
	if (tree->buckets != NULL)
		drop_nodes(tree);
	free(tree->buckets);
	free(tree);
}

struct replica_index *replica_tree_index(const struct replica_tree *tree)
{
	return tree->index;
}

int64_t replica_tree_share(const struct replica_tree *tree)
{
	return tree->share;
}

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
	struct tree_node *same = node_lookup(tree, dir, leaf->name, strlen(leaf->name));
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

/* One leaf's event, its container known. */
static int leaf_changed(struct replica_tree *tree, struct tree_node *dir, const char *name,
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
	return leaf_changed(tree, dir, name, version, ident);
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
	struct tree_node *node = entry->kind == REPLICA_CONTAINER
		? node_lookup(overlay->tree, overlay->dir, entry->name, strlen(entry->name))
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

/* tree_find, for a directory's path from outside. */
static int find_dir(
	struct replica_tree *tree, const char *path, struct tree_node **out, bool *whole)
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
	int rc = find_dir(tree, dir, &node, &whole);
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
	int rc = find_dir(tree, path, &node, &whole);
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

/* Paths waiting for their turn. Directories nest too deep for recursion on a green thread's stack. */
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
	int rc = find_dir(tree, dir, &node, &whole);
	if (rc == 0 && whole)
		rc = tree_each_row(tree, node, gather_row, &gather);
	for (size_t i = 0; i < names.count && rc == 0; i++, ++*count)
		rc = leaf_changed(tree, node, names.items[i], NULL, NULL);
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
	struct tree_node *node =
		node_lookup(eviction->tree, eviction->dir, name, strlen(name));
	if (node != NULL)
		node_forget(eviction->tree, node); /* its row had no children, so it has none either */
}

int tree_reclaim_in(struct replica_tree *tree, struct tree_node *dir)
{
	CHECK(replica_index_in_transaction(tree->index));
	struct eviction eviction = {tree, dir};
	struct replica_vt known = {0};
	int rc = flush(tree, dir);
	if (rc == 0)
		rc = tree_effective(tree, dir, &known);
	if (rc == 0)
		rc = replica_index_entry_reclaim(tree->index, dir->id, &known,
			mutant(MUTANT_NO_GHOST), evict, &eviction);
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
		rc = find_dir(tree, gather.dir, &node, &whole);
		if (rc == 0 && whole)
			rc = tree_each_row(tree, node, gather_row, &gather);
	}
	/* Backwards: what is in a container goes before it does. */
	for (size_t i = containers.count; i-- > 0 && rc == 0;) {
		rc = find_dir(tree, containers.items[i], &node, &whole);
		if (rc == 0 && whole)
			rc = tree_reclaim_in(tree, node);
	}
	paths_fini(&containers);
	return rc;
}

/* ---------------------------------------------------------------- listings */

static void child_fini(struct replica_child *child)
{
	free(child->name);
	replica_version_fini(&child->version);
	replica_vt_fini(&child->m);
	replica_vt_fini(&child->c);
	replica_vt_fini(&child->s);
}

void replica_listing_fini(struct replica_listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		child_fini(&listing->children[i]);
	free(listing->children);
	free(listing->only);
	replica_vt_fini(&listing->m);
	replica_vt_fini(&listing->s);
	*listing = (struct replica_listing){0};
}

struct list_job {
	struct replica_listing *out;
	const char *only;
	size_t cap;
};

static int list_row(void *arg, const struct replica_entry *entry)
{
	struct list_job *job = arg;
	struct replica_listing *out = job->out;
	if (job->only != NULL && strcmp(entry->name, job->only) != 0)
		return 0;
	if (out->count == job->cap) {
		size_t cap = job->cap ? job->cap * 2 : 16;
		struct replica_child *children = realloc(out->children, cap * sizeof(*children));
		if (children == NULL)
			return -ENOMEM;
		out->children = children;
		job->cap = cap;
	}
	struct replica_child *child = &out->children[out->count++];
	*child = (struct replica_child){.kind = entry->kind, .name = strdup(entry->name)};
	int rc = child->name != NULL ? 0 : -ENOMEM;
	if (rc == 0 && entry->kind == REPLICA_LEAF)
		rc = replica_version_copy(&child->version, &entry->version);
	if (rc == 0)
		rc = replica_vt_copy(&child->m, &entry->m);
	if (rc == 0)
		rc = replica_vt_copy(&child->s, &entry->s);
	if (rc == 0)
		rc = replica_vt_copy(&child->c, &entry->c);
	return rc;
}

/* The rows of one name. */
static int list_only(struct replica_tree *tree, struct tree_node *dir, struct list_job *job)
{
	struct replica_entry row = {0};
	struct tree_node *container;
	size_t len = strlen(job->only);
	int rc = len <= REPLICA_NAME_MAX ? tree_child(tree, dir, job->only, len, &container) : -ENOENT;
	if (rc == 0) {
		row = (struct replica_entry){.kind = REPLICA_CONTAINER, .name = container->name,
			.m = container->m, .s = container->s};
		rc = list_row(job, &row); /* borrowed: nothing to free */
		row = (struct replica_entry){0};
	}
	if (rc == 0 || rc == -ENOENT)
		rc = replica_index_entry_get(tree->index, dir->id, job->only, REPLICA_LEAF, &row);
	if (rc == 0)
		rc = list_row(job, &row);
	replica_entry_fini(&row);
	return rc == -ENOENT ? 0 : rc;
}

int replica_tree_list(struct replica_tree *tree, const char *dir, const char *only,
	struct replica_listing *out)
{
	struct tree_node *node;
	struct list_job job = {.out = out, .only = only};
	*out = (struct replica_listing){0};
	int rc = find_dir(tree, dir, &node, &out->exists);
	if (rc == 0 && only != NULL && (out->only = strdup(only)) == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = replica_vt_copy(&out->m, &node->m);
	if (rc == 0)
		rc = tree_effective(tree, node, &out->s);
	if (rc == 0 && out->exists) {
		out->mtime_ns = node->mtime_ns;
		rc = only != NULL ? list_only(tree, node, &job)
				  : tree_each_row(tree, node, list_row, &job);
	}
	if (rc < 0)
		replica_listing_fini(out);
	return rc;
}

int replica_listing_absent(const struct replica_listing *parent, struct replica_listing *out)
{
	*out = (struct replica_listing){0};
	int rc = replica_vt_copy(&out->m, &parent->m);
	if (rc == 0)
		rc = replica_vt_copy(&out->s, &parent->s);
	if (rc < 0)
		replica_listing_fini(out);
	return rc;
}

static int child_check(const struct replica_child *child, bool root)
{
	static const struct replica_version none;
	size_t len = child->name != NULL ? strlen(child->name) : 0;
	bool marker = len == 1 && child->name[0] == '.';
	if (marker ? root || child->kind != REPLICA_LEAF : !replica_name_valid(child->name, len))
		return THRUM_EFORMAT;
	if (root && strcmp(child->name, REPLICA_RESERVED) == 0)
		return THRUM_EFORMAT;
	if (child->kind == REPLICA_CONTAINER)
		return replica_version_equal(&child->version, &none) ? 0 : THRUM_EFORMAT;
	if (child->kind != REPLICA_LEAF)
		return THRUM_EFORMAT;
	enum replica_state state = child->version.state;
	if (state != REPLICA_ABSENT && state != REPLICA_IGNORED) {
		if ((state == REPLICA_DIRMARK) != marker)
			return THRUM_EFORMAT;
		if (child->m.count != 1 || child->c.count == 0)
			return THRUM_EFORMAT;
	}
	return replica_version_check(&child->version);
}

/* The order of rows: by name bytes, the container first. */
static int child_cmp(const struct replica_child *a, const struct replica_child *b)
{
	int cmp = strcmp(a->name, b->name);
	return cmp != 0 ? cmp : (int)a->kind - (int)b->kind;
}

int replica_listing_check(const struct replica_listing *listing, bool root)
{
	if (!listing->exists && listing->count > 0)
		return THRUM_EFORMAT;
	for (size_t i = 0; i < listing->count; i++) {
		const struct replica_child *child = &listing->children[i];
		if (child_check(child, root) < 0 || (i > 0 && child_cmp(child - 1, child) >= 0))
			return THRUM_EFORMAT;
		if (listing->only != NULL && strcmp(child->name, listing->only) != 0)
			return THRUM_EFORMAT;
	}
	return 0;
}

/* ---------------------------------------------------------------- restored? */

int replica_tree_restored(struct replica_tree *tree, const struct replica_vt *known)
{
	if (!replica_index_contradicted(
		    tree->index, replica_vt_get(known, replica_index_id(tree->index))))
		return 0;
	CHECK(replica_index_in_transaction(tree->index));
	int rc = replica_index_mint(tree->index);
	return rc < 0 ? rc : 1;
}
