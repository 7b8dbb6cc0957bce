/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "replica/index_internal.h"

/* Two or three replicas, a share each, everything in memory. The model test is the thorough one. */
static struct rep {
	struct replica_index *index;
	struct replica_tree *tree;
	int64_t share;
} reps[3];

enum { A, B, C };

static void setup(void)
{
	for (int i = 0; i < 3; i++) {
		struct replica_share share = {.name = "s", .dir = "/s"};
		struct replica_peer peer = {.key = {1}};
		int64_t id;
		ck_assert_int_eq(replica_index_open(&reps[i].index, ":memory:", NULL), 0);
		ck_assert_int_eq(replica_index_share_add(reps[i].index, &share, &reps[i].share), 0);
		for (peer.key[0] = 1; peer.key[0] <= 3; peer.key[0]++)
			ck_assert_int_eq(replica_index_peer_put(reps[i].index, &peer, &id), 0);
		ck_assert_int_eq(replica_tree_open(&reps[i].tree, reps[i].index, reps[i].share), 0);
	}
}

static void teardown(void)
{
	for (int i = 0; i < 3; i++) {
		replica_index_rollback(reps[i].index);
		replica_tree_close(reps[i].tree);
		replica_index_close(reps[i].index);
	}
}

static void begin(int who)
{
	ck_assert_int_eq(replica_index_begin(reps[who].index), 0);
}

static void commit(int who)
{
	ck_assert_int_eq(replica_index_commit(reps[who].index), 0);
}

static struct replica_version file(uint8_t content)
{
	return (struct replica_version){.state = REPLICA_FILE,
		.mode = 0644,
		.size = 10,
		.mtime_ns = content,
		.hash = {content}};
}

static void put(int who, const char *path, uint8_t content)
{
	struct replica_version version = file(content);
	if (path[strlen(path) - 1] == '.')
		version = (struct replica_version){.state = REPLICA_DIRMARK, .mode = content};
	begin(who);
	ck_assert_int_eq(replica_tree_event(reps[who].tree, path, &version, NULL), 0);
	commit(who);
}

static void drop(int who, const char *path)
{
	uint64_t count;
	begin(who);
	ck_assert_int_eq(replica_tree_event_delete_all(reps[who].tree, path, &count), 0);
	ck_assert_uint_gt(count, 0);
	commit(who);
}

/* The content of a file: 0 if it is not there. */
static int content(int who, const char *path)
{
	struct replica_entry entry = {0};
	int rc = replica_tree_leaf(reps[who].tree, path, &entry);
	int is = rc == 0 && entry.version.state != REPLICA_ABSENT
			 ? (entry.version.state == REPLICA_FILE ? entry.version.hash[0]
								: (int)entry.version.mode)
			 : 0;
	ck_assert(rc == 0 || rc == -ENOENT);
	replica_entry_fini(&entry);
	return is;
}

struct pulled {
	unsigned visits, pruned, installed, deleted, conflicts;
};

static int pull_dir(int from, int into, const char *dir, struct replica_listing *listing,
	const struct replica_visit *parent, enum replica_policy policy, struct pulled *pulled)
{
	struct replica_visit visit;
	ck_assert_int_eq(
		replica_visit_open(&visit, reps[into].tree, dir, listing, from + 1, policy, parent),
		0);
	pulled->visits++;
	pulled->pruned += visit.pruned;
	for (size_t i = 0; i < visit.count; i++) {
		struct replica_task *task = &visit.tasks[i];
		if (task->kind == REPLICA_CONTAINER) {
			struct replica_listing child = {0};
			if (task->pruned)
				continue;
			int rc = replica_visit_child_listing(&visit, i, &child);
			if (rc == 0)
				rc = replica_tree_list(reps[from].tree, task->path, NULL, &child);
			ck_assert_int_ge(rc, 0);
			replica_visit_child(&visit, i,
				pull_dir(from, into, task->path, &child, &visit, policy, pulled));
			continue;
		}
		if (task->waits)
			ck_assert_int_eq(replica_visit_redecide(&visit, i), 0);
		pulled->conflicts += task->action == REPLICA_DO_CONFLICT;
		if (task->action != REPLICA_DO_INSTALL && task->action != REPLICA_DO_DELETE)
			continue;
		pulled->installed += task->action == REPLICA_DO_INSTALL;
		pulled->deleted += task->action == REPLICA_DO_DELETE;
		ck_assert_int_eq(replica_visit_commit(&visit, i, NULL, NULL), 0);
	}
	int complete = replica_visit_close(&visit);
	ck_assert_int_ge(complete, 0);
	replica_visit_fini(&visit);
	return complete;
}

