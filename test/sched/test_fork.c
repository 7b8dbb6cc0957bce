/* SPDX-License-Identifier: MIT */
#include "behave.h"
#include "../emulated.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/*
 * fork: in the child only the OS thread that forked goes on. If that ran a green thread, the child
 * may exec, _exit and make calls that do not suspend; if not, it may start runtimes of its own.
 */

/* Forks, runs fn(arg) as the child, and gives the child's status. Blocks the calling OS thread. */
static int status_of(thrum_fn fn, void *arg)
{
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		broken = NULL;
		_exit(fn(arg) != NULL && broken == NULL ? 0 : 99);
	}
	must(child > 0);
	must(waitpid(child, &status, 0) == child);
	return status;
}

/* ---------------------------------------------------------------- from a green thread */

static void *use_what_does_not_suspend(void *arg)
{
	struct thrum_semaphore semaphore = THRUM_SEMAPHORE_INIT(0);
	struct thrum_mutex mutex = THRUM_MUTEX_INIT;
	struct thrum_channel *channel = NULL;
	int value = 7;
	must(thrum_self() != NULL);
	must(thrum_workers() > 0);
	must(thrum_now() > 0);
	must(!thrum_canceled());
	must(thrum_semaphore_acquire(&semaphore, THRUM_NOW) == -ETIMEDOUT);
	thrum_semaphore_release(&semaphore, 1);
	must(thrum_semaphore_acquire(&semaphore, THRUM_NOW) == 0);
	must(thrum_mutex_try_lock(&mutex));
	thrum_mutex_unlock(&mutex);
	must(thrum_channel_create(&channel, sizeof(value), 1) == 0);
	must(thrum_channel_send(channel, &value, THRUM_NOW) == 0);
	must(thrum_channel_recv(channel, &value, THRUM_NOW) == 0 && value == 7);
	must(thrum_channel_recv(channel, &value, THRUM_NOW) == -ETIMEDOUT);
	thrum_channel_unref(channel);
	return arg;
}

static void *exec_true(void *arg)
{
	(void)arg;
	execl("/bin/true", "true", (char *)NULL);
	return NULL;
}

static bool stop; /* the load ends */

static void *yield_on(void *arg)
{
	yield_until(&stop);
	return arg;
}

static void *chain(void *arg)
{
	if (!flag_get(&stop))
		(void)!thrum_spawn(NULL, chain, arg);
	return arg;
}

/* Others keep every worker busy with queues, stacks, timers and the pool. */
static void *load_main(void *arg)
{
	for (int i = 0; i < 20; i++) {
		start_alone(yield_on, arg);
		start_alone(chain, arg);
	}
	while (!flag_get(&stop)) {
		(void)!thrum_blocking(raise_flag, &(bool){false}, NULL);
		(void)!thrum_sleep(10 * THRUM_US);
	}
	return NULL;
}

/*
 * ASan's allocator may be locked by another thread when a process forks, and stays so in the child.
 * TSan forbids a forked child to start threads.
 */
#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
enum { FORKS = 5, UNDER_LOAD = 0 };
#else
enum { FORKS = 20, UNDER_LOAD = 1 };
#endif

static void *fork_green(void *arg)
{
	struct thrum_thread *load = UNDER_LOAD ? start(load_main, arg) : NULL;
	for (int i = 0; i < FORKS; i++) {
		must(status_of(use_what_does_not_suspend, &stop) == 0);
		must(status_of(exec_true, NULL) == 0);
		thrum_yield();
	}
	flag_set(&stop);
	finish(load);
	return arg;
}

START_TEST(a_green_threads_child_may_exec_and_make_calls_that_do_not_suspend)
{
	stop = false;
	run_on(worker_counts[_i], fork_green, NULL);
}
END_TEST

static void *fork_detached(void *arg)
{
	/* After the first of these turns of another thread, with one worker, we are detached. */
	int *turns = arg;
	int before = count_get(turns);
	while (count_get(turns) < before + 3)
		;
	must(status_of(use_what_does_not_suspend, &stop) == 0);
	thrum_yield();
	return arg;
}

static void *take_turns(void *arg)
{
	while (!flag_get(&stop)) {
		count_up(arg);
		thrum_yield();
	}
	return arg;
}

static void *forks_while_detached(void *arg)
{
	int turns = 0;
	struct thrum_thread *other = start(take_turns, &turns);
	for (int i = 0; i < FORKS; i++)
		must(finish(start(fork_detached, &turns)) == &turns);
	flag_set(&stop);
	finish(other);
	return arg;
}

