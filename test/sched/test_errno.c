/* SPDX-License-Identifier: MIT */
#include "hogs.h"

#include <errno.h>

/*
 * errno belongs to an OS thread. What the library returns after a suspension is what went wrong,
 * also where the thread goes on elsewhere; what a hog finds in errno is its own, for it goes on
 * where it was. Built with optimisation, and once more as one program (VARIANT=lto), in which the
 * compiler may move what it takes for a constant address across anything.
 */

enum { TRIES = 40 };

/* ---------------------------------------------------------------- hogs */

struct disturbed {
	int turns; /* atomic: of a thread that spoils errno wherever it runs */
	bool stop;
};

static void *spoil_errno(void *arg)
{
	struct disturbed *disturbed = arg;
	while (!flag_get(&disturbed->stop)) {
		errno = ENOTTY;
		count_up(&disturbed->turns);
		thrum_yield();
	}
	return NULL;
}

static void hog_until_disturbed(struct disturbed *disturbed)
{
	int turns = count_get(&disturbed->turns);
	while (count_get(&disturbed->turns) < turns + 3)
		;
}

/*
 * All in one function that does not suspend: here the compiler is right to compute the address of
 * errno once. With one worker the others' turns prove that the processor was taken meanwhile.
 */
static void *hog_with_errno(void *arg)
{
	struct disturbed *disturbed = arg;
	errno = E2BIG;
	hog_until_disturbed(disturbed);
	must(errno == E2BIG);
	must(close(-1) == -1 && errno == EBADF);
	hog_until_disturbed(disturbed);
	must(errno == EBADF);
	must(open("/nonexistent/file", O_RDONLY) == -1 && errno == ENOENT);
	return arg;
}

static void *hogs_with_errno(void *arg)
{
	struct disturbed disturbed = {.turns = 0};
	struct thrum_thread *spoilers[4], *hogs[4];
	for (int i = 0; i < 4; i++)
		spoilers[i] = start(spoil_errno, &disturbed);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 4; i++)
			hogs[i] = start(hog_with_errno, &disturbed);
		for (int i = 0; i < 4; i++)
			must(finish(hogs[i]) == &disturbed);
	}
	flag_set(&disturbed.stop);
	for (int i = 0; i < 4; i++)
		finish(spoilers[i]);
	return arg;
}

START_TEST(errno_of_a_hog_is_its_own_after_the_hand_off)
{
	run_on(worker_counts[_i], hogs_with_errno, NULL);
}
END_TEST

/* ---------------------------------------------------------------- calls of the program's own */

/* Not inlined and without a suspension: each call computes the address of errno anew. */
static int __attribute__((noinline)) fail_with(int fd)
{
	__asm__ volatile("");
	return close(fd) == -1 ? errno : 0;
}

static void __attribute__((noinline)) set_errno(int value)
{
	__asm__ volatile("");
	errno = value;
}

static void *read_errno_between(void *arg)
{
	for (int i = 0; i < TRIES; i++) {
		must(fail_with(-1) == EBADF);
		thrum_yield();
		set_errno(ENOTTY);
		must(thrum_sleep(THRUM_US) == 0);
		must(fail_with(-1) == EBADF);
		finish(start(raise_flag, &(bool){false}));
		must(fail_with(-1) == EBADF);
	}
	return arg;
}

static void *readers(void *arg)
{
	struct thrum_thread *threads[16];
	for (int i = 0; i < 16; i++)
		threads[i] = start(read_errno_between, arg);
	for (int i = 0; i < 16; i++)
		finish(threads[i]);
	return arg;
}

START_TEST(errno_is_right_where_it_is_read_without_a_suspension)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	run_on(worker_counts[_i], readers, NULL);
}
END_TEST

/* ---------------------------------------------------------------- what calls of thrum return */

static int missing_file(void)
{
	return thrum_file_open(AT_FDCWD, "/nonexistent", O_RDONLY, 0);
}

