/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/tree_internal.h"

/*
 * Protocol of one directory's visit, B (we) pulling from A (the source)
 *   1. A's listing is one instant of A: each leaf's m, c, s and the directory's m and s.
 *   2. Each leaf is decided; what the disk must do is done; each commit checks that the leaf is still what was
 *      decided on. A commit joins A's s into the leaf's, so that a pull cut off here loses nothing it did.
 *   3. If every leaf and container is complete, A's s is joined into the directory's, and the leaves' own
 *      are covered by it. If not, it is joined into each complete one.
 *   4. In either case A's m is joined into m here and above, or pruning would hide from third replicas what was
 *      learnt.
 *
 * Why a local event between 1 and 3 does no harm: it is unknown to A's s, so it might as well have come
 * after 3. Another pull's commit is not: it may rest on s here not yet having what 3 will add. Hence one pull per share.
 *
 * Verdicts that only change knowledge write nothing when the directory completes: for a directory of
 * 100,000 leaves with one news, one row is written and not 100,000.
 */

struct replica_visit_state {
	struct replica_tree *tree;
	struct replica_listing theirs;
	int64_t peer;
	enum replica_policy policy;
	bool closed;
	uint64_t drops; /* the tree's, at open */
	size_t dir_len;
	int64_t when_us;
};

/* ---------------------------------------------------------------- deciding */

/* What a person wants for the conflict at a path, if their version is still the one she saw. */
struct wish {
	const struct replica_visit_state *state;
	const struct replica_task *task;
	enum replica_policy policy;
};

static int find_wish(void *arg, const struct replica_conflict *conflict)
{
	struct wish *wish = arg;
	const struct replica_child *theirs = wish->task->theirs;
	bool live = theirs != NULL && tree_live(&theirs->version);
	if (conflict->wanted == REPLICA_POLICY_NONE || strcmp(conflict->path, wish->task->path) != 0 ||
		live != tree_live(&conflict->theirs))
		return 0;
	if (live ? replica_vt_equal(&conflict->m, &theirs->m)
		 : conflict->peer == wish->state->peer)
		wish->policy = conflict->wanted;
	return 0;
}

static int policy_for(const struct replica_visit_state *state, const struct replica_task *task,
	enum replica_policy *out)
{
	struct wish wish = {state, task, state->policy};
	int rc = 0;
	if (task->contested_)
		rc = replica_index_conflicts(
			state->tree->index, state->tree->share, task->path, find_wish, &wish);
	*out = wish.policy;
	return rc;
}

/* Plants the two faults that lie in the decision (see tree_internal.h). */
static enum replica_verdict mutate(enum replica_verdict verdict, const struct replica_side *theirs,
	const struct replica_side *mine)
{
	bool partial_mine = verdict == REPLICA_VERDICT_RECREATE_MINE &&
		!replica_vt_leq(mine->c, theirs->s);
	bool partial_theirs = verdict == REPLICA_VERDICT_RECREATE_THEIRS &&
		!replica_vt_leq(theirs->c, mine->s);
	if (mutant(MUTANT_PARTIAL_C) && partial_mine)
		return REPLICA_VERDICT_INDEPENDENT;
	if (mutant(MUTANT_PARTIAL_C) && partial_theirs)
		return REPLICA_VERDICT_CREATE;
	if (mutant(MUTANT_NO_RECREATE) && verdict == REPLICA_VERDICT_RECREATE_MINE && !partial_mine)
		return REPLICA_VERDICT_EQUAL;
	if (mutant(MUTANT_NO_RECREATE) && verdict == REPLICA_VERDICT_RECREATE_THEIRS && !partial_theirs)
		return REPLICA_VERDICT_CREATE;
	return verdict;
}

/* out := what the source knows at one of its rows (NULL: a name it has no row for). */
static int their_s(const struct replica_visit_state *state, const struct replica_child *child,
	struct replica_vt *out)
{
	int rc = replica_vt_copy(out, &state->theirs.s);
	return rc == 0 && child != NULL ? replica_vt_join(out, &child->s) : rc;
}

static void set_verdict(struct replica_task *task, enum replica_verdict verdict)
{
	task->verdict = verdict;
	task->action = replica_verdict_action(verdict);
}

