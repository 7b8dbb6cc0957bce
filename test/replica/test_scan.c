/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <thrum/thread.h>

#include "disk.h"
#include "replica/hash.h"
#include "replica/index.h"
#include "replica/root.h"
#include "replica/scan.h"
#include "replica/tree.h"

/*
 * Scans run on an OS thread here: nothing in them needs a green one. `log` collects the events as
 * "+path", "*path", "~path" (metadata), "-path", directories with a slash at the end.
 */

static const uint8_t uuid[16] = {3};
static struct disk disk;
static struct replica_root *root;
static struct replica_index *index_;
static struct replica_tree *tree;
static struct thrum_mutex mutex;
static struct replica_scan scan;
static char log_[8192];

static void log_change(void *arg, const char *path, enum replica_change what, bool directory)
{
	(void)arg;
	size_t len = strlen(log_);
	snprintf(log_ + len, sizeof(log_) - len, "%s%c%s%s", len ? " " : "", "+*~-"[what], path,
		directory ? "/" : "");
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

/* Scans all and returns the events. */
static const char *scan_all(void)
{
	log_[0] = '\0';
	ck_assert_int_eq(replica_scan_all(&scan), 0);
	return log_;
}

static const char *scan_name(const char *path)
{
	log_[0] = '\0';
	ck_assert_int_eq(replica_scan_name(&scan, path), 0);
	return log_;
}

static struct replica_entry row_of(const char *path)
{
	struct replica_entry row = {0};
	int r = replica_tree_leaf(tree, path, &row);
	ck_assert_msg(r == 0 || r == -ENOENT, "%s: %d", path, r);
	return row;
}

static enum replica_state state_of(const char *path)
{
	struct replica_entry row = row_of(path);
	enum replica_state state = row.version.state;
	replica_entry_fini(&row);
	return state;
}

static int keep_error(void *arg, const char *path, const char *text)
{
	size_t len = strlen(arg);
	snprintf((char *)arg + len, 1024 - len, "%s%s: %s", len ? "; " : "", path, text);
	return 0;
}

static const char *errors(void)
{
	static char text[1024];
	text[0] = '\0';
	ck_assert_int_eq(
		replica_index_errors(index_, replica_tree_share(tree), keep_error, text), 0);
	return text;
}

static void make_tree(void)
{
	disk_puts("a", "one");
	ck_assert_int_eq(mkdir("d", 0750), 0);
	disk_puts("d/b", "two");
	ck_assert_int_eq(mkdir("d/e", 0755), 0);
	disk_puts("d/e/c", "three");
	ck_assert_int_eq(symlink("a", "l"), 0);
	ck_assert_int_eq(mkdir("empty", 0755), 0);
}

/* ---------------------------------------------------------------- what is recorded */

START_TEST(a_tree_becomes_rows_with_content_and_metadata)
{
	uint8_t hash[REPLICA_HASH_SIZE];
	struct stat st;
	make_tree();
	ck_assert_int_eq(chmod("a", 0604), 0);
	ck_assert_str_eq(scan_all(), "+a +l +d/ +d/b +d/e/ +d/e/c +empty/");
	ck_assert_str_eq(scan_all(), "");

	struct replica_hash *state = replica_hash_create();
	replica_hash_add(state, "one", 3);
	replica_hash_get(state, hash);
	replica_hash_destroy(state);
	struct replica_entry row = row_of("a");
	ck_assert_int_eq(stat("a", &st), 0);
	ck_assert_int_eq(row.version.state, REPLICA_FILE);
	ck_assert_uint_eq(row.version.mode, 0604);
	ck_assert_uint_eq(row.version.size, 3);
	ck_assert_mem_eq(row.version.hash, hash, sizeof(hash));
	ck_assert_int_eq(row.version.mtime_ns, st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
	ck_assert_uint_eq(row.ident.ino, st.st_ino);
	replica_entry_fini(&row);

	row = row_of("l");
	ck_assert_int_eq(row.version.state, REPLICA_SYMLINK);
	ck_assert_str_eq(row.version.target, "a");
	replica_entry_fini(&row);
	row = row_of("d/.");
	ck_assert_int_eq(row.version.state, REPLICA_DIRMARK);
	ck_assert_uint_eq(row.version.mode, 0750);
	replica_entry_fini(&row);
	ck_assert_uint_eq(scan.stats.created, 7);
	ck_assert_uint_eq(scan.stats.hashed_files, 3);
}
END_TEST

START_TEST(changes_of_content_and_of_metadata_are_told_apart)
{
	make_tree();
	scan_all();
	disk_puts("a", "ONE");
	ck_assert_int_eq(chmod("d/b", 0600), 0);
	ck_assert_int_eq(chmod("d/e", 0700), 0);
	struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 2}};
	ck_assert_int_eq(utimensat(AT_FDCWD, "d/e/c", times, 0), 0);
	ck_assert_int_eq(unlink("l"), 0);
	ck_assert_int_eq(symlink("other", "l"), 0);
	ck_assert_str_eq(scan_all(), "*a *l ~d/b ~d/e/ ~d/e/c");
	ck_assert_str_eq(scan_all(), "");
}
END_TEST

