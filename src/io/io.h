/* SPDX-License-Identifier: MIT */
#ifndef THRUM_IO_H
#define THRUM_IO_H

/*
 * What the files of this layer share: addresses as strings, and the life of a socket that one
 * thread may close while others are inside a call on it.
 */

#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "reactor/reactor.h"
#include "sched/sched.h"
#include <thrum/dns.h>
#include <thrum/net.h>
#include <thrum/poll.h>
#include <thrum/thread.h>

/*
 * -errno of the system call just made. Not inlined, also by link-time optimisation: errno's address
 * is a constant to the compiler, and a green thread may have moved to another OS thread since it
 * was taken.
 */
THRUM__NOINLINE int thrum__last_error(void);

/* ---- addresses */

enum { THRUM__HOST_MAX = 256, THRUM__SERVICE_MAX = 64 };

/* An address string taken apart: a Unix address, or a host and service still to be looked up. */
struct thrum__endpoint {
	bool is_unix;
	struct thrum_address local; /* is_unix */
	char host[THRUM__HOST_MAX]; /* else; "" means any (to listen on) or this machine (to connect
				       to) */
	char service[THRUM__SERVICE_MAX];
};

/* 0, -EINVAL (malformed), -ENAMETOOLONG. */
int thrum__endpoint_parse(struct thrum__endpoint *out, const char *text);

/*
 * The socket addresses of an endpoint; passive: to listen on. As thrum_dns_resolve; of an empty
 * host to listen on the IPv6 wildcard comes first, as it takes IPv4 connections too.
 */
int thrum__endpoint_resolve(struct thrum_dns_result *out, const struct thrum__endpoint *endpoint,
	bool passive, thrum_deadline deadline);

/* thrum_dns_resolve with getaddrinfo's flags (AI_PASSIVE). */
int thrum__dns_resolve(struct thrum_dns_result *out, const char *host, const char *service,
	int flags, thrum_deadline deadline);

/* The own address of a socket, or its peer's, as a string. 0, -ENOSPC, or -errno. */
int thrum__socket_address(int fd, bool peer, char *out, size_t cap);

/* ---- sockets */

/*
 * Protocol. The owner holds one reference, every call holds one while it is inside.
 *   enter     fails once closed; else takes a reference
 *   shutdown  takes a reference, sets closed, then shuts the socket down in the kernel: a call that
 *             waits is woken by the hang-up, a call that is about to wait finds it: none sleeps on
 *   leave     gives the reference back; the last one closes the descriptor
 * So no descriptor number is given back to the kernel while a call might still use it. Shutdown
 * needs its reference because closed is seen before the kernel is asked: the owner may learn of it
 * from a call that did not wait, and close the handle meanwhile.
 */
struct thrum__sock {
	int fd;
	uint32_t refs;   /* atomic; pairs: leave releases, the last leave acquires */
	uint32_t closed; /* atomic; set before the kernel's shutdown, read after the system call */
	uint32_t streak; /* atomic; calls done since the last wait */
	struct thrum__pollable *pollable;
};

/* Takes a non-blocking fd on success. 0 or -errno. */
int thrum__sock_open(struct thrum__sock *sock, int fd);

/* 0, or THRUM_ECLOSED without a reference. */
int thrum__sock_enter(struct thrum__sock *sock);

/* The same for calls that may suspend: also -ECANCELED, without a reference. */
int thrum__sock_begin(struct thrum__sock *sock);

/* True: that was the last one, the descriptor is closed, and the caller frees what sock lies in. */
bool thrum__sock_leave(struct thrum__sock *sock);

/* Marks the socket closed and wakes its waiters; always takes a reference. True the first time. */
bool thrum__sock_shutdown(struct thrum__sock *sock);

/*
 * The owner's shutdown and leave. Where no call is inside, the kernel need not be asked to wake
 * anybody, and a descriptor that other processes share keeps working for them. True as leave.
 */
bool thrum__sock_close(struct thrum__sock *sock);

bool thrum__sock_closed(const struct thrum__sock *sock);

/* Waits for readiness: 0, -ETIMEDOUT, -ECANCELED, THRUM_ECLOSED. */
int thrum__sock_wait(
	struct thrum__sock *sock, int events, const char *reason, thrum_deadline deadline);

/*
 * A socket that is always ready would let its thread run on for ever: counts a call that was done
 * without a wait, and after many lets others run. Between enter and leave.
 */
void thrum__sock_breathe(struct thrum__sock *sock);

struct thrum_conn {
	struct thrum__sock sock;
	int family;
	struct thrum_thread *drained_by; /* atomic; whose read, a short one, was last; or NULL */
};

struct thrum_listener {
	struct thrum__sock sock;
	int family;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* of the socket file, or "" */
	dev_t dev; /* which file we made there: we remove no other */
	ino_t ino;
	char address[THRUM_ADDRESS_MAX];
};

struct thrum_poll {
	int fd;        /* the duplicate */
	uint32_t refs; /* atomic: the owner's, and one for each wait inside */
	struct thrum__pollable *pollable;
};

/* A connection around fd, which it takes on success. 0, -ENOMEM, or an error of the reactor. */
int thrum__conn_create(struct thrum_conn **out, int fd, int family);

#endif
