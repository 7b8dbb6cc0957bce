/* SPDX-License-Identifier: MIT */
#include "explore_internal.h"

/*
 * Plain accesses of the source under test, reported by the compiler's instrumentation: two to one
 * address, one of them a store, must be ordered. A thread's view holds, for each other thread, up
 * to which of its steps it knows (memory.c), so: the last store and each thread's last load since
 * are remembered by step, and whoever comes next must know them.
 *
 * A field is taken to be accessed at its own address and width always.
 */

enum { CELLS = 4096 };

struct cell {
	const void *address;
	uint32_t generation;
	int8_t writer;                 /* -1: none yet */
	int16_t written;               /* the writer's step; a thread's steps count from 1 */
	int16_t read[EXPLORE_THREADS]; /* 0: not since the last store */
};

static struct cell cells[CELLS];
static uint32_t generation;

void race_reset(void)
{
	generation++;
}

static struct cell *cell_of(const void *address, bool make)
{
	unsigned slot = (unsigned)(engine_mix(1, (uintptr_t)address) >> 32) % CELLS;
	while (cells[slot].generation == generation && cells[slot].address != address)
		slot = (slot + 1) % CELLS;
	if (cells[slot].generation == generation)
		return &cells[slot];
	if (!make)
		return NULL;
	cells[slot] = (struct cell){.address = address, .generation = generation, .writer = -1};
	return &cells[slot];
}

/* A thread's step in which it is now: what it has released so far does not cover it. */
static int16_t now(void)
{
	return (int16_t)(engine_current()->now.at[explore_self()] + 1);
}

static bool knows(unsigned thread, int16_t step)
{
	return thread == explore_self() || engine_current()->now.at[thread] >= step;
}

void race_check_atomic(const void *address)
{
	if (engine_current() == NULL)
		return;
	const struct cell *cell = cell_of(address, false);
	if (cell != NULL && cell->writer >= 0 && !knows((unsigned)cell->writer, cell->written))
		engine_fail("data race: thread %d's plain store to %s and an atomic operation",
			cell->writer, report_name(address));
}

void explore_plain_read(const void *address)
{
	if (engine_current() == NULL)
		return;
	int location = memory_location(address);
	struct cell *cell = cell_of(address, true);
	if (cell->writer >= 0 && !knows((unsigned)cell->writer, cell->written))
		engine_fail("data race: thread %d's store and thread %u's load of %s", cell->writer,
			explore_self(), report_name(address));
	if (location >= 0 && !memory_knows_last(location))
		engine_fail("data race: an atomic store and thread %u's load of %s", explore_self(),
			report_name(address));
	cell->read[explore_self()] = now();
}

void explore_plain_write(const void *address)
{
	if (engine_current() == NULL)
		return;
	int location = memory_location(address);
	struct cell *cell = cell_of(address, true);
	if (cell->writer >= 0 && !knows((unsigned)cell->writer, cell->written))
		engine_fail("data race: the stores of threads %d and %u to %s", cell->writer,
			explore_self(), report_name(address));
	for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
		if (cell->read[i] != 0 && !knows(i, cell->read[i]))
			engine_fail("data race: thread %u's load and thread %u's store of %s", i,
				explore_self(), report_name(address));
		cell->read[i] = 0;
	}
	if (location >= 0) {
		if (!memory_knows_last(location))
			engine_fail("data race: an atomic store and thread %u's store to %s",
				explore_self(), report_name(address));
		memory_plain_store(location);
	}
	cell->writer = (int8_t)explore_self();
	cell->written = now();
}

/* ---------------------------------------------------------------- what the compiler calls */

#define ACCESS(size)                                     \
	void __tsan_read##size(void *address)            \
	{                                                \
		explore_plain_read(address);             \
	}                                                \
	void __tsan_write##size(void *address)           \
	{                                                \
		explore_plain_write(address);            \
	}                                                \
	void __tsan_unaligned_read##size(void *address)  \
	{                                                \
		explore_plain_read(address);             \
	}                                                \
	void __tsan_unaligned_write##size(void *address) \
	{                                                \
		explore_plain_write(address);            \
	}

ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
	(void)caller;
}

void __tsan_func_exit(void *unused)
{
	(void)unused;
}

/* Whole structs: word by word. */
void __tsan_read_range(void *address, long size)
{
	for (long i = 0; i < size; i += 8)
		explore_plain_read((char *)address + i);
}

void __tsan_write_range(void *address, long size)
{
	for (long i = 0; i < size; i += 8)
		explore_plain_write((char *)address + i);
}
