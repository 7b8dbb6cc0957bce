/* SPDX-License-Identifier: MIT */
#include "replica/datadir.h"

#include "disk.h"

static struct disk disk;
static char path[160], why[1024];
static struct replica_datadir dir, other;

static void set_up(void)
{
	disk_init(&disk);
	snprintf(path, sizeof(path), "%s/deep/data", disk.root);
}

static void tear_down(void)
{
	disk_fini(&disk);
}

static int open_dir(struct replica_datadir *out)
{
	why[0] = '\0';
	return replica_datadir_open(out, path, why, sizeof(why));
}

static mode_t mode_of(const char *name)
{
	struct stat st;
	ck_assert_int_eq(stat(name, &st), 0);
	return st.st_mode & 07777;
}

START_TEST(a_new_directory_and_its_key_are_private_and_stay_the_same)
{
	uint8_t key[32];
	mode_t mask = umask(0);
	ck_assert_int_eq(open_dir(&dir), 0);
	umask(mask);
	ck_assert_uint_eq(mode_of("deep"), 0700);
	ck_assert_uint_eq(mode_of("deep/data"), 0700);
	ck_assert_uint_eq(mode_of("deep/data/key"), 0600);
	ck_assert_uint_eq(mode_of("deep/data/lock"), 0600);
	memcpy(key, dir.public_key, sizeof(key));
	replica_datadir_close(&dir);
	ck_assert_int_eq(open_dir(&dir), 0);
	ck_assert_mem_eq(dir.public_key, key, sizeof(key));
	replica_datadir_close(&dir);
}
END_TEST

START_TEST(a_second_daemon_is_told_that_one_runs)
{
	ck_assert_int_eq(open_dir(&dir), 0);
	ck_assert_int_eq(open_dir(&other), -EBUSY);
	ck_assert_ptr_nonnull(strstr(why, "another replicad runs"));
	ck_assert_ptr_nonnull(strstr(why, path));
	replica_datadir_close(&dir);
	ck_assert_int_eq(open_dir(&other), 0);
	replica_datadir_close(&other);
}
END_TEST

START_TEST(a_damaged_key_is_neither_used_nor_replaced)
{
	static const char zeros[32], lengthy[5000];
	struct {
		const char *bytes;
		size_t len;
	} damaged[] = {{"", 0}, {"short", 5}, {zeros, 32}, {lengthy, 33}, {lengthy, 5000}};
	ck_assert_int_eq(open_dir(&dir), 0);
	replica_datadir_close(&dir);
	for (size_t i = 0; i < thrum__countof(damaged); i++) {
		disk_write("deep/data/key", damaged[i].bytes, damaged[i].len);
		ck_assert_int_eq(open_dir(&dir), THRUM_EFORMAT);
		ck_assert_ptr_nonnull(strstr(why, "key is damaged"));
		struct stat st;
		ck_assert_int_eq(stat("deep/data/key", &st), 0);
		ck_assert_uint_eq((size_t)st.st_size, damaged[i].len);
	}
	/* And the lock was given back each time. */
	ck_assert_int_eq(unlink("deep/data/key"), 0);
	ck_assert_int_eq(open_dir(&dir), 0);
	replica_datadir_close(&dir);
}
END_TEST

START_TEST(a_directory_that_others_may_write_to_is_refused)
{
	ck_assert_int_eq(open_dir(&dir), 0);
	replica_datadir_close(&dir);
	ck_assert_int_eq(chmod("deep/data", 0770), 0);
	ck_assert_int_eq(open_dir(&dir), -EPERM);
	ck_assert_ptr_nonnull(strstr(why, "chmod 700"));
}
END_TEST

START_TEST(a_file_in_its_place_is_named)
{
	disk_puts("deep", "a file");
	ck_assert_int_lt(open_dir(&dir), 0);
	ck_assert_ptr_nonnull(strstr(why, path));
}
END_TEST

START_TEST(the_listen_address_is_remembered)
{
	char text[128];
	ck_assert_int_eq(open_dir(&dir), 0);
	replica_datadir_load_listen(&dir, text, sizeof(text));
	ck_assert_str_eq(text, "");
	replica_datadir_save_listen(&dir, "127.0.0.1:4711");
	replica_datadir_load_listen(&dir, text, sizeof(text));
	ck_assert_str_eq(text, "127.0.0.1:4711");
	/* One that does not fit was not written by us. */
	replica_datadir_load_listen(&dir, text, 5);
	ck_assert_str_eq(text, "");
	replica_datadir_close(&dir);
}
END_TEST

Suite *suite_datadir(void)
{
	Suite *suite = suite_create("datadir");
	TCase *tc = tcase_create("datadir");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_new_directory_and_its_key_are_private_and_stay_the_same);
	tcase_add_test(tc, a_second_daemon_is_told_that_one_runs);
	tcase_add_test(tc, a_damaged_key_is_neither_used_nor_replaced);
	tcase_add_test(tc, a_directory_that_others_may_write_to_is_refused);
	tcase_add_test(tc, a_file_in_its_place_is_named);
	tcase_add_test(tc, the_listen_address_is_remembered);
	suite_add_tcase(suite, tc);
	return suite;
}
