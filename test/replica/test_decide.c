/* SPDX-License-Identifier: MIT */
#include "replica/decide.h"

#include <check.h>

#include "base/base.h"

/* Vectors over two replicas, written "a1 b2". */
static struct replica_vt vt(const char *text)
{
	struct replica_vt out = {0};
	for (; *text != '\0'; text++) {
		struct replica_id id = {{0}};
		if (*text == ' ')
			continue;
		id.bytes[0] = (uint8_t)*text++;
		ck_assert_int_eq(replica_vt_raise(&out, &id, (uint64_t)(*text - '0')), 0);
	}
	return out;
}

static struct replica_version version_of(char kind)
{
	struct replica_version version = {.state = REPLICA_FILE, .mode = 0644, .size = 1};
	switch (kind) {
	case '-':
		version.state = REPLICA_ABSENT;
		break;
	case 'i':
		version.state = REPLICA_IGNORED;
		break;
	case 't': /* x, touched later */
		version.hash[0] = 'x';
		version.mtime_ns = 5;
		break;
	case 'm': /* x, with another mode */
		version.hash[0] = 'x';
		version.mode = 0755;
		break;
	case 'd':
	case 'D':
		version.state = REPLICA_DIRMARK;
		version.mode = kind == 'd' ? 0700 : 0755;
		break;
	default:
		version.hash[0] = (uint8_t)kind;
	}
	return version;
}

/* A and B: version, m, s, c; then what is expected under each policy. */
static const struct {
	struct {
		char version;
		const char *m, *s, *c;
	} a, b;
	enum replica_verdict none, mine, theirs, merge;
} table[] = {
#define ALL(v) REPLICA_VERDICT_##v, REPLICA_VERDICT_##v, REPLICA_VERDICT_##v, REPLICA_VERDICT_##v
#define EACH(n, m, t, g) \
	REPLICA_VERDICT_##n, REPLICA_VERDICT_##m, REPLICA_VERDICT_##t, REPLICA_VERDICT_##g
	{{'i', "a1", "a1", "a1"}, {'x', "b1", "b1", "b1"}, ALL(IGNORED)},
	{{'x', "a1", "a1", "a1"}, {'i', "b1", "b1", "b1"}, ALL(IGNORED)},
	{{'-', "", "a1", ""}, {'-', "", "b1", ""}, ALL(BOTH_ABSENT)},
	/* both live */
	{{'x', "a1", "a1", "a1"}, {'x', "a1", "a1 b1", "a1"}, ALL(SKIP)},
	{{'x', "a1", "a1", "a1"}, {'y', "b1", "a1 b1", "a1"}, ALL(SKIP)},
	{{'y', "a2", "a2 b1", "a1"}, {'x', "a1", "a1 b1", "a1"}, ALL(COPY)},
	{{'x', "a1", "a1", "a1"}, {'x', "b1", "b1", "b1"}, ALL(EQUAL)},
	{{'x', "a1", "a1", "a1"}, {'t', "b1", "b1", "b1"}, ALL(MERGE_MINE)},
	{{'t', "a1", "a1", "a1"}, {'x', "b1", "b1", "b1"}, ALL(MERGE_THEIRS)},
	{{'t', "a1", "a1", "a1"}, {'m', "b1", "b1", "b1"}, ALL(MERGE_THEIRS)},
	{{'x', "a1", "a1", "a1"}, {'m', "b1", "b1", "b1"}, ALL(MERGE_MINE)},
	{{'x', "a1", "a1", "a1"}, {'y', "b1", "b1", "b1"},
		EACH(CONFLICT_UPDATE_UPDATE, KEEP, TAKE, MERGED)},
	/* each side thinks it has replaced the other's version: two people decided differently */
	{{'x', "a1", "a1 b1", "a1"}, {'y', "b1", "a1 b1", "b1"},
		EACH(CONFLICT_UPDATE_UPDATE, KEEP, TAKE, MERGED)},
	{{'x', "a1", "a1 b1", "a1"}, {'x', "b1", "a1 b1", "b1"}, ALL(SKIP)},
	/* deleted there */
	{{'-', "", "a1", ""}, {'x', "b1", "b1", "b1"}, ALL(INDEPENDENT)},
	{{'-', "", "a2 b1", ""}, {'x', "b1", "b1", "b1"}, ALL(DELETE)},
	{{'-', "", "a2 b1", ""}, {'x', "b2", "b2", "b1"},
		EACH(CONFLICT_DELETE_UPDATE, RECREATE_MINE, TAKE_DELETED, RECREATE_MINE)},
	{{'-', "", "a2", ""}, {'x', "b2", "b2", "a1 b1"}, ALL(RECREATE_MINE)},
	/* deleted here */
	{{'x', "a1", "a1", "a1"}, {'-', "", "a1 b2", ""}, ALL(SKIP)},
	{{'x', "a1", "a1", "a1"}, {'-', "", "b2", ""}, ALL(CREATE)},
	{{'x', "a2", "a2", "a1"}, {'-', "", "a1 b2", ""},
		EACH(CONFLICT_UPDATE_DELETE, KEEP_DELETED, RECREATE_THEIRS, RECREATE_THEIRS)},
	{{'x', "a2", "a2 b1", "a1 b1"}, {'-', "", "a1", ""}, ALL(RECREATE_THEIRS)},
	/* a creation came in with its m known already: it was never deleted here */
	{{'x', "a1", "a1 c1", "c1"}, {'-', "", "a1", ""}, ALL(CREATE)},
	/* directories */
	{{'d', "a1", "a1", "a1"}, {'D', "b1", "b1", "b1"}, ALL(MERGE_MINE)},
	{{'D', "a1", "a1", "a1"}, {'d', "b1", "b1", "b1"}, ALL(MERGE_THEIRS)},
	{{'d', "a1", "a1", "a1"}, {'d', "b1", "b1", "b1"}, ALL(EQUAL)},
	{{'-', "", "a2 b1", ""}, {'d', "b2", "b2", "b1"}, ALL(RECREATE_MINE)},
	{{'d', "a2", "a2", "a1"}, {'-', "", "a1 b2", ""}, ALL(RECREATE_THEIRS)},
};