/* Decides a leaf by task->mine; `known`: our effective s of the directory. Clashes of type aside. */
static int judge(const struct replica_visit_state *state, struct replica_task *task,
	const struct replica_vt *known)
{
	struct replica_vt theirs_s = {0}, mine_s = {0};
	enum replica_policy policy;
	int rc = policy_for(state, task, &policy);
	if (rc == 0)
		rc = their_s(state, task->theirs, &theirs_s);
	if (rc == 0)
		rc = replica_vt_copy(&mine_s, known);
	if (rc == 0)
		rc = replica_vt_join(&mine_s, &task->mine.s);
	if (rc == 0) {
		const struct replica_child *child = task->theirs;
		struct replica_side theirs = {.s = &theirs_s}, mine = {&task->mine.version,
			&task->mine.m, &mine_s, &task->mine.c};
		if (child != NULL)
			theirs = (struct replica_side){
				&child->version, &child->m, &theirs_s, &child->c};
		bool marker = strcmp(task->name, REPLICA_DIRMARK_NAME) == 0;
		set_verdict(task, mutate(replica_decide(&theirs, &mine, marker, policy), &theirs, &mine));
	}
	replica_vt_fini(&theirs_s);
	replica_vt_fini(&mine_s);
	return rc;
}

/* 1 if installing the task's leaf would put a file and a directory in one place. */
static int clashes(const struct replica_visit_state *state, const char *dir,
	const struct replica_task *task)
{
	struct replica_tree *tree = state->tree;
	if (task->action != REPLICA_DO_INSTALL || tree_live(&task->mine.version))
		return 0;
	int rc = tree_shadowed(tree, dir, state->dir_len);
	if (rc != 0)
		return rc;
	struct tree_node *node, *same;
	bool whole;
	rc = tree_find(tree, dir, state->dir_len, &node, &whole);
	if (rc == 0 && whole)
		rc = tree_child(tree, node, task->name, strlen(task->name), &same);
	if (rc < 0 || !whole)
		return rc == -ENOENT ? 0 : rc;
	return replica_index_entry_live_below(tree->index, same->id);
}

/* Reads our row of a task again, and our effective s of the directory. */
static int look(const struct replica_visit *visit, const struct replica_task *task,
	struct replica_entry *mine, struct replica_vt *known)
{
	const struct replica_visit_state *state = visit->state_;
	struct tree_node *dir;
	bool whole;
	int rc = tree_find(state->tree, visit->path, state->dir_len, &dir, &whole);
	if (rc == 0)
		rc = tree_effective(state->tree, dir, known);
	if (rc < 0)
		return rc;
	if (whole)
		return tree_leaf_get(state->tree, dir, task->name, mine);
	replica_entry_fini(mine);
	return 0;
}

static int redecide(struct replica_visit *visit, struct replica_task *task)
{
	struct replica_vt known = {0};
	int rc = look(visit, task, &task->mine, &known);
	if (rc >= 0)
		rc = judge(visit->state_, task, &known);
	if (rc == 0)
		rc = clashes(visit->state_, visit->path, task);
	if (rc == 1)
		set_verdict(task, REPLICA_VERDICT_CONFLICT_TYPE);
	replica_vt_fini(&known);
	return rc < 0 ? rc : 0;
}

int replica_visit_redecide(struct replica_visit *visit, size_t i)
{
	struct replica_task *task = &visit->tasks[i];
	if (task->kind != REPLICA_LEAF || task->committed_ || task->failed_)
		return 0;
	int rc = tree_enter(visit->state_->tree);
	return rc < 0 ? rc : redecide(visit, task);
}

/* ---------------------------------------------------------------- opening */

struct plan {
	struct replica_visit *visit;
	size_t cap, next; /* next: of their children */
};

