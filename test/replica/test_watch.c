/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

#include <thrum/cond.h>
#include <thrum/mutex.h>
#include <thrum/thread.h>

#include "disk.h"
#include "replica/index.h"
#include "replica/root.h"
#include "replica/scan.h"
#include "replica/tree.h"
#include "replica/watch_internal.h"

/*
 * Each test's story runs as a green thread with a watcher on a fresh share. It waits for events,
 * never for time; a wait that takes 10 s has failed. Failures are recorded and asserted on the main
 * stack.
 */

static const uint8_t uuid[16] = {5};
static struct disk disk;
static struct replica_root *root;
static struct replica_index *index_;
static struct replica_tree *tree;
static struct thrum_mutex mutex, log_mutex;
static struct thrum_cond log_changed;
static struct replica_scan scan;
static struct replica_watch *watch;
static char log_[16384];
static int settled_result;
static unsigned settled_count;
static char failure[512];

static void log_change(void *arg, const char *path, enum replica_change what, bool directory)
{
	(void)arg;
	if (thrum_mutex_lock(&log_mutex, THRUM_FOREVER) < 0)
		return;
	size_t len = strlen(log_);
	snprintf(log_ + len, sizeof(log_) - len, " %c%s%s", "+*~-"[what], path,
		directory ? "/" : "");
	thrum_cond_broadcast(&log_changed);
	thrum_mutex_unlock(&log_mutex);
}

static void log_settled(void *arg, int result)
{
	(void)arg;
	if (thrum_mutex_lock(&log_mutex, THRUM_FOREVER) < 0)
		return;
	settled_result = result;
	settled_count++;
	thrum_cond_broadcast(&log_changed);
	thrum_mutex_unlock(&log_mutex);
}

static void set_up(void)
{
	int64_t share;
	disk_init(&disk);
	ck_assert_int_eq(replica_root_init(disk.root, uuid, NULL), 0);
	ck_assert_int_eq(replica_root_open(&root, disk.root, uuid), 0);
	ck_assert_int_eq(replica_index_open(&index_, ":memory:", NULL), 0);
	ck_assert_int_eq(replica_index_begin(index_), 0);
	struct replica_share row = {.name = "s", .dir = disk.root};
	ck_assert_int_eq(replica_index_share_add(index_, &row, &share), 0);
	ck_assert_int_eq(replica_index_commit(index_), 0);
	ck_assert_int_eq(replica_tree_open(&tree, index_, share), 0);
	scan = (struct replica_scan){
		.root = root, .tree = tree, .lock = &mutex, .change = log_change};
}

static void tear_down(void)
{
	replica_tree_close(tree);
	replica_index_close(index_);
	replica_root_close(root);
	disk_fini(&disk);
}

/* ---------------------------------------------------------------- what a story uses (no
 * assertions: green stack) */

static bool blame(const char *what, const char *detail)
{
	if (failure[0] == '\0')
		snprintf(failure, sizeof(failure), "%s: %s; events:%.300s", what, detail, log_);
	return false;
}

static bool expect(bool holds, const char *what)
{
	return holds || blame("does not hold", what);
}

/* Waits until an event was logged, and forgets the events up to it. */
static bool wait_for(const char *event)
{
	char padded[300];
	thrum_deadline deadline = thrum_after(10 * THRUM_S);
	snprintf(padded, sizeof(padded), " %s ", event);
	int r = thrum_mutex_lock(&log_mutex, THRUM_FOREVER);
	for (;;) {
		char with_space[sizeof(log_) + 1];
		snprintf(with_space, sizeof(with_space), "%s ", log_);
		char *at = strstr(with_space, padded);
		if (at != NULL) {
			size_t end = (size_t)(at - with_space) + strlen(padded) - 1;
			memmove(log_, log_ + end, strlen(log_ + end) + 1);
			break;
		}
		if (r < 0)
			break;
		r = thrum_cond_wait(&log_changed, &log_mutex, deadline);
	}
	thrum_mutex_unlock(&log_mutex);
	return r == 0 || blame("never seen", event);
}

