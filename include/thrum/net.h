/* SPDX-License-Identifier: MIT */
#ifndef THRUM_NET_H
#define THRUM_NET_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <thrum/error.h>
#include <thrum/time.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Stream sockets, TCP and Unix, as blocking calls.
 *
 * Addresses are strings:
 *   "host:port"        a name or an IPv4 address; the port may be a service name
 *   "[v6]:port"        an IPv6 address, "[fe80::1%eth0]:80" with its scope
 *   ":port"            listening: every address of this machine; connecting: this machine
 *   "unix:/path"       a Unix socket in the file system
 *   "unix:@name"       a Unix socket in Linux's abstract name space
 *
 * One green thread may read and another write the same connection at once. Calls of the same
 * direction at once are safe, but who gets which bytes is then anybody's guess. Green threads of
 * any runtime and plain OS threads may share one, and it may outlive the runtime it was opened in.
 *
 * Errors every call may give: -ECANCELED (the green thread was asked to stop), -ETIMEDOUT (the
 * deadline), THRUM_ECLOSED (somebody closed or shut down the handle meanwhile). SIGPIPE is never
 * raised.
 */
struct thrum_conn;
struct thrum_listener;

/* Room for any address as a string, the closing NUL included. */
#define THRUM_ADDRESS_MAX 192

/* How a listener is set up. All-zero means the defaults. */
struct thrum_listen_options {
	int backlog;   /* connections that may wait for accept; 0: the system's most */
	unsigned mode; /* permission bits of a Unix socket's file; 0: what the umask gives */
	unsigned reserved_[4]; /* zero */
};

