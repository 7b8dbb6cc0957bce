/* SPDX-License-Identifier: MIT */
#include "probe.h"

static int twice(void *arg, void *value, void *output)
{
	if (*(int *)value == 13)
		return -EDOM;
	*(long *)output = 2L * *(int *)value;
	++*(int *)arg;
	return 0;
}

START_TEST(map_computes_and_passes_errors_by)
{
	struct thrum_future_ready ready;
	struct thrum_future_map map;
	int value = 21, tmp, calls = 0;
	long output = 0;

	thrum_future_ready_init(&ready, 0, &value, sizeof(value));
	thrum_future_map_init(&map, &ready.future, twice, &calls, &tmp);
	ck_assert_int_eq(thrum_block_on(&map.future, &output, THRUM_FOREVER), 0);
	ck_assert_int_eq(output, 42);

	value = 13;
	thrum_future_ready_init(&ready, 0, &value, sizeof(value));
	thrum_future_map_init(&map, &ready.future, twice, &calls, &tmp);
	ck_assert_int_eq(thrum_block_on(&map.future, &output, THRUM_FOREVER), -EDOM);

	thrum_future_ready_init(&ready, -EIO, NULL, 0);
	thrum_future_map_init(&map, &ready.future, twice, &calls, &tmp);
	ck_assert_int_eq(thrum_block_on(&map.future, &output, THRUM_FOREVER), -EIO);
	ck_assert_int_eq(calls, 1);
}
END_TEST

static struct thrum_future *go_on_with(void *arg, void *value)
{
	return *(int *)value == 13 ? NULL : arg;
}

START_TEST(then_runs_the_second_after_the_first)
{
	struct probe first, second;
	struct thrum_future_then then;
	int tmp = 0, output = 0;

	probe_init(&first, 0);
	probe_init(&second, 0);
	thrum_future_then_init(&then, &first.future, go_on_with, &second.future, &tmp);
	ck_assert_int_eq(thrum_block_on(&then.future, &output, THRUM_FOREVER), 0);
	ck_assert(first.drops == 1 && second.drops == 1);

	struct thrum_future_ready ready;
	tmp = 13;
	thrum_future_ready_init(&ready, 0, &tmp, 0);
	thrum_future_then_init(&then, &ready.future, go_on_with, NULL, &tmp);
	ck_assert_int_eq(thrum_block_on(&then.future, &output, THRUM_FOREVER), -ENOMEM);

	probe_init(&second, 0);
	thrum_future_ready_init(&ready, -EIO, NULL, 0);
	thrum_future_then_init(&then, &ready.future, go_on_with, &second.future, &tmp);
	ck_assert_int_eq(thrum_block_on(&then.future, &output, THRUM_FOREVER), -EIO);
	ck_assert_int_eq(second.polls, 0);
}
END_TEST

START_TEST(join2_waits_for_both_and_polls_neither_after_it_was_ready)
{
	struct probe a, b;
	struct thrum_future_join2 join;
	struct tally tally = {0};
	struct thrum_waker waker = {&tally, &tally_vtable};
	struct thrum_context context = {&waker};
	int out[2] = {0};

	probe_init(&a, 1);
	probe_init(&b, 2);
	thrum_future_join2_init(&join, &a.future, &out[0], &b.future, &out[1]);
	ck_assert_int_eq(thrum_future_poll(&join.future, &context, NULL), THRUM_PENDING);
	probe_wake(&a);
	probe_wake(&b);
	ck_assert_int_eq(tally.wakes, 2);
	ck_assert_int_eq(thrum_future_poll(&join.future, &context, NULL), THRUM_PENDING);
	ck_assert(a.drops == 1 && b.drops == 0 && join.result[0] == 0);
	probe_wake(&b);
	ck_assert_int_eq(thrum_future_poll(&join.future, &context, NULL), THRUM_READY);
	thrum_future_drop(&join.future);
	ck_assert(out[0] == 1 && out[1] == 2);
	ck_assert(a.polls == 2 && b.polls == 3);
	ck_assert(a.drops == 1 && b.drops == 1);
	ck_assert_int_eq(tally.clones, tally.drops);
}
END_TEST

START_TEST(join2_fails_with_the_first_error_and_keeps_each_ones_own)
{
	struct thrum_future_ready a, b;
	struct thrum_future_join2 join;
	int value = 5, out = 0;

	thrum_future_join2_init(&join, thrum_future_ready_init(&a, 0, &value, sizeof(value)), &out,
		thrum_future_ready_init(&b, -EPIPE, NULL, 0), NULL);
	ck_assert_int_eq(thrum_block_on(&join.future, NULL, THRUM_FOREVER), -EPIPE);
	ck_assert(join.result[0] == 0 && join.result[1] == -EPIPE && out == 5);
}
END_TEST

START_TEST(select2_takes_the_first_and_drops_the_other)
{
	struct probe a, b;
	struct thrum_future_select2 select;
	int out[2] = {0};

	probe_init(&a, 1);
	probe_init(&b, 0);
	thrum_future_select2_init(&select, &a.future, &out[0], &b.future, &out[1]);
	ck_assert_int_eq(thrum_block_on(&select.future, NULL, THRUM_FOREVER), 0);
	ck_assert_int_eq(select.winner, 1);
	ck_assert(a.drops == 1 && b.drops == 1);
	ck_assert_ptr_null(a.waker.vtable);
}
END_TEST

START_TEST(dropping_a_combinator_drops_what_is_in_it)
{
	struct probe a, b, c, d;
	struct thrum_future_map map;
	struct thrum_future_then then;
	struct thrum_future_join2 join;
	struct thrum_future_select2 select;
	int tmp;

	probe_init(&a, 1);
	probe_init(&b, 1);
	probe_init(&c, 1);
	probe_init(&d, 1);
	thrum_future_map_init(&map, &a.future, twice, NULL, &tmp);
	thrum_future_then_init(&then, &b.future, go_on_with, NULL, &tmp);
	thrum_future_join2_init(&join, &map.future, &tmp, &then.future, &tmp);
	thrum_future_select2_init(&select, &c.future, &tmp, &d.future, &tmp);
	struct thrum_future_join2 all;
	thrum_future_join2_init(&all, &join.future, NULL, &select.future, NULL);
	ck_assert_int_eq(thrum_block_on(&all.future, NULL, THRUM_NOW), -ETIMEDOUT);
	ck_assert(a.polls == 1 && b.polls == 1 && c.polls == 1 && d.polls == 1);
	ck_assert(a.drops == 1 && b.drops == 1 && c.drops == 1 && d.drops == 1);
	thrum_future_drop(&all.future);
	thrum_future_drop(NULL);
	ck_assert(a.drops == 1 && b.drops == 1 && c.drops == 1 && d.drops == 1);
}
END_TEST

Suite *suite_combine(void)
{
	Suite *suite = suite_create("future/combine");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, map_computes_and_passes_errors_by);
	tcase_add_test(basic, then_runs_the_second_after_the_first);
	tcase_add_test(basic, join2_waits_for_both_and_polls_neither_after_it_was_ready);
	tcase_add_test(basic, join2_fails_with_the_first_error_and_keeps_each_ones_own);
	tcase_add_test(basic, select2_takes_the_first_and_drops_the_other);
	tcase_add_test(basic, dropping_a_combinator_drops_what_is_in_it);
	suite_add_tcase(suite, basic);
	return suite;
}
