/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "green.h"
#include "io/io.h"
#include <thrum/dns.h>
#include <thrum/net.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Calls that end early: deadlines, cancellation, closing, peers that reset, stall or are not there.
 */

#define SHORTLY thrum_after(20 * THRUM_MS)

enum { LOTS = 8 << 20 };

static const char lots[LOTS];

/* An abstract Unix address that no other run of these tests has. */
static const char *abstract_address(void)
{
	static char text[64];
	snprintf(text, sizeof(text), "unix:@thrum-net-end-%d", getpid());
	return text;
}

/* Two ends of one TCP connection. */
static void connect_tcp(struct thrum_conn *ends[2])
{
	struct thrum_listener *listener;
	char bound[THRUM_ADDRESS_MAX];
	REQUIRE_EQ(thrum_listener_open(&listener, "127.0.0.1:0", NULL), 0);
	REQUIRE_EQ(thrum_listener_address(listener, bound, sizeof(bound)), 0);
	REQUIRE_EQ(thrum_conn_open(&ends[0], bound, GREEN_SOON), 0);
	REQUIRE_EQ(thrum_listener_accept(listener, &ends[1], GREEN_SOON), 0);
	thrum_listener_close(listener);
}

static void close_both(struct thrum_conn *ends[2])
{
	thrum_conn_close(ends[0]);
	thrum_conn_close(ends[1]);
}

/* Reads to the end of the stream and returns how many bytes came. */
static size_t drain(struct thrum_conn *conn)
{
	static char sink[65536]; /* nobody looks at it */
	size_t total = 0;
	ssize_t n;
	while ((n = thrum_conn_read(conn, sink, sizeof(sink), GREEN_SOON)) > 0)
		total += (size_t)n;
	REQUIRE_EQ(n, 0);
	return total;
}

/* ---- deadlines */

static void *deadline_main(void *arg)
{
	struct thrum_listener *listener;
	struct thrum_conn *ends[2], *none = NULL;
	char buf[8];
	size_t done;
	REQUIRE_EQ(thrum_listener_open(&listener, "127.0.0.1:0", NULL), 0);
	REQUIRE_EQ(thrum_listener_accept(listener, &none, THRUM_NOW), -ETIMEDOUT);
	int64_t before = thrum_now();
	REQUIRE_EQ(thrum_listener_accept(listener, &none, SHORTLY), -ETIMEDOUT);
	REQUIRE(thrum_now() - before >= 20 * THRUM_MS);
	REQUIRE(none == NULL);
	thrum_listener_close(listener);
	connect_tcp(ends);
	REQUIRE_EQ(thrum_conn_read(ends[0], buf, sizeof(buf), THRUM_NOW), -ETIMEDOUT);
	REQUIRE_EQ(thrum_conn_read(ends[0], buf, sizeof(buf), SHORTLY), -ETIMEDOUT);
	REQUIRE_EQ(thrum_conn_write(ends[1], "abc", 3, NULL, THRUM_NOW), 0);
	REQUIRE_EQ(thrum_conn_read_exact(ends[0], buf, 5, &done, SHORTLY), -ETIMEDOUT);
	REQUIRE_EQ(done, 3);
	REQUIRE_EQ(thrum_conn_write(ends[1], "de", 2, NULL, THRUM_NOW), 0);
	REQUIRE_EQ(thrum_conn_read_exact(ends[0], buf + 3, 2, &done, GREEN_SOON), 0);
	REQUIRE(memcmp(buf, "abcde", 5) == 0);
	close_both(ends);
	return NULL;
}

START_TEST(a_deadline_ends_accept_and_read)
{
	green_run(green_workers[_i], deadline_main, NULL);
}
END_TEST

static void *stalled_main(void *arg)
{
	struct thrum_conn *ends[2];
	size_t first, second;
	if (arg != NULL)
		connect_tcp(ends);
	else
		REQUIRE_EQ(thrum_conn_pair(ends), 0);
	REQUIRE_EQ(thrum_conn_write(ends[0], lots, LOTS, &first, SHORTLY), -ETIMEDOUT);
	REQUIRE(first > 0 && first < LOTS);
	REQUIRE_EQ(thrum_conn_write(ends[0], lots, LOTS, &second, THRUM_NOW), -ETIMEDOUT);
	REQUIRE_EQ(thrum_conn_shutdown_write(ends[0]), 0);
	REQUIRE_EQ(drain(ends[1]), first + second);
	close_both(ends);
	return NULL;
}

