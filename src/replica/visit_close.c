/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/visit_internal.h"

/* A conflict about to be recorded, and what the record has of it. */
struct report {
	struct replica_conflict conflict;
	bool known; /* nothing to write */
};

static int find_conflict(void *arg, const struct replica_conflict *old)
{
	struct report *report = arg;
	struct replica_conflict *now = &report->conflict;
	if (old->peer != now->peer || strcmp(old->path, now->path) != 0)
		return 0;
	now->since_us = old->since_us;
	if (old->verdict != now->verdict || !replica_vt_equal(&old->m, &now->m))
		return 0;
	/* Their side is unchanged: what a person wants of it still holds. */
	now->wanted = old->wanted;
	report->known =
		replica_version_equal(&old->mine, &now->mine) && replica_vt_equal(&old->s, &now->s);
	return 0;
}

static int record_conflict(struct replica_visit_state *state, struct replica_task *task)
{
	struct replica_tree *tree = state->tree;
	const struct replica_child *child = task->theirs;
	/* Versions and vectors are borrowed, except for s. */
	struct report report = {.conflict = {.share = tree->share,
					.path = task->path,
					.verdict = task->verdict,
					.peer = state->peer,
					.mine = task->mine.version,
					.since_us = state->when_us}};
	report.conflict.m = child != NULL ? child->m : state->theirs.m;
	if (child != NULL) {
		report.conflict.theirs = child->version;
		report.conflict.c = child->c;
	}
	int rc = visit_their_s(state, child, &report.conflict.s);
	if (rc == 0 && task->contested_)
		rc = replica_index_conflicts(
			tree->index, tree->share, task->path, find_conflict, &report);
	if (rc == 0 && !report.known) {
		rc = replica_index_conflict_put(tree->index, &report.conflict);
		if (rc == 0)
			rc = visit_note(state, task->path, task->verdict);
	}
	replica_vt_fini(&report.conflict.s);
	return rc;
}

/* True for verdicts that only join knowledge, which a complete directory does for all. */
static bool passive(enum replica_verdict verdict)
{
	return verdict == REPLICA_VERDICT_SKIP || verdict == REPLICA_VERDICT_BOTH_ABSENT ||
	       verdict == REPLICA_VERDICT_INDEPENDENT;
}

/* Finishes a leaf that needed no disk, as it is now; -ve, or 0 with complete_ set if it is. */
static int close_active(
	struct replica_visit *visit, struct tree_node *dir, struct replica_task *task)
{
	struct replica_visit_state *state = visit->state_;
	if (task->action == REPLICA_DO_INSTALL || task->action == REPLICA_DO_DELETE ||
		task->action == REPLICA_DO_MERGE)
		return 0; /* was to be committed, and was not */
	int rc = visit_redecide(visit, task);
	if (rc < 0)
		return rc;
	if (task->action == REPLICA_DO_CONFLICT)
		return record_conflict(state, task);
	if (task->action != REPLICA_DO_NONE)
		return 0;
	if (task->mine.id == 0) {
		rc = tree_leaf_get(state->tree, dir, task->name, &task->mine);
		if (rc < 0)
			return rc;
	}
	return visit_conclude(state, dir, task, &task->mine, NULL, NULL);
}

/* A passive leaf: writes only what the directory's own s will not say. */
static int close_passive(struct replica_visit_state *state, struct tree_node *dir,
	struct replica_task *task, bool complete)
{
	const struct replica_child *child = task->theirs;
	bool both = visit_same_event(child, &task->mine);
	bool covered = complete && (child == NULL || replica_vt_empty(&child->s));
	task->complete_ = true;
	if (covered && !task->contested_ && !(both && !replica_vt_leq(&child->c, &task->mine.c)))
		return 0;
	struct replica_entry now = {0};
	int rc = tree_leaf_get(state->tree, dir, task->name, &now);
	if (rc >= 0 && !visit_same_leaf(&now, &task->mine))
		/* A local event came after the decision: what is known counts, what was there no
		 * more. */
		visit_set_verdict(task, REPLICA_VERDICT_INDEPENDENT);
	if (rc >= 0)
		rc = visit_conclude(state, dir, task, &now, NULL, NULL);
	replica_entry_fini(&now);
	return rc;
}

