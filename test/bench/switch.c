/* SPDX-License-Identifier: MIT */
/* What the basic operations cost: nanoseconds each, the best of five. Usage: switch [workers] */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "ctx/ctx.h"
#include "sched/sched.h"
#include <thrum/thread.h>

enum { REPEAT = 5 };

static void report(const char *what, int64_t best_ns, int64_t count)
{
	printf("%-28s %8.1f ns\n", what, (double)best_ns / (double)count);
}

/* ---------------------------------------------------------------- the bare switch */

enum { SWITCHES = 1000000 };

static struct thrum__ctx home, away;

static void bounce(void *arg, void *pass)
{
	(void)arg, (void)pass;
	thrum__ctx_arrive(&away);
	for (;;)
		thrum__ctx_switch(&away, &home, NULL);
}

static void bench_switch(void)
{
	struct thrum__stack_cache cache = {0};
	struct thrum__stack stack;
	CHECK(thrum__stack_get(&cache, thrum__stack_size(0), &stack) == 0);
	thrum__ctx_adopt(&home);
	thrum__ctx_init(&away, &stack, bounce, NULL);
	int64_t best = INT64_MAX;
	for (int r = 0; r < REPEAT; r++) {
		int64_t start = thrum_now();
		for (int i = 0; i < SWITCHES / 2; i++)
			thrum__ctx_switch(&home, &away, NULL);
		int64_t took = thrum_now() - start;
		best = took < best ? took : best;
	}
	report("switch", best, SWITCHES);
	thrum__ctx_fini(&away);
	thrum__stack_put(&cache, &stack);
	thrum__stack_cache_fini(&cache);
}

/* ---------------------------------------------------------------- yield, spawn, wake */

static void *yielder(void *arg)
{
	for (int i = *(int *)arg; i > 0; i--)
		thrum_yield();
	return NULL;
}

static void bench_yield(int threads, const char *what)
{
	static struct thrum_thread *handles[1000];
	int each = 1000000 / threads;
	int64_t best = INT64_MAX;
	for (int r = 0; r < REPEAT; r++) {
		int64_t start = thrum_now();
		for (int i = 0; i < threads; i++)
			CHECK(thrum_spawn(&handles[i], yielder, &each) == 0);
		for (int i = 0; i < threads; i++)
			CHECK(thrum_join(handles[i], NULL, THRUM_FOREVER) == 0);
		int64_t took = thrum_now() - start;
		best = took < best ? took : best;
	}
	report(what, best, (int64_t)threads * each);
}

static void *nothing(void *arg)
{
	return arg;
}

static void bench_spawn(int batch, const char *what)
{
	static struct thrum_thread *handles[1000];
	int rounds = 100000 / batch;
	int64_t best = INT64_MAX;
	for (int r = 0; r < REPEAT; r++) {
		int64_t start = thrum_now();
		for (int round = 0; round < rounds; round++) {
			for (int i = 0; i < batch; i++)
				CHECK(thrum_spawn(&handles[i], nothing, NULL) == 0);
			for (int i = 0; i < batch; i++)
				CHECK(thrum_join(handles[i], NULL, THRUM_FOREVER) == 0);
		}
		int64_t took = thrum_now() - start;
		best = took < best ? took : best;
	}
	report(what, best, (int64_t)rounds * batch);
}

struct baton {
	struct thrum__lock lock;
	struct thrum__wait *waiting[2];
	int turn;
};

static void pass(struct baton *baton, int me, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		thrum__lock(&baton->lock);
		if (baton->turn != me) {
			struct thrum__wait wait;
			thrum__wait_init(&wait);
			baton->waiting[me] = &wait;
			thrum__unlock(&baton->lock);
			CHECK(thrum__wait_park(&wait, "bench", THRUM_FOREVER) == 1);
			thrum__lock(&baton->lock);
		}
		baton->turn = !me;
		struct thrum__wait *other = baton->waiting[!me];
		baton->waiting[!me] = NULL;
		thrum__unlock(&baton->lock);
		if (other != NULL && thrum__wait_claim(other, 1))
			thrum__wait_wake(other);
	}
}

enum { PASSES = 200000 };

static void *second(void *arg)
{
	pass(arg, 1, PASSES);
	return NULL;
}

static void bench_wake(void)
{
	int64_t best = INT64_MAX;
	for (int r = 0; r < REPEAT; r++) {
		struct baton baton = {.turn = 0};
		struct thrum_thread *thread;
		int64_t start = thrum_now();
		CHECK(thrum_spawn(&thread, second, &baton) == 0);
		pass(&baton, 0, PASSES);
		CHECK(thrum_join(thread, NULL, THRUM_FOREVER) == 0);
		int64_t took = thrum_now() - start;
		best = took < best ? took : best;
	}
	report("park and wake", best, 2 * PASSES);
}

static void *bench(void *arg)
{
	(void)arg;
	bench_yield(2, "yield, 2 threads");
	bench_yield(1000, "yield, 1,000 threads");
	bench_spawn(1, "spawn and join, one");
	bench_spawn(1000, "spawn and join, batch");
	bench_wake();
	return NULL;
}

int main(int argc, char **argv)
{
	struct thrum_config config = {.workers = argc > 1 ? (unsigned)atoi(argv[1]) : 1};
	bench_switch();
	return thrum_run(&config, bench, NULL, NULL) == 0 ? 0 : 1;
}
