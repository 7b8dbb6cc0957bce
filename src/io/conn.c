/* SPDX-License-Identifier: MIT */
#include <thrum/net.h>

#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

int thrum__conn_create(struct thrum_conn **out, int fd, int family)
{
	struct thrum_conn *conn = malloc(sizeof(*conn));
	if (conn == NULL)
		return -ENOMEM;
	conn->family = family;
	conn->drained_by = NULL;
	int r = thrum__sock_open(&conn->sock, fd);
	if (r < 0) {
		free(conn);
		return r;
	}
	if (family == AF_INET || family == AF_INET6) {
		/* Callers write whole messages; waiting to merge them only adds latency. */
		int on = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	*out = conn;
	return 0;
}

/* 0 if fd is a connected stream socket; its family. */
static int check_stream(int fd, int *family)
{
	int type;
	socklen_t len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return thrum__last_error();
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	struct sockaddr_storage peer;
	len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return thrum__last_error();
	len = sizeof(*family);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, family, &len) < 0 ? thrum__last_error() : 0;
}

int thrum_conn_from_fd(struct thrum_conn **out, int fd)
{
	int family;
	int r = check_stream(fd, &family);
	if (r < 0)
		return r;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return thrum__last_error();
	return thrum__conn_create(out, fd, family);
}

int thrum_conn_pair(struct thrum_conn *out[2])
{
	int fds[2];
	struct thrum_conn *first;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return thrum__last_error();
	int r = thrum__conn_create(&first, fds[0], AF_UNIX);
	if (r < 0)
		goto close_both;
	r = thrum__conn_create(&out[1], fds[1], AF_UNIX);
	if (r < 0)
		goto close_first;
	out[0] = first;
	return 0;
close_both:
	close(fds[0]);
	close(fds[1]);
	return r;
close_first:
	thrum_conn_close(first);
	close(fds[1]);
	return r;
}

static void leave(struct thrum_conn *conn)
{
	if (thrum__sock_leave(&conn->sock))
		free(conn);
}

/*
 * A system call's error after which the call ends: a closed socket says so, whatever the kernel
 * says.
 */
static int failed(struct thrum_conn *conn, int error)
{
	return thrum__sock_closed(&conn->sock) ? THRUM_ECLOSED : error;
}

/* One recv. Remembers who read the socket empty. Bytes, 0 at the end, or -errno. */
static ssize_t receive_some(struct thrum_conn *conn, void *buf, size_t len)
{
	ssize_t n;
	do
		n = recv(conn->sock.fd, buf, len, 0);
	while (n < 0 && thrum__last_error() == -EINTR);
	if (n < 0)
		n = thrum__last_error();
	bool drained = n > 0 && (size_t)n < len && conn->family != AF_UNIX;
	__atomic_store_n(&conn->drained_by, drained ? thrum_self() : NULL, __ATOMIC_RELAXED);
	return n;
}

/*
 * After a short read the next one goes straight to its wait: in a ping-pong every other recv would
 * say EAGAIN. TCP only, as a Unix socket also ends a read where the sender's credentials change.
 * (TCP ends one at urgent data; a peer that sends such stalls nobody's stream but its own.) Only
 * for the thread that made the short read, which is what the reactor asks for. A try that has no
 * time to wait, or no more time, still looks.
 */
static bool may_skip_try(struct thrum_conn *conn, thrum_deadline deadline)
{
	struct thrum_thread *who = __atomic_load_n(&conn->drained_by, __ATOMIC_RELAXED);
	return who != NULL && who == thrum_self() && deadline != THRUM_NOW;
}

static ssize_t receive(struct thrum_conn *conn, void *buf, size_t len, thrum_deadline deadline)
{
	bool skip = may_skip_try(conn, deadline);
	int waited = 0;
	for (;;) {
		ssize_t n = skip ? -EAGAIN : receive_some(conn, buf, len);
		if (n > 0) {
			thrum__sock_breathe(&conn->sock);
			return n;
		}
		if (n != -EAGAIN)
			return failed(conn, (int)n);
		if (waited < 0)
			return waited;
		waited = thrum__sock_wait(&conn->sock, THRUM__READABLE, "socket read", deadline);
		if (waited < 0 && !(skip && waited == -ETIMEDOUT))
			return waited;
		skip = false;
	}
}

ssize_t thrum_conn_read(struct thrum_conn *conn, void *buf, size_t len, thrum_deadline deadline)
{
	if (len == 0)
		return -EINVAL;
	int r = thrum__sock_begin(&conn->sock);
	if (r < 0)
		return r;
	ssize_t n = receive(conn, buf, len, deadline);
	leave(conn);
	return n;
}

