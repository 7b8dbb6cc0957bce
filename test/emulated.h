/* SPDX-License-Identifier: MIT */
#ifndef TEST_EMULATED_H
#define TEST_EMULATED_H

/* What an emulator of another architecture does not do as a kernel does. */

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * True where address space costs memory that nobody has touched: an emulator of another
 * architecture keeps tables of it, for ever, and what the process is said to hold says nothing
 * about us.
 */
static inline bool space_costs_memory(void)
{
	size_t pages[2] = {0};
	size_t size = (size_t)4 << 30;
	for (int i = 0; i < 2; i++) {
		FILE *file = fopen("/proc/self/statm", "r");
		if (file == NULL || fscanf(file, "%*u %zu", &pages[i]) != 1)
			return true;
		fclose(file);
		void *space = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (space != MAP_FAILED)
			munmap(space, size);
	}
	return pages[1] > pages[0] + 1000;
}

static inline void *test_wait_for_end(void *fd)
{
	char byte;
	return read(*(int *)fd, &byte, 1) == 0 ? fd : NULL;
}

/* False where the child of a process that has several OS threads can start none. */
static inline bool child_starts_threads(void)
{
	int fds[2], status = -1;
	pthread_t thread;
	if (pipe(fds) != 0 || pthread_create(&thread, NULL, test_wait_for_end, &fds[0]) != 0)
		return false;
	pid_t child = fork();
	if (child == 0) {
		close(fds[1]);
		_exit(pthread_create(&thread, NULL, test_wait_for_end, &fds[0]) == 0 &&
					pthread_join(thread, NULL) == 0
				? 0
				: 1);
	}
	close(fds[1]);
	pthread_join(thread, NULL);
	close(fds[0]);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* False where a limit of the address space is taken note of and no more. */
static inline bool space_is_limited(void)
{
	struct rlimit old;
	if (getrlimit(RLIMIT_AS, &old) != 0)
		return false;
	struct rlimit limit = {.rlim_cur = (rlim_t)1 << 30, .rlim_max = old.rlim_max};
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		return false;
	size_t size = (size_t)1 << 31;
	void *space =
		mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (space != MAP_FAILED)
		munmap(space, size);
	return setrlimit(RLIMIT_AS, &old) == 0 && space == MAP_FAILED;
}

#endif
