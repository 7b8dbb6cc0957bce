/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/visit_internal.h"

struct conflict_copy {
	struct replica_visit_state state; /* as if their side were being pulled */
	struct replica_child theirs;
	struct replica_task task;
	enum replica_verdict verdict;
};

struct gathered {
	struct replica_tree *tree;
	struct conflict_copy *items;
	size_t count, cap;
};

static void gathered_fini(struct gathered *all)
{
	for (size_t i = 0; i < all->count; i++) {
		struct conflict_copy *copy = &all->items[i];
		replica_listing_fini(&copy->state.theirs);
		replica_version_fini(&copy->theirs.version);
		replica_vt_fini(&copy->theirs.m);
		replica_vt_fini(&copy->theirs.c);
		replica_entry_fini(&copy->task.mine);
		free(copy->task.path);
	}
	free(all->items);
}

static int gather(void *arg, const struct replica_conflict *conflict)
{
	struct gathered *all = arg;
	if (all->count == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 16;
		struct conflict_copy *items = realloc(all->items, cap * sizeof(*items));
		if (items == NULL)
			return -ENOMEM;
		all->items = items;
		all->cap = cap;
	}
	struct conflict_copy *copy = &all->items[all->count++];
	*copy = (struct conflict_copy){.verdict = conflict->verdict,
		.state = {.tree = all->tree,
			.peer = conflict->peer,
			.policy = REPLICA_POLICY_MINE,
			.when_us = thrum__wall_us()},
		.theirs = {.kind = REPLICA_LEAF},
		.task = {.kind = REPLICA_LEAF}};
	copy->task.path = strdup(conflict->path);
	int rc = copy->task.path != NULL ? 0 : -ENOMEM;
	if (rc == 0)
		rc = replica_version_copy(&copy->theirs.version, &conflict->theirs);
	if (rc == 0)
		rc = replica_vt_copy(&copy->theirs.m, &conflict->m);
	if (rc == 0)
		rc = replica_vt_copy(&copy->theirs.c, &conflict->c);
	if (rc == 0)
		rc = replica_vt_copy(&copy->state.theirs.s, &conflict->s);
	return rc;
}

/* Keeps our side. 0: done; 1: there is no conflict any more, but something to pull. */
static int keep_mine(struct replica_tree *tree, struct conflict_copy *copy)
{
	struct replica_task *task = &copy->task;
	struct replica_vt known = {0};
	struct tree_node *dir;
	task->theirs = &copy->theirs;
	int rc = tree_split_leaf(task->path, &copy->state.dir_len, &task->name);
	if (rc == 0)
		rc = tree_enter(tree);
	if (rc == 0)
		rc = tree_make(tree, task->path, copy->state.dir_len, &dir);
	if (rc == 0)
		rc = tree_leaf_get(tree, dir, task->name, &task->mine);
	if (rc >= 0)
		rc = tree_effective(tree, dir, &known);
	if (rc == 0)
		rc = visit_judge(&copy->state, task, &known);
	replica_vt_fini(&known);
	if (rc < 0)
		return rc;
	/* Their file where my directory is, or the other way round: to keep mine is to delete
	 * theirs. */
	bool theirs_blocked = copy->verdict == REPLICA_VERDICT_CONFLICT_TYPE &&
			      task->action == REPLICA_DO_INSTALL && !tree_live(&task->mine.version);
	if (theirs_blocked)
		visit_set_verdict(task, REPLICA_VERDICT_KEEP_DELETED);
	if (task->action != REPLICA_DO_NONE)
		return 1;
	rc = visit_conclude(&copy->state, dir, task, &task->mine, NULL, NULL);
	return rc < 0 ? rc
		      : replica_index_conflict_remove(
				tree->index, tree->share, task->path, copy->state.peer);
}

int replica_tree_resolve(
	struct replica_tree *tree, const char *path, enum replica_policy how, uint64_t *count)
{
	struct gathered all = {.tree = tree};
	bool pull = false;
	*count = 0;
	if (how != REPLICA_POLICY_MINE && how != REPLICA_POLICY_THEIRS)
		return -EINVAL;
	CHECK(replica_index_in_transaction(tree->index));
	int rc = replica_index_conflicts(tree->index, tree->share, path, gather, &all);
	if (rc == 0 && all.count == 0)
		rc = -ENOENT;
	for (size_t i = 0; i < all.count && rc >= 0; i++, ++*count) {
		struct conflict_copy *copy = &all.items[i];
		rc = how == REPLICA_POLICY_MINE ? keep_mine(tree, copy) : 1;
		if (rc == 1)
			rc = replica_index_conflict_want(
				tree->index, tree->share, copy->task.path, copy->state.peer, how);
		else
			continue;
		pull = true;
	}
	gathered_fini(&all);
	return rc < 0 ? rc : pull;
}