static int file_for_directory(void)
{
	return thrum_file_open(AT_FDCWD, "/dev/null/x", O_RDONLY, 0);
}

static int existing_directory(void)
{
	return thrum_fs_mkdir(AT_FDCWD, "/", 0700);
}

static int no_link(void)
{
	char target[8];
	return (int)thrum_fs_readlink(AT_FDCWD, "/", target, sizeof(target));
}

static int no_descriptor(void)
{
	return thrum_fd_wait(-1, THRUM_READABLE, THRUM_FOREVER);
}

static int no_listener(void)
{
	struct thrum_conn *conn = NULL;
	return thrum_conn_open(&conn, "unix:/nonexistent/socket", THRUM_FOREVER);
}

static void *close_later(void *arg)
{
	thrum_yield();
	must(thrum_sleep(10 * THRUM_US) == 0);
	thrum_conn_close(arg);
	return NULL;
}

/* The peer goes away while we wait for it, and has not read what we sent. */
static int reset_while_reading(void)
{
	struct thrum_conn *pair[2];
	char byte = 'x';
	if (thrum_conn_pair(pair) != 0)
		return 0;
	must(thrum_conn_write(pair[0], &byte, 1, NULL, THRUM_FOREVER) == 0);
	struct thrum_thread *closer = start(close_later, pair[1]);
	int result = (int)thrum_conn_read(pair[0], &byte, 1, THRUM_FOREVER);
	finish(closer);
	thrum_conn_close(pair[0]);
	return result;
}

/* The peer goes away while we wait for room. */
static int broken_while_writing(void)
{
	static char much[4 << 20];
	struct thrum_conn *pair[2];
	if (thrum_conn_pair(pair) != 0)
		return 0;
	struct thrum_thread *closer = start(close_later, pair[1]);
	int result = thrum_conn_write(pair[0], much, sizeof(much), NULL, THRUM_FOREVER);
	finish(closer);
	thrum_conn_close(pair[0]);
	return result;
}

struct failure {
	int (*call)(void);
	int result;
};

static const struct failure failures[] = {
	{missing_file, -ENOENT},
	{file_for_directory, -ENOTDIR},
	{existing_directory, -EEXIST},
	{no_link, -EINVAL},
	{no_descriptor, -EBADF},
	{no_listener, -ENOENT},
	{reset_while_reading, -ECONNRESET},
	{broken_while_writing, -EPIPE},
};

enum { FAILURES = sizeof(failures) / sizeof(failures[0]) };

/* Each thread fails in one way, so that another OS thread's errno would tell on itself. */
static void *fail_often(void *arg)
{
	const struct failure *failure = arg;
	for (int i = 0; i < TRIES; i++) {
		must(failure->call() == failure->result);
		set_errno(ENOTTY);
		thrum_yield();
	}
	return NULL;
}

static void *fail_in_all_ways(void *arg)
{
	struct thrum_thread *threads[2 * FAILURES];
	for (int i = 0; i < 2 * FAILURES; i++)
		threads[i] = start(fail_often, (void *)&failures[i % FAILURES]);
	for (int i = 0; i < 2 * FAILURES; i++)
		finish(threads[i]);
	return arg;
}

START_TEST(calls_that_suspend_return_their_own_error)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	run_on(worker_counts[_i], fail_in_all_ways, NULL);
}
END_TEST

Suite *suite_errno(void)
{
	Suite *suite = suite_create("sched/errno");
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 60);
	tcase_add_loop_test(basic, errno_of_a_hog_is_its_own_after_the_hand_off, 0, WORKER_COUNTS);
	tcase_add_loop_test(
		basic, errno_is_right_where_it_is_read_without_a_suspension, 0, WORKER_COUNTS);
	tcase_add_loop_test(basic, calls_that_suspend_return_their_own_error, 0, WORKER_COUNTS);
	suite_add_tcase(suite, basic);
	return suite;
}
