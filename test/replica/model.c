/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <errno.h>
#include <stdio.h>

/* Two directories, one in the other, and a name that is a file here and a directory there. */
const char *const model_leaf_paths[LEAVES] = {"d/.", "d/x", "d/y", "d/e/.", "d/e/w", "z", "z/q"};

static const char *const targets[] = {
	"", "", "", "d", "d", "d/e", "z", "d/x", "d/y", "d/e/w", "z/q", "nowhere/at/all"};

/* ---------------------------------------------------------------- chance and failure */

static unsigned draw(struct world *world, unsigned below)
{
	return (unsigned)(thrum__splitmix64(&world->random) % below);
}

static bool chance(struct world *world, unsigned percent)
{
	return draw(world, 100) < percent;
}

static void bad(struct world *world, const char *format, ...) THRUM__PRINTF(2, 3);
static void bad(struct world *world, const char *format, ...)
{
	va_list args;
	if (world->bad)
		return;
	world->bad = true;
	va_start(args, format);
	vsnprintf(world->why, sizeof(world->why), format, args);
	va_end(args);
}

/* With THRUM_VERBOSE set: what happens, for one who looks into a history. */
static void trace(struct world *world, const char *format, ...) THRUM__PRINTF(2, 3);
static void trace(struct world *world, const char *format, ...)
{
	va_list args;
	if (!world->verbose)
		return;
	printf("%*s", (int)world->depth * 4, "");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

/* For calls that cannot fail here. */
static void must(struct world *world, int rc, const char *what)
{
	if (rc < 0)
		bad(world, "%s: %s", what, thrum_strerror(rc));
}

/* ---------------------------------------------------------------- sets */

static bool subset(const struct set *a, const struct set *b)
{
	for (size_t i = 0; i < thrum__countof(a->words); i++)
		if (a->words[i] & ~b->words[i])
			return false;
	return true;
}

static bool meets(const struct set *a, const struct set *b)
{
	for (size_t i = 0; i < thrum__countof(a->words); i++)
		if (a->words[i] & b->words[i])
			return true;
	return false;
}

static void unite(struct set *into, const struct set *from)
{
	for (size_t i = 0; i < thrum__countof(into->words); i++)
		into->words[i] |= from->words[i];
}

static bool empty(const struct set *set)
{
	static const struct set none;
	return memcmp(set, &none, sizeof(none)) == 0;
}

static bool has(const struct set *set, unsigned event)
{
	return set->words[event / 64] >> (event % 64) & 1;
}

/*
 * Creations are a vector by definition: of each id's, only the last counts. (Whoever knows that one
 * knows those before it; who knows only those is a stranger to the file.)
 */
static void unite_creations(const struct world *world, struct set *into, const struct set *from)
{
	bool later[REPLICAS_MAX + EVENTS_MAX] = {false};
	unite(into, from);
	for (unsigned event = world->events; event-- > 0;) {
		if (!has(into, event))
			continue;
		if (later[world->owners[event]])
			into->words[event / 64] &= ~(1ull << (event % 64));
		later[world->owners[event]] = true;
	}
}

/* An event of one replica, under its present id. */
static struct set new_event(struct world *world, int who)
{
	struct set set = {0};
	if (world->events == EVENTS_MAX) {
		bad(world, "TEST too many events");
		return set;
	}
	world->owners[world->events] = world->reps[who].id;
	set.words[world->events / 64] |= 1ull << (world->events % 64);
	world->events++;
	return set;
}

/* ---------------------------------------------------------------- the oracle */

static bool is_marker(int leaf)
{
	const char *path = model_leaf_paths[leaf];
	return path[strlen(path) - 1] == '.';
}

static bool same_content(const struct replica_version *a, const struct replica_version *b)
{
	return a->state == b->state && memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}

static enum replica_verdict oracle_both_changed(
	const struct fact *a, const struct fact *b, bool marker, enum replica_policy policy)
{
	if (marker || same_content(&a->version, &b->version)) {
		int64_t ta = marker ? 0 : a->version.mtime_ns,
			tb = marker ? 0 : b->version.mtime_ns;
		if (ta == tb && a->version.mode == b->version.mode)
			return REPLICA_VERDICT_EQUAL;
		bool mine = tb > ta || (tb == ta && b->version.mode > a->version.mode);
		return mine ? REPLICA_VERDICT_MERGE_MINE : REPLICA_VERDICT_MERGE_THEIRS;
	}
	static const enum replica_verdict by[] = {REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE,
		REPLICA_VERDICT_KEEP, REPLICA_VERDICT_TAKE, REPLICA_VERDICT_MERGED};
	return by[policy];
}

static enum replica_verdict oracle_rule(
	const struct fact *a, const struct fact *b, bool marker, enum replica_policy policy)
{
	if (marker)
		policy = REPLICA_POLICY_MERGE;
	if (!a->live && !b->live)
		return REPLICA_VERDICT_BOTH_ABSENT;
	if (a->live && b->live) {
		bool mine_newer = subset(&a->h, &b->known), theirs_newer = subset(&b->h, &a->known);
		/* Each newer than the other: two people decided differently. */
		if (mine_newer &&
			(!theirs_newer || a->event == b->event ||
				oracle_both_changed(a, b, marker, policy) == REPLICA_VERDICT_EQUAL))
			return REPLICA_VERDICT_SKIP;
		if (theirs_newer && !mine_newer)
			return REPLICA_VERDICT_COPY;
		return oracle_both_changed(a, b, marker, policy);
	}
	if (b->live) {
		static const enum replica_verdict by[] = {REPLICA_VERDICT_CONFLICT_DELETE_UPDATE,
			REPLICA_VERDICT_RECREATE_MINE, REPLICA_VERDICT_TAKE_DELETED,
			REPLICA_VERDICT_RECREATE_MINE};
		if (!subset(&b->c, &a->known))
			return meets(&b->c, &a->known) ? REPLICA_VERDICT_RECREATE_MINE
						       : REPLICA_VERDICT_INDEPENDENT;
		return subset(&b->h, &a->known) ? REPLICA_VERDICT_DELETE : by[policy];
	}
	static const enum replica_verdict by[] = {REPLICA_VERDICT_CONFLICT_UPDATE_DELETE,
		REPLICA_VERDICT_KEEP_DELETED, REPLICA_VERDICT_RECREATE_THEIRS,
		REPLICA_VERDICT_RECREATE_THEIRS};
	if (!subset(&a->c, &b->known))
		return meets(&a->c, &b->known) ? REPLICA_VERDICT_RECREATE_THEIRS
					       : REPLICA_VERDICT_CREATE;
	return subset(&a->h, &b->known) ? REPLICA_VERDICT_SKIP : by[policy];
}

/*
 * The rule, with a fault planted in it when one is planted in the tree's rule: such a fault must
 * show by what it leads to, not by the two rules being different.
 */
static enum replica_verdict oracle_decide(
	const struct fact *a, const struct fact *b, bool marker, enum replica_policy policy)
{
	enum replica_verdict verdict = oracle_rule(a, b, marker, policy);
	bool mine = verdict == REPLICA_VERDICT_RECREATE_MINE;
	if (!mine && verdict != REPLICA_VERDICT_RECREATE_THEIRS)
		return verdict;
	bool partial = mine ? !subset(&b->c, &a->known) : !subset(&a->c, &b->known);
	if (partial && mutant(MUTANT_PARTIAL_C))
		return mine ? REPLICA_VERDICT_INDEPENDENT : REPLICA_VERDICT_CREATE;
	if (!partial && mutant(MUTANT_NO_RECREATE))
		return mine ? REPLICA_VERDICT_EQUAL : REPLICA_VERDICT_CREATE;
	return verdict;
}

static void oracle_event(
	struct world *world, int who, int leaf, const struct replica_version *version, bool fresh)
{
	struct fact *fact = &world->reps[who].oracle.now.facts[leaf];
	struct set event = new_event(world, who);
	if (version == NULL)
		unite(&world->deletions[leaf], &event);
	else if (fresh)
		fact->c = event;
	fact->outlived = (struct set){0};
	unite(&fact->h, &event);
	unite(&fact->known, &event);
	fact->event = world->events - 1;
	fact->live = version != NULL;
	fact->version = version != NULL ? *version : (struct replica_version){0};
}

static struct set deletions_known(const struct world *world, int leaf, const struct fact *fact)
{
	struct set seen = world->deletions[leaf];
	for (size_t i = 0; i < thrum__countof(seen.words); i++)
		seen.words[i] &= fact->known.words[i];
	return seen;
}

/* What a verdict makes of the fact of `who`. `merged`: for MERGED. */
static void oracle_apply(struct world *world, int who, int leaf, enum replica_verdict verdict,
	const struct fact *a, const struct replica_version *merged)
{
	struct fact *b = &world->reps[who].oracle.now.facts[leaf];
	struct replica_version mine = b->version;
	bool theirs_wins = replica_verdict_action(verdict) == REPLICA_DO_INSTALL;
	struct set outlived = deletions_known(world, leaf, a->live ? b : a);
	bool survives = a->live != b->live && verdict != REPLICA_VERDICT_INDEPENDENT &&
			verdict != REPLICA_VERDICT_SKIP &&
			(verdict != REPLICA_VERDICT_CREATE || subset(&a->c, &b->known));
	unite(&b->known, &a->known);
	switch (verdict) {
	case REPLICA_VERDICT_COPY:
	case REPLICA_VERDICT_CREATE:
		if (b->live)
			unite_creations(world, &b->c, &a->c);
		else
			b->c = a->c;
		b->live = true;
		b->h = a->h;
		b->event = a->event;
		b->outlived = a->outlived;
		b->version = a->version;
		break;
	case REPLICA_VERDICT_KEEP:
	case REPLICA_VERDICT_TAKE:
	case REPLICA_VERDICT_MERGE_MINE:
	case REPLICA_VERDICT_MERGE_THEIRS:
	case REPLICA_VERDICT_MERGED:
		unite_creations(world, &b->c, &a->c);
		unite(&b->h, &a->h);
		oracle_event(world, who, leaf,
			verdict == REPLICA_VERDICT_MERGED ? merged
			: theirs_wins                     ? &a->version
							  : &mine,
			false);
		break;
	case REPLICA_VERDICT_RECREATE_THEIRS:
	case REPLICA_VERDICT_RECREATE_MINE:
		unite(&b->h, &a->h);
		oracle_event(world, who, leaf,
			verdict == REPLICA_VERDICT_RECREATE_MINE ? &mine : &a->version, true);
		break;
	case REPLICA_VERDICT_DELETE:
		b->live = false;
		b->version = (struct replica_version){0};
		if (!empty(&a->h))
			b->h = a->h;
		break;
	case REPLICA_VERDICT_TAKE_DELETED:
	case REPLICA_VERDICT_KEEP_DELETED:
		unite(&b->h, &a->h);
		oracle_event(world, who, leaf, NULL, false);
		break;
	case REPLICA_VERDICT_EQUAL:
	case REPLICA_VERDICT_SKIP:
		if (a->live && b->live &&
			(verdict == REPLICA_VERDICT_EQUAL || a->event == b->event))
			unite_creations(world, &b->c, &a->c);
		break;
	default:
		break;
	}
	if (survives && b->live)
		unite(&b->outlived, &outlived);
}

static bool passive(enum replica_verdict verdict)
{
	return verdict == REPLICA_VERDICT_SKIP || verdict == REPLICA_VERDICT_BOTH_ABSENT ||
	       verdict == REPLICA_VERDICT_INDEPENDENT;
}

/* A file z and a file z/q cannot both be on one disk. */
static bool oracle_clash(const struct snapshot *b, int leaf)
{
	return (leaf == 5 && b->facts[6].live) || (leaf == 6 && b->facts[5].live);
}

/* ---------------------------------------------------------------- local events */

static struct replica_version new_version(struct world *world, int leaf, const struct fact *old)
{
	uint64_t id = ++world->versions;
	struct replica_version version = {.state = REPLICA_FILE, .mode = 0644, .size = 5};
	if (is_marker(leaf))
		return (struct replica_version){.state = REPLICA_DIRMARK, .mode = draw(world, 4)};
	if (chance(world, 15))
		id = 1 + draw(world, 2); /* two people may write the same */
	memcpy(version.hash, &id, sizeof(id));
	if (old->live && chance(world, 15))
		memcpy(version.hash, old->version.hash, sizeof(version.hash)); /* touched only */
	version.mtime_ns = draw(world, 3);
	return version;
}

static void local_event(struct world *world, int who, int leaf)
{
	struct rep *rep = &world->reps[who];
	struct fact *fact = &rep->oracle.now.facts[leaf];
	bool delete = fact->live && chance(world, 45);
	if (!delete &&!fact->live && oracle_clash(&rep->oracle.now, leaf))
		return;
	struct replica_version version = new_version(world, leaf, fact);
	trace(world, "%s %s at %d", delete ? "delete" : "write", model_leaf_paths[leaf], who);
	must(world,
		replica_tree_event(
			rep->tree, model_leaf_paths[leaf], delete ? NULL : &version, NULL),
		"event");
	oracle_event(world, who, leaf, delete ? NULL : &version, !fact->live);
	fact->stamp++;
}

static void delete_all(struct world *world, int who, const char *path)
{
	struct rep *rep = &world->reps[who];
	uint64_t count, expected = 0;
	trace(world, "delete all of %s at %d", path, who);
	must(world, replica_tree_event_delete_all(rep->tree, path, &count), "delete_all");
	for (int leaf = 0; leaf < LEAVES; leaf++) {
		struct fact *fact = &rep->oracle.now.facts[leaf];
		if (!fact->live || !replica_path_within(model_leaf_paths[leaf], path))
			continue;
		oracle_event(world, who, leaf, NULL, false);
		fact->stamp++;
		expected++;
	}
	if (count != expected)
		bad(world, "delete_all of %s: %d of %d", path, (int)count, (int)expected);
}

/* In a transaction of its own, unless a pull has one open. */
static void local_change(struct world *world, int who)
{
	struct replica_index *index = world->reps[who].index;
	bool own = !replica_index_in_transaction(index);
	if (own)
		must(world, replica_index_begin(index), "begin");
	if (chance(world, 8))
		delete_all(world, who, chance(world, 50) ? "d" : chance(world, 50) ? "z" : "d/e");
	else
		local_event(world, who, (int)draw(world, LEAVES));
	if (own)
		must(world, replica_index_commit(index), "commit");
}

/* ---------------------------------------------------------------- pulls */

struct pull {
	struct world *world;
	int from, into;
	enum replica_policy policy;
	int cut; /* gives up after so many commits; -1: never */
	bool was_cut;
};

static void pull_all(
	struct world *world, int from, int into, const char *path, enum replica_policy policy);

static int find_leaf(const char *path)
{
	for (int leaf = 0; leaf < LEAVES; leaf++)
		if (strcmp(model_leaf_paths[leaf], path) == 0)
			return leaf;
	return -1;
}

struct wanted {
	const struct pull *pull;
	const char *path;
	const struct replica_child *theirs;
	enum replica_policy policy;
};

static int find_wanted(void *arg, const struct replica_conflict *conflict)
{
	struct wanted *wanted = arg;
	bool live = wanted->theirs != NULL && wanted->theirs->version.state != REPLICA_ABSENT;
	bool was = conflict->theirs.state != REPLICA_ABSENT;
	if (conflict->wanted != REPLICA_POLICY_NONE && strcmp(conflict->path, wanted->path) == 0 &&
		live == was &&
		(live ? replica_vt_equal(&conflict->m, &wanted->theirs->m)
		      : conflict->peer == wanted->pull->from + 1))
		wanted->policy = conflict->wanted;
	return 0;
}

/* What a person's choice on record makes of the policy. */
static enum replica_policy policy_at(const struct pull *pull, const struct replica_task *task)
{
	struct rep *b = &pull->world->reps[pull->into];
	struct wanted wanted = {pull, task->path, task->theirs, pull->policy};
	must(pull->world,
		replica_index_conflicts(
			b->index, replica_tree_share(b->tree), task->path, find_wanted, &wanted),
		"conflicts");
	return wanted.policy;
}

/* [I3] A conflict of a version with deletions that it was kept against before. */
static void check_resurfaced(
	struct world *world, int leaf, const struct fact *a, const struct fact *b)
{
	enum replica_verdict base = oracle_decide(a, b, false, REPLICA_POLICY_NONE);
	if (base != REPLICA_VERDICT_CONFLICT_DELETE_UPDATE &&
		base != REPLICA_VERDICT_CONFLICT_UPDATE_DELETE)
		return;
	const struct fact *dead = a->live ? b : a, *live = a->live ? a : b;
	struct set seen = deletions_known(world, leaf, dead);
	if (subset(&seen, &live->outlived))
		bad(world, "RESURFACED %s", model_leaf_paths[leaf]);
}

/* Holds one verdict against the oracle's. */
static void check_verdict(
	const struct pull *pull, const struct snapshot *source, const struct replica_task *task)
{
	struct world *world = pull->world;
	int leaf = find_leaf(task->path);
	if (leaf < 0) {
		bad(world, "TEST unknown leaf %s", task->path);
		return;
	}
	const struct snapshot *mine = &world->reps[pull->into].oracle.now;
	const struct fact *a = &source->facts[leaf], *b = &mine->facts[leaf];
	enum replica_verdict expected = oracle_decide(a, b, is_marker(leaf), policy_at(pull, task));
	if (replica_verdict_action(expected) == REPLICA_DO_INSTALL && !b->live && !task->waits &&
		oracle_clash(mine, leaf))
		expected = REPLICA_VERDICT_CONFLICT_TYPE;
	trace(world, "%s: %s", task->path, replica_verdict_name(task->verdict));
	if (task->verdict != expected) {
		bool asked = task->action == REPLICA_DO_CONFLICT;
		bad(world, "%s %s %d->%d: %s, oracle %s", asked ? "SPURIOUS" : "UNSAFE", task->path,
			pull->from, pull->into, replica_verdict_name(task->verdict),
			replica_verdict_name(expected));
		return;
	}
	check_resurfaced(world, leaf, a, b);
	if ((expected == REPLICA_VERDICT_DELETE || expected == REPLICA_VERDICT_COPY) &&
		!subset(&b->h, &a->known))
		bad(world, "LOST %s", task->path);
}

/* Other things may happen between two steps of a pull. */
static void meanwhile(const struct pull *pull)
{
	struct world *world = pull->world;
	if (world->quiet || world->bad)
		return;
	if (chance(world, 6))
		local_change(world, pull->into);
	if (chance(world, 6))
		local_change(world, pull->from);
	if (world->depth > 1 || !chance(world, 6))
		return;
	/* Someone pulls from us, or the source pulls from someone. */
	int third = (int)draw(world, (unsigned)world->count);
	if (third == pull->into || third == pull->from)
		return;
	bool ours = chance(world, 50);
	pull_all(world, ours ? pull->into : third, ours ? third : pull->from, "",
		(enum replica_policy)draw(world, 4));
}

/* Everything at and below `path` counts as pulled; the oracle must not want more. */
static void check_skipped(const struct pull *pull, const struct snapshot *source, const char *path,
	bool learn, const char *how)
{
	struct world *world = pull->world;
	for (int leaf = 0; leaf < LEAVES; leaf++) {
		if (!replica_path_within(model_leaf_paths[leaf], path) ||
			strcmp(model_leaf_paths[leaf], path) == 0)
			continue;
		struct fact *b = &world->reps[pull->into].oracle.now.facts[leaf];
		enum replica_verdict verdict = oracle_decide(
			&source->facts[leaf], b, is_marker(leaf), REPLICA_POLICY_NONE);
		/*
		 * Pruning looks at events. That they merely came to *know* of our version does not
		 * show; it is kept here, and they meet the conflict when they pull from us.
		 */
		bool kept = verdict == REPLICA_VERDICT_RECREATE_MINE ||
			    verdict == REPLICA_VERDICT_CONFLICT_DELETE_UPDATE;
		if (!passive(verdict) && !kept)
			bad(world, "UNSAFE %s %s %d->%d: oracle %s", how, model_leaf_paths[leaf],
				pull->from, pull->into, replica_verdict_name(verdict));
		if (learn)
			unite(&b->known, &source->facts[leaf].known);
	}
}

static int visit(struct pull *pull, const char *dir, struct replica_listing *listing,
	struct snapshot source, const struct replica_visit *parent);

/* Our fact as it was when a leaf was decided. Gone and gone again is no change. */
struct seen {
	unsigned stamp;
	bool live;
};

static struct seen see(const struct fact *fact)
{
	return (struct seen){fact->stamp, fact->live};
}

static bool changed(const struct seen *seen, const struct fact *fact)
{
	return seen->stamp != fact->stamp && (seen->live || fact->live);
}

/* A leaf task up to its commit. */
static void do_leaf(struct pull *pull, struct replica_visit *visit_, size_t i,
	const struct snapshot *source, struct seen *seen)
{
	struct world *world = pull->world;
	struct replica_task *task = &visit_->tasks[i];
	struct fact *b = &world->reps[pull->into].oracle.now.facts[find_leaf(task->path)];
	if (task->waits || chance(world, 50)) {
		task->waits = false;
		must(world, replica_visit_redecide(visit_, i), "redecide");
		check_verdict(pull, source, task);
		*seen = see(b);
	}
	if (world->bad ||
		(task->action != REPLICA_DO_INSTALL && task->action != REPLICA_DO_DELETE &&
			task->action != REPLICA_DO_MERGE))
		return;
	int leaf = find_leaf(task->path);
	struct replica_version merged = new_version(world, leaf, b);
	bool merge = task->action == REPLICA_DO_MERGE;
	bool clash = task->action == REPLICA_DO_INSTALL && !b->live &&
		     oracle_clash(&world->reps[pull->into].oracle.now, leaf);
	int rc = replica_visit_commit(visit_, i, NULL, merge ? &merged : NULL);
	trace(world, "commit %s: %d", task->path, rc);
	if (changed(seen, b)) {
		if (rc != THRUM_ECHANGED)
			bad(world, "UNSAFE %s committed over a local event: %d", task->path, rc);
		return;
	}
	if (clash) {
		if (rc != -EEXIST)
			bad(world, "UNSAFE %s committed over a clash: %d", task->path, rc);
		return;
	}
	must(world, rc, "commit of a leaf");
	oracle_apply(world, pull->into, leaf, task->verdict, &source->facts[leaf], &merged);
	world->changes++;
}

/* What the close must do with a leaf that was not committed. Returns whether it is complete. */
static bool expect_at_close(struct pull *pull, struct replica_visit *visit_, size_t i,
	const struct snapshot *source, const struct seen *seen)
{
	struct world *world = pull->world;
	struct rep *rep = &world->reps[pull->into];
	struct replica_task *task = &visit_->tasks[i];
	int leaf = find_leaf(task->path);
	const struct fact *a = &source->facts[leaf];
	struct fact *b = &rep->oracle.now.facts[leaf];
	if (task->committed_)
		return true;
	if (task->failed_)
		return false;
	if (passive(task->verdict)) {
		oracle_apply(world, pull->into, leaf,
			changed(seen, b) ? REPLICA_VERDICT_INDEPENDENT : task->verdict, a, NULL);
		return true;
	}
	if (task->action != REPLICA_DO_NONE && task->action != REPLICA_DO_CONFLICT)
		return false;
	/* Decided anew at the close. */
	enum replica_verdict verdict = oracle_decide(a, b, is_marker(leaf), policy_at(pull, task));
	if (replica_verdict_action(verdict) == REPLICA_DO_INSTALL && !b->live &&
		oracle_clash(&rep->oracle.now, leaf))
		verdict = REPLICA_VERDICT_CONFLICT_TYPE;
	if (replica_verdict_action(verdict) == REPLICA_DO_CONFLICT) {
		rep->oracle.at_conflict[pull->from].facts[leaf] = *a;
		world->unsettled++;
	}
	if (replica_verdict_action(verdict) != REPLICA_DO_NONE)
		return false;
	world->changes += !passive(verdict);
	oracle_apply(world, pull->into, leaf, verdict, a, NULL);
	return true;
}

static void get_listing(struct pull *pull, const char *dir, const char *only,
	struct replica_listing *listing, struct snapshot *source)
{
	struct rep *rep = &pull->world->reps[pull->from];
	must(pull->world, replica_tree_list(rep->tree, dir, only, listing), "list");
	must(pull->world, replica_listing_check(listing, dir[0] == '\0'), "listing_check");
	*source = rep->oracle.now;
}

static bool do_container(
	struct pull *pull, struct replica_visit *visit_, size_t i, const struct snapshot *source)
{
	struct replica_task *task = &visit_->tasks[i];
	struct replica_listing listing = {0};
	struct snapshot newer = *source;
	int rc = replica_visit_child_listing(visit_, i, &listing);
	must(pull->world, rc, "child_listing");
	if (rc == 0)
		get_listing(pull, task->path, NULL, &listing, &newer);
	trace(pull->world, "visit %s%s", task->path, rc == 1 ? ", absent there" : "");
	int complete = visit(pull, task->path, &listing, newer, visit_);
	replica_visit_child(visit_, i, complete == 1);
	return complete == 1;
}

/* Leaves of this directory that neither side lists. */
static void check_unlisted(struct pull *pull, const struct replica_visit *visit_, const char *only,
	const struct snapshot *source, bool complete)
{
	struct world *world = pull->world;
	for (int leaf = 0; leaf < LEAVES; leaf++) {
		const char *path = model_leaf_paths[leaf];
		bool listed =
			!replica_path_within(path, visit_->path) || strcmp(path, visit_->path) == 0;
		for (size_t i = 0; i < visit_->count && !listed; i++)
			listed = visit_->tasks[i].kind == REPLICA_LEAF
					 ? strcmp(visit_->tasks[i].path, path) == 0
					 : replica_path_within(path, visit_->tasks[i].path) &&
						   strcmp(path, visit_->tasks[i].path) != 0;
		if (listed || only != NULL)
			continue;
		struct fact *b = &world->reps[pull->into].oracle.now.facts[leaf];
		enum replica_verdict verdict = oracle_decide(
			&source->facts[leaf], b, is_marker(leaf), REPLICA_POLICY_NONE);
		/* A local event after the listing is no news to the source. */
		if (verdict != REPLICA_VERDICT_BOTH_ABSENT &&
			verdict != REPLICA_VERDICT_INDEPENDENT)
			bad(world, "UNSAFE unlisted %s: oracle %s", path,
				replica_verdict_name(verdict));
		if (complete)
			unite(&b->known, &source->facts[leaf].known);
	}
}

/* Closes a visit and holds what it says against what the oracle expects. */
static int close_visit(struct pull *pull, struct replica_visit *visit_, bool complete,
	const struct snapshot *source, const struct seen *seen, const char *only)
{
	struct world *world = pull->world;
	for (size_t i = 0; i < visit_->count; i++) {
		const struct replica_task *task = &visit_->tasks[i];
		if (task->kind == REPLICA_LEAF)
			complete &= expect_at_close(pull, visit_, i, source, &seen[i]);
		else if (task->pruned)
			check_skipped(pull, source, task->path, true, "pruned");
	}
	check_unlisted(pull, visit_, only, source, complete);
	int rc = replica_visit_close(visit_);
	trace(world, "close '%s': %d", visit_->path, rc);
	must(world, rc, "close");
	if (rc >= 0 && rc != complete)
		bad(world, "COMPLETE %d, oracle %d at '%s'", rc, complete, visit_->path);
	return rc;
}

/* Returns 1 (complete), 0, or -1 (cut short). Takes the listing. */
static int visit(struct pull *pull, const char *dir, struct replica_listing *listing,
	struct snapshot source, const struct replica_visit *parent)
{
	struct world *world = pull->world;
	struct rep *rep = &world->reps[pull->into];
	struct replica_visit visit_;
	char only[64] = "";
	if (listing->only != NULL)
		snprintf(only, sizeof(only), "%s", listing->only);
	meanwhile(pull); /* the listing is old by now */
	int rc = replica_visit_open(
		&visit_, rep->tree, dir, listing, pull->from + 1, pull->policy, parent);
	must(world, rc, "visit_open");
	if (rc < 0)
		return -1;
	struct seen seen[2 * LEAVES] = {0};
	for (size_t i = 0; i < visit_.count; i++) {
		int leaf = find_leaf(visit_.tasks[i].path);
		if (visit_.tasks[i].kind != REPLICA_LEAF)
			continue;
		check_verdict(pull, &source, &visit_.tasks[i]);
		seen[i] = see(&rep->oracle.now.facts[leaf]);
	}
	if (visit_.pruned)
		check_skipped(pull, &source, dir, true, "pruned");
	bool complete = true;
	for (size_t i = 0; i < visit_.count && !world->bad && !pull->was_cut; i++) {
		struct replica_task *task = &visit_.tasks[i];
		meanwhile(pull);
		if (task->kind == REPLICA_LEAF)
			do_leaf(pull, &visit_, i, &source, &seen[i]);
		else if (!task->pruned)
			complete &= do_container(pull, &visit_, i, &source);
		pull->was_cut |= pull->cut-- == 0;
	}
	meanwhile(pull);
	rc = -1;
	if (!world->bad && !pull->was_cut)
		rc = visit_.pruned ? replica_visit_close(&visit_)
				   : close_visit(pull, &visit_, complete, &source, seen,
					     only[0] ? only : NULL);
	replica_visit_fini(&visit_);
	return rc;
}

/* [I6] [I7] over one directory and all below. */
static void check_bounds(struct world *world, int who, const char *dir)
{
	struct rep *rep = &world->reps[who];
	const struct replica_id *me = replica_index_id(rep->index);
	struct replica_listing listing;
	must(world, replica_tree_list(rep->tree, dir, NULL, &listing), "list");
	for (size_t i = 0; i < listing.count && !world->bad; i++) {
		const struct replica_child *child = &listing.children[i];
		if (!replica_vt_leq(&child->m, &listing.m) && !mutant(MUTANT_EMPTY_GHOST_M))
			bad(world, "I7 at %d: %s/%s is newer than its directory", who, dir,
				child->name);
		if (replica_vt_get(&child->s, me) > replica_index_now(rep->index))
			bad(world, "I6 at %s/%s", dir, child->name);
		char path[64];
		snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] ? "/" : "", child->name);
		if (child->kind == REPLICA_CONTAINER)
			check_bounds(world, who, path);
	}
	if (replica_vt_get(&listing.s, me) != replica_index_now(rep->index))
		bad(world, "I6 at '%s'", dir);
	replica_listing_fini(&listing);
}