/* As a server must before it lists anything. */
static void meet(int server, int client)
{
	const struct replica_id *id = replica_index_id(reps[server].index);
	struct replica_vt known = {0};
	uint64_t time;
	ck_assert_int_eq(replica_index_known(reps[client].index, id, &time), 0);
	replica_vt_single(&known, id, time);
	begin(server);
	ck_assert_int_eq(replica_tree_restored(reps[server].tree, &known), 0);
	commit(server);
}

/* What A shows to B. */
static void list_root(struct replica_listing *listing)
{
	meet(A, B);
	ck_assert_int_eq(replica_tree_list(reps[A].tree, "", NULL, listing), 0);
}

static struct pulled pull_known(int from, int into, const char *path, enum replica_policy policy)
{
	struct pulled pulled = {0};
	struct replica_listing listing = {0};
	size_t len;
	const char *name = replica_path_last(path, &len);
	char parent[256];
	snprintf(parent, sizeof(parent), "%.*s", (int)len, path);
	begin(into);
	ck_assert_int_eq(
		replica_tree_list(reps[from].tree, parent, path[0] ? name : NULL, &listing), 0);
	pull_dir(from, into, parent, &listing, NULL, policy, &pulled);
	commit(into);
	return pulled;
}

static struct pulled pull(int from, int into, const char *path, enum replica_policy policy)
{
	meet(from, into);
	return pull_known(from, into, path, policy);
}

/* ---------------------------------------------------------------- pulls */

START_TEST(a_tree_arrives_and_is_pruned_the_next_time)
{
	put(A, "d/.", 7);
	put(A, "d/e/.", 7);
	put(A, "d/e/x", 1);
	put(A, "y", 2);
	struct pulled pulled = pull(A, B, "", REPLICA_POLICY_NONE);
	ck_assert_uint_eq(pulled.installed, 4);
	ck_assert_uint_eq(pulled.visits, 3);
	ck_assert_int_eq(content(B, "d/e/x"), 1);
	ck_assert_int_eq(content(B, "d/e/."), 7);
	pulled = pull(A, B, "", REPLICA_POLICY_NONE);
	ck_assert_uint_eq(pulled.visits, 1);
	ck_assert_uint_eq(pulled.pruned, 1);
	put(A, "y", 3);
	pulled = pull(A, B, "", REPLICA_POLICY_NONE);
	ck_assert_uint_eq(pulled.visits, 1); /* d is pruned by the root's listing */
	ck_assert_uint_eq(pulled.installed, 1);
}
END_TEST

START_TEST(a_deleted_directory_leaves_no_rows_behind)
{
	struct replica_counts counts;
	put(A, "d/.", 7);
	put(A, "d/e/x", 1);
	pull(A, B, "", REPLICA_POLICY_NONE);
	drop(A, "d");
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).deleted, 2);
	ck_assert_int_eq(replica_tree_live(reps[B].tree, ""), 0);
	begin(A);
	ck_assert_int_eq(replica_tree_reclaim(reps[A].tree), 0);
	commit(A);
	for (int who = A; who <= B; who++) {
		struct replica_listing listing;
		ck_assert_int_eq(replica_tree_count(reps[who].tree, &counts), 0);
		ck_assert_uint_eq(counts.ghosts + counts.files + counts.dirs, 0);
		ck_assert_int_eq(replica_tree_list(reps[who].tree, "", NULL, &listing), 0);
		ck_assert_uint_eq(listing.count, 0);
		replica_listing_fini(&listing);
	}
}
END_TEST

