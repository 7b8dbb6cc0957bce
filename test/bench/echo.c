/* SPDX-License-Identifier: MIT */
/*
 * Echo over loopback TCP: ping-pong on many connections. The server is thrum's; the load comes from
 * one OS thread with a plain epoll loop in another process, so that it costs every server the same.
 *
 *   echo [BYTES [CONNECTIONS [SECONDS [WORKERS]]]]        (64 100 2 1)
 *
 * Prints requests per second and the server's CPU time per request, first of a plain
 * single-threaded epoll loop as the yardstick, then of thrum.
 */
#include <thrum.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_BYTES = 65536, MAX_CONNECTIONS = 10000 };

struct plan {
	size_t bytes;
	int connections, seconds;
	unsigned workers;
};

/* ---- the load */

struct client {
	int fd;
	size_t got;
};

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

static int dial(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void ask(const struct client *client, const char *message, size_t len)
{
	/* A message fits an empty send buffer, so a blocking send does not wait. */
	if (send(client->fd, message, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send");
}

/* Keeps one request in flight per connection for the time given; returns how many were answered. */
static long generate(const struct plan *plan, int port)
{
	static char message[MAX_BYTES], answer[MAX_BYTES];
	struct client *clients = calloc((size_t)plan->connections, sizeof(*clients));
	int epoll = epoll_create1(0);
	long requests = 0;
	for (int i = 0; i < plan->connections; i++) {
		clients[i].fd = dial(port);
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
		epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event);
		ask(&clients[i], message, plan->bytes);
	}
	int64_t end = thrum_now() + plan->seconds * THRUM_S;
	while (thrum_now() < end) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll, events, 256, 100);
		for (int i = 0; i < n; i++) {
			struct client *client = events[i].data.ptr;
			ssize_t got = recv(client->fd, answer, plan->bytes - client->got, 0);
			if (got <= 0)
				die("recv");
			client->got += (size_t)got;
			if (client->got < plan->bytes)
				continue;
			client->got = 0;
			requests++;
			ask(client, message, plan->bytes);
		}
	}
	for (int i = 0; i < plan->connections; i++)
		close(clients[i].fd);
	close(epoll);
	free(clients);
	return requests;
}

/* ---- the yardstick: a hand-written epoll loop */

/* Reads and writes back once; closes the connection at its end. */
static void plain_echo(int fd)
{
	static char buf[MAX_BYTES];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);
	/* What a full send buffer does not take is lost, which the load would show by stalling. */
	if (n <= 0 || send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

static void plain_accept(int listener, int epoll)
{
	int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Serves until `end` is readable. */
static int plain_server(int port_to, int end)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0);
	if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 4096) < 0 ||
		getsockname(listener, (struct sockaddr *)&at, &len) < 0)
		return -errno;
	int port = ntohs(at.sin_port), own[] = {listener, end};
	for (int i = 0; i < 2; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = own[i]};
		epoll_ctl(epoll, EPOLL_CTL_ADD, own[i], &event);
	}
	if (write(port_to, &port, sizeof(port)) != sizeof(port))
		return -EPIPE;
	for (;;) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == end)
				return 0;
			if (events[i].data.fd == listener)
				plain_accept(listener, epoll);
			else
				plain_echo(events[i].data.fd);
		}
	}
}

/* ---- thrum's server */

struct server {
	struct thrum_listener *listener;
	int port_to; /* pipe: the port goes out here */
	int end;     /* pipe: readable once the load is over */
};

static void *serve_one(void *arg)
{
	struct thrum_conn *conn = arg;
	char *buf = malloc(MAX_BYTES);
	ssize_t n;
	while (buf != NULL && (n = thrum_conn_read(conn, buf, MAX_BYTES, THRUM_FOREVER)) > 0)
		if (thrum_conn_write(conn, buf, (size_t)n, NULL, THRUM_FOREVER) != 0)
			break;
	free(buf);
	thrum_conn_close(conn);
	return NULL;
}

static void *serve(void *arg)
{
	struct server *server = arg;
	struct thrum_conn *conn;
	while (thrum_listener_accept(server->listener, &conn, THRUM_FOREVER) == 0)
		if (thrum_spawn(NULL, serve_one, conn) != 0)
			thrum_conn_close(conn);
	return NULL;
}

static void *server_main(void *arg)
{
	struct server *server = arg;
	char address[THRUM_ADDRESS_MAX];
	if (thrum_listener_open(&server->listener, "127.0.0.1:0", NULL) != 0 ||
		thrum_listener_address(server->listener, address, sizeof(address)) != 0 ||
		thrum_spawn(NULL, serve, server) != 0)
		return NULL;
	int port = atoi(strrchr(address, ':') + 1);
	if (write(server->port_to, &port, sizeof(port)) != sizeof(port) ||
		thrum_fd_wait(server->end, THRUM_READABLE, THRUM_FOREVER) != 0)
		perror("echo");
	thrum_listener_close(server->listener);
	return NULL;
}

static double cpu_seconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int argument(int argc, char **argv, int at, int otherwise, int most)
{
	int value = argc > at ? atoi(argv[at]) : otherwise;
	return value < 1 ? 1 : value > most ? most : value;
}

/* Measures one server in this process against the load in another. */
static int measure(const struct plan *plan, const char *name)
{
	int port_pipe[2], end_pipe[2], port, r;
	long requests = 0;
	if (pipe(port_pipe) < 0 || pipe(end_pipe) < 0)
		die("pipe");
	pid_t load = fork();
	if (load == 0) {
		if (read(port_pipe[0], &port, sizeof(port)) != sizeof(port))
			die("no server");
		requests = generate(plan, port);
		_exit(write(end_pipe[1], &requests, sizeof(requests)) != sizeof(requests));
	}
	close(end_pipe[1]);
	double before = cpu_seconds();
	if (plan->workers == 0) {
		r = plain_server(port_pipe[1], end_pipe[0]);
	} else {
		struct thrum_config config = {.workers = plan->workers};
		struct server server = {.port_to = port_pipe[1], .end = end_pipe[0]};
		r = thrum_run(&config, server_main, &server, NULL);
	}
	double cpu = cpu_seconds() - before;
	if (r != 0 || read(end_pipe[0], &requests, sizeof(requests)) != sizeof(requests) ||
		requests == 0) {
		fprintf(stderr, "echo: %s: no result: %s\n", name, thrum_strerror(r));
		return 1;
	}
	waitpid(load, NULL, 0);
	printf("echo %-5s %zu bytes, %d connections, %u threads: %ld requests/s, %.2f us of server "
	       "CPU each\n",
		name, plan->bytes, plan->connections, plan->workers ? plan->workers : 1,
		requests / plan->seconds, cpu * 1e6 / (double)requests);
	return 0;
}

int main(int argc, char **argv)
{
	struct plan plan = {
		.bytes = (size_t)argument(argc, argv, 1, 64, MAX_BYTES),
		.connections = argument(argc, argv, 2, 100, MAX_CONNECTIONS),
		.seconds = argument(argc, argv, 3, 2, 3600),
	};
	int failed = measure(&plan, "epoll");
	plan.workers = (unsigned)argument(argc, argv, 4, 1, 1024);
	return failed | measure(&plan, "thrum");
}
