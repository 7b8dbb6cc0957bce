/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "base/base.h"
#include <thrum/fs.h>
#include <thrum/thread.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static char root[] = "/tmp/thrum-fs-XXXXXX";
static int at; /* root's descriptor */

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(root));
	at = thrum_file_open(THRUM_CWD, root, O_RDONLY | O_DIRECTORY, 0);
	ck_assert_int_ge(at, 0);
}

/* Removes everything in a directory; the tests make no deeper tree than two. */
static void empty(int dirfd, const char *path)
{
	struct thrum_dir *dir;
	struct thrum_dir_entry entry;
	if (thrum_dir_open(&dir, dirfd, path) < 0)
		return;
	while (thrum_dir_next(dir, &entry) == 1) {
		if (entry.type == DT_DIR) {
			empty(thrum_dir_fd(dir), entry.name);
			ck_assert_int_eq(thrum_fs_rmdir(thrum_dir_fd(dir), entry.name), 0);
		} else {
			ck_assert_int_eq(thrum_fs_unlink(thrum_dir_fd(dir), entry.name), 0);
		}
	}
	thrum_dir_close(dir);
}

static void tear_down(void)
{
	empty(THRUM_CWD, root);
	thrum_file_close(at);
	rmdir(root);
}

START_TEST(what_is_written_is_read_back_at_its_place)
{
	char buf[16] = {0};
	size_t done = 99;
	struct stat st;
	int fd = thrum_file_open(at, "f", O_RDWR | O_CREAT | O_EXCL, 0640);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(thrum_file_write(fd, "hello world", 11, &done), 0);
	ck_assert_uint_eq(done, 11);
	ck_assert_int_eq(thrum_file_pwrite(fd, "W", 1, 6, NULL), 0);
	ck_assert_int_eq(thrum_file_pread(fd, buf, sizeof(buf), 6), 5);
	ck_assert_mem_eq(buf, "World", 5);
	ck_assert_int_eq(thrum_file_read(fd, buf, sizeof(buf)), 0); /* the position is at the end */
	ck_assert_int_eq(thrum_file_truncate(fd, 5), 0);
	ck_assert_int_eq(thrum_file_stat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 5);
	ck_assert_int_eq(thrum_file_pread(fd, buf, sizeof(buf), 100), 0);
	ck_assert_int_eq(thrum_file_close(fd), 0);
}
END_TEST

START_TEST(errors_come_back_as_codes_and_count_what_was_done)
{
	struct stat st;
	size_t done = 99;
	char buf[4];
	ck_assert_int_eq(thrum_file_open(at, "absent", O_RDONLY, 0), -ENOENT);
	ck_assert_int_eq(thrum_file_read(-1, buf, sizeof(buf)), -EBADF);
	ck_assert_int_eq(thrum_file_write(-1, buf, sizeof(buf), &done), -EBADF);
	ck_assert_uint_eq(done, 0);
	ck_assert_int_eq(thrum_file_pwrite(at, buf, sizeof(buf), -1, &done), -EINVAL);
	ck_assert_int_eq(thrum_file_close(-1), -EBADF);
	ck_assert_int_eq(thrum_fs_stat(at, "absent", &st), -ENOENT);
	ck_assert_int_eq(thrum_fs_rmdir(at, "absent"), -ENOENT);
	int full = thrum_file_open(THRUM_CWD, "/dev/full", O_WRONLY, 0);
	ck_assert_int_eq(thrum_file_write(full, buf, sizeof(buf), &done), -ENOSPC);
	ck_assert_uint_eq(done, 0);
	thrum_file_close(full);
}
END_TEST

