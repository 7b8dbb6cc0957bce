/* SPDX-License-Identifier: MIT */
#include "replica/intent.h"

#include "engine.h"

/* Notes an intent for the leaf of a directory as a batch does, and goes no further: a crash. */
static void intend(const char *dir, const char *name)
{
	struct replica_visit visit;
	struct replica_vt their_s = {0};
	EXPECT_INT(engine_visit(&visit, dir, &their_s), 0);
	const struct replica_task *task = &visit.tasks[engine_task(&visit, name)];
	EXPECT_INT(task->action, REPLICA_DO_INSTALL);
	replica_lock(engine.daemon);
	EXPECT_INT(replica_index_begin(engine.daemon->index), 0);
	EXPECT_INT(replica_end(engine.daemon,
			   replica_intent_put(engine.folder, engine.link->peer, task, &their_s)),
		0);
	replica_unlock(engine.daemon);
	replica_visit_fini(&visit);
	replica_vt_fini(&their_s);
	EXPECT_INT(engine_intents(), 1);
}

static void file_in_place(void)
{
	struct replica_version one = engine_version("one", 100), two = engine_version("two", 200);
	engine_source_event("f", &one);
	intend("", "f");
	engine_put("f", "one", 100);
	uint64_t now = replica_index_now(engine.daemon->index);
	engine_reopen();
	EXPECT_INT(engine_intents(), 0);
	EXPECT(engine_same_event("f"));
	EXPECT_INT(engine_scan(), 0);
	EXPECT_INT(replica_index_now(engine.daemon->index), (long long)now);
	engine_source_event("f", &two);
	EXPECT_INT(engine_verdict("", "f"), REPLICA_VERDICT_COPY);
}

START_TEST(what_is_in_place_is_the_sources_version_and_no_event_of_ours)
{
	engine_run(file_in_place);
}
END_TEST

static void without_intent(void)
{
	struct replica_version one = engine_version("one", 100), two = engine_version("two", 200);
	engine_source_event("f", &one);
	engine_put("f", "one", 100);
	engine_reopen();
	EXPECT_INT(engine_scan(), 1);
	engine_source_event("f", &two);
	EXPECT_INT(engine_verdict("", "f"), REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE);
}

START_TEST(without_an_intent_the_same_crash_makes_a_conflict)
{
	engine_run(without_intent);
}
END_TEST

static void replaced_file(void)
{
	struct replica_version one = engine_version("one", 100), two = engine_version("two", 200),
			       three = engine_version("three", 300);
	engine_source_event("f", &one);
	intend("", "f");
	engine_put("f", "one", 100);
	engine_reopen();
	engine_source_event("f", &two);
	intend("", "f");
	engine_put("f", "two", 200);
	engine_reopen();
	EXPECT(engine_same_event("f"));
	EXPECT_INT(engine_scan(), 0);
	engine_source_event("f", &three);
	EXPECT_INT(engine_verdict("", "f"), REPLICA_VERDICT_COPY);
}

START_TEST(a_replaced_file_is_the_sources_new_version)
{
	engine_run(replaced_file);
}
END_TEST

static void not_in_place(void)
{
	struct replica_version one = engine_version("one", 100);
	struct replica_entry row = {0};
	engine_source_event("f", &one);
	intend("", "f");
	engine_reopen();
	EXPECT_INT(engine_intents(), 0);
	EXPECT_INT(replica_tree_leaf(engine.folder->tree, "f", &row), -ENOENT);
	EXPECT_INT(engine_scan(), 0);
	EXPECT_INT(engine_verdict("", "f"), REPLICA_VERDICT_CREATE);
}

START_TEST(an_intent_whose_file_never_came_is_dropped)
{
	engine_run(not_in_place);
}
END_TEST

static void other_content(void)
{
	struct replica_version one = engine_version("one", 100);
	engine_source_event("f", &one);
	intend("", "f");
	engine_put("f", "two", 100); /* the same size and mtime */
	engine_reopen();
	EXPECT_INT(engine_intents(), 0);
	EXPECT_INT(engine_scan(), 1);
	EXPECT_INT(engine_verdict("", "f"), REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE);
}

START_TEST(an_intent_beside_other_content_is_dropped_and_the_content_is_ours)
{
	engine_run(other_content);
}
END_TEST

static void directory(void)
{
	struct replica_version mark = {.state = REPLICA_DIRMARK, .mode = 0750};
	engine_source_event("d/.", &mark);
	intend("d", ".");
	EXPECT(mkdir("d", 0700) == 0 && chmod("d", 0750) == 0);
	engine_reopen();
	EXPECT_INT(engine_intents(), 0);
	EXPECT(engine_same_event("d/."));
	EXPECT_INT(engine_scan(), 0);
	engine_source_event("d/.", NULL);
	EXPECT_INT(engine_verdict("d", "."), REPLICA_VERDICT_DELETE);
}

START_TEST(a_directory_made_before_the_crash_goes_when_the_source_removes_it)
{
	engine_run(directory);
}
END_TEST

static void deletion(void)
{
	struct replica_version one = engine_version("one", 100), two = engine_version("two", 200);
	engine_source_event("f", &one);
	intend("", "f");
	engine_put("f", "one", 100);
	engine_reopen();
	engine_source_event("f", NULL);
	EXPECT_INT(engine_verdict("", "f"), REPLICA_VERDICT_DELETE);
	EXPECT_INT(unlink("f"), 0); /* and a crash before the commit */
	engine_reopen();
	EXPECT_INT(engine_scan(), 1);
	EXPECT_INT(engine_verdict("", "f"), REPLICA_VERDICT_BOTH_ABSENT);
	engine_source_event("f", &two);
	EXPECT_INT(engine_verdict("", "f"), REPLICA_VERDICT_CREATE);
}

START_TEST(a_deletion_needs_no_intent)
{
	engine_run(deletion);
}
END_TEST

Suite *suite_intent(void)
{
	Suite *suite = suite_create("intent");
	TCase *tc = tcase_create("replay");
	tcase_add_checked_fixture(tc, engine_set_up, engine_tear_down);
	tcase_add_test(tc, what_is_in_place_is_the_sources_version_and_no_event_of_ours);
	tcase_add_test(tc, without_an_intent_the_same_crash_makes_a_conflict);
	tcase_add_test(tc, a_replaced_file_is_the_sources_new_version);
	tcase_add_test(tc, an_intent_whose_file_never_came_is_dropped);
	tcase_add_test(tc, an_intent_beside_other_content_is_dropped_and_the_content_is_ours);
	tcase_add_test(tc, a_directory_made_before_the_crash_goes_when_the_source_removes_it);
	tcase_add_test(tc, a_deletion_needs_no_intent);
	suite_add_tcase(suite, tc);
	return suite;
}
