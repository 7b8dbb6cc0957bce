/* SPDX-License-Identifier: MIT */
/*
 * Calls per second and bytes per second between a client and a server in one runtime, over loopback
 * TCP in the clear and through a Noise channel: rpc [SECONDS per figure, default 1].
 */
#include <stdio.h>

#include <thrum/net.h>
#include <thrum/thread.h>

#include "base/base.h"
#include "rpc/rpc.h"

enum { BIG = 1 << 20 };

static const uint8_t secrets[2][RPC_KEY_SIZE] = {{1}, {2}};
static int64_t span = THRUM_S;

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
	return r == THRUM_EEOF ? 0 : r;
}

static int down(struct rpc_call *call, void *ctx)
{
	static const uint8_t zeros[BIG];
	uint32_t *size;
	size_t len;
	int r = rpc_call_recv_bytes(call, (void **)&size, &len, THRUM_FOREVER);
	if (r < 0)
		return r;
	size_t n = *size;
	free(size);
	while (r == 0)
		r = rpc_call_send_bytes(call, zeros, n, THRUM_FOREVER);
	return r;
}

static int up(struct rpc_call *call, void *ctx)
{
	void *bytes;
	size_t len;
	int r;
	while ((r = rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER)) == 0)
		free(bytes);
	return r;
}

static const struct rpc_method methods[] = {
	{"/b.B/Echo", RPC_BIDI, echo}, {"/b.B/Down", RPC_BIDI, down}, {"/b.B/Up", RPC_BIDI, up}};

struct ends {
	struct rpc_server *server;
	struct rpc_client *client;
	struct thrum_conn *accepted;
	bool sealed;
};

static enum rpc_verdict welcome(
	const uint8_t *key, const void *payload, size_t len, char *text, size_t cap, void *ctx)
{
	return RPC_VERDICT_OK;
}

static void *serve(void *arg)
{
	struct ends *ends = arg;
	struct rpc_transport *transport;
	struct rpc_noise_listen listen = {secrets[1], welcome, NULL};
	int r = ends->sealed ? rpc_noise_accept(&transport, ends->accepted, &listen, THRUM_FOREVER)
			     : rpc_transport_plain(&transport, ends->accepted);
	CHECK(r == 0);
	(void)!rpc_server_serve(ends->server, transport, NULL);
	return NULL;
}

static struct thrum_thread *start(struct ends *ends)
{
	struct rpc_server_config config = {
		.methods = methods, .method_count = thrum__countof(methods)};
	struct thrum_listener *listener;
	struct thrum_conn *conn;
	struct thrum_thread *thread;
	struct rpc_transport *transport;
	uint8_t key[RPC_KEY_SIZE];
	char address[THRUM_ADDRESS_MAX];
	CHECK(rpc_server_create(&ends->server, &config) == 0);
	CHECK(thrum_listener_open(&listener, "127.0.0.1:0", NULL) == 0);
	CHECK(thrum_listener_address(listener, address, sizeof(address)) == 0);
	CHECK(thrum_conn_open(&conn, address, THRUM_FOREVER) == 0);
	CHECK(thrum_listener_accept(listener, &ends->accepted, THRUM_FOREVER) == 0);
	thrum_listener_close(listener);
	CHECK(thrum_spawn(&thread, serve, ends) == 0);
	CHECK(rpc_noise_public_key(key, secrets[1]) == 0);
	struct rpc_noise_dial dial = {.static_key = secrets[0], .remote_key = key};
	CHECK((ends->sealed ? rpc_noise_connect(&transport, conn, &dial, THRUM_FOREVER)
			    : rpc_transport_plain(&transport, conn)) == 0);
	CHECK(rpc_client_create(&ends->client, transport, NULL) == 0);
	return thread;
}

struct load {
	struct ends *ends;
	int64_t until;
	uint64_t calls;
};

static void *call_again(void *arg)
{
	struct load *load = arg;
	while (thrum_now() < load->until) {
		struct rpc_call *call;
		void *bytes;
		size_t len;
		CHECK(rpc_client_open(
			      load->ends->client, "/b.B/Echo", NULL, 0, THRUM_FOREVER, &call) == 0);
		CHECK(rpc_call_send_bytes(call, "hello", 5, THRUM_FOREVER) == 0);
		rpc_call_close_send(call);
		CHECK(rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER) == 0);
		free(bytes);
		CHECK(rpc_call_finish(call, NULL, THRUM_FOREVER) == 0);
		rpc_call_destroy(call);
		load->calls++;
	}
	return NULL;
}

static void unary(struct ends *ends, const char *wire, unsigned in_flight)
{
	struct load loads[100];
	struct thrum_thread *threads[100];
	uint64_t calls = 0;
	int64_t began = thrum_now();
	for (unsigned i = 0; i < in_flight; i++) {
		loads[i] = (struct load){ends, began + span, 0};
		CHECK(thrum_spawn(&threads[i], call_again, &loads[i]) == 0);
	}
	for (unsigned i = 0; i < in_flight; i++) {
		CHECK(thrum_join(threads[i], NULL, THRUM_FOREVER) == 0);
		calls += loads[i].calls;
	}
	printf("%s unary%u: %.0f calls/s\n", wire, in_flight,
		(double)calls * THRUM_S / (double)(thrum_now() - began));
}

static void stream(struct ends *ends, const char *wire, bool downwards, uint32_t size)
{
	static const uint8_t zeros[BIG];
	struct rpc_call *call;
	void *bytes;
	size_t len;
	uint64_t messages = 0;
	CHECK(rpc_client_open(ends->client, downwards ? "/b.B/Down" : "/b.B/Up", NULL, 0,
		      THRUM_FOREVER, &call) == 0);
	if (downwards)
		CHECK(rpc_call_send_bytes(call, &size, sizeof(size), THRUM_FOREVER) == 0);
	int64_t began = thrum_now();
	for (; thrum_now() < began + span; messages++) {
		if (!downwards) {
			CHECK(rpc_call_send_bytes(call, zeros, size, THRUM_FOREVER) == 0);
			continue;
		}
		CHECK(rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER) == 0);
		free(bytes);
	}
	double seconds = (double)(thrum_now() - began) / THRUM_S;
	rpc_call_destroy(call);
	printf("%s stream %s, %u bytes: %.0f messages/s, %.2f GB/s\n", wire,
		downwards ? "down" : "up", size, (double)messages / seconds,
		(double)messages * size / seconds / 1e9);
}

static void *run(void *arg)
{
	for (int sealed = 0; sealed < 2; sealed++) {
		struct ends ends = {.sealed = sealed};
		const char *wire = sealed ? "noise" : "tcp";
		struct thrum_thread *server = start(&ends);
		unary(&ends, wire, 1);
		unary(&ends, wire, 100);
		stream(&ends, wire, true, BIG);
		stream(&ends, wire, false, BIG);
		stream(&ends, wire, true, 1024);
		rpc_client_destroy(ends.client);
		CHECK(thrum_join(server, NULL, THRUM_FOREVER) == 0);
		rpc_server_destroy(ends.server);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		span = (int64_t)(strtod(argv[1], NULL) * THRUM_S);
	CHECK(thrum_run(NULL, run, NULL, NULL) == 0);
	return 0;
}
