/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "green.h"
#include "io/io.h"
#include <thrum/fs.h>
#include <thrum/poll.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SHORTLY thrum_after(20 * THRUM_MS)

static void *writes_a_byte(void *arg)
{
	REQUIRE_EQ(thrum_sleep(2 * THRUM_MS), 0);
	REQUIRE_EQ(write(*(int *)arg, "x", 1), 1);
	return NULL;
}

static void *pipe_main(void *arg)
{
	struct thrum_poll *poll, *out;
	int fds[2];
	char buf[8];
	REQUIRE_EQ(pipe(fds), 0);
	REQUIRE_EQ(thrum_poll_open(&poll, fds[0]), 0);
	REQUIRE_EQ(thrum_poll_open(&out, fds[1]), 0);
	REQUIRE_EQ(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0); /* as it was */
	REQUIRE_EQ(thrum_poll_wait(poll, THRUM_READABLE, THRUM_NOW), -ETIMEDOUT);
	REQUIRE_EQ(thrum_poll_wait(poll, THRUM_READABLE, SHORTLY), -ETIMEDOUT);
	REQUIRE_EQ(thrum_poll_wait(out, THRUM_WRITABLE, THRUM_NOW), 0);
	for (int i = 0; i < 20; i++) {
		struct thrum_thread *writer = green_spawn(writes_a_byte, &fds[1]);
		REQUIRE_EQ(thrum_poll_wait(poll, THRUM_READABLE, GREEN_SOON), 0);
		green_join(writer);
		/* A level: it is still readable, also for a try. */
		REQUIRE_EQ(thrum_poll_wait(poll, THRUM_READABLE, GREEN_SOON), 0);
		REQUIRE_EQ(thrum_poll_wait(poll, THRUM_READABLE, THRUM_NOW), 0);
		REQUIRE_EQ(read(fds[0], buf, sizeof(buf)), 1);
		REQUIRE_EQ(thrum_poll_wait(poll, THRUM_READABLE, THRUM_NOW), -ETIMEDOUT);
	}
	thrum_poll_close(out);
	close(fds[1]);
	REQUIRE_EQ(thrum_poll_wait(poll, THRUM_READABLE, GREEN_SOON), 0); /* end of stream */
	REQUIRE_EQ(read(fds[0], buf, sizeof(buf)), 0);
	REQUIRE_EQ(thrum_poll_wait(poll, 0, THRUM_NOW), -EINVAL);
	REQUIRE_EQ(thrum_poll_wait(poll, 3, THRUM_NOW), -EINVAL);
	thrum_poll_close(poll);
	thrum_poll_close(NULL);
	close(fds[0]);
	return NULL;
}

START_TEST(a_pipe_is_waited_for_as_a_level)
{
	green_run(green_workers[_i], pipe_main, NULL);
}
END_TEST

struct waiter {
	struct thrum_poll *poll;
	int result;
};

static void *waits(void *arg)
{
	struct waiter *waiter = arg;
	waiter->result = thrum_poll_wait(waiter->poll, THRUM_READABLE, THRUM_FOREVER);
	return NULL;
}

static void *end_main(void *arg)
{
	struct waiter waiter;
	int fds[2];
	for (int i = 0; i < 100; i++) {
		REQUIRE_EQ(pipe(fds), 0);
		REQUIRE_EQ(thrum_poll_open(&waiter.poll, fds[0]), 0);
		struct thrum_thread *thread = green_spawn(waits, &waiter);
		for (int spins = 0; spins < i % 5; spins++)
			thrum_yield();
		if (i == 50)
			REQUIRE_EQ(thrum_sleep(5 * THRUM_MS), 0);
		thrum_cancel(thread);
		green_join(thread);
		REQUIRE_EQ(waiter.result, -ECANCELED);
		thrum_poll_close(waiter.poll);
		close(fds[0]);
		close(fds[1]);
	}
	REQUIRE_EQ(pipe(fds), 0);
	REQUIRE_EQ(thrum_poll_open(&waiter.poll, fds[0]), 0);
	struct thrum_thread *thread = green_spawn(waits, &waiter);
	green_until_inside(&waiter.poll->refs, 1);
	thrum_poll_close(waiter.poll);
	green_join(thread);
	REQUIRE_EQ(waiter.result, THRUM_ECLOSED);
	close(fds[0]);
	close(fds[1]);
	return NULL;
}

START_TEST(cancelling_and_closing_end_a_wait)
{
	green_run(green_workers[_i], end_main, NULL);
}
END_TEST