/* A replica hears that its events are known up to `time`. 1 if it takes a new id. */
static int meet(struct world *world, int who, uint64_t time)
{
	struct rep *rep = &world->reps[who];
	bool own = !replica_index_in_transaction(rep->index);
	struct replica_vt known = {0};
	replica_vt_single(&known, replica_index_id(rep->index), time);
	if (own)
		must(world, replica_index_begin(rep->index), "begin");
	int rc = replica_tree_restored(rep->tree, &known);
	must(world, rc, "restored");
	if (own)
		must(world, replica_index_commit(rep->index), "commit");
	trace(world, "%d meets one who knows %d: %d", who, (int)time, rc);
	return rc;
}

/* Before a pull the source hears what is known of it. */
static void greet(struct world *world, int from, int into)
{
	uint64_t time;
	must(world,
		replica_index_known(
			world->reps[into].index, replica_index_id(world->reps[from].index), &time),
		"known");
	if (meet(world, from, time) != 0)
		bad(world, "I6 %d was known to %d up to %d", from, into, (int)time);
}

static void pull_all(
	struct world *world, int from, int into, const char *path, enum replica_policy policy)
{
	struct rep *b = &world->reps[into];
	struct pull pull = {world, from, into, policy, -1, false};
	struct replica_listing listing = {0};
	struct snapshot source;
	struct oracle before = b->oracle;
	char parent[64];
	size_t len;
	if (replica_index_in_transaction(b->index) || world->bad)
		return; /* it is pulling already */
	/* A full disk, say. In truth nobody lists us while a transaction is open: so nobody does
	 * here. */
	bool quiet = world->quiet, undo = !quiet && world->depth == 0 && chance(world, 3);
	world->quiet |= undo;
	if (!world->quiet && chance(world, 5))
		pull.cut = (int)draw(world, 4);
	trace(world, "pull %d -> %d '%s' policy %d%s%s", from, into, path, (int)policy,
		undo ? ", undone" : "", pull.cut >= 0 ? ", cut" : "");
	world->depth++;
	const char *name = replica_path_last(path, &len);
	snprintf(parent, sizeof(parent), "%.*s", (int)len, path);
	greet(world, from, into);
	must(world, replica_index_begin(b->index), "begin");
	get_listing(&pull, parent, path[0] ? name : NULL, &listing, &source);
	visit(&pull, parent, &listing, source, NULL);
	world->depth--;
	world->quiet = quiet;
	if (undo) {
		replica_index_rollback(b->index);
		b->oracle = before;
	} else {
		must(world, replica_index_commit(b->index), "commit");
	}
}

