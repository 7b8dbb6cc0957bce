/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a program: kills it, as kill -9 would, right before the KILL_AT-th system call of
 * those that change a disk. Or lets FAIL_CALLS of them (1), from the FAIL_AT-th on, fail with
 * ENOSPC. Without either it only counts; the count stands in the file named by KILL_COUNT, if set,
 * at any moment. Only the file systems' calls count, so the number of a call hardly depends on the
 * network's timing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t own_count, *count = &own_count;
static uint64_t kill_at, fail_at, fail_calls;

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void begin(void)
{
	const char *file = getenv("KILL_COUNT");
	if (file != NULL) {
		int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, sizeof(*count)) < 0)
			abort();
		void *map = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			abort();
		close(fd);
		count = map;
		*count = 0;
	}
	kill_at = number("KILL_AT", 0);
	fail_at = number("FAIL_AT", 0);
	fail_calls = number("FAIL_CALLS", 1);
}

/* Counts a call. True if it is to fail. */
static int fails(void)
{
	uint64_t n = __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
	if (n == kill_at) {
		kill(getpid(), SIGKILL);
		pause(); /* never comes back */
	}
	if (fail_at == 0 || n < fail_at || n - fail_at >= fail_calls)
		return 0;
	errno = ENOSPC;
	return 1;
}

static int is_file(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* Each stands in front of the C library's function of that name. */
#define BEFORE(type, name, condition, params, args)                \
	type name params;                                          \
	type name params                                           \
	{                                                          \
		static type(*next) params;                         \
		if (next == NULL)                                  \
			*(void **)&next = dlsym(RTLD_NEXT, #name); \
		if ((condition) && fails())                        \
			return -1;                                 \
		return next args;                                  \
	}

BEFORE(ssize_t, write, is_file(fd), (int fd, const void *data, size_t len), (fd, data, len))
BEFORE(ssize_t, pwrite64, 1, (int fd, const void *data, size_t len, off_t at), (fd, data, len, at))
BEFORE(int, ftruncate64, 1, (int fd, off_t len), (fd, len))
BEFORE(int, fsync, 1, (int fd), (fd))
BEFORE(int, fdatasync, 1, (int fd), (fd))
BEFORE(int, syncfs, 1, (int fd), (fd))
BEFORE(int, fchmod, 1, (int fd, mode_t mode), (fd, mode))
BEFORE(int, futimens, 1, (int fd, const struct timespec times[2]), (fd, times))
BEFORE(int, utimensat, 1, (int fd, const char *path, const struct timespec times[2], int flags),
	(fd, path, times, flags))
BEFORE(int, symlinkat, 1, (const char *target, int fd, const char *path), (target, fd, path))
BEFORE(int, mkdirat, 1, (int fd, const char *path, mode_t mode), (fd, path, mode))
BEFORE(int, unlinkat, 1, (int fd, const char *path, int flags), (fd, path, flags))
BEFORE(int, renameat, 1, (int from_fd, const char *from, int to_fd, const char *to),
	(from_fd, from, to_fd, to))
BEFORE(int, renameat2, 1,
	(int from_fd, const char *from, int to_fd, const char *to, unsigned flags),
	(from_fd, from, to_fd, to, flags))