START_TEST(a_write_that_times_out_counts_every_byte)
{
	green_run(green_workers[_i], stalled_main, NULL);
	green_run(green_workers[_i], stalled_main, "tcp");
}
END_TEST

enum { QUEUED = 64 };

/* Fills a listener's queue until a connect no longer gets through. */
static void *full_queue_main(void *arg)
{
	struct thrum_listen_options options = {.backlog = 1};
	struct thrum_listener *listener;
	struct thrum_conn *queued[QUEUED];
	char bound[THRUM_ADDRESS_MAX];
	int count = 0, r = 0;
	REQUIRE_EQ(thrum_listener_open(&listener, arg, &options), 0);
	REQUIRE_EQ(thrum_listener_address(listener, bound, sizeof(bound)), 0);
	while (count < QUEUED && r == 0) {
		r = thrum_conn_open(&queued[count], bound, thrum_after(50 * THRUM_MS));
		count += r == 0;
	}
	REQUIRE_EQ(r, -ETIMEDOUT);
	REQUIRE(count >= 1);
	thrum_listener_close(listener);
	while (count > 0)
		thrum_conn_close(queued[--count]);
	return NULL;
}

START_TEST(a_deadline_ends_connect)
{
	green_run(2, full_queue_main, "127.0.0.1:0");
	green_run(2, full_queue_main, abstract_address());
}
END_TEST

static void *late_accept(void *arg)
{
	struct thrum_conn *conn;
	for (int i = 0; i < 3; i++) {
		REQUIRE_EQ(thrum_listener_accept(arg, &conn, GREEN_SOON), 0);
		thrum_conn_close(conn);
	}
	return NULL;
}

static void *full_then_free_main(void *arg)
{
	struct thrum_listen_options options = {.backlog = 1};
	struct thrum_listener *listener;
	struct thrum_conn *conns[3], *none;
	const char *address = abstract_address();
	REQUIRE_EQ(thrum_listener_open(&listener, address, &options), 0);
	REQUIRE_EQ(thrum_conn_open(&conns[0], address, GREEN_SOON), 0);
	REQUIRE_EQ(thrum_conn_open(&conns[1], address, GREEN_SOON), 0);
	REQUIRE_EQ(thrum_conn_open(&none, address, THRUM_NOW), -ETIMEDOUT);
	struct thrum_thread *server = green_spawn(late_accept, listener);
	REQUIRE_EQ(thrum_conn_open(&conns[2], address, GREEN_SOON), 0);
	green_join(server);
	for (int i = 0; i < 3; i++)
		thrum_conn_close(conns[i]);
	thrum_listener_close(listener);
	return NULL;
}

START_TEST(connect_gets_through_once_a_full_unix_queue_empties)
{
	green_run(2, full_then_free_main, NULL);
}
END_TEST

/* ---- cancellation */

struct victim {
	struct thrum_conn *conn;
	struct thrum_listener *listener;
	size_t done;
	ssize_t result;
};

static void *victim_reads(void *arg)
{
	struct victim *victim = arg;
	char buf[64];
	victim->result =
		thrum_conn_read_exact(victim->conn, buf, sizeof(buf), &victim->done, THRUM_FOREVER);
	return NULL;
}

static void *victim_writes(void *arg)
{
	struct victim *victim = arg;
	victim->result = thrum_conn_write(victim->conn, lots, LOTS, &victim->done, THRUM_FOREVER);
	return NULL;
}

static void *victim_accepts(void *arg)
{
	struct victim *victim = arg;
	struct thrum_conn *conn;
	victim->result = thrum_listener_accept(victim->listener, &conn, THRUM_FOREVER);
	return NULL;
}

/* The victim is most likely asleep by then; the outcome is the same if it is not. */
static void let_it_sleep(void)
{
	REQUIRE_EQ(thrum_sleep(5 * THRUM_MS), 0);
}

