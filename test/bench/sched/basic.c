/* SPDX-License-Identifier: MIT */
/* Single operations: the bare switch, yield, spawn and join. */
#include "bench.h"

#include "base/base.h"
#include "ctx/ctx.h"

/* ---- two contexts, no scheduler: the one workload that looks below the public headers */

enum { SWITCHES = 2000000 };

static struct thrum__ctx home, away;

static struct thrum__ctx_next bounce(void *arg, void *pass)
{
	(void)arg, (void)pass;
	thrum__ctx_arrive(&away);
	for (;;)
		thrum__ctx_switch(&away, &home, NULL);
	__builtin_unreachable();
}

static void switch_chunk(void)
{
	for (int i = 0; i < SWITCHES / 2; i++)
		thrum__ctx_switch(&home, &away, NULL);
}

static double switch_pass(void)
{
	return bench_mean(switch_chunk, SWITCHES);
}

void bench_switch(void)
{
	struct thrum__stack_cache cache = {0};
	struct thrum__stack stack;
	bench_must(thrum__stack_get(&cache, thrum__stack_size(0), &stack));
	thrum__ctx_adopt(&home);
	thrum__ctx_init(&away, &stack, bounce, NULL);
	bench_report("switch", bench_median(switch_pass));
	thrum__ctx_fini(&away);
	thrum__stack_put(&cache, &stack);
	thrum__stack_cache_fini(&cache);
}

/* ---- yield: the clock runs from the last thread's start to the first one's end; one worker */

enum { YIELDS = 1000000, MAX_YIELDERS = 1000 };

static int yielders, arrived;
static int64_t yield_start, yield_end;

static void *yielder(void *arg)
{
	if (++arrived == yielders)
		yield_start = thrum_now();
	while (arrived < yielders)
		thrum_yield();
	for (int i = YIELDS / yielders; i > 0; i--)
		thrum_yield();
	if (yield_end == 0)
		yield_end = thrum_now();
	return arg;
}

static double yield_pass(void)
{
	static struct thrum_thread *threads[MAX_YIELDERS];
	arrived = 0;
	yield_end = 0;
	for (int i = 0; i < yielders; i++)
		bench_must(thrum_spawn(&threads[i], yielder, NULL));
	for (int i = 0; i < yielders; i++)
		bench_must(thrum_join(threads[i], NULL, THRUM_FOREVER));
	return (double)(yield_end - yield_start) / YIELDS;
}

void bench_yield2(void)
{
	yielders = 2;
	bench_report("yield2", bench_median(yield_pass));
}

void bench_yield1000(void)
{
	yielders = 1000;
	bench_report("yield1000", bench_median(yield_pass));
}

/* ---- spawn and join: one at a time, and a thousand at a time */

static void *nothing(void *arg)
{
	return arg;
}

static void join_chunk(void)
{
	for (int i = 0; i < BENCH_BATCH; i++) {
		struct thrum_thread *thread;
		bench_must(thrum_spawn(&thread, nothing, NULL));
		bench_must(thrum_join(thread, NULL, THRUM_FOREVER));
	}
}

static void batch_chunk(void)
{
	static struct thrum_thread *threads[BENCH_BATCH];
	for (int i = 0; i < BENCH_BATCH; i++)
		bench_must(thrum_spawn(&threads[i], nothing, NULL));
	for (int i = 0; i < BENCH_BATCH; i++)
		bench_must(thrum_join(threads[i], NULL, THRUM_FOREVER));
}

static double join_pass(void)
{
	return bench_mean(join_chunk, BENCH_BATCH);
}

static double batch_pass(void)
{
	return bench_mean(batch_chunk, BENCH_BATCH);
}

void bench_spawn_join(void)
{
	bench_report("spawn_join", bench_median(join_pass));
}

void bench_spawn_batch(void)
{
	bench_report("spawn_batch", bench_median(batch_pass));
}
