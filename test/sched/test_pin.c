/* SPDX-License-Identifier: MIT */
#include "hogs.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>

/* A pinned thread has an OS thread to itself, whatever it and others do. */

enum { PINNED = 10, TURNS = 10 };

/* The OS threads that belong to a pinned thread at this moment. */
struct reserved {
	pid_t os_ids[PINNED]; /* atomic; 0: none */
	bool stop;
};

/* Not to be asked by the pinned threads themselves. */
static bool mine_is_reserved(const struct reserved *reserved)
{
	pid_t os_id = gettid();
	for (int i = 0; i < PINNED; i++)
		if (__atomic_load_n(&reserved->os_ids[i], __ATOMIC_ACQUIRE) == os_id)
			return true;
	return false;
}

static _Thread_local int os_thread_local;

static int __attribute__((noinline)) * own_local(void)
{
	__asm__ volatile("");
	return &os_thread_local;
}

struct pinned {
	struct reserved *reserved;
	int index;
	struct thrum_semaphore there, back;
	int pipe[2];
	thrum_fn body;
};

/* Runs body pinned, and sees that it stayed where it was. */
static void *pinned_main(void *arg)
{
	struct pinned *pinned = arg;
	thrum_pin();
	pid_t os_id = gettid();
	int *local = own_local();
	*local = os_id;
	__atomic_store_n(&pinned->reserved->os_ids[pinned->index], os_id, __ATOMIC_RELEASE);
	must(pinned->body(pinned) == pinned);
	must(gettid() == os_id && own_local() == local && *local == os_id);
	__atomic_store_n(&pinned->reserved->os_ids[pinned->index], 0, __ATOMIC_RELEASE);
	thrum_unpin();
	return pinned;
}

/* Never pinned; must not meet a pinned thread's OS thread. */
static void *passer_by(void *arg)
{
	struct reserved *reserved = arg;
	while (!flag_get(&reserved->stop)) {
		must(!mine_is_reserved(reserved));
		thrum_yield();
	}
	return NULL;
}

static void *child_elsewhere(void *arg)
{
	must(!mine_is_reserved(arg));
	return arg;
}

/* Answers whatever the pinned thread waits for. */
static void *partner(void *arg)
{
	struct pinned *pinned = arg;
	for (int i = 0; i < TURNS; i++) {
		must(thrum_semaphore_acquire(&pinned->there, THRUM_FOREVER) == 0);
		must(!mine_is_reserved(pinned->reserved));
		must(write(pinned->pipe[1], "x", 1) == 1);
		must(!mine_is_reserved(pinned->reserved));
		thrum_semaphore_release(&pinned->back, 1);
	}
	return NULL;
}

static void *suspend_in_all_ways(void *arg)
{
	struct pinned *pinned = arg;
	pid_t os_id = gettid();
	char byte;
	must(pipe2(pinned->pipe, O_CLOEXEC) == 0);
	struct thrum_thread *other = start(partner, pinned);
	for (int i = 0; i < TURNS; i++) {
		thrum_yield();
		must(gettid() == os_id);
		must(thrum_sleep(10 * THRUM_US) == 0);
		must(gettid() == os_id);
		thrum_semaphore_release(&pinned->there, 1);
		must(thrum_fd_wait(pinned->pipe[0], THRUM_READABLE, THRUM_FOREVER) == 0);
		must(gettid() == os_id);
		must(read(pinned->pipe[0], &byte, 1) == 1);
		must(thrum_semaphore_acquire(&pinned->back, THRUM_FOREVER) == 0);
		must(gettid() == os_id);
		must(finish(start(child_elsewhere, pinned->reserved)) == pinned->reserved);
		must(gettid() == os_id);
		void *result = NULL;
		must(thrum_blocking(child_elsewhere, pinned->reserved, &result) == 0);
		must(gettid() == os_id);
	}
	finish(other);
	close(pinned->pipe[0]);
	close(pinned->pipe[1]);
	return pinned;
}

