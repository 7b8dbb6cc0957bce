/* SPDX-License-Identifier: MIT */
#include "ctx/stack.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "ctx/sanitizer.h"

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

/*
 * How deep a stack was used. mincore tells which pages have memory, so that the others need not be
 * read, which would give them some. From the lowest page that has, the first word that is not zero
 * is the mark. Exact to the word for what was written; what a frame only reserved is not seen.
 */

enum {
	CHUNK = 256, /* pages asked for at once */
	WIPED = 8    /* pages that are wiped rather than given back */
};

/* Whatever a dead frame was to the checkers, the memory is looked at as such now. */
static void open_to_checkers(const struct thrum__stack *stack)
{
	thrum__fiber_unpoison(stack->base, stack->size);
#ifdef VALGRIND_MAKE_MEM_DEFINED
	(void)VALGRIND_MAKE_MEM_DEFINED(stack->base, stack->size);
#endif
}

/* The end of the stack, upward from `from`, where the page is the first that has memory. */
static char *first_resident(char *from, char *end, size_t page)
{
	unsigned char resident[CHUNK];
	while (from < end) {
		size_t pages = (size_t)(end - from) / page;
		if (pages > CHUNK)
			pages = CHUNK;
		if (mincore(from, pages * page, resident) != 0)
			return from; /* read them all then */
		for (size_t i = 0; i < pages; i++)
			if ((resident[i] & 1) != 0)
				return from + i * page;
		from += pages * page;
	}
	return end;
}

void thrum__stack_clean(const struct thrum__stack *stack)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *end = (char *)stack->base + stack->size;
	open_to_checkers(stack);
	char *from = first_resident(stack->base, end, page);
	if ((size_t)(end - from) > WIPED * page) {
		char *wiped = end - WIPED * page;
		if (madvise(from, (size_t)(wiped - from), MADV_DONTNEED) == 0)
			from = wiped;
	}
	memset(from, 0, (size_t)(end - from));
}

size_t thrum__stack_used(const struct thrum__stack *stack)
{
	char *end = (char *)stack->base + stack->size;
	open_to_checkers(stack);
	char *from = first_resident(stack->base, end, (size_t)sysconf(_SC_PAGESIZE));
	const uint64_t *word = (const uint64_t *)from;
	while ((const char *)word < end && *word == 0)
		word++;
	return (size_t)(end - (const char *)word);
}