int thrum_conn_read_exact(
	struct thrum_conn *conn, void *buf, size_t len, size_t *done, thrum_deadline deadline)
{
	size_t got = 0;
	int r = thrum__sock_begin(&conn->sock);
	bool entered = r == 0;
	while (r == 0 && got < len) {
		ssize_t n = receive(conn, (char *)buf + got, len - got, deadline);
		if (n > 0)
			got += (size_t)n;
		else
			r = n == 0 ? THRUM_EEOF : (int)n;
	}
	if (entered)
		leave(conn);
	if (done != NULL)
		*done = got;
	return r;
}

/* Where a gathering write stands: the pieces still to go, the first of them from `skip` on. */
struct cursor {
	const struct iovec *piece;
	int left;
	size_t skip;
};

static void advance(struct cursor *at, size_t n)
{
	n += at->skip;
	while (at->left > 0 && n >= at->piece->iov_len) {
		n -= at->piece->iov_len;
		at->piece++;
		at->left--;
	}
	at->skip = n;
}

/* One system call's worth of the pieces at the cursor. Bytes taken, or -errno. */
static ssize_t send_some(int fd, const struct cursor *at)
{
	ssize_t n;
	if (at->left == 1) {
		n = send(fd, (char *)at->piece->iov_base + at->skip, at->piece->iov_len - at->skip,
			MSG_NOSIGNAL);
		return n < 0 ? thrum__last_error() : n;
	}
	struct iovec window[16];
	int count = at->left < (int)thrum__countof(window) ? at->left : (int)thrum__countof(window);
	memcpy(window, at->piece, (size_t)count * sizeof(window[0]));
	window[0].iov_base = (char *)window[0].iov_base + at->skip;
	window[0].iov_len -= at->skip;
	struct msghdr message = {.msg_iov = window, .msg_iovlen = (size_t)count};
	n = sendmsg(fd, &message, MSG_NOSIGNAL);
	return n < 0 ? thrum__last_error() : n;
}

static int transmit(
	struct thrum_conn *conn, struct cursor *at, size_t *done, thrum_deadline deadline)
{
	advance(at, 0); /* past empty pieces */
	while (at->left > 0) {
		ssize_t n = send_some(conn->sock.fd, at);
		if (n >= 0) {
			advance(at, (size_t)n);
			*done += (size_t)n;
			thrum__sock_breathe(&conn->sock);
			continue;
		}
		if (n == -EINTR)
			continue;
		if (n != -EAGAIN)
			return failed(conn, (int)n);
		int r = thrum__sock_wait(&conn->sock, THRUM__WRITABLE, "socket write", deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

int thrum_conn_writev(struct thrum_conn *conn, const struct iovec *pieces, int count, size_t *done,
	thrum_deadline deadline)
{
	size_t sent = 0;
	int r = count < 0 ? -EINVAL : thrum__sock_begin(&conn->sock);
	if (r == 0) {
		struct cursor at = {.piece = pieces, .left = count};
		r = transmit(conn, &at, &sent, deadline);
		leave(conn);
	}
	if (done != NULL)
		*done = sent;
	return r;
}

int thrum_conn_write(
	struct thrum_conn *conn, const void *buf, size_t len, size_t *done, thrum_deadline deadline)
{
	struct iovec piece = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	return thrum_conn_writev(conn, &piece, 1, done, deadline);
}

int thrum_conn_shutdown_write(struct thrum_conn *conn)
{
	int r = thrum__sock_enter(&conn->sock);
	if (r < 0)
		return r;
	if (shutdown(conn->sock.fd, SHUT_WR) < 0)
		r = failed(conn, thrum__last_error());
	leave(conn);
	return r;
}

void thrum_conn_shutdown(struct thrum_conn *conn)
{
	thrum__sock_shutdown(&conn->sock);
	leave(conn);
}

void thrum_conn_close(struct thrum_conn *conn)
{
	if (conn == NULL)
		return;
	if (thrum__sock_close(&conn->sock))
		free(conn);
}

static int address_of(struct thrum_conn *conn, bool peer, char *out, size_t cap)
{
	int r = thrum__sock_enter(&conn->sock);
	if (r < 0)
		return r;
	r = thrum__socket_address(conn->sock.fd, peer, out, cap);
	leave(conn);
	return r;
}

int thrum_conn_local_address(struct thrum_conn *conn, char *out, size_t cap)
{
	return address_of(conn, false, out, cap);
}

int thrum_conn_peer_address(struct thrum_conn *conn, char *out, size_t cap)
{
	return address_of(conn, true, out, cap);
}

int thrum_conn_peer_credentials(struct thrum_conn *conn, struct thrum_credentials *out)
{
	if (conn->family != AF_UNIX)
		return -EAFNOSUPPORT;
	int r = thrum__sock_enter(&conn->sock);
	if (r < 0)
		return r;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(conn->sock.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		r = thrum__last_error();
	else
		*out = (struct thrum_credentials){
			.pid = peer.pid, .uid = peer.uid, .gid = peer.gid};
	leave(conn);
	return r;
}

int thrum_conn_fd(const struct thrum_conn *conn)
{
	return conn->sock.fd;
}