/* What a daemon waits for: changes in a directory, and signals. */
static void *daemon_main(void *arg)
{
	char path[] = "/tmp/thrum-poll-XXXXXX", name[64];
	union {
		struct inotify_event event;
		char bytes[512];
	} got;
	struct signalfd_siginfo info;
	struct thrum_poll *changes, *signals;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	REQUIRE(mkdtemp(path) != NULL);
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	REQUIRE(inotify_add_watch(watch, path, IN_CREATE) >= 0);
	REQUIRE_EQ(thrum_poll_open(&changes, watch), 0);
	REQUIRE_EQ(thrum_poll_open(&signals, signal_fd), 0);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "%s/f%d", path, i);
		REQUIRE_EQ(thrum_poll_wait(changes, THRUM_READABLE, THRUM_NOW), -ETIMEDOUT);
		thrum_file_close(thrum_file_open(THRUM_CWD, name, O_WRONLY | O_CREAT, 0600));
		REQUIRE_EQ(thrum_poll_wait(changes, THRUM_READABLE, GREEN_SOON), 0);
		REQUIRE(read(watch, &got, sizeof(got)) > 0);
		REQUIRE(got.event.mask & IN_CREATE);
		REQUIRE_EQ(thrum_fs_unlink(THRUM_CWD, name), 0);
	}
	REQUIRE_EQ(kill(getpid(), SIGUSR1), 0);
	REQUIRE_EQ(thrum_poll_wait(signals, THRUM_READABLE, GREEN_SOON), 0);
	REQUIRE_EQ(read(signal_fd, &info, sizeof(info)), sizeof(info));
	REQUIRE_EQ(info.ssi_signo, SIGUSR1);
	thrum_poll_close(changes);
	thrum_poll_close(signals);
	close(watch);
	close(signal_fd);
	rmdir(path);
	return NULL;
}

START_TEST(directory_changes_and_signals_are_waited_for)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* inherited by the workers */
	green_run(green_workers[_i], daemon_main, NULL);
}
END_TEST

struct foreign {
	int fd;
	int result;
};

static void *waits_once(void *arg)
{
	struct foreign *foreign = arg;
	foreign->result = thrum_fd_wait(foreign->fd, THRUM_READABLE, GREEN_SOON);
	return NULL;
}

static void *foreign_main(void *arg)
{
	struct foreign waiters[4];
	struct thrum_thread *threads[4];
	int fds[2];
	REQUIRE_EQ(pipe(fds), 0);
	REQUIRE_EQ(thrum_fd_wait(fds[0], THRUM_READABLE, THRUM_NOW), -ETIMEDOUT);
	REQUIRE_EQ(thrum_fd_wait(fds[0], THRUM_READABLE, SHORTLY), -ETIMEDOUT);
	REQUIRE_EQ(thrum_fd_wait(fds[1], THRUM_WRITABLE, THRUM_NOW), 0);
	REQUIRE_EQ(thrum_fd_wait(-1, THRUM_READABLE, THRUM_NOW), -EBADF);
	REQUIRE_EQ(thrum_fd_wait(fds[0], 0, THRUM_NOW), -EINVAL);
	for (int i = 0; i < 4; i++) { /* all on one descriptor at once */
		waiters[i] = (struct foreign){.fd = fds[0], .result = 1};
		threads[i] = green_spawn(waits_once, &waiters[i]);
	}
	REQUIRE_EQ(thrum_sleep(5 * THRUM_MS), 0);
	REQUIRE_EQ(write(fds[1], "x", 1), 1);
	for (int i = 0; i < 4; i++) {
		green_join(threads[i]);
		REQUIRE_EQ(waiters[i].result, 0);
	}
	REQUIRE_EQ(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
	close(fds[0]);
	close(fds[1]);
	int regular = thrum_file_open(THRUM_CWD, "/proc/self/exe", O_RDONLY, 0);
	struct thrum_poll *none;
	REQUIRE_EQ(thrum_fd_wait(regular, THRUM_READABLE, THRUM_FOREVER), 0);
	REQUIRE_EQ(thrum_poll_open(&none, regular), -EPERM);
	REQUIRE_EQ(thrum_poll_open(&none, -1), -EBADF);
	thrum_file_close(regular);
	return NULL;
}

START_TEST(a_foreign_descriptor_is_waited_for_once_and_left_as_it_was)
{
	green_run(green_workers[_i], foreign_main, NULL);
}
END_TEST

START_TEST(a_plain_os_thread_waits_too)
{
	struct thrum_poll *poll;
	int fds[2];
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(thrum_poll_open(&poll, fds[0]), 0);
	ck_assert_int_eq(thrum_poll_wait(poll, THRUM_READABLE, SHORTLY), -ETIMEDOUT);
	ck_assert_int_eq(thrum_fd_wait(fds[0], THRUM_READABLE, SHORTLY), -ETIMEDOUT);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	ck_assert_int_eq(thrum_poll_wait(poll, THRUM_READABLE, THRUM_FOREVER), 0);
	ck_assert_int_eq(thrum_fd_wait(fds[0], THRUM_READABLE, THRUM_FOREVER), 0);
	thrum_poll_close(poll);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

Suite *suite_poll(void)
{
	Suite *suite = suite_create("io/poll");
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 30);
	tcase_add_loop_test(basic, a_pipe_is_waited_for_as_a_level, 0, 3);
	tcase_add_loop_test(basic, cancelling_and_closing_end_a_wait, 0, 3);
	tcase_add_loop_test(basic, directory_changes_and_signals_are_waited_for, 0, 3);
	tcase_add_loop_test(
		basic, a_foreign_descriptor_is_waited_for_once_and_left_as_it_was, 0, 3);
	tcase_add_test(basic, a_plain_os_thread_waits_too);
	suite_add_tcase(suite, basic);
	return suite;
}
