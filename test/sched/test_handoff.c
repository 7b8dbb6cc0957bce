/* SPDX-License-Identifier: MIT */
#include "hogs.h"

#include <pthread.h>

/*
 * A green thread that holds its OS thread, by whatever C code, loses its processor and nothing
 * else: not its OS thread, and no call to a signal; and all others go on.
 */

/* ---------------------------------------------------------------- everybody beside hogs */

struct stage {
	struct scene scene;
	hold_fn *hold;
};

static void *beside_hogs(void *arg)
{
	struct stage *stage = arg;
	struct scene *scene = &stage->scene;
	scene_init(scene);
	add_hogs(scene, stage->hold, (int)thrum_workers() + 2);
	start_hogs(scene);
	while (hogs_begun(scene) < scene->count)
		thrum_yield();
	for (int i = 0; i < BYSTANDERS; i++)
		finish(start(bystanders[i], NULL));
	end_hogs(scene);
	join_hogs(scene);
	scene_fini(scene);
	return NULL;
}

static void run_beside_hogs(int index)
{
	struct stage stage = {.hold = holds[index / WORKER_COUNTS]};
	run_on(worker_counts[index % WORKER_COUNTS], beside_hogs, &stage);
}

START_TEST(whatever_holds_its_os_thread_stalls_nobody_else)
{
	run_beside_hogs(_i);
}
END_TEST

START_TEST(hogs_stall_nobody_without_membarrier_either)
{
	setenv("THRUM_NO_MEMBARRIER", "1", 1);
	run_beside_hogs(_i);
}
END_TEST

START_TEST(hogs_stall_nobody_under_forced_migration_either)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	run_beside_hogs(_i);
}
END_TEST

/* ---------------------------------------------------------------- what comes up behind a hog */

/*
 * Somebody waits, and nobody else is there but hogs, one a worker, which begin now. Only then comes
 * what the waiting thread waits for.
 */
struct behind {
	struct scene scene;
	hold_fn *hold;
	unsigned kind;
	struct thrum_semaphore semaphore;
	int pipe[2];
	int waiting;
	bool served;
};

static bool all_held(const struct behind *behind)
{
	return hogs_begun(&behind->scene) == behind->scene.count;
}

/* On an OS thread: when all workers are held, does to the waiting thread what it waits for. */
static void *prompt(void *arg)
{
	struct behind *behind = arg;
	while (!all_held(behind))
		usleep(200);
	if (behind->kind == 1)
		must(write(behind->pipe[1], "x", 1) == 1);
	if (behind->kind == 2)
		thrum_semaphore_release(&behind->semaphore, 1);
	return NULL;
}

static void *until_all_begun(void *arg)
{
	struct behind *behind = arg;
	while (!all_held(behind))
		usleep(200);
	return arg;
}

static void *waits_behind(void *arg)
{
	struct behind *behind = arg;
	void *result = NULL;
	count_up(&behind->waiting);
	switch (behind->kind) {
	case 0: /* its time */
		do
			must(thrum_sleep(THRUM_MS) == 0);
		while (!all_held(behind));
		break;
	case 1: /* its descriptor */
		must(thrum_fd_wait(behind->pipe[0], THRUM_READABLE, THRUM_FOREVER) == 0);
		break;
	case 2: /* an OS thread's wake */
		must(thrum_semaphore_acquire(&behind->semaphore, THRUM_FOREVER) == 0);
		break;
	case 3: /* the end of a blocking call */
		must(thrum_blocking(until_all_begun, behind, &result) == 0 && result == behind);
		break;
	}
	flag_set(&behind->served);
	end_hogs(&behind->scene);
	return NULL;
}

enum { BEHIND = 4 };

