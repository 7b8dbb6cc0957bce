/* SPDX-License-Identifier: MIT */
#include "sched/census.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <thrum/stack.h>

/*
 * Counting a thread is a look-up in a table that only its processor writes. Readers go over all
 * tables that are registered; a row once taken stays as it is, and its numbers are single words.
 * The table of a processor that ends is added to `past`.
 *
 * Measuring makes the stack zero before and looks for what is not zero after, which takes some
 * 3.5 us, most of it in two mincores. So only some are measured, those of a new site more often: at
 * N = 4096 it adds a nanosecond to a thread, at N = 64 it would double the price of a short one.
 */

enum { ROWS = 256, PROBES = 16, DEFAULT_EVERY = 4096 };

/* All atomic; written by one at a time. */
struct row {
	const char *site; /* NULL: free */
	size_t stack_size;
	uint64_t threads, measured;
	size_t high_water;
	uint64_t until; /* threads to go until the next one is measured */
};

struct thrum__census_table {
	struct thrum__list link;
	struct row rows[ROWS];
	struct row others; /* what the rows had no room for */
};

static const char OTHERS[] = "(other sites)";

static struct {
	pthread_mutex_t mutex; /* held for long by readers; nobody suspends under it */
	struct thrum__list tables;
	struct thrum__census_table past; /* written under the mutex */
} all = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static uint64_t every; /* written once, by configure */

#define get(field)        __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define set(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

void thrum__census_lock_all(void)
{
	CHECK(pthread_mutex_lock(&all.mutex) == 0);
}

void thrum__census_unlock_all(void)
{
	CHECK(pthread_mutex_unlock(&all.mutex) == 0);
}

/* ---------------------------------------------------------------- counting */

static void print_at_exit(void);

static void configure(void)
{
	every = DEFAULT_EVERY;
	const char *given = secure_getenv("THRUM_STACK_CENSUS");
	char *end;
	unsigned long number = given == NULL ? 0 : strtoul(given, &end, 10);
	if (given == NULL || end == given || *end != '\0')
		return;
	every = number;
	if (number > 0)
		(void)atexit(print_at_exit);
}

/* False: the census is off, or there is no memory for it. */
static bool open_table(struct thrum__census *census)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(pthread_once(&once, configure) == 0);
	if (every > 0)
		census->table = calloc(1, sizeof(*census->table));
	census->off = census->table == NULL;
	if (census->off)
		return false;
	thrum__census_lock_all();
	thrum__list_push_back(&all.tables, &census->table->link);
	thrum__census_unlock_all();
	return true;
}

/* The row of a site, taken if need be. */
static struct row *row_of(struct thrum__census_table *table, const char *site, size_t stack_size)
{
	size_t at = (((uintptr_t)site ^ stack_size) * 0x9e3779b97f4a7c15u) >> 56;
	_Static_assert(ROWS == 1 << 8, "the top byte is the row");
	for (int i = 0; i < PROBES; i++, at = (at + 1) % ROWS) {
		struct row *row = &table->rows[at];
		const char *there = get(row->site);
		if (there == site && get(row->stack_size) == stack_size)
			return row;
		if (there != NULL)
			continue;
		set(row->stack_size, stack_size);
		set(row->until, 1);
		__atomic_store_n(&row->site, site, __ATOMIC_RELEASE); /* readers: acquire */
		return row;
	}
	if (get(table->others.site) == NULL) {
		set(table->others.until, 1);
		__atomic_store_n(&table->others.site, OTHERS, __ATOMIC_RELEASE);
	}
	return &table->others;
}

bool thrum__census_begin(
	struct thrum__census *census, const char *site, const struct thrum__stack *stack)
{
	if (thrum__unlikely(census->table == NULL) && (census->off || !open_table(census)))
		return false;
	struct row *row = census->last; /* a processor starts many from the same site in a row */
	if (row == NULL || row->site != site || row->stack_size != stack->size)
		census->last = row = row_of(census->table, site, stack->size);
	uint64_t threads = get(row->threads) + 1, until = get(row->until) - 1;
	set(row->threads, threads);
	set(row->until, until);
	if (thrum__likely(until > 0))
		return false;
	set(row->until, threads < every ? threads : every);
	thrum__stack_clean(stack);
	return true;
}