static void *cancel_main(void *arg)
{
	struct victim victim = {0};
	struct thrum_conn *ends[2];
	REQUIRE_EQ(thrum_conn_pair(ends), 0);
	victim.conn = ends[0];
	REQUIRE_EQ(thrum_conn_write(ends[1], "abc", 3, NULL, GREEN_SOON), 0);
	struct thrum_thread *thread = green_spawn(victim_reads, &victim);
	let_it_sleep();
	thrum_cancel(thread);
	green_join(thread);
	REQUIRE_EQ(victim.result, -ECANCELED);
	REQUIRE(victim.done == 3 || victim.done == 0);

	thread = green_spawn(victim_writes, &victim);
	let_it_sleep();
	thrum_cancel(thread);
	green_join(thread);
	REQUIRE_EQ(victim.result, -ECANCELED);
	REQUIRE_EQ(thrum_conn_shutdown_write(ends[0]), 0);
	REQUIRE_EQ(drain(ends[1]), victim.done);
	close_both(ends);

	REQUIRE_EQ(thrum_listener_open(&victim.listener, "127.0.0.1:0", NULL), 0);
	thread = green_spawn(victim_accepts, &victim);
	let_it_sleep();
	thrum_cancel(thread);
	green_join(thread);
	REQUIRE_EQ(victim.result, -ECANCELED);
	thrum_listener_close(victim.listener);
	return NULL;
}

START_TEST(cancelling_ends_read_write_and_accept)
{
	green_run(green_workers[_i], cancel_main, NULL);
}
END_TEST

static void *canceled_before(void *arg)
{
	struct thrum_conn **ends = arg;
	struct thrum_conn *other = NULL;
	char buf[8];
	size_t done = 99;
	thrum_cancel(thrum_self());
	REQUIRE_EQ(thrum_conn_read(ends[0], buf, sizeof(buf), THRUM_FOREVER), -ECANCELED);
	REQUIRE_EQ(thrum_conn_write(ends[0], buf, sizeof(buf), &done, THRUM_FOREVER), -ECANCELED);
	REQUIRE_EQ(done, 0);
	REQUIRE_EQ(thrum_conn_open(&other, "127.0.0.1:1", THRUM_FOREVER), -ECANCELED);
	REQUIRE_EQ(thrum_conn_open(&other, abstract_address(), THRUM_FOREVER), -ECANCELED);
	thrum_shield_begin();
	REQUIRE_EQ(thrum_conn_read(ends[0], buf, 1, THRUM_FOREVER), 1);
	REQUIRE_EQ(thrum_conn_write(ends[0], "y", 1, NULL, THRUM_FOREVER), 0);
	thrum_shield_end();
	REQUIRE_EQ(thrum_conn_read(ends[0], buf, sizeof(buf), THRUM_FOREVER), -ECANCELED);
	return NULL;
}

static void *canceled_before_main(void *arg)
{
	struct thrum_conn *ends[2];
	char buf[8];
	REQUIRE_EQ(thrum_conn_pair(ends), 0);
	REQUIRE_EQ(thrum_conn_write(ends[1], "xx", 2, NULL, GREEN_SOON), 0);
	green_join(green_spawn(canceled_before, ends));
	REQUIRE_EQ(thrum_conn_read(ends[1], buf, sizeof(buf), GREEN_SOON), 1);
	close_both(ends);
	return NULL;
}

START_TEST(a_cancelled_thread_starts_no_call_unless_shielded)
{
	green_run(2, canceled_before_main, NULL);
}
END_TEST

/* ---- closing */

