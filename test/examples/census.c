/* SPDX-License-Identifier: MIT */
/* How deep did the green threads of each spawn site go? */
#include <stdio.h>
#include <thrum.h>

enum { KIB = 1024, THREADS = 10 };

static void *deep(void *arg)
{
	volatile char buf[40 * KIB];
	for (int i = 0; i < 40 * KIB; i++)
		buf[i] = 1;
	return buf[0] == 1 ? NULL : arg;
}

static void *flat(void *arg)
{
	return NULL;
}

static void show(const struct thrum_stack_use *use, void *arg)
{
	if (use->measured > 0)
		printf("%s: %d threads, %s\n", use->site, (int)use->threads,
			use->high_water > 40 * KIB ? "over 40 KiB" : "less");
}

static void run(thrum_fn fn, const char *site)
{
	for (int i = 0; i < THREADS; i++) {
		struct thrum_thread *thread;
		int err = thrum_spawn_at(&thread, fn, NULL, NULL, site);
		if (err == 0)
			err = thrum_join(thread, NULL, THRUM_FOREVER);
		if (err != 0)
			fprintf(stderr, "census: %s\n", thrum_strerror(err));
	}
}

static void *root(void *arg)
{
	run(flat, "the flat ones");
	run(deep, "the deep ones");
	int err = thrum_stack_census(show, NULL);
	if (err < 0)
		fprintf(stderr, "census: %s\n", thrum_strerror(err));
	return NULL;
}

int main(void)
{
	return thrum_run(NULL, root, NULL, NULL) != 0;
}
