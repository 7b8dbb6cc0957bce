/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "disk.h"
#include "replica/root.h"

static const uint8_t uuid[16] = {1, 2, 3, 0xfe, [15] = 0x99};
static const struct replica_stat absent;

static struct disk disk;
static struct replica_root *root;

static void set_up(void)
{
	disk_init(&disk);
	ck_assert_int_eq(replica_root_init(disk.root, uuid, NULL), 0);
	ck_assert_int_eq(replica_root_open(&root, disk.root, uuid), 0);
}

static void tear_down(void)
{
	/* No operation, whatever its outcome, may leave anything in staging. */
	ck_assert_uint_eq(disk_count(".replica/tmp"), 0);
	replica_root_close(root);
	disk_fini(&disk);
}

static struct replica_stat stat_of(const char *path)
{
	struct replica_stat st;
	ck_assert_int_eq(replica_root_stat(root, path, &st), 0);
	return st;
}

static struct replica_staged stage_text(const char *text)
{
	struct replica_staged staged;
	ck_assert_int_eq(replica_stage_file(root, &staged), 0);
	ck_assert_int_eq(write(staged.fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(replica_staged_finish(root, &staged, 0640, 1234567890123456789), 0);
	return staged;
}

/* ---------------------------------------------------------------- opening */

START_TEST(a_root_without_its_marker_is_missing)
{
	struct replica_root *other;
	uint8_t wrong[16] = {9}, found[16];
	char line[300];
	ck_assert_int_eq(replica_root_check(root), 0);
	ck_assert_int_eq(replica_root_open(&other, disk.root, uuid), -EBUSY);
	ck_assert_int_eq(replica_root_init(disk.root, uuid, found), 0);
	ck_assert_int_eq(replica_root_init(disk.root, wrong, found), -EEXIST);
	ck_assert_mem_eq(found, uuid, 16);
	replica_root_close(root);

	ck_assert_int_eq(replica_root_open(&root, disk.root, wrong), -ENXIO);
	ck_assert_int_eq(replica_root_open(&root, "/nonexistent/dir", uuid), -ENXIO);
	ck_assert_int_eq(replica_root_open(&root, disk.dir, uuid), -ENXIO);
	ck_assert_ptr_nonnull(
		strstr(replica_root_explain(line, sizeof(line), disk.dir, -ENXIO), "missing"));
	ck_assert_int_eq(replica_root_open(&root, disk.root, NULL), 0);
	ck_assert_mem_eq(root->uuid, uuid, 16);

	ck_assert_int_eq(rename(".replica/id", ".replica/id2"), 0);
	ck_assert_int_eq(replica_root_check(root), -ENXIO);
	disk_puts(".replica/id", "0102\n");
	ck_assert_int_eq(replica_root_check(root), -ENXIO);
	ck_assert_int_eq(rename(".replica/id2", ".replica/id"), 0);
	ck_assert_int_eq(replica_root_check(root), 0);
}
END_TEST

START_TEST(a_root_that_was_moved_away_is_missing)
{
	char aside[128];
	snprintf(aside, sizeof(aside), "%s/elsewhere", disk.dir);
	ck_assert_int_eq(rename(disk.root, aside), 0);
	ck_assert_int_eq(replica_root_check(root), -ENXIO);
	ck_assert_int_eq(mkdir(disk.root, 0755), 0);
	ck_assert_int_eq(replica_root_check(root), -ENXIO);
	ck_assert_int_eq(rmdir(disk.root), 0);
	ck_assert_int_eq(rename(aside, disk.root), 0);
	ck_assert_int_eq(replica_root_check(root), 0);
}
END_TEST

START_TEST(opening_empties_staging_but_keeps_what_is_unknown)
{
	char known[128], ours[160], unknown[128];
	struct stat st;
	replica_root_close(root);
	disk_puts(".replica/tmp/n0000000000000001", "half a file");
	disk_puts(".replica/tmp/a", "old");
	ck_assert_int_eq(stat(".replica/tmp/a", &st), 0);
	uint64_t mtime = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	snprintf(known, sizeof(known), ".replica/tmp/t%016x-%x-%lx-%lx-%lx", 2, 0, (long)st.st_ino,
		(long)mtime, (long)st.st_size);
	ck_assert_int_eq(rename(".replica/tmp/a", known), 0);
	disk_puts(".replica/tmp/b", "ours, not installed");
	ck_assert_int_eq(stat(".replica/tmp/b", &st), 0);
	snprintf(ours, sizeof(ours), ".replica/tmp/t%016x-%lx-1-1-1", 3, (long)st.st_ino);
	ck_assert_int_eq(rename(".replica/tmp/b", ours), 0);
	snprintf(unknown, sizeof(unknown), ".replica/tmp/t%016x-0-%lx-%lx-%lx", 4, (long)st.st_ino,
		(long)mtime, 77L);
	disk_puts(unknown, "an edit");

	ck_assert_int_eq(replica_root_open(&root, disk.root, uuid), 0);
	ck_assert_uint_eq(disk_count(".replica/tmp"), 0);
	ck_assert_uint_eq(disk_count(".replica/lost"), 1);
	snprintf(ours, sizeof(ours), ".replica/lost/%s", unknown + strlen(".replica/tmp/"));
	ck_assert_str_eq(disk_gets(ours), "an edit");
}
END_TEST

/* ---------------------------------------------------------------- paths */

static const char *const hostile[] = {"..", "../x", "a/../../x", "d/../x", "/etc/passwd", "/",
	"d//x", "d/", "./x", "d/./x", "d/.", ".replica", ".replica/id", ".replica/tmp/x",
	"d/../.replica/id"};

START_TEST(a_hostile_path_is_refused_by_every_operation)
{
	const char *path = hostile[_i];
	struct replica_stat st, file;
	struct replica_staged staged = stage_text("evil");
	char buf[256];
	ck_assert_int_eq(mkdir("d", 0755), 0);
	disk_puts("d/f", "f");
	file = stat_of("d/f");
	int codes[] = {
		replica_root_stat(root, path, &st),
		replica_root_open_dir(root, path),
		replica_root_open_file(root, path, &st),
		(int)replica_root_read_link(root, path, buf, sizeof(buf)),
		replica_root_install(root, &staged, path, &absent, &st),
		replica_root_install(root, &staged, path, &file, &st),
		replica_root_install_aside(root, &staged, path, "w", buf, &st),
		replica_root_delete(root, path, &file),
		replica_root_make_dir(root, path, 0755, &st),
		replica_root_remove_dir(root, path),
		replica_root_set_meta(root, path, &file, 0600, 1, &st),
		replica_root_set_dir_mode(root, path, 0700, &st),
		replica_root_set_dir_mtime(root, path, 1),
		replica_root_move_aside(root, path, &file, "w", buf, &st),
	};
	for (size_t i = 0; i < thrum__countof(codes); i++)
		ck_assert_msg(codes[i] == -EINVAL || codes[i] == -EPERM, "operation %zu on %s: %d",
			i, path, codes[i]);
	replica_staged_discard(root, &staged);
}
END_TEST

START_TEST(overlong_paths_are_refused)
{
	struct replica_stat st;
	char path[8192];
	memset(path, 'a', 256);
	path[256] = '\0';
	ck_assert_int_lt(replica_root_stat(root, path, &st), 0);
	for (size_t i = 0; i < sizeof(path) - 1; i++)
		path[i] = i % 2 ? '/' : 'a';
	path[sizeof(path) - 2] = 'a';
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(replica_root_stat(root, path, &st), -ENAMETOOLONG);
	ck_assert_int_eq(replica_root_make_dir(root, path, 0755, NULL), -ENAMETOOLONG);
}
END_TEST

START_TEST(a_symlink_on_the_way_is_never_followed)
{
	struct replica_stat st, file = {.type = REPLICA_DISK_FILE};
	struct replica_staged staged = stage_text("escaped");
	char outside[128], buf[256];
	snprintf(outside, sizeof(outside), "%s/outside", disk.dir);
	ck_assert_int_eq(mkdir(outside, 0755), 0);
	ck_assert_int_eq(symlink("../outside", "d"), 0);
	ck_assert_int_eq(replica_root_install(root, &staged, "d/x", &absent, &st), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_delete(root, "d/x", &file), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_make_dir(root, "d/x", 0755, NULL), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_make_dir(root, "d", 0755, NULL), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_remove_dir(root, "d"), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_open_dir(root, "d"), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_open_file(root, "d/x", &st), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_open_file(root, "d", &st), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_set_dir_mode(root, "d", 0700, NULL), THRUM_ECHANGED);
	ck_assert_int_eq(
		replica_root_move_aside(root, "d/x", &file, "w", buf, &st), THRUM_ECHANGED);
	ck_assert_int_eq(stat_of("d/x").type, REPLICA_DISK_ABSENT);
	ck_assert_int_eq(stat_of("d").type, REPLICA_DISK_SYMLINK);
	ck_assert_uint_eq(disk_count(outside), 0);
	replica_staged_discard(root, &staged);
}
END_TEST

static void *swap_link_and_directory(void *arg)
{
	bool *stop = arg;
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
		renameat2(AT_FDCWD, "d", AT_FDCWD, "link", RENAME_EXCHANGE);
	return NULL;
}

START_TEST(a_symlink_swapped_in_for_a_directory_lets_nothing_escape)
{
	pthread_t swapper;
	bool stop = false;
	char outside[128];
	unsigned done = 0, changed = 0;
	snprintf(outside, sizeof(outside), "%s/outside", disk.dir);
	ck_assert_int_eq(mkdir(outside, 0755), 0);
	ck_assert_int_eq(mkdir("d", 0755), 0);
	ck_assert_int_eq(symlink("../outside", "link"), 0);
	ck_assert_int_eq(pthread_create(&swapper, NULL, swap_link_and_directory, &stop), 0);
	for (int i = 0; i < 200000 && (done < 300 || changed < 300); i++) {
		struct replica_stat st;
		struct replica_staged staged;
		ck_assert_int_eq(replica_stage_file(root, &staged), 0);
		ck_assert_int_eq(replica_staged_finish(root, &staged, 0644, 1), 0);
		int r = replica_root_install(root, &staged, "d/x", &absent, &st);
		ck_assert(!disk_exists("../outside/x"));
		if (r == 0) {
			done++;
			while (replica_root_delete(root, "d/x", &st) != 0 || disk_exists("d/x") ||
				disk_exists("link/x"))
				;
		} else {
			ck_assert_int_eq(r, THRUM_ECHANGED);
			changed++;
		}
		replica_staged_discard(root, &staged);
		ck_assert_int_eq(replica_root_make_dir(root, "d", 0755, NULL) > 0, 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(swapper, NULL);
	ck_assert_uint_gt(done, 0);
	ck_assert_uint_gt(changed, 0);
	ck_assert_uint_eq(disk_count(outside), 0);
}
END_TEST

/* ---------------------------------------------------------------- install and delete */

START_TEST(a_new_file_gets_its_content_mode_and_mtime)
{
	struct replica_staged staged = stage_text("hello");
	struct replica_stat st, now;
	ck_assert_int_eq(replica_root_make_dir(root, "a/b", 0750, NULL), 2);
	ck_assert_int_eq(replica_root_install(root, &staged, "a/b/f", &absent, &st), 0);
	ck_assert_str_eq(disk_gets("a/b/f"), "hello");
	now = stat_of("a/b/f");
	ck_assert(replica_stat_equal(&st, &now));
	ck_assert_uint_eq(st.mode, 0640);
	ck_assert_int_eq(st.mtime_ns, 1234567890123456789);
	ck_assert_uint_eq(st.size, 5);
	ck_assert_uint_eq(stat_of("a").mode, 0755);
	ck_assert_uint_eq(stat_of("a/b").mode, 0750);

	staged = stage_text("second");
	ck_assert_int_eq(
		replica_root_install(root, &staged, "a/b/f", &absent, &now), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_install(root, &staged, "no/f", &absent, &now), -ENOENT);
	ck_assert_int_eq(replica_root_install(root, &staged, "a/b/f", &st, &now), 0);
	ck_assert_str_eq(disk_gets("a/b/f"), "second");
	ck_assert_int_eq(replica_root_delete(root, "a/b/f", &st), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_delete(root, "a/b/f", &now), 0);
	ck_assert_int_eq(replica_root_delete(root, "a/b/f", &now), 0);
	ck_assert(!disk_exists("a/b/f"));
	ck_assert_int_eq(replica_root_remove_dir(root, "a"), -ENOTEMPTY);
	ck_assert_int_eq(replica_root_remove_dir(root, "a/b"), 0);
	ck_assert_int_eq(replica_root_remove_dir(root, "a"), 0);
	ck_assert_int_eq(replica_root_remove_dir(root, "a"), 0);
}
END_TEST

START_TEST(symlinks_and_files_replace_each_other)
{
	struct replica_staged staged;
	struct replica_stat st, now;
	char target[64];
	ck_assert_int_eq(replica_stage_symlink(root, "/any/where", -1500000000, &staged), 0);
	ck_assert_int_eq(replica_root_install(root, &staged, "l", &absent, &st), 0);
	ck_assert_int_eq(st.type, REPLICA_DISK_SYMLINK);
	ck_assert_int_eq(st.mtime_ns, -1500000000);
	ck_assert_int_eq(replica_root_read_link(root, "l", target, sizeof(target)), 10);
	ck_assert_str_eq(target, "/any/where");
	ck_assert_int_eq(replica_root_read_link(root, "l", target, 10), -ERANGE);
	staged = stage_text("file");
	ck_assert_int_eq(replica_root_install(root, &staged, "l", &st, &now), 0);
	ck_assert_str_eq(disk_gets("l"), "file");
	ck_assert_int_eq(replica_root_read_link(root, "l", target, 10), THRUM_ECHANGED);
	ck_assert_int_eq(replica_stage_symlink(root, "x", 5, &staged), 0);
	ck_assert_int_eq(replica_root_install(root, &staged, "l", &now, &st), 0);
	ck_assert_int_eq(replica_root_delete(root, "l", &st), 0);
	ck_assert_int_eq(stat_of("l").type, REPLICA_DISK_ABSENT);
}
END_TEST

START_TEST(an_install_never_replaces_a_directory)
{
	struct replica_staged staged = stage_text("file");
	struct replica_stat st, now;
	ck_assert_int_eq(mkdir("d", 0755), 0);
	st = stat_of("d");
	ck_assert_int_eq(replica_root_install(root, &staged, "d", &st, &now), -EINVAL);
	ck_assert_int_eq(replica_root_install(root, &staged, "d", &absent, &now), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_install(root, &staged, "", &absent, &now), -EINVAL);
	ck_assert_int_eq(replica_root_remove_dir(root, ""), -EINVAL);
	disk_puts("f", "f");
	ck_assert_int_eq(replica_root_make_dir(root, "f", 0755, NULL), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_make_dir(root, "f/g", 0755, NULL), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_remove_dir(root, "f"), THRUM_ECHANGED);
	replica_staged_discard(root, &staged);
}
END_TEST

/* ---------------------------------------------------------------- an edit in the last microsecond
 */

static void edit_in_place(void *arg)
{
	(void)arg;
	int fd = open("f", O_WRONLY | O_TRUNC);
	ck_assert_int_eq(write(fd, "EDIT", 4), 4);
	close(fd);
}

static void edit_by_rename(void *arg)
{
	(void)arg;
	disk_puts("g", "EDIT");
	ck_assert_int_eq(rename("g", "f"), 0);
}

static void edit_into_directory(void *arg)
{
	(void)arg;
	ck_assert_int_eq(unlink("f"), 0);
	ck_assert_int_eq(mkdir("f", 0755), 0);
	disk_puts("f/EDIT", "");
}

static void edit_delete(void *arg)
{
	(void)arg;
	ck_assert_int_eq(unlink("f"), 0);
}

static void edit_create(void *arg)
{
	(void)arg;
	disk_puts("f", "EDIT");
}

static void (*const edits[])(void *) = {
	edit_in_place, edit_by_rename, edit_into_directory, edit_delete};

static void edit_is_kept(void (*edit)(void *))
{
	if (edit == edit_into_directory)
		ck_assert(disk_exists("f/EDIT"));
	else if (edit == edit_delete)
		ck_assert(!disk_exists("f"));
	else
		ck_assert_str_eq(disk_gets("f"), "EDIT");
}

START_TEST(an_edit_before_the_install_is_kept)
{
	struct replica_stat st, now;
	disk_puts("f", "old");
	st = stat_of("f");
	edits[_i](NULL);
	struct replica_staged staged = stage_text("new");
	ck_assert_int_eq(replica_root_install(root, &staged, "f", &st, &now), THRUM_ECHANGED);
	edit_is_kept(edits[_i]);
	ck_assert_str_ne(staged.name, "");
	replica_staged_discard(root, &staged);
}
END_TEST

START_TEST(an_edit_in_the_gap_of_an_install_is_put_back)
{
	struct replica_stat st, now;
	disk_puts("f", "old");
	st = stat_of("f");
	root->gap = edits[_i];
	struct replica_staged staged = stage_text("new");
	ck_assert_int_eq(replica_root_install(root, &staged, "f", &st, &now), THRUM_ECHANGED);
	edit_is_kept(edits[_i]);
	/* The staged file is still whole and can be installed later. */
	root->gap = NULL;
	ck_assert_int_eq(replica_root_install(root, &staged, "later", &absent, &now), 0);
	ck_assert_str_eq(disk_gets("later"), "new");
}
END_TEST

static void edit_in_the_second_gap(void *arg)
{
	int *calls = arg;
	if (++*calls == 2)
		edit_in_place(NULL);
}

START_TEST(an_edit_right_after_the_install_shows_at_the_next_look)
{
	struct replica_stat st, now, disk_now;
	int calls = 0;
	root->gap = edit_in_the_second_gap;
	root->gap_arg = &calls;
	if (_i == 1)
		disk_puts("f", "old");
	st = stat_of("f");
	struct replica_staged staged = stage_text("new.");
	ck_assert_int_eq(replica_root_install(root, &staged, "f", &st, &now), 0);
	ck_assert_int_eq(calls, 2);
	ck_assert_str_eq(disk_gets("f"), "EDIT");
	disk_now = stat_of("f");
	ck_assert(!replica_stat_equal(&now, &disk_now));
}
END_TEST

START_TEST(an_edit_in_the_gap_of_a_creation_is_kept)
{
	struct replica_stat now;
	root->gap = edit_create;
	struct replica_staged staged = stage_text("new");
	ck_assert_int_eq(replica_root_install(root, &staged, "f", &absent, &now), THRUM_ECHANGED);
	ck_assert_str_eq(disk_gets("f"), "EDIT");
	replica_staged_discard(root, &staged);
}
END_TEST

START_TEST(an_edit_in_the_gap_of_a_deletion_is_put_back)
{
	struct replica_stat st;
	disk_puts("f", "old");
	st = stat_of("f");
	root->gap = edits[_i];
	int r = replica_root_delete(root, "f", &st);
	ck_assert_int_eq(r, edits[_i] == edit_delete ? 0 : THRUM_ECHANGED);
	edit_is_kept(edits[_i]);
}
END_TEST

START_TEST(an_edit_in_the_gap_of_moving_aside_is_put_back)
{
	struct replica_stat st, now;
	char name[256];
	disk_puts("f", "old");
	st = stat_of("f");
	root->gap = edits[_i];
	ck_assert_int_eq(
		replica_root_move_aside(root, "f", &st, "peer", name, &now), THRUM_ECHANGED);
	edit_is_kept(edits[_i]);
}
END_TEST

START_TEST(an_edit_in_the_gap_of_new_metadata_shows_at_the_next_look)
{
	struct replica_stat st, now, disk_now;
	disk_puts("f", "old.");
	st = stat_of("f");
	root->gap = edit_in_place; /* same size */
	ck_assert_int_eq(replica_root_set_meta(root, "f", &st, 0600, 42, &now), 0);
	disk_now = stat_of("f");
	ck_assert_int_eq(disk_now.mtime_ns, 42);
	ck_assert(!replica_stat_equal(&now, &disk_now));
	ck_assert_str_eq(disk_gets("f"), "EDIT");
}
END_TEST

/* ---------------------------------------------------------------- metadata */

START_TEST(metadata_is_set_and_special_bits_stay_a_local_matter)
{
	struct replica_stat st, now;
	struct stat raw;
	disk_puts("f", "x");
	ck_assert_int_eq(chmod("f", 04755), 0);
	st = stat_of("f");
	ck_assert_uint_eq(st.mode, 0755);
	ck_assert_int_eq(replica_root_set_meta(root, "f", &st, 06711, st.mtime_ns, &now), 0);
	ck_assert_int_eq(stat("f", &raw), 0);
	ck_assert_uint_eq(raw.st_mode & 07777, 04711);
	ck_assert_int_eq(replica_root_set_meta(root, "f", &st, 0600, 1, &now), THRUM_ECHANGED);
	st = stat_of("f");
	ck_assert_int_eq(replica_root_set_meta(root, "f", &st, 0600, -1, &now), 0);
	ck_assert_int_eq(stat_of("f").mtime_ns, -1);

	ck_assert_int_eq(symlink("f", "l"), 0);
	st = stat_of("l");
	ck_assert_int_eq(replica_root_set_meta(root, "l", &st, 0777, 77, &now), 0);
	ck_assert_int_eq(stat_of("l").mtime_ns, 77);
	ck_assert_int_eq(stat_of("f").mtime_ns, -1);

	ck_assert_int_eq(replica_root_make_dir(root, "d", 07750, &now), 1);
	ck_assert_uint_eq(now.mode, 03750);
	ck_assert_int_eq(replica_root_set_dir_mode(root, "d", 0500, &now), 0);
	ck_assert_uint_eq(now.mode, 0500);
	ck_assert_int_eq(replica_root_set_dir_mtime(root, "d", 99), 0);
	ck_assert_int_eq(stat_of("d").mtime_ns, 99);
	ck_assert_int_eq(replica_root_set_dir_mtime(root, "", 98), 0);
	ck_assert_int_eq(stat_of("").mtime_ns, 98);
	ck_assert_int_eq(stat_of("").type, REPLICA_DISK_DIR);
}
END_TEST

START_TEST(fifos_and_sockets_are_seen_but_never_opened)
{
	struct replica_stat st;
	ck_assert_int_eq(mkfifo("p", 0644), 0);
	ck_assert_int_eq(stat_of("p").type, REPLICA_DISK_OTHER);
	ck_assert_int_eq(replica_root_open_file(root, "p", &st), THRUM_ECHANGED);
	ck_assert_int_eq(replica_root_open_file(root, "none", &st), -ENOENT);
}
END_TEST

START_TEST(new_content_keeps_the_owner_of_the_file)
{
	if (geteuid() != 0)
		return;
	struct replica_staged staged = stage_text("new");
	struct replica_stat st, now;
	struct stat raw;
	disk_puts("f", "old");
	ck_assert_int_eq(chown("f", 1234, 2345), 0);
	st = stat_of("f");
	ck_assert_int_eq(replica_root_install(root, &staged, "f", &st, &now), 0);
	ck_assert_int_eq(stat("f", &raw), 0);
	ck_assert_uint_eq(raw.st_uid, 1234);
	ck_assert_uint_eq(raw.st_gid, 2345);
}
END_TEST

/* ---------------------------------------------------------------- conflict names */

START_TEST(conflict_names_keep_the_extension_and_never_collide)
{
	char out[256], name[256], first[256];
	struct replica_stat st, now;
	replica_conflict_name(out, "report.txt", "laptop", 1738367999, 0);
	ck_assert_str_eq(out, "report.conflict-laptop-20250131-235959.txt");
	replica_conflict_name(out, "report.txt", "laptop", 1738367999, 1);
	ck_assert_str_eq(out, "report.conflict-laptop-20250131-235959-2.txt");
	replica_conflict_name(out, ".bashrc", "../\n\xff", 0, 0);
	ck_assert_str_eq(out, ".bashrc.conflict-..___-19700101-000000");

	for (int i = 0; i < 251; i++)
		name[i] = "\xc3\xa4"[i % 2];
	strcpy(name + 250, ".text");
	replica_conflict_name(out, name, "p", 0, 0);
	ck_assert_uint_le(strlen(out), 255);
	ck_assert_str_eq(out + strlen(out) - 5, ".text");
	ck_assert_int_eq((unsigned char)strstr(out, ".conflict")[-1], 0xa4);

	disk_puts("f", "one");
	st = stat_of("f");
	ck_assert_int_eq(replica_root_move_aside(root, "f", &st, "p", first, &now), 0);
	ck_assert_str_eq(disk_gets(first), "one");
	struct replica_staged staged = stage_text("two");
	ck_assert_int_eq(replica_root_install_aside(root, &staged, "f", "p", name, &now), 0);
	ck_assert_str_eq(disk_gets(name), "two");
	ck_assert_str_eq(disk_gets(first), "one");
	ck_assert(!disk_exists("f"));
}
END_TEST

START_TEST(sync_reaches_the_disk)
{
	ck_assert_int_eq(replica_root_sync(root), 0);
}
END_TEST

Suite *suite_root(void)
{
	Suite *suite = suite_create("replica/root");
	TCase *tc = tcase_create("root");
	int edit_count = thrum__countof(edits);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, a_root_without_its_marker_is_missing);
	tcase_add_test(tc, a_root_that_was_moved_away_is_missing);
	tcase_add_test(tc, opening_empties_staging_but_keeps_what_is_unknown);
	tcase_add_loop_test(
		tc, a_hostile_path_is_refused_by_every_operation, 0, thrum__countof(hostile));
	tcase_add_test(tc, overlong_paths_are_refused);
	tcase_add_test(tc, a_symlink_on_the_way_is_never_followed);
	tcase_add_test(tc, a_symlink_swapped_in_for_a_directory_lets_nothing_escape);
	tcase_add_test(tc, a_new_file_gets_its_content_mode_and_mtime);
	tcase_add_test(tc, symlinks_and_files_replace_each_other);
	tcase_add_test(tc, an_install_never_replaces_a_directory);
	tcase_add_loop_test(tc, an_edit_before_the_install_is_kept, 0, edit_count);
	tcase_add_loop_test(tc, an_edit_in_the_gap_of_an_install_is_put_back, 0, edit_count);
	tcase_add_loop_test(tc, an_edit_right_after_the_install_shows_at_the_next_look, 0, 2);
	tcase_add_test(tc, an_edit_in_the_gap_of_a_creation_is_kept);
	tcase_add_loop_test(tc, an_edit_in_the_gap_of_a_deletion_is_put_back, 0, edit_count);
	tcase_add_loop_test(tc, an_edit_in_the_gap_of_moving_aside_is_put_back, 0, edit_count);
	tcase_add_test(tc, an_edit_in_the_gap_of_new_metadata_shows_at_the_next_look);
	tcase_add_test(tc, metadata_is_set_and_special_bits_stay_a_local_matter);
	tcase_add_test(tc, fifos_and_sockets_are_seen_but_never_opened);
	tcase_add_test(tc, new_content_keeps_the_owner_of_the_file);
	tcase_add_test(tc, conflict_names_keep_the_extension_and_never_collide);
	tcase_add_test(tc, sync_reaches_the_disk);
	suite_add_tcase(suite, tc);
	return suite;
}
