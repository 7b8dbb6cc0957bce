/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdio.h>

const uint8_t dialler_secret[RPC_KEY_SIZE] = {1, 2, 3}, listener_secret[RPC_KEY_SIZE] = {4, 5, 6};
struct seen seen;

static struct {
	struct thrum__lock lock;
	char text[256];
} failure;

void record_failure(const char *file, int line, const char *text, long long got, long long want)
{
	thrum__lock(&failure.lock);
	if (failure.text[0] == 0)
		snprintf(failure.text, sizeof(failure.text), "%s:%d: %s: got %lld, want %lld", file,
			line, text, got, want);
	thrum__unlock(&failure.lock);
}

struct job {
	void (*fn)(void *);
	void *arg;
};

static void *run_job(void *arg)
{
	struct job *job = arg;
	job->fn(job->arg);
	return NULL;
}

void run_green(unsigned workers, void (*fn)(void *), void *arg)
{
	struct thrum_config config = {.workers = workers};
	struct job job = {fn, arg};
	failure.text[0] = 0;
	seen = (struct seen){0};
	ck_assert_int_eq(thrum_run(&config, run_job, &job, NULL), 0);
	ck_assert_msg(failure.text[0] == 0, "%s", failure.text);
}

uint64_t test_seed(void)
{
	uint64_t seed;
	const char *text = getenv("THRUM_SEED");
	if (text != NULL)
		seed = strtoull(text, NULL, 0);
	else
		thrum__random_bytes(&seed, sizeof(seed));
	printf("THRUM_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout); /* a test that times out is killed */
	return seed;
}

void wait_for(const unsigned *counter, unsigned n)
{
	thrum_deadline deadline = thrum_after(5 * THRUM_S);
	while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < n) {
		if (thrum_now() > deadline) {
			EXPECT_EQ(__atomic_load_n(counter, __ATOMIC_ACQUIRE), n);
			return;
		}
		thrum_yield();
	}
}

/* ---------------------------------------------------------------- methods */

/* Many messages each way; ends with the client. */
static int echo(struct rpc_call *call, void *ctx)
{
	void *bytes;
	size_t len;
	int r;
	while ((r = rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER)) == 0) {
		r = rpc_call_send_bytes(call, bytes, len, THRUM_FOREVER);
		free(bytes);
		if (r < 0)
			return r;
	}
	__atomic_fetch_add(&seen.handled, 1, __ATOMIC_RELEASE);
	return r == THRUM_EEOF ? 0 : r;
}

static int unary(struct rpc_call *call, void *ctx)
{
	void *bytes, *more;
	size_t len, more_len;
	int r = rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER);
	if (r < 0)
		return r;
	EXPECT_EQ(rpc_call_recv_bytes(call, &more, &more_len, THRUM_NOW), THRUM_EEOF);
	r = rpc_call_send_bytes(call, bytes, len, THRUM_FOREVER);
	EXPECT_EQ(rpc_call_send_bytes(call, bytes, 1, THRUM_FOREVER), -EINVAL);
	free(bytes);
	return r;
}

/* One number in; that many messages out, each holding its index. */
static int count(struct rpc_call *call, void *ctx)
{
	uint32_t n, *request;
	size_t len;
	int r = rpc_call_recv_bytes(call, (void **)&request, &len, THRUM_FOREVER);
	if (r < 0)
		return r;
	n = len == sizeof(n) ? *request : 0;
	free(request);
	for (uint32_t i = 0; i < n && r == 0; i++)
		r = rpc_call_send_bytes(call, &i, sizeof(i), THRUM_FOREVER);
	return r;
}

/* Many messages in; out: how many bytes they were. */
static int sum(struct rpc_call *call, void *ctx)
{
	uint64_t total = 0;
	void *bytes;
	size_t len;
	int r;
	while ((r = rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER)) == 0) {
		total += len;
		free(bytes);
	}
	return r == THRUM_EEOF ? rpc_call_send_bytes(call, &total, sizeof(total), THRUM_FOREVER)
			       : r;
}

/* Sits in a blocking call that has nothing to do with the connection, until it is cancelled. */
static int hold(struct rpc_call *call, void *ctx)
{
	__atomic_fetch_add(&seen.handled, 1, __ATOMIC_RELEASE);
	int r = thrum_sleep(60 * THRUM_S);
	EXPECT_EQ(r, -ECANCELED);
	__atomic_fetch_add(&seen.canceled, 1, __ATOMIC_RELEASE);
	return r;
}

static int refuse(struct rpc_call *call, void *ctx)
{
	const struct grpc_metadata *meta = rpc_call_metadata(call, "x-reason");
	return rpc_call_fail(call, GRPC_FAILED_PRECONDITION, "not today: %s",
		meta != NULL ? (const char *)meta->value : "no reason");
}

