/* SPDX-License-Identifier: MIT */
#include "hogs.h"

#include <errno.h>
#include <pthread.h>

/* Calls that block, and say so: on the pool of OS threads, or where they stand. */

/* ---------------------------------------------------------------- the pool */

enum { POOL_THREADS = 64, CALLS = 150 };

struct pool_use {
	int running, most, done;
	bool go_on;
	struct thrum_semaphore semaphore;
};

static void *occupy(void *arg)
{
	struct pool_use *use = arg;
	int running = count_up(&use->running), most = count_get(&use->most);
	while (running > most && !__atomic_compare_exchange_n(&use->most, &most, running, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
	doze_until(&use->go_on);
	__atomic_fetch_sub(&use->running, 1, __ATOMIC_ACQ_REL);
	count_up(&use->done);
	return arg;
}

static void *occupier(void *arg)
{
	void *result = NULL;
	must(thrum_blocking(occupy, arg, &result) == 0 && result == arg);
	return arg;
}

static void *use_up_the_pool(void *arg)
{
	struct pool_use *use = arg;
	struct thrum_thread *threads[CALLS];
	for (int i = 0; i < CALLS; i++)
		threads[i] = start(occupier, use);
	while (count_get(&use->running) < POOL_THREADS)
		must(thrum_sleep(THRUM_MS) == 0);
	/* A while in which more could show up, if there were more. */
	for (int i = 0; i < 20; i++)
		must(thrum_sleep(THRUM_MS) == 0);
	must(count_get(&use->done) == 0);
	flag_set(&use->go_on);
	for (int i = 0; i < CALLS; i++)
		finish(threads[i]);
	return NULL;
}

START_TEST(calls_beyond_the_pools_threads_wait_for_their_turn)
{
	struct pool_use use = {.most = 0};
	run_on(worker_counts[_i], use_up_the_pool, &use);
	ck_assert_int_eq(use.most, POOL_THREADS);
	ck_assert_int_eq(use.done, CALLS);
}
END_TEST

static void *tell_os_id(void *arg)
{
	*(pid_t *)arg = gettid();
	return arg;
}

/* On the pool: a further blocking call is done in place, and waits are those of an OS thread. */
static void *nested_in_pool(void *arg)
{
	struct pool_use *use = arg;
	pid_t inner = 0;
	void *result = NULL;
	must(thrum_self() == NULL);
	must(thrum_blocking(tell_os_id, &inner, &result) == 0 && result == &inner);
	must(inner == gettid());
	thrum_blocking_begin();
	must(thrum_semaphore_acquire(&use->semaphore, THRUM_FOREVER) == 0);
	thrum_blocking_end();
	return arg;
}

static void *release_once(void *arg)
{
	struct pool_use *use = arg;
	thrum_semaphore_release(&use->semaphore, 1);
	return arg;
}

static void *call_nested(void *arg)
{
	void *result = NULL;
	struct thrum_thread *other = start(release_once, arg);
	must(thrum_blocking(nested_in_pool, arg, &result) == 0 && result == arg);
	finish(other);
	return arg;
}

START_TEST(a_blocking_call_within_a_blocking_call_is_done_in_place)
{
	struct pool_use use = {.most = 0};
	run_on(worker_counts[_i], call_nested, &use);
}
END_TEST

/* ---------------------------------------------------------------- begin and end */

/* What ran before the section has to run while the section holds the only worker. */
struct section {
	struct thrum_semaphore semaphore;
	bool spawned_ran, woken_ran;
	int waiting;
};

static void *await_wake(void *arg)
{
	struct section *section = arg;
	count_up(&section->waiting);
	must(thrum_semaphore_acquire(&section->semaphore, THRUM_FOREVER) == 0);
	flag_set(&section->woken_ran);
	return NULL;
}

static void *doze_for(void *arg)
{
	doze_until(arg);
	return arg;
}

static void *queue_and_block(void *arg)
{
	struct section section = {.waiting = 0};
	struct thrum_thread *self = thrum_self();
	struct thrum_thread *woken = start(await_wake, &section);
	while (count_get(&section.waiting) == 0)
		thrum_yield();
	pid_t os_id = gettid();
	struct thrum_thread *spawned = start(raise_flag, &section.spawned_ran);
	thrum_semaphore_release(&section.semaphore, 1);
	thrum_blocking_begin();
	must(gettid() == os_id);
	doze_for(&section.spawned_ran);
	doze_for(&section.woken_ran);
	must(gettid() == os_id && thrum_self() == self);
	thrum_blocking_end();
	must(thrum_self() == self);
	finish(woken);
	finish(spawned);
	return arg;
}

START_TEST(what_was_queued_before_a_blocking_section_runs_meanwhile)
{
	for (int i = 0; i < 20; i++)
		run_on(worker_counts[_i], queue_and_block, NULL);
}
END_TEST

static void *spawn_and_wake_within(void *arg)
{
	struct section section = {.waiting = 0};
	struct thrum_thread *woken = start(await_wake, &section);
	while (count_get(&section.waiting) == 0)
		thrum_yield();
	thrum_blocking_begin();
	struct thrum_thread *spawned = start(raise_flag, &section.spawned_ran);
	doze_for(&section.spawned_ran);
	thrum_semaphore_release(&section.semaphore, 1);
	doze_for(&section.woken_ran);
	thrum_blocking_end();
	finish(woken);
	finish(spawned);
	return arg;
}

START_TEST(a_blocking_section_may_spawn_and_wake)
{
	for (int i = 0; i < 20; i++)
		run_on(worker_counts[_i], spawn_and_wake_within, NULL);
}
END_TEST

static void *nest_sections(void *arg)
{
	bool first = false, second = false, third = false;
	pid_t os_id = gettid();
	thrum_blocking_begin();
	thrum_blocking_begin();
	struct thrum_thread *a = start(raise_flag, &first);
	doze_for(&first);
	thrum_blocking_end();
	must(gettid() == os_id);
	struct thrum_thread *b = start(raise_flag, &second);
	doze_for(&second);
	thrum_blocking_begin();
	struct thrum_thread *c = start(raise_flag, &third);
	doze_for(&third);
	thrum_blocking_end();
	must(gettid() == os_id);
	thrum_blocking_end();
	finish(a);
	finish(b);
	finish(c);
	return arg;
}

START_TEST(blocking_sections_nest)
{
	for (int i = 0; i < 20; i++)
		run_on(worker_counts[_i], nest_sections, NULL);
}
END_TEST

START_TEST(a_blocking_section_has_no_effect_on_an_os_thread)
{
	thrum_blocking_begin();
	thrum_blocking_begin();
	thrum_blocking_end();
	thrum_blocking_end();
	run_on(2, nest_sections, NULL);
}
END_TEST

/* More sections at once than workers, each ended by the one after it. */
enum { SECTIONS = 40 };

struct row {
	bool begun[SECTIONS + 1];
	int next;
};

static void *section_in_row(void *arg)
{
	struct row *row = arg;
	int index = count_up(&row->next) - 1;
	thrum_blocking_begin();
	flag_set(&row->begun[index]);
	doze_for(&row->begun[index + 1]);
	thrum_blocking_end();
	return arg;
}

static void *sections_in_a_row(void *arg)
{
	struct row row = {.next = 0};
	struct thrum_thread *threads[SECTIONS];
	for (int i = 0; i < SECTIONS; i++)
		threads[i] = start(section_in_row, &row);
	while (!flag_get(&row.begun[SECTIONS - 1]))
		thrum_yield();
	flag_set(&row.begun[SECTIONS]);
	for (int i = 0; i < SECTIONS; i++)
		finish(threads[i]);
	return arg;
}

START_TEST(many_sections_block_at_once)
{
	run_on(worker_counts[_i], sections_in_a_row, NULL);
}
END_TEST

#if defined(THRUM__TSAN) || defined(THRUM__ASAN)
enum { BRIEF = 20, BRIEF_ROUNDS = 20 };
#else
enum { BRIEF = 50, BRIEF_ROUNDS = 100 };
#endif

static void *brief_sections(void *arg)
{
	struct thrum_thread *self = thrum_self();
	for (int i = 0; i < BRIEF_ROUNDS; i++) {
		thrum_blocking_begin();
		pid_t os_id = gettid();
		if (i % 4 == 0)
			usleep(20);
		count_up(arg);
		must(gettid() == os_id);
		thrum_blocking_end();
		must(thrum_self() == self);
		if (i % 3 == 0)
			thrum_yield();
	}
	return NULL;
}

static void *many_brief_sections(void *arg)
{
	struct thrum_thread *threads[BRIEF];
	for (int i = 0; i < BRIEF; i++)
		threads[i] = start(brief_sections, arg);
	for (int i = 0; i < BRIEF; i++)
		finish(threads[i]);
	return NULL;
}

START_TEST(brief_sections_by_the_thousand_lose_nothing)
{
	int count = 0;
	run_on(worker_counts[_i], many_brief_sections, &count);
	ck_assert_int_eq(count, BRIEF * BRIEF_ROUNDS);
}
END_TEST

START_TEST(sections_beyond_the_cap_keep_their_workers)
{
	struct thrum_config config = {.workers = worker_counts[_i], .detached_max = 2};
	int count = 0;
	run_config(&config, many_brief_sections, &count);
	ck_assert_int_eq(count, BRIEF * BRIEF_ROUNDS);
}
END_TEST

static void *section_at_the_end(void *arg)
{
	thrum_blocking_begin();
	flag_set(arg);
	while (!thrum_canceled())
		usleep(100);
	thrum_blocking_end();
	must(thrum_sleep(THRUM_S) == -ECANCELED);
	return NULL;
}

static void *leave_in_section(void *arg)
{
	start_alone(section_at_the_end, arg);
	yield_until(arg);
	return NULL;
}

START_TEST(a_section_under_way_is_waited_for_when_the_runtime_ends)
{
	for (int i = 0; i < 10; i++) {
		bool begun = false;
		run_on(worker_counts[_i], leave_in_section, &begun);
	}
}
END_TEST

static void *end_in_section(void *arg)
{
	thrum_blocking_begin();
	return arg;
}

static void *return_in_section(void *arg)
{
	for (int i = 0; i < 20; i++)
		must(finish(start(end_in_section, arg)) == arg);
	thrum_blocking_begin();
	return arg;
}

START_TEST(a_thread_may_end_within_a_section)
{
	int value;
	ck_assert_ptr_eq(run_on(worker_counts[_i], return_in_section, &value), &value);
}
END_TEST

Suite *suite_blocking(void)
{
	Suite *suite = suite_create("sched/blocking");
	int n = WORKER_COUNTS;
	TCase *pool = tcase_create("pool");
	tcase_set_timeout(pool, 60);
	tcase_add_loop_test(pool, calls_beyond_the_pools_threads_wait_for_their_turn, 0, n);
	tcase_add_loop_test(pool, a_blocking_call_within_a_blocking_call_is_done_in_place, 0, n);
	suite_add_tcase(suite, pool);
	TCase *section = tcase_create("section");
	tcase_set_timeout(section, 60);
	tcase_add_loop_test(
		section, what_was_queued_before_a_blocking_section_runs_meanwhile, 0, n);
	tcase_add_loop_test(section, a_blocking_section_may_spawn_and_wake, 0, n);
	tcase_add_loop_test(section, blocking_sections_nest, 0, n);
	tcase_add_test(section, a_blocking_section_has_no_effect_on_an_os_thread);
	tcase_add_loop_test(section, many_sections_block_at_once, 0, n);
	tcase_add_loop_test(section, brief_sections_by_the_thousand_lose_nothing, 0, n);
	tcase_add_loop_test(section, sections_beyond_the_cap_keep_their_workers, 0, n);
	tcase_add_loop_test(section, a_section_under_way_is_waited_for_when_the_runtime_ends, 0, n);
	tcase_add_loop_test(section, a_thread_may_end_within_a_section, 0, n);
	suite_add_tcase(suite, section);
	return suite;
}
