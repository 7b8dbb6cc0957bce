/* SPDX-License-Identifier: MIT */
/* Three ways to wait in a call that blocks. One worker is enough. */
#include <stdio.h>
#include <unistd.h>
#include <thrum.h>

enum { PLAIN, PAIR, POOL, WAYS };

static struct way {
	const char *name;
	int pipe[2];
	ssize_t got;
} ways[WAYS] = {{.name = "plain"}, {.name = "pair"}, {.name = "pool"}};

static void *read_byte(void *arg)
{
	struct way *way = arg;
	char byte;
	way->got = read(way->pipe[0], &byte, 1); /* blocks the OS thread */
	return NULL;
}

static void *between_pair(void *arg)
{
	thrum_blocking_begin();
	read_byte(arg);
	thrum_blocking_end();
	return NULL;
}

static void *on_pool(void *arg)
{
	int err = thrum_blocking(read_byte, arg, NULL);
	if (err != 0)
		fprintf(stderr, "blocking: %s\n", thrum_strerror(err));
	return NULL;
}

static void *root(void *arg)
{
	static const thrum_fn fns[WAYS] = {read_byte, between_pair, on_pool};
	struct thrum_thread *threads[WAYS];
	int err = 0, started = 0;
	while (started < WAYS && err == 0) {
		err = thrum_spawn(&threads[started], fns[started], &ways[started]);
		started += err == 0;
	}
	if (err == 0)
		err = thrum_sleep(5 * THRUM_MS); /* let them get into their reads */
	for (int i = 0; i < started; i++)
		if (write(ways[i].pipe[1], "x", 1) != 1)
			fprintf(stderr, "blocking: a pipe is full\n");
	for (int i = 0; i < started; i++) {
		err = thrum_join(threads[i], NULL, THRUM_FOREVER);
		if (err == 0)
			printf("%s: %zd byte\n", ways[i].name, ways[i].got);
	}
	return NULL;
}

int main(void)
{
	for (int i = 0; i < WAYS; i++)
		if (pipe(ways[i].pipe) != 0)
			return 1;
	return thrum_run(NULL, root, NULL, NULL) != 0;
}
