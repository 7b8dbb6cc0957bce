/* SPDX-License-Identifier: MIT */
#include "replica/conflict.h"

#include "engine.h"
#include "replica/batch.h"

/* Visits a directory and closes the visit, as a pull does where nothing is to be fetched. */
static void close_visit(const char *dir)
{
	struct replica_visit visit;
	struct replica_batch batch;
	EXPECT_INT(engine_visit(&visit, dir, NULL), 0);
	struct replica_op op = {.visit = &visit, .task = REPLICA_OP_CLOSE};
	EXPECT_INT(replica_batch_start(&batch, engine.folder, engine.link), 0);
	EXPECT_INT(replica_batch_commit(&batch, &op), 0); /* not complete */
	replica_batch_stop(&batch);
	replica_visit_fini(&visit);
}

static void list(const char *within, struct replica_clashes *out)
{
	*out = (struct replica_clashes){0};
	replica_lock(engine.daemon);
	EXPECT_INT(replica_clashes_list(engine.folder, within, out), 0);
	replica_unlock(engine.daemon);
}

static void file_and_directory(void)
{
	struct replica_clashes clashes;
	struct replica_version mark = {.state = REPLICA_DIRMARK, .mode = 0755};
	struct replica_version x = engine_version("x", 100);
	engine_put("d", "a file here", 100);
	EXPECT_INT(engine_scan(), 1);
	engine_source_event("d/.", &mark);
	engine_source_event("d/x", &x);
	engine_source_event("d/y", &x);
	close_visit("d");
	list("", &clashes);
	EXPECT_INT(clashes.count, 1);
	EXPECT_INT(clashes.paths, 1);
	if (clashes.count == 1) {
		EXPECT_INT(strcmp(clashes.items[0].path, "d"), 0);
		EXPECT_INT(clashes.items[0].verdict, REPLICA_VERDICT_CONFLICT_TYPE);
		EXPECT_INT(clashes.items[0].mine.state, REPLICA_FILE);
		EXPECT_INT(clashes.items[0].theirs.state, REPLICA_DIRMARK);
		EXPECT_INT(clashes.items[0].peer, engine.link->peer);
	}
	replica_clashes_fini(&clashes);
	EXPECT(!disk_exists("d/x"));
}

START_TEST(a_file_that_meets_a_directory_is_one_conflict)
{
	engine_run(file_and_directory);
}
END_TEST

static void two_edits(void)
{
	struct replica_clashes clashes;
	struct replica_version theirs = engine_version("theirs", 100);
	EXPECT_INT(mkdir("d", 0755), 0);
	engine_put("d/f", "mine", 100);
	engine_put("d/g", "only mine", 100);
	EXPECT_INT(engine_scan(), 3);
	engine_source_event("d/f", &theirs);
	close_visit("d");
	list("", &clashes);
	EXPECT_INT(clashes.count, 1);
	if (clashes.count == 1) {
		EXPECT_INT(strcmp(clashes.items[0].path, "d/f"), 0);
		EXPECT_INT(clashes.items[0].verdict, REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE);
		EXPECT(replica_version_equal(&clashes.items[0].theirs, &theirs));
		EXPECT_INT(clashes.items[0].mine.size, 4);
	}
	replica_clashes_fini(&clashes);
	list("d/g", &clashes);
	EXPECT_INT(clashes.count, 0);
	replica_clashes_fini(&clashes);
	replica_lock(engine.daemon);
	EXPECT_INT(replica_clashes_count(engine.folder, "d"), 1);
	EXPECT_INT(replica_clashes_count(engine.folder, "elsewhere"), 0);
	replica_unlock(engine.daemon);
	/* It is told once, however often it is met. */
	uint64_t told = replica_events_now(&engine.daemon->events);
	close_visit("d");
	EXPECT_INT(replica_events_now(&engine.daemon->events), (long long)told);
}

START_TEST(two_edits_are_a_conflict_at_their_path_told_once)
{
	engine_run(two_edits);
}
END_TEST

Suite *suite_conflict(void)
{
	Suite *suite = suite_create("conflict");
	TCase *tc = tcase_create("listing");
	tcase_add_checked_fixture(tc, engine_set_up, engine_tear_down);
	tcase_add_test(tc, a_file_that_meets_a_directory_is_one_conflict);
	tcase_add_test(tc, two_edits_are_a_conflict_at_their_path_told_once);
	suite_add_tcase(suite, tc);
	return suite;
}