/* ---------------------------------------------------------------- a person resolves */

struct resolution {
	struct world *world;
	int who;
};

static int expect_resolved(void *arg, const struct replica_conflict *conflict)
{
	struct resolution *resolution = arg;
	struct world *world = resolution->world;
	struct oracle *oracle = &world->reps[resolution->who].oracle;
	int leaf = find_leaf(conflict->path);
	const struct fact *a = &oracle->at_conflict[conflict->peer - 1].facts[leaf];
	struct fact *b = &oracle->now.facts[leaf];
	enum replica_verdict verdict = oracle_decide(a, b, is_marker(leaf), REPLICA_POLICY_MINE);
	if (conflict->verdict == REPLICA_VERDICT_CONFLICT_TYPE && !b->live &&
		replica_verdict_action(verdict) == REPLICA_DO_INSTALL)
		verdict = REPLICA_VERDICT_KEEP_DELETED;
	if (replica_verdict_action(verdict) == REPLICA_DO_NONE)
		oracle_apply(world, resolution->who, leaf, verdict, a, NULL);
	b->stamp++;
	return 0;
}

static void resolve(struct world *world, int who, const char *path, enum replica_policy how)
{
	struct rep *rep = &world->reps[who];
	struct resolution resolution = {world, who};
	uint64_t count;
	if (how == REPLICA_POLICY_MINE)
		must(world,
			replica_index_conflicts(rep->index, replica_tree_share(rep->tree), path,
				expect_resolved, &resolution),
			"conflicts");
	trace(world, "resolve '%s' at %d: %d", path, who, (int)how);
	must(world, replica_index_begin(rep->index), "begin");
	int rc = replica_tree_resolve(rep->tree, path, how, &count);
	if (rc != -ENOENT)
		must(world, rc, "resolve");
	must(world, replica_index_commit(rep->index), "commit");
}

