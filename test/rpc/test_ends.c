/* SPDX-License-Identifier: MIT */
#include "harness.h"
#include "rpc/rpc_internal.h"

/* How calls and connections end, in order and otherwise. A run that returns left no green thread
 * behind. */

static struct rpc_call *open_call(struct link *link, const char *path, thrum_deadline deadline)
{
	struct rpc_call *call = NULL;
	CHECK(rpc_client_open(link->client, path, NULL, 0, deadline, &call) == 0);
	return call;
}

static void each(void (*fn)(void *))
{
	static const enum wire wires[] = {WIRE_UNIX, WIRE_NOISE_TCP};
	for (unsigned workers = 1; workers <= 8; workers *= 2)
		for (size_t i = 0; i < thrum__countof(wires); i++)
			run_green(workers, fn, (void *)(uintptr_t)&wires[i]);
}

/* ---------------------------------------------------------------- calls */

static void deadline_passes(void *arg)
{
	struct link link;
	struct rpc_status status;
	void *bytes;
	size_t len;
	link_open(&link, *(enum wire *)arg, NULL);
	struct rpc_call *call = open_call(&link, "/test.T/Hold", thrum_after(80 * THRUM_MS));
	EXPECT_EQ(rpc_call_recv_bytes(call, &bytes, &len, THRUM_NOW), -ETIMEDOUT);
	wait_for(&seen.handled, 1); /* the call itself lives on after a wait that timed out */
	EXPECT_EQ(rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER), -ETIMEDOUT);
	EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER), -ETIMEDOUT);
	EXPECT_EQ(status.code, GRPC_DEADLINE_EXCEEDED);
	rpc_call_destroy(call);
	wait_for(&seen.canceled, 1);
	struct rpc_call *late = NULL;
	EXPECT_EQ(rpc_client_open(link.client, "/test.T/Hold", NULL, 0, thrum_now() - 1, &late),
		-ETIMEDOUT);
	link_close(&link);
}

START_TEST(a_deadline_ends_the_call_on_both_sides)
{
	each(deadline_passes);
}
END_TEST

static void server_enforces(void *arg)
{
	/* The client asks for a deadline, then does nothing about it: the server cancels its
	 * handler by itself. */
	struct link link;
	link_open(&link, *(enum wire *)arg, NULL);
	struct rpc_call *call = open_call(&link, "/test.T/Hold", thrum_after(50 * THRUM_MS));
	wait_for(&seen.canceled, 1);
	rpc_call_destroy(call);
	link_close(&link);
}

START_TEST(a_server_enforces_a_deadline_by_itself)
{
	each(server_enforces);
}
END_TEST

static void cancel(void *arg)
{
	struct link link;
	link_open(&link, *(enum wire *)arg, NULL);
	struct rpc_call *call = open_call(&link, "/test.T/Hold", THRUM_FOREVER);
	wait_for(&seen.handled, 1);
	rpc_call_cancel(call);
	EXPECT_EQ(rpc_call_finish(call, NULL, THRUM_FOREVER), -ECANCELED);
	rpc_call_destroy(call);
	wait_for(&seen.canceled, 1);
	call = open_call(&link, "/test.T/Hold", THRUM_FOREVER);
	wait_for(&seen.handled, 2);
	rpc_call_destroy(call); /* given up without a word: the same */
	wait_for(&seen.canceled, 2);
	link_close(&link);
}

START_TEST(a_cancelled_call_cancels_its_handler)
{
	each(cancel);
}
END_TEST

static void *wait_in_recv(void *arg)
{
	void *bytes;
	size_t len;
	EXPECT_EQ(rpc_call_recv_bytes(arg, &bytes, &len, THRUM_FOREVER), -ECANCELED);
	return NULL;
}

