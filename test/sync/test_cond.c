/* SPDX-License-Identifier: MIT */
#include <thrum/cond.h>

#include "fixture.h"

struct gate {
	struct thrum_mutex mutex;
	struct thrum_cond cond;
	thrum_deadline deadline;
	int result[4], held[4];
	int next, woken[4];
};

static void pass(struct gate *g, int i)
{
	CHECK(thrum_mutex_lock(&g->mutex, THRUM_FOREVER) == 0);
	g->result[i] = thrum_cond_wait(&g->cond, &g->mutex, g->deadline);
	g->held[i] = !thrum_mutex_try_lock(&g->mutex);
	g->woken[g->next++] = i;
	thrum_mutex_unlock(&g->mutex);
}

static void *pass_0(void *arg)
{
	pass(arg, 0);
	return NULL;
}

static void *pass_1(void *arg)
{
	pass(arg, 1);
	return NULL;
}

static void *pass_2(void *arg)
{
	pass(arg, 2);
	return NULL;
}

static struct thrum_thread *wait_at(struct gate *g, thrum_fn fn)
{
	int before = queued(&g->cond.waiters_);
	struct thrum_thread *thread = green(fn, g);

	wait_until(queued(&g->cond.waiters_) == before + 1);
	return thread;
}

static void *signal_one_by_one(void *arg)
{
	struct gate *g = arg;
	struct thrum_thread *threads[2] = {wait_at(g, pass_0), wait_at(g, pass_1)};

	thrum_cond_signal(&g->cond);
	join_green(threads[0]);
	g->result[3] = queued(&g->cond.waiters_);
	thrum_cond_signal(&g->cond);
	join_green(threads[1]);
	return NULL;
}

START_TEST(a_signal_wakes_the_longest_waiting_thread_alone)
{
	struct gate g = {.deadline = THRUM_FOREVER};

	run_green(worker_counts[_i], signal_one_by_one, &g);
	ck_assert_int_eq(g.result[3], 1);
	ck_assert_int_eq(g.woken[0], 0);
	ck_assert_int_eq(g.woken[1], 1);
	ck_assert_int_eq(g.result[0], 0);
	ck_assert_int_eq(g.result[1], 0);
	ck_assert(g.held[0] && g.held[1]);
}
END_TEST

static void *broadcast_to_three(void *arg)
{
	struct gate *g = arg;
	struct thrum_thread *threads[2] = {wait_at(g, pass_0), wait_at(g, pass_1)};
	pthread_t os = os_thread(pass_2, g);

	wait_until(queued(&g->cond.waiters_) == 3);
	thrum_cond_broadcast(&g->cond);
	join_green(threads[0]);
	join_green(threads[1]);
	join_os(os);
	return NULL;
}

START_TEST(a_broadcast_wakes_green_and_os_threads)
{
	struct gate g = {.deadline = THRUM_FOREVER, .result = {-1, -1, -1}};

	run_green(worker_counts[_i], broadcast_to_three, &g);
	ck_assert_int_eq(g.next, 3);
	for (int i = 0; i < 3; i++)
		ck_assert(g.result[i] == 0 && g.held[i]);
	ck_assert_uint_eq(g.mutex.state_, 0);
}
END_TEST

/* If the signal was faster than the cancellation, it was not lost: the first one has had it. */
static void *cancel_then_signal(void *arg)
{
	struct gate *g = arg;
	struct thrum_thread *threads[2] = {wait_at(g, pass_0), wait_at(g, pass_1)};

	thrum_cancel(threads[0]);
	thrum_cond_signal(&g->cond);
	join_green(threads[0]);
	if (g->result[0] == 0)
		thrum_cond_signal(&g->cond);
	join_green(threads[1]);
	return NULL;
}

START_TEST(a_signal_for_a_cancelled_waiter_goes_to_the_next)
{
	for (int round = 0; round < 20; round++) {
		struct gate g = {.deadline = THRUM_FOREVER};
		run_green(worker_counts[_i], cancel_then_signal, &g);
		if (g.result[0] != 0)
			ck_assert_int_eq(g.result[0], -ECANCELED);
		ck_assert_int_eq(g.result[1], 0);
		ck_assert_msg(g.held[0], "a cancelled wait holds the mutex again");
	}
}
END_TEST

static void *signal_then_cancel(void *arg)
{
	struct gate *g = arg;
	struct thrum_thread *thread = wait_at(g, pass_0);

	thrum_cond_signal(&g->cond);
	thrum_cancel(thread);
	join_green(thread);
	return NULL;
}

START_TEST(a_signalled_waiter_says_so_even_if_it_is_cancelled_then)
{
	struct gate g = {.deadline = THRUM_FOREVER};

	run_green(worker_counts[_i], signal_then_cancel, &g);
	ck_assert_int_eq(g.result[0], 0);
	ck_assert(g.held[0]);
}
END_TEST