START_TEST(the_decision_table_holds)
{
	struct replica_version a = version_of(table[_i].a.version),
			       b = version_of(table[_i].b.version);
	struct replica_vt vectors[] = {vt(table[_i].a.m), vt(table[_i].a.s), vt(table[_i].a.c),
		vt(table[_i].b.m), vt(table[_i].b.s), vt(table[_i].b.c)};
	struct replica_side theirs = {&a, &vectors[0], &vectors[1], &vectors[2]};
	struct replica_side mine = {&b, &vectors[3], &vectors[4], &vectors[5]};
	bool marker = a.state == REPLICA_DIRMARK || b.state == REPLICA_DIRMARK;
	const enum replica_verdict expected[] = {
		table[_i].none, table[_i].mine, table[_i].theirs, table[_i].merge};
	for (int policy = 0; policy < 4; policy++) {
		enum replica_verdict got =
			replica_decide(&theirs, &mine, marker, (enum replica_policy)policy);
		ck_assert_msg(got == expected[policy], "row %d policy %d: %s, not %s", _i, policy,
			replica_verdict_name(got), replica_verdict_name(expected[policy]));
	}
	for (size_t i = 0; i < thrum__countof(vectors); i++)
		replica_vt_fini(&vectors[i]);
}
END_TEST