static void *close_main(void *arg)
{
	bool by_close = arg != NULL;
	struct thrum_conn *ends[2];
	struct victim reader = {0}, writer = {0}, accepters[3] = {{0}};
	struct thrum_thread *threads[5];
	char buf[8];
	connect_tcp(ends);
	reader.conn = writer.conn = ends[0];
	threads[0] = green_spawn(victim_reads, &reader);
	threads[1] = green_spawn(victim_writes, &writer);
	REQUIRE_EQ(thrum_listener_open(&accepters[0].listener, "127.0.0.1:0", NULL), 0);
	for (int i = 0; i < 3; i++) {
		accepters[i].listener = accepters[0].listener;
		threads[2 + i] = green_spawn(victim_accepts, &accepters[i]);
	}
	green_until_inside(&ends[0]->sock.refs, 2);
	green_until_inside(&accepters[0].listener->sock.refs, 3);
	if (by_close) {
		thrum_conn_close(ends[0]);
		thrum_listener_close(accepters[0].listener);
	} else {
		thrum_conn_shutdown(ends[0]);
		thrum_listener_shutdown(accepters[0].listener);
	}
	for (int i = 0; i < 5; i++)
		green_join(threads[i]);
	REQUIRE_EQ(reader.result, THRUM_ECLOSED);
	REQUIRE_EQ(writer.result, THRUM_ECLOSED);
	for (int i = 0; i < 3; i++)
		REQUIRE_EQ(accepters[i].result, THRUM_ECLOSED);
	if (!by_close) {
		size_t done = 99;
		REQUIRE_EQ(thrum_conn_read(ends[0], buf, 1, THRUM_FOREVER), THRUM_ECLOSED);
		REQUIRE_EQ(thrum_conn_read_exact(ends[0], buf, 1, &done, 1), THRUM_ECLOSED);
		REQUIRE_EQ(done, 0);
		REQUIRE_EQ(thrum_conn_write(ends[0], buf, 1, NULL, 1), THRUM_ECLOSED);
		REQUIRE_EQ(thrum_conn_shutdown_write(ends[0]), THRUM_ECLOSED);
		REQUIRE_EQ(thrum_conn_peer_address(ends[0], buf, 8), THRUM_ECLOSED);
		thrum_conn_close(ends[0]);
		thrum_listener_close(accepters[0].listener);
	}
	drain(ends[1]);
	thrum_conn_close(ends[1]);
	return NULL;
}

START_TEST(closing_wakes_everybody_inside)
{
	green_run(green_workers[_i], close_main, NULL);
	green_run(green_workers[_i], close_main, "close");
}
END_TEST

enum { STORM = 300 };

static void *storm_reader(void *arg)
{
	char buf[8];
	ssize_t n;
	while ((n = thrum_conn_read(arg, buf, sizeof(buf), GREEN_SOON)) > 0)
		;
	REQUIRE(n == THRUM_ECLOSED);
	return NULL;
}

static void *storm_main(void *arg)
{
	for (int i = 0; i < STORM; i++) {
		struct thrum_conn *ends[2];
		REQUIRE_EQ(thrum_conn_pair(ends), 0);
		struct thrum_thread *reader = green_spawn(storm_reader, ends[0]);
		if (i % 3 == 0)
			thrum_yield();
		if (i % 2 == 0)
			REQUIRE_EQ(thrum_conn_write(ends[1], "x", 1, NULL, GREEN_SOON), 0);
		thrum_conn_shutdown(ends[0]);
		green_join(reader);
		close_both(ends);
	}
	return NULL;
}

START_TEST(no_reader_sleeps_on_when_shutdown_races_its_wait)
{
	green_run(green_workers[_i], storm_main, NULL);
}
END_TEST

/*
 * Stands in for the C library's: holds the shutdown of one descriptor back until it is let go, so
 * that others run between the mark on the handle and the kernel's call.
 */
static int held_fd = -1, let_go;

int shutdown(int fd, int how)
{
	if (fd == __atomic_load_n(&held_fd, __ATOMIC_ACQUIRE))
		while (!__atomic_load_n(&let_go, __ATOMIC_ACQUIRE))
			sched_yield();
	return (int)syscall(SYS_shutdown, fd, how);
}

static void *shutdown_main(void *conn)
{
	thrum_conn_shutdown(conn);
	return NULL;
}