static void *start_behind(void *arg)
{
	struct behind *behind = arg;
	pthread_t prompter;
	scene_init(&behind->scene);
	must(pipe2(behind->pipe, O_CLOEXEC | O_NONBLOCK) == 0);
	add_hogs(&behind->scene, behind->hold, (int)thrum_workers());
	struct thrum_thread *waiter = start(waits_behind, behind);
	while (count_get(&behind->waiting) == 0)
		thrum_yield();
	for (int i = 0; i < 3; i++)
		thrum_yield();
	must(pthread_create(&prompter, NULL, prompt, behind) == 0);
	start_hogs(&behind->scene);
	join_hogs(&behind->scene);
	finish(waiter);
	must(flag_get(&behind->served));
	must(pthread_join(prompter, NULL) == 0);
	close(behind->pipe[0]);
	close(behind->pipe[1]);
	scene_fini(&behind->scene);
	return NULL;
}

static void run_behind(int index, hold_fn *hold)
{
	for (int i = 0; i < 5; i++) {
		struct behind behind = {.kind = (unsigned)index / WORKER_COUNTS, .hold = hold};
		run_on(worker_counts[index % WORKER_COUNTS], start_behind, &behind);
	}
}

START_TEST(what_comes_up_while_every_worker_spins_is_served)
{
	run_behind(_i, hold_spin);
}
END_TEST

START_TEST(what_comes_up_while_every_worker_is_blocked_is_served)
{
	run_behind(_i, hold_read);
}
END_TEST

/* ---------------------------------------------------------------- a hog's own children and wakes
 */

struct parent {
	struct thrum_semaphore semaphore;
	bool child_ran, woken_ran, others_ran;
	int waiting;
};

static void *be_woken(void *arg)
{
	struct parent *parent = arg;
	count_up(&parent->waiting);
	must(thrum_semaphore_acquire(&parent->semaphore, THRUM_FOREVER) == 0);
	flag_set(&parent->woken_ran);
	return NULL;
}

/* Spawns and wakes, and holds its OS thread until both have run. */
static void spawn_and_wake(struct parent *parent)
{
	pid_t os_id = gettid();
	start_alone(raise_flag, &parent->child_ran);
	while (!flag_get(&parent->child_ran))
		;
	thrum_semaphore_release(&parent->semaphore, 1);
	while (!flag_get(&parent->woken_ran))
		;
	must(gettid() == os_id);
}

static void *attached_parent(void *arg)
{
	spawn_and_wake(arg);
	return arg;
}

static void *detached_parent(void *arg)
{
	struct parent *parent = arg;
	while (!flag_get(&parent->others_ran))
		;
	spawn_and_wake(parent);
	return arg;
}

static void *hogging_parents(void *arg)
{
	enum { MOST = 8 };
	thrum_fn fn = *(thrum_fn *)arg;
	static struct parent parents[MOST];
	struct thrum_thread *threads[2 * MOST];
	int count = (int)thrum_workers();
	for (int i = 0; i < count; i++) {
		parents[i] = (struct parent){.waiting = 0};
		threads[MOST + i] = start(be_woken, &parents[i]);
		while (count_get(&parents[i].waiting) == 0)
			thrum_yield();
	}
	for (int i = 0; i < count; i++)
		threads[i] = start(fn, &parents[i]);
	if (fn == detached_parent) {
		/* With one worker we run again only after it was taken from the parent. */
		must(thrum_sleep(THRUM_MS) == 0);
		for (int i = 0; i < count; i++)
			flag_set(&parents[i].others_ran);
	}
	for (int i = 0; i < count; i++) {
		must(finish(threads[i]) == &parents[i]);
		finish(threads[MOST + i]);
	}
	return NULL;
}

START_TEST(what_a_hog_spawns_and_wakes_runs)
{
	thrum_fn fn = attached_parent;
	for (int i = 0; i < 3; i++)
		run_on(worker_counts[_i], hogging_parents, &fn);
}
END_TEST

START_TEST(what_a_detached_hog_spawns_and_wakes_runs)
{
	thrum_fn fn = detached_parent;
	for (int i = 0; i < 3; i++)
		run_on(worker_counts[_i], hogging_parents, &fn);
}
END_TEST

/* ---------------------------------------------------------------- a chain of hogs */

/*
 * The first one's descriptor is ready, and it then blocks in a read that only the second one can
 * end, whose descriptor becomes ready only after that.
 */
