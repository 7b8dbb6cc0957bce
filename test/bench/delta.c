/* SPDX-License-Identifier: MIT */
/*
 * rdelta against rdiff on the same files: signature, delta and patch, output to /dev/null, page
 * cache warm.
 *
 *   delta [MB [BLOCK [ROUNDS]]]         (256 2048 3)
 *
 * The two run in turn; medians of the rounds. Prints MB/s of the new file, user + system seconds
 * and peak memory. Data is random and seeded, in $TMPDIR or /tmp.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

extern char **environ;

enum { MAX_ROUNDS = 99, MIB = 1 << 20 };

struct run {
	double wall, cpu;
	long peak_kib;
};

static void die(const char *what)
{
	fprintf(stderr, "delta: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void save(const char *name, const uint8_t *data, size_t len)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		die(name);
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0)
			die(name);
		data += n;
		len -= (size_t)n;
	}
	close(fd);
}

static void fill_random(uint8_t *data, size_t len, uint64_t *seed)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t word = thrum__splitmix64(seed);
		memcpy(data + i, &word, 8);
	}
}

/* The basis, and what became of it: 1 % of its bytes changed in pieces of 64; 1 MiB put in front;
 * another file. */
static void make_files(size_t len)
{
	uint64_t seed = 20261120;
	uint8_t *data = malloc(len + MIB);
	if (data == NULL)
		die("data");
	uint8_t *basis = data + MIB;
	fill_random(data, len + MIB, &seed);
	save("basis", basis, len);
	save("insert", data, len + MIB);
	for (size_t i = 0; i < len / 100 / 64; i++)
		fill_random(basis + thrum__splitmix64(&seed) % (len - 64), 64, &seed);
	save("edits", basis, len);
	fill_random(basis, len, &seed);
	save("unrelated", basis, len);
	free(data);
}

/* In a child: a program's peak memory counts that of the process it was started from. */
static void make_files_apart(size_t len)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		make_files(len);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		die("making the files");
}

static struct run run(const char *program, const char *const *arguments, const char *block)
{
	const char *argv[16] = {program, "-f", "-b", block};
	size_t n = 4;
	while (*arguments != NULL)
		argv[n++] = *arguments++;
	pid_t pid;
	int64_t start = thrum_now();
	int error = posix_spawnp(&pid, program, NULL, NULL, (char **)argv, environ);
	if (error != 0) {
		errno = error;
		die(program);
	}
	int status;
	struct rusage usage;
	if (wait4(pid, &status, 0, &usage) < 0 || status != 0) {
		fprintf(stderr, "delta: %s %s failed\n", program, argv[4]);
		exit(1);
	}
	struct run result = {.wall = (double)(thrum_now() - start) / 1e9,
		.cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
		.peak_kib = usage.ru_maxrss};
	return result;
}

static int by_wall(const void *a, const void *b)
{
	double x = ((const struct run *)a)->wall, y = ((const struct run *)b)->wall;
	return (x > y) - (x < y);
}

struct workload {
	const char *name, *file;
	const char *arguments[5];
};

static const struct workload workloads[] = {
	{"signature", "basis", {"signature", "basis", "/dev/null"}},
	{"delta_identical", "basis", {"delta", "signature", "basis", "/dev/null"}},
	{"delta_edits", "edits", {"delta", "signature", "edits", "/dev/null"}},
	{"delta_insert", "insert", {"delta", "signature", "insert", "/dev/null"}},
	{"delta_unrelated", "unrelated", {"delta", "signature", "unrelated", "/dev/null"}},
	{"patch_edits", "edits", {"patch", "basis", "delta", "/dev/null"}},
};

static void measure(
	const struct workload *workload, const char *const *programs, const char *block, int rounds)
{
	static struct run runs[2][MAX_ROUNDS];
	struct stat st;
	if (stat(workload->file, &st) < 0)
		die(workload->file);
	for (int i = 0; i < rounds; i++)
		for (int p = 0; p < 2; p++)
			runs[p][i] = run(programs[p], workload->arguments, block);
	printf("%-16s", workload->name);
	for (int p = 0; p < 2; p++) {
		qsort(runs[p], (size_t)rounds, sizeof(runs[p][0]), by_wall);
		const struct run *median = &runs[p][rounds / 2];
		printf("  %6.0f MB/s %5.2f s %6ld KiB", (double)st.st_size / 1e6 / median->wall,
			median->cpu, median->peak_kib);
	}
	printf("  x%.2f\n", runs[1][rounds / 2].wall / runs[0][rounds / 2].wall);
	fflush(stdout);
}

static void enter_folder(char *dir, size_t cap)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, cap, "%s/delta-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL || chdir(dir) < 0)
		die(dir);
}

static void leave_folder(const char *dir)
{
	static const char *const names[] = {
		"basis", "edits", "insert", "unrelated", "signature", "delta"};
	for (size_t i = 0; i < thrum__countof(names); i++)
		unlink(names[i]);
	if (chdir("/") < 0 || rmdir(dir) < 0)
		die(dir);
}

int main(int argc, char **argv)
{
	long megabytes = argc > 1 ? atol(argv[1]) : 256;
	const char *block = argc > 2 ? argv[2] : "2048";
	int rounds = argc > 3 ? atoi(argv[3]) : 3;
	char self[PATH_MAX], rdelta[PATH_MAX + 16], dir[PATH_MAX];
	if (megabytes < 1 || rounds < 1 || rounds > MAX_ROUNDS || realpath(argv[0], self) == NULL) {
		fputs("usage: delta [MB [BLOCK [ROUNDS]]]\n", stderr);
		return 2;
	}
	/* Benchmarks lie in a folder beside the programs. */
	snprintf(rdelta, sizeof(rdelta), "%s/../rdelta", dirname(self));
	const char *programs[2] = {rdelta, "rdiff"};
	enter_folder(dir, sizeof(dir));
	make_files_apart((size_t)megabytes * 1000000);
	run(rdelta, (const char *const[]){"signature", "basis", "signature", NULL}, block);
	run(rdelta, (const char *const[]){"delta", "signature", "edits", "delta", NULL}, block);
	printf("%ld MB, blocks of %s, medians of %d: speed, CPU time and peak memory\n", megabytes,
		block, rounds);
	printf("%-16s  %30s  %30s\n", "", "rdelta", "rdiff");
	for (size_t i = 0; i < thrum__countof(workloads); i++)
		measure(&workloads[i], programs, block, rounds);
	leave_folder(dir);
	return 0;
}
