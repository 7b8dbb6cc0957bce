/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/tree_internal.h"

/*
 * Invariants
 *   [T1] A container's m bounds every event in its leaves and containers from above.
 *   [T2] What is known at a path is the join of s along it and {me: now} at the root; so a row
 * stores only what it knows beyond its container, and an empty s says "as much as above". [T3] A
 * missing row says: absent, m at most the nearest container's, s as the nearest container's. A
 * ghost whose s adds nothing may be dropped, and so may an empty container. [T4] now is raised in
 * the same transaction as the event that bears it.
 */

enum {
	FIRST_BUCKETS = 64,
	NODES_MAX = 16384, /* containers kept in memory: about 4 MB */
};

/* ---------------------------------------------------------------- containers in memory */

static size_t bucket_of(
	const struct replica_tree *tree, int64_t parent, const char *name, size_t len)
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

struct tree_node *tree_lookup(
	struct replica_tree *tree, const struct tree_node *parent, const char *name, size_t len)
{
	struct tree_node *node = tree->buckets[bucket_of(tree, parent->id, name, len)];
	while (node != NULL && (node->parent != parent || strncmp(node->name, name, len) != 0 ||
				       node->name[len] != '\0'))
		node = node->next;
	return node;
}

void tree_forget(struct replica_tree *tree, struct tree_node *node)
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
	struct replica_entry row = {.id = node->id,
		.kind = REPLICA_CONTAINER,
		.m = node->m,
		.s = node->s,
		.version = {.mtime_ns = node->mtime_ns}};
	int rc = replica_index_entry_put(tree->index, &row);
	if (rc == 0)
		thrum__list_remove(&node->dirty);
	return rc;
}

int tree_flush(struct replica_tree *tree, const struct tree_node *parent)
{
	int rc = 0;
	thrum__list_foreach_safe (it, &tree->dirty) {
		struct tree_node *node = thrum__container_of(it, struct tree_node, dirty);
		if (rc == 0 && (parent == NULL || node->parent == parent))
			rc = node_write(tree, node);
	}
	return rc;
}

static int on_flush(struct replica_index_hook *hook)
{
	return tree_flush(thrum__container_of(hook, struct replica_tree, hook), NULL);
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
		int rc = tree_flush(tree, NULL);
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
	*out = tree_lookup(tree, parent, name, len);
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
		rc = replica_vt_copy(
			&row.m, &parent->m); /* [T1] there may have been events below */
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
		      : replica_vt_raise(
				out, replica_index_id(tree->index), replica_index_now(tree->index));
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
	/* What is dirty belongs to a transaction that is still open, and can no longer be committed
	 * whole. */
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