static void *early_close_main(void *arg)
{
	struct thrum_conn *ends[2], *next[2];
	pthread_t stopper;
	char buf[8];
	ssize_t n;
	REQUIRE_EQ(thrum_conn_pair(ends), 0);
	__atomic_store_n(&let_go, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&held_fd, thrum_conn_fd(ends[0]), __ATOMIC_RELEASE);
	REQUIRE_EQ(pthread_create(&stopper, NULL, shutdown_main, ends[0]), 0);
	while ((n = thrum_conn_read(ends[0], buf, sizeof(buf), THRUM_NOW)) == -ETIMEDOUT)
		thrum_yield();
	REQUIRE_EQ(n, THRUM_ECLOSED);
	thrum_conn_close(ends[0]);
	REQUIRE_EQ(
		thrum_conn_pair(next), 0); /* would get the number of a descriptor closed early */
	__atomic_store_n(&let_go, 1, __ATOMIC_RELEASE);
	REQUIRE_EQ(pthread_join(stopper, NULL), 0);
	__atomic_store_n(&held_fd, -1, __ATOMIC_RELEASE);
	REQUIRE_EQ(thrum_conn_write(next[0], "x", 1, NULL, GREEN_SOON), 0);
	REQUIRE_EQ(thrum_conn_write(next[1], "x", 1, NULL, GREEN_SOON), 0);
	REQUIRE_EQ(thrum_conn_read(ends[1], buf, sizeof(buf), GREEN_SOON), 0);
	thrum_conn_close(ends[1]);
	close_both(next);
	return NULL;
}

START_TEST(who_learns_of_a_shutdown_may_close_at_once)
{
	green_run(green_workers[_i], early_close_main, NULL);
}
END_TEST

/* ---- faulty peers */

static int listener_sockaddr(
	struct thrum_listener *listener, struct sockaddr_storage *out, socklen_t *len)
{
	char text[THRUM_ADDRESS_MAX];
	struct thrum_dns_result found;
	int r = thrum_listener_address(listener, text, sizeof(text));
	char *colon = strrchr(text, ':');
	if (r < 0 || colon == NULL)
		return -EINVAL;
	*colon = '\0';
	r = thrum_dns_resolve(&found, text, colon + 1, THRUM_NOW);
	if (r < 0)
		return r;
	*out = found.addresses[0].addr;
	*len = found.addresses[0].len;
	thrum_dns_result_fini(&found);
	return 0;
}