/* ---------------------------------------------------------------- backup and restore */

static void take_backup(struct world *world, int who)
{
	struct rep *rep = &world->reps[who];
	trace(world, "backup of %d", who);
	/* There has been a contact, so that the next start begins a new span of stamps. */
	meet(world, who, 0);
	sqlite3_free(world->backup.bytes);
	world->backup.bytes = sqlite3_serialize(rep->index->db, "main", &world->backup.size, 0);
	world->backup.who = who;
	world->backup.taken = world->backup.bytes != NULL;
	world->backup.oracle = rep->oracle;
	world->backup.id = rep->id;
}

/* Replaces what an index holds. */
static void load_backup(struct world *world, struct rep *rep)
{
	sqlite3 *from = NULL;
	replica_tree_close(rep->tree);
	int ok = sqlite3_open(":memory:", &from) == SQLITE_OK &&
		 sqlite3_deserialize(from, "main", world->backup.bytes, world->backup.size,
			 world->backup.size, SQLITE_DESERIALIZE_READONLY) == SQLITE_OK;
	sqlite3_backup *copy =
		ok ? sqlite3_backup_init(rep->index->db, "main", from, "main") : NULL;
	if (copy == NULL || sqlite3_backup_step(copy, -1) != SQLITE_DONE)
		bad(world, "TEST the backup could not be loaded");
	sqlite3_backup_finish(copy);
	sqlite3_close(from);
	must(world, replica_index_reload(rep->index), "reload");
	must(world, replica_tree_open(&rep->tree, rep->index, rep->share), "tree_open");
}