static void *pin_many(void *arg)
{
	thrum_fn body = *(thrum_fn *)arg;
	struct reserved reserved = {.stop = false};
	struct pinned pinned[PINNED] = {0};
	struct thrum_thread *threads[PINNED], *others[PINNED];
	for (int i = 0; i < PINNED; i++)
		others[i] = start(passer_by, &reserved);
	for (int i = 0; i < PINNED; i++) {
		pinned[i].reserved = &reserved;
		pinned[i].index = i;
		pinned[i].body = body;
		threads[i] = start(pinned_main, &pinned[i]);
	}
	for (int i = 0; i < PINNED; i++)
		must(finish(threads[i]) == &pinned[i]);
	flag_set(&reserved.stop);
	for (int i = 0; i < PINNED; i++)
		finish(others[i]);
	return NULL;
}

static void run_pinned(unsigned workers, thrum_fn body)
{
	struct thrum_config config = {.workers = workers, .detached_max = 1};
	run_on(workers, pin_many, &body);
	/* Pinned threads are no hogs: a cap on those does not concern them. */
	run_config(&config, pin_many, &body);
}

START_TEST(a_pinned_thread_stays_on_its_os_thread_and_has_it_to_itself)
{
	run_pinned(worker_counts[_i], suspend_in_all_ways);
}
END_TEST

START_TEST(a_pinned_thread_stays_where_all_others_are_made_to_migrate)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	run_pinned(worker_counts[_i], suspend_in_all_ways);
}
END_TEST

/* ---------------------------------------------------------------- all pinned at once */

static int together; /* atomic */

static void *all_at_once(void *arg)
{
	struct pinned *pinned = arg;
	count_up(&together);
	while (count_get(&together) < PINNED)
		must(thrum_sleep(10 * THRUM_US) == 0);
	for (int i = 0; i < PINNED; i++)
		must(i == pinned->index || __atomic_load_n(&pinned->reserved->os_ids[i],
						   __ATOMIC_ACQUIRE) != gettid());
	count_up(&together);
	while (count_get(&together) < 2 * PINNED)
		thrum_yield();
	return pinned;
}

START_TEST(more_threads_are_pinned_than_there_are_workers)
{
	thrum_fn body = all_at_once;
	together = 0;
	run_on(worker_counts[_i], pin_many, &body);
}
END_TEST

/* ---------------------------------------------------------------- hogs */

static int yields; /* atomic: of the others */

static void *yield_on(void *arg)
{
	struct reserved *reserved = arg;
	while (!flag_get(&reserved->stop)) {
		must(!mine_is_reserved(reserved));
		count_up(&yields);
		thrum_yield();
	}
	return NULL;
}

static void *hold_for_others(void *arg)
{
	struct pinned *pinned = arg;
	struct thrum_thread *other = start(child_elsewhere, pinned->reserved);
	for (int i = 0; i < 3; i++) {
		int before = count_get(&yields);
		while (count_get(&yields) == before)
			;
		thrum_yield();
	}
	finish(other);
	return pinned;
}

static void *pinned_hogs(void *arg)
{
	struct reserved reserved = {.stop = false};
	struct pinned pinned[PINNED] = {0};
	struct thrum_thread *threads[PINNED];
	struct thrum_thread *other = start(yield_on, &reserved);
	for (int i = 0; i < PINNED; i++) {
		pinned[i] = (struct pinned){&reserved, i, .body = hold_for_others};
		threads[i] = start(pinned_main, &pinned[i]);
	}
	for (int i = 0; i < PINNED; i++)
		must(finish(threads[i]) == &pinned[i]);
	flag_set(&reserved.stop);
	finish(other);
	return arg;
}

START_TEST(a_pinned_hog_is_detached_and_comes_back_to_its_os_thread)
{
	run_on(worker_counts[_i], pinned_hogs, NULL);
}
END_TEST

