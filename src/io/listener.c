/* SPDX-License-Identifier: MIT */
#include <thrum/net.h>

#include "io/io.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The file system path of an address, or NULL (TCP, abstract). */
static const char *path_of(const struct thrum_address *address)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address->addr;
	return address->addr.ss_family == AF_UNIX && un->sun_path[0] != '\0' ? un->sun_path : NULL;
}

/*
 * Is there a socket file at path that nobody listens on? It must refuse a connection: only that is
 * proof.
 */
static bool is_stale(const struct thrum_address *address, const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool refused = connect(fd, (const struct sockaddr *)&address->addr, address->len) < 0 &&
		       thrum__last_error() == -ECONNREFUSED;
	close(fd);
	return refused;
}

static int bind_socket(int fd, const struct thrum_address *address)
{
	const struct sockaddr *addr = (const struct sockaddr *)&address->addr;
	int r = bind(fd, addr, address->len) < 0 ? thrum__last_error() : 0;
	const char *path = path_of(address);
	if (r != -EADDRINUSE || path == NULL || !is_stale(address, path))
		return r;
	if (unlink(path) < 0)
		return thrum__last_error();
	return bind(fd, addr, address->len) < 0 ? thrum__last_error() : 0;
}

static void set_options(int fd, const struct thrum_address *address, unsigned mode)
{
	int on = 1, off = 0;
	if (address->addr.ss_family == AF_UNIX) {
		/*
		 * The file is made with the socket's own mode (less the umask), so it is never open
		 * wider.
		 */
		if (mode != 0)
			fchmod(fd, (mode_t)mode);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->addr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
}

/* Remembers the socket file, and gives it the mode's bits that the umask took. */
static int own_path(struct thrum_listener *listener, const char *path, unsigned mode)
{
	struct stat st;
	memcpy(listener->path, path, strlen(path) + 1);
	if (mode != 0 && chmod(path, (mode_t)mode) < 0)
		return thrum__last_error();
	if (lstat(path, &st) < 0)
		return thrum__last_error();
	listener->dev = st.st_dev;
	listener->ino = st.st_ino;
	return 0;
}

/* A socket that listens on one address, or -errno. */
static int listen_on(struct thrum_listener *listener, const struct thrum_address *address,
	const struct thrum_listen_options *options)
{
	int family = address->addr.ss_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return thrum__last_error();
	set_options(fd, address, options->mode);
	int r = bind_socket(fd, address);
	if (r < 0)
		goto close_fd;
	const char *path = path_of(address);
	if (path != NULL && (r = own_path(listener, path, options->mode)) < 0)
		goto remove_path;
	if (listen(fd, options->backlog > 0 ? options->backlog : INT32_MAX) < 0) {
		r = thrum__last_error();
		goto remove_path;
	}
	r = thrum__socket_address(fd, false, listener->address, sizeof(listener->address));
	if (r == 0)
		r = thrum__sock_open(&listener->sock, fd);
	if (r < 0)
		goto remove_path;
	listener->family = family;
	return 0;
remove_path:
	if (path != NULL)
		unlink(path);
close_fd:
	close(fd);
	return r;
}

int thrum_listener_open(struct thrum_listener **out, const char *address,
	const struct thrum_listen_options *options)
{
	static const struct thrum_listen_options defaults;
	struct thrum__endpoint endpoint;
	struct thrum_dns_result found;
	int r = thrum__endpoint_parse(&endpoint, address);
	if (r == 0)
		r = thrum__endpoint_resolve(&found, &endpoint, true, THRUM_FOREVER);
	if (r < 0)
		return r;
	struct thrum_listener *listener = calloc(1, sizeof(*listener));
	r = -ENOMEM;
	for (size_t i = 0; listener != NULL && i < found.count && r != 0; i++)
		r = listen_on(listener, &found.addresses[i], options != NULL ? options : &defaults);
	thrum_dns_result_fini(&found);
	if (r < 0) {
		free(listener);
		return r;
	}
	*out = listener;
	return 0;
}

/* True for errors of the connection that was to be accepted, not of the listener (accept(2)). */
static bool peer_gave_up(int error)
{
	switch (error) {
	case -ECONNABORTED:
	case -EINTR:
	case -EPROTO:
	case -EPERM: /* a firewall rule */
	case -ENETDOWN:
	case -ENETUNREACH:
	case -EHOSTDOWN:
	case -EHOSTUNREACH:
	case -ENOPROTOOPT:
	case -ENONET:
		return true;
	default:
		return false;
	}
}

/* The next connection's descriptor, or -errno. */
static int accept_fd(struct thrum_listener *listener, thrum_deadline deadline)
{
	for (;;) {
		int fd = accept4(listener->sock.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			return fd;
		int r = thrum__last_error();
		if (thrum__sock_closed(&listener->sock))
			return THRUM_ECLOSED;
		if (peer_gave_up(r))
			continue;
		if (r != -EAGAIN)
			return r;
		r = thrum__sock_wait(&listener->sock, THRUM__READABLE, "socket accept", deadline);
		if (r < 0)
			return r;
	}
}

static void leave(struct thrum_listener *listener)
{
	if (thrum__sock_leave(&listener->sock))
		free(listener);
}

int thrum_listener_accept(
	struct thrum_listener *listener, struct thrum_conn **out, thrum_deadline deadline)
{
	int r = thrum__sock_begin(&listener->sock);
	if (r < 0)
		return r;
	int fd = accept_fd(listener, deadline);
	int family = listener->family;
	if (fd >= 0)
		thrum__sock_breathe(&listener->sock);
	leave(listener);
	if (fd < 0)
		return fd;
	r = thrum__conn_create(out, fd, family);
	if (r < 0)
		close(fd);
	return r;
}

int thrum_listener_address(const struct thrum_listener *listener, char *out, size_t cap)
{
	size_t len = strlen(listener->address);
	if (len >= cap)
		return -ENOSPC;
	memcpy(out, listener->address, len + 1);
	return 0;
}

void thrum_listener_shutdown(struct thrum_listener *listener)
{
	struct stat st;
	if (thrum__sock_shutdown(&listener->sock) && listener->path[0] != '\0' &&
		lstat(listener->path, &st) == 0 && st.st_dev == listener->dev &&
		st.st_ino == listener->ino)
		unlink(listener->path);
	leave(listener);
}

void thrum_listener_close(struct thrum_listener *listener)
{
	if (listener == NULL)
		return;
	thrum_listener_shutdown(listener);
	leave(listener);
}