/* Waits until everything so far was scanned; the events since the last look must be these. */
static bool drained(const char *events)
{
	int r = replica_watch_drain(watch, thrum_after(10 * THRUM_S));
	if (r < 0)
		return blame("drain", thrum_strerror(r));
	if (strcmp(log_, events) != 0)
		return blame("expected", events);
	log_[0] = '\0';
	return true;
}

static bool run(int r, const char *what)
{
	return r == 0 || blame(what, strerror(errno));
}

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		blame("write", path);
	close(fd);
}

static void *watched(void *arg)
{
	void (*story)(void) = *(void (**)(void))arg;
	int r = replica_watch_start(&watch, &scan, log_settled, NULL);
	if (r < 0) {
		blame("start", thrum_strerror(r));
		return NULL;
	}
	story();
	replica_watch_stop(watch);
	return NULL;
}

static void play(void (*story)(void), unsigned workers)
{
	struct thrum_config config = {.workers = workers};
	ck_assert_int_eq(thrum_run(&config, watched, &story, NULL), 0);
	ck_assert_msg(failure[0] == '\0', "%s", failure);
}

/* ---------------------------------------------------------------- stories */

static void creations_modifications_and_deletions(void)
{
	put_text("a", "one");
	wait_for("+a");
	put_text("a", "two!");
	wait_for("*a");
	run(chmod("a", 0600), "chmod");
	wait_for("~a");
	run(symlink("a", "l"), "symlink");
	wait_for("+l");
	run(rename("a", "b"), "rename");
	wait_for("+b");
	run(unlink("b"), "unlink");
	wait_for("-b");
	run(mkdir("d", 0755), "mkdir");
	wait_for("+d/");
	run(chmod("d", 0700), "chmod");
	wait_for("~d/");
	put_text("d/x", "below");
	wait_for("+d/x");
	run(unlink("d/x"), "unlink");
	run(rmdir("d"), "rmdir");
	wait_for("-d/");
}

START_TEST(a_change_is_seen_when_it_happens)
{
	play(creations_modifications_and_deletions, (unsigned[]){1, 2, 8}[_i]);
}
END_TEST

static void files_in_new_directories(void)
{
	for (int i = 0; i < 20; i++) {
		char path[64], event[80];
		snprintf(path, sizeof(path), "n%d", i);
		run(mkdir(path, 0755), "mkdir");
		snprintf(path, sizeof(path), "n%d/m", i);
		run(mkdir(path, 0755), "mkdir");
		snprintf(path, sizeof(path), "n%d/m/early", i);
		put_text(path, "");
		snprintf(event, sizeof(event), "+n%d/m/early", i);
		wait_for(event);
		snprintf(path, sizeof(path), "n%d/m/late", i);
		put_text(path, "");
		snprintf(event, sizeof(event), "+n%d/m/late", i);
		wait_for(event);
	}
	expect(log_[0] == '\0', "every creation was seen once");
}

START_TEST(nothing_in_a_new_directory_is_missed)
{
	play(files_in_new_directories, 2);
}
END_TEST

static void moved_directories(void)
{
	run(mkdir("a", 0755), "mkdir");
	run(mkdir("a/b", 0755), "mkdir");
	put_text("a/b/f", "f");
	drained(" +a/ +a/b/ +a/b/f");
	run(rename("a", "z"), "rename");
	drained(" -a/ +z/ +z/b/ +z/b/f");
	/* The watches know the new paths. */
	put_text("z/b/f", "changed");
	put_text("z/b/g", "new");
	drained(" *z/b/f +z/b/g");
	run(mkdir("a", 0755), "mkdir");
	put_text("a/f", "other");
	drained(" +a/ +a/f");
	struct replica_watch_stats stats;
	replica_watch_stats(watch, &stats);
	expect(stats.watches == 4, "root, a, z and z/b are watched");
	/* Out of the tree and back in. */
	run(rename("z", "../outside"), "rename");
	drained(" -z/");
	replica_watch_stats(watch, &stats);
	expect(stats.watches == 2, "what was moved out is not watched any more");
	put_text("../outside/b/f", "changed outside");
	drained("");
	run(rename("../outside", "back"), "rename");
	drained(" +back/ +back/b/ +back/b/f +back/b/g");
	put_text("back/b/f", "and in again");
	drained(" *back/b/f");
}

