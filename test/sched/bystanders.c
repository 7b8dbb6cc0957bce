/* SPDX-License-Identifier: MIT */
#include "behave.h"

#include <pthread.h>
#include <sys/socket.h>

/*
 * Bystanders: threads that need others, the clock, descriptors or OS threads to get their work
 * done, one kind a function. Each returns once it has done all of it.
 */

#if defined(THRUM__TSAN) || defined(THRUM__ASAN)
enum { ROUNDS = 5 };
#else
enum { ROUNDS = 20 };
#endif

static void *by_sleeping(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		must(thrum_sleep(THRUM_MS) == 0);
	return arg;
}

static void *by_yielding(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		thrum_yield();
	return arg;
}

static void *by_spawning(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		bool ran = false;
		struct thrum_thread *child = start(raise_flag, &ran);
		if (i % 2 == 0)
			yield_until(&ran);
		finish(child);
		must(flag_get(&ran));
	}
	return arg;
}

/* One end of a socket pair that this runtime serves; sends each byte back. */
static void *echo(void *arg)
{
	int fd = *(int *)arg;
	struct thrum_poll *poll = NULL;
	char byte;
	must(thrum_poll_open(&poll, fd) == 0);
	for (;;) {
		ssize_t n = read(fd, &byte, 1);
		if (n == 1)
			must(write(fd, &byte, 1) == 1);
		else if (n == 0 || thrum_poll_wait(poll, THRUM_READABLE, THRUM_FOREVER) != 0)
			break;
	}
	thrum_poll_close(poll);
	return NULL;
}

static bool ask_and_wait(int fd, struct thrum_poll *poll)
{
	char byte = 'x';
	if (write(fd, &byte, 1) != 1)
		return false;
	while (read(fd, &byte, 1) != 1)
		if (thrum_poll_wait(poll, THRUM_READABLE, THRUM_FOREVER) != 0)
			return false;
	return byte == 'x';
}

static void *by_socket(void *arg)
{
	int fds[2];
	struct thrum_poll *poll = NULL;
	if (!must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0))
		return NULL;
	struct thrum_thread *server = start(echo, &fds[1]);
	must(thrum_poll_open(&poll, fds[0]) == 0);
	for (int i = 0; i < ROUNDS; i++)
		must(ask_and_wait(fds[0], poll));
	thrum_poll_close(poll);
	close(fds[0]);
	finish(server);
	close(fds[1]);
	return arg;
}

struct foreign {
	int fd;
	struct thrum_semaphore there, back;
};

static void *foreign_client(void *arg)
{
	struct foreign *foreign = arg;
	char byte = 'y';
	for (int i = 0; i < ROUNDS; i++)
		if (!must(write(foreign->fd, &byte, 1) == 1 && read(foreign->fd, &byte, 1) == 1))
			break;
	close(foreign->fd);
	return NULL;
}

/* The other end is an OS thread's, so that each byte comes from outside. */
static void *by_foreign_socket(void *arg)
{
	int fds[2];
	pthread_t client;
	if (!must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0))
		return NULL;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	struct foreign foreign = {.fd = fds[1]};
	must(pthread_create(&client, NULL, foreign_client, &foreign) == 0);
	echo(&fds[0]); /* ends when the client closes its end */
	must(pthread_join(client, NULL) == 0);
	close(fds[0]);
	return arg;
}

static void *foreign_waker(void *arg)
{
	struct foreign *foreign = arg;
	for (int i = 0; i < ROUNDS; i++) {
		must(thrum_semaphore_acquire(&foreign->there, THRUM_FOREVER) == 0);
		thrum_semaphore_release(&foreign->back, 1);
	}
	return NULL;
}

static void *by_foreign_wake(void *arg)
{
	struct foreign foreign = {.fd = -1};
	pthread_t waker;
	must(pthread_create(&waker, NULL, foreign_waker, &foreign) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		thrum_semaphore_release(&foreign.there, 1);
		must(thrum_semaphore_acquire(&foreign.back, THRUM_FOREVER) == 0);
	}
	must(pthread_join(waker, NULL) == 0);
	return arg;
}

static void *identity(void *arg)
{
	must(thrum_self() == NULL);
	return arg;
}

static void *by_blocking(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		void *result = NULL;
		must(thrum_blocking(identity, &result, &result) == 0 && result == &result);
	}
	return arg;
}

const thrum_fn bystanders[BYSTANDERS] = {by_sleeping, by_yielding, by_spawning, by_socket,
	by_foreign_socket, by_foreign_wake, by_blocking};