START_TEST(a_detached_hogs_child_may_do_the_same)
{
	stop = false;
	run_on(worker_counts[_i], forks_while_detached, NULL);
}
END_TEST

/* A child closes its copy of a handle with which the parent then waits. */
struct inherited {
	struct thrum_poll *poll;
	int fds[2];
	bool waiting;
};

static void *wait_and_read(void *arg)
{
	struct inherited *inherited = arg;
	char byte;
	flag_set(&inherited->waiting);
	must(thrum_poll_wait(inherited->poll, THRUM_READABLE, THRUM_FOREVER) == 0);
	must(read(inherited->fds[0], &byte, 1) == 1);
	return arg;
}

static void *close_inherited(void *arg)
{
	struct inherited *inherited = arg;
	thrum_poll_close(inherited->poll);
	close(inherited->fds[0]);
	close(inherited->fds[1]);
	return arg;
}

static void *fork_that_closes(void *arg)
{
	struct inherited inherited = {.waiting = false};
	must(pipe2(inherited.fds, O_CLOEXEC | O_NONBLOCK) == 0);
	must(thrum_poll_open(&inherited.poll, inherited.fds[0]) == 0);
	must(status_of(close_inherited, &inherited) == 0);
	struct thrum_thread *reader = start(wait_and_read, &inherited);
	yield_until(&inherited.waiting);
	for (int i = 0; i < 3; i++)
		thrum_yield();
	must(write(inherited.fds[1], "x", 1) == 1);
	finish(reader);
	thrum_poll_close(inherited.poll);
	close(inherited.fds[0]);
	close(inherited.fds[1]);
	return arg;
}

START_TEST(a_child_that_closes_what_it_inherited_does_not_disturb_its_parent)
{
	run_on(worker_counts[_i], fork_that_closes, NULL);
}
END_TEST

/* ---------------------------------------------------------------- a child that would suspend */

static void *child_sleeps(void *arg)
{
	(void)!thrum_sleep(THRUM_MS);
	return arg;
}

static void *child_waits(void *arg)
{
	struct thrum_semaphore semaphore = THRUM_SEMAPHORE_INIT(0);
	(void)!thrum_semaphore_acquire(&semaphore, THRUM_FOREVER);
	return arg;
}

