/* SPDX-License-Identifier: MIT */
/* What the sync objects cost, in ns an operation: uncontended, handed back and forth, and fought
 * over. */
#include <stdio.h>
#include <stdlib.h>

#include <thrum.h>

enum { ROUNDS = 1000000, THREADS = 8 };

static struct thrum_mutex mutex = THRUM_MUTEX_INIT;
static struct thrum_semaphore semaphore = THRUM_SEMAPHORE_INIT(1);
static struct thrum_channel *there, *back;
static long shared;

static void must(int result)
{
	if (result < 0) {
		fprintf(stderr, "sync: %s\n", thrum_strerror(result));
		exit(1);
	}
}

static void report(const char *what, unsigned workers, int64_t start, long operations)
{
	printf("%-28s workers=%u %8.1f ns\n", what, workers,
		(double)(thrum_now() - start) / (double)operations);
}

static void uncontended(unsigned workers)
{
	int64_t start = thrum_now();
	for (int i = 0; i < ROUNDS; i++) {
		must(thrum_mutex_lock(&mutex, THRUM_FOREVER));
		thrum_mutex_unlock(&mutex);
	}
	report("mutex lock+unlock", workers, start, ROUNDS);

	start = thrum_now();
	for (int i = 0; i < ROUNDS; i++) {
		must(thrum_semaphore_acquire(&semaphore, THRUM_FOREVER));
		thrum_semaphore_release(&semaphore, 1);
	}
	report("semaphore acquire+release", workers, start, ROUNDS);

	start = thrum_now();
	for (long i = 0; i < ROUNDS; i++) {
		must(thrum_channel_send(there, &i, THRUM_FOREVER));
		must(thrum_channel_recv(there, &i, THRUM_FOREVER));
	}
	report("channel send+recv", workers, start, ROUNDS);

	start = thrum_now();
	for (int i = 0; i < ROUNDS / 4; i++) {
		struct thrum_future_ready ready;
		must(thrum_block_on(
			thrum_future_ready_init(&ready, 0, NULL, 0), NULL, THRUM_FOREVER));
	}
	report("block_on a ready future", workers, start, ROUNDS / 4);
}

static void *echo(void *arg)
{
	long value;
	while (thrum_channel_recv(there, &value, THRUM_FOREVER) == 0)
		must(thrum_channel_send(back, &value, THRUM_FOREVER));
	return NULL;
}

static void ping_pong(unsigned workers)
{
	struct thrum_thread *thread;
	long value = 0;

	must(thrum_spawn(&thread, echo, NULL));
	int64_t start = thrum_now();
	for (int i = 0; i < ROUNDS / 10; i++) {
		must(thrum_channel_send(there, &value, THRUM_FOREVER));
		must(thrum_channel_recv(back, &value, THRUM_FOREVER));
	}
	report("channel round trip", workers, start, ROUNDS / 10);
	thrum_channel_close(there);
	must(thrum_join(thread, NULL, THRUM_FOREVER));
}

static void *fight(void *arg)
{
	for (int i = 0; i < ROUNDS / THREADS; i++) {
		must(thrum_mutex_lock(&mutex, THRUM_FOREVER));
		shared++;
		thrum_mutex_unlock(&mutex);
	}
	return NULL;
}

static void contended(unsigned workers)
{
	struct thrum_thread *threads[THREADS];
	int64_t start = thrum_now();

	for (int i = 0; i < THREADS; i++)
		must(thrum_spawn(&threads[i], fight, NULL));
	for (int i = 0; i < THREADS; i++)
		must(thrum_join(threads[i], NULL, THRUM_FOREVER));
	report("mutex, 8 threads on one", workers, start, ROUNDS);
}

static void *run(void *arg)
{
	unsigned workers = thrum_workers();

	must(thrum_channel_create(&there, sizeof(long), 16));
	must(thrum_channel_create(&back, sizeof(long), 16));
	uncontended(workers);
	contended(workers);
	ping_pong(workers);
	thrum_channel_unref(there);
	thrum_channel_unref(back);
	return NULL;
}

int main(void)
{
	for (unsigned workers = 1; workers <= 2; workers++) {
		struct thrum_config config = {.workers = workers};
		must(thrum_run(&config, run, NULL, NULL));
	}
	return 0;
}
