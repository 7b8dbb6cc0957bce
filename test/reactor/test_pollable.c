/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"
#include "ctx/sanitizer.h"
#include "reactor/reactor.h"
#include <thrum/thread.h>

static const unsigned workers[] = {1, 2, 8};

static void *run(unsigned index, thrum_fn fn, void *arg)
{
	struct thrum_config config = {.workers = workers[index]};
	void *result = NULL;
	ck_assert_int_eq(thrum_run(&config, fn, arg, &result), 0);
	return result;
}

/* A connected pair, both ends pollable. */
struct pair {
	int fd[2];
	struct thrum__pollable *end[2];
};

static bool pair_open(struct pair *pair, int type)
{
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair->fd) == 0 &&
	       thrum__pollable_open(&pair->end[0], pair->fd[0]) == 0 &&
	       thrum__pollable_open(&pair->end[1], pair->fd[1]) == 0;
}

static void pair_close(struct pair *pair)
{
	for (int i = 0; i < 2; i++) {
		thrum__pollable_close(pair->end[i]);
		close(pair->fd[i]);
	}
}

/* errno is read where nothing suspends. */
static ssize_t __attribute__((noinline)) try_read(int fd, void *to, size_t len)
{
	ssize_t n = read(fd, to, len);
	return n < 0 ? -errno : n;
}