static void *never_returns(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *child_blocks(void *arg)
{
	(void)!thrum_blocking(never_returns, NULL, NULL);
	return arg;
}

static void *child_waits_for_descriptor(void *arg)
{
	int fds[2];
	if (pipe(fds) == 0)
		(void)!thrum_fd_wait(fds[0], THRUM_READABLE, THRUM_FOREVER);
	return arg;
}

static const thrum_fn suspensions[] = {
	child_sleeps, child_waits, child_blocks, child_waits_for_descriptor};

enum { SUSPENSIONS = sizeof(suspensions) / sizeof(suspensions[0]) };

struct abort_report {
	thrum_fn fn;
	char text[1024];
	int status;
};

static void *fork_and_read_report(void *arg)
{
	struct abort_report *report = arg;
	int fds[2];
	size_t len = 0;
	if (!must(pipe(fds) == 0))
		return NULL;
	pid_t child = fork();
	if (child == 0) {
		dup2(fds[1], STDERR_FILENO);
		report->fn(arg);
		_exit(0);
	}
	close(fds[1]);
	for (ssize_t n; len < sizeof(report->text) - 1 &&
			(n = read(fds[0], report->text + len, sizeof(report->text) - 1 - len)) > 0;)
		len += (size_t)n;
	report->text[len] = '\0';
	close(fds[0]);
	must(waitpid(child, &report->status, 0) == child);
	return NULL;
}

START_TEST(a_green_threads_child_that_would_suspend_aborts_and_says_so_in_a_line)
{
	struct abort_report report = {.fn = suspensions[_i / WORKER_COUNTS]};
	if (!child_starts_threads())
		return; /* an emulator's forks cannot be relied on beside other threads */
	run_on(worker_counts[_i % WORKER_COUNTS], fork_and_read_report, &report);
	ck_assert(WIFSIGNALED(report.status));
	ck_assert_int_eq(WTERMSIG(report.status), SIGABRT);
	ck_assert_ptr_nonnull(strstr(report.text, "thrum: "));
	ck_assert_ptr_nonnull(strstr(report.text, "fork"));
	/* An emulator may add that it has died. */
	const char *end = strchr(report.text, '\n');
	ck_assert(end != NULL && strstr(end, "thrum: ") == NULL);
}
END_TEST

/* ---------------------------------------------------------------- from an OS thread */

static void *nap(void *arg)
{
	must(thrum_sleep(10 * THRUM_US) == 0);
	return arg;
}

static void *full_run(void *arg)
{
	struct thrum_thread *threads[20];
	for (int i = 0; i < 20; i++)
		threads[i] = start(nap, arg);
	for (int i = 0; i < 20; i++)
		finish(threads[i]);
	for (int i = 0; i < BYSTANDERS; i++)
		must(finish(start(bystanders[i], arg)) == arg);
	return arg;
}

static void *run_in_child(void *arg)
{
	struct thrum_config config = {.workers = 2};
	void *result = NULL;
	must(thrum_self() == NULL);
	must(thrum_run(&config, full_run, &config, &result) == 0);
	must(result == &config);
	return arg;
}

START_TEST(an_os_threads_child_runs_a_runtime_of_its_own)
{
	if (!child_starts_threads())
		return;
	ck_assert_int_eq(status_of(run_in_child, &stop), 0);
	/* Once more where there has been a runtime: its caches and its pool are gone in the child.
	 */
	ck_assert_ptr_nonnull(run_on(worker_counts[_i], full_run, &stop));
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(status_of(run_in_child, &stop), 0);
	ck_assert_ptr_nonnull(run_on(worker_counts[_i], full_run, &stop));
}
END_TEST

/* An OS thread that forks beside a runtime, at whatever point that is. */
static void *fork_beside(void *arg)
{
	for (int i = 0; i < FORKS; i++)
		must(status_of(run_in_child, arg) == 0);
	flag_set(&stop);
	return NULL;
}

static void *be_forked(void *arg)
{
	pthread_t forker;
	must(pthread_create(&forker, NULL, fork_beside, arg) == 0);
	load_main(arg);
	must(pthread_join(forker, NULL) == 0);
	return NULL;
}

START_TEST(a_child_runs_a_runtime_whatever_another_one_was_in_the_midst_of)
{
	if (!child_starts_threads())
		return;
	stop = false;
	run_on(worker_counts[_i], be_forked, &stop);
}
END_TEST

static void *fork_on_pool(void *arg)
{
	must(status_of(run_in_child, &stop) == 0);
	return arg;
}

static void *fork_from_pool(void *arg)
{
	void *result = NULL;
	must(thrum_blocking(fork_on_pool, arg, &result) == 0 && result == arg);
	return arg;
}

START_TEST(a_child_of_a_blocking_call_runs_a_runtime)
{
	if (!child_starts_threads())
		return;
	run_on(worker_counts[_i], fork_from_pool, &stop);
}
END_TEST

/* ---------------------------------------------------------------- processes */

static void *call_system(void *arg)
{
	for (int i = 0; i < 5; i++) {
		int status = system("exit 3");
		must(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	}
	return arg;
}

static void *many_call_system(void *arg)
{
	struct thrum_thread *threads[8];
	for (int i = 0; i < 8; i++)
		threads[i] = start(call_system, arg);
	for (int i = 0; i < 8; i++)
		finish(threads[i]);
	return arg;
}

START_TEST(green_threads_start_programs_side_by_side)
{
	run_on(worker_counts[_i], many_call_system, NULL);
}
END_TEST

Suite *suite_fork(void)
{
	Suite *suite = suite_create("sched/fork");
	int n = WORKER_COUNTS;
	TCase *green = tcase_create("green");
	tcase_set_timeout(green, 60);
	tcase_add_loop_test(
		green, a_green_threads_child_may_exec_and_make_calls_that_do_not_suspend, 0, n);
	tcase_add_loop_test(
		green, a_child_that_closes_what_it_inherited_does_not_disturb_its_parent, 0, n);
	tcase_add_loop_test(green, a_detached_hogs_child_may_do_the_same, 0, n);
	tcase_add_loop_test(green,
		a_green_threads_child_that_would_suspend_aborts_and_says_so_in_a_line, 0,
		SUSPENSIONS * n);
	tcase_add_loop_test(green, green_threads_start_programs_side_by_side, 0, n);
	suite_add_tcase(suite, green);
	TCase *os = tcase_create("os");
	tcase_set_timeout(os, 60);
#if defined(THRUM__TSAN)
	(void)an_os_threads_child_runs_a_runtime_of_its_own;
#else
	tcase_add_loop_test(os, an_os_threads_child_runs_a_runtime_of_its_own, 0, n);
#endif
	if (UNDER_LOAD) {
		tcase_add_loop_test(
			os, a_child_runs_a_runtime_whatever_another_one_was_in_the_midst_of, 0, n);
		tcase_add_loop_test(os, a_child_of_a_blocking_call_runs_a_runtime, 0, n);
	}
	suite_add_tcase(suite, os);
	return suite;
}