START_TEST(a_deletion_is_not_undone_by_a_replica_that_was_away)
{
	put(A, "x", 1);
	pull(A, B, "", REPLICA_POLICY_NONE);
	pull(A, C, "", REPLICA_POLICY_NONE);
	drop(A, "x");
	pull(A, B, "", REPLICA_POLICY_NONE);
	pull(C, B, "", REPLICA_POLICY_NONE); /* C still has it */
	ck_assert_int_eq(content(B, "x"), 0);
	pull(B, C, "", REPLICA_POLICY_NONE);
	ck_assert_int_eq(content(C, "x"), 0);
}
END_TEST

START_TEST(one_path_is_pulled_alone_and_the_rest_later)
{
	put(A, "d/x", 1);
	put(A, "d/y", 2);
	put(A, "e/z", 3);
	ck_assert_uint_eq(pull(A, B, "d/x", REPLICA_POLICY_NONE).installed, 1);
	ck_assert_int_eq(content(B, "d/y"), 0);
	ck_assert_uint_eq(pull(A, B, "e", REPLICA_POLICY_NONE).installed, 1);
	/* A third replica sees, through B, what B has, and can still get the rest from A. */
	ck_assert_uint_eq(pull(B, C, "", REPLICA_POLICY_NONE).installed, 2);
	ck_assert_uint_eq(pull(A, C, "", REPLICA_POLICY_NONE).installed, 1);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).installed, 1);
	ck_assert_int_eq(content(C, "d/y"), 2);
}
END_TEST

START_TEST(a_pull_of_a_path_nobody_has_changes_nothing)
{
	put(A, "x", 1);
	struct pulled pulled = pull(A, B, "no/such/path", REPLICA_POLICY_NONE);
	ck_assert_uint_eq(pulled.installed + pulled.deleted + pulled.conflicts, 0);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).installed, 1);
}
END_TEST

START_TEST(a_given_up_visit_keeps_what_was_committed)
{
	struct replica_listing listing;
	struct replica_visit visit;
	put(A, "x", 1);
	put(A, "y", 2);
	begin(B);
	list_root(&listing);
	ck_assert_int_eq(replica_visit_open(
				 &visit, reps[B].tree, "", &listing, 1, REPLICA_POLICY_NONE, NULL),
		0);
	ck_assert_int_eq(replica_visit_commit(&visit, 0, NULL, NULL), 0);
	replica_visit_fini(&visit);
	commit(B);
	ck_assert_int_eq(content(B, "x"), 1);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).installed, 1);
}
END_TEST

/* ---------------------------------------------------------------- what may go wrong */

START_TEST(a_leaf_that_changed_since_it_was_decided_is_not_overwritten)
{
	struct replica_listing listing;
	struct replica_visit visit;
	put(A, "x", 1);
	pull(A, B, "", REPLICA_POLICY_NONE);
	put(A, "x", 2);
	list_root(&listing);
	begin(B);
	ck_assert_int_eq(replica_visit_open(
				 &visit, reps[B].tree, "", &listing, 1, REPLICA_POLICY_NONE, NULL),
		0);
	commit(B);
	ck_assert_int_eq(visit.tasks[0].verdict, REPLICA_VERDICT_COPY);
	put(B, "x", 3);
	begin(B);
	ck_assert_int_eq(replica_visit_commit(&visit, 0, NULL, NULL), THRUM_ECHANGED);
	ck_assert_int_eq(replica_visit_close(&visit), 0);
	replica_visit_fini(&visit);
	commit(B);
	ck_assert_int_eq(content(B, "x"), 3);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).conflicts, 1);
}
END_TEST

START_TEST(a_rolled_back_commit_is_not_counted_as_complete)
{
	struct replica_listing listing;
	struct replica_visit visit;
	put(A, "x", 1);
	list_root(&listing);
	begin(B);
	ck_assert_int_eq(replica_visit_open(
				 &visit, reps[B].tree, "", &listing, 1, REPLICA_POLICY_NONE, NULL),
		0);
	ck_assert_int_eq(replica_visit_commit(&visit, 0, NULL, NULL), 0);
	replica_index_rollback(reps[B].index);
	begin(B);
	ck_assert_int_eq(replica_visit_close(&visit), 0);
	commit(B);
	replica_visit_fini(&visit);
	ck_assert_int_eq(content(B, "x"), 0);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).installed, 1);
}
END_TEST

