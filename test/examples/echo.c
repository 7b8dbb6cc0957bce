/* SPDX-License-Identifier: MIT */
/* An echo server with a green thread per connection, and three clients that talk to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <thrum.h>

#define IN_TIME thrum_after(10 * THRUM_S)

static void *serve_one(void *arg)
{
	struct thrum_conn *conn = arg;
	char buf[4096];
	ssize_t n;
	while ((n = thrum_conn_read(conn, buf, sizeof(buf), IN_TIME)) > 0)
		if (thrum_conn_write(conn, buf, (size_t)n, NULL, IN_TIME) != 0)
			break;
	thrum_conn_close(conn);
	return NULL;
}

static void *serve(void *arg)
{
	struct thrum_listener *listener = arg;
	struct thrum_conn *conn;
	while (thrum_listener_accept(listener, &conn, THRUM_FOREVER) == 0)
		if (thrum_spawn(NULL, serve_one, conn) != 0)
			thrum_conn_close(conn);
	return NULL;
}

static int talk(const char *address, const char *message)
{
	struct thrum_conn *conn;
	char answer[64] = "";
	int err = thrum_conn_open(&conn, address, IN_TIME);
	if (err != 0)
		return err;
	err = thrum_conn_write(conn, message, strlen(message), NULL, IN_TIME);
	if (err == 0)
		err = thrum_conn_read_exact(conn, answer, strlen(message), NULL, IN_TIME);
	if (err == 0)
		printf("%s\n", answer);
	thrum_conn_close(conn);
	return err;
}

static void *root(void *arg)
{
	static const char *const messages[] = {"one", "two", "three"};
	struct thrum_listener *listener;
	struct thrum_thread *server = NULL;
	char address[THRUM_ADDRESS_MAX];

	int err = thrum_listener_open(&listener, "127.0.0.1:0", NULL); /* any free port */
	if (err != 0)
		goto out;
	err = thrum_listener_address(listener, address, sizeof(address));
	if (err == 0)
		err = thrum_spawn(&server, serve, listener);
	for (int i = 0; i < 3 && err == 0; i++)
		err = talk(address, messages[i]);
	thrum_listener_shutdown(listener); /* the server's accept fails: it ends */
	if (server != NULL && thrum_join(server, NULL, THRUM_FOREVER) != 0)
		thrum_detach(server);
	thrum_listener_close(listener);
out:
	if (err != 0)
		fprintf(stderr, "echo: %s\n", thrum_strerror(err));
	return err != 0 ? root : NULL;
}

int main(void)
{
	void *failed = NULL;
	return thrum_run(NULL, root, NULL, &failed) != 0 || failed != NULL ? EXIT_FAILURE
									   : EXIT_SUCCESS;
}
