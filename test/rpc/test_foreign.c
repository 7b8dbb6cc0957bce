/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Client and server of other make (Debian's python3-grpcio) against ours. */

enum { MAX_CONNECTIONS = 16 };

struct listening {
	struct rpc_server *server;
	struct thrum_listener *listener;
	struct thrum_thread *threads[MAX_CONNECTIONS];
	unsigned count;
};

struct serving {
	struct rpc_server *server;
	struct thrum_conn *conn;
};

static void *serve_one(void *arg)
{
	struct serving *serving = arg;
	struct rpc_transport *transport;
	CHECK(rpc_transport_plain(&transport, serving->conn) == 0);
	int r = rpc_server_serve(serving->server, transport, NULL);
	EXPECT(r == 0 || r == -ECANCELED || r == -ECONNRESET);
	free(serving);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct listening *listening = arg;
	struct thrum_conn *conn;
	while (thrum_listener_accept(listening->listener, &conn, THRUM_FOREVER) == 0) {
		CHECK(listening->count < MAX_CONNECTIONS);
		struct serving *serving = malloc(sizeof(*serving));
		*serving = (struct serving){listening->server, conn};
		CHECK(thrum_spawn(&listening->threads[listening->count++], serve_one, serving) ==
			0);
	}
	return NULL;
}

/* Runs the client to its end; what it said goes to out. Blocks an OS thread. */
struct script {
	char target[THRUM_ADDRESS_MAX + 8];
	char said[2048];
	int status;
};

static void *run_script(void *arg)
{
	struct script *script = arg;
	char command[512];
	snprintf(command, sizeof(command),
		"timeout 50 /usr/bin/python3 test/rpc/foreign_client.py %s 2>&1", script->target);
	FILE *pipe = popen(command, "r");
	CHECK(pipe != NULL);
	size_t n = fread(script->said, 1, sizeof(script->said) - 1, pipe);
	script->said[n] = 0;
	script->status = pclose(pipe);
	return NULL;
}

static void foreign(void *arg)
{
	const char *address = arg;
	struct listening listening = {0};
	struct thrum_thread *acceptor;
	struct script script = {0};
	char local[THRUM_ADDRESS_MAX];
	struct rpc_server_config config = {
		.methods = test_methods, .method_count = test_method_count};
	CHECK(rpc_server_create(&listening.server, &config) == 0);
	CHECK(thrum_listener_open(&listening.listener, address, NULL) == 0);
	CHECK(thrum_listener_address(listening.listener, local, sizeof(local)) == 0);
	CHECK(thrum_spawn(&acceptor, accept_all, &listening) == 0);
	snprintf(script.target, sizeof(script.target), "%s", local);
	CHECK(thrum_blocking(run_script, &script, NULL) == 0);
	if (script.status != 0 || strcmp(script.said, "ok\n") != 0)
		fprintf(stderr, "%s\n", script.said);
	EXPECT_EQ(script.status, 0);
	thrum_listener_shutdown(listening.listener);
	CHECK(thrum_join(acceptor, NULL, THRUM_FOREVER) == 0);
	thrum_listener_close(listening.listener);
	rpc_server_drain(listening.server);
	for (unsigned i = 0; i < listening.count; i++)
		CHECK(thrum_join(listening.threads[i], NULL, THRUM_FOREVER) == 0);
	EXPECT_EQ(seen.canceled, 1); /* the call whose deadline passed */
	rpc_server_destroy(listening.server);
}

START_TEST(a_python_client_is_served_over_tcp)
{
	char address[] = "127.0.0.1:0";
	run_green(2, foreign, address);
}
END_TEST

START_TEST(a_python_client_is_served_over_a_unix_socket)
{
	char address[64];
	snprintf(address, sizeof(address), "unix:/tmp/thrum-test-rpc.%d", (int)getpid());
	run_green(2, foreign, address);
}
END_TEST

/* ---------------------------------------------------------------- their server */

static struct rpc_call *open_call(struct rpc_client *client, const char *path,
	const struct grpc_metadata *metadata, size_t count, thrum_deadline deadline)
{
	struct rpc_call *call = NULL;
	CHECK(rpc_client_open(client, path, metadata, count, deadline, &call) == 0);
	return call;
}

static void call_unary(struct rpc_client *client)
{
	void *bytes;
	size_t len;
	struct grpc_metadata metadata[] = {{"x-sent", "a value", 7}, {"x-sent-bin", "\0\1\xff", 3}};
	struct rpc_call *call =
		open_call(client, "/test.T/Unary", metadata, 2, thrum_after(20 * THRUM_S));
	EXPECT_EQ(rpc_call_send_bytes(call, "hello", 5, THRUM_FOREVER), 0);
	rpc_call_close_send(call);
	EXPECT_EQ(rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER), 0);
	EXPECT(len == 5 && memcmp(bytes, "hello", 5) == 0);
	free(bytes);
	EXPECT_EQ(rpc_call_finish(call, NULL, THRUM_FOREVER), 0);
	const struct grpc_metadata *seen_text = rpc_call_metadata(call, "x-seen");
	const struct grpc_metadata *seen_bin = rpc_call_metadata(call, "x-seen-bin");
	EXPECT(seen_text != NULL && strcmp(seen_text->value, "a value") == 0);
	EXPECT(seen_bin != NULL && seen_bin->len == 3 &&
		memcmp(seen_bin->value, "\0\1\xff", 3) == 0);
	rpc_call_destroy(call);
}