START_TEST(a_second_pull_of_the_share_has_to_wait)
{
	struct replica_listing listing;
	struct replica_visit first, second;
	put(A, "x", 1);
	begin(B);
	list_root(&listing);
	ck_assert_int_eq(replica_visit_open(
				 &first, reps[B].tree, "", &listing, 1, REPLICA_POLICY_NONE, NULL),
		0);
	list_root(&listing);
	ck_assert_int_eq(replica_visit_open(
				 &second, reps[B].tree, "", &listing, 1, REPLICA_POLICY_NONE, NULL),
		-EBUSY);
	ck_assert_ptr_null(listing.children); /* taken, on failure too */
	replica_visit_fini(&first);
	commit(B);
	pull(A, B, "", REPLICA_POLICY_NONE);
}
END_TEST

static const struct {
	const char *name;
	enum replica_kind kind;
	enum replica_state state;
} hostile[] = {
	{"..", REPLICA_LEAF, REPLICA_FILE},
	{"..", REPLICA_CONTAINER, REPLICA_ABSENT},
	{".", REPLICA_CONTAINER, REPLICA_ABSENT},
	{".", REPLICA_LEAF, REPLICA_DIRMARK}, /* of the root */
	{"", REPLICA_LEAF, REPLICA_FILE},
	{"a/b", REPLICA_LEAF, REPLICA_FILE},
	{"/etc", REPLICA_CONTAINER, REPLICA_ABSENT},
	{".replica", REPLICA_CONTAINER, REPLICA_ABSENT},
	{".replica", REPLICA_LEAF, REPLICA_FILE},
	{"x", REPLICA_LEAF, REPLICA_DIRMARK},
	{"x", REPLICA_LEAF, REPLICA_SYMLINK}, /* without a target */
	{"x", (enum replica_kind)5, REPLICA_FILE},
	{"x", REPLICA_CONTAINER, REPLICA_FILE},
};

START_TEST(a_listing_with_what_cannot_be_is_refused)
{
	struct replica_listing listing = {.exists = true};
	struct replica_visit visit;
	listing.children = calloc(1, sizeof(*listing.children));
	listing.count = 1;
	struct replica_child *child = listing.children;
	child->kind = hostile[_i].kind;
	child->name = strdup(hostile[_i].name);
	child->version.state = hostile[_i].state;
	replica_vt_single(&child->m, replica_index_id(reps[A].index), 1);
	replica_vt_single(&child->c, replica_index_id(reps[A].index), 1);
	ck_assert_int_eq(replica_listing_check(&listing, true), THRUM_EFORMAT);
	begin(B);
	ck_assert_int_eq(replica_visit_open(
				 &visit, reps[B].tree, "", &listing, 1, REPLICA_POLICY_NONE, NULL),
		THRUM_EFORMAT);
}
END_TEST

START_TEST(a_listing_out_of_order_or_with_a_name_twice_is_refused)
{
	static const char *const pairs[][2] = {{"b", "a"}, {"a", "a"}};
	for (size_t i = 0; i < thrum__countof(pairs); i++) {
		struct replica_listing listing = {.exists = true, .count = 2};
		listing.children = calloc(2, sizeof(*listing.children));
		for (int k = 0; k < 2; k++) {
			listing.children[k].kind = REPLICA_CONTAINER;
			listing.children[k].name = strdup(pairs[i][k]);
		}
		ck_assert_int_eq(replica_listing_check(&listing, true), THRUM_EFORMAT);
		replica_listing_fini(&listing);
	}
}
END_TEST

START_TEST(paths_that_cannot_be_are_refused)
{
	static const char *const wrong[] = {"", "/x", "a/../b", "..", ".", "x/", ".replica/id"};
	struct replica_version version = file(1);
	struct replica_listing listing;
	begin(A);
	for (size_t i = 0; i < thrum__countof(wrong); i++)
		ck_assert_int_lt(replica_tree_event(reps[A].tree, wrong[i], &version, NULL), 0);
	ck_assert_int_eq(replica_tree_list(reps[A].tree, "../x", NULL, &listing), -EINVAL);
	ck_assert_uint_eq(replica_index_now(reps[A].index), 0);
}
END_TEST

