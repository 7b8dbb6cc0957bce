/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "green.h"
#include <thrum/net.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Connections that carry what they should: echo, big transfers, half close, addresses. */

static char unix_address[64], abstract_address[64], moved_path[64];

static void set_up(void)
{
	snprintf(unix_address, sizeof(unix_address), "unix:/tmp/thrum-net-%d.sock", getpid());
	snprintf(abstract_address, sizeof(abstract_address), "unix:@thrum-net-%d", getpid());
	snprintf(moved_path, sizeof(moved_path), "/tmp/thrum-net-%d.moved", getpid());
}

static void tear_down(void)
{
	unlink(unix_address + 5);
}

/* ---- echo */

enum { CLIENTS = 100, ROUNDS = 10 };

struct echo {
	const char *address;
	struct thrum_listener *listener;
	char bound[THRUM_ADDRESS_MAX];
	uint32_t served; /* atomic */
	bool absent;     /* this machine has no such addresses */
};

struct served {
	struct echo *echo;
	struct thrum_conn *conn;
};

static void *serve_one(void *arg)
{
	struct served *served = arg;
	char buf[256];
	ssize_t n;
	while ((n = thrum_conn_read(served->conn, buf, sizeof(buf), GREEN_SOON)) > 0)
		REQUIRE_EQ(thrum_conn_write(served->conn, buf, (size_t)n, NULL, GREEN_SOON), 0);
	REQUIRE_EQ(n, 0);
	thrum_conn_close(served->conn);
	__atomic_add_fetch(&served->echo->served, 1, __ATOMIC_RELAXED);
	free(served);
	return NULL;
}

static void *serve(void *arg)
{
	struct echo *echo = arg;
	struct thrum_conn *conn;
	int r;
	while ((r = thrum_listener_accept(echo->listener, &conn, GREEN_SOON)) == 0) {
		struct served *served = malloc(sizeof(*served));
		*served = (struct served){.echo = echo, .conn = conn};
		REQUIRE_EQ(thrum_spawn(NULL, serve_one, served), 0);
	}
	REQUIRE_EQ(r, THRUM_ECLOSED);
	return NULL;
}

static void *echo_client(void *arg)
{
	struct echo *echo = arg;
	struct thrum_conn *conn;
	int r = thrum_conn_open(&conn, echo->bound, GREEN_SOON);
	REQUIRE_EQ(r, 0);
	if (r < 0)
		return NULL;
	for (int i = 0; i < ROUNDS; i++) {
		char out[100], in[100];
		memset(out, (int)thrum_thread_id(thrum_self()) + i, sizeof(out));
		REQUIRE_EQ(thrum_conn_write(conn, out, sizeof(out), NULL, GREEN_SOON), 0);
		REQUIRE_EQ(thrum_conn_read_exact(conn, in, sizeof(in), NULL, GREEN_SOON), 0);
		REQUIRE(memcmp(in, out, sizeof(in)) == 0);
	}
	thrum_conn_close(conn);
	return NULL;
}

static void *echo_main(void *arg)
{
	struct echo *echo = arg;
	struct thrum_thread *clients[CLIENTS];
	int r = thrum_listener_open(&echo->listener, echo->address, NULL);
	echo->absent = r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT;
	if (echo->absent)
		return NULL;
	REQUIRE_EQ(r, 0);
	if (r < 0)
		return NULL;
	REQUIRE_EQ(thrum_listener_address(echo->listener, echo->bound, sizeof(echo->bound)), 0);
	struct thrum_thread *server = green_spawn(serve, echo);
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = green_spawn(echo_client, echo);
	for (int i = 0; i < CLIENTS; i++)
		green_join(clients[i]);
	while (__atomic_load_n(&echo->served, __ATOMIC_RELAXED) < CLIENTS)
		thrum_yield();
	thrum_listener_shutdown(echo->listener);
	green_join(server);
	thrum_listener_close(echo->listener);
	return NULL;
}

START_TEST(a_hundred_connections_get_their_own_bytes_back)
{
	const char *addresses[] = {"127.0.0.1:0", "[::1]:0", unix_address, abstract_address};
	struct echo echo = {.address = addresses[_i / 3]};
	green_run(green_workers[_i % 3], echo_main, &echo);
	if (echo.absent && _i / 3 == 1)
		return; /* no IPv6 here */
	ck_assert_uint_eq(echo.served, CLIENTS);
	ck_assert_int_eq(access(unix_address + 5, F_OK), -1);
}
END_TEST

