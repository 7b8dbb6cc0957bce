/* SPDX-License-Identifier: MIT */
#include "behave.h"

#include <errno.h>
#include <pthread.h>

/* Threads that refuse to stop when the runtime ends are named on stderr. */

/* What is written to stderr meanwhile. */
struct capture {
	int saved, fds[2];
	size_t len;
	char text[8192];
};

static void capture_begin(struct capture *capture)
{
	*capture = (struct capture){.len = 0};
	fflush(stderr);
	ck_assert_int_eq(pipe2(capture->fds, O_CLOEXEC | O_NONBLOCK), 0);
	capture->saved = dup(STDERR_FILENO);
	ck_assert_int_ge(capture->saved, 0);
	ck_assert_int_ge(dup2(capture->fds[1], STDERR_FILENO), 0);
}

static void capture_read(struct capture *capture)
{
	size_t room = sizeof(capture->text) - 1 - capture->len;
	ssize_t n = read(capture->fds[0], capture->text + capture->len, room);
	capture->len += n > 0 ? (size_t)n : 0;
}

static void capture_end(struct capture *capture)
{
	capture_read(capture);
	dup2(capture->saved, STDERR_FILENO);
	close(capture->saved);
	close(capture->fds[0]);
	close(capture->fds[1]);
}

/* The whole line in which text stands, in out; false: there is none (yet). */
static bool capture_line(const struct capture *capture, const char *text, char *out, size_t cap)
{
	const char *at = strstr(capture->text, text);
	if (at == NULL || strchr(at, '\n') == NULL)
		return false;
	while (at > capture->text && at[-1] != '\n')
		at--;
	snprintf(out, cap, "%.*s", (int)strcspn(at, "\n"), at);
	return true;
}

/* ---------------------------------------------------------------- four that refuse */

enum { REFUSALS = 4 };

static const char *const names[REFUSALS] = {"a sleeper", "a spinner", "a reader", "a waiter"};

struct refusal {
	struct capture capture;
	struct thrum_semaphore semaphore;
	int pipe[2];
	uint64_t ids[REFUSALS];
	int begun;
	bool end;
};

static void *refuse_asleep(void *arg)
{
	struct refusal *refusal = arg;
	thrum_shield_begin();
	refusal->ids[0] = thrum_thread_id(thrum_self());
	count_up(&refusal->begun);
	while (!flag_get(&refusal->end))
		must(thrum_sleep(THRUM_MS) == 0);
	thrum_shield_end();
	return NULL;
}

static void *refuse_spinning(void *arg)
{
	struct refusal *refusal = arg;
	refusal->ids[1] = thrum_thread_id(thrum_self());
	count_up(&refusal->begun);
	while (!flag_get(&refusal->end))
		;
	return NULL;
}

static void *refuse_reading(void *arg)
{
	struct refusal *refusal = arg;
	char byte;
	refusal->ids[2] = thrum_thread_id(thrum_self());
	count_up(&refusal->begun);
	must(read(refusal->pipe[0], &byte, 1) == 1);
	return NULL;
}

static void *refuse_waiting(void *arg)
{
	struct refusal *refusal = arg;
	thrum_shield_begin();
	refusal->ids[3] = thrum_thread_id(thrum_self());
	count_up(&refusal->begun);
	must(thrum_semaphore_acquire(&refusal->semaphore, THRUM_FOREVER) == 0);
	thrum_shield_end();
	return NULL;
}

static const thrum_fn refusals[REFUSALS] = {
	refuse_asleep, refuse_spinning, refuse_reading, refuse_waiting};

/* On an OS thread: lets them go once all of them have been named. */
static void *await_report(void *arg)
{
	struct refusal *refusal = arg;
	char line[512];
	for (int named = 0; named < REFUSALS; usleep(1000)) {
		capture_read(&refusal->capture);
		named = 0;
		for (int i = 0; i < REFUSALS; i++)
			named += capture_line(&refusal->capture, names[i], line, sizeof(line));
	}
	flag_set(&refusal->end);
	must(write(refusal->pipe[1], "x", 1) == 1);
	thrum_semaphore_release(&refusal->semaphore, 1);
	return NULL;
}