START_TEST(a_moved_directory_is_followed)
{
	play(moved_directories, 2);
}
END_TEST

static void replacing_like_an_editor(void)
{
	put_text("doc", "draft");
	drained(" +doc");
	put_text("doc.tmp", "final");
	run(rename("doc.tmp", "doc"), "rename");
	drained(" *doc");
	run(unlink("doc"), "unlink");
	put_text("doc", "final again");
	drained(" *doc");
}

START_TEST(an_editor_s_way_of_saving_is_one_modification)
{
	play(replacing_like_an_editor, 2);
}
END_TEST

static void a_file_held_open(void)
{
	int fd = open("growing", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	run(write(fd, "1", 1) - 1, "write");
	wait_for("+growing");
	run(write(fd, "2", 1) - 1, "write");
	wait_for("*growing"); /* without a close */
	run(write(fd, "3", 1) - 1, "write");
	drained(" *growing");
	close(fd);
}

START_TEST(a_file_that_stays_open_is_seen_too)
{
	play(a_file_held_open, 2);
}
END_TEST

static void own_changes(void)
{
	struct replica_staged staged;
	struct replica_stat st;
	struct replica_version version = {.state = REPLICA_FILE, .mode = 0644, .mtime_ns = 5};
	/* As a pull does it: the lock from the check to the commit. */
	expect(thrum_mutex_lock(&mutex, THRUM_FOREVER) == 0, "lock");
	expect(replica_stage_file(root, &staged) == 0, "stage");
	expect(replica_staged_finish(root, &staged, 0644, 5) == 0, "finish");
	expect(replica_root_install(root, &staged, "pulled", &(struct replica_stat){0}, &st) == 0,
		"install");
	struct replica_ident ident = {.dev = st.dev, .ino = st.ino, .ctime_ns = st.ctime_ns};
	expect(replica_index_begin(index_) == 0, "begin");
	expect(replica_tree_event(tree, "pulled", &version, &ident) == 0, "event");
	expect(replica_index_commit(index_) == 0, "commit");
	thrum_mutex_unlock(&mutex);
	drained("");
	expect(scan.stats.hashed_files == 0, "nothing had to be read");
}

START_TEST(what_a_pull_puts_in_place_is_no_event)
{
	play(own_changes, 2);
}
END_TEST

static void root_deleted(void)
{
	put_text("a", "a");
	drained(" +a");
	char aside[100];
	snprintf(aside, sizeof(aside), "%s/aside", disk.dir);
	run(rename(disk.root, aside), "rename");
	thrum_deadline deadline = thrum_after(10 * THRUM_S);
	int r = thrum_mutex_lock(&log_mutex, THRUM_FOREVER);
	while (r == 0 && settled_result != -ENXIO)
		r = thrum_cond_wait(&log_changed, &log_mutex, deadline);
	thrum_mutex_unlock(&log_mutex);
	expect(r == 0, "the share is reported missing");
	struct replica_watch_stats stats;
	replica_watch_stats(watch, &stats);
	expect(stats.gone, "the watcher knows");
	expect(replica_watch_drain(watch, THRUM_FOREVER) == -ENXIO, "a drain says so");
	expect(log_[0] == '\0', "nothing counts as deleted");
	run(rename(aside, disk.root), "rename back");
	drained("");
}

START_TEST(a_root_that_is_moved_away_is_missing_and_deletes_nothing)
{
	play(root_deleted, 2);
}
END_TEST

/* ---------------------------------------------------------------- limits; the sysctls are per user
 * name space or global */

static bool set_number(const char *path, const char *value, char old[32])
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (old != NULL) {
		ssize_t n = read(fd, old, 31);
		old[n < 0 ? 0 : n] = '\0';
	}
	bool done = pwrite(fd, value, strlen(value), 0) == (ssize_t)strlen(value);
	close(fd);
	return done;
}