START_TEST(a_rollback_takes_the_tree_back)
{
	struct replica_version version = file(1);
	put(A, "d/x", 1);
	begin(A);
	ck_assert_int_eq(replica_tree_event(reps[A].tree, "d/e/f/y", &version, NULL), 0);
	ck_assert_int_eq(replica_tree_event(reps[A].tree, "d/x", NULL, NULL), 0);
	replica_index_rollback(reps[A].index);
	ck_assert_int_eq(content(A, "d/x"), 1);
	ck_assert_int_eq(content(A, "d/e/f/y"), 0);
	ck_assert_uint_eq(replica_index_now(reps[A].index), 1);
	put(A, "d/e/f/y", 2);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).installed, 2);
}
END_TEST

/* ---------------------------------------------------------------- conflicts */

static void make_conflict(void)
{
	put(A, "x", 1);
	pull(A, B, "", REPLICA_POLICY_NONE);
	put(A, "x", 2);
	put(B, "x", 3);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).conflicts, 1);
}

static uint64_t conflicts(int who)
{
	uint64_t count;
	ck_assert_int_eq(replica_index_conflict_count(reps[who].index, reps[who].share, &count), 0);
	return count;
}

static int resolve(int who, const char *path, enum replica_policy how)
{
	uint64_t count;
	begin(who);
	int rc = replica_tree_resolve(reps[who].tree, path, how, &count);
	commit(who);
	return rc;
}

START_TEST(a_conflict_resolved_for_mine_is_gone_everywhere)
{
	make_conflict();
	ck_assert_uint_eq(conflicts(B), 1);
	ck_assert_int_eq(resolve(B, "x", REPLICA_POLICY_MINE), 0);
	ck_assert_uint_eq(conflicts(B), 0);
	ck_assert_uint_eq(pull(B, A, "", REPLICA_POLICY_NONE).installed, 1);
	ck_assert_int_eq(content(A, "x"), 3);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).conflicts, 0);
	ck_assert_uint_eq(pull(A, C, "", REPLICA_POLICY_NONE).installed, 1);
	ck_assert_uint_eq(pull(B, C, "", REPLICA_POLICY_NONE).conflicts, 0);
}
END_TEST

START_TEST(a_conflict_resolved_for_theirs_is_taken_by_the_next_pull)
{
	make_conflict();
	ck_assert_int_eq(resolve(B, "", REPLICA_POLICY_THEIRS), 1);
	ck_assert_int_eq(content(B, "x"), 3);
	ck_assert_uint_eq(pull(A, B, "x", REPLICA_POLICY_NONE).installed, 1);
	ck_assert_int_eq(content(B, "x"), 2);
	ck_assert_uint_eq(conflicts(B), 0);
	ck_assert_uint_eq(pull(B, A, "", REPLICA_POLICY_NONE).conflicts, 0);
}
END_TEST

START_TEST(a_choice_for_theirs_does_not_cover_what_they_wrote_since)
{
	make_conflict();
	ck_assert_int_eq(resolve(B, "x", REPLICA_POLICY_THEIRS), 1);
	put(A, "x", 9);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).conflicts, 1);
	ck_assert_int_eq(content(B, "x"), 3);
}
END_TEST

START_TEST(two_people_who_decide_differently_meet_again)
{
	make_conflict();
	pull(B, A, "", REPLICA_POLICY_NONE);
	resolve(A, "", REPLICA_POLICY_MINE);
	resolve(B, "", REPLICA_POLICY_MINE);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).conflicts, 1);
	ck_assert_int_eq(resolve(B, "", REPLICA_POLICY_MINE), 0);
	ck_assert_uint_eq(pull(B, A, "", REPLICA_POLICY_NONE).installed, 1);
	ck_assert_int_eq(content(A, "x"), 3);
}
END_TEST

START_TEST(nothing_to_resolve_is_said_so)
{
	ck_assert_int_eq(resolve(A, "x", REPLICA_POLICY_MINE), -ENOENT);
	make_conflict();
	ck_assert_int_eq(resolve(B, "y", REPLICA_POLICY_MINE), -ENOENT);
	ck_assert_int_eq(resolve(B, "x", REPLICA_POLICY_NONE), -EINVAL);
}
END_TEST

