/* SPDX-License-Identifier: MIT */
#include "replica/batch.h"

#include <sqlite3.h>

#include "engine.h"

/* One leaf through a batch of its own; between decision and commit, meanwhile() happens. */
static struct replica_op commit(
	const char *dir, const char *name, const char *text, void (*meanwhile)(void))
{
	struct replica_folder *folder = engine.folder;
	struct replica_batch batch;
	struct replica_visit visit;
	struct replica_vt their_s = {0};
	struct replica_staged staged = {.fd = -1};
	EXPECT_INT(engine_visit(&visit, dir, &their_s), 0);
	struct replica_op op = {
		.visit = &visit, .task = engine_task(&visit, name), .their_s = &their_s};
	const struct replica_task *task = &visit.tasks[op.task];
	if (text != NULL) {
		const struct replica_version *theirs = &task->theirs->version;
		EXPECT_INT(replica_stage_file(folder->root, &staged), 0);
		EXPECT(write(staged.fd, text, strlen(text)) == (ssize_t)strlen(text));
		EXPECT_INT(replica_staged_finish(
				   folder->root, &staged, theirs->mode, theirs->mtime_ns),
			0);
		op.staged = &staged;
	}
	if (meanwhile != NULL)
		meanwhile();
	EXPECT_INT(replica_batch_start(&batch, folder, engine.link), 0);
	EXPECT_INT(replica_batch_commit(&batch, &op), op.result);
	replica_batch_stop(&batch);
	replica_staged_discard(folder->root, &staged);
	replica_visit_fini(&visit);
	replica_vt_fini(&their_s);
	op.visit = NULL;
	return op;
}

static bool holds(const char *path, const char *text)
{
	const char *got = disk_gets(path);
	return got != NULL && strcmp(got, text) == 0;
}

static void first_version(void)
{
	struct replica_version one = engine_version("one", 100);
	engine_source_event("d/f", &one);
	struct replica_op op = commit("d", "f", "one", NULL);
	EXPECT_INT(op.result, 0);
	EXPECT(op.applied);
	EXPECT(engine_same_event("d/f"));
	EXPECT(holds("d/f", "one"));
	EXPECT_INT(engine_intents(), 0);
}

static void created(void)
{
	struct stat st;
	first_version();
	EXPECT_INT(stat("d/f", &st), 0);
	EXPECT_INT(st.st_mtim.tv_sec, 100);
	EXPECT_INT(st.st_mode & 07777, 0644);
	EXPECT_INT(engine_scan(), 1); /* the directory, of which the source said nothing */
}

START_TEST(a_new_file_comes_with_its_directory_and_is_no_event_of_ours)
{
	engine_run(created);
}
END_TEST

static void mode_and_time(void)
{
	struct stat st;
	struct replica_version one = engine_version("one", 300);
	first_version();
	one.mode = 0600;
	engine_source_event("d/f", &one);
	struct replica_op op = commit("d", "f", NULL, NULL);
	EXPECT_INT(op.result, 0);
	EXPECT(op.applied);
	EXPECT(engine_same_event("d/f"));
	EXPECT_INT(stat("d/f", &st), 0);
	EXPECT_INT(st.st_mtim.tv_sec, 300);
	EXPECT_INT(st.st_mode & 07777, 0600);
}

START_TEST(a_new_mode_and_time_are_set_on_the_file_that_is_there)
{
	engine_run(mode_and_time);
}
END_TEST

static void deleted(void)
{
	first_version();
	engine_source_event("d/f", NULL);
	struct replica_op op = commit("d", "f", NULL, NULL);
	EXPECT_INT(op.result, 0);
	EXPECT(op.applied);
	EXPECT(!disk_exists("d/f"));
}

START_TEST(a_deletion_removes_the_file)
{
	engine_run(deleted);
}
END_TEST

static void edit(void)
{
	engine_put("d/f", "an edit", 400);
}

