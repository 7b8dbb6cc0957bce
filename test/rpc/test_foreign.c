/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdio.h>
#include <unistd.h>

/* A client of other make (Debian's python3-grpcio) against our server. */

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

Suite *suite_foreign(void)
{
	Suite *suite = suite_create("rpc/foreign");
	TCase *python = tcase_create("python");
	tcase_set_timeout(python, 60);
	/* The package is a peer to talk to, not a part of the build: where it is missing, say so.
	 */
	if (system("/usr/bin/python3 -c 'import grpc' 2>/dev/null") != 0) {
		printf("rpc/foreign: python3-grpcio is not installed, not tested\n");
		return suite;
	}
	tcase_add_test(python, a_python_client_is_served_over_tcp);
	tcase_add_test(python, a_python_client_is_served_over_a_unix_socket);
	suite_add_tcase(suite, python);
	return suite;
}
