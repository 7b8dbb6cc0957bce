/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	void (*run)(void);
} workloads[] = {
	{"switch", bench_switch},
	{"yield2", bench_yield2},
	{"yield1000", bench_yield1000},
	{"spawn_join", bench_spawn_join},
	{"spawn_batch", bench_spawn_batch},
	{"fib30", bench_fib30},
	{"skynet", bench_skynet},
	{"parked", bench_parked},
	{"timers", bench_timers},
	{"hog_spin", bench_hog_spin},
	{"hog_block", bench_hog_block},
	{"yieldstorm", bench_yieldstorm},
};

enum { WORKLOADS = sizeof(workloads) / sizeof(workloads[0]) };

const struct thrum_attr *bench_fork;

void bench_report(const char *metric, double value)
{
	printf("%s %.6g\n", metric, value);
}

void bench_fail(int result)
{
	fprintf(stderr, "sched: %s\n", thrum_strerror(result));
	exit(1);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double bench_median(double (*pass)(void))
{
	double values[BENCH_PASSES];
	pass();
	for (int i = 0; i < BENCH_PASSES; i++)
		values[i] = pass();
	qsort(values, BENCH_PASSES, sizeof(values[0]), by_size);
	return values[BENCH_PASSES / 2];
}

double bench_mean(void (*chunk)(void), int count)
{
	int64_t start = thrum_now(), took;
	int64_t done = 0;
	do {
		chunk();
		done += count;
		took = thrum_now() - start;
	} while (took < BENCH_PASS_NS);
	return (double)took / (double)done;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

int64_t bench_quantile(int64_t *values, size_t count, double rank)
{
	qsort(values, count, sizeof(values[0]), by_value);
	size_t at = (size_t)(rank * (double)count);
	return values[at < count ? at : count - 1];
}

int64_t bench_memory(const char *field)
{
	char line[256];
	long kib = 0;
	size_t len = strlen(field);
	FILE *status = fopen("/proc/self/status", "r");
	if (status == NULL)
		bench_must(-errno);
	while (fgets(line, sizeof(line), status) != NULL)
		if (strncmp(line, field, len) == 0 && line[len] == ':')
			kib = atol(line + len + 1);
	fclose(status);
	return (int64_t)kib * 1024;
}

/* ---- the gate */

void bench_gate_init(struct bench_gate *gate, uint32_t threads)
{
	*gate = (struct bench_gate){0};
	thrum_waitgroup_add(&gate->coming, threads);
	thrum_waitgroup_add(&gate->closed, 1);
	thrum_waitgroup_add(&gate->busy, threads);
}

void bench_gate_pass(struct bench_gate *gate)
{
	thrum_waitgroup_done(&gate->coming);
	bench_must(thrum_waitgroup_wait(&gate->closed, THRUM_FOREVER));
}

void bench_gate_leave(struct bench_gate *gate)
{
	thrum_waitgroup_done(&gate->busy);
}

void bench_gate_gather(struct bench_gate *gate)
{
	bench_must(thrum_waitgroup_wait(&gate->coming, THRUM_FOREVER));
}

void bench_gate_open(struct bench_gate *gate)
{
	thrum_waitgroup_done(&gate->closed);
	bench_must(thrum_waitgroup_wait(&gate->busy, THRUM_FOREVER));
}

/* ---- one workload */

static void *run(void *arg)
{
	workloads[*(int *)arg].run();
	return NULL;
}

static int usage(void)
{
	fputs("usage: sched [-c] WORKLOAD [WORKERS]\n  -c  fork-join starts the child first\n",
		stderr);
	for (int i = 0; i < WORKLOADS; i++)
		fprintf(stderr, "  %s\n", workloads[i].name);
	return 2;
}

int main(int argc, char **argv)
{
#ifdef THRUM_CHILD_FIRST
	static const struct thrum_attr child_first = {.flags = THRUM_CHILD_FIRST};
#else
	static const struct thrum_attr child_first;
#endif
	for (int option; (option = getopt(argc, argv, "c")) != -1;) {
		if (option != 'c')
			return usage();
		bench_fork = &child_first;
	}
	int workers = optind + 1 < argc ? atoi(argv[optind + 1]) : 1;
	if (optind >= argc || workers < 1)
		return usage();
	struct thrum_config config = {.workers = (unsigned)workers};
	for (int i = 0; i < WORKLOADS; i++) {
		if (strcmp(argv[optind], workloads[i].name) != 0)
			continue;
		if (workloads[i].run == bench_switch) /* knows no runtime */
			workloads[i].run();
		else
			bench_must(thrum_run(&config, run, &i, NULL));
		return fflush(stdout) == 0 ? 0 : 1;
	}
	return usage();
}