static void call_stream(struct rpc_client *client)
{
	enum { COUNT = 40 };
	struct rpc_call *call =
		open_call(client, "/test.T/Echo", NULL, 0, thrum_after(20 * THRUM_S));
	uint8_t *bytes = calloc(1, COUNT * 60000), *got;
	size_t len;
	for (size_t i = 0; i < COUNT; i++) {
		EXPECT_EQ(rpc_call_send_bytes(call, bytes, i * 60000, THRUM_FOREVER), 0);
		EXPECT_EQ(rpc_call_recv_bytes(call, (void **)&got, &len, THRUM_FOREVER), 0);
		EXPECT_EQ(len, i * 60000);
		free(got);
	}
	EXPECT_EQ(rpc_call_finish(call, NULL, THRUM_FOREVER), 0);
	rpc_call_destroy(call);
	free(bytes);
}

static void expect_status(
	struct rpc_client *client, const char *path, int64_t patience, int code, const char *text)
{
	struct rpc_status status;
	struct rpc_call *call = open_call(client, path, NULL, 0, thrum_after(patience));
	EXPECT_EQ(rpc_call_send_bytes(call, "", 0, THRUM_FOREVER), 0);
	EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER), grpc_status_to_error(code));
	EXPECT_EQ(status.code, code);
	EXPECT(text == NULL || strcmp(status.message, text) == 0);
	rpc_call_destroy(call);
}

static void call_them(void *arg)
{
	struct rpc_limits limits = {.keepalive = -1};
	struct thrum_conn *conn;
	struct rpc_transport *transport;
	struct rpc_client *client;
	CHECK(thrum_conn_open(&conn, arg, thrum_after(10 * THRUM_S)) == 0);
	CHECK(rpc_transport_plain(&transport, conn) == 0);
	CHECK(rpc_client_create(&client, transport, &limits) == 0);
	for (int i = 0; i < 20; i++)
		call_unary(client);
	call_stream(client);
	expect_status(
		client, "/test.T/Refuse", 20 * THRUM_S, GRPC_NOT_FOUND, "no such thing: 100%\n");
	expect_status(client, "/test.T/Nope", 20 * THRUM_S, GRPC_UNIMPLEMENTED, NULL);
	expect_status(client, "/test.T/Hold", 100 * THRUM_MS, GRPC_DEADLINE_EXCEEDED, NULL);
	call_unary(client);
	rpc_client_destroy(client);
}

START_TEST(a_python_server_is_called)
{
	/* Its input is a pipe that ends when we close it, or die. */
	int input[2], output[2];
	char port[32] = "", address[64];
	ck_assert(pipe(input) == 0 && pipe(output) == 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		dup2(input[0], 0);
		dup2(output[1], 1);
		close(input[1]);
		execl("/usr/bin/python3", "python3", "test/rpc/foreign_server.py", NULL);
		_exit(127);
	}
	close(input[0]);
	close(output[1]);
	ck_assert_int_gt(read(output[0], port, sizeof(port) - 1), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%d", atoi(port));
	run_green(2, call_them, address);
	close(input[1]);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	close(output[0]);
}
END_TEST

START_TEST(the_python_peer_is_installed)
{
	ck_assert_msg(system("/usr/bin/python3 -c 'import grpc'") == 0,
		"python3-grpcio is missing; run tools/dev/bootstrap");
}
END_TEST

Suite *suite_foreign(void)
{
	Suite *suite = suite_create("rpc/foreign");
	TCase *python = tcase_create("python");
	tcase_set_timeout(python, 60);
	/* bootstrap installs the peer; without it these tests fail rather than vanish. */
	tcase_add_test(python, the_python_peer_is_installed);
	tcase_add_test(python, a_python_client_is_served_over_tcp);
	tcase_add_test(python, a_python_client_is_served_over_a_unix_socket);
	tcase_add_test(python, a_python_server_is_called);
	suite_add_tcase(suite, python);
	return suite;
}