static void *pinned_beside_hogs(void *arg)
{
	struct scene scene;
	thrum_fn body = suspend_in_all_ways;
	scene_init(&scene);
	add_hogs(&scene, hold_read, (int)thrum_workers());
	start_hogs(&scene);
	pin_many(&body);
	end_hogs(&scene);
	join_hogs(&scene);
	scene_fini(&scene);
	return arg;
}

START_TEST(hogs_do_not_stall_a_pinned_thread)
{
	run_on(worker_counts[_i], pinned_beside_hogs, NULL);
}
END_TEST

/* ---------------------------------------------------------------- what a pin is for */

static pthread_mutex_t checked_mutex;
static int under_mutex;

/* A mutex that only the OS thread which locked it may unlock, held while others run. */
static void *sleep_under_a_pthread_mutex(void *arg)
{
	for (int i = 0; i < TURNS; i++) {
		must(pthread_mutex_lock(&checked_mutex) == 0);
		int before = under_mutex;
		must(thrum_sleep(10 * THRUM_US) == 0);
		under_mutex = before + 1;
		thrum_yield();
		must(pthread_mutex_unlock(&checked_mutex) == 0);
	}
	return arg;
}

START_TEST(pinned_threads_hold_a_pthread_mutex_while_they_sleep)
{
	pthread_mutexattr_t attr;
	thrum_fn body = sleep_under_a_pthread_mutex;
	ck_assert_int_eq(pthread_mutexattr_init(&attr), 0);
	ck_assert_int_eq(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK), 0);
	ck_assert_int_eq(pthread_mutex_init(&checked_mutex, &attr), 0);
	under_mutex = 0;
	run_on(worker_counts[_i], pin_many, &body);
	ck_assert_int_eq(under_mutex, PINNED * TURNS);
	ck_assert_int_eq(pthread_mutex_destroy(&checked_mutex), 0);
}
END_TEST

/* ---------------------------------------------------------------- begin and end */

static void *move_a_lot(int *moves)
{
	pid_t last = gettid();
	*moves = 0;
	for (int i = 0; i < 100; i++) {
		if (i % 2 == 0)
			thrum_yield();
		else
			must(thrum_sleep(THRUM_US) == 0);
		pid_t now = gettid();
		*moves += now != last;
		last = now;
	}
	return NULL;
}

static void *nested(void *arg)
{
	int moves;
	thrum_pin();
	thrum_pin();
	move_a_lot(&moves);
	must(moves == 0);
	thrum_unpin();
	move_a_lot(&moves);
	must(moves == 0);
	thrum_unpin();
	move_a_lot(&moves);
	must((moves > 0) == (thrum_workers() > 1));
	return arg;
}

static void *nested_beside_others(void *arg)
{
	struct reserved reserved = {.stop = false};
	struct thrum_thread *others[3];
	for (int i = 0; i < 3; i++)
		others[i] = start(passer_by, &reserved);
	finish(start(nested, arg));
	flag_set(&reserved.stop);
	for (int i = 0; i < 3; i++)
		finish(others[i]);
	return arg;
}

START_TEST(pins_nest_and_the_last_unpin_lets_go)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1); /* so that whoever may move does */
	run_on(worker_counts[_i], nested_beside_others, NULL);
}
END_TEST

static void *unpin_only(void *arg)
{
	thrum_pin();
	thrum_unpin();
	thrum_unpin();
	return arg;
}

START_TEST(an_unpin_without_its_pin_aborts)
{
	int status;
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct thrum_config config = {.workers = 1};
		close(STDERR_FILENO);
		(void)!thrum_run(&config, unpin_only, NULL, NULL);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
}
END_TEST

START_TEST(a_pin_has_no_effect_on_an_os_thread)
{
	thrum_pin();
	thrum_pin();
	thrum_unpin();
	thrum_unpin();
	thrum_unpin();
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	run_on(2, nested_beside_others, NULL);
}
END_TEST

