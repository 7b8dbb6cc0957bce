/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/visit_internal.h"

/*
 * Protocol of one directory's visit, B (we) pulling from A (the source)
 *   1. A's listing is one instant of A: each leaf's m, c, s and the directory's m and s.
 *   2. Each leaf is decided; what the disk must do is done; each commit checks that the leaf is
 * still what was decided on. A commit joins A's s into the leaf's, so that a pull cut off here
 * loses nothing it did.
 *   3. If every leaf and container is complete, A's s is joined into the directory's, and the
 * leaves' own are covered by it. If not, it is joined into each complete one.
 *   4. In either case A's m is joined into m here and above, or pruning would hide from third
 * replicas what was learnt.
 *
 * Why a local event between 1 and 3 does no harm: it is unknown to A's s, so it might as well have
 * come after 3. Another pull's commit is not: it may rest on s here not yet having what 3 will add.
 * Hence one pull per share.
 *
 * Verdicts that only change knowledge write nothing when the directory completes: for a directory
 * of 100,000 leaves with one news, one row is written and not 100,000.
 */

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
	if (conflict->wanted == REPLICA_POLICY_NONE ||
		strcmp(conflict->path, wish->task->path) != 0 ||
		live != tree_live(&conflict->theirs))
		return 0;
	if (live ? replica_vt_equal(&conflict->m, &theirs->m) : conflict->peer == wish->state->peer)
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
	bool partial_mine =
		verdict == REPLICA_VERDICT_RECREATE_MINE && !replica_vt_leq(mine->c, theirs->s);
	bool partial_theirs =
		verdict == REPLICA_VERDICT_RECREATE_THEIRS && !replica_vt_leq(theirs->c, mine->s);
	if (mutant(MUTANT_PARTIAL_C) && partial_mine)
		return REPLICA_VERDICT_INDEPENDENT;
	if (mutant(MUTANT_PARTIAL_C) && partial_theirs)
		return REPLICA_VERDICT_CREATE;
	if (mutant(MUTANT_NO_RECREATE) && verdict == REPLICA_VERDICT_RECREATE_MINE && !partial_mine)
		return REPLICA_VERDICT_EQUAL;
	if (mutant(MUTANT_NO_RECREATE) && verdict == REPLICA_VERDICT_RECREATE_THEIRS &&
		!partial_theirs)
		return REPLICA_VERDICT_CREATE;
	return verdict;
}

int visit_their_s(const struct replica_visit_state *state, const struct replica_child *child,
	struct replica_vt *out)
{
	int rc = replica_vt_copy(out, &state->theirs.s);
	return rc == 0 && child != NULL ? replica_vt_join(out, &child->s) : rc;
}

void visit_set_verdict(struct replica_task *task, enum replica_verdict verdict)
{
	task->verdict = verdict;
	task->action = replica_verdict_action(verdict);
}

int visit_judge(const struct replica_visit_state *state, struct replica_task *task,
	const struct replica_vt *known)
{
	struct replica_vt theirs_s = {0}, mine_s = {0};
	enum replica_policy policy;
	int rc = policy_for(state, task, &policy);
	if (rc == 0)
		rc = visit_their_s(state, task->theirs, &theirs_s);
	if (rc == 0)
		rc = replica_vt_copy(&mine_s, known);
	if (rc == 0)
		rc = replica_vt_join(&mine_s, &task->mine.s);
	if (rc == 0) {
		const struct replica_child *child = task->theirs;
		struct replica_side theirs = {.s = &theirs_s},
				    mine = {&task->mine.version, &task->mine.m, &mine_s,
					    &task->mine.c};
		if (child != NULL)
			theirs = (struct replica_side){
				&child->version, &child->m, &theirs_s, &child->c};
		bool marker = strcmp(task->name, REPLICA_DIRMARK_NAME) == 0;
		visit_set_verdict(task,
			mutate(replica_decide(&theirs, &mine, marker, policy), &theirs, &mine));
	}
	replica_vt_fini(&theirs_s);
	replica_vt_fini(&mine_s);
	return rc;
}

int visit_clashes(
	const struct replica_visit_state *state, const char *dir, const struct replica_task *task)
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

int visit_look(const struct replica_visit *visit, const struct replica_task *task,
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

int visit_redecide(struct replica_visit *visit, struct replica_task *task)
{
	struct replica_vt known = {0};
	int rc = visit_look(visit, task, &task->mine, &known);
	if (rc >= 0)
		rc = visit_judge(visit->state_, task, &known);
	if (rc == 0)
		rc = visit_clashes(visit->state_, visit->path, task);
	if (rc == 1)
		visit_set_verdict(task, REPLICA_VERDICT_CONFLICT_TYPE);
	replica_vt_fini(&known);
	return rc < 0 ? rc : 0;
}

int replica_visit_redecide(struct replica_visit *visit, size_t i)
{
	struct replica_task *task = &visit->tasks[i];
	if (task->kind != REPLICA_LEAF || task->committed_ || task->failed_)
		return 0;
	int rc = tree_enter(visit->state_->tree);
	return rc < 0 ? rc : visit_redecide(visit, task);
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
	const struct replica_vt *m = task->theirs != NULL ? &task->theirs->m : &state->theirs.m;
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
		rc = task->kind == REPLICA_LEAF ? visit_judge(state, task, known)
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
			visit_set_verdict(task, REPLICA_VERDICT_CONFLICT_TYPE);
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
	visit->pruned = state->theirs.only == NULL && replica_vt_leq(&state->theirs.m, &known);
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
	*state = (struct replica_visit_state){.tree = tree,
		.theirs = *theirs,
		.peer = peer,
		.policy = policy,
		.dir_len = strlen(dir),
		.when_us = thrum__wall_us()};
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
