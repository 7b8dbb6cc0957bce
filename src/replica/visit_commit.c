/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/visit_internal.h"

/*
 * What a verdict makes of our row. s joins theirs in every case; m is raised in all containers
 * above in every case. Besides:
 *
 *   copy, create                  version, m and c are theirs (live on both sides: c joins)
 *   delete                        gone; m bounds what they know to have happened
 *   keep, take, merged, merge_…   a new event of ours on the winning version; c joins
 *   re-create …                   a new event and a new creation
 *   keep, take deleted            a new deletion
 *   equal                         c joins; an event of the directory alone
 *   skip                          c joins if both have the same event; else nothing: that B went on
 *                                 from a version does not make it stem from that one's creations
 *
 * Rejected: a resolution that leaves m as it is and only joins s. It sticks, but two of them in
 * opposite directions leave two replicas that each think the other's version is superseded.
 */

/* One leaf about to change. */
struct change {
	struct replica_visit_state *state;
	struct tree_node *dir;
	struct replica_vt known;    /* our effective s of dir */
	struct replica_vt theirs_s; /* their effective s of the leaf */
	const struct replica_child *theirs;
	struct replica_entry *leaf; /* our row */
};

static const struct replica_vt *their_m(const struct change *change)
{
	return change->theirs != NULL ? &change->theirs->m : &change->state->theirs.m;
}

/* The leaf learns what they know of it. */
static int learn(struct change *change)
{
	struct replica_entry *leaf = change->leaf;
	if (mutant(MUTANT_ASSIGN_S))
		return replica_vt_copy(&leaf->s, &change->theirs_s);
	struct replica_vt sum = {0};
	int rc = replica_vt_copy(&sum, &change->known);
	if (rc == 0)
		rc = replica_vt_join(&sum, &leaf->s);
	if (rc == 0 && !replica_vt_leq(&change->theirs_s, &sum))
		rc = replica_vt_join(&leaf->s, &change->theirs_s);
	replica_vt_fini(&sum);
	return rc;
}

/* Two live versions became one: it stems from the creations of both. */
static int join_creations(struct change *change)
{
	if (!tree_live(&change->leaf->version) || change->theirs == NULL ||
		!tree_live(&change->theirs->version))
		return 0;
	int rc = replica_vt_join(&change->leaf->c, &change->theirs->c);
	return rc < 0 ? rc : tree_raise(change->state->tree, change->dir, &change->leaf->c);
}

bool visit_same_event(const struct replica_child *theirs, const struct replica_entry *mine)
{
	return theirs != NULL && tree_live(&theirs->version) && tree_live(&mine->version) &&
	       replica_vt_equal(&theirs->m, &mine->m);
}

/* Knowledge came without an event of the leaf: one of the directory keeps others from pruning. */
static int bump(struct change *change)
{
	struct replica_tree *tree = change->state->tree;
	struct replica_vt event = {0};
	replica_vt_single(&event, replica_index_id(tree->index), replica_index_tick(tree->index));
	return tree_raise(tree, change->dir, &event);
}

/*
 * Their leaf becomes ours, event and all. If things happened here that they do not know, some third
 * replica may hold, as the newer one, a version that ours now counts as superseded: it must come
 * and see.
 */
static int adopt(struct change *change, const struct replica_version *version,
	const struct replica_ident *ident)
{
	struct replica_entry *leaf = change->leaf;
	struct replica_tree *tree = change->state->tree;
	bool more_known = !replica_vt_leq(&change->dir->m, &change->theirs_s);
	int rc = tree_live(&leaf->version) ? replica_vt_join(&leaf->c, &change->theirs->c)
					   : replica_vt_copy(&leaf->c, &change->theirs->c);
	if (rc == 0)
		rc = replica_vt_copy(&leaf->m, &change->theirs->m);
	if (rc == 0)
		rc = replica_version_copy(&leaf->version, version);
	leaf->ident = ident != NULL ? *ident : (struct replica_ident){0};
	if (rc == 0)
		rc = tree_raise(tree, change->dir, &leaf->m);
	if (rc == 0)
		rc = tree_raise(tree, change->dir, &leaf->c);
	return rc < 0 || !more_known ? rc : bump(change);
}

