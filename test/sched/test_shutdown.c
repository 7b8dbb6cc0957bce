/* SPDX-License-Identifier: MIT */
#include "behave.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

/* The end of a runtime, and of the OS threads beside it. */

/* ---------------------------------------------------------------- whoever waits is cancelled */

struct ending {
	struct thrum_semaphore semaphore;
	struct thrum_mutex mutex;
	struct thrum_cond cond;
	struct thrum_mutex cond_mutex;
	struct thrum_waitgroup group;
	struct thrum_channel *empty, *full;
	int fds[2];
	int waiting;
};

static void *in_sleep(void *arg)
{
	must(thrum_sleep_until(THRUM_FOREVER) == -ECANCELED);
	return arg;
}

static void *in_semaphore(void *arg)
{
	struct ending *ending = arg;
	must(thrum_semaphore_acquire(&ending->semaphore, THRUM_FOREVER) == -ECANCELED);
	return arg;
}

static void *in_mutex(void *arg)
{
	struct ending *ending = arg;
	must(thrum_mutex_lock(&ending->mutex, THRUM_FOREVER) == -ECANCELED);
	return arg;
}

static void *in_cond(void *arg)
{
	struct ending *ending = arg;
	int err = thrum_mutex_lock(&ending->cond_mutex, THRUM_FOREVER);
	if (err != 0) {
		must(err == -ECANCELED); /* it was contended, and the end has begun */
		return arg;
	}
	must(thrum_cond_wait(&ending->cond, &ending->cond_mutex, THRUM_FOREVER) == -ECANCELED);
	thrum_mutex_unlock(&ending->cond_mutex);
	return arg;
}

static void *in_waitgroup(void *arg)
{
	struct ending *ending = arg;
	must(thrum_waitgroup_wait(&ending->group, THRUM_FOREVER) == -ECANCELED);
	return arg;
}

static void *in_recv(void *arg)
{
	struct ending *ending = arg;
	must(thrum_channel_recv(ending->empty, NULL, THRUM_FOREVER) == -ECANCELED);
	return arg;
}

static void *in_send(void *arg)
{
	struct ending *ending = arg;
	must(thrum_channel_send(ending->full, NULL, THRUM_FOREVER) == -ECANCELED);
	return arg;
}

static void *in_poll(void *arg)
{
	struct ending *ending = arg;
	struct thrum_poll *poll = NULL;
	must(thrum_poll_open(&poll, ending->fds[0]) == 0);
	must(thrum_poll_wait(poll, THRUM_READABLE, THRUM_FOREVER) == -ECANCELED);
	thrum_poll_close(poll);
	return arg;
}

static void *in_fd_wait(void *arg)
{
	struct ending *ending = arg;
	must(thrum_fd_wait(ending->fds[0], THRUM_READABLE, THRUM_FOREVER) == -ECANCELED);
	return arg;
}

static void *shielded_wait(void *arg)
{
	thrum_shield_begin();
	must(thrum_semaphore_acquire(arg, THRUM_FOREVER) == 0);
	thrum_shield_end();
	return arg;
}

static void *in_join(void *arg)
{
	struct thrum_semaphore end = THRUM_SEMAPHORE_INIT(0);
	struct thrum_thread *thread = NULL;
	int err = thrum_spawn(&thread, shielded_wait, &end);
	if (err != 0) {
		must(err == -ECANCELED); /* came too late to have anybody to wait for */
		return arg;
	}
	must(thrum_join(thread, NULL, THRUM_FOREVER) == -ECANCELED);
	thrum_semaphore_release(&end, 1);
	thrum_shield_begin();
	finish(thread);
	thrum_shield_end();
	return arg;
}

static void *in_future(void *arg)
{
	struct thrum_future_timer timer;
	must(thrum_block_on(thrum_future_timer_init(&timer, THRUM_FOREVER), NULL, THRUM_FOREVER) ==
		-ECANCELED);
	return arg;
}

static const thrum_fn waits[] = {in_sleep, in_semaphore, in_mutex, in_cond, in_waitgroup, in_recv,
	in_send, in_poll, in_fd_wait, in_join, in_future};

enum { WAITS = sizeof(waits) / sizeof(waits[0]), EACH = 10 };

struct waiter {
	struct ending *ending;
	thrum_fn fn;
};

static void *begin_waiting(void *arg)
{
	struct waiter *waiter = arg;
	count_up(&waiter->ending->waiting);
	return waiter->fn(waiter->ending);
}

