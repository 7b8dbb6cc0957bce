/* SPDX-License-Identifier: MIT */
/* How late a sleeper wakes: among very many, beside hogs, and in a storm of yields. */
#include "bench.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/resource.h>
#include <time.h>

/* Sleeps and returns by how much longer it took than asked for. */
static int64_t sleep_late(int64_t ns)
{
	int64_t start = thrum_now();
	bench_must(thrum_sleep(ns));
	return thrum_now() - start - ns;
}

static double cpu_seconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- 100,000 sleeps of 1 to 1,000 ms. The threads are there and wait at a gate before the clocks
 * start */

enum { TIMERS = 100000 };

static struct bench_gate gate;
static int64_t lateness[TIMERS];

static void *timer(void *arg)
{
	int64_t *late = arg;
	bench_gate_pass(&gate);
	*late = sleep_late((1 + (late - lateness) * 7919 % 1000) * THRUM_MS);
	bench_gate_leave(&gate);
	return NULL;
}

void bench_timers(void)
{
	bench_gate_init(&gate, TIMERS);
	for (int i = 0; i < TIMERS; i++)
		bench_must(thrum_spawn(NULL, timer, &lateness[i]));
	bench_gate_gather(&gate);
	bench_must(thrum_sleep(50 * THRUM_MS));
	double before = cpu_seconds();
	bench_gate_open(&gate);
	bench_report("timers_cpu", cpu_seconds() - before);
	int64_t sum = 0;
	for (int i = 0; i < TIMERS; i++)
		sum += lateness[i];
	bench_report("timers_mean", bench_ms(sum) / TIMERS);
	bench_report("timers_p99", bench_ms(bench_quantile(lateness, TIMERS, 0.99)));
}

/* ---- hogs: ten threads sleep 1 ms again and again while two others keep a worker each for 200 ms,
 * by computing or in a system call that blocks. Nothing marks them */

enum { SLEEPERS = 10, HOGS = 2 };

#define HOG_NS (200 * THRUM_MS)

static atomic_bool stop;

static void *sleeper(void *arg)
{
	int64_t *worst = arg;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		int64_t late = sleep_late(THRUM_MS);
		*worst = late > *worst ? late : *worst;
	}
	return NULL;
}

static void *spin(void *arg)
{
	int64_t end = thrum_now() + HOG_NS;
	while (thrum_now() < end)
		;
	return arg;
}

static void *block(void *arg)
{
	struct timespec left = {0, HOG_NS};
	while (nanosleep(&left, &left) != 0)
		;
	return arg;
}

static void beside_hogs(const char *metric, thrum_fn hog)
{
	struct thrum_thread *sleepers[SLEEPERS], *hogs[HOGS];
	int64_t worst[SLEEPERS] = {0};
	for (int i = 0; i < SLEEPERS; i++)
		bench_must(thrum_spawn(&sleepers[i], sleeper, &worst[i]));
	bench_must(thrum_sleep(20 * THRUM_MS));
	for (int i = 0; i < HOGS; i++)
		bench_must(thrum_spawn(&hogs[i], hog, NULL));
	for (int i = 0; i < HOGS; i++)
		bench_must(thrum_join(hogs[i], NULL, THRUM_FOREVER));
	atomic_store(&stop, true);
	for (int i = 0; i < SLEEPERS; i++)
		bench_must(thrum_join(sleepers[i], NULL, THRUM_FOREVER));
	bench_report(metric, bench_ms(bench_quantile(worst, SLEEPERS, 1)));
}

void bench_hog_spin(void)
{
	beside_hogs("hog_spin", spin);
}

void bench_hog_block(void)
{
	beside_hogs("hog_block", block);
}

/* ---- a storm: one thread sleeps 1 ms again and again beside a thousand that only yield */

enum { STORM = 1000, SLEEPS = 500 };

static void *yielder(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		thrum_yield();
	return arg;
}

void bench_yieldstorm(void)
{
	static struct thrum_thread *threads[STORM];
	static int64_t late[SLEEPS];
	for (int i = 0; i < STORM; i++)
		bench_must(thrum_spawn(&threads[i], yielder, NULL));
	bench_must(thrum_sleep(50 * THRUM_MS));
	for (int i = 0; i < SLEEPS; i++)
		late[i] = sleep_late(THRUM_MS);
	atomic_store(&stop, true);
	for (int i = 0; i < STORM; i++)
		bench_must(thrum_join(threads[i], NULL, THRUM_FOREVER));
	bench_report("yieldstorm_p99", bench_ms(bench_quantile(late, SLEEPS, 0.99)));
}