static void cancel_waiter(void *arg)
{
	struct link link;
	struct thrum_thread *thread;
	link_open(&link, *(enum wire *)arg, NULL);
	struct rpc_call *call = open_call(&link, "/test.T/Echo", THRUM_FOREVER);
	CHECK(thrum_spawn(&thread, wait_in_recv, call) == 0);
	thrum_yield();
	thrum_cancel(thread);
	CHECK(thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	void *bytes;
	size_t len;
	EXPECT_EQ(rpc_call_send_bytes(call, "x", 1, THRUM_FOREVER), 0); /* the call is unharmed */
	EXPECT_EQ(rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER), 0);
	free(bytes);
	rpc_call_destroy(call);
	link_close(&link);
}

START_TEST(a_cancelled_waiter_leaves_its_call_unharmed)
{
	each(cancel_waiter);
}
END_TEST

/* ---------------------------------------------------------------- connections */

static void cut(void *arg)
{
	struct link link;
	struct rpc_status status;
	link_open(&link, *(enum wire *)arg, NULL);
	struct rpc_call *call = open_call(&link, "/test.T/Hold", THRUM_FOREVER);
	wait_for(&seen.handled, 1);
	thrum_conn_shutdown(link.raw[0]); /* the cable */
	EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER), -ECONNRESET);
	EXPECT_EQ(status.code, GRPC_UNAVAILABLE);
	wait_for(&seen.canceled, 1);
	rpc_call_destroy(call);
	EXPECT(!rpc_client_alive(link.client));
	EXPECT(rpc_client_wait(link.client, THRUM_FOREVER) != -ETIMEDOUT);
	struct rpc_call *other = NULL;
	EXPECT_EQ(
		rpc_client_open(link.client, "/a/b", NULL, 0, THRUM_FOREVER, &other), -ECONNRESET);
	link_close(&link);
}

START_TEST(a_cut_connection_ends_calls_and_handlers)
{
	each(cut);
}
END_TEST

static void client_leaves(void *arg)
{
	struct link link;
	link_open(&link, *(enum wire *)arg, NULL);
	EXPECT_EQ(rpc_client_wait(link.client, THRUM_NOW), -ETIMEDOUT);
	struct rpc_call *call = open_call(&link, "/test.T/Hold", THRUM_FOREVER);
	wait_for(&seen.handled, 1);
	rpc_client_close(link.client);
	EXPECT_EQ(rpc_client_wait(link.client, THRUM_FOREVER), 0);
	EXPECT_EQ(rpc_call_finish(call, NULL, THRUM_FOREVER), -ECONNRESET);
	rpc_call_destroy(call);
	link_close(&link);
	EXPECT_EQ(seen.canceled, 1);
	if (link.served != -ECONNRESET) /* TCP's word for bytes of ours that it had not read */
		EXPECT_EQ(link.served, 0);
}

START_TEST(a_client_that_leaves_takes_its_handlers_along)
{
	each(client_leaves);
}
END_TEST

static void server_stops(void *arg)
{
	struct link link;
	link_open(&link, *(enum wire *)arg, NULL);
	struct rpc_call *call = open_call(&link, "/test.T/Hold", THRUM_FOREVER);
	wait_for(&seen.handled, 1);
	thrum_cancel(link.serving);
	EXPECT_EQ(rpc_call_finish(call, NULL, THRUM_FOREVER), -ECONNRESET);
	rpc_call_destroy(call);
	link_close(&link);
	EXPECT_EQ(seen.canceled, 1);
	EXPECT_EQ(link.served, -ECANCELED);
}

START_TEST(a_cancelled_server_cancels_its_handlers)
{
	each(server_stops);
}
END_TEST