static void *first_is_pinned(void *arg)
{
	int moves;
	must(gettid() == *(pid_t *)arg);
	thrum_pin();
	move_a_lot(&moves);
	must(moves == 0 && gettid() == *(pid_t *)arg);
	thrum_unpin();
	return arg;
}

START_TEST(the_first_thread_can_be_pinned_to_the_os_thread_that_called_run)
{
	/* Where others might take the first thread before it has pinned itself, there are none. */
	pid_t os_id = gettid();
	ck_assert_ptr_eq(run_on(1, first_is_pinned, &os_id), &os_id);
}
END_TEST

/* ---------------------------------------------------------------- ends */

static void *end_pinned(void *arg)
{
	thrum_pin();
	thrum_pin();
	thrum_yield();
	return arg;
}

static void *many_end_pinned(void *arg)
{
	for (int round = 0; round < 20; round++) {
		struct thrum_thread *threads[PINNED];
		for (int i = 0; i < PINNED; i++)
			threads[i] = start(end_pinned, &threads[i]);
		for (int i = 0; i < PINNED; i++)
			must(finish(threads[i]) == &threads[i]);
	}
	/* Their OS threads are used again or end: 200 threads do not leave 200 behind. */
	while (os_threads() > *(int *)arg + (int)thrum_workers() + 2 * PINNED)
		must(thrum_sleep(THRUM_MS) == 0);
	return NULL;
}

START_TEST(a_thread_that_ends_pinned_leaves_its_os_thread_to_others)
{
	int tasks = os_threads();
	run_on(worker_counts[_i], many_end_pinned, &tasks);
}
END_TEST

static void *wait_pinned(void *arg)
{
	thrum_pin();
	count_up(arg);
	must(thrum_sleep_until(THRUM_FOREVER) == -ECANCELED);
	thrum_unpin();
	return NULL;
}

static void *leave_pinned(void *arg)
{
	for (int i = 0; i < PINNED; i++)
		start_alone(wait_pinned, arg);
	while (count_get(arg) < PINNED)
		thrum_yield();
	return NULL;
}

START_TEST(pinned_threads_are_cancelled_when_the_runtime_ends)
{
	for (int i = 0; i < 10; i++) {
		int waiting = 0;
		run_on(worker_counts[_i], leave_pinned, &waiting);
	}
}
END_TEST

Suite *suite_pin(void)
{
	Suite *suite = suite_create("sched/pin");
	int n = WORKER_COUNTS;
	TCase *stay = tcase_create("stay");
	tcase_set_timeout(stay, 60);
	tcase_add_loop_test(
		stay, a_pinned_thread_stays_on_its_os_thread_and_has_it_to_itself, 0, n);
	tcase_add_loop_test(stay, a_pinned_thread_stays_where_all_others_are_made_to_migrate, 0, n);
	tcase_add_loop_test(stay, more_threads_are_pinned_than_there_are_workers, 0, n);
	tcase_add_loop_test(stay, a_pinned_hog_is_detached_and_comes_back_to_its_os_thread, 0, n);
	tcase_add_loop_test(stay, hogs_do_not_stall_a_pinned_thread, 0, n);
	tcase_add_loop_test(stay, pinned_threads_hold_a_pthread_mutex_while_they_sleep, 0, n);
	suite_add_tcase(suite, stay);
	TCase *ends = tcase_create("ends");
	tcase_set_timeout(ends, 60);
	tcase_add_loop_test(ends, pins_nest_and_the_last_unpin_lets_go, 0, n);
	tcase_add_test(ends, an_unpin_without_its_pin_aborts);
	tcase_add_test(ends, a_pin_has_no_effect_on_an_os_thread);
	tcase_add_test(ends, the_first_thread_can_be_pinned_to_the_os_thread_that_called_run);
	tcase_add_loop_test(ends, a_thread_that_ends_pinned_leaves_its_os_thread_to_others, 0, n);
	tcase_add_loop_test(ends, pinned_threads_are_cancelled_when_the_runtime_ends, 0, n);
	suite_add_tcase(suite, ends);
	return suite;
}