static void overflow(void)
{
	struct replica_watch_stats stats;
	int fds[2] = {open("one", O_WRONLY | O_CREAT | O_CLOEXEC, 0644),
		open("two", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)};
	drained(" +one +two");
	/* Nobody reads the kernel's queue now. Equal events in a row count once: so they alternate.
	 */
	expect(thrum_mutex_lock(&watch->reading, THRUM_FOREVER) == 0, "lock");
	for (int i = 0; i < 40000; i++)
		run(pwrite(fds[i % 2], "x", 1, 0) - 1, "write");
	put_text("missed", "its event found no room");
	thrum_mutex_unlock(&watch->reading);
	drained(" +missed *one *two");
	replica_watch_stats(watch, &stats);
	expect(stats.overflows > 0, "the kernel's queue overflowed");
	close(fds[0]);
	close(fds[1]);
}

START_TEST(an_overflow_of_the_queue_is_mended_by_a_full_scan)
{
	play(overflow, 2);
}
END_TEST

static void beyond_the_limit(void)
{
	struct replica_watch_stats stats;
	run(mkdir("unwatched", 0755), "mkdir");
	drained(" +unwatched/");
	replica_watch_stats(watch, &stats);
	expect(stats.limited, "the limit was reached");
	put_text("unwatched/f", "");
	replica_watch_mark(watch, "", true); /* the periodic scan */
	wait_for("+unwatched/f");
}

START_TEST(beyond_the_watch_limit_the_full_scan_goes_on)
{
	/* A user name space of our own has its own limit: one watch, which the root takes. */
	if (unshare(CLONE_NEWUSER) < 0 ||
		!set_number("/proc/sys/user/max_inotify_watches", "1", NULL))
		return;
	play(beyond_the_limit, 2);
}
END_TEST

static void *cancelled_start(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)replica_watch_start(&watch, &scan, NULL, NULL);
}

static void *cancel_it(void *arg)
{
	struct thrum_thread *thread;
	void *result = NULL;
	if (thrum_spawn(&thread, cancelled_start, arg) < 0)
		return NULL;
	thrum_cancel(thread);
	if (thrum_join(thread, &result, THRUM_FOREVER) < 0)
		return NULL;
	if ((intptr_t)result == 0)
		replica_watch_stop(watch);
	return result;
}

START_TEST(a_cancelled_start_leaves_nothing_behind)
{
	void *result;
	char path[32];
	for (int i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "f%d", i);
		disk_puts(path, path);
	}
	/* On one worker the thread does not begin before it is cancelled. */
	struct thrum_config config = {.workers = 1};
	ck_assert_int_eq(thrum_run(&config, cancel_it, NULL, &result), 0);
	ck_assert_int_eq((intptr_t)result, -ECANCELED);
	ck_assert_ptr_null(scan.watch);
	ck_assert_ptr_null(scan.enter_dir);
}
END_TEST

Suite *suite_watch(void)
{
	Suite *suite = suite_create("replica/watch");
	TCase *tc = tcase_create("watch");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, a_change_is_seen_when_it_happens, 0, 3);
	tcase_add_test(tc, nothing_in_a_new_directory_is_missed);
	tcase_add_test(tc, a_moved_directory_is_followed);
	tcase_add_test(tc, an_editor_s_way_of_saving_is_one_modification);
	tcase_add_test(tc, a_file_that_stays_open_is_seen_too);
	tcase_add_test(tc, what_a_pull_puts_in_place_is_no_event);
	tcase_add_test(tc, a_root_that_is_moved_away_is_missing_and_deletes_nothing);
	tcase_add_test(tc, an_overflow_of_the_queue_is_mended_by_a_full_scan);
	tcase_add_test(tc, beyond_the_watch_limit_the_full_scan_goes_on);
	tcase_add_test(tc, a_cancelled_start_leaves_nothing_behind);
	suite_add_tcase(suite, tc);
	return suite;
}