static void drain(void *arg)
{
	struct link link;
	void *bytes;
	size_t len;
	link_open(&link, *(enum wire *)arg, NULL);
	struct rpc_call *call = open_call(&link, "/test.T/Echo", THRUM_FOREVER);
	EXPECT_EQ(rpc_call_send_bytes(call, "x", 1, THRUM_FOREVER), 0);
	EXPECT_EQ(rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER), 0);
	free(bytes);
	rpc_server_drain(link.server);
	rpc_server_drain(link.server);
	thrum_deadline deadline = thrum_after(5 * THRUM_S);
	while (rpc_client_alive(link.client) && thrum_now() < deadline)
		thrum_yield();
	EXPECT(!rpc_client_alive(link.client));
	EXPECT_EQ(rpc_call_send_bytes(call, "y", 1, THRUM_FOREVER), 0); /* what runs may finish */
	EXPECT_EQ(rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER), 0);
	free(bytes);
	EXPECT_EQ(rpc_call_finish(call, NULL, THRUM_FOREVER), 0);
	rpc_call_destroy(call);
	EXPECT_EQ(rpc_client_wait(link.client, deadline), 0);
	link_close(&link);
	EXPECT_EQ(link.served, 0);
}

START_TEST(a_drained_server_finishes_what_runs_and_leaves)
{
	each(drain);
}
END_TEST

static void hang_up(void *arg)
{
	struct link link;
	struct rpc_status status;
	link_open(&link, *(enum wire *)arg, NULL);
	struct rpc_call *held = open_call(&link, "/test.T/Hold", THRUM_FOREVER);
	wait_for(&seen.handled, 1);
	struct rpc_call *call = open_call(&link, "/test.T/HangUp", THRUM_FOREVER);
	EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER), -EINVAL);
	EXPECT_EQ(strcmp(status.message, "you broke the rules"), 0);
	EXPECT_EQ(rpc_call_finish(held, NULL, THRUM_FOREVER), -ECONNRESET);
	rpc_call_destroy(call);
	rpc_call_destroy(held);
	link_close(&link);
	EXPECT_EQ(link.served, -ECONNABORTED);
}

START_TEST(a_handler_that_hangs_up_sends_its_status_first)
{
	each(hang_up);
}
END_TEST

/* ---------------------------------------------------------------- silence and noise */

static void dead_peer(void *arg)
{
	/* The other end is a socket that nobody reads: no answer to the PING. */
	struct thrum_conn *conn[2];
	struct rpc_transport *transport;
	struct rpc_client *client;
	struct rpc_limits limits = {.keepalive = 60 * THRUM_MS};
	connect_pair(WIRE_UNIX, conn);
	CHECK(rpc_transport_plain(&transport, conn[0]) == 0);
	int64_t began = thrum_now();
	CHECK(rpc_client_create(&client, transport, &limits) == 0);
	EXPECT_EQ(rpc_client_wait(client, thrum_after(10 * THRUM_S)), -ETIMEDOUT);
	EXPECT(!rpc_client_alive(client));
	EXPECT(thrum_now() - began >= 60 * THRUM_MS);
	rpc_client_destroy(client);
	thrum_conn_close(conn[1]);
	/* The same for a server. */
	connect_pair(WIRE_UNIX, &conn[0]);
	struct rpc_server_config config = {
		.methods = test_methods, .method_count = test_method_count, .limits = limits};
	struct rpc_server *server;
	CHECK(rpc_server_create(&server, &config) == 0);
	CHECK(rpc_transport_plain(&transport, conn[0]) == 0);
	EXPECT_EQ(rpc_server_serve(server, transport, NULL), -ETIMEDOUT);
	rpc_server_destroy(server);
	thrum_conn_close(conn[1]);
}

START_TEST(a_dead_peer_is_noticed)
{
	run_green(2, dead_peer, NULL);
}
END_TEST

static void quiet_peer(void *arg)
{
	struct link link;
	struct link_options options = {
		.client.keepalive = 600 * THRUM_MS, .server.keepalive = 600 * THRUM_MS};
	link_open(&link, WIRE_NOISE_UNIX, &options);
	/* Nobody calls for many times that long: PINGs keep the connection. */
	EXPECT_EQ(rpc_client_wait(link.client, thrum_after(1500 * THRUM_MS)), -ETIMEDOUT);
	EXPECT(rpc_client_alive(link.client));
	link_close(&link);
}