static void edited_meanwhile(void)
{
	struct replica_version two = engine_version("two", 200);
	first_version();
	engine_source_event("d/f", &two);
	struct replica_op op = commit("d", "f", "two", edit);
	EXPECT_INT(op.result, THRUM_ECHANGED);
	EXPECT(!op.applied);
	EXPECT(holds("d/f", "an edit"));
	EXPECT_INT(engine_intents(), 0);
	EXPECT_INT(disk_count(".replica/tmp"), 0);
	EXPECT(engine_scan() > 0);
	EXPECT_INT(engine_verdict("d", "f"), REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE);
}

START_TEST(an_edit_between_decision_and_commit_is_kept)
{
	engine_run(edited_meanwhile);
}
END_TEST

static void deletion_of_an_edited_file(void)
{
	first_version();
	engine_source_event("d/f", NULL);
	struct replica_op op = commit("d", "f", NULL, edit);
	EXPECT_INT(op.result, THRUM_ECHANGED);
	EXPECT(holds("d/f", "an edit"));
	EXPECT_INT(disk_count(".replica/tmp"), 0);
}

START_TEST(an_edit_before_a_deletions_commit_is_kept)
{
	engine_run(deletion_of_an_edited_file);
}
END_TEST

static void edit_and_scan(void)
{
	edit();
	EXPECT(engine_scan() > 0);
}

static void scanned_meanwhile(void)
{
	struct replica_version two = engine_version("two", 200);
	first_version();
	engine_source_event("d/f", &two);
	struct replica_op op = commit("d", "f", "two", edit_and_scan);
	EXPECT_INT(op.result, 0); /* nothing to do any more: the close records the conflict */
	EXPECT(!op.applied);
	EXPECT(holds("d/f", "an edit"));
}

START_TEST(an_edit_that_was_scanned_meanwhile_is_decided_upon_anew)
{
	engine_run(scanned_meanwhile);
}
END_TEST

/* Lets one commit of the index through, the intents', and refuses the next. */
static int commits;
static int second_fails(void *arg)
{
	return commits++ == 1;
}

static void refuse_commits(void)
{
	commits = 0;
	sqlite3_commit_hook(replica_index_sqlite(engine.daemon->index), second_fails, NULL);
}

static void failed_commit(void)
{
	struct replica_version two = engine_version("two", 200),
			       three = engine_version("three", 300);
	first_version();
	EXPECT_INT(engine_scan(), 1);
	engine_source_event("d/f", &two);
	struct replica_op op = commit("d", "f", "two", refuse_commits);
	EXPECT(op.result < 0);
	EXPECT_INT(commits, 2);
	EXPECT(holds("d/f", "two"));
	EXPECT(!engine_same_event("d/f"));
	EXPECT_INT(engine_intents(), 1);
	/* Nobody may believe what is there now. */
	EXPECT_INT(replica_root_check(engine.folder->root), -ENXIO);
	EXPECT_INT(replica_scan_all(&engine.folder->scan), -ENXIO);
	op = commit("d", "f", "two", NULL);
	EXPECT_INT(op.result, -ENXIO);

	engine_reopen();
	EXPECT(engine_same_event("d/f"));
	EXPECT_INT(engine_scan(), 0);
	engine_source_event("d/f", &three);
	EXPECT_INT(engine_verdict("d", "f"), REPLICA_VERDICT_COPY);
}

START_TEST(what_was_placed_before_a_failed_commit_is_the_sources_once_opened_anew)
{
	engine_run(failed_commit);
}
END_TEST

Suite *suite_batch(void)
{
	Suite *suite = suite_create("batch");
	TCase *tc = tcase_create("one leaf");
	tcase_add_checked_fixture(tc, engine_set_up, engine_tear_down);
	tcase_add_test(tc, a_new_file_comes_with_its_directory_and_is_no_event_of_ours);
	tcase_add_test(tc, a_new_mode_and_time_are_set_on_the_file_that_is_there);
	tcase_add_test(tc, a_deletion_removes_the_file);
	tcase_add_test(tc, an_edit_between_decision_and_commit_is_kept);
	tcase_add_test(tc, an_edit_before_a_deletions_commit_is_kept);
	tcase_add_test(tc, an_edit_that_was_scanned_meanwhile_is_decided_upon_anew);
	tcase_add_test(tc, what_was_placed_before_a_failed_commit_is_the_sources_once_opened_anew);
	suite_add_tcase(suite, tc);
	return suite;
}