/* Connects as a foreign program would, and resets: a close that lingers 0 seconds sends no FIN. */
static void *reset_main(void *arg)
{
	struct thrum_listener *listener;
	struct thrum_conn *conn;
	struct linger now = {.l_onoff = 1};
	struct sockaddr_storage to;
	socklen_t len = sizeof(to);
	char buf[8];
	size_t done;
	int foreign = socket(AF_INET, SOCK_STREAM, 0);
	REQUIRE_EQ(thrum_listener_open(&listener, "127.0.0.1:0", NULL), 0);
	REQUIRE_EQ(listener_sockaddr(listener, &to, &len), 0);
	REQUIRE_EQ(connect(foreign, (struct sockaddr *)&to, len), 0);
	REQUIRE_EQ(thrum_listener_accept(listener, &conn, GREEN_SOON), 0);
	thrum_listener_close(listener);
	setsockopt(foreign, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(foreign);
	REQUIRE_EQ(thrum_conn_read(conn, buf, sizeof(buf), GREEN_SOON), -ECONNRESET);
	REQUIRE_EQ(thrum_conn_write(conn, "x", 1, &done, GREEN_SOON), -EPIPE);
	REQUIRE_EQ(done, 0);
	thrum_conn_close(conn);
	return NULL;
}

/* A peer that closes with unread input in its queue: the kernel sends a reset. */
static void *reset_by_unread_main(void *arg)
{
	struct thrum_conn *ends[2];
	struct victim writer = {0};
	char buf[8];
	connect_tcp(ends);
	writer.conn = ends[0];
	struct thrum_thread *thread = green_spawn(victim_writes, &writer);
	let_it_sleep();
	thrum_conn_close(ends[1]);
	green_join(thread);
	REQUIRE(writer.result == -ECONNRESET || writer.result == -EPIPE);
	REQUIRE(writer.done < LOTS);
	ssize_t n = thrum_conn_read(ends[0], buf, sizeof(buf), GREEN_SOON);
	REQUIRE(n == 0 || n == -ECONNRESET);
	thrum_conn_close(ends[0]);
	return NULL;
}

START_TEST(a_reset_is_an_error_code_and_no_signal)
{
	green_run(2, reset_main, NULL);
	green_run(2, reset_by_unread_main, NULL);
}
END_TEST

static void *refused_main(void *arg)
{
	struct thrum_listener *listener;
	struct thrum_conn *conn = NULL;
	char bound[THRUM_ADDRESS_MAX];
	REQUIRE_EQ(thrum_listener_open(&listener, "127.0.0.1:0", NULL), 0);
	REQUIRE_EQ(thrum_listener_address(listener, bound, sizeof(bound)), 0);
	thrum_listener_close(listener);
	REQUIRE_EQ(thrum_conn_open(&conn, bound, GREEN_SOON), -ECONNREFUSED);
	REQUIRE_EQ(thrum_conn_open(&conn, "unix:/tmp/thrum-absent.sock", GREEN_SOON), -ENOENT);
	REQUIRE_EQ(thrum_conn_open(&conn, "unix:@thrum-absent", GREEN_SOON), -ECONNREFUSED);
	REQUIRE_EQ(thrum_conn_open(&conn, "nonsense", GREEN_SOON), -EINVAL);
	REQUIRE_EQ(thrum_listener_open(&listener, "192.0.2.77:0", NULL), -EADDRNOTAVAIL);
	REQUIRE(conn == NULL);
	return NULL;
}

START_TEST(connecting_to_nobody_is_refused)
{
	green_run(green_workers[_i], refused_main, NULL);
}
END_TEST

static void *wrap_main(void *arg)
{
	struct thrum_conn *conn = NULL;
	int fds[2];
	REQUIRE_EQ(thrum_conn_from_fd(&conn, -1), -EBADF);
	REQUIRE_EQ(thrum_conn_from_fd(&conn, STDERR_FILENO), -ENOTSOCK);
	REQUIRE_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	REQUIRE_EQ(thrum_conn_from_fd(&conn, fds[0]), -EPROTOTYPE);
	close(fds[0]);
	close(fds[1]);
	int lone = socket(AF_INET, SOCK_STREAM, 0);
	REQUIRE_EQ(thrum_conn_from_fd(&conn, lone), -ENOTCONN);
	close(lone);
	REQUIRE(conn == NULL);
	REQUIRE_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	REQUIRE_EQ(thrum_conn_from_fd(&conn, fds[0]), 0);
	REQUIRE_EQ(thrum_conn_fd(conn), fds[0]);
	char buf[4];
	REQUIRE_EQ(thrum_conn_read(conn, buf, sizeof(buf), SHORTLY), -ETIMEDOUT);
	REQUIRE_EQ(write(fds[1], "hi", 2), 2);
	REQUIRE_EQ(thrum_conn_read(conn, buf, sizeof(buf), GREEN_SOON), 2);
	thrum_conn_close(conn);
	REQUIRE_EQ(read(fds[1], buf, sizeof(buf)), 0);
	close(fds[1]);
	return NULL;
}

START_TEST(only_a_connected_stream_socket_is_wrapped)
{
	green_run(1, wrap_main, NULL);
}
END_TEST

/* ---- many accepters */

enum { ACCEPTERS = 8, CALLERS = 200 };

struct crowd {
	struct thrum_listener *listener;
	char bound[THRUM_ADDRESS_MAX];
	uint32_t accepted; /* atomic */
};

static void *crowd_accepter(void *arg)
{
	struct crowd *crowd = arg;
	struct thrum_conn *conn;
	int r;
	while ((r = thrum_listener_accept(crowd->listener, &conn, GREEN_SOON)) == 0) {
		__atomic_add_fetch(&crowd->accepted, 1, __ATOMIC_RELAXED);
		REQUIRE_EQ(thrum_conn_write(conn, "!", 1, NULL, GREEN_SOON), 0);
		thrum_conn_close(conn);
	}
	REQUIRE_EQ(r, THRUM_ECLOSED);
	return NULL;
}

static void *crowd_caller(void *arg)
{
	struct crowd *crowd = arg;
	struct thrum_conn *conn;
	char byte;
	int r = thrum_conn_open(&conn, crowd->bound, GREEN_SOON);
	REQUIRE_EQ(r, 0);
	if (r < 0)
		return NULL;
	REQUIRE_EQ(thrum_conn_read_exact(conn, &byte, 1, NULL, GREEN_SOON), 0);
	thrum_conn_close(conn);
	return NULL;
}

static void *crowd_main(void *arg)
{
	struct crowd crowd = {0};
	struct thrum_thread *accepters[ACCEPTERS], *callers[CALLERS];
	REQUIRE_EQ(thrum_listener_open(&crowd.listener, "127.0.0.1:0", NULL), 0);
	REQUIRE_EQ(thrum_listener_address(crowd.listener, crowd.bound, sizeof(crowd.bound)), 0);
	for (int i = 0; i < ACCEPTERS; i++)
		accepters[i] = green_spawn(crowd_accepter, &crowd);
	for (int i = 0; i < CALLERS; i++)
		callers[i] = green_spawn(crowd_caller, &crowd);
	for (int i = 0; i < CALLERS; i++)
		green_join(callers[i]);
	REQUIRE_EQ(crowd.accepted, CALLERS);
	thrum_listener_shutdown(crowd.listener); /* they come back for more, so close must wait */
	for (int i = 0; i < ACCEPTERS; i++)
		green_join(accepters[i]);
	thrum_listener_close(crowd.listener);
	return NULL;
}

START_TEST(many_accepters_leave_no_caller_waiting)
{
	green_run(green_workers[_i], crowd_main, NULL);
}
END_TEST

/* ---- plain OS threads */

START_TEST(a_plain_os_thread_uses_connections_too)
{
	struct thrum_conn *ends[2];
	char buf[8];
	size_t done;
	ck_assert_int_eq(thrum_conn_pair(ends), 0);
	ck_assert_int_eq(thrum_conn_read(ends[0], buf, sizeof(buf), THRUM_NOW), -ETIMEDOUT);
	ck_assert_int_eq(thrum_conn_read(ends[0], buf, sizeof(buf), SHORTLY), -ETIMEDOUT);
	ck_assert_int_eq(thrum_conn_write(ends[1], "abc", 3, NULL, GREEN_SOON), 0);
	ck_assert_int_eq(thrum_conn_read(ends[0], buf, sizeof(buf), GREEN_SOON), 3);
	ck_assert_int_eq(thrum_conn_write(ends[0], lots, LOTS, &done, SHORTLY), -ETIMEDOUT);
	ck_assert(done > 0 && done < LOTS);
	thrum_conn_close(ends[0]);
	thrum_conn_close(ends[1]);
}
END_TEST

static void *join_os_thread(void *arg)
{
	pthread_join(*(pthread_t *)arg, NULL);
	return NULL;
}

static void *mixed_main(void *arg)
{
	struct thrum_conn *ends[2];
	struct victim victim = {0};
	pthread_t thread;
	char message[64] = "from a green thread to an OS thread";
	REQUIRE_EQ(thrum_conn_pair(ends), 0);
	victim.conn = ends[0];
	REQUIRE_EQ(pthread_create(&thread, NULL, victim_reads, &victim), 0);
	let_it_sleep();
	REQUIRE_EQ(thrum_conn_write(ends[1], message, sizeof(message), NULL, GREEN_SOON), 0);
	REQUIRE_EQ(thrum_blocking(join_os_thread, &thread, NULL), 0);
	REQUIRE_EQ(victim.result, 0);
	REQUIRE_EQ(victim.done, sizeof(message));
	close_both(ends);
	return NULL;
}

START_TEST(an_os_thread_reads_what_a_green_thread_writes)
{
	green_run(2, mixed_main, NULL);
}
END_TEST

/* ---- a life beyond the runtime */

static struct thrum_conn *kept[2];

static void *opens_main(void *arg)
{
	char buf[8];
	connect_tcp(kept);
	REQUIRE_EQ(thrum_conn_read(kept[0], buf, sizeof(buf), SHORTLY), -ETIMEDOUT);
	return NULL;
}

static void *goes_on_main(void *arg)
{
	struct victim victim = {.conn = kept[0]};
	char message[64] = "in another runtime";
	struct thrum_thread *reader = green_spawn(victim_reads, &victim);
	let_it_sleep();
	REQUIRE_EQ(thrum_conn_write(kept[1], message, sizeof(message), NULL, GREEN_SOON), 0);
	green_join(reader);
	REQUIRE_EQ(victim.result, 0);
	return NULL;
}

START_TEST(a_connection_outlives_its_runtime)
{
	char buf[8];
	green_run(2, opens_main, NULL);
	ck_assert_int_eq(thrum_conn_read(kept[0], buf, sizeof(buf), SHORTLY), -ETIMEDOUT);
	ck_assert_int_eq(thrum_conn_write(kept[1], "abc", 3, NULL, GREEN_SOON), 0);
	ck_assert_int_eq(thrum_conn_read(kept[0], buf, sizeof(buf), GREEN_SOON), 3);
	green_run(2, goes_on_main, NULL);
	green_run(1, goes_on_main, NULL);
	close_both(kept);
}
END_TEST

/* ---- out of descriptors */

static void *no_descriptors_main(void *arg)
{
	struct thrum_listener *listener;
	struct thrum_conn *near, *far = NULL;
	struct rlimit before, none;
	char bound[THRUM_ADDRESS_MAX];
	REQUIRE_EQ(thrum_listener_open(&listener, "127.0.0.1:0", NULL), 0);
	REQUIRE_EQ(thrum_listener_address(listener, bound, sizeof(bound)), 0);
	REQUIRE_EQ(thrum_conn_open(&near, bound, GREEN_SOON), 0);
	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = 0;
	REQUIRE_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	REQUIRE_EQ(thrum_listener_accept(listener, &far, GREEN_SOON), -EMFILE);
	REQUIRE_EQ(thrum_listener_accept(listener, &far, GREEN_SOON), -EMFILE);
	REQUIRE_EQ(thrum_conn_open(&far, bound, GREEN_SOON), -EMFILE);
	REQUIRE(far == NULL);
	REQUIRE_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
	REQUIRE_EQ(thrum_listener_accept(listener, &far, GREEN_SOON), 0);
	thrum_conn_close(near);
	thrum_conn_close(far);
	thrum_listener_close(listener);
	return NULL;
}

START_TEST(a_connection_waits_until_descriptors_are_free_again)
{
	green_run(2, no_descriptors_main, NULL);
}
END_TEST

Suite *suite_net_end(void)
{
	Suite *suite = suite_create("io/net_end");
	TCase *ends = tcase_create("ends");
	tcase_set_timeout(ends, 30);
	tcase_add_loop_test(ends, a_deadline_ends_accept_and_read, 0, 3);
	tcase_add_loop_test(ends, a_write_that_times_out_counts_every_byte, 0, 3);
	tcase_add_test(ends, a_deadline_ends_connect);
	tcase_add_test(ends, connect_gets_through_once_a_full_unix_queue_empties);
	tcase_add_loop_test(ends, cancelling_ends_read_write_and_accept, 0, 3);
	tcase_add_test(ends, a_cancelled_thread_starts_no_call_unless_shielded);
	tcase_add_loop_test(ends, closing_wakes_everybody_inside, 0, 3);
	tcase_add_loop_test(ends, no_reader_sleeps_on_when_shutdown_races_its_wait, 0, 3);
	tcase_add_loop_test(ends, who_learns_of_a_shutdown_may_close_at_once, 0, 3);
	tcase_add_test(ends, a_reset_is_an_error_code_and_no_signal);
	tcase_add_loop_test(ends, connecting_to_nobody_is_refused, 0, 3);
	tcase_add_test(ends, only_a_connected_stream_socket_is_wrapped);
	tcase_add_loop_test(ends, many_accepters_leave_no_caller_waiting, 0, 3);
	tcase_add_test(ends, a_plain_os_thread_uses_connections_too);
	tcase_add_test(ends, an_os_thread_reads_what_a_green_thread_writes);
	tcase_add_test(ends, a_connection_outlives_its_runtime);
	tcase_add_test(ends, a_connection_waits_until_descriptors_are_free_again);
	suite_add_tcase(suite, ends);
	return suite;
}