static ssize_t __attribute__((noinline)) try_write(int fd, const void *from, size_t len)
{
	ssize_t n = send(fd, from, len, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static ssize_t read_some(struct pair *pair, int end, void *to, size_t len, thrum_deadline deadline)
{
	ssize_t n;
	while ((n = try_read(pair->fd[end], to, len)) == -EAGAIN) {
		int err = thrum__pollable_wait(pair->end[end], THRUM__READABLE, "read", deadline);
		if (err < 0)
			return err;
	}
	return n;
}

static bool write_all(struct pair *pair, int end, const char *from, size_t len)
{
	while (len > 0) {
		ssize_t n = try_write(pair->fd[end], from, len);
		if (n == -EAGAIN)
			n = thrum__pollable_wait(
				pair->end[end], THRUM__WRITABLE, "write", THRUM_FOREVER);
		if (n < 0)
			return false;
		from += n;
		len -= (size_t)n;
	}
	return true;
}

/* ---------------------------------------------------------------- echo and bulk */

#if defined(THRUM__TSAN)
enum { TURNS = 300, PAIRS = 20, BULK = 1 << 20 };
#else
enum { TURNS = 1000, PAIRS = 50, BULK = 4 << 20 };
#endif

static void *echo(void *arg)
{
	struct pair *pair = arg;
	char buf[16];
	ssize_t n;
	while ((n = read_some(pair, 1, buf, sizeof(buf), THRUM_FOREVER)) > 0)
		if (!write_all(pair, 1, buf, (size_t)n))
			return NULL;
	return n == 0 ? arg : NULL;
}

static void *client(void *arg)
{
	(void)arg;
	struct pair *pair = calloc(1, sizeof(*pair));
	struct thrum_thread *server;
	void *served = NULL;
	if (pair == NULL || !pair_open(pair, SOCK_STREAM) || thrum_spawn(&server, echo, pair) != 0)
		return NULL;
	bool ok = true;
	for (int i = 0; i < TURNS / PAIRS + 5; i++) {
		char byte = (char)i, back = 0;
		ok = write_all(pair, 0, &byte, 1) && ok;
		ok = read_some(pair, 0, &back, 1, THRUM_FOREVER) == 1 && back == byte && ok;
	}
	shutdown(pair->fd[0], SHUT_WR);
	ok = thrum_join(server, &served, THRUM_FOREVER) == 0 && served == pair && ok;
	pair_close(pair);
	free(pair);
	return ok ? (void *)1 : NULL;
}

static void *many_clients(void *arg)
{
	struct thrum_thread *threads[PAIRS];
	bool ok = true;
	for (int i = 0; i < PAIRS; i++)
		ok = thrum_spawn(&threads[i], client, NULL) == 0 && ok;
	for (int i = 0; i < PAIRS; i++) {
		void *result = NULL;
		ok = thrum_join(threads[i], &result, THRUM_FOREVER) == 0 && result != NULL && ok;
	}
	return ok ? arg : NULL;
}

START_TEST(many_pairs_echo)
{
	ck_assert_ptr_nonnull(run(_i, many_clients, &(int){0}));
}
END_TEST

START_TEST(many_pairs_echo_under_forced_migration)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	ck_assert_ptr_nonnull(run(_i, many_clients, &(int){0}));
}
END_TEST

static void *bulk_writer(void *arg)
{
	char *bytes = calloc(1, BULK);
	bool ok = bytes != NULL && write_all(arg, 0, bytes, BULK);
	free(bytes);
	return ok ? arg : NULL;
}

static void *bulk(void *arg)
{
	struct pair pair;
	struct thrum_thread *writer;
	void *wrote = NULL;
	size_t total = 0;
	char buf[4096];
	ssize_t n = 1;
	if (!pair_open(&pair, SOCK_STREAM) || thrum_spawn(&writer, bulk_writer, &pair) != 0)
		return NULL;
	while (total < BULK && (n = read_some(&pair, 1, buf, sizeof(buf), THRUM_FOREVER)) > 0)
		total += (size_t)n;
	bool ok = thrum_join(writer, &wrote, THRUM_FOREVER) == 0 && wrote != NULL;
	pair_close(&pair);
	return ok && total == BULK ? arg : NULL;
}

START_TEST(a_full_descriptor_makes_the_writer_wait)
{
	ck_assert_ptr_nonnull(run(_i, bulk, &(int){0}));
}
END_TEST

/* ---------------------------------------------------------------- ends of a wait */

struct lone_reader {
	struct pair *pair;
	thrum_deadline deadline;
	bool started; /* atomic */
};

static void *lone_reader(void *arg)
{
	struct lone_reader *reader = arg;
	char byte;
	__atomic_store_n(&reader->started, true, __ATOMIC_RELEASE);
	return (void *)(intptr_t)read_some(reader->pair, 0, &byte, 1, reader->deadline);
}

static void *close_while_waiting(void *arg)
{
	struct pair pair;
	struct lone_reader reader = {&pair, THRUM_FOREVER, false};
	struct thrum_thread *thread;
	void *result = NULL;
	if (!pair_open(&pair, SOCK_STREAM) || thrum_spawn(&thread, lone_reader, &reader) != 0)
		return NULL;
	/* Until the reader has surely begun to wait: a wait may not begin after close. */
	while (!__atomic_load_n(&reader.started, __ATOMIC_ACQUIRE))
		thrum_yield();
	if (thrum_join(thread, NULL, thrum_after(20 * THRUM_MS)) != -ETIMEDOUT)
		return NULL;
	thrum__pollable_close(pair.end[0]);
	close(pair.fd[0]);
	bool ok = thrum_join(thread, &result, THRUM_FOREVER) == 0 &&
		  (intptr_t)result == THRUM_ECLOSED;
	thrum__pollable_close(pair.end[1]);
	close(pair.fd[1]);
	return ok ? arg : NULL;
}

START_TEST(close_ends_a_wait)
{
	ck_assert_ptr_nonnull(run(_i, close_while_waiting, &(int){0}));
}
END_TEST

static void *cancel_while_waiting(void *arg)
{
	struct pair pair;
	struct lone_reader reader = {&pair, THRUM_FOREVER, false};
	struct thrum_thread *thread;
	void *result = NULL;
	if (!pair_open(&pair, SOCK_STREAM) || thrum_spawn(&thread, lone_reader, &reader) != 0)
		return NULL;
	while (!__atomic_load_n(&reader.started, __ATOMIC_ACQUIRE))
		thrum_yield();
	thrum_cancel(thread);
	bool ok = thrum_join(thread, &result, THRUM_FOREVER) == 0 && (intptr_t)result == -ECANCELED;
	pair_close(&pair);
	return ok ? arg : NULL;
}

START_TEST(cancel_ends_a_wait)
{
	ck_assert_ptr_nonnull(run(_i, cancel_while_waiting, &(int){0}));
}
END_TEST

static void *time_out(void *arg)
{
	struct pair pair;
	char byte = 'x';
	if (!pair_open(&pair, SOCK_STREAM))
		return NULL;
	bool ok = read_some(&pair, 0, &byte, 1, thrum_after(THRUM_MS)) == -ETIMEDOUT;
	ok = read_some(&pair, 0, &byte, 1, THRUM_NOW) == -ETIMEDOUT && ok;
	/* The edge of this byte must not be lost to the wait that is over. */
	ok = write_all(&pair, 1, "y", 1) && ok;
	ok = read_some(&pair, 0, &byte, 1, THRUM_FOREVER) == 1 && byte == 'y' && ok;
	ok = read_some(&pair, 0, &byte, 1, thrum_after(THRUM_MS)) == -ETIMEDOUT && ok;
	close(pair.fd[1]);
	ok = read_some(&pair, 0, &byte, 1, THRUM_FOREVER) == 0 && ok; /* end of stream */
	thrum__pollable_close(pair.end[0]);
	thrum__pollable_close(pair.end[1]);
	close(pair.fd[0]);
	return ok ? arg : NULL;
}

START_TEST(a_wait_times_out_and_the_next_one_works)
{
	ck_assert_ptr_nonnull(run(_i, time_out, &(int){0}));
}
END_TEST

static void *not_pollable(void *arg)
{
	struct thrum__pollable *pollable;
	char name[] = "/tmp/thrum-pollable-XXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	int err = thrum__pollable_open(&pollable, fd);
	close(fd);
	return err == -EPERM && thrum__pollable_open(&pollable, -1) == -EBADF ? arg : NULL;
}

START_TEST(a_regular_file_is_refused)
{
	ck_assert_ptr_nonnull(run(_i, not_pollable, &(int){0}));
}
END_TEST

/*
 * ---------------------------------------------------------------- several readers of one
 * descriptor
 */

enum { READERS = 10, DATAGRAMS = 200 };

struct shared {
	struct pair pair;
	int left, got; /* atomic */
};

/*
 * Reads one datagram at a time and then lets others in: no reader ever drains the descriptor on
 * purpose.
 */
static void *shared_reader(void *arg)
{
	struct shared *shared = arg;
	char byte;
	while (__atomic_sub_fetch(&shared->left, 1, __ATOMIC_RELAXED) >= 0) {
		if (read_some(&shared->pair, 0, &byte, 1, THRUM_FOREVER) != 1)
			return NULL;
		__atomic_fetch_add(&shared->got, 1, __ATOMIC_RELAXED);
		if (byte % 3 == 0)
			thrum_yield();
	}
	return arg;
}

static void *share(void *arg)
{
	struct shared shared = {.left = DATAGRAMS};
	struct thrum_thread *threads[READERS];
	bool ok = pair_open(&shared.pair, SOCK_DGRAM);
	for (int i = 0; i < READERS; i++)
		ok = thrum_spawn(&threads[i], shared_reader, &shared) == 0 && ok;
	for (int i = 0; i < DATAGRAMS; i++) {
		char byte = (char)i;
		ok = write_all(&shared.pair, 1, &byte, 1) && ok;
		if (i % 7 == 0)
			thrum_yield();
	}
	for (int i = 0; i < READERS; i++) {
		void *result = NULL;
		ok = thrum_join(threads[i], &result, THRUM_FOREVER) == 0 && result != NULL && ok;
	}
	pair_close(&shared.pair);
	return ok && shared.got == DATAGRAMS ? arg : NULL;
}

START_TEST(readers_that_share_a_descriptor_lose_no_edge)
{
	for (int i = 0; i < 20; i++)
		ck_assert_ptr_nonnull(run(_i, share, &(int){0}));
}
END_TEST

static void *read_one(void *arg)
{
	char byte;
	return read_some(arg, 0, &byte, 1, THRUM_FOREVER) == 1 ? arg : NULL;
}

static void *edge_to_another(void *arg)
{
	struct pair pair;
	struct thrum_thread *first;
	char byte;
	void *result = NULL;
	if (!pair_open(&pair, SOCK_DGRAM) || thrum_spawn(&first, read_one, &pair) != 0)
		return NULL;
	if (thrum_join(first, NULL, thrum_after(5 * THRUM_MS)) != -ETIMEDOUT)
		return NULL; /* it waits now */
	bool ok = try_read(pair.fd[0], &byte, 1) == -EAGAIN;
	ok = write_all(&pair, 1, "a", 1) && write_all(&pair, 1, "b", 1) && ok;
	ok = thrum_join(first, &result, THRUM_FOREVER) == 0 && result != NULL && ok;
	/* One is left, no edge will come any more, and our own try was before the last one. */
	ok = thrum__pollable_wait(pair.end[0], THRUM__READABLE, "read", thrum_after(5 * THRUM_S)) ==
		     0 &&
	     ok;
	ok = try_read(pair.fd[0], &byte, 1) == 1 && ok;
	pair_close(&pair);
	return ok ? arg : NULL;
}

START_TEST(an_edge_that_went_to_another_reader_is_not_waited_for)
{
	ck_assert_ptr_nonnull(run(_i, edge_to_another, &(int){0}));
}
END_TEST

/* ---------------------------------------------------------------- OS threads and other runtimes */

static void *os_writer(void *arg)
{
	return write_all(arg, 1, "z", 1) ? arg : NULL;
}

START_TEST(an_os_thread_waits_without_a_runtime)
{
	struct pair pair;
	char byte = 0;
	pthread_t writer;
	ck_assert(pair_open(&pair, SOCK_STREAM));
	ck_assert_int_eq(read_some(&pair, 0, &byte, 1, thrum_after(THRUM_MS)), -ETIMEDOUT);
	ck_assert_int_eq(pthread_create(&writer, NULL, os_writer, &pair), 0);
	ck_assert_int_eq(read_some(&pair, 0, &byte, 1, THRUM_FOREVER), 1);
	ck_assert_int_eq(byte, 'z');
	ck_assert_int_eq(pthread_join(writer, NULL), 0);
	pair_close(&pair);
}
END_TEST

static void *open_pair(void *arg)
{
	return pair_open(arg, SOCK_STREAM) ? arg : NULL;
}

static void *use_pair(void *arg)
{
	struct pair *pair = arg;
	char byte = 0;
	struct thrum_thread *writer;
	if (read_some(pair, 0, &byte, 1, thrum_after(THRUM_MS)) != -ETIMEDOUT ||
		thrum_spawn(&writer, os_writer, arg) != 0)
		return NULL;
	thrum_detach(writer);
	return read_some(pair, 0, &byte, 1, THRUM_FOREVER) == 1 ? arg : NULL;
}

START_TEST(a_pollable_outlives_its_runtime)
{
	struct pair pair;
	ck_assert_ptr_nonnull(run(_i, open_pair, &pair));
	ck_assert_ptr_nonnull(run(_i, use_pair, &pair));
	ck_assert_ptr_nonnull(run(_i, use_pair, &pair));
	pair_close(&pair);
}
END_TEST

static void *churn(void *arg)
{
	for (int i = 0; i < 100; i++) {
		struct pair pair;
		char byte;
		if (!pair_open(&pair, SOCK_STREAM) || !write_all(&pair, 1, "a", 1))
			return NULL;
		if (i % 2 == 0 && read_some(&pair, 0, &byte, 1, THRUM_FOREVER) != 1)
			return NULL;
		pair_close(&pair); /* with an edge possibly in some worker's batch */
	}
	return arg;
}

static void *many_churn(void *arg)
{
	struct thrum_thread *threads[8];
	bool ok = true;
	for (int i = 0; i < 8; i++)
		ok = thrum_spawn(&threads[i], churn, arg) == 0 && ok;
	for (int i = 0; i < 8; i++) {
		void *result = NULL;
		ok = thrum_join(threads[i], &result, THRUM_FOREVER) == 0 && result != NULL && ok;
	}
	return ok ? arg : NULL;
}

START_TEST(descriptors_come_and_go)
{
	ck_assert_ptr_nonnull(run(_i, many_churn, &(int){0}));
}
END_TEST

Suite *suite_pollable(void)
{
	Suite *suite = suite_create("reactor/pollable");
	int n = thrum__countof(workers);
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 20);
	tcase_add_loop_test(basic, many_pairs_echo, 0, n);
	tcase_add_loop_test(basic, many_pairs_echo_under_forced_migration, 0, n);
	tcase_add_loop_test(basic, a_full_descriptor_makes_the_writer_wait, 0, n);
	tcase_add_loop_test(basic, close_ends_a_wait, 0, n);
	tcase_add_loop_test(basic, cancel_ends_a_wait, 0, n);
	tcase_add_loop_test(basic, a_wait_times_out_and_the_next_one_works, 0, n);
	tcase_add_loop_test(basic, a_regular_file_is_refused, 0, n);
	tcase_add_loop_test(basic, readers_that_share_a_descriptor_lose_no_edge, 0, n);
	tcase_add_loop_test(basic, an_edge_that_went_to_another_reader_is_not_waited_for, 0, n);
	tcase_add_test(basic, an_os_thread_waits_without_a_runtime);
	tcase_add_loop_test(basic, a_pollable_outlives_its_runtime, 0, n);
	tcase_add_loop_test(basic, descriptors_come_and_go, 0, n);
	suite_add_tcase(suite, basic);
	return suite;
}