START_TEST(a_copy_in_place_is_no_event)
{
	struct stat st;
	make_tree();
	scan_all();
	/* Same content and metadata, other inode and ctime: what a restored backup looks like. */
	ck_assert_int_eq(stat("a", &st), 0);
	disk_puts("a.new", "one");
	ck_assert_int_eq(
		utimensat(AT_FDCWD, "a.new", (struct timespec[]){st.st_atim, st.st_mtim}, 0), 0);
	ck_assert_int_eq(rename("a.new", "a"), 0);
	ck_assert_str_eq(scan_all(), "");
	uint64_t hashed = scan.stats.hashed_files;
	ck_assert_str_eq(scan_all(), "");
	ck_assert_uint_eq(scan.stats.hashed_files, hashed); /* the new identity is known now */
}
END_TEST

START_TEST(deletions_are_recorded_once)
{
	make_tree();
	scan_all();
	ck_assert_int_eq(unlink("a"), 0);
	disk_remove("d/e");
	ck_assert_str_eq(scan_all(), "-a -d/e/");
	ck_assert_str_eq(scan_all(), "");
	ck_assert_int_eq(state_of("d/e/c"), REPLICA_ABSENT);
	ck_assert_int_eq(state_of("d/e/."), REPLICA_ABSENT);
	ck_assert_int_eq(state_of("d/b"), REPLICA_FILE);
	disk_remove("d");
	ck_assert_str_eq(scan_all(), "-d/");
	ck_assert_str_eq(scan_all(), "");
}
END_TEST

/* What stands under "x" before and after, by letter: - absent, f file, l symlink, d directory with
 * a file, p fifo. */
static const char *const type_changes[][2] = {
	{"-f", "+x"},
	{"-l", "+x"},
	{"-d", "+x/ +x/in"},
	{"-p", ""},
	{"f-", "-x"},
	{"fl", "*x"},
	{"fd", "-x +x/ +x/in"},
	{"fp", "-x"},
	{"l-", "-x"},
	{"lf", "*x"},
	{"ld", "-x +x/ +x/in"},
	{"lp", "-x"},
	{"d-", "-x/"},
	{"df", "+x"},
	{"dl", "+x"},
	{"dp", "-x/"},
	{"pf", "+x"},
	{"pd", "+x/ +x/in"},
	{"p-", ""},
};

static void put(char type)
{
	disk_remove("x");
	switch (type) {
	case 'f':
		disk_puts("x", "file");
		break;
	case 'l':
		ck_assert_int_eq(symlink("target", "x"), 0);
		break;
	case 'd':
		ck_assert_int_eq(mkdir("x", 0755), 0);
		disk_puts("x/in", "inside");
		break;
	case 'p':
		ck_assert_int_eq(mkfifo("x", 0644), 0);
		break;
	}
}

static void check_type(char type)
{
	ck_assert_int_eq(state_of("x"), type == 'f'   ? REPLICA_FILE
					: type == 'l' ? REPLICA_SYMLINK
						      : REPLICA_ABSENT);
	ck_assert_int_eq(state_of("x/."), type == 'd' ? REPLICA_DIRMARK : REPLICA_ABSENT);
	ck_assert_int_eq(state_of("x/in"), type == 'd' ? REPLICA_FILE : REPLICA_ABSENT);
}

START_TEST(a_name_may_change_its_type)
{
	const char *from_to = type_changes[_i / 2][0], *expect = type_changes[_i / 2][1];
	bool by_name = _i % 2;
	put(from_to[0]);
	scan_all();
	check_type(from_to[0]);
	put(from_to[1]);
	ck_assert_str_eq(by_name ? scan_name("x") : scan_all(), expect);
	check_type(from_to[1]);
	ck_assert_str_eq(by_name ? scan_name("x") : scan_all(), "");
	ck_assert_str_eq(scan_all(), "");
	ck_assert_int_eq(replica_tree_live(tree, ""), from_to[1] != '-' && from_to[1] != 'p');
}
END_TEST