START_TEST(a_file_becomes_a_directory_and_back)
{
	put(A, "x", 1);
	pull(A, B, "", REPLICA_POLICY_NONE);
	drop(A, "x");
	put(A, "x/.", 7);
	put(A, "x/y", 2);
	struct pulled pulled = pull(A, B, "", REPLICA_POLICY_NONE);
	ck_assert_uint_eq(pulled.deleted, 1);
	ck_assert_uint_eq(pulled.installed, 2);
	ck_assert_int_eq(content(B, "x/y"), 2);
	drop(A, "x");
	put(A, "x", 3);
	pulled = pull(A, B, "", REPLICA_POLICY_NONE);
	ck_assert_uint_eq(pulled.deleted, 2);
	ck_assert_uint_eq(pulled.installed, 1);
	ck_assert_int_eq(content(B, "x"), 3);
	ck_assert_int_eq(replica_tree_live(reps[B].tree, "x/y"), 0);
}
END_TEST

START_TEST(a_file_and_a_directory_of_one_name_are_a_conflict_that_keeps_both)
{
	put(A, "x/y", 1);
	put(B, "x", 2);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).conflicts, 1);
	ck_assert_int_eq(content(B, "x"), 2);
	ck_assert_int_eq(content(B, "x/y"), 0);
	ck_assert_uint_eq(pull(B, A, "", REPLICA_POLICY_NONE).conflicts, 1);
	ck_assert_int_eq(resolve(B, "x", REPLICA_POLICY_MINE), 0);
	ck_assert_uint_eq(conflicts(B), 0);
	struct pulled pulled = pull(B, A, "", REPLICA_POLICY_NONE);
	ck_assert_uint_eq(pulled.deleted, 1);
	ck_assert_uint_eq(pulled.installed, 1);
	ck_assert_int_eq(content(A, "x"), 2);
	ck_assert_uint_eq(conflicts(A), 0);
}
END_TEST

/* ---------------------------------------------------------------- restore */

START_TEST(a_replica_that_was_set_back_takes_a_new_id)
{
	struct replica_id old = *replica_index_id(reps[A].index);
	struct replica_vt known = {0};
	put(A, "x", 1);
	replica_vt_single(&known, &old, 5); /* somebody knows four events that we do not remember */
	begin(A);
	ck_assert_int_eq(replica_tree_restored(reps[A].tree, &known), 1);
	commit(A);
	ck_assert_mem_ne(replica_index_id(reps[A].index), &old, sizeof(old));
	begin(A);
	ck_assert_int_eq(replica_tree_restored(reps[A].tree, &known), 0);
	commit(A);
	/* What is there is a new event now: nobody takes it for the lost one of that number. */
	struct replica_entry entry = {0};
	ck_assert_int_eq(replica_tree_leaf(reps[A].tree, "x", &entry), 0);
	ck_assert_uint_eq(replica_vt_get(&entry.m, &old), 0);
	ck_assert_uint_gt(replica_vt_get(&entry.m, replica_index_id(reps[A].index)), 0);
	replica_entry_fini(&entry);
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).installed, 1);
}
END_TEST

START_TEST(a_contact_makes_later_events_known_and_no_proof_of_a_restore)
{
	struct replica_vt known = {0};
	const struct replica_id *me = replica_index_id(reps[A].index);
	begin(A);
	ck_assert_int_eq(replica_tree_restored(reps[A].tree, &known), 0);
	commit(A);
	put(A, "x", 1);
	pull(A, B, "", REPLICA_POLICY_NONE);
	uint64_t time;
	ck_assert_int_eq(replica_index_known(reps[B].index, me, &time), 0);
	ck_assert_uint_eq(time, 1);
	replica_vt_single(&known, me, time);
	begin(A);
	ck_assert_int_eq(replica_tree_restored(reps[A].tree, &known), 0);
	commit(A);
}
END_TEST

/* ---------------------------------------------------------------- size */

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long peak_mb(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss / 1024;
}

