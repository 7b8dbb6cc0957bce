/* SPDX-License-Identifier: MIT */
#include <thrum/net.h>

#include "io/io.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The pause between tries while a Unix listener's queue is full, which the kernel does not
 * announce.
 */
#define QUEUE_FULL_PAUSE (2 * THRUM_MS)

/* What became of a connect that was under way: 0, -EINPROGRESS (it still is), or -errno. */
static int connect_result(int fd)
{
	struct sockaddr_storage peer;
	socklen_t peer_len = sizeof(peer);
	int error;
	socklen_t len = sizeof(error);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return thrum__last_error();
	if (error != 0)
		return -error;
	return getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 ? 0 : -EINPROGRESS;
}

/*
 * A TCP connect to a free port of this machine may meet itself, when the kernel picks that very
 * port for the near end: both ends are then one socket.
 */
static bool met_itself(int fd, const struct thrum_address *to)
{
	struct sockaddr_in6 near; /* the port lies at the same place in both families */
	socklen_t len = sizeof(near);
	if (to->addr.ss_family == AF_UNIX || getsockname(fd, (struct sockaddr *)&near, &len) < 0 ||
		near.sin6_port != ((const struct sockaddr_in6 *)&to->addr)->sin6_port)
		return false;
	struct sockaddr_in6 far;
	socklen_t far_len = sizeof(far);
	return getpeername(fd, (struct sockaddr *)&far, &far_len) == 0 && far_len == len &&
	       memcmp(&near, &far, len) == 0;
}

/* Connects a socket that already has its reactor handle. 0 or -errno. */
static int connect_socket(
	struct thrum__sock *sock, const struct thrum_address *to, thrum_deadline deadline)
{
	int r;
	for (;;) {
		r = connect(sock->fd, (const struct sockaddr *)&to->addr, to->len);
		r = r < 0 ? thrum__last_error() : 0;
		if (r != -EAGAIN)
			break;
		/* Only of a Unix socket: the listener's queue is full. */
		if (thrum_now() >= deadline)
			return -ETIMEDOUT;
		thrum_deadline next = thrum_after(QUEUE_FULL_PAUSE);
		r = thrum_sleep_until(next < deadline ? next : deadline);
		if (r < 0)
			return r;
	}
	if (r == -EINTR)
		r = -EINPROGRESS;
	while (r == -EINPROGRESS) {
		/* Readiness is a hint: a fresh socket counts as hung up until it begins to connect.
		 */
		r = thrum__sock_wait(sock, THRUM__WRITABLE, "socket connect", deadline);
		if (r == 0)
			r = connect_result(sock->fd);
	}
	return r == 0 && met_itself(sock->fd, to) ? -ECONNREFUSED : r;
}

/* A socket connected to one address, or -errno. */
static int dial_one(
	struct thrum_conn **out, const struct thrum_address *to, thrum_deadline deadline)
{
	int family = to->addr.ss_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return thrum__last_error();
	struct thrum_conn *conn;
	int r = thrum__conn_create(&conn, fd, family);
	if (r < 0) {
		close(fd);
		return r;
	}
	r = connect_socket(&conn->sock, to, deadline);
	if (r < 0) {
		thrum_conn_close(conn);
		return r;
	}
	*out = conn;
	return 0;
}

/* The share of one of `left` addresses in the time that remains. */
static thrum_deadline share(thrum_deadline deadline, size_t left)
{
	if (deadline == THRUM_FOREVER || left <= 1)
		return deadline;
	int64_t now = thrum_now();
	return deadline <= now ? deadline : now + (deadline - now) / (int64_t)left;
}

int thrum_conn_open(struct thrum_conn **out, const char *address, thrum_deadline deadline)
{
	struct thrum__endpoint endpoint;
	struct thrum_dns_result found;
	int r = thrum__endpoint_parse(&endpoint, address);
	if (r == 0 && thrum__cancel_due())
		r = -ECANCELED; /* a Unix socket may connect without a wait */
	if (r == 0)
		r = thrum__endpoint_resolve(&found, &endpoint, false, deadline);
	if (r < 0)
		return r;
	int first = 0;
	for (size_t i = 0; i < found.count; i++) {
		r = dial_one(out, &found.addresses[i], share(deadline, found.count - i));
		if (r == 0 || r == -ECANCELED)
			break;
		first = first != 0 ? first : r;
		if (deadline != THRUM_FOREVER && i + 1 < found.count && thrum_now() >= deadline) {
			first = -ETIMEDOUT;
			break;
		}
	}
	thrum_dns_result_fini(&found);
	return r == 0 || r == -ECANCELED ? r : first;
}