static int add_task(struct plan *plan, enum replica_kind kind, const char *name,
	const struct replica_child *theirs, const struct replica_entry *mine)
{
	struct replica_visit *visit = plan->visit;
	if (visit->count == plan->cap) {
		size_t cap = plan->cap ? plan->cap * 2 : 16;
		struct replica_task *tasks = realloc(visit->tasks, cap * sizeof(*tasks));
		if (tasks == NULL)
			return -ENOMEM;
		visit->tasks = tasks;
		plan->cap = cap;
	}
	struct replica_task *task = &visit->tasks[visit->count];
	*task = (struct replica_task){.kind = kind, .theirs = theirs};
	size_t len = strlen(name), at = visit->state_->dir_len;
	char *path = malloc(at + len + 2);
	if (path == NULL)
		return -ENOMEM;
	memcpy(path, visit->path, at);
	if (at > 0)
		path[at++] = '/';
	memcpy(path + at, name, len + 1);
	task->path = path;
	task->name = path + at;
	visit->count++;
	return mine != NULL ? replica_entry_copy(&task->mine, mine) : 0;
}

/* Their children that come before (name, kind) in the order of rows have no row here. */
static int add_theirs_before(struct plan *plan, const char *name, enum replica_kind kind)
{
	const struct replica_listing *theirs = &plan->visit->state_->theirs;
	for (; plan->next < theirs->count; plan->next++) {
		const struct replica_child *child = &theirs->children[plan->next];
		int cmp = name == NULL ? -1 : strcmp(child->name, name);
		if (cmp > 0 || (cmp == 0 && child->kind >= kind))
			break;
		int rc = add_task(plan, child->kind, child->name, child, NULL);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int plan_mine(void *arg, const struct replica_entry *entry)
{
	struct plan *plan = arg;
	const struct replica_listing *theirs = &plan->visit->state_->theirs;
	if (theirs->only != NULL && strcmp(entry->name, theirs->only) != 0)
		return 0;
	int rc = add_theirs_before(plan, entry->name, entry->kind);
	if (rc < 0)
		return rc;
	const struct replica_child *child =
		plan->next < theirs->count ? &theirs->children[plan->next] : NULL;
	if (child != NULL && (child->kind != entry->kind || strcmp(child->name, entry->name) != 0))
		child = NULL;
	plan->next += child != NULL;
	return add_task(plan, entry->kind, entry->name, child, entry);
}

/* Marks the leaf task that a conflict on record is about. Tasks are in the order of names. */
static int mark_contested(void *arg, const struct replica_conflict *conflict)
{
	struct replica_visit *visit = arg;
	size_t dir_len, low = 0, high = visit->count;
	const char *name = replica_path_last(conflict->path, &dir_len);
	if (dir_len != visit->state_->dir_len)
		return 0; /* deeper down */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (strcmp(visit->tasks[mid].name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < visit->count && strcmp(visit->tasks[low].name, name) == 0; low++)
		visit->tasks[low].contested_ = true;
	return 0;
}

/* Is everything below one of our containers known already? */
static int prune_child(struct replica_visit_state *state, struct replica_task *task,
	const struct replica_vt *known)
{
	const struct replica_vt *m =
		task->theirs != NULL ? &task->theirs->m : &state->theirs.m;
	if (replica_vt_leq(m, known)) {
		task->pruned = true;
		return 0;
	}
	struct replica_vt below = {0};
	int rc = replica_vt_copy(&below, known);
	if (rc == 0)
		rc = replica_vt_join(&below, &task->mine.s);
	if (rc == 0)
		task->pruned = replica_vt_leq(m, &below);
	replica_vt_fini(&below);
	return rc;
}

/* A container and the leaf of the same name: which goes first? */
static void order_pair(struct replica_task *container, struct replica_task *leaf)
{
	if (leaf->action == REPLICA_DO_DELETE) {
		struct replica_task first = *leaf;
		*leaf = *container;
		*container = first;
		leaf->waits = true; /* the container, now */
	} else if (leaf->action == REPLICA_DO_INSTALL && container->mine.id != 0) {
		leaf->waits = true;
	}
}

static int judge_all(struct replica_visit *visit, const struct replica_vt *known)
{
	struct replica_visit_state *state = visit->state_;
	int rc = 0;
	for (size_t i = 0; i < visit->count && rc == 0; i++) {
		struct replica_task *task = &visit->tasks[i];
		rc = task->kind == REPLICA_LEAF ? judge(state, task, known)
						: prune_child(state, task, known);
	}
	for (size_t i = 1; i < visit->count && rc == 0; i++) {
		struct replica_task *task = &visit->tasks[i];
		if (strcmp(task[-1].name, task->name) == 0)
			order_pair(task - 1, task);
	}
	int shadowed = rc == 0 ? tree_shadowed(state->tree, visit->path, state->dir_len) : rc;
	for (size_t i = 0; i < visit->count && shadowed == 1; i++) {
		struct replica_task *task = &visit->tasks[i];
		if (task->kind == REPLICA_LEAF && task->action == REPLICA_DO_INSTALL &&
			!tree_live(&task->mine.version))
			set_verdict(task, REPLICA_VERDICT_CONFLICT_TYPE);
	}
	return shadowed < 0 ? shadowed : 0;
}

/* Fills the visit in: prune test, tasks, verdicts. */
static int make_plan(struct replica_visit *visit)
{
	struct replica_visit_state *state = visit->state_;
	struct replica_tree *tree = state->tree;
	struct replica_vt known = {0};
	struct tree_node *dir;
	bool whole;
	int rc = tree_find(tree, visit->path, state->dir_len, &dir, &whole);
	if (rc == 0)
		rc = tree_effective(tree, dir, &known);
	if (rc < 0)
		goto out;
	visit->pruned =
		state->theirs.only == NULL && replica_vt_leq(&state->theirs.m, &known);
	if (visit->pruned)
		goto out;
	struct plan plan = {.visit = visit};
	if (whole)
		rc = tree_each_row(tree, dir, plan_mine, &plan);
	if (rc == 0)
		rc = add_theirs_before(&plan, NULL, REPLICA_LEAF);
	if (rc == 0)
		rc = replica_index_conflicts(
			tree->index, tree->share, visit->path, mark_contested, visit);
	if (rc == 0)
		rc = judge_all(visit, &known);
out:
	replica_vt_fini(&known);
	return rc;
}

/* Looks for evidence of a restore in everything a listing says. */
static int check_restored(struct replica_tree *tree, const struct replica_listing *theirs)
{
	int rc = replica_tree_restored(tree, &theirs->s);
	for (size_t i = 0; i < theirs->count && rc == 0; i++)
		if (!replica_vt_empty(&theirs->children[i].s))
			rc = replica_tree_restored(tree, &theirs->children[i].s);
	return rc < 0 ? rc : 0;
}

int replica_visit_open(struct replica_visit *visit, struct replica_tree *tree, const char *dir,
	struct replica_listing *theirs, int64_t peer, enum replica_policy policy,
	const struct replica_visit *parent)
{
	*visit = (struct replica_visit){.mtime_ns = theirs->mtime_ns};
	struct replica_visit_state *state = calloc(1, sizeof(*state));
	if (state == NULL) {
		replica_listing_fini(theirs);
		return -ENOMEM;
	}
	visit->state_ = state;
	*state = (struct replica_visit_state){.tree = tree, .theirs = *theirs, .peer = peer,
		.policy = policy, .dir_len = strlen(dir), .when_us = thrum__wall_us()};
	*theirs = (struct replica_listing){0};
	int rc = parent == NULL && tree->pull != NULL ? -EBUSY : 0;
	if (rc == 0 && parent == NULL)
		tree->pull = state;
	if (rc == 0)
		rc = replica_path_check(dir, state->dir_len);
	if (rc == 0)
		rc = replica_listing_check(&state->theirs, state->dir_len == 0);
	if (rc == 0 && (visit->path = strdup(dir)) == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = check_restored(tree, &state->theirs);
	if (rc == 0)
		rc = tree_enter(tree);
	state->drops = tree->drops;
	if (rc == 0)
		rc = make_plan(visit);
	if (rc < 0)
		replica_visit_fini(visit);
	return rc;
}

int replica_visit_child_listing(
	const struct replica_visit *visit, size_t i, struct replica_listing *out)
{
	if (visit->tasks[i].theirs != NULL)
		return 0;
	int rc = replica_listing_absent(&visit->state_->theirs, out);
	return rc < 0 ? rc : 1;
}

void replica_visit_fini(struct replica_visit *visit)
{
	struct replica_visit_state *state = visit->state_;
	if (state == NULL)
		return;
	for (size_t i = 0; i < visit->count; i++) {
		free(visit->tasks[i].path);
		replica_entry_fini(&visit->tasks[i].mine);
	}
	free(visit->tasks);
	free(visit->path);
	replica_listing_fini(&state->theirs);
	if (state->tree->pull == state)
		state->tree->pull = NULL;
	free(state);
	*visit = (struct replica_visit){0};
}

/* ---------------------------------------------------------------- committing a leaf */

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

/* True if both sides have the same version: their creations may still differ. */
static bool same_event(const struct replica_child *theirs, const struct replica_entry *mine)
{
	return theirs != NULL && tree_live(&theirs->version) && tree_live(&mine->version) &&
		replica_vt_equal(&theirs->m, &mine->m);
}

/* Knowledge came without an event of the leaf: an event of the directory makes others look (pruning). */
static int bump(struct change *change)
{
	struct replica_tree *tree = change->state->tree;
	struct replica_vt event = {0};
	replica_vt_single(&event, replica_index_id(tree->index), replica_index_tick(tree->index));
	return tree_raise(tree, change->dir, &event);
}

/*
 * Their leaf becomes ours, event and all. If things happened here that they do not know, some third replica may
 * hold, as the newer one, a version that ours now counts as superseded: it must come and see.
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
		return same_event(change->theirs, leaf) ? join_creations(change) : 0;
	case REPLICA_VERDICT_BOTH_ABSENT:
		return replica_vt_join(&leaf->m, their_m(change));
	default:
		return 0;
	}
}

/* True if the leaf is still the one that was decided on. Gone is gone. */
static bool same_leaf(const struct replica_entry *a, const struct replica_entry *b)
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

static int note(struct replica_visit_state *state, const char *path, enum replica_verdict verdict)
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

/* Applies a verdict to our row `leaf` and stores it. */
static int conclude(struct replica_visit_state *state, struct tree_node *dir,
	struct replica_task *task, struct replica_entry *leaf, const struct replica_version *version,
	const struct replica_ident *ident)
{
	struct change change = {.state = state, .dir = dir, .theirs = task->theirs, .leaf = leaf};
	int rc = tree_effective(state->tree, dir, &change.known);
	if (rc == 0)
		rc = their_s(state, task->theirs, &change.theirs_s);
	if (rc == 0)
		rc = apply(&change, task->verdict, version, ident);
	if (rc == 0)
		rc = tree_leaf_put(state->tree, dir, leaf, &change.known);
	if (rc == 0)
		rc = settle(&change, task);
	if (rc == 0)
		rc = note(state, task->path, task->verdict);
	replica_vt_fini(&change.known);
	replica_vt_fini(&change.theirs_s);
	if (rc == 0)
		task->committed_ = task->complete_ = replica_verdict_completes(task->verdict);
	return rc;
}

/* Is our leaf, and what follows from it, still what was decided on? *current: our row now. */
static int verify(struct replica_visit *visit, struct replica_task *task,
	struct replica_entry *current)
{
	struct replica_vt known = {0};
	enum replica_verdict verdict = task->verdict;
	int rc = look(visit, task, current, &known);
	if (rc >= 0 && !same_leaf(current, &task->mine))
		rc = THRUM_ECHANGED;
	if (rc >= 0) {
		rc = replica_entry_copy(&task->mine, current);
		if (rc == 0)
			rc = judge(visit->state_, task, &known);
		if (rc == 0 && task->verdict != verdict)
			rc = THRUM_ECHANGED;
	}
	if (rc == 0 && (rc = clashes(visit->state_, visit->path, task)) == 1) {
		set_verdict(task, REPLICA_VERDICT_CONFLICT_TYPE);
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
	if (rc == 0 && leaf.id == 0) {
		/* Its container may have been made just now. */
		rc = tree_leaf_get(state->tree, dir, task->name, &leaf);
		rc = rc < 0 ? rc : 0;
	}
	if (rc == 0 && version == NULL && task->theirs != NULL)
		version = &task->theirs->version;
	if (rc == 0)
		rc = conclude(state, dir, task, &leaf, version, ident);
	replica_entry_fini(&leaf);
	return rc;
}

void replica_visit_child(struct replica_visit *visit, size_t i, bool complete)
{
	visit->tasks[i].complete_ = complete;
}

/* ---------------------------------------------------------------- closing */

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
	report->known = replica_version_equal(&old->mine, &now->mine) &&
		replica_vt_equal(&old->s, &now->s);
	return 0;
}

static int record_conflict(struct replica_visit_state *state, struct replica_task *task)
{
	struct replica_tree *tree = state->tree;
	const struct replica_child *child = task->theirs;
	/* Versions and vectors are borrowed, except for s. */
	struct report report = {.conflict = {.share = tree->share, .path = task->path,
		.verdict = task->verdict, .peer = state->peer, .mine = task->mine.version,
		.since_us = state->when_us}};
	report.conflict.m = child != NULL ? child->m : state->theirs.m;
	if (child != NULL) {
		report.conflict.theirs = child->version;
		report.conflict.c = child->c;
	}
	int rc = their_s(state, child, &report.conflict.s);
	if (rc == 0 && task->contested_)
		rc = replica_index_conflicts(
			tree->index, tree->share, task->path, find_conflict, &report);
	if (rc == 0 && !report.known) {
		rc = replica_index_conflict_put(tree->index, &report.conflict);
		if (rc == 0)
			rc = note(state, task->path, task->verdict);
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
	int rc = redecide(visit, task);
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
	return conclude(state, dir, task, &task->mine, NULL, NULL);
}

/* A passive leaf: writes only what the directory's own s will not say. */
static int close_passive(struct replica_visit_state *state, struct tree_node *dir,
	struct replica_task *task, bool complete)
{
	const struct replica_child *child = task->theirs;
	bool both = same_event(child, &task->mine);
	bool covered = complete && (child == NULL || replica_vt_empty(&child->s));
	task->complete_ = true;
	if (covered && !task->contested_ &&
		!(both && !replica_vt_leq(&child->c, &task->mine.c)))
		return 0;
	struct replica_entry now = {0};
	int rc = tree_leaf_get(state->tree, dir, task->name, &now);
	if (rc >= 0 && !same_leaf(&now, &task->mine))
		/* A local event came after the decision: what is known counts, what was there no more. */
		set_verdict(task, REPLICA_VERDICT_INDEPENDENT);
	if (rc >= 0)
		rc = conclude(state, dir, task, &now, NULL, NULL);
	replica_entry_fini(&now);
	return rc;
}

/* A container that was pruned: it learns what they know, unless its directory already does. */
static int close_pruned(
	struct replica_visit_state *state, struct tree_node *dir, struct replica_task *task, bool complete)
{
	if (complete && (task->theirs == NULL || replica_vt_empty(&task->theirs->s)))
		return 0;
	struct replica_vt s = {0}, known = {0};
	struct tree_node *node = NULL;
	size_t len = strlen(task->path);
	bool whole;
	int rc = their_s(state, task->theirs, &s);
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

/* ---------------------------------------------------------------- a person's resolutions */

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
		.state = {.tree = all->tree, .peer = conflict->peer, .policy = REPLICA_POLICY_MINE,
			.when_us = thrum__wall_us()},
		.theirs = {.kind = REPLICA_LEAF}, .task = {.kind = REPLICA_LEAF}};
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
		rc = judge(&copy->state, task, &known);
	replica_vt_fini(&known);
	if (rc < 0)
		return rc;
	/* Their file where my directory is, or the other way round: to keep mine is to delete theirs. */
	bool theirs_blocked = copy->verdict == REPLICA_VERDICT_CONFLICT_TYPE &&
		task->action == REPLICA_DO_INSTALL && !tree_live(&task->mine.version);
	if (theirs_blocked)
		set_verdict(task, REPLICA_VERDICT_KEEP_DELETED);
	if (task->action != REPLICA_DO_NONE)
		return 1;
	rc = conclude(&copy->state, dir, task, &task->mine, NULL, NULL);
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
