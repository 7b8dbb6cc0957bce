/* SPDX-License-Identifier: MIT */
#include <thrum/poll.h>

#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The reactor reports edges; callers of these functions expect a level. So a wait asks poll(2)
 * first, and again after it was woken: that counts as the try that must come before a wait for the
 * next edge.
 *
 * What is registered is a duplicate of the caller's descriptor: it may then be waited on through
 * several handles, and a caller that closes its own too early does no harm.
 */
_Static_assert((int)THRUM_READABLE == (int)THRUM__READABLE, "one numbering");
_Static_assert((int)THRUM_WRITABLE == (int)THRUM__WRITABLE, "one numbering");

/* 1 ready, 0 not, or -errno. Never suspends. */
static int look(int fd, int events)
{
	if (fd < 0)
		return -EBADF; /* poll(2) would pass over it */
	struct pollfd pollfd = {
		.fd = fd, .events = events == THRUM_READABLE ? POLLIN | POLLRDHUP : POLLOUT};
	int n;
	do
		n = poll(&pollfd, 1, 0);
	while (n < 0 && thrum__last_error() == -EINTR);
	if (n < 0)
		return thrum__last_error();
	return pollfd.revents & POLLNVAL ? -EBADF : n;
}

int thrum_poll_open(struct thrum_poll **out, int fd)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return thrum__last_error();
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return -EPERM; /* as epoll says, but also where there is none to ask */
	struct thrum_poll *poll = malloc(sizeof(*poll));
	if (poll == NULL)
		return -ENOMEM;
	int r;
	poll->refs = 1;
	poll->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (poll->fd < 0) {
		r = thrum__last_error();
		goto free_poll;
	}
	r = thrum__pollable_watch(&poll->pollable, poll->fd);
	if (r < 0)
		goto close_fd;
	*out = poll;
	return 0;
close_fd:
	close(poll->fd);
free_poll:
	free(poll);
	return r;
}

static void leave(struct thrum_poll *poll)
{
	if (__atomic_fetch_sub(&poll->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	thrum__pollable_close(poll->pollable);
	close(poll->fd);
	free(poll);
}

int thrum_poll_wait(struct thrum_poll *poll, int events, thrum_deadline deadline)
{
	if (events != THRUM_READABLE && events != THRUM_WRITABLE)
		return -EINVAL;
	if (thrum__cancel_due())
		return -ECANCELED;
	__atomic_fetch_add(&poll->refs, 1, __ATOMIC_RELAXED);
	int r;
	while ((r = look(poll->fd, events)) == 0) {
		r = thrum__pollable_wait(poll->pollable, events, "poll", deadline);
		if (r < 0)
			break;
	}
	leave(poll);
	return r < 0 ? r : 0;
}

void thrum_poll_close(struct thrum_poll *poll)
{
	if (poll == NULL)
		return;
	thrum__pollable_shut(poll->pollable);
	leave(poll);
}

int thrum_fd_wait(int fd, int events, thrum_deadline deadline)
{
	struct thrum_poll *poll;
	if (events != THRUM_READABLE && events != THRUM_WRITABLE)
		return -EINVAL;
	if (thrum__cancel_due())
		return -ECANCELED;
	int r = look(fd, events);
	if (r != 0 || deadline == THRUM_NOW)
		return r < 0 ? r : r > 0 ? 0 : -ETIMEDOUT;
	r = thrum_poll_open(&poll, fd);
	if (r < 0)
		return r;
	r = thrum_poll_wait(poll, events, deadline);
	thrum_poll_close(poll);
	return r;
}
