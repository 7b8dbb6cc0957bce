/* SPDX-License-Identifier: MIT */
#include "delta_test.h"

#include <sys/wait.h>
#include <unistd.h>

/* Debian's rdiff as the other side: what one writes, the other reads. Fails without rdiff. */

static char dir[64];

static void enter_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/thrum-delta-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
}

static void leave_dir(void)
{
	static const char *const names[] = {"basis", "new", "signature", "delta", "out"};
	for (size_t i = 0; i < thrum__countof(names); i++)
		unlink(names[i]);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void save(const char *name, const struct thrum__buf *buf)
{
	FILE *file = fopen(name, "wb");
	ck_assert_ptr_nonnull(file);
	size_t len = thrum__buf_len(buf);
	ck_assert_uint_eq(len == 0 ? 0 : fwrite(thrum__buf_head(buf), 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

static struct thrum__buf slurp(const char *name)
{
	struct thrum__buf buf = {0};
	FILE *file = fopen(name, "rb");
	ck_assert_ptr_nonnull(file);
	size_t n;
	do {
		uint8_t *to = thrum__buf_reserve(&buf, 65536);
		ck_assert_ptr_nonnull(to);
		n = fread(to, 1, 65536, file);
		thrum__buf_commit(&buf, n);
	} while (n > 0);
	fclose(file);
	return buf;
}

static void rdiff(const char *arguments)
{
	char command[200];
	snprintf(command, sizeof(command), "rdiff -f %s", arguments);
	int status = system(command);
	ck_assert_msg(status == 0, "'%s' failed (%d); is the package rdiff installed?", command,
		WIFEXITED(status) ? WEXITSTATUS(status) : status);
}

struct kind {
	const char *arguments;
	struct delta_sign_options options;
};

static const struct kind kinds[] = {
	{"", {0}},
	{"-b 2048 -S 8", {.block_len = 2048, .strong_len = 8}},
	{"-S -1", {.strong_len = -1}},
	{"-b 1000 -R rollsum", {.block_len = 1000, .magic = DELTA_MAGIC_BLAKE2}},
	{"-H md4", {.magic = DELTA_MAGIC_RK_MD4}},
	{"-H md4 -R rollsum -b 300", {.block_len = 300, .magic = DELTA_MAGIC_MD4}},
};

/* signature by one, delta by one, patch by one: all mixes. */
static void check_mixes(
	struct thrum__buf *basis, struct thrum__buf *new_file, const struct kind *kind)
{
	char arguments[100];
	struct delta_sign_options options = kind->options;
	options.size = (int64_t)thrum__buf_len(basis);
	struct thrum__buf ours = test_sign(basis, &options, 10000);
	save("basis", basis);
	save("new", new_file);
	snprintf(arguments, sizeof(arguments), "%s signature basis signature", kind->arguments);
	rdiff(arguments);
	struct thrum__buf theirs = slurp("signature");
	ck_assert_msg(test_same(&ours, &theirs), "signatures differ: rdiff %s", kind->arguments);
	/* Equal signatures: the two ways to make a delta from here are all mixes there are. */
	save("signature", &ours);
	rdiff("delta signature new delta");
	struct thrum__buf their_delta = slurp("delta");
	struct thrum__buf back = test_patch(basis, &their_delta, 10000);
	ck_assert(test_same(&back, new_file));

	struct delta_index *index = test_load(&theirs, 10000);
	struct thrum__buf our_delta = test_diff(index, new_file, 10000, NULL);
	save("delta", &our_delta);
	rdiff("patch basis delta out");
	struct thrum__buf out = slurp("out");
	ck_assert(test_same(&out, new_file));
	/* We find what rdiff finds. */
	ck_assert_uint_le(thrum__buf_len(&our_delta), thrum__buf_len(&their_delta) + 64);
	delta_index_destroy(index);
	struct thrum__buf *all[] = {&ours, &theirs, &their_delta, &our_delta, &back, &out};
	for (size_t i = 0; i < thrum__countof(all); i++)
		thrum__buf_fini(all[i]);
}

START_TEST(every_mix_of_ours_and_rdiffs_gives_the_new_file)
{
	static const size_t sizes[] = {0, 1, 255, 256, 257, 65536, 65537, 400001};
	uint64_t seed = test_seed(8);
	for (size_t s = 0; s < thrum__countof(sizes); s++) {
		struct thrum__buf basis = {0}, new_file = {0};
		size_t len = sizes[s];
		test_add_random(&basis, &seed, len);
		/* The second half, something new, the first third, the whole. */
		ck_assert_int_eq(thrum__buf_append(&new_file, thrum__buf_head(&basis) + len / 2,
					 len - len / 2),
			0);
		test_add_random(&new_file, &seed, 777);
		ck_assert_int_eq(thrum__buf_append(&new_file, thrum__buf_head(&basis), len / 3), 0);
		ck_assert_int_eq(thrum__buf_append(&new_file, thrum__buf_head(&basis), len), 0);
		check_mixes(&basis, &new_file, &kinds[_i]);
		check_mixes(&basis, &basis, &kinds[_i]);
		thrum__buf_fini(&basis);
		thrum__buf_fini(&new_file);
	}
}
END_TEST

START_TEST(an_empty_new_file_and_an_unrelated_one_work_with_rdiff)
{
	uint64_t seed = test_seed(9);
	struct thrum__buf basis = {0}, none = {0}, other = {0};
	test_add_random(&basis, &seed, 100000);
	test_add_random(&other, &seed, 150000);
	check_mixes(&basis, &none, &kinds[_i]);
	check_mixes(&basis, &other, &kinds[_i]);
	check_mixes(&none, &other, &kinds[_i]);
	check_mixes(&none, &none, &kinds[_i]);
	thrum__buf_fini(&basis);
	thrum__buf_fini(&other);
}
END_TEST

Suite *suite_rdiff(void)
{
	Suite *suite = suite_create("delta/rdiff");
	TCase *interop = tcase_create("interop");
	tcase_set_timeout(interop, 20);
	tcase_add_checked_fixture(interop, enter_dir, leave_dir);
	tcase_add_loop_test(interop, every_mix_of_ours_and_rdiffs_gives_the_new_file, 0,
		(int)thrum__countof(kinds));
	tcase_add_loop_test(interop, an_empty_new_file_and_an_unrelated_one_work_with_rdiff, 0,
		(int)thrum__countof(kinds));
	suite_add_tcase(suite, interop);
	return suite;
}