/* Who is at the other end of a Unix socket, as of its connect or listen. */
struct thrum_credentials {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/*
 * Starts to listen. TCP: SO_REUSEADDR is set; port 0 picks a free port (see
 * thrum_listener_address). Unix: a socket file that nobody listens on any more is removed first;
 * one in use is left alone. Two processes that take over one stale file at the same moment need
 * a lock of their own.
 * out: gives the listener. options: NULL for the defaults; borrowed for the call.
 * Returns 0, -EINVAL (malformed address), THRUM_ENOHOST, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES,
 * -ENAMETOOLONG, -ENOMEM, -EMFILE, or another errno of socket, bind and listen.
 * Context: green thread or OS thread. Suspends: may, only to look up a host name. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_listener_open(struct thrum_listener **out, const char *address,
	const struct thrum_listen_options *options);

/*
 * Waits for the next connection. Connections that broke off while they queued are skipped.
 * out: gives the connection; untouched on failure.
 * Returns 0, -ETIMEDOUT, -ECANCELED, THRUM_ECLOSED, -EMFILE or -ENFILE (the connection stays
 * queued; close something, wait a little, try again), -ENOMEM (it may have been dropped).
 * Any number of threads may accept at once.
 * Context: green thread or OS thread. Suspends: may. Timed out or cancelled, none was taken.
 * Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_listener_accept(
	struct thrum_listener *listener, struct thrum_conn **out, thrum_deadline deadline);

/*
 * The address listened on, as a string that connect takes ("127.0.0.1:40123", "unix:/run/x").
 * out: cap bytes, THRUM_ADDRESS_MAX always do. Returns 0 or -ENOSPC.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_listener_address(
	const struct thrum_listener *listener, char *out, size_t cap);

/*
 * Ends listening and wakes whoever waits in accept with THRUM_ECLOSED; the handle stays valid,
 * and every later accept fails so. For the thread that stops a server which another thread
 * closes.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_listener_shutdown(struct thrum_listener *listener);

/*
 * thrum_listener_shutdown, and takes the handle. A Unix socket's file is removed if it is still
 * this listener's. NULL is fine. Calls already inside end with THRUM_ECLOSED; none may start
 * afterwards.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_listener_close(struct thrum_listener *listener);

/*
 * Connects. A host name's addresses are tried in turn, each with its fair share of the time
 * left. TCP connections get TCP_NODELAY.
 * out: gives the connection; untouched on failure.
 * Returns 0, -EINVAL (malformed address), THRUM_ENOHOST, -EAGAIN (no name server answered),
 * -ETIMEDOUT, -ECANCELED, -ECONNREFUSED, -EHOSTUNREACH, -ENOENT (no such Unix socket), -ENOMEM,
 * -EMFILE, or another errno of socket and connect; of several addresses, the first one's error.
 * Context: green thread or OS thread. Suspends: may. Timed out or cancelled, nothing stays open.
 * Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_open(
	struct thrum_conn **out, const char *address, thrum_deadline deadline);

/*
 * Wraps a connected stream socket. fd: taken, and made non-blocking and close-on-exec; on
 * failure it stays the caller's. out: gives the connection.
 * Returns 0, -ENOTSOCK, -EPROTOTYPE (not a stream socket), -ENOMEM, -EBADF.
 * Context: green thread or OS thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_from_fd(struct thrum_conn **out, int fd);

/*
 * Two connections that are each other's peer (an unnamed Unix socket pair). out: gives both.
 * Returns 0, -ENOMEM, -EMFILE. Context: green thread or OS thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_pair(struct thrum_conn *out[2]);

/*
 * Reads what is there, at least one byte, at most len.
 * buf: borrowed for the call; written only as far as the result says. len: > 0.
 * Returns the number of bytes, 0 at the end of the stream (the peer closed or shut down its
 * writing side), -ETIMEDOUT, -ECANCELED, THRUM_ECLOSED, -ECONNRESET, -EINVAL (len 0), or another
 * errno of recv.
 * Context: green thread or OS thread. Suspends: may. Timed out or cancelled, no byte was taken.
 * Since: 0.1.
 */
THRUM_NODISCARD THRUM_API ssize_t thrum_conn_read(
	struct thrum_conn *conn, void *buf, size_t len, thrum_deadline deadline);

/*
 * Reads exactly len bytes.
 * done: NULL, or how many bytes buf got, exact whatever the result.
 * Returns 0 (all of them), THRUM_EEOF (the stream ended first; *done == 0 means between two
 * messages), or an error of thrum_conn_read. len 0 is done at once.
 * Context: green thread or OS thread. Suspends: may. Timed out or cancelled, *done bytes were
 * taken. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_read_exact(
	struct thrum_conn *conn, void *buf, size_t len, size_t *done, thrum_deadline deadline);

/*
 * Writes all len bytes: returns once the kernel has taken them.
 * buf: borrowed for the call. done: NULL, or how many bytes the kernel took, exact whatever the
 * result.
 * Returns 0 (all of them), -ETIMEDOUT, -ECANCELED, THRUM_ECLOSED, -EPIPE (the peer reads no
 * more, or the writing side was shut down here), -ECONNRESET, or another errno of send.
 * Context: green thread or OS thread. Suspends: may. Timed out or cancelled, the stream goes on
 * after *done bytes: who wants to go on writes the rest. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_write(struct thrum_conn *conn, const void *buf, size_t len,
	size_t *done, thrum_deadline deadline);

/*
 * thrum_conn_write of several pieces, in order. pieces: borrowed for the call, never changed.
 * Returns as thrum_conn_write, and -EINVAL (count < 0). Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_writev(struct thrum_conn *conn, const struct iovec *pieces,
	int count, size_t *done, thrum_deadline deadline);

/*
 * Ends the writing side: the peer reads what was written, then the end of the stream. Reading
 * goes on.
 * Returns 0, THRUM_ECLOSED, -ENOTCONN (the connection is broken).
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_shutdown_write(struct thrum_conn *conn);

/*
 * Ends the connection both ways and wakes whoever waits in a call on it with THRUM_ECLOSED; the
 * handle stays valid, and every later call fails so. For the thread that stops a connection
 * which another thread closes.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_conn_shutdown(struct thrum_conn *conn);

/*
 * thrum_conn_shutdown, and takes the handle. NULL is fine. Bytes already written still reach the
 * peer; but over TCP, if input was left unread, the kernel resets the connection and may drop them.
 * Calls already inside end with THRUM_ECLOSED; none may start afterwards.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API void thrum_conn_close(struct thrum_conn *conn);

/*
 * The own and the peer's address as strings; "unix:" for an unnamed Unix socket.
 * out: cap bytes, THRUM_ADDRESS_MAX always do. Returns 0, -ENOSPC, THRUM_ECLOSED, -ENOTCONN (the
 * peer is gone).
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_local_address(
	struct thrum_conn *conn, char *out, size_t cap);
THRUM_NODISCARD THRUM_API int thrum_conn_peer_address(
	struct thrum_conn *conn, char *out, size_t cap);

/*
 * The process and user at the other end of a Unix socket, from the kernel (SO_PEERCRED).
 * Returns 0, -EAFNOSUPPORT (not a Unix socket), THRUM_ECLOSED.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_conn_peer_credentials(
	struct thrum_conn *conn, struct thrum_credentials *out);

/*
 * The descriptor, borrowed, for socket options. It stays non-blocking and open.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API int thrum_conn_fd(const struct thrum_conn *conn);

#ifdef __cplusplus
}
#endif
#endif