static void restore(struct world *world)
{
	int who = world->backup.who;
	struct rep *rep = &world->reps[who];
	trace(world, "restore of %d", who);
	load_backup(world, rep);
	rep->oracle = world->backup.oracle;
	world->backup.taken = false;
	rep->id = world->backup.id;
	unsigned since = world->events;
	/* It works on, and only then meets those who know better. */
	for (unsigned i = draw(world, 3); i > 0 && !world->bad; i--)
		local_change(world, who);
	uint64_t most = 0;
	for (int i = 0; i < world->count && !world->bad; i++) {
		uint64_t time = 0;
		if (i != who)
			must(world,
				replica_index_known(
					world->reps[i].index, replica_index_id(rep->index), &time),
				"known");
		most = time > most ? time : most;
	}
	if (meet(world, who, most) == 1) {
		/* What happened since is known by the new id alone. */
		rep->id = world->ids++;
		for (unsigned event = since; event < world->events; event++)
			world->owners[event] = rep->id;
	}
}

/* ---------------------------------------------------------------- histories */

void model_open(struct world *world, int count)
{
	*world = (struct world){.count = count};
	for (int i = 0; i < count; i++) {
		struct rep *rep = &world->reps[i];
		CHECK(replica_index_open(&rep->index, ":memory:", NULL) == 0);
		for (int peer = 0; peer < count; peer++) {
			struct replica_peer row = {.key = {(uint8_t)(peer + 1)}};
			int64_t id;
			CHECK(replica_index_peer_put(rep->index, &row, &id) == 0);
			CHECK(id == peer + 1);
		}
	}
}