/* A version as a new event of ours; `fresh`: as a new creation too. */
static int restate(struct change *change, const struct replica_version *version,
	const struct replica_ident *ident, bool fresh)
{
	struct replica_version copy = {0};
	struct replica_ident place = ident != NULL ? *ident : (struct replica_ident){0};
	int rc = version != NULL ? replica_version_copy(&copy, version) : 0;
	if (fresh)
		replica_version_fini(&change->leaf->version);
	if (rc == 0)
		rc = tree_leaf_event(change->state->tree, change->dir, change->leaf,
			version != NULL ? &copy : NULL, &place);
	replica_version_fini(&copy);
	return rc;
}

/* Takes over a deletion. */
static int forget(struct change *change)
{
	struct replica_entry *leaf = change->leaf;
	replica_version_fini(&leaf->version);
	replica_vt_fini(&leaf->c);
	leaf->ident = (struct replica_ident){0};
	int rc = replica_vt_copy(&leaf->m, their_m(change));
	return rc < 0 ? rc : tree_raise(change->state->tree, change->dir, &leaf->m);
}

/* The outcome of a verdict, on the row in memory and the containers above. */
static int apply(struct change *change, enum replica_verdict verdict,
	const struct replica_version *version, const struct replica_ident *ident)
{
	struct replica_entry *leaf = change->leaf;
	int rc = learn(change);
	/* A ghost made now must not look as if nothing had ever happened to it. */
	if (rc == 0 && leaf->id == 0 && !mutant(MUTANT_EMPTY_GHOST_M))
		rc = replica_vt_copy(&leaf->m, &change->dir->m);
	if (rc < 0)
		return rc;
	switch (verdict) {
	case REPLICA_VERDICT_COPY:
	case REPLICA_VERDICT_CREATE:
		return adopt(change, version, ident);
	case REPLICA_VERDICT_TAKE:
	case REPLICA_VERDICT_MERGE_THEIRS:
	case REPLICA_VERDICT_MERGED:
		rc = join_creations(change);
		return rc < 0 ? rc : restate(change, version, ident, false);
	case REPLICA_VERDICT_RECREATE_THEIRS:
		return restate(change, version, ident, true);
	case REPLICA_VERDICT_RECREATE_MINE:
		return restate(change, &leaf->version, &leaf->ident, true);
	case REPLICA_VERDICT_DELETE:
		return forget(change);
	case REPLICA_VERDICT_TAKE_DELETED:
	case REPLICA_VERDICT_KEEP_DELETED:
		return restate(change, NULL, NULL, false);
	case REPLICA_VERDICT_KEEP:
	case REPLICA_VERDICT_MERGE_MINE:
		rc = join_creations(change);
		return rc < 0 ? rc : restate(change, &leaf->version, &leaf->ident, false);
	case REPLICA_VERDICT_EQUAL:
		rc = join_creations(change);
		return rc < 0 ? rc : bump(change);
	case REPLICA_VERDICT_SKIP:
		return visit_same_event(change->theirs, leaf) ? join_creations(change) : 0;
	case REPLICA_VERDICT_BOTH_ABSENT:
		return replica_vt_join(&leaf->m, their_m(change));
	default:
		return 0;
	}
}

bool visit_same_leaf(const struct replica_entry *a, const struct replica_entry *b)
{
	if (!tree_live(&a->version) && !tree_live(&b->version))
		return true;
	return replica_version_equal(&a->version, &b->version) && replica_vt_equal(&a->m, &b->m) &&
	       replica_vt_equal(&a->c, &b->c);
}

/* Verdicts worth remembering for `replica why`. */
static bool notable(enum replica_verdict verdict)
{
	return verdict != REPLICA_VERDICT_SKIP && verdict != REPLICA_VERDICT_BOTH_ABSENT &&
	       verdict != REPLICA_VERDICT_INDEPENDENT && verdict != REPLICA_VERDICT_IGNORED;
}

int visit_note(struct replica_visit_state *state, const char *path, enum replica_verdict verdict)
{
	struct replica_tree *tree = state->tree;
	return notable(verdict) ? replica_index_verdict_put(tree->index, tree->share, path, verdict,
					  state->peer, state->when_us)
				: 0;
}