/* Returns while everybody waits. Who has not come to its wait yet is cancelled all the same. */
static void *leave_all_waiting(void *arg)
{
	struct ending *ending = arg;
	static struct waiter waiters[WAITS * EACH];
	must(thrum_mutex_lock(&ending->mutex, THRUM_FOREVER) == 0);
	for (int i = 0; i < WAITS * EACH; i++) {
		waiters[i] = (struct waiter){ending, waits[i % WAITS]};
		start_alone(begin_waiting, &waiters[i]);
	}
	while (count_get(&ending->waiting) < WAITS * EACH)
		thrum_yield();
	return NULL;
}

static void ending_init(struct ending *ending)
{
	*ending = (struct ending){.waiting = 0};
	ck_assert_int_eq(thrum_channel_create(&ending->empty, 0, 0), 0);
	ck_assert_int_eq(thrum_channel_create(&ending->full, 0, 1), 0);
	ck_assert_int_eq(thrum_channel_send(ending->full, NULL, THRUM_NOW), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ending->fds), 0);
	thrum_waitgroup_add(&ending->group, 1);
}

static void ending_fini(struct ending *ending)
{
	thrum_channel_unref(ending->empty);
	thrum_channel_unref(ending->full);
	close(ending->fds[0]);
	close(ending->fds[1]);
}

START_TEST(whatever_a_thread_waits_for_it_does_not_hang_the_shutdown)
{
	for (int i = 0; i < 10; i++) {
		struct ending ending;
		ending_init(&ending);
		run_on(worker_counts[_i], leave_all_waiting, &ending);
		ending_fini(&ending);
	}
}
END_TEST

/* ---------------------------------------------------------------- who still runs */

struct blocked {
	bool in_call, may_end, ended;
};

static void *blocking_call(void *arg)
{
	struct blocked *blocked = arg;
	flag_set(&blocked->in_call);
	doze_until(&blocked->may_end);
	flag_set(&blocked->ended);
	return arg;
}

static void *call_pool(void *arg)
{
	void *result = NULL;
	must(thrum_blocking(blocking_call, arg, &result) == 0 && result == arg);
	return arg;
}

static void *shielded_end(void *arg)
{
	/* Ends the call only once the shutdown has begun. */
	struct blocked *blocked = arg;
	while (!thrum_canceled())
		thrum_yield();
	flag_set(&blocked->may_end);
	return arg;
}

static void *leave_blocked(void *arg)
{
	struct blocked *blocked = arg;
	start_alone(call_pool, arg);
	yield_until(&blocked->in_call);
	start_alone(shielded_end, arg);
	return NULL;
}

START_TEST(a_blocking_call_under_way_is_waited_for)
{
	struct blocked blocked = {.in_call = false};
	run_on(worker_counts[_i], leave_blocked, &blocked);
	ck_assert(blocked.ended);
}
END_TEST

static void *clean_up(void *arg)
{
	must(thrum_sleep_until(THRUM_FOREVER) == -ECANCELED);
	thrum_shield_begin();
	for (int i = 0; i < 3; i++)
		must(thrum_sleep(10 * THRUM_US) == 0);
	thrum_shield_end();
	count_up(arg);
	return arg;
}

enum { CLEANERS = 50 };

static void *leave_cleaners(void *arg)
{
	for (int i = 0; i < CLEANERS; i++)
		start_alone(clean_up, arg);
	thrum_yield();
	return NULL;
}

START_TEST(threads_that_clean_up_under_a_shield_are_waited_for)
{
	int cleaned = 0;
	run_on(worker_counts[_i], leave_cleaners, &cleaned);
	ck_assert_int_eq(cleaned, CLEANERS);
}
END_TEST

/* ---------------------------------------------------------------- spawning meanwhile */

struct births {
	int accepted, refused, ran;
};

static void *born(void *arg)
{
	struct births *births = arg;
	count_up(&births->ran);
	return NULL;
}

/* Spawns until it is refused. */
static void *breed_on(void *arg)
{
	struct births *births = arg;
	count_up(&births->ran);
	while (thrum_spawn(NULL, born, arg) == 0) {
		count_up(&births->accepted);
		thrum_yield();
	}
	count_up(&births->refused);
	return NULL;
}

static void *leave_breeding(void *arg)
{
	struct births *births = arg;
	for (int i = 0; i < 8; i++)
		if (must(thrum_spawn(NULL, breed_on, arg) == 0))
			count_up(&births->accepted);
	for (int i = 0; i < 20; i++)
		thrum_yield();
	return NULL;
}

