/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REPLICA_TREE_INTERNAL_H
#define THRUM_REPLICA_TREE_INTERNAL_H

#include "replica/index_internal.h"
#include "replica/tree.h"

/*
 * Shared by tree.c (containers in memory), tree_leaf.c (leaves, rows, subtrees), tree_list.c
 * (listings) and visit*.c (pulls, resolutions).
 *
 * A container in memory. Its m and s are the true ones within a transaction; rows are written at
 * the transaction's end, since every event below changes the m of all containers above. Pointers
 * hold until the next tree_enter.
 */
struct tree_node {
	struct tree_node *next; /* in its bucket */
	struct tree_node *parent;
	struct thrum__list dirty; /* linked: to be written */
	int64_t id;
	int64_t mtime_ns;
	struct replica_vt m, s;
	int8_t shadowed; /* a live leaf has the same name: 1, 0, -1 not known */
	char name[];
};

struct replica_tree {
	struct replica_index *index;
	int64_t share;
	struct replica_index_hook hook;
	struct tree_node *root;
	struct tree_node **buckets;
	size_t bucket_count, count;
	struct thrum__list dirty;
	uint64_t drops;   /* rollbacks so far */
	const void *pull; /* state of the first visit of the pull under way, or NULL */
};

/*
 * Faults that the property tests plant, to prove that they would be noticed. Outside of that test's
 * own build no fault can be planted.
 */
enum tree_mutant {
	MUTANT_NONE,
	MUTANT_ASSIGN_S,            /* a completion replaces s, and does not join it */
	MUTANT_PARENT_S_ON_PARTIAL, /* a directory learns though a child is incomplete */
	MUTANT_NO_GHOST,            /* deletions are forgotten at once */
	MUTANT_NO_RECREATE,   /* the survivor of a delete/update conflict stays the same file */
	MUTANT_PARTIAL_C,     /* a partly known creation is taken as unknown */
	MUTANT_EMPTY_GHOST_M, /* a materialised container or ghost starts with an empty m */
	MUTANT_COUNT,
};

#ifdef REPLICA_TREE_MUTANTS
extern enum tree_mutant replica_tree_mutant;
static inline bool mutant(enum tree_mutant which)
{
	return replica_tree_mutant == which;
}
#else
static inline bool mutant(enum tree_mutant which)
{
	(void)which;
	return false;
}
#endif

/* A container in memory, or NULL; it may still be in the index. */
struct tree_node *tree_lookup(
	struct replica_tree *tree, const struct tree_node *parent, const char *name, size_t len);

/* Drops a container whose row is gone, and that has none in it, from memory. */
void tree_forget(struct replica_tree *tree, struct tree_node *node);

/* Writes what is dirty: everything (parent NULL), or only what is directly in `parent`. */
int tree_flush(struct replica_tree *tree, const struct tree_node *parent);

/* Begins an operation: drops containers when there are too many in memory. */
int tree_enter(struct replica_tree *tree);

/* The deepest known container on the way to path[0..len); *whole: it is that container itself. */
int tree_find(struct replica_tree *tree, const char *path, size_t len, struct tree_node **out,
	bool *whole);

/* tree_enter and tree_find, for a directory's path from outside. */
int tree_find_dir(struct replica_tree *tree, const char *path, struct tree_node **out, bool *whole);

/* The container path[0..len), created as needed: a new one inherits m from the nearest above. */
int tree_make(struct replica_tree *tree, const char *path, size_t len, struct tree_node **out);

/* A container in this one: 0, or -ENOENT. */
int tree_child(struct replica_tree *tree, struct tree_node *parent, const char *name, size_t len,
	struct tree_node **out);

/* out := what is known at the container: s joined along the path, and our own clock. */
int tree_effective(struct replica_tree *tree, const struct tree_node *node, struct replica_vt *out);

/* Joins m into the container and all above it. */
int tree_raise(struct replica_tree *tree, struct tree_node *node, const struct replica_vt *m);

/* Joins s into the container, if it is not known there yet. */
int tree_learn(struct replica_tree *tree, struct tree_node *node, const struct replica_vt *s);

void tree_dirty(struct replica_tree *tree, struct tree_node *node);

/* Splits the path of a leaf: its container's length and its name. 0, -EINVAL, -ENAMETOOLONG,
 * -EPERM. */
int tree_split_leaf(const char *path, size_t *dir_len, const char **name);

/* Reads a leaf's row: 1, or 0 if there is none (then *out is empty but for name, parent, share,
 * kind). */
int tree_leaf_get(struct replica_tree *tree, const struct tree_node *dir, const char *name,
	struct replica_entry *out);

/*
 * Stores a leaf; or drops its row, if it is absent and says no more than the container (whose
 * effective s is `known`; not looked at for a live leaf) does.
 */
int tree_leaf_put(struct replica_tree *tree, struct tree_node *dir, struct replica_entry *leaf,
	const struct replica_vt *known);

/* Stamps the leaf with a new event of ours, a creation if it was not live, and raises m above. Not
 * stored yet. */
int tree_leaf_event(struct replica_tree *tree, struct tree_node *dir, struct replica_entry *leaf,
	const struct replica_version *version, const struct replica_ident *ident);

/* Records one leaf's event, its container known. */
int tree_leaf_changed(struct replica_tree *tree, struct tree_node *dir, const char *name,
	const struct replica_version *version, const struct replica_ident *ident);

/* Calls fn for each row of the container, with what is in memory laid over it. */
int tree_each_row(struct replica_tree *tree, struct tree_node *dir,
	int (*fn)(void *arg, const struct replica_entry *entry), void *arg);

/* 1 if dir, or one above it, has the name of a live leaf: a file stands in a directory's place. */
int tree_shadowed(struct replica_tree *tree, const char *path, size_t len);

/* Drops the ghosts, empty containers and residues in the container. */
int tree_reclaim_in(struct replica_tree *tree, struct tree_node *dir);

static inline bool tree_live(const struct replica_version *version)
{
	return version != NULL && version->state != REPLICA_ABSENT;
}

#endif
