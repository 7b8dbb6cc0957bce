/* SPDX-License-Identifier: MIT */
#include "io/io.h"

#include <errno.h>
#include <unistd.h>

enum { STREAK_MAX = 64 }; /* calls without a wait before others get their turn */

int thrum__last_error(void)
{
	__asm__ volatile("");
	return -errno;
}

int thrum__sock_open(struct thrum__sock *sock, int fd)
{
	*sock = (struct thrum__sock){.fd = fd, .refs = 1};
	return thrum__pollable_open(&sock->pollable, fd);
}

bool thrum__sock_closed(const struct thrum__sock *sock)
{
	return __atomic_load_n(&sock->closed, __ATOMIC_ACQUIRE) != 0;
}

int thrum__sock_enter(struct thrum__sock *sock)
{
	if (thrum__sock_closed(sock))
		return THRUM_ECLOSED;
	__atomic_fetch_add(&sock->refs, 1, __ATOMIC_RELAXED);
	return 0;
}

int thrum__sock_begin(struct thrum__sock *sock)
{
	return thrum__cancel_due() ? -ECANCELED : thrum__sock_enter(sock);
}

bool thrum__sock_leave(struct thrum__sock *sock)
{
	if (__atomic_fetch_sub(&sock->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return false;
	thrum__pollable_close(sock->pollable);
	close(sock->fd);
	return true;
}

/* True the first time. Under a reference. */
static bool hang_up(struct thrum__sock *sock)
{
	if (__atomic_exchange_n(&sock->closed, 1, __ATOMIC_ACQ_REL) != 0)
		return false;
	/* ENOTCONN: the peer has reset it; then it has hung up already and nobody sleeps on. */
	shutdown(sock->fd, SHUT_RDWR);
	return true;
}

bool thrum__sock_shutdown(struct thrum__sock *sock)
{
	__atomic_fetch_add(&sock->refs, 1, __ATOMIC_RELAXED);
	return hang_up(sock);
}

bool thrum__sock_close(struct thrum__sock *sock)
{
	if (__atomic_load_n(&sock->refs, __ATOMIC_ACQUIRE) > 1)
		hang_up(sock);
	return thrum__sock_leave(sock);
}

int thrum__sock_wait(
	struct thrum__sock *sock, int events, const char *reason, thrum_deadline deadline)
{
	__atomic_store_n(&sock->streak, 0, __ATOMIC_RELAXED);
	int r = thrum__pollable_wait(sock->pollable, events, reason, deadline);
	return thrum__sock_closed(sock) ? THRUM_ECLOSED : r;
}

void thrum__sock_breathe(struct thrum__sock *sock)
{
	if (__atomic_add_fetch(&sock->streak, 1, __ATOMIC_RELAXED) < STREAK_MAX)
		return;
	__atomic_store_n(&sock->streak, 0, __ATOMIC_RELAXED);
	thrum_yield();
}