START_TEST(what_is_spawned_while_the_runtime_ends_runs_or_is_refused)
{
	for (int i = 0; i < 20; i++) {
		struct births births = {0};
		run_on(worker_counts[_i], leave_breeding, &births);
		ck_assert_int_ge(births.refused, 8);
		ck_assert_int_eq(births.ran, births.accepted);
	}
}
END_TEST

/* ---------------------------------------------------------------- waking meanwhile */

enum { SEMAPHORES = 8 };

struct wakes {
	struct thrum_semaphore semaphores[SEMAPHORES];
	int begun;
	bool end;
};

static void *acquire_on(void *arg)
{
	struct wakes *wakes = arg;
	struct thrum_semaphore *own = &wakes->semaphores[count_up(&wakes->begun) - 1];
	while (thrum_semaphore_acquire(own, THRUM_FOREVER) == 0)
		;
	return NULL;
}

static void *leave_waking(void *arg)
{
	struct wakes *wakes = arg;
	for (int i = 0; i < SEMAPHORES; i++)
		start_alone(acquire_on, arg);
	while (count_get(&wakes->begun) < SEMAPHORES)
		thrum_yield();
	thrum_yield();
	return NULL;
}

static void *wake_on(void *arg)
{
	struct wakes *wakes = arg;
	while (!flag_get(&wakes->end))
		for (int i = 0; i < SEMAPHORES; i++)
			if (thrum_semaphore_permits(&wakes->semaphores[i]) == 0)
				thrum_semaphore_release(&wakes->semaphores[i], 1);
	return NULL;
}

static void *wake_on_green(void *arg)
{
	struct thrum_config config = {.workers = 2};
	must(thrum_run(&config, wake_on, arg, NULL) == 0);
	return NULL;
}

static void wake_while_ending(unsigned workers, thrum_fn waker)
{
	for (int i = 0; i < 30; i++) {
		struct wakes wakes = {.begun = 0};
		pthread_t thread;
		ck_assert_int_eq(pthread_create(&thread, NULL, waker, &wakes), 0);
		run_on(workers, leave_waking, &wakes);
		flag_set(&wakes.end);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
}

START_TEST(an_os_thread_wakes_threads_while_their_runtime_ends)
{
	wake_while_ending(worker_counts[_i], wake_on);
}
END_TEST

START_TEST(another_runtime_wakes_threads_while_theirs_ends)
{
	wake_while_ending(worker_counts[_i], wake_on_green);
}
END_TEST

/* ---------------------------------------------------------------- futures */

struct hanging {
	struct thrum_future future;
	struct thrum_waker waker;
	int polls, drops;
};

static int hanging_poll(struct thrum_future *future, struct thrum_context *context, void *output)
{
	struct hanging *hanging = (struct hanging *)future;
	(void)output;
	thrum_waker_drop(hanging->waker);
	hanging->waker = thrum_waker_clone(context->waker);
	hanging->polls++;
	return THRUM_PENDING;
}

static void hanging_drop(struct thrum_future *future)
{
	struct hanging *hanging = (struct hanging *)future;
	thrum_waker_drop(hanging->waker);
	hanging->waker = (struct thrum_waker){0};
	hanging->drops++;
}

static const struct thrum_future_vtable hanging_vtable = {hanging_poll, hanging_drop};

static void *await_hanging(void *arg)
{
	struct hanging *hanging = arg;
	must(thrum_block_on(&hanging->future, NULL, THRUM_FOREVER) == -ECANCELED);
	return NULL;
}

enum { HANGING = 20 };

static void *leave_hanging(void *arg)
{
	struct hanging *hanging = arg;
	for (int i = 0; i < HANGING; i++)
		start_alone(await_hanging, &hanging[i]);
	for (int i = 0; i < 3; i++)
		thrum_yield();
	return NULL;
}

START_TEST(a_future_that_is_awaited_when_the_runtime_ends_is_dropped_once)
{
	struct hanging hanging[HANGING] = {0};
	for (int i = 0; i < HANGING; i++)
		hanging[i].future.vtable = &hanging_vtable;
	run_on(worker_counts[_i], leave_hanging, hanging);
	for (int i = 0; i < HANGING; i++)
		ck_assert_int_eq(hanging[i].drops, 1);
}
END_TEST

static void *race_two_timers(void *arg)
{
	/* Both fire at about the same time: the loser is dropped while it is on its way. */
	for (int i = 0; i < 200; i++) {
		struct thrum_future_timer a, b;
		struct thrum_future_select2 either;
		thrum_deadline deadline = thrum_after(i % 50 * THRUM_US);
		must(thrum_block_on(thrum_future_select2_init(&either,
					    thrum_future_timer_init(&a, deadline), NULL,
					    thrum_future_timer_init(&b, deadline), NULL),
			     NULL, THRUM_FOREVER) == 0);
		must(either.winner == 0 || either.winner == 1);
	}
	return arg;
}

static void *race_timers(void *arg)
{
	struct thrum_thread *threads[4];
	for (int i = 0; i < 4; i++)
		threads[i] = start(race_two_timers, arg);
	for (int i = 0; i < 4; i++)
		finish(threads[i]);
	return arg;
}

START_TEST(a_timer_is_dropped_by_the_thread_that_its_twin_woke)
{
	run_on(worker_counts[_i], race_timers, NULL);
}
END_TEST

/* ---------------------------------------------------------------- an OS thread's last words */

static pthread_key_t last_words;

/* Destructor of a thread-local value: the OS thread is nearly gone. */
static void say_last_words(void *value)
{
	struct thrum_semaphore *semaphore = value;
	must(thrum_self() == NULL);
	must(thrum_workers() == 0);
	thrum_semaphore_release(semaphore, 1);
}

static void *leave_words(void *arg)
{
	must(pthread_setspecific(last_words, arg) == 0);
	return arg;
}

static void *await_words(void *arg)
{
	struct thrum_semaphore semaphore = THRUM_SEMAPHORE_INIT(0);
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		must(pthread_create(&thread, NULL, leave_words, &semaphore) == 0);
		must(thrum_semaphore_acquire(&semaphore, THRUM_FOREVER) == 0);
		must(pthread_join(thread, NULL) == 0);
	}
	return arg;
}