START_TEST(single_names_are_scanned_alone)
{
	make_tree();
	ck_assert_str_eq(scan_name("d/e/c"), "+d/e/c +d/e/");
	ck_assert_str_eq(scan_name("d/e"), "");
	ck_assert_str_eq(scan_name("d"), "+d/ +d/b");
	ck_assert_str_eq(scan_name("nothing"), "");
	ck_assert_str_eq(scan_name("nothing/below"), "");
	disk_puts("a", "ONE");
	disk_puts("d/b", "TWO");
	ck_assert_int_eq(chmod("d", 0700), 0);
	ck_assert_str_eq(scan_name("d"), "~d/");
	ck_assert_str_eq(scan_name(".replica/id"), "");
	ck_assert_str_eq(scan_name("../escape"), "");
	log_[0] = '\0';
	ck_assert_int_eq(replica_scan_below(&scan, "d"), 0);
	ck_assert_str_eq(log_, "*d/b");
	ck_assert_str_eq(scan_all(), "+a +l +empty/");
}
END_TEST

START_TEST(a_directory_keeps_its_mtime_in_the_index)
{
	struct replica_listing listing = {0};
	struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1111, .tv_nsec = 22}};
	make_tree();
	ck_assert_int_eq(utimensat(AT_FDCWD, "d", times, 0), 0);
	scan_all();
	ck_assert_int_eq(replica_tree_list(tree, "d", NULL, &listing), 0);
	ck_assert_int_eq(listing.mtime_ns, 1111000000022);
	replica_listing_fini(&listing);
	/* A new file changes it, and the scan of that name alone says so. */
	disk_puts("d/new", "");
	ck_assert_int_eq(
		utimensat(AT_FDCWD, "d", (struct timespec[]){{.tv_sec = 1}, {.tv_sec = 2222}}, 0),
		0);
	ck_assert_str_eq(scan_name("d/new"), "+d/new");
	ck_assert_int_eq(replica_tree_list(tree, "d", NULL, &listing), 0);
	ck_assert_int_eq(listing.mtime_ns, 2222000000000);
	replica_listing_fini(&listing);
}
END_TEST

START_TEST(special_files_and_our_own_directory_are_left_out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(mkfifo("fifo", 0644), 0);
	ck_assert_int_eq(mkdir("sub", 0755), 0);
	ck_assert_int_eq(mkdir("sub/.replica", 0755), 0); /* ours only at the root */
	ck_assert_str_eq(scan_all(), "+sub/ +sub/.replica/");
	ck_assert_str_eq(errors(), "");
	close(fd);
}
END_TEST

START_TEST(strange_names_are_only_bytes)
{
	disk_puts("\xff\xfe\n\t", "x");
	disk_puts("-rf *", "x");
	disk_puts("a\\b", "x");
	ck_assert_str_eq(scan_all(), "+-rf * +a\\b +\xff\xfe\n\t");
	ck_assert_int_eq(unlink("\xff\xfe\n\t"), 0);
	ck_assert_str_eq(scan_all(), "-\xff\xfe\n\t");
}
END_TEST

START_TEST(many_files_take_several_transactions)
{
	char name[32];
	for (int i = 0; i < 2500; i++) {
		snprintf(name, sizeof(name), "f%04d", i);
		disk_puts(name, name);
	}
	scan.change = NULL;
	ck_assert_int_eq(replica_scan_all(&scan), 0);
	ck_assert_uint_eq(scan.stats.created, 2500);
	for (int i = 0; i < 2500; i += 2) {
		snprintf(name, sizeof(name), "f%04d", i);
		ck_assert_int_eq(unlink(name), 0);
	}
	ck_assert_int_eq(replica_scan_all(&scan), 0);
	ck_assert_uint_eq(scan.stats.deleted, 1250);
	ck_assert_uint_eq(scan.stats.hashed_files, 2500);
}
END_TEST

/* ---------------------------------------------------------------- the share is not there */

