/* SPDX-License-Identifier: MIT */
#ifndef TEST_EMULATED_H
#define TEST_EMULATED_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>

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

#endif
