/* SPDX-License-Identifier: MIT */
#ifndef THRUM_BENCH_H
#define THRUM_BENCH_H

/*
 * The scheduler's benchmark. Each workload runs in a process of its own and prints lines of
 * "METRIC VALUE"; units and aims stand in test/bench/workloads. The programs under
 * test/bench/peers do the same work, to the same rules, with other systems.
 *
 * Costs of single operations: one pass to warm up, then BENCH_PASSES of about a tenth of a second;
 * the median of their means.
 */

#include <stdint.h>

#include <thrum.h>

enum { BENCH_PASSES = 5, BENCH_BATCH = 1000 };

#define BENCH_PASS_NS (100 * THRUM_MS)

/* How fork-join workloads spawn: NULL, or child first. */
extern const struct thrum_attr *bench_fork;

static inline double bench_ms(int64_t ns)
{
	return (double)ns / (double)THRUM_MS;
}

void bench_report(const char *metric, double value);

_Noreturn void bench_fail(int result);

/* Ends the process with a message where result is an error. */
static inline void bench_must(int result)
{
	if (__builtin_expect(result < 0, 0))
		bench_fail(result);
}

/* A pass gives ns an operation. */
double bench_median(double (*pass)(void));

/* The mean ns of an operation, `chunk` doing `count` of them again and again for a pass's time. */
double bench_mean(void (*chunk)(void), int count);

/* Sorts and gives the value that the share `rank` (0 to 1) of them does not exceed. */
int64_t bench_quantile(int64_t *values, size_t count, double rank);

/* A field of /proc/self/status in bytes. */
int64_t bench_memory(const char *field);

/* Many green threads, of which each says that it has come, waits for all to be let go, and says
 * that it is done. */
struct bench_gate {
	struct thrum_waitgroup coming, closed, busy;
};

void bench_gate_init(struct bench_gate *gate, uint32_t threads);
void bench_gate_pass(struct bench_gate *gate);
void bench_gate_leave(struct bench_gate *gate);

/* All have come and, as good as surely, sleep. */
void bench_gate_gather(struct bench_gate *gate);

/* Lets them go and waits until all are done. */
void bench_gate_open(struct bench_gate *gate);

void bench_switch(void);
void bench_yield2(void);
void bench_yield1000(void);
void bench_spawn_join(void);
void bench_spawn_batch(void);
void bench_fib30(void);
void bench_skynet(void);
void bench_parked(void);
void bench_timers(void);
void bench_hog_spin(void);
void bench_hog_block(void);
void bench_yieldstorm(void);

#endif
