/* SPDX-License-Identifier: MIT */
#include "fixture.h"

START_TEST(waiters_leave_in_order_from_the_front_the_back_and_the_middle)
{
	struct thrum_waitq queue = {0};
	struct thrum__waiter w[5];

	thrum__waitq_lock(&queue);
	for (int i = 1; i < 5; i++)
		thrum__waitq_push_back(&queue, &w[i]);
	thrum__waitq_push_front(&queue, &w[0]);
	ck_assert_uint_eq(thrum__waitq_count(&queue), 5);
	thrum__waitq_remove(&queue, &w[2]);
	thrum__waitq_remove(&queue, &w[2]);
	thrum__waitq_remove(&queue, &w[4]);
	thrum__waitq_remove(&queue, &w[0]);
	ck_assert_ptr_eq(thrum__waitq_claim(&queue, 1), &w[1]);
	ck_assert_ptr_eq(thrum__waitq_claim(&queue, 1), &w[3]);
	ck_assert_ptr_null(thrum__waitq_claim(&queue, 1));
	ck_assert_ptr_null(queue.first_);
	ck_assert_ptr_null(queue.last_);
	thrum__waitq_push_front(&queue, &w[0]);
	ck_assert_ptr_eq(queue.last_, &w[0]);
	thrum__waitq_unlock(&queue);
}
END_TEST

/* What a waker meets between the end of a wait by its deadline and its taking itself out. */
START_TEST(a_claim_passes_by_those_whose_wait_has_ended)
{
	struct thrum_waitq queue = {0};
	struct thrum__waiter w[4];
	struct thrum__wakes wakes = {0};

	for (int i = 0; i < 4; i++)
		thrum__waitq_push_back(&queue, &w[i]);
	ck_assert(thrum__wait_claim(&w[0].wait, 1));
	ck_assert(thrum__wait_claim(&w[2].wait, 1));
	ck_assert_ptr_eq(thrum__waitq_claim(&queue, 2), &w[1]);
	ck_assert(!w[0].linked);
	thrum__waitq_claim_all(&queue, 3, &wakes);
	ck_assert_ptr_eq(wakes.first, &w[3]);
	ck_assert_ptr_null(w[3].next);
	ck_assert_uint_eq(thrum__waitq_count(&queue), 0);
}
END_TEST

Suite *suite_waitq(void)
{
	Suite *suite = suite_create("sync/waitq");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, waiters_leave_in_order_from_the_front_the_back_and_the_middle);
	tcase_add_test(basic, a_claim_passes_by_those_whose_wait_has_ended);
	suite_add_tcase(suite, basic);
	return suite;
}
