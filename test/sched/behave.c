/* SPDX-License-Identifier: MIT */
#include "behave.h"

#include <dirent.h>

const char *broken;

/* How many entries a directory has; -1: it cannot be read. */
static int count_entries(const char *path)
{
	int count = 0;
	DIR *dir = opendir(path);
	if (dir == NULL)
		return -1;
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

int os_threads(void)
{
	return count_entries("/proc/self/task");
}

int open_fds(void)
{
	return count_entries("/proc/self/fd") - 1; /* that of the look itself */
}

uint64_t test_seed(const char *test)
{
	const char *given = getenv("THRUM_SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)thrum_now();
	printf("%s: THRUM_SEED=%llu\n", test, (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