START_TEST(names_are_made_renamed_linked_and_removed)
{
	struct stat st;
	char target[8];
	ck_assert_int_eq(thrum_fs_mkdir(at, "d", 0700), 0);
	ck_assert_int_eq(thrum_fs_mkdir(at, "d", 0700), -EEXIST);
	ck_assert_int_eq(thrum_fs_replace_file(at, "d/a", "1", 1, 0600), 0);
	ck_assert_int_eq(thrum_fs_rename(at, "d/a", at, "b"), 0);
	ck_assert_int_eq(thrum_fs_symlink("b", at, "l"), 0);
	ck_assert_int_eq(thrum_fs_readlink(at, "l", target, sizeof(target)), 1);
	ck_assert_str_eq(target, "b");
	ck_assert_int_eq(thrum_fs_readlink(at, "l", target, 1), -ERANGE);
	ck_assert_int_eq(thrum_fs_readlink(at, "b", target, sizeof(target)), -EINVAL);
	ck_assert_int_eq(thrum_fs_stat(at, "l", &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	ck_assert_int_eq(thrum_fs_lstat(at, "l", &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	ck_assert_int_eq(thrum_fs_unlink(at, "l"), 0);
	ck_assert_int_eq(thrum_fs_unlink(at, "b"), 0);
	ck_assert_int_eq(thrum_fs_rmdir(at, "d"), 0);
}
END_TEST

START_TEST(a_whole_file_is_read_up_to_the_limit_and_no_further)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 100000};
	static char content[100000];
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i * 7 + i / 256);
	for (size_t i = 0; i < thrum__countof(sizes); i++) {
		size_t size = sizes[i], len = 0;
		char *data = NULL;
		ck_assert_int_eq(thrum_fs_replace_file(at, "f", content, size, 0644), 0);
		ck_assert_int_eq(thrum_fs_read_file(at, "f", size, (void **)&data, &len), 0);
		ck_assert_uint_eq(len, size);
		ck_assert_mem_eq(data, content, size);
		ck_assert_int_eq(data[size], '\0');
		free(data);
		void *untouched = &len;
		if (size > 0)
			ck_assert_int_eq(
				thrum_fs_read_file(at, "f", size - 1, &untouched, NULL), -EFBIG);
		ck_assert_ptr_eq(untouched, &len);
	}
}
END_TEST

START_TEST(a_file_whose_size_the_system_does_not_tell_is_read_whole)
{
	void *data;
	size_t len;
	ck_assert_int_eq(
		thrum_fs_read_file(THRUM_CWD, "/proc/self/maps", SIZE_MAX, &data, &len), 0);
	ck_assert_uint_gt(len, 1000);
	ck_assert_int_eq(((char *)data)[len - 1], '\n');
	free(data);
	ck_assert_int_eq(thrum_fs_read_file(at, ".", 100, &data, &len), -EISDIR);
}
END_TEST

START_TEST(replacing_leaves_old_content_on_failure_and_no_debris)
{
	struct stat st;
	struct thrum_dir *dir;
	struct thrum_dir_entry entry;
	char *data;
	ck_assert_int_eq(thrum_fs_replace_file(at, "f", "old", 3, 0444), 0);
	ck_assert_int_eq(thrum_fs_replace_file(at, "f", "newer", 5, 0640), 0);
	ck_assert_int_eq(thrum_fs_stat(at, "f", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(thrum_fs_mkdir(at, "d", 0755), 0);
	ck_assert_int_eq(thrum_fs_replace_file(at, "d", "x", 1, 0644), -EISDIR);
	ck_assert_int_eq(thrum_fs_replace_file(at, "absent/f", "x", 1, 0644), -ENOENT);
	ck_assert_int_eq(thrum_fs_read_file(at, "f", 100, (void **)&data, NULL), 0);
	ck_assert_str_eq(data, "newer");
	free(data);
	int entries = 0;
	ck_assert_int_eq(thrum_dir_open(&dir, at, "."), 0);
	while (thrum_dir_next(dir, &entry) == 1)
		entries++;
	thrum_dir_close(dir);
	ck_assert_int_eq(entries, 2);
}
END_TEST

START_TEST(a_directory_gives_each_entry_once)
{
	enum { FILES = 300 };
	bool seen[FILES] = {false};
	struct thrum_dir *dir;
	struct thrum_dir_entry entry;
	char name[16];
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		int fd = thrum_file_open(at, name, O_WRONLY | O_CREAT, 0644);
		ck_assert_int_ge(fd, 0);
		thrum_file_close(fd);
	}
	ck_assert_int_eq(thrum_dir_open(&dir, THRUM_CWD, root), 0);
	int count = 0;
	while (thrum_dir_next(dir, &entry) == 1) {
		int i = atoi(entry.name);
		struct stat st;
		ck_assert(i >= 0 && i < FILES && !seen[i]);
		seen[i] = true;
		count++;
		ck_assert_int_eq(thrum_fs_lstat(thrum_dir_fd(dir), entry.name, &st), 0);
		ck_assert_uint_eq(st.st_ino, entry.inode);
	}
	ck_assert_int_eq(count, FILES);
	thrum_dir_close(dir);
	thrum_dir_close(NULL);
}
END_TEST

START_TEST(only_a_directory_itself_opens_as_one)
{
	struct thrum_dir *dir = NULL;
	ck_assert_int_eq(thrum_fs_replace_file(at, "f", "", 0, 0644), 0);
	ck_assert_int_eq(thrum_fs_symlink(".", at, "l"), 0);
	ck_assert_int_eq(thrum_dir_open(&dir, at, "f"), -ENOTDIR);
	ck_assert_int_eq(thrum_dir_open(&dir, at, "l"), -ELOOP);
	ck_assert_int_eq(thrum_dir_open(&dir, at, "absent"), -ENOENT);
	ck_assert_ptr_null(dir);
}
END_TEST

struct flushes {
	int results[4];
};

static void *flush_everything(void *arg)
{
	struct flushes *got = arg;
	int fd = thrum_file_open(at, "f", O_WRONLY | O_CREAT, 0644);
	got->results[0] = thrum_file_sync(fd);
	got->results[1] = thrum_file_datasync(fd);
	got->results[2] = thrum_file_syncfs(at);
	got->results[3] = thrum_file_sync(-1);
	thrum_file_close(fd);
	return NULL;
}

START_TEST(flushes_work_in_green_threads_and_outside)
{
	struct flushes inside = {{1, 1, 1, 1}}, outside = inside;
	struct thrum_config config = {.workers = 2};
	ck_assert_int_eq(thrum_run(&config, flush_everything, &inside, NULL), 0);
	flush_everything(&outside);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(inside.results[i], i == 3 ? -EBADF : 0);
		ck_assert_int_eq(outside.results[i], i == 3 ? -EBADF : 0);
	}
}
END_TEST

Suite *suite_fs(void)
{
	Suite *suite = suite_create("io/fs");
	TCase *basic = tcase_create("basic");
	tcase_add_checked_fixture(basic, set_up, tear_down);
	tcase_add_test(basic, what_is_written_is_read_back_at_its_place);
	tcase_add_test(basic, errors_come_back_as_codes_and_count_what_was_done);
	tcase_add_test(basic, names_are_made_renamed_linked_and_removed);
	tcase_add_test(basic, a_whole_file_is_read_up_to_the_limit_and_no_further);
	tcase_add_test(basic, a_file_whose_size_the_system_does_not_tell_is_read_whole);
	tcase_add_test(basic, replacing_leaves_old_content_on_failure_and_no_debris);
	tcase_add_test(basic, a_directory_gives_each_entry_once);
	tcase_add_test(basic, only_a_directory_itself_opens_as_one);
	tcase_add_test(basic, flushes_work_in_green_threads_and_outside);
	suite_add_tcase(suite, basic);
	return suite;
}