START_TEST(a_wake_from_an_os_threads_thread_local_destructor_arrives)
{
	ck_assert_int_eq(pthread_key_create(&last_words, say_last_words), 0);
	run_on(worker_counts[_i], await_words, NULL);
	ck_assert_int_eq(pthread_key_delete(last_words), 0);
}
END_TEST

static void *use_once(void *arg)
{
	leave_words(arg);
	return arg;
}

/* Runs in an OS thread of its own, so that each worker's ends, the first one's too. */
static void *run_and_end(void *arg)
{
	struct thrum_config config = {.workers = 4};
	must(thrum_run(&config, use_once, arg, NULL) == 0);
	return arg;
}

static void *await_workers_words(void *arg)
{
	struct thrum_semaphore semaphore = THRUM_SEMAPHORE_INIT(0);
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		must(pthread_create(&thread, NULL, run_and_end, &semaphore) == 0);
		must(thrum_semaphore_acquire(&semaphore, THRUM_FOREVER) == 0);
		must(pthread_join(thread, NULL) == 0);
	}
	return arg;
}

START_TEST(a_wake_from_an_ended_workers_thread_local_destructor_arrives)
{
	ck_assert_int_eq(pthread_key_create(&last_words, say_last_words), 0);
	run_on(worker_counts[_i], await_workers_words, NULL);
	ck_assert_int_eq(pthread_key_delete(last_words), 0);
}
END_TEST

Suite *suite_shutdown(void)
{
	Suite *suite = suite_create("sched/shutdown");
	int n = WORKER_COUNTS;
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 60);
	tcase_add_loop_test(basic, whatever_a_thread_waits_for_it_does_not_hang_the_shutdown, 0, n);
	tcase_add_loop_test(basic, a_blocking_call_under_way_is_waited_for, 0, n);
	tcase_add_loop_test(basic, threads_that_clean_up_under_a_shield_are_waited_for, 0, n);
	tcase_add_loop_test(basic, what_is_spawned_while_the_runtime_ends_runs_or_is_refused, 0, n);
	tcase_add_loop_test(basic, an_os_thread_wakes_threads_while_their_runtime_ends, 0, n);
	tcase_add_loop_test(basic, another_runtime_wakes_threads_while_theirs_ends, 0, n);
	suite_add_tcase(suite, basic);
	TCase *futures = tcase_create("futures");
	tcase_set_timeout(futures, 60);
	tcase_add_loop_test(
		futures, a_future_that_is_awaited_when_the_runtime_ends_is_dropped_once, 0, n);
	tcase_add_loop_test(futures, a_timer_is_dropped_by_the_thread_that_its_twin_woke, 0, n);
	suite_add_tcase(suite, futures);
	TCase *words = tcase_create("last words");
	tcase_set_timeout(words, 60);
	tcase_add_loop_test(words, a_wake_from_an_os_threads_thread_local_destructor_arrives, 0, n);
	tcase_add_loop_test(
		words, a_wake_from_an_ended_workers_thread_local_destructor_arrives, 0, n);
	suite_add_tcase(suite, words);
	return suite;
}