void model_close(struct world *world)
{
	sqlite3_free(world->backup.bytes);
	for (int i = 0; i < world->count; i++) {
		replica_tree_close(world->reps[i].tree);
		replica_index_close(world->reps[i].index);
	}
}

/* An empty share everywhere. */
static void start_over(struct world *world, uint64_t seed)
{
	world->random = seed;
	world->events = 0;
	world->versions = 10;
	world->depth = 0;
	world->ids = REPLICAS_MAX;
	world->quiet = world->bad = world->backup.taken = false;
	memset(world->deletions, 0, sizeof(world->deletions));
	for (int i = 0; i < world->count; i++) {
		struct rep *rep = &world->reps[i];
		struct replica_share share = {.name = "share", .dir = "/share"};
		replica_index_rollback(rep->index);
		replica_tree_close(rep->tree);
		rep->tree = NULL;
		rep->oracle = (struct oracle){0};
		rep->id = i;
		/* As if new: a history must not depend on those before it. */
		rep->index->meta = (struct replica_meta){.id = {{(uint8_t)(0x10 * i + 1)}}};
		if (rep->share != 0)
			must(world, replica_index_share_remove(rep->index, rep->share),
				"share_remove");
		must(world, replica_index_share_add(rep->index, &share, &rep->share), "share_add");
		must(world, replica_tree_open(&rep->tree, rep->index, rep->share), "tree_open");
	}
}

