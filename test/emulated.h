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

struct test_waiter {
	int end[2], begun[2]; /* pipes */
};

static inline void *test_wait_for_end(void *arg)
{
	struct test_waiter *waiter = (struct test_waiter *)arg;
	char byte = 0;
	return write(waiter->begun[1], &byte, 1) == 1 && read(waiter->end[0], &byte, 1) == 0 ? arg
											      : NULL;
}

/* False where the child of a process that has several OS threads can start none. */
static inline bool child_starts_threads(void)
{
	struct test_waiter waiter;
	int status = -1;
	char byte;
	pthread_t thread;
	if (pipe(waiter.end) != 0 || pipe(waiter.begun) != 0 ||
		pthread_create(&thread, NULL, test_wait_for_end, &waiter) != 0 ||
		read(waiter.begun[0], &byte, 1) != 1) /* beginning, it may hold locks */
		return false;
	pid_t child = fork();
	if (child == 0) {
		close(waiter.end[1]);
		_exit(pthread_create(&thread, NULL, test_wait_for_end, &waiter) == 0 &&
					pthread_join(thread, NULL) == 0
				? 0
				: 1);
	}
	close(waiter.end[1]);
	pthread_join(thread, NULL);
	close(waiter.end[0]);
	close(waiter.begun[0]);
	close(waiter.begun[1]);
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
