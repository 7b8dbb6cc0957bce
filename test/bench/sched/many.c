/* SPDX-License-Identifier: MIT */
/* A million green threads: fork-join without a cutoff, and parked ones. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

static void check_result(const char *what, long got, long want)
{
	if (got == want)
		return;
	fprintf(stderr, "sched: %s: %ld instead of %ld\n", what, got, want);
	exit(1);
}

/* ---- fib(30): each of its 1.35 million inner calls spawns fib(n-1), computes fib(n-2) in its own
 * place meanwhile, and joins */

static long fib(long n);

static void *fib_thread(void *arg)
{
	return (void *)fib((long)arg);
}

static long fib(long n)
{
	struct thrum_thread *child;
	void *left;
	if (n < 2)
		return n;
	bench_must(thrum_spawn_with(&child, fib_thread, (void *)(n - 1), bench_fork));
	long right = fib(n - 2);
	bench_must(thrum_join(child, &left, THRUM_FOREVER));
	return (long)left + right;
}

void bench_fib30(void)
{
	int64_t start = thrum_now();
	check_result("fib30", fib(30), 832040);
	bench_report("fib30", bench_ms(thrum_now() - start));
	bench_report("fib30_rss", (double)bench_memory("VmHWM") / 1e6);
}

/* ---- skynet: a tree of threads, ten children each; its million leaves give their number, all
 * others the sum of their children's */

enum { LEAVES = 1000000, CHILDREN = 10 };

struct node {
	long number, leaves;
};

static void *skynet(void *arg)
{
	const struct node *node = arg;
	struct thrum_thread *threads[CHILDREN];
	struct node children[CHILDREN];
	long sum = 0, leaves = node->leaves / CHILDREN;
	if (node->leaves == 1)
		return (void *)node->number;
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = (struct node){node->number + i * leaves, leaves};
		bench_must(thrum_spawn_with(&threads[i], skynet, &children[i], bench_fork));
	}
	/* The last one first: who spawned it is the likeliest to have it at hand. */
	for (int i = CHILDREN - 1; i >= 0; i--) {
		void *result;
		bench_must(thrum_join(threads[i], &result, THRUM_FOREVER));
		sum += (long)result;
	}
	return (void *)sum;
}

void bench_skynet(void)
{
	struct node root = {0, LEAVES};
	int64_t start = thrum_now();
	check_result("skynet", (long)skynet(&root), (long)LEAVES * (LEAVES - 1) / 2);
	bench_report("skynet", bench_ms(thrum_now() - start));
}

/* ---- parked: a million wait at a gate. Memory is RSS and page tables, above what there was before
 * the first; nothing of it is the benchmark's own */

enum { PARKED = 1000000 };

static void *park(void *arg)
{
	bench_gate_pass(arg);
	bench_gate_leave(arg);
	return NULL;
}

void bench_parked(void)
{
	static struct bench_gate gate;
	bench_gate_init(&gate, PARKED);
	int64_t before = bench_memory("VmRSS") + bench_memory("VmPTE");
	int64_t start = thrum_now();
	for (int i = 0; i < PARKED; i++)
		bench_must(thrum_spawn(NULL, park, &gate));
	bench_gate_gather(&gate);
	bench_report("parked_create", bench_ms(thrum_now() - start));
	int64_t after = bench_memory("VmRSS") + bench_memory("VmPTE");
	bench_report("parked_memory", (double)(after - before) / PARKED);
	start = thrum_now();
	bench_gate_open(&gate);
	bench_report("parked_wake", bench_ms(thrum_now() - start));
}