/* A container that was pruned: it learns what they know, unless its directory already does. */
static int close_pruned(struct replica_visit_state *state, struct tree_node *dir,
	struct replica_task *task, bool complete)
{
	if (complete && (task->theirs == NULL || replica_vt_empty(&task->theirs->s)))
		return 0;
	struct replica_vt s = {0}, known = {0};
	struct tree_node *node = NULL;
	size_t len = strlen(task->path);
	bool whole;
	int rc = visit_their_s(state, task->theirs, &s);
	if (rc == 0)
		rc = tree_find(state->tree, task->path, len, &node, &whole);
	if (rc == 0)
		rc = tree_effective(state->tree, node, &known);
	if (rc == 0 && !replica_vt_leq(&s, &known)) {
		rc = tree_make(state->tree, task->path, len, &node);
		if (rc == 0)
			rc = tree_learn(state->tree, node, &s);
	}
	replica_vt_fini(&s);
	replica_vt_fini(&known);
	return rc;
}

/* Everything below a directory is complete: so is what was in conflict there. */
static int forget_conflicts(struct replica_visit_state *state, const char *path)
{
	struct replica_tree *tree = state->tree;
	return replica_index_conflict_clear(tree->index, tree->share, path, state->peer);
}

/* A visit that had nothing to do. */
static int close_unneeded(struct replica_visit *visit)
{
	struct replica_visit_state *state = visit->state_;
	struct replica_task all = {.path = visit->path};
	int rc = close_pruned(state, state->tree->root, &all, false);
	if (rc == 0)
		rc = forget_conflicts(state, visit->path);
	return rc < 0 ? rc : 1;
}

/* Everything but the passive tasks; *complete: whether all of it is. */
static int close_tasks(struct replica_visit *visit, struct tree_node *dir, bool *complete)
{
	int rc = 0;
	for (size_t i = 0; i < visit->count && rc == 0; i++) {
		struct replica_task *task = &visit->tasks[i];
		if (task->kind == REPLICA_CONTAINER) {
			*complete &= task->pruned || task->complete_;
			continue;
		}
		if (!task->committed_ && !task->failed_ && !passive(task->verdict))
			rc = close_active(visit, dir, task);
		*complete &= task->complete_ || (passive(task->verdict) && !task->failed_);
	}
	return rc;
}

static int close_rest(struct replica_visit *visit, struct tree_node *dir, bool complete)
{
	int rc = 0;
	for (size_t i = 0; i < visit->count && rc == 0; i++) {
		struct replica_task *task = &visit->tasks[i];
		if (task->kind == REPLICA_CONTAINER && task->pruned) {
			rc = close_pruned(visit->state_, dir, task, complete);
			if (rc == 0 && !complete)
				rc = forget_conflicts(visit->state_, task->path);
		} else if (task->kind == REPLICA_LEAF && !task->committed_ && !task->failed_ &&
			   passive(task->verdict))
			rc = close_passive(visit->state_, dir, task, complete);
	}
	return rc;
}

int replica_visit_close(struct replica_visit *visit)
{
	struct replica_visit_state *state = visit->state_;
	struct replica_tree *tree = state->tree;
	if (state->closed)
		return -EALREADY;
	state->closed = true;
	int rc = tree_enter(tree);
	if (rc == 0 && visit->pruned)
		return close_unneeded(visit);
	struct tree_node *dir;
	if (rc == 0)
		rc = tree_make(tree, visit->path, state->dir_len, &dir);
	if (rc < 0)
		return rc;
	/* After a rollback the tasks' marks are no longer true. */
	bool valid = state->drops == tree->drops, complete = valid;
	if (valid)
		rc = close_tasks(visit, dir, &complete);
	bool whole = complete && state->theirs.only == NULL;
	if (rc == 0 && (whole || mutant(MUTANT_PARENT_S_ON_PARTIAL)))
		rc = tree_learn(tree, dir, &state->theirs.s);
	if (rc == 0 && valid)
		rc = close_rest(visit, dir, whole);
	if (rc == 0 && whole)
		rc = forget_conflicts(state, visit->path);
	if (rc == 0)
		rc = tree_raise(tree, dir, &state->theirs.m);
	if (rc == 0)
		rc = tree_reclaim_in(tree, dir);
	return rc < 0 ? rc : complete;
}