static void *leave_refusing(void *arg)
{
	struct refusal *refusal = arg;
	for (int i = 0; i < REFUSALS; i++) {
		struct thrum_attr attr = {.name = names[i]};
		must(thrum_spawn_with(NULL, refusals[i], refusal, &attr) == 0);
	}
	while (count_get(&refusal->begun) < REFUSALS)
		thrum_yield();
	return NULL;
}

static void run_refusing(const struct thrum_config *config)
{
	struct refusal refusal = {.begun = 0};
	char line[512], id[32];
	pthread_t watcher;
	ck_assert_int_eq(pipe2(refusal.pipe, O_CLOEXEC), 0);
	capture_begin(&refusal.capture);
	ck_assert_int_eq(pthread_create(&watcher, NULL, await_report, &refusal), 0);
	run_config(config, leave_refusing, &refusal);
	ck_assert_int_eq(pthread_join(watcher, NULL), 0);
	capture_end(&refusal.capture);
	for (int i = 0; i < REFUSALS; i++) {
		ck_assert(capture_line(&refusal.capture, names[i], line, sizeof(line)));
		snprintf(id, sizeof(id), " %llu ", (unsigned long long)refusal.ids[i]);
		ck_assert_msg(strstr(line, "thrum: ") != NULL, "%s", line);
		ck_assert_msg(strstr(line, id) != NULL, "no%sin: %s", id, line);
		ck_assert_msg(strstr(line, "test_report.c:") != NULL, "%s", line);
	}
	ck_assert(capture_line(&refusal.capture, names[0], line, sizeof(line)));
	ck_assert_msg(strstr(line, "sleep") != NULL, "%s", line);
	ck_assert(capture_line(&refusal.capture, names[3], line, sizeof(line)));
	ck_assert_msg(strstr(line, "semaphore") != NULL, "%s", line);
	close(refusal.pipe[0]);
	close(refusal.pipe[1]);
}

START_TEST(threads_that_refuse_to_stop_are_named_with_their_spawn_site)
{
	struct thrum_config config = {
		.workers = worker_counts[_i], .shutdown_report = 10 * THRUM_MS};
	run_refusing(&config);
}
END_TEST

START_TEST(they_are_named_after_a_while_also_by_default)
{
	run_refusing(&(struct thrum_config){.workers = 2});
}
END_TEST

/* ---------------------------------------------------------------- nobody to name */

static void *heed(void *arg)
{
	must(thrum_sleep_until(THRUM_FOREVER) == -ECANCELED);
	return arg;
}

static void *leave_heeding(void *arg)
{
	for (int i = 0; i < 20; i++)
		start_alone(heed, arg);
	thrum_yield();
	return arg;
}

START_TEST(a_runtime_whose_threads_stop_says_nothing)
{
	struct thrum_config config = {
		.workers = worker_counts[_i], .shutdown_report = THRUM_S * 50};
	struct capture capture;
	capture_begin(&capture);
	for (int i = 0; i < 10; i++)
		run_config(&config, leave_heeding, NULL);
	capture_end(&capture);
	ck_assert_str_eq(capture.text, "");
}
END_TEST

static void *stop_late(void *arg)
{
	thrum_shield_begin();
	for (int i = 0; i < 50; i++)
		must(thrum_sleep(THRUM_MS) == 0);
	thrum_shield_end();
	return arg;
}

static void *leave_late(void *arg)
{
	start_alone(stop_late, arg);
	thrum_yield();
	return arg;
}

START_TEST(a_runtime_that_was_told_not_to_says_nothing)
{
	struct thrum_config config = {.workers = worker_counts[_i], .shutdown_report = -1};
	struct capture capture;
	capture_begin(&capture);
	run_config(&config, leave_late, NULL);
	capture_end(&capture);
	ck_assert_str_eq(capture.text, "");
}
END_TEST

Suite *suite_report(void)
{
	Suite *suite = suite_create("sched/report");
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 60);
	tcase_add_loop_test(basic, threads_that_refuse_to_stop_are_named_with_their_spawn_site, 0,
		WORKER_COUNTS);
	tcase_add_test(basic, they_are_named_after_a_while_also_by_default);
	tcase_add_loop_test(basic, a_runtime_whose_threads_stop_says_nothing, 0, WORKER_COUNTS);
	tcase_add_loop_test(basic, a_runtime_that_was_told_not_to_says_nothing, 0, WORKER_COUNTS);
	suite_add_tcase(suite, basic);
	return suite;
}