static void *let_it_time_out(void *arg)
{
	struct gate *g = arg;

	g->deadline = thrum_after(3 * THRUM_MS);
	pass(g, 0);
	join_os(os_thread(pass_1, g)); /* its deadline is past */
	return NULL;
}

START_TEST(a_wait_that_times_out_holds_the_mutex_again)
{
	struct gate g = {0};

	run_green(worker_counts[_i], let_it_time_out, &g);
	ck_assert_int_eq(g.result[0], -ETIMEDOUT);
	ck_assert_int_eq(g.result[1], -ETIMEDOUT);
	ck_assert(g.held[0] && g.held[1]);
	ck_assert_int_eq(queued(&g.cond.waiters_), 0);
}
END_TEST

/* A bounded buffer as the books draw it: every item passes exactly once. */
enum { ITEMS = 4000, SPACE = 4 };

struct buffer {
	struct thrum_mutex mutex;
	struct thrum_cond not_empty, not_full;
	int items[SPACE], len;
	int next_in, out;
	uint8_t seen[ITEMS];
	uint64_t seed;
	unsigned next;
};

/* Random short deadlines make waits end in every way; a wait that fails is just tried again. */
static void wait_a_little(struct buffer *b, struct thrum_cond *cond, uint64_t *random)
{
	uint64_t dice = thrum__splitmix64(random);
	int result = thrum_cond_wait(
		cond, &b->mutex, dice % 2 ? THRUM_FOREVER : thrum_after(dice % 100 * THRUM_US));

	CHECK(result == 0 || result == -ETIMEDOUT);
}

static void *produce(void *arg)
{
	struct buffer *b = arg;
	uint64_t random = seed_for(b->seed, atomic_add(&b->next, 1));

	CHECK(thrum_mutex_lock(&b->mutex, THRUM_FOREVER) == 0);
	while (b->next_in < ITEMS) {
		if (b->len == SPACE) {
			wait_a_little(b, &b->not_full, &random);
			continue;
		}
		b->items[b->len++] = b->next_in++;
		thrum_cond_signal(&b->not_empty);
	}
	thrum_cond_broadcast(&b->not_full);
	thrum_mutex_unlock(&b->mutex);
	return NULL;
}

static void *consume(void *arg)
{
	struct buffer *b = arg;
	uint64_t random = seed_for(b->seed, atomic_add(&b->next, 1));

	CHECK(thrum_mutex_lock(&b->mutex, THRUM_FOREVER) == 0);
	while (b->out < ITEMS) {
		if (b->len == 0) {
			wait_a_little(b, &b->not_empty, &random);
			continue;
		}
		b->seen[b->items[--b->len]]++;
		b->out++;
		thrum_cond_signal(&b->not_full);
	}
	thrum_cond_broadcast(&b->not_empty);
	thrum_mutex_unlock(&b->mutex);
	return NULL;
}

static void *buffer_main(void *arg)
{
	struct thrum_thread *threads[6];

	for (int i = 0; i < 6; i++)
		threads[i] = green(i % 2 ? produce : consume, arg);
	for (int i = 0; i < 6; i++)
		join_green(threads[i]);
	return NULL;
}

START_TEST(a_bounded_buffer_passes_every_item_once)
{
	struct buffer b = {.seed = test_seed("cond buffer")};
	pthread_t os[2] = {os_thread(produce, &b), os_thread(consume, &b)};

	run_green(worker_counts[_i], buffer_main, &b);
	join_os(os[0]);
	join_os(os[1]);
	for (int i = 0; i < ITEMS; i++)
		ck_assert_uint_eq(b.seen[i], 1);
}
END_TEST

Suite *suite_cond(void)
{
	Suite *suite = suite_create("sync/cond");
	TCase *basic = tcase_create("basic");
	add_for_workers(basic, a_signal_wakes_the_longest_waiting_thread_alone);
	add_for_workers(basic, a_broadcast_wakes_green_and_os_threads);
	suite_add_tcase(suite, basic);
	TCase *cancel = tcase_create("cancel");
	add_for_workers(cancel, a_signal_for_a_cancelled_waiter_goes_to_the_next);
	add_for_workers(cancel, a_signalled_waiter_says_so_even_if_it_is_cancelled_then);
	add_for_workers(cancel, a_wait_that_times_out_holds_the_mutex_again);
	suite_add_tcase(suite, cancel);
	TCase *stress = tcase_create("stress");
	add_for_workers(stress, a_bounded_buffer_passes_every_item_once);
	suite_add_tcase(suite, stress);
	return suite;
}