/* ---- a connected pair of any kind */

/* Two ends of one connection over address. */
static void connect_pair(const char *address, struct thrum_conn *ends[2])
{
	struct thrum_listener *listener;
	char bound[THRUM_ADDRESS_MAX];
	REQUIRE_EQ(thrum_listener_open(&listener, address, NULL), 0);
	REQUIRE_EQ(thrum_listener_address(listener, bound, sizeof(bound)), 0);
	REQUIRE_EQ(thrum_conn_open(&ends[0], bound, GREEN_SOON), 0);
	REQUIRE_EQ(thrum_listener_accept(listener, &ends[1], GREEN_SOON), 0);
	thrum_listener_close(listener);
}

/* ---- a big transfer, both ways at once, through tiny buffers */

enum { BIG = 1 << 20 };

struct stream {
	struct thrum_conn *conn;
	uint64_t seed;    /* of the chunk sizes */
	uint64_t pattern; /* of the bytes */
	size_t moved;
};

static void *send_big(void *arg)
{
	struct stream *stream = arg;
	uint64_t pattern = stream->pattern;
	while (stream->moved < BIG) {
		uint8_t chunk[9000];
		size_t len = thrum__splitmix64(&stream->seed) % sizeof(chunk) + 1, done;
		len = len < BIG - stream->moved ? len : BIG - stream->moved;
		for (size_t i = 0; i < len; i++)
			chunk[i] = (uint8_t)thrum__splitmix64(&pattern);
		REQUIRE_EQ(thrum_conn_write(stream->conn, chunk, len, &done, GREEN_SOON), 0);
		REQUIRE_EQ(done, len);
		stream->moved += len;
	}
	REQUIRE_EQ(thrum_conn_shutdown_write(stream->conn), 0);
	return NULL;
}

static void *receive_big(void *arg)
{
	struct stream *stream = arg;
	uint64_t pattern = stream->pattern;
	uint8_t chunk[9000];
	ssize_t n;
	do {
		size_t len = thrum__splitmix64(&stream->seed) % sizeof(chunk) + 1;
		n = thrum_conn_read(stream->conn, chunk, len, GREEN_SOON);
		for (ssize_t i = 0; i < n; i++)
			REQUIRE(chunk[i] == (uint8_t)thrum__splitmix64(&pattern));
		stream->moved += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	REQUIRE_EQ(n, 0);
	return NULL;
}

/* Over TCP a buffer below some multiple of the loopback's segment makes the kernel itself crawl. */
struct transfer {
	const char *address;
	int buffer;
	uint64_t seed;
};

static void *big_main(void *arg)
{
	struct transfer *transfer = arg;
	struct thrum_conn *ends[2];
	struct stream streams[4];
	struct thrum_thread *threads[4];
	connect_pair(transfer->address, ends);
	for (int i = 0; i < 4; i++) {
		int size = transfer->buffer;
		setsockopt(thrum_conn_fd(ends[i % 2]), SOL_SOCKET, i < 2 ? SO_SNDBUF : SO_RCVBUF,
			&size, sizeof(size));
		streams[i] = (struct stream){.conn = ends[i % 2],
			.seed = transfer->seed + (uint64_t)i,
			.pattern = (uint64_t)(i == 0 || i == 3)};
	}
	for (int i = 0; i < 4; i++)
		threads[i] = green_spawn(i < 2 ? send_big : receive_big, &streams[i]);
	for (int i = 0; i < 4; i++) {
		green_join(threads[i]);
		REQUIRE_EQ(streams[i].moved, BIG);
	}
	thrum_conn_close(ends[0]);
	thrum_conn_close(ends[1]);
	return NULL;
}

START_TEST(a_mebibyte_each_way_passes_tiny_buffers_unharmed)
{
	const char *given = getenv("THRUM_SEED");
	struct transfer transfers[] = {{unix_address, 4096, 0}, {"127.0.0.1:0", 32768, 0}};
	struct transfer *transfer = &transfers[_i / 3];
	transfer->seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)thrum_now();
	fprintf(stderr, "big transfer: THRUM_SEED=%llu\n", (unsigned long long)transfer->seed);
	green_run(green_workers[_i % 3], big_main, transfer);
}
END_TEST