START_TEST(a_quiet_peer_is_kept)
{
	run_green(2, quiet_peer, NULL);
}
END_TEST

/* The biggest record, on a wire that takes its time over it. */
static void *dribble(void *arg)
{
	struct rpc_transport *slow = arg;
	thrum_deadline end = thrum_after(1600 * THRUM_MS);
	static const uint8_t length[2] = {0xff, 0xff};
	int r = thrum_conn_write(slow->conn, length, 2, NULL, THRUM_FOREVER);
	while (r == 0 && thrum_now() < end) {
		(void)!thrum_sleep(20 * THRUM_MS);
		r = thrum_conn_write(slow->conn, "x", 1, NULL, THRUM_FOREVER);
	}
	thrum_conn_shutdown(slow->conn);
	return NULL;
}

static void slow_wire(void *arg)
{
	struct thrum_conn *ends[2];
	struct rpc_transport *transports[2];
	struct thrum_thread *writer;
	struct rpc_server *server;
	struct rpc_server_config config = {.methods = test_methods,
		.method_count = test_method_count,
		.limits.keepalive = 1 * THRUM_S};
	connect_pair(WIRE_NOISE_UNIX, ends);
	open_transports(WIRE_NOISE_UNIX, ends, transports);
	CHECK(rpc_server_create(&server, &config) == 0);
	CHECK(thrum_spawn(&writer, dribble, transports[0]) == 0);
	/* Cut within a record by its peer, not given up for its silence. */
	EXPECT_EQ(rpc_server_serve(server, transports[1], NULL), -ECONNRESET);
	CHECK(thrum_join(writer, NULL, THRUM_FOREVER) == 0);
	rpc_transport_destroy(transports[0]);
	rpc_server_destroy(server);
}

START_TEST(a_slow_wire_is_not_a_dead_peer)
{
	run_green(2, slow_wire, NULL);
}
END_TEST