static void random_step(struct world *world)
{
	unsigned x = draw(world, 100);
	int who = (int)draw(world, (unsigned)world->count);
	if (x < 35) {
		local_change(world, who);
	} else if (x < 39) {
		if (!world->backup.taken)
			take_backup(world, who);
		else
			restore(world);
	} else if (x < 44) {
		resolve(world, who, targets[draw(world, thrum__countof(targets))],
			chance(world, 70) ? REPLICA_POLICY_MINE : REPLICA_POLICY_THEIRS);
	} else if (x < 46) {
		must(world, replica_index_begin(world->reps[who].index), "begin");
		must(world, replica_tree_reclaim(world->reps[who].tree), "reclaim");
		must(world, replica_index_commit(world->reps[who].index), "commit");
	} else {
		int other = (who + 1 + (int)draw(world, (unsigned)world->count - 1)) % world->count;
		pull_all(world, who, other, targets[draw(world, thrum__countof(targets))],
			(enum replica_policy)draw(world, 4));
	}
}

/* [I5] Pulls all around until nothing changes. Then all trees must be the same. */
static void settle_all(struct world *world)
{
	world->quiet = true;
	for (int round = 0; round < 20 && !world->bad; round++) {
		world->changes = world->unsettled = 0;
		for (int from = 0; from < world->count; from++)
			for (int into = 0; into < world->count && !world->bad; into++) {
				if (from == into)
					continue;
				unsigned conflicts = world->unsettled;
				pull_all(world, from, into, "", REPLICA_POLICY_MERGE);
				/* Only clashes of type are left to a person: mine, then. */
				if (world->unsettled != conflicts)
					resolve(world, into, "", REPLICA_POLICY_MINE);
			}
		if (world->changes + world->unsettled == 0)
			return;
	}
	bad(world, "I5 no rest after 20 rounds");
}