/* ---- gathering writes */

enum { PIECES = 100 };

static void *writev_main(void *arg)
{
	static uint8_t content[PIECES * PIECES / 2];
	struct iovec pieces[PIECES], before[PIECES];
	struct thrum_conn *ends[2];
	struct stream sink = {.pattern = 1};
	uint64_t pattern = 1;
	size_t at = 0, done;
	REQUIRE_EQ(thrum_conn_pair(ends), 0);
	int size = 2048;
	setsockopt(thrum_conn_fd(ends[0]), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)thrum__splitmix64(&pattern);
	for (size_t i = 0; i < PIECES; i++) { /* lengths 0, 1, 2 … 99 */
		pieces[i] = (struct iovec){.iov_base = content + at, .iov_len = i};
		at += i;
	}
	memcpy(before, pieces, sizeof(pieces));
	sink.conn = ends[1];
	struct thrum_thread *reader = green_spawn(receive_big, &sink);
	REQUIRE_EQ(thrum_conn_writev(ends[0], pieces, PIECES, &done, GREEN_SOON), 0);
	REQUIRE_EQ(done, at);
	REQUIRE(memcmp(before, pieces, sizeof(pieces)) == 0);
	REQUIRE_EQ(thrum_conn_writev(ends[0], pieces, 0, &done, THRUM_NOW), 0);
	REQUIRE_EQ(thrum_conn_writev(ends[0], pieces, 1, &done, THRUM_NOW), 0);
	REQUIRE_EQ(done, 0);
	REQUIRE_EQ(thrum_conn_writev(ends[0], pieces, -1, NULL, THRUM_NOW), -EINVAL);
	thrum_conn_close(ends[0]);
	green_join(reader);
	REQUIRE_EQ(sink.moved, at);
	thrum_conn_close(ends[1]);
	return NULL;
}

START_TEST(pieces_arrive_in_order_whatever_their_lengths)
{
	green_run(green_workers[_i], writev_main, NULL);
}
END_TEST

/* ---- fairness */

static void *sets_flag(void *arg)
{
	*(bool *)arg = true;
	return NULL;
}

/* One worker, and a connection that never makes its user wait. */
static void *always_ready_main(void *arg)
{
	struct thrum_conn *ends[2];
	bool ran = false;
	char byte = 'x';
	REQUIRE_EQ(thrum_conn_pair(ends), 0);
	struct thrum_thread *other = green_spawn(sets_flag, &ran);
	for (int i = 0; i < 1000 && !ran; i++) {
		REQUIRE_EQ(thrum_conn_write(ends[0], &byte, 1, NULL, GREEN_SOON), 0);
		REQUIRE_EQ(thrum_conn_read(ends[1], &byte, 1, GREEN_SOON), 1);
	}
	REQUIRE(ran);
	green_join(other);
	thrum_conn_close(ends[0]);
	thrum_conn_close(ends[1]);
	return NULL;
}

START_TEST(a_connection_that_is_always_ready_starves_nobody)
{
	green_run(1, always_ready_main, NULL);
}
END_TEST

/* ---- ends of streams */

static void *half_close_main(void *arg)
{
	struct thrum_conn *ends[2];
	char buf[16];
	size_t done;
	connect_pair(arg, ends);
	REQUIRE_EQ(thrum_conn_write(ends[0], "question", 8, NULL, GREEN_SOON), 0);
	REQUIRE_EQ(thrum_conn_shutdown_write(ends[0]), 0);
	REQUIRE_EQ(thrum_conn_write(ends[0], "x", 1, &done, GREEN_SOON), -EPIPE);
	REQUIRE_EQ(done, 0);
	REQUIRE_EQ(thrum_conn_read_exact(ends[1], buf, 9, &done, GREEN_SOON), THRUM_EEOF);
	REQUIRE_EQ(done, 8);
	REQUIRE_EQ(thrum_conn_read(ends[1], buf, sizeof(buf), GREEN_SOON), 0);
	REQUIRE_EQ(thrum_conn_read(ends[1], buf, sizeof(buf), GREEN_SOON), 0);
	REQUIRE_EQ(thrum_conn_write(ends[1], "answer", 6, NULL, GREEN_SOON), 0);
	thrum_conn_close(ends[1]);
	REQUIRE_EQ(thrum_conn_read_exact(ends[0], buf, 6, &done, GREEN_SOON), 0);
	REQUIRE(memcmp(buf, "answer", 6) == 0);
	REQUIRE_EQ(thrum_conn_read_exact(ends[0], buf, 1, &done, GREEN_SOON), THRUM_EEOF);
	REQUIRE_EQ(done, 0);
	REQUIRE_EQ(thrum_conn_read(ends[0], buf, 0, GREEN_SOON), -EINVAL);
	thrum_conn_close(ends[0]);
	thrum_conn_close(NULL);
	return NULL;
}