/* THRUM_LEAVES=100000 for the figures of a large tree. */
START_TEST(a_tree_of_many_leaves_is_pulled_without_delay)
{
	const char *text = getenv("THRUM_LEAVES");
	unsigned leaves = text != NULL ? (unsigned)strtoul(text, NULL, 0) : 5000;
	char path[64];
	double start = seconds();
	begin(A);
	for (unsigned i = 0; i < leaves; i++) {
		struct replica_version version = file((uint8_t)i);
		/* Twelve files to a directory: as in /usr/share. */
		snprintf(path, sizeof(path), "top/dir%u/sub%u/file%u", i / 1200, i / 12, i);
		ck_assert_int_eq(replica_tree_event(reps[A].tree, path, &version, NULL), 0);
	}
	commit(A);
	double inserted = seconds();
	ck_assert_uint_eq(pull(A, B, "", REPLICA_POLICY_NONE).installed, leaves);
	double pulled = seconds();
	enum { AGAIN = 200 };
	for (int i = 0; i < AGAIN; i++)
		ck_assert_uint_eq(pull_known(A, B, "", REPLICA_POLICY_NONE).pruned, 1);
	double pruned = seconds();
	struct replica_counts counts;
	ck_assert_int_eq(replica_tree_count(reps[B].tree, &counts), 0);
	ck_assert_uint_eq(counts.files, leaves);
	ck_assert_uint_eq(counts.bytes, 10ull * leaves);
	printf("tree: %u leaves: events %.2f s, pull %.2f s, nothing new %.1f us, peak %ld MB\n",
		leaves, inserted - start, pulled - inserted, (pruned - pulled) / AGAIN * 1e6,
		peak_mb());
}
END_TEST

Suite *suite_tree(void)
{
	Suite *suite = suite_create("replica/tree");
	TCase *basic = tcase_create("basic");
	tcase_add_checked_fixture(basic, setup, teardown);
	tcase_set_timeout(basic, 60);
	tcase_add_test(basic, a_tree_arrives_and_is_pruned_the_next_time);
	tcase_add_test(basic, a_deleted_directory_leaves_no_rows_behind);
	tcase_add_test(basic, a_deletion_is_not_undone_by_a_replica_that_was_away);
	tcase_add_test(basic, one_path_is_pulled_alone_and_the_rest_later);
	tcase_add_test(basic, a_pull_of_a_path_nobody_has_changes_nothing);
	tcase_add_test(basic, a_given_up_visit_keeps_what_was_committed);
	tcase_add_test(basic, a_leaf_that_changed_since_it_was_decided_is_not_overwritten);
	tcase_add_test(basic, a_rolled_back_commit_is_not_counted_as_complete);
	tcase_add_test(basic, a_second_pull_of_the_share_has_to_wait);
	tcase_add_loop_test(
		basic, a_listing_with_what_cannot_be_is_refused, 0, thrum__countof(hostile));
	tcase_add_test(basic, a_listing_out_of_order_or_with_a_name_twice_is_refused);
	tcase_add_test(basic, paths_that_cannot_be_are_refused);
	tcase_add_test(basic, a_rollback_takes_the_tree_back);
	tcase_add_test(basic, a_conflict_resolved_for_mine_is_gone_everywhere);
	tcase_add_test(basic, a_conflict_resolved_for_theirs_is_taken_by_the_next_pull);
	tcase_add_test(basic, a_choice_for_theirs_does_not_cover_what_they_wrote_since);
	tcase_add_test(basic, two_people_who_decide_differently_meet_again);
	tcase_add_test(basic, nothing_to_resolve_is_said_so);
	tcase_add_test(basic, a_file_becomes_a_directory_and_back);
	tcase_add_test(basic, a_file_and_a_directory_of_one_name_are_a_conflict_that_keeps_both);
	tcase_add_test(basic, a_replica_that_was_set_back_takes_a_new_id);
	tcase_add_test(basic, a_contact_makes_later_events_known_and_no_proof_of_a_restore);
	tcase_add_test(basic, a_tree_of_many_leaves_is_pulled_without_delay);
	suite_add_tcase(suite, basic);
	return suite;
}
