/* SPDX-License-Identifier: MIT */
/* A pool of green threads that share a queue of jobs; a wait group says when all are done. */
#include <stdio.h>
#include <stdlib.h>
#include <thrum.h>

enum { WORKERS = 4, JOBS = 10 };

struct pool {
	struct thrum_channel *jobs;
	struct thrum_waitgroup running;
	unsigned long results[JOBS];
};

/* Some work: how many steps until n / 2 or 3 n + 1 has come down to 1. */
static unsigned long steps_to_one(unsigned long n)
{
	unsigned long steps = 0;
	for (; n > 1; steps++)
		n = n % 2 == 0 ? n / 2 : 3 * n + 1;
	return steps;
}

static void *work(void *arg)
{
	struct pool *pool = arg;
	int job;
	while (thrum_channel_recv(pool->jobs, &job, THRUM_FOREVER) == 0)
		pool->results[job] = steps_to_one((unsigned long)job + 20);
	thrum_waitgroup_done(&pool->running);
	return NULL;
}

static void *root(void *arg)
{
	struct pool pool = {0};
	int err = thrum_channel_create(&pool.jobs, sizeof(int), 2);
	if (err != 0)
		goto out;
	for (int i = 0; i < WORKERS && err == 0; i++) {
		thrum_waitgroup_add(&pool.running, 1);
		err = thrum_spawn(NULL, work, &pool);
		if (err != 0)
			thrum_waitgroup_done(&pool.running);
	}
	for (int job = 0; job < JOBS && err == 0; job++)
		err = thrum_channel_send(pool.jobs, &job, thrum_after(10 * THRUM_S));
	thrum_channel_close(pool.jobs); /* the workers take what is left, then end */
	int waited = thrum_waitgroup_wait(&pool.running, THRUM_FOREVER);
	if (err == 0)
		err = waited;
	for (int job = 0; job < JOBS && err == 0; job++)
		printf("%d comes to 1 in %lu steps\n", job + 20, pool.results[job]);
	thrum_channel_unref(pool.jobs);
out:
	if (err != 0)
		fprintf(stderr, "pool: %s\n", thrum_strerror(err));
	return NULL;
}

int main(void)
{
	return thrum_run(NULL, root, NULL, NULL) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