START_TEST(after_half_close_the_answer_still_comes)
{
	green_run(2, half_close_main, "127.0.0.1:0");
	green_run(2, half_close_main, unix_address);
}
END_TEST

struct two_reads {
	struct thrum_conn *conn;
	ssize_t first, second;
	int64_t took; /* the second */
};

static void *reads_twice(void *arg)
{
	struct two_reads *reads = arg;
	char buf[64];
	reads->first = thrum_conn_read(reads->conn, buf, sizeof(buf), GREEN_SOON);
	reads->took = -thrum_now();
	reads->second = thrum_conn_read(reads->conn, buf, sizeof(buf), GREEN_SOON);
	reads->took += thrum_now();
	return NULL;
}

/*
 * The reader sleeps when both come, so one event tells of both: the short read must not hide the
 * end.
 */
static void *end_with_bytes_main(void *arg)
{
	struct thrum_conn *ends[2];
	connect_pair("127.0.0.1:0", ends);
	struct two_reads reads = {.conn = ends[0]};
	struct thrum_thread *reader = green_spawn(reads_twice, &reads);
	thrum_yield();
	REQUIRE_EQ(thrum_conn_write(ends[1], "last", 4, NULL, GREEN_SOON), 0);
	thrum_conn_close(ends[1]);
	green_join(reader);
	REQUIRE_EQ(reads.first, 4);
	REQUIRE_EQ(reads.second, 0);
	REQUIRE(reads.took < 10 * THRUM_S); /* not by the last look at the deadline */
	thrum_conn_close(ends[0]);
	return NULL;
}

START_TEST(an_end_that_comes_with_the_last_bytes_is_noticed)
{
	green_run(green_workers[_i], end_with_bytes_main, NULL);
}
END_TEST

/* ---- addresses and credentials */

static void *names_main(void *arg)
{
	struct thrum_conn *ends[2];
	char near[THRUM_ADDRESS_MAX], far[THRUM_ADDRESS_MAX];
	struct thrum_credentials peer;
	connect_pair("127.0.0.1:0", ends);
	REQUIRE_EQ(thrum_conn_local_address(ends[0], near, sizeof(near)), 0);
	REQUIRE_EQ(thrum_conn_peer_address(ends[1], far, sizeof(far)), 0);
	REQUIRE(strcmp(near, far) == 0 && strncmp(near, "127.0.0.1:", 10) == 0);
	REQUIRE_EQ(thrum_conn_local_address(ends[0], near, 4), -ENOSPC);
	REQUIRE_EQ(thrum_conn_peer_credentials(ends[0], &peer), -EAFNOSUPPORT);
	thrum_conn_close(ends[0]);
	thrum_conn_close(ends[1]);
	connect_pair(unix_address, ends);
	REQUIRE_EQ(thrum_conn_peer_address(ends[0], far, sizeof(far)), 0);
	REQUIRE(strcmp(far, unix_address) == 0);
	REQUIRE_EQ(thrum_conn_peer_address(ends[1], far, sizeof(far)), 0);
	REQUIRE(strcmp(far, "unix:") == 0);
	REQUIRE_EQ(thrum_conn_peer_credentials(ends[1], &peer), 0);
	REQUIRE_EQ(peer.pid, getpid());
	REQUIRE_EQ(peer.uid, geteuid());
	thrum_conn_close(ends[0]);
	thrum_conn_close(ends[1]);
	return NULL;
}