struct chain {
	int first[2], second[2], between[2];
	bool first_blocks;
};

static void *chain_first(void *arg)
{
	struct chain *chain = arg;
	char byte;
	must(thrum_fd_wait(chain->first[0], THRUM_READABLE, THRUM_FOREVER) == 0);
	flag_set(&chain->first_blocks);
	must(read(chain->between[0], &byte, 1) == 1);
	return NULL;
}

static void *chain_second(void *arg)
{
	struct chain *chain = arg;
	must(thrum_fd_wait(chain->second[0], THRUM_READABLE, THRUM_FOREVER) == 0);
	must(write(chain->between[1], "x", 1) == 1);
	return NULL;
}

static void *chain_prompt(void *arg)
{
	struct chain *chain = arg;
	must(write(chain->first[1], "x", 1) == 1);
	doze_until(&chain->first_blocks);
	must(write(chain->second[1], "x", 1) == 1);
	return NULL;
}

static void *run_chain(void *arg)
{
	struct chain chain = {.first_blocks = false};
	pthread_t prompter;
	must(pipe2(chain.first, O_CLOEXEC) == 0);
	must(pipe2(chain.second, O_CLOEXEC) == 0);
	must(pipe2(chain.between, O_CLOEXEC) == 0);
	struct thrum_thread *first = start(chain_first, &chain);
	struct thrum_thread *second = start(chain_second, &chain);
	must(pthread_create(&prompter, NULL, chain_prompt, &chain) == 0);
	finish(first);
	finish(second);
	must(pthread_join(prompter, NULL) == 0);
	for (int i = 0; i < 2; i++) {
		close(chain.first[i]);
		close(chain.second[i]);
		close(chain.between[i]);
	}
	return arg;
}

START_TEST(a_thread_that_blocks_once_its_descriptor_is_ready_leaves_the_others_theirs)
{
	for (int i = 0; i < 5; i++)
		run_on(worker_counts[_i], run_chain, NULL);
}
END_TEST

/* ---------------------------------------------------------------- two runtimes */

static void *beside_hogs_apart(void *arg)
{
	struct stage stage = {.hold = hold_nanosleep};
	struct thrum_config config = {.workers = *(unsigned *)arg};
	must(thrum_run(&config, beside_hogs, &stage, NULL) == 0);
	return NULL;
}

START_TEST(each_of_several_runtimes_hands_off)
{
	unsigned workers = worker_counts[_i];
	pthread_t threads[3];
	broken = NULL;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, beside_hogs_apart, &workers), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_msg(broken == NULL, "%s", broken);
}
END_TEST

Suite *suite_handoff(void)
{
	Suite *suite = suite_create("sched/handoff");
	int n = WORKER_COUNTS;
	TCase *others = tcase_create("others");
	tcase_set_timeout(others, 60);
	tcase_add_checked_fixture(others, signals_setup, signals_teardown);
	tcase_add_loop_test(
		others, whatever_holds_its_os_thread_stalls_nobody_else, 0, holds_count * n);
	tcase_add_loop_test(
		others, hogs_stall_nobody_without_membarrier_either, 0, holds_count * n);
	tcase_add_loop_test(
		others, hogs_stall_nobody_under_forced_migration_either, 0, holds_count * n);
	tcase_add_loop_test(
		others, what_comes_up_while_every_worker_spins_is_served, 0, BEHIND * n);
	tcase_add_loop_test(
		others, what_comes_up_while_every_worker_is_blocked_is_served, 0, BEHIND * n);
	tcase_add_loop_test(others, what_a_hog_spawns_and_wakes_runs, 0, n);
	tcase_add_loop_test(others, what_a_detached_hog_spawns_and_wakes_runs, 0, n);
	tcase_add_loop_test(others,
		a_thread_that_blocks_once_its_descriptor_is_ready_leaves_the_others_theirs, 0, n);
	tcase_add_loop_test(others, each_of_several_runtimes_hands_off, 0, n);
	suite_add_tcase(suite, others);
	return suite;
}