START_TEST(a_missing_share_deletes_nothing)
{
	char aside[128];
	make_tree();
	scan_all();
	ck_assert_int_eq(rename(".replica/id", ".replica/gone"), 0);
	ck_assert_int_eq(unlink("a"), 0);
	ck_assert_int_eq(replica_scan_all(&scan), -ENXIO);
	ck_assert_int_eq(replica_scan_name(&scan, "a"), -ENXIO);
	ck_assert_int_eq(state_of("a"), REPLICA_FILE);
	ck_assert_int_eq(rename(".replica/gone", ".replica/id"), 0);

	/* An empty directory in its place: a drive that is not mounted. */
	snprintf(aside, sizeof(aside), "%s/aside", disk.dir);
	ck_assert_int_eq(rename(disk.root, aside), 0);
	ck_assert_int_eq(mkdir(disk.root, 0755), 0);
	ck_assert_int_eq(replica_scan_all(&scan), -ENXIO);
	ck_assert_int_eq(rmdir(disk.root), 0);
	ck_assert_int_eq(replica_scan_all(&scan), -ENXIO);
	ck_assert_int_eq(rename(aside, disk.root), 0);
	ck_assert_int_eq(state_of("d/e/c"), REPLICA_FILE);
	ck_assert_str_eq(scan_all(), "-a");
}
END_TEST

static void pull_the_marker(void *arg, const char *path, int dirfd)
{
	(void)arg, (void)dirfd;
	if (strcmp(path, "d") == 0)
		ck_assert_int_eq(rename(".replica/id", ".replica/gone"), 0);
}

START_TEST(a_share_that_vanishes_during_a_scan_deletes_nothing)
{
	make_tree();
	scan_all();
	disk_remove("d/e");
	scan.enter_dir = pull_the_marker;
	ck_assert_int_eq(replica_scan_all(&scan), -ENXIO);
	ck_assert_int_eq(state_of("d/e/c"), REPLICA_FILE);
}
END_TEST

/* ---------------------------------------------------------------- what cannot be read */

START_TEST(what_cannot_be_read_is_told_and_keeps_its_row)
{
	make_tree();
	disk_puts("d/secret", "s");
	scan_all();
	disk_puts("d/secret", "changed");
	disk_puts("d/b", "TWO");
	ck_assert_int_eq(chmod("d/secret", 0), 0);
	ck_assert_int_eq(chmod("d/e", 0), 0);
	/* Root reads everything; this test process gives that up for good. */
	ck_assert_int_eq(system("chown -R 65534:65534 .."), 0);
	ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	const char *events = scan_all();
	ck_assert_msg(
		strcmp(events, "*d/b") == 0 || strcmp(events, "*d/b ~d/e/") == 0, "%s", events);
	ck_assert_str_eq(errors(),
		"d/e: cannot read: Permission denied; d/secret: cannot read: Permission denied");
	ck_assert_int_eq(state_of("d/e/c"), REPLICA_FILE);
	ck_assert_int_eq(state_of("d/secret"), REPLICA_FILE);
	ck_assert_uint_eq(scan.stats.errors, 2);

	/* One of them goes away, and so does its error; a name alone is enough for that. */
	ck_assert_int_eq(unlink("d/secret"), 0);
	ck_assert_str_eq(scan_name("d/secret"), "-d/secret");
	ck_assert_str_eq(errors(), "d/e: cannot read: Permission denied");
	ck_assert_str_eq(scan_all(), "");
	ck_assert_str_eq(errors(), "d/e: cannot read: Permission denied");
	/* Readable again: the name alone is told to us, all below it is looked at. */
	ck_assert_int_eq(chmod("d/e", 0755), 0);
	disk_puts("d/e/c", "changed behind the veil");
	ck_assert_str_eq(scan_name("d/e"), "*d/e/c");
	ck_assert_str_eq(errors(), "");
	ck_assert_int_eq(state_of("d/e/c"), REPLICA_FILE);
}
END_TEST

START_TEST(errors_go_away_when_the_name_can_be_read_and_others_errors_stay)
{
	ck_assert_int_eq(replica_index_begin(index_), 0);
	ck_assert_int_eq(replica_index_error_set(index_, replica_tree_share(tree), "a",
				 "cannot read: input/output error"),
		0);
	ck_assert_int_eq(replica_index_error_set(index_, replica_tree_share(tree), "d/b",
				 "no space left on device"),
		0);
	ck_assert_int_eq(replica_index_commit(index_), 0);
	make_tree();
	scan_name("d");
	ck_assert_str_eq(
		errors(), "a: cannot read: input/output error; d/b: no space left on device");
	scan_all();
	ck_assert_str_eq(errors(), "d/b: no space left on device");
}
END_TEST