static int code(struct rpc_call *call, void *ctx)
{
	return -ENOSPC;
}

static int mute(struct rpc_call *call, void *ctx)
{
	return 0;
}

static int hang_up(struct rpc_call *call, void *ctx)
{
	rpc_call_hang_up(call);
	return rpc_call_fail(call, GRPC_INVALID_ARGUMENT, "you broke the rules");
}

const struct rpc_method test_methods[] = {
	{"/test.T/Echo", RPC_BIDI, echo},
	{"/test.T/Unary", RPC_UNARY, unary},
	{"/test.T/Count", RPC_SERVER_STREAM, count},
	{"/test.T/Sum", RPC_CLIENT_STREAM, sum},
	{"/test.T/Hold", RPC_BIDI, hold},
	{"/test.T/Fail", RPC_UNARY, refuse},
	{"/test.T/Code", RPC_UNARY, code},
	{"/test.T/Mute", RPC_UNARY, mute},
	{"/test.T/HangUp", RPC_UNARY, hang_up},
	{"/grpc.health.v1.Health/Check", RPC_UNARY, rpc_health_check},
};
const size_t test_method_count = thrum__countof(test_methods);

/* ---------------------------------------------------------------- connections */

void connect_pair(enum wire wire, struct thrum_conn *out[2])
{
	if (wire == WIRE_UNIX || wire == WIRE_NOISE_UNIX) {
		CHECK(thrum_conn_pair(out) == 0);
		return;
	}
	struct thrum_listener *listener;
	char address[THRUM_ADDRESS_MAX];
	thrum_deadline deadline = thrum_after(5 * THRUM_S);
	CHECK(thrum_listener_open(&listener, "127.0.0.1:0", NULL) == 0);
	CHECK(thrum_listener_address(listener, address, sizeof(address)) == 0);
	CHECK(thrum_conn_open(&out[0], address, deadline) == 0);
	CHECK(thrum_listener_accept(listener, &out[1], deadline) == 0);
	thrum_listener_close(listener);
}

static enum rpc_verdict welcome(
	const uint8_t *key, const void *payload, size_t len, char *text, size_t cap, void *ctx)
{
	return RPC_VERDICT_OK;
}

struct accepting {
	struct thrum_conn *conn;
	struct rpc_transport *transport;
};

static void *accept_noise(void *arg)
{
	struct accepting *accepting = arg;
	struct rpc_noise_listen listen = {listener_secret, welcome, NULL};
	EXPECT_EQ(rpc_noise_accept(&accepting->transport, accepting->conn, &listen,
			  thrum_after(10 * THRUM_S)),
		0);
	return NULL;
}

void open_transports(enum wire wire, struct thrum_conn *conn[2], struct rpc_transport *out[2])
{
	if (wire == WIRE_UNIX || wire == WIRE_TCP) {
		CHECK(rpc_transport_plain(&out[0], conn[0]) == 0);
		CHECK(rpc_transport_plain(&out[1], conn[1]) == 0);
		return;
	}
	struct accepting accepting = {.conn = conn[1]};
	struct thrum_thread *thread;
	uint8_t key[RPC_KEY_SIZE];
	CHECK(rpc_noise_public_key(key, listener_secret) == 0);
	CHECK(thrum_spawn(&thread, accept_noise, &accepting) == 0);
	struct rpc_noise_dial dial = {.static_key = dialler_secret, .remote_key = key};
	CHECK(rpc_noise_connect(&out[0], conn[0], &dial, thrum_after(10 * THRUM_S)) == 0);
	CHECK(thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	out[1] = accepting.transport;
}

static void *serve(void *arg)
{
	struct link *link = arg;
	link->served = rpc_server_serve(link->server, link->server_transport, link);
	return NULL;
}

void link_open(struct link *link, enum wire wire, const struct link_options *options)
{
	static const struct link_options defaults;
	struct rpc_transport *transports[2];
	options = options != NULL ? options : &defaults;
	*link = (struct link){0};
	connect_pair(wire, link->raw);
	open_transports(wire, link->raw, transports);
	struct rpc_server_config config = {.methods = test_methods,
		.method_count = test_method_count,
		.limits = options->server};
	CHECK(rpc_server_create(&link->server, &config) == 0);
	link->server_transport = transports[!options->reversed];
	CHECK(thrum_spawn(&link->serving, serve, link) == 0);
	CHECK(rpc_client_create(&link->client, transports[options->reversed], &options->client) ==
		0);
}

void link_close_client(struct link *link)
{
	rpc_client_destroy(link->client);
	link->client = NULL;
}

void link_close(struct link *link)
{
	link_close_client(link);
	CHECK(thrum_join(link->serving, NULL, THRUM_FOREVER) == 0);
	rpc_server_destroy(link->server);
}
