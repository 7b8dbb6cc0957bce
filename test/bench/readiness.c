/* SPDX-License-Identifier: MIT */
/*
 * Why the reactor sleeps in an epoll of its own: the price of one wait for a descriptor that becomes ready, by
 * libuv's one-shot polling, and by an edge-triggered registration made once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"

enum { WAITS = 200000 };

static int ends[2];

static void send_one(void)
{
	char byte = 1;
	CHECK(write(ends[0], &byte, 1) == 1);
}

/* What a woken reader does in both ways: reads the message. */
static void take_one(void)
{
	char byte[16];
	CHECK(read(ends[1], byte, sizeof(byte)) == 1);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	CHECK(status == 0);
	uv_poll_stop(poll);
	take_one();
}

static int64_t by_uv_poll(void)
{
	uv_loop_t loop;
	uv_poll_t poll;
	CHECK(uv_loop_init(&loop) == 0 && uv_poll_init(&loop, &poll, ends[1]) == 0);
	int64_t began = thrum_now();
	for (int i = 0; i < WAITS; i++) {
		send_one();
		CHECK(uv_poll_start(&poll, UV_READABLE, on_ready) == 0);
		uv_run(&loop, UV_RUN_ONCE);
	}
	int64_t took = thrum_now() - began;
	uv_close((uv_handle_t *)&poll, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
	return took;
}

static int64_t by_edges(void)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET}, got[64];
	CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, ends[1], &event) == 0);
	int64_t began = thrum_now();
	for (int i = 0; i < WAITS; i++) {
		send_one();
		CHECK(epoll_wait(epoll, got, thrum__countof(got), -1) == 1);
		take_one();
	}
	int64_t took = thrum_now() - began;
	close(epoll);
	return took;
}

int main(void)
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	for (int round = 0; round < 3; round++)
		printf("one message: %5.0f ns by uv_poll, one-shot; %5.0f ns by edges\n",
			(double)by_uv_poll() / WAITS, (double)by_edges() / WAITS);
	return EXIT_SUCCESS;
}