static void add(struct row *row, uint64_t threads, uint64_t measured, size_t high_water)
{
	set(row->threads, get(row->threads) + threads);
	set(row->measured, get(row->measured) + measured);
	if (high_water > get(row->high_water))
		set(row->high_water, high_water);
}

void thrum__census_end(
	struct thrum__census *census, const char *site, const struct thrum__stack *stack)
{
	size_t used = thrum__stack_used(stack);
	if (census != NULL && census->table != NULL) {
		add(row_of(census->table, site, stack->size), 0, 1, used);
		return;
	}
	thrum__census_lock_all();
	add(row_of(&all.past, site, stack->size), 0, 1, used);
	thrum__census_unlock_all();
}

static void add_to_past(const struct row *row)
{
	if (row->site != NULL)
		add(row_of(&all.past, row->site, row->stack_size), row->threads, row->measured,
			row->high_water);
}

void thrum__census_fini(struct thrum__census *census)
{
	struct thrum__census_table *table = census->table;
	if (table == NULL)
		return;
	thrum__census_lock_all();
	thrum__list_remove(&table->link);
	for (int i = 0; i < ROWS; i++)
		add_to_past(&table->rows[i]);
	add_to_past(&table->others);
	thrum__census_unlock_all();
	free(table);
	*census = (struct thrum__census){0};
}

/* ---------------------------------------------------------------- reading */

/* Adds a row to the uses, those of the same site together. */
static void collect(struct thrum_stack_use *uses, size_t *count, const struct row *row)
{
	const char *site = __atomic_load_n(&row->site, __ATOMIC_ACQUIRE);
	if (site == NULL)
		return;
	size_t i = 0, stack_size = get(row->stack_size), high_water = get(row->high_water);
	while (i < *count && (uses[i].stack_size != stack_size || strcmp(uses[i].site, site) != 0))
		i++;
	if (i == *count)
		uses[(*count)++] = (struct thrum_stack_use){.site = site, .stack_size = stack_size};
	uses[i].threads += get(row->threads);
	uses[i].measured += get(row->measured);
	if (uses[i].high_water < high_water)
		uses[i].high_water = high_water;
}

static void collect_table(
	struct thrum_stack_use *uses, size_t *count, const struct thrum__census_table *table)
{
	for (int i = 0; i < ROWS; i++)
		collect(uses, count, &table->rows[i]);
	collect(uses, count, &table->others);
}

static int deepest_first(const void *a, const void *b)
{
	const struct thrum_stack_use *left = a, *right = b;
	if (left->high_water != right->high_water)
		return left->high_water > right->high_water ? -1 : 1;
	return strcmp(left->site, right->site);
}

/* A new array of `count` uses, NULL without memory. */
static struct thrum_stack_use *take_census(size_t *count)
{
	*count = 0;
	thrum__census_lock_all();
	size_t most = ROWS + 1;
	thrum__list_foreach (link, &all.tables)
		most += ROWS + 1;
	struct thrum_stack_use *uses = malloc(most * sizeof(uses[0]));
	if (uses != NULL) {
		collect_table(uses, count, &all.past);
		thrum__list_foreach (link, &all.tables)
			collect_table(uses, count,
				thrum__container_of(link, struct thrum__census_table, link));
	}
	thrum__census_unlock_all();
	if (uses != NULL)
		qsort(uses, *count, sizeof(uses[0]), deepest_first);
	return uses;
}

int thrum_stack_census(thrum_stack_census_fn fn, void *arg)
{
	size_t count;
	struct thrum_stack_use *uses = take_census(&count);
	if (uses == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		fn(&uses[i], arg);
	free(uses);
	return (int)count;
}

static void print(const struct thrum_stack_use *use, void *arg)
{
	(void)arg;
	dprintf(STDERR_FILENO, "%12zu %12zu %12llu %12llu  %s\n", use->high_water, use->stack_size,
		(unsigned long long)use->threads, (unsigned long long)use->measured, use->site);
}

static void print_at_exit(void)
{
	dprintf(STDERR_FILENO, "thrum: stacks, in bytes\n%12s %12s %12s %12s  %s\n", "deepest",
		"of", "threads", "measured", "spawned at");
	if (thrum_stack_census(print, NULL) < 0)
		dprintf(STDERR_FILENO, "thrum: no memory for the census\n");
}