START_TEST(a_side_without_a_row_is_absent)
{
	struct replica_version x = version_of('x');
	struct replica_vt s = vt("a1"), none = {0};
	struct replica_side nothing = {.s = &none}, theirs = {&x, &s, &s, &s};
	ck_assert_int_eq(replica_decide(&theirs, &nothing, false, REPLICA_POLICY_NONE),
		REPLICA_VERDICT_CREATE);
	ck_assert_int_eq(replica_decide(&nothing, &theirs, false, REPLICA_POLICY_NONE),
		REPLICA_VERDICT_INDEPENDENT);
	ck_assert_int_eq(replica_decide(&nothing, &nothing, false, REPLICA_POLICY_NONE),
		REPLICA_VERDICT_BOTH_ABSENT);
	replica_vt_fini(&s);
}
END_TEST

START_TEST(only_a_conflict_or_an_ignored_leaf_is_incomplete)
{
	for (int verdict = 0; verdict < REPLICA_VERDICT_COUNT; verdict++) {
		enum replica_action action = replica_verdict_action((enum replica_verdict)verdict);
		bool open = action == REPLICA_DO_CONFLICT || action == REPLICA_DO_IGNORE;
		ck_assert_int_eq(replica_verdict_completes((enum replica_verdict)verdict), !open);
		ck_assert_uint_gt(strlen(replica_verdict_reason((enum replica_verdict)verdict)), 5);
		ck_assert_uint_gt(strlen(replica_verdict_name((enum replica_verdict)verdict)), 3);
	}
	ck_assert_int_eq(replica_verdict_action((enum replica_verdict)999), REPLICA_DO_IGNORE);
}
END_TEST

START_TEST(versions_are_compared_as_a_person_sees_them)
{
	struct replica_version a = version_of('x'), b = version_of('t'), d = version_of('d');
	struct replica_version l = {.state = REPLICA_SYMLINK, .target = (char[]){"to"}};
	struct replica_version k = {.state = REPLICA_SYMLINK, .target = (char[]){"elsewhere"}};
	ck_assert(replica_version_same_content(&a, &b));
	ck_assert(!replica_version_equal(&a, &b));
	ck_assert(replica_version_equal(&a, &a));
	ck_assert(!replica_version_same_content(&a, &d));
	ck_assert(!replica_version_same_content(&l, &k));
	b = d;
	b.mtime_ns = 77; /* a directory's mtime follows its contents */
	ck_assert(replica_version_equal(&b, &d));
}
END_TEST

START_TEST(versions_that_cannot_be_are_refused)
{
	struct replica_version file = version_of('x');
	ck_assert_int_eq(replica_version_check(&file), 0);
	file.mode = 010000;
	ck_assert_int_eq(replica_version_check(&file), THRUM_EFORMAT);
	file.mode = 0;
	file.size = UINT64_MAX;
	ck_assert_int_eq(replica_version_check(&file), THRUM_EFORMAT);
	file.size = 0;
	file.target = (char[]){"x"};
	ck_assert_int_eq(replica_version_check(&file), THRUM_EFORMAT);
	file.target = NULL;
	file.state = (enum replica_state)9;
	ck_assert_int_eq(replica_version_check(&file), THRUM_EFORMAT);
	struct replica_version link = {.state = REPLICA_SYMLINK};
	ck_assert_int_eq(replica_version_check(&link), THRUM_EFORMAT);
	link.target = (char[]){""};
	ck_assert_int_eq(replica_version_check(&link), THRUM_EFORMAT);
	link.target = (char[]){"x"};
	ck_assert_int_eq(replica_version_check(&link), 0);
}
END_TEST

Suite *suite_decide(void)
{
	Suite *suite = suite_create("replica/decide");
	TCase *basic = tcase_create("basic");
	tcase_add_loop_test(basic, the_decision_table_holds, 0, thrum__countof(table));
	tcase_add_test(basic, a_side_without_a_row_is_absent);
	tcase_add_test(basic, only_a_conflict_or_an_ignored_leaf_is_incomplete);
	tcase_add_test(basic, versions_are_compared_as_a_person_sees_them);
	tcase_add_test(basic, versions_that_cannot_be_are_refused);
	suite_add_tcase(suite, basic);
	return suite;
}