static void check_same(struct world *world, int who)
{
	struct rep *rep = &world->reps[who];
	uint64_t conflicts;
	for (int leaf = 0; leaf < LEAVES && !world->bad; leaf++) {
		struct replica_entry row = {0};
		const struct fact *first = &world->reps[0].oracle.now.facts[leaf];
		int rc = replica_tree_leaf(rep->tree, model_leaf_paths[leaf], &row);
		if (rc != -ENOENT)
			must(world, rc, "leaf");
		if (!replica_version_equal(&row.version, &first->version))
			bad(world, "I5 %s differs at %d", model_leaf_paths[leaf], who);
		replica_entry_fini(&row);
	}
	must(world, replica_index_conflict_count(rep->index, rep->share, &conflicts),
		"conflict_count");
	if (conflicts != 0)
		bad(world, "I5 %d conflicts on record at %d", (int)conflicts, who);
	check_bounds(world, who, "");
}

bool model_run(struct world *world, uint64_t seed)
{
	start_over(world, seed);
	for (unsigned steps = 6 + draw(world, 35); steps > 0 && !world->bad; steps--)
		random_step(world);
	for (int i = 0; i < world->count && !world->bad; i++)
		check_bounds(world, i, "");
	if (!world->bad)
		settle_all(world);
	for (int i = 0; i < world->count && !world->bad; i++)
		check_same(world, i);
	return !world->bad;
}