START_TEST(a_mount_point_below_the_root_is_not_entered)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return;
	/* The root was opened in the old name space of mounts. */
	replica_root_close(root);
	ck_assert_int_eq(replica_root_open(&root, disk.root, uuid), 0);
	scan.root = root;
	make_tree();
	scan_all();
	ck_assert_int_eq(mount("tmpfs", "d/e", "tmpfs", 0, "size=64k,mode=755"), 0);
	disk_puts("d/e/foreign", "");
	ck_assert_str_eq(scan_all(), "");
	ck_assert_str_eq(errors(), "d/e: cannot read: a mount point inside the share is left out");
	ck_assert_int_eq(state_of("d/e/c"), REPLICA_FILE);
	ck_assert_int_eq(umount("d/e"), 0);
	ck_assert_str_eq(scan_all(), "");
	ck_assert_str_eq(errors(), "");
}
END_TEST

/* ---------------------------------------------------------------- changes during the scan */

static unsigned dirty_count;
static char dirty_path[256];

static void note_dirty(void *arg, const char *path)
{
	(void)arg;
	dirty_count++;
	snprintf(dirty_path, sizeof(dirty_path), "%s", path);
}

/* Runs when the index's rows have been fetched: a pull, or a person, changes the disk in the middle
 * of a scan. */
static void delete_while_scanning(void *arg, const char *path, int dirfd)
{
	(void)arg, (void)dirfd;
	if (strcmp(path, "d") == 0) {
		disk_puts("a", "changed after it was hashed");
		disk_puts("gone", "and back");
	}
}

START_TEST(a_file_that_changes_after_it_was_hashed_is_dirty_and_not_recorded)
{
	make_tree();
	disk_puts("gone", "");
	scan_all();
	disk_puts("a", "two");
	ck_assert_int_eq(unlink("gone"), 0);
	scan.dirty = note_dirty;
	scan.enter_dir = delete_while_scanning;
	/* "gone" was missing when the root was listed, and is there again when the batch is
	 * recorded. */
	ck_assert_str_eq(scan_all(), "");
	ck_assert_uint_eq(dirty_count, 1);
	ck_assert_str_eq(dirty_path, "a");
	scan.enter_dir = NULL;
	ck_assert_str_eq(scan_all(), "*a *gone");
}
END_TEST

START_TEST(a_write_within_one_tick_of_the_clock_is_seen)
{
	/* Same size, mtime set back: only ctime can tell, and it must not be the one that was
	 * hashed. */
	struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 2}}, clock;
	for (int i = 0; i < 30; i++) {
		disk_puts("f", i % 2 ? "aaaa" : "bbbb");
		ck_assert_int_eq(utimensat(AT_FDCWD, "f", times, 0), 0);
		ck_assert_str_eq(scan_all(), i ? "*f" : "+f");
		/* Kernels with finer stamps hide the danger; the rule that wards it off can be seen
		 * everywhere. */
		struct replica_entry row = row_of("f");
		clock_gettime(CLOCK_REALTIME_COARSE, &clock);
		ck_assert_int_gt(
			(int64_t)clock.tv_sec * THRUM_S + clock.tv_nsec, row.ident.ctime_ns);
		replica_entry_fini(&row);
	}
}
END_TEST

Suite *suite_scan(void)
{
	Suite *suite = suite_create("replica/scan");
	TCase *tc = tcase_create("scan");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, a_tree_becomes_rows_with_content_and_metadata);
	tcase_add_test(tc, changes_of_content_and_of_metadata_are_told_apart);
	tcase_add_test(tc, a_copy_in_place_is_no_event);
	tcase_add_test(tc, deletions_are_recorded_once);
	tcase_add_loop_test(tc, a_name_may_change_its_type, 0, 2 * thrum__countof(type_changes));
	tcase_add_test(tc, single_names_are_scanned_alone);
	tcase_add_test(tc, a_directory_keeps_its_mtime_in_the_index);
	tcase_add_test(tc, special_files_and_our_own_directory_are_left_out);
	tcase_add_test(tc, strange_names_are_only_bytes);
	tcase_add_test(tc, many_files_take_several_transactions);
	tcase_add_test(tc, a_missing_share_deletes_nothing);
	tcase_add_test(tc, a_share_that_vanishes_during_a_scan_deletes_nothing);
	if (geteuid() == 0)
		tcase_add_test(tc, what_cannot_be_read_is_told_and_keeps_its_row);
	tcase_add_test(tc, errors_go_away_when_the_name_can_be_read_and_others_errors_stay);
	tcase_add_test(tc, a_mount_point_below_the_root_is_not_entered);
	tcase_add_test(tc, a_file_that_changes_after_it_was_hashed_is_dirty_and_not_recorded);
	tcase_add_test(tc, a_write_within_one_tick_of_the_clock_is_seen);
	suite_add_tcase(suite, tc);
	return suite;
}
