/* SPDX-License-Identifier: MIT */
#include "replica/path.h"

#include <check.h>
#include <errno.h>

#include "base/base.h"

static int check_text(const char *path)
{
	return replica_path_check(path, strlen(path));
}

START_TEST(names_that_could_leave_a_directory_are_not_valid)
{
	char longest[REPLICA_NAME_MAX + 1];
	memset(longest, 'n', sizeof(longest));
	ck_assert(replica_name_valid("a", 1));
	ck_assert(replica_name_valid("...", 3));
	ck_assert(replica_name_valid(".a", 2));
	ck_assert(replica_name_valid("\xff\x01 \n", 4));
	ck_assert(replica_name_valid(longest, REPLICA_NAME_MAX));
	ck_assert(!replica_name_valid(longest, REPLICA_NAME_MAX + 1));
	ck_assert(!replica_name_valid("", 0));
	ck_assert(!replica_name_valid(".", 1));
	ck_assert(!replica_name_valid("..", 2));
	ck_assert(!replica_name_valid("a/b", 3));
	ck_assert(!replica_name_valid("a\0b", 3));
}
END_TEST

START_TEST(paths_that_could_leave_the_share_are_refused)
{
	static const struct {
		const char *path;
		int code;
	} cases[] = {{"", 0}, {"a", 0}, {"a/b/c", 0}, {"a/.replica", 0}, {".replicas", 0},
		{"/", -EINVAL}, {"/a", -EINVAL}, {"a/", -EINVAL}, {"a//b", -EINVAL}, {".", -EINVAL},
		{"..", -EINVAL}, {"../a", -EINVAL}, {"a/../b", -EINVAL}, {"a/..", -EINVAL},
		{"a/.", -EINVAL}, {"./a", -EINVAL}, {".replica", -EPERM}, {".replica/id", -EPERM}};
	for (size_t i = 0; i < thrum__countof(cases); i++)
		ck_assert_msg(check_text(cases[i].path) == cases[i].code, "'%s'", cases[i].path);
	ck_assert_int_eq(replica_path_check("a\0b", 3), -EINVAL);
}
END_TEST

START_TEST(length_and_depth_are_bounded)
{
	static char path[REPLICA_PATH_MAX + 2];
	memset(path, 'p', sizeof(path));
	ck_assert_int_eq(replica_path_check(path, REPLICA_NAME_MAX + 1), -ENAMETOOLONG);
	for (size_t i = 200; i < sizeof(path); i += 200)
		path[i] = '/';
	ck_assert_int_eq(replica_path_check(path, REPLICA_PATH_MAX), 0);
	ck_assert_int_eq(replica_path_check(path, REPLICA_PATH_MAX + 1), -ENAMETOOLONG);
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 ? '/' : 'd';
	ck_assert_int_eq(replica_path_check(path, 2 * REPLICA_DEPTH_MAX - 1), 0);
	ck_assert_int_eq(replica_path_check(path, 2 * REPLICA_DEPTH_MAX + 1), -ENAMETOOLONG);
}
END_TEST

START_TEST(a_path_is_walked_component_by_component)
{
	const char *cursor = "one/2/three", *name;
	ck_assert_uint_eq(replica_path_depth(cursor), 3);
	ck_assert_uint_eq(replica_path_next(&cursor, &name), 3);
	ck_assert(strncmp(name, "one", 3) == 0);
	ck_assert_uint_eq(replica_path_next(&cursor, &name), 1);
	ck_assert(name[0] == '2');
	ck_assert_uint_eq(replica_path_next(&cursor, &name), 5);
	ck_assert_str_eq(name, "three");
	ck_assert_uint_eq(replica_path_next(&cursor, &name), 0);
	ck_assert_uint_eq(replica_path_depth(""), 0);
}
END_TEST

START_TEST(a_path_is_taken_apart_and_put_together)
{
	size_t parent;
	char out[16];
	ck_assert_str_eq(replica_path_last("a/b/c", &parent), "c");
	ck_assert_uint_eq(parent, 3);
	ck_assert_str_eq(replica_path_last("a", &parent), "a");
	ck_assert_uint_eq(parent, 0);
	ck_assert_int_eq(replica_path_join(out, sizeof(out), "a/b", "c"), 5);
	ck_assert_str_eq(out, "a/b/c");
	ck_assert_int_eq(replica_path_join(out, sizeof(out), "", "c"), 1);
	ck_assert_str_eq(out, "c");
	ck_assert_int_eq(replica_path_join(out, sizeof(out), "0123456789", "12345"), -ENAMETOOLONG);
	ck_assert_int_eq(replica_path_join(out, sizeof(out), "0123456789", "1234"), 15);
}
END_TEST

START_TEST(within_means_the_directory_itself_or_below_it)
{
	ck_assert(replica_path_within("a/b", "a"));
	ck_assert(replica_path_within("a", "a"));
	ck_assert(replica_path_within("a", ""));
	ck_assert(!replica_path_within("ab", "a"));
	ck_assert(!replica_path_within("a", "a/b"));
}
END_TEST

Suite *suite_path(void)
{
	Suite *suite = suite_create("replica/path");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, names_that_could_leave_a_directory_are_not_valid);
	tcase_add_test(basic, paths_that_could_leave_the_share_are_refused);
	tcase_add_test(basic, length_and_depth_are_bounded);
	tcase_add_test(basic, a_path_is_walked_component_by_component);
	tcase_add_test(basic, a_path_is_taken_apart_and_put_together);
	tcase_add_test(basic, within_means_the_directory_itself_or_below_it);
	suite_add_tcase(suite, basic);
	return suite;
}
