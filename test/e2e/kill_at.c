/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a program: kills it, as kill -9 would, right before the KILL_AT-th system call of
 * those that change a disk. Without KILL_AT it only counts; the count stands in the file named by
 * KILL_COUNT, if set, at any moment. Only the file systems' calls count, so the number of a call
 * hardly depends on the network's timing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t own_count, *count = &own_count;
static uint64_t kill_at;

__attribute__((constructor)) static void begin(void)
{
	const char *at = getenv("KILL_AT"), *file = getenv("KILL_COUNT");
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
	if (at != NULL)
		kill_at = strtoull(at, NULL, 10);
}

static void step(void)
{
	if (__atomic_add_fetch(count, 1, __ATOMIC_RELAXED) != kill_at)
		return;
	kill(getpid(), SIGKILL);
	pause(); /* never comes back */
}

static int is_file(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* Each stands in front of the C library's function of that name. */
#define BEFORE(type, name, condition, params, args)                                                \
	type name params;                                                                          \
	type name params                                                                           \
	{                                                                                          \
		static type(*next) params;                                                         \
		if (next == NULL)                                                                  \
			*(void **)&next = dlsym(RTLD_NEXT, #name);                                 \
		if (condition)                                                                     \
			step();                                                                    \
		return next args;                                                                  \
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
