/* SPDX-License-Identifier: MIT */
#include "ctx/stack.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "ctx/sanitizer.h"

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

/*
 * Guards. MADV_GUARD_INSTALL (Linux 6.13) makes a page fault without splitting the mapping, so a
 * million stacks stay a handful of mappings; mprotect needs two mappings a stack, of which a
 * process has 65,530.
 *
 * Sizes are powers of two, so that a stack that was given back fits the next request: one list
 * for each.
 *
 * The process-wide lists link stacks through their own topmost words: a used stack has that page
 * already.
 */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum {
	GUARD_PAGES = 4, /* code is built without stack probes: one page is soon jumped over */
	SMALLEST = 14,   /* log2: 16 KiB */
	LARGEST = 24,    /* log2: the largest size that is pooled */
};

struct free_stack {
	struct free_stack *next;
	void *base;
};

static struct {
	struct thrum__lock lock;
	struct free_stack *first[LARGEST - SMALLEST + 1];
	unsigned count[LARGEST - SMALLEST + 1];
} pool;

static unsigned log2_of(size_t size)
{
	return 63 - (unsigned)__builtin_clzll(size);
}

static struct free_stack *link_of(void *base, size_t size)
{
	return (struct free_stack *)((char *)base + size) - 1;
}

size_t thrum__stack_size(size_t want)
{
	if (want == 0)
		want = THRUM__STACK_DEFAULT;
	if (want > (size_t)1 << 40)
		return 0;
#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
	want *= 2; /* instrumented frames are larger */
#endif
	size_t size = (size_t)1 << SMALLEST;
	while (size < want || size < 2 * (size_t)sysconf(_SC_PAGESIZE))
		size *= 2;
	return size;
}

static size_t guard_size(void)
{
	return GUARD_PAGES * (size_t)sysconf(_SC_PAGESIZE);
}

static int guard_install(void *at, size_t size)
{
	if (madvise(at, size, MADV_GUARD_INSTALL) == 0)
		return 0;
	return mprotect(at, size, PROT_NONE);
}

static int map_stack(size_t size, void **base)
{
	size_t guard = guard_size();
	char *at = mmap(NULL, size + guard, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	if (guard_install(at, guard) != 0) {
		munmap(at, size + guard);
		return -ENOMEM;
	}
#ifdef VALGRIND_STACK_REGISTER
	/*
	 * The id is not kept: valgrind drops the registration when the range is unmapped or
	 * reused.
	 */
	(void)VALGRIND_STACK_REGISTER(at + guard, at + guard + size - 1);
#endif
	*base = at + guard;
	return 0;
}

/*
 * False: only the memory has gone back. The kernel merges neighbouring stacks into one mapping and
 * cannot cut one out when the process has all the mappings it may have.
 */
static bool unmap_stack(void *base, size_t size)
{
	size_t guard = guard_size();
	if (munmap((char *)base - guard, size + guard) == 0)
		return true;
	CHECK(errno == ENOMEM);
	(void)madvise(base, size, MADV_DONTNEED);
	return false;
}

static void *pool_pop(size_t size)
{
	unsigned class = log2_of(size);
	if (class > LARGEST)
		return NULL;
	class -= SMALLEST;
	thrum__lock(&pool.lock);
	struct free_stack *stack = pool.first[class];
	if (stack != NULL) {
		pool.first[class] = stack->next;
		pool.count[class]--;
	}
	thrum__unlock(&pool.lock);
	return stack == NULL ? NULL : stack->base;
}

/* False: the pool has `limit` of this size already, or takes none of it. */
static bool pool_push(void *base, size_t size, unsigned limit)
{
	unsigned class = log2_of(size);
	if (class > LARGEST)
		return false;
	class -= SMALLEST;
	struct free_stack *stack = link_of(base, size);
	stack->base = base;
	thrum__lock(&pool.lock);
	bool room = pool.count[class] < limit;
	if (room) {
		stack->next = pool.first[class];
		pool.first[class] = stack;
		pool.count[class]++;
	}
	thrum__unlock(&pool.lock);
	return room;
}

static void give_back(void *base, size_t size)
{
	if (!pool_push(base, size, THRUM__STACK_POOL) && !unmap_stack(base, size))
		(void)pool_push(base, size, UINT32_MAX);
}

int thrum__stack_get(struct thrum__stack_cache *cache, size_t size, struct thrum__stack *out)
{
	void *base = NULL;
	if (cache->count > 0 && cache->size == size)
		base = cache->slots[--cache->count];
	if (base == NULL)
		base = pool_pop(size);
	if (base == NULL) {
		int err = map_stack(size, &base);
		if (err != 0)
			return err;
	}
	thrum__fiber_unpoison(base, size);
	*out = (struct thrum__stack){base, size};
	return 0;
}

void thrum__stack_put(struct thrum__stack_cache *cache, struct thrum__stack *stack)
{
	thrum__fiber_unpoison(stack->base, stack->size);
	if (cache->count == 0)
		cache->size = stack->size;
	if (cache->size == stack->size && cache->count < THRUM__STACK_CACHE)
		cache->slots[cache->count++] = stack->base;
	else
		give_back(stack->base, stack->size);
	*stack = (struct thrum__stack){0};
}

void thrum__stack_cache_fini(struct thrum__stack_cache *cache)
{
	while (cache->count > 0)
		give_back(cache->slots[--cache->count], cache->size);
}