/* A server that opens its windows and goes on talking, and never reads. */
static void *talk(void *arg)
{
	static const uint8_t opening[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff,
		0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0};
	static const uint8_t window_update[] = {0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	int r = thrum_conn_write(arg, opening, sizeof(opening), NULL, THRUM_FOREVER);
	while (r == 0) {
		(void)!thrum_sleep(20 * THRUM_MS);
		r = thrum_conn_write(
			arg, window_update, sizeof(window_update), NULL, THRUM_FOREVER);
	}
	return NULL;
}

static void talker(void *arg)
{
	struct thrum_conn *conn[2];
	struct rpc_transport *transport;
	struct rpc_client *client;
	struct rpc_call *call;
	struct thrum_thread *thread;
	struct rpc_limits limits = {.keepalive = 300 * THRUM_MS};
	static const uint8_t zeros[4 << 20];
	connect_pair(WIRE_UNIX, conn);
	CHECK(rpc_transport_plain(&transport, conn[0]) == 0);
	CHECK(rpc_client_create(&client, transport, &limits) == 0);
	CHECK(thrum_spawn(&thread, talk, conn[1]) == 0);
	CHECK(rpc_client_open(client, "/test.T/Up", NULL, 0, THRUM_FOREVER, &call) == 0);
	EXPECT_EQ(rpc_call_send_bytes(call, zeros, sizeof(zeros), THRUM_FOREVER), 0);
	EXPECT_EQ(rpc_call_finish(call, NULL, thrum_after(10 * THRUM_S)), -ECONNRESET);
	EXPECT(!rpc_client_alive(client));
	rpc_call_destroy(call);
	rpc_client_destroy(client);
	CHECK(thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	thrum_conn_close(conn[1]);
}

START_TEST(a_peer_that_talks_and_never_reads_is_dead)
{
	run_green(2, talker, NULL);
}
END_TEST

static void garbage(void *arg)
{
	struct thrum_conn *conn[2];
	struct rpc_transport *transport;
	struct rpc_server *server;
	struct rpc_server_config config = {
		.methods = test_methods, .method_count = test_method_count};
	CHECK(rpc_server_create(&server, &config) == 0);
	connect_pair(WIRE_UNIX, conn);
	CHECK(rpc_transport_plain(&transport, conn[0]) == 0);
	EXPECT_EQ(thrum_conn_write(conn[1], "GET / HTTP/1.1\r\n\r\n", 18, NULL, THRUM_FOREVER), 0);
	EXPECT_EQ(rpc_server_serve(server, transport, NULL), THRUM_EFORMAT);
	thrum_conn_close(conn[1]);
	rpc_server_destroy(server);
}

START_TEST(a_client_that_does_not_speak_http2_is_dropped)
{
	run_green(2, garbage, NULL);
}
END_TEST

/* ---------------------------------------------------------------- a hostile wire */

/* Copies one direction; after `limit` bytes it cuts both ends, or flips a bit of that byte. */
struct copier {
	struct thrum_conn *from, *to;
	uint64_t limit;
	bool flip;
};

static void *copy(void *arg)
{
	struct copier *copier = arg;
	uint8_t bytes[4096];
	uint64_t seen_bytes = 0;
	ssize_t n;
	while ((n = thrum_conn_read(copier->from, bytes, sizeof(bytes), THRUM_FOREVER)) > 0) {
		bool here = copier->limit - seen_bytes < (uint64_t)n && copier->limit >= seen_bytes;
		size_t len =
			here && !copier->flip ? (size_t)(copier->limit - seen_bytes) : (size_t)n;
		if (here && copier->flip)
			bytes[copier->limit - seen_bytes] ^= 0x20;
		if (thrum_conn_write(copier->to, bytes, len, NULL, THRUM_FOREVER) < 0 ||
			(here && !copier->flip))
			break;
		seen_bytes += (uint64_t)n;
	}
	thrum_conn_shutdown(copier->from);
	thrum_conn_shutdown(copier->to);
	return NULL;
}

struct hostile {
	enum wire wire;
	uint64_t seed;
	bool flip;
};

static void *serve_raw(void *arg)
{
	struct link *link = arg;
	link->served = rpc_server_serve(link->server, link->server_transport, NULL);
	return NULL;
}

static void use_link(struct link *link)
{
	struct rpc_call *call, *held = NULL;
	void *bytes;
	size_t len;
	int r = rpc_client_open(link->client, "/test.T/Echo", NULL, 0, THRUM_FOREVER, &call);
	if (r < 0)
		return;
	(void)!rpc_client_open(link->client, "/test.T/Hold", NULL, 0, THRUM_FOREVER, &held);
	uint8_t message[2000] = {0};
	for (int i = 0; i < 20 && r == 0; i++) {
		r = rpc_call_send_bytes(call, message, (size_t)(i * 100), THRUM_FOREVER);
		if (r == 0 && (r = rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER)) == 0)
			free(bytes);
	}
	rpc_call_destroy(call);
	rpc_call_destroy(held);
}

static bool refusal(int code)
{
	return code == THRUM_EAUTH || code == THRUM_EFORMAT || code == -ETIMEDOUT;
}

static void hostile_wire(void *arg)
{
	static const struct rpc_limits limits = {.keepalive = 2 * THRUM_S};
	struct hostile *hostile = arg;
	struct thrum_conn *left[2], *right[2], *ends[2];
	struct rpc_transport *transports[2];
	struct thrum_thread *copiers[2];
	struct link link = {0};
	connect_pair(hostile->wire, left);
	connect_pair(hostile->wire, right);
	ends[0] = left[0];
	ends[1] = right[1];
	/* The handshake, then the first requests and the rest are hit alike. */
	bool sealed = hostile->wire >= WIRE_NOISE_UNIX;
	uint64_t spare = sealed ? 300 : 0, span = 30000;
	struct copier up = {
		left[1], right[0], spare + thrum__splitmix64(&hostile->seed) % span, hostile->flip};
	struct copier down = {
		right[0], left[1], spare + thrum__splitmix64(&hostile->seed) % span, hostile->flip};
	CHECK(thrum_spawn(&copiers[0], copy, &up) == 0);
	CHECK(thrum_spawn(&copiers[1], copy, &down) == 0);
	open_transports(hostile->wire, ends, transports);
	struct rpc_server_config config = {
		.methods = test_methods, .method_count = test_method_count};
	CHECK(rpc_server_create(&link.server, &config) == 0);
	link.server_transport = transports[1];
	CHECK(thrum_spawn(&link.serving, serve_raw, &link) == 0);
	CHECK(rpc_client_create(&link.client, transports[0], &limits) == 0);
	use_link(&link);
	bool hit = !rpc_client_alive(link.client);
	int reason = rpc_client_wait(link.client, THRUM_NOW);
	link_close(&link);
	/* Refused by whom it reached first, or, if it made a length longer, noticed by the silence.
	 */
	if (hostile->flip && hit)
		EXPECT(refusal(reason) || refusal(link.served));
	for (int i = 0; i < 2; i++)
		CHECK(thrum_join(copiers[i], NULL, THRUM_FOREVER) == 0);
	thrum_conn_close(left[1]);
	thrum_conn_close(right[0]);
}

START_TEST(a_connection_cut_at_any_byte_leaves_nothing_behind)
{
	struct hostile hostile = {.seed = test_seed()};
	for (int i = 0; i < 60; i++) {
		hostile.wire = i % 2 ? WIRE_UNIX : WIRE_NOISE_UNIX;
		run_green(1 + i % 3, hostile_wire, &hostile);
	}
}
END_TEST

START_TEST(a_flipped_bit_on_a_sealed_wire_ends_the_connection)
{
	struct hostile hostile = {.seed = test_seed(), .flip = true, .wire = WIRE_NOISE_UNIX};
	for (int i = 0; i < 40; i++)
		run_green(1 + i % 3, hostile_wire, &hostile);
}
END_TEST

Suite *suite_ends(void)
{
	Suite *suite = suite_create("rpc/ends");
	TCase *calls = tcase_create("calls");
	tcase_set_timeout(calls, 30);
	tcase_add_test(calls, a_deadline_ends_the_call_on_both_sides);
	tcase_add_test(calls, a_server_enforces_a_deadline_by_itself);
	tcase_add_test(calls, a_cancelled_call_cancels_its_handler);
	tcase_add_test(calls, a_cancelled_waiter_leaves_its_call_unharmed);
	suite_add_tcase(suite, calls);
	TCase *connections = tcase_create("connections");
	tcase_set_timeout(connections, 30);
	tcase_add_test(connections, a_cut_connection_ends_calls_and_handlers);
	tcase_add_test(connections, a_client_that_leaves_takes_its_handlers_along);
	tcase_add_test(connections, a_cancelled_server_cancels_its_handlers);
	tcase_add_test(connections, a_drained_server_finishes_what_runs_and_leaves);
	tcase_add_test(connections, a_handler_that_hangs_up_sends_its_status_first);
	tcase_add_test(connections, a_dead_peer_is_noticed);
	tcase_add_test(connections, a_quiet_peer_is_kept);
	tcase_add_test(connections, a_slow_wire_is_not_a_dead_peer);
	tcase_add_test(connections, a_peer_that_talks_and_never_reads_is_dead);
	tcase_add_test(connections, a_client_that_does_not_speak_http2_is_dropped);
	suite_add_tcase(suite, connections);
	TCase *hostile = tcase_create("hostile wire");
	tcase_set_timeout(hostile, 30);
	tcase_add_test(hostile, a_connection_cut_at_any_byte_leaves_nothing_behind);
	tcase_add_test(hostile, a_flipped_bit_on_a_sealed_wire_ends_the_connection);
	suite_add_tcase(suite, hostile);
	return suite;
}