START_TEST(both_ends_know_who_they_are)
{
	green_run(1, names_main, NULL);
}
END_TEST

/* ---- Unix socket files */

static void *socket_file_main(void *arg)
{
	struct thrum_listener *first, *second = NULL;
	const char *path = unix_address + 5;
	struct thrum_listen_options options = {.mode = 0620};
	struct stat st;
	umask(077);
	REQUIRE_EQ(thrum_listener_open(&first, unix_address, &options), 0);
	REQUIRE_EQ(stat(path, &st), 0);
	REQUIRE_EQ(st.st_mode & 07777, 0620);
	REQUIRE_EQ(thrum_listener_open(&second, unix_address, NULL), -EADDRINUSE);
	REQUIRE(second == NULL);
	REQUIRE_EQ(rename(path, moved_path), 0);
	REQUIRE_EQ(thrum_listener_open(&second, unix_address, NULL), 0);
	thrum_listener_close(first); /* the file at the path is not its own: it stays */
	REQUIRE_EQ(stat(path, &st), 0);
	thrum_listener_close(second);
	REQUIRE_EQ(stat(path, &st), -1);
	/* A socket file left behind by a process that is gone: nobody listens. */
	REQUIRE_EQ(rename(moved_path, path), 0);
	REQUIRE_EQ(thrum_listener_open(&first, unix_address, NULL), 0);
	thrum_listener_close(first);
	/* Any other file is never removed. */
	FILE *file = fopen(path, "w");
	fclose(file);
	REQUIRE_EQ(thrum_listener_open(&first, unix_address, NULL), -EADDRINUSE);
	REQUIRE_EQ(stat(path, &st), 0);
	return NULL;
}

START_TEST(only_a_stale_socket_file_is_replaced)
{
	green_run(1, socket_file_main, NULL);
}
END_TEST

static void *any_address_main(void *arg)
{
	struct thrum_listener *listener;
	char bound[THRUM_ADDRESS_MAX], to[THRUM_ADDRESS_MAX + 16];
	REQUIRE_EQ(thrum_listener_open(&listener, ":0", NULL), 0);
	REQUIRE_EQ(thrum_listener_address(listener, bound, sizeof(bound)), 0);
	const char *port = strrchr(bound, ':');
	const char *hosts[] = {"127.0.0.1", "", "localhost"};
	for (size_t i = 0; i < thrum__countof(hosts); i++) {
		struct thrum_conn *ends[2];
		snprintf(to, sizeof(to), "%s%s", hosts[i], port);
		int r = thrum_conn_open(&ends[0], to, GREEN_SOON);
		REQUIRE_EQ(r, 0);
		if (r < 0)
			continue;
		REQUIRE_EQ(thrum_listener_accept(listener, &ends[1], GREEN_SOON), 0);
		thrum_conn_close(ends[0]);
		thrum_conn_close(ends[1]);
	}
	thrum_listener_close(listener);
	return NULL;
}

START_TEST(a_listener_without_a_host_takes_every_family)
{
	green_run(2, any_address_main, NULL);
}
END_TEST

Suite *suite_net(void)
{
	Suite *suite = suite_create("io/net");
	TCase *basic = tcase_create("basic");
	tcase_add_checked_fixture(basic, set_up, tear_down);
	tcase_set_timeout(basic, 30);
	tcase_add_loop_test(basic, a_hundred_connections_get_their_own_bytes_back, 0, 12);
	tcase_add_loop_test(basic, a_mebibyte_each_way_passes_tiny_buffers_unharmed, 0, 6);
	tcase_add_loop_test(basic, pieces_arrive_in_order_whatever_their_lengths, 0, 3);
	tcase_add_test(basic, a_connection_that_is_always_ready_starves_nobody);
	tcase_add_test(basic, after_half_close_the_answer_still_comes);
	tcase_add_loop_test(basic, an_end_that_comes_with_the_last_bytes_is_noticed, 0, 3);
	tcase_add_test(basic, both_ends_know_who_they_are);
	tcase_add_test(basic, only_a_stale_socket_file_is_replaced);
	tcase_add_test(basic, a_listener_without_a_host_takes_every_family);
	suite_add_tcase(suite, basic);
	return suite;
}