/* The leaf is complete: conflicts on it that this settles are forgotten. */
static int settle(struct change *change, const struct replica_task *task)
{
	struct replica_visit_state *state = change->state;
	if (!task->contested_)
		return 0;
	struct replica_vt s = {0};
	int rc = replica_vt_copy(&s, &change->known);
	if (rc == 0)
		rc = replica_vt_join(&s, &change->leaf->s);
	if (rc == 0)
		rc = replica_index_conflict_settle(
			state->tree->index, state->tree->share, task->path, state->peer, &s);
	replica_vt_fini(&s);
	return rc;
}

int visit_conclude(struct replica_visit_state *state, struct tree_node *dir,
	struct replica_task *task, struct replica_entry *leaf,
	const struct replica_version *version, const struct replica_ident *ident)
{
	struct change change = {.state = state, .dir = dir, .theirs = task->theirs, .leaf = leaf};
	int rc = tree_effective(state->tree, dir, &change.known);
	if (rc == 0)
		rc = visit_their_s(state, task->theirs, &change.theirs_s);
	if (rc == 0)
		rc = apply(&change, task->verdict, version, ident);
	if (rc == 0)
		rc = tree_leaf_put(state->tree, dir, leaf, &change.known);
	if (rc == 0)
		rc = settle(&change, task);
	if (rc == 0)
		rc = visit_note(state, task->path, task->verdict);
	replica_vt_fini(&change.known);
	replica_vt_fini(&change.theirs_s);
	if (rc == 0)
		task->committed_ = task->complete_ = replica_verdict_completes(task->verdict);
	return rc;
}

/* Is our leaf, and what follows from it, still what was decided on? *current: our row now. */
static int verify(
	struct replica_visit *visit, struct replica_task *task, struct replica_entry *current)
{
	struct replica_vt known = {0};
	enum replica_verdict verdict = task->verdict;
	int rc = visit_look(visit, task, current, &known);
	if (rc >= 0 && !visit_same_leaf(current, &task->mine))
		rc = THRUM_ECHANGED;
	if (rc >= 0) {
		rc = replica_entry_copy(&task->mine, current);
		if (rc == 0)
			rc = visit_judge(visit->state_, task, &known);
		if (rc == 0 && task->verdict != verdict)
			rc = THRUM_ECHANGED;
	}
	if (rc == 0 && (rc = visit_clashes(visit->state_, visit->path, task)) == 1) {
		visit_set_verdict(task, REPLICA_VERDICT_CONFLICT_TYPE);
		rc = -EEXIST;
	}
	replica_vt_fini(&known);
	return rc;
}

int replica_visit_commit(struct replica_visit *visit, size_t i, const struct replica_ident *ident,
	const struct replica_version *version)
{
	struct replica_visit_state *state = visit->state_;
	struct replica_task *task = &visit->tasks[i];
	if (task->kind != REPLICA_LEAF || task->committed_ || task->failed_)
		return -EINVAL;
	if (task->action == REPLICA_DO_MERGE && !tree_live(version))
		return -EINVAL;
	if (task->action != REPLICA_DO_INSTALL && task->action != REPLICA_DO_DELETE &&
		task->action != REPLICA_DO_MERGE)
		return -EINVAL;
	struct replica_entry leaf = {0};
	struct tree_node *dir;
	int rc = tree_enter(state->tree);
	if (rc == 0)
		rc = verify(visit, task, &leaf);
	if (rc == THRUM_ECHANGED)
		task->failed_ = true;
	if (rc == 0)
		rc = tree_make(state->tree, visit->path, state->dir_len, &dir);
	if (rc == 0 && leaf.parent == 0) {
		/* Its container has been made just now. */
		rc = tree_leaf_get(state->tree, dir, task->name, &leaf);
		rc = rc < 0 ? rc : 0;
	}
	if (rc == 0 && version == NULL && task->theirs != NULL)
		version = &task->theirs->version;
	if (rc == 0)
		rc = visit_conclude(state, dir, task, &leaf, version, ident);
	replica_entry_fini(&leaf);
	return rc;
}

void replica_visit_child(struct replica_visit *visit, size_t i, bool complete)
{
	visit->tasks[i].complete_ = complete;
}
