/* SPDX-License-Identifier: MIT */
#include "ctx/stack.h"

#include <errno.h>
#include <unistd.h>

#include "base/base.h"
#include "ctx/sanitizer.h"
#include "ctx/stack_internal.h"

/*
 * The pool: for each size the slabs that have free stacks, in three lists. In `used` are those that
 * have a free stack with memory; they are taken from first. The others' free stacks were never
 * touched or gave their memory back: `empty` slabs have nothing but free ones and can be unmapped;
 * `fresh` ones are taken from before them. A slab without free stacks is in no list: it is found
 * again from the home of the next stack that is given back.
 *
 * No system call is made under the lock. What is to be unmapped or dropped is taken out of the pool
 * first, as if somebody used it, and put back after.
 */

enum {
	LARGEST = 24,    /* log2 of the largest size that is pooled */
	HUGE = 40,       /* log2 of the largest size there is */
	SLAB_BYTES = 24, /* log2 of the largest slab */
	FIRST_SLAB = 4, /* stacks in the first slab of a size; the next ones double what there is */
	BATCH = THRUM__STACK_CACHE / 2,
	STEP = 256 /* stacks given back at once; 100 to 300 us */
};

#define WINDOW_NS THRUM_S
_Static_assert((int)SLAB_BYTES >= (int)LARGEST, "a slab holds at least one pooled stack");

struct class
{
	struct thrum__list used, fresh, empty;
	size_t mapped; /* stacks in all its slabs; atomic */
	size_t free;
	size_t free_used; /* of these: with memory; atomic */
	size_t spare;     /* the least free_used in this window */
	size_t due;       /* used ones to give back in this window; atomic */
};

static struct {
	struct thrum__lock lock;
	struct class classes[LARGEST + 1]; /* by log2 of the size */
	int64_t window_end;                /* atomic */
} pool;

/* ---------------------------------------------------------------- sizes */

size_t thrum__stack_guard(void)
{
	static size_t guard; /* atomic; asked for with each stack */
	size_t known = __atomic_load_n(&guard, __ATOMIC_RELAXED);
	if (thrum__likely(known != 0))
		return known;
	/* Code is built without stack probes: one small page is soon jumped over. */
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	known = page < 16384 ? 16384 : page;
	__atomic_store_n(&guard, known, __ATOMIC_RELAXED);
	return known;
}

size_t thrum__stack_size(size_t want)
{
	if (want == 0)
		want = THRUM__STACK_DEFAULT;
	if (want > (size_t)1 << HUGE)
		return 0;
#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
	want *= 2; /* instrumented frames are larger */
#endif
	size_t guard = thrum__stack_guard(), size = 2 * guard;
	while (size - guard < want - want / 16)
		size *= 2;
	return size;
}

static unsigned log2_of(size_t size)
{
	return 63 - (unsigned)__builtin_clzll(size);
}

bool thrum__stack_is_large(size_t size)
{
	return log2_of(size) > LARGEST;
}

/* ---------------------------------------------------------------- homes */

static uintptr_t home_of(const struct thrum__slab *slab, unsigned index)
{
	return (uintptr_t)slab | index;
}

static struct thrum__slab *slab_of(uintptr_t home)
{
	return (struct thrum__slab *)(home & ~(uintptr_t)(THRUM__SLAB_STACKS - 1));
}

static unsigned index_of(uintptr_t home)
{
	return (unsigned)(home & (THRUM__SLAB_STACKS - 1));
}

uint8_t thrum__stack_log2(uintptr_t home)
{
	return (uint8_t)slab_of(home)->shift;
}

struct thrum__stack thrum__stack_at(uintptr_t home)
{
	const struct thrum__slab *slab = slab_of(home);
	size_t guard = thrum__stack_guard();
	return (struct thrum__stack){
		.base = thrum__slab_stack(slab, index_of(home)) + guard,
		.size = ((size_t)1 << slab->shift) - guard,
		.home = home,
	};
}

/* ---------------------------------------------------------------- the pool, under its lock */

static unsigned count_of(uint64_t bits)
{
	return (unsigned)__builtin_popcountll(bits);
}

/* The list that a slab with these bits belongs to. */
static struct thrum__list *list_of(
	struct class *class, const struct thrum__slab *slab, uint64_t free, uint64_t used)
{
	if (used != 0)
		return &class->used;
	if (free == thrum__slab_all(slab))
		return &class->empty;
	return free != 0 ? &class->fresh : NULL;
}

/* Changes a slab's bits, and its list with them. */
static void change(struct class *class, struct thrum__slab *slab, uint64_t free, uint64_t used)
{
	struct thrum__list *list = list_of(class, slab, free, used);
	if (list != list_of(class, slab, slab->free, slab->used)) {
		thrum__list_remove(&slab->link);
		if (list != NULL)
			thrum__list_push_front(list, &slab->link);
	}
	class->free += count_of(free) - (size_t)count_of(slab->free);
	size_t free_used = class->free_used + count_of(used) - count_of(slab->used);
	__atomic_store_n(&class->free_used, free_used, __ATOMIC_RELAXED);
	if (class->spare > free_used)
		class->spare = free_used;
	slab->free = free;
	slab->used = used;
}

static void take(struct class *class, struct thrum__slab *slab, uint64_t bits)
{
	change(class, slab, slab->free & ~bits, slab->used & ~bits);
}

static void give(struct class *class, struct thrum__slab *slab, uint64_t bits, bool used)
{
	ASSERT((slab->free & bits) == 0);
	change(class, slab, slab->free | bits, slab->used | (used ? bits : 0));
}

static struct thrum__slab *first_of(struct thrum__list *list)
{
	struct thrum__list *link = thrum__list_first(list);
	return link == NULL ? NULL : thrum__container_of(link, struct thrum__slab, link);
}

void thrum__stack_lock_all(void)
{
	thrum__lock(&pool.lock);
}

void thrum__stack_unlock_all(void)
{
	thrum__unlock(&pool.lock);
}

/* ---------------------------------------------------------------- taking and giving */

/* Up to `count` homes from the pool: such as have memory, or if there are none, others. */
static unsigned pool_take(unsigned shift, uintptr_t *homes, unsigned count)
{
	struct class *class = &pool.classes[shift];
	unsigned taken = 0;
	thrum__lock(&pool.lock);
	while (taken < count) {
		struct thrum__slab *slab = first_of(&class->used);
		if (slab == NULL && taken == 0)
			slab = first_of(&class->fresh);
		if (slab == NULL && taken == 0)
			slab = first_of(&class->empty);
		if (slab == NULL)
			break;
		uint64_t bits = slab->used != 0 ? slab->used : slab->free, chosen = 0;
		for (; bits != 0 && taken < count; bits &= bits - 1) {
			chosen |= bits & -bits;
			homes[taken++] = home_of(slab, (unsigned)__builtin_ctzll(bits));
		}
		take(class, slab, chosen);
	}
	thrum__unlock(&pool.lock);
	return taken;
}

/* Homes of stacks that have been used. */
static void pool_give(unsigned shift, const uintptr_t *homes, unsigned count)
{
	struct class *class = &pool.classes[shift];
	thrum__lock(&pool.lock);
	for (unsigned i = 0; i < count; i++)
		give(class, slab_of(homes[i]), (uint64_t)1 << index_of(homes[i]), true);
	thrum__unlock(&pool.lock);
}

/* Adds a slab to the pool. */
static int pool_grow(unsigned shift)
{
	struct class *class = &pool.classes[shift];
	size_t count = __atomic_load_n(&class->mapped, __ATOMIC_RELAXED);
	if (count < FIRST_SLAB)
		count = FIRST_SLAB;
	if (count > (size_t)1 << (SLAB_BYTES - shift))
		count = (size_t)1 << (SLAB_BYTES - shift);
	if (count > THRUM__SLAB_STACKS)
		count = THRUM__SLAB_STACKS;
	struct thrum__slab *slab = thrum__slab_map(shift, (unsigned)count);
	if (slab == NULL)
		return -ENOMEM;
	uint64_t free = slab->free;
	slab->free = 0;
	thrum__lock(&pool.lock);
	__atomic_store_n(&class->mapped, class->mapped + slab->count, __ATOMIC_RELAXED);
	give(class, slab, free, false);
	thrum__unlock(&pool.lock);
	return 0;
}

static int pool_get(unsigned shift, uintptr_t *homes, unsigned count)
{
	for (;;) {
		unsigned taken = pool_take(shift, homes, count);
		if (taken > 0)
			return (int)taken;
		int err = pool_grow(shift);
		if (err != 0)
			return err;
	}
}

/* A mapping of its own, never pooled. */
static int get_large(size_t size, uintptr_t *home)
{
	struct thrum__slab *slab = thrum__slab_map(log2_of(size), 1);
	if (slab == NULL)
		return -ENOMEM;
	*home = home_of(slab, 0);
	return 0;
}

/* Takes a home from the cache, which may be filled for it. */
static int get_cached(struct thrum__stack_cache *cache, size_t size, uintptr_t *home)
{
	if (cache->count == 0)
		cache->size = size;
	if (cache->size != size)
		return pool_get(log2_of(size), home, 1);
	if (cache->count == 0) {
		int got = pool_get(log2_of(size), cache->slots, BATCH);
		if (got < 0)
			return got;
		cache->count = (unsigned)got;
	}
	*home = cache->slots[--cache->count];
	return 0;
}

int thrum__stack_get(struct thrum__stack_cache *cache, size_t size, struct thrum__stack *out)
{
	uintptr_t home;
	bool large = thrum__stack_is_large(size);
	int err = large ? get_large(size, &home) : get_cached(cache, size, &home);
	if (err < 0)
		return err;
	*out = thrum__stack_at(home);
	thrum__fiber_unpoison(out->base, out->size);
	return 0;
}

static void put_large(struct thrum__slab *slab)
{
	if (!thrum__slab_unmap(slab))
		free(slab); /* only address space is lost */
}

bool thrum__stack_possible(size_t size)
{
	uintptr_t home;
	if (!thrum__stack_is_large(size))
		return true;
	if (get_large(size, &home) != 0)
		return false;
	put_large(slab_of(home));
	return true;
}

void thrum__stack_put(struct thrum__stack_cache *cache, struct thrum__stack *stack)
{
	struct thrum__slab *slab = slab_of(stack->home);
	size_t size = (size_t)1 << slab->shift;
	thrum__fiber_unpoison(stack->base, stack->size);
	if (cache->count == 0)
		cache->size = size;
	if (thrum__stack_is_large(size)) {
		put_large(slab);
	} else if (cache->size != size) {
		pool_give(slab->shift, &stack->home, 1);
	} else {
		if (cache->count == THRUM__STACK_CACHE) {
			/* The bottom half: those that were used longest ago. */
			pool_give(slab->shift, cache->slots, BATCH);
			cache->count -= BATCH;
			memmove(cache->slots, cache->slots + BATCH,
				cache->count * sizeof(cache->slots[0]));
		}
		cache->slots[cache->count++] = stack->home;
	}
	*stack = (struct thrum__stack){0};
}

/* ---------------------------------------------------------------- giving back to the kernel */

/*
 * Gives the memory of stacks back that were taken out of the pool, and their slab if they are all
 * of it. True if that is gone.
 */
static bool release(unsigned shift, struct thrum__slab *slab, uint64_t bits)
{
	struct class *class = &pool.classes[shift];
	size_t gone = bits == thrum__slab_all(slab) ? slab->count : 0;
	if (gone == 0)
		thrum__slab_drop(slab, bits);
	else if (!thrum__slab_unmap(slab))
		gone = 0;
	thrum__lock(&pool.lock);
	if (gone == 0)
		give(class, slab, bits, false);
	__atomic_store_n(&class->mapped, class->mapped - gone, __ATOMIC_RELAXED);
	thrum__unlock(&pool.lock);
	return gone > 0;
}

/* Takes the free stacks of the slab out of the pool that was used longest ago. 0: none is left. */
static uint64_t take_last(struct class *class, struct thrum__list *list, struct thrum__slab **out)
{
	uint64_t bits = 0;
	thrum__lock(&pool.lock);
	if (!thrum__list_empty(list)) {
		*out = thrum__container_of(list->prev, struct thrum__slab, link);
		bits = (*out)->free;
		take(class, *out, bits);
	}
	thrum__unlock(&pool.lock);
	return bits;
}

/* Gives back used stacks, some `most`, as long as the pool has more than `keep`. How many. */
static size_t release_used(unsigned shift, size_t keep, size_t most)
{
	struct class *class = &pool.classes[shift];
	struct thrum__slab *slab;
	size_t released = 0;
	while (released < most && __atomic_load_n(&class->free_used, __ATOMIC_RELAXED) > keep) {
		uint64_t bits = take_last(class, &class->used, &slab);
		if (bits == 0)
			break;
		released += count_of(bits);
		(void)release(shift, slab, bits);
	}
	return released;
}

/* Unmaps slabs that nobody uses, some `most` stacks. How many. */
static size_t release_empty(unsigned shift, size_t most)
{
	struct class *class = &pool.classes[shift];
	struct thrum__slab *slab;
	size_t released = 0;
	while (released < most) {
		uint64_t bits = take_last(class, &class->empty, &slab);
		if (bits == 0 || !release(shift, slab, bits))
			break;
		released += count_of(bits);
	}
	return released;
}

void thrum__stack_cache_trim(struct thrum__stack_cache *cache)
{
	if (cache->count > 0)
		pool_give(log2_of(cache->size), cache->slots, cache->count);
	cache->count = 0;
}

void thrum__stack_cache_fini(struct thrum__stack_cache *cache)
{
	thrum__stack_cache_trim(cache);
	for (unsigned shift = 0; shift <= LARGEST; shift++)
		(void)release_used(shift, THRUM__STACK_POOL, SIZE_MAX);
}

bool thrum__stack_trim_some(void)
{
	size_t released = 0;
	for (unsigned shift = 0; shift <= LARGEST && released < STEP; shift++) {
		released += release_used(shift, 0, STEP - released);
		if (released < STEP)
			released += release_empty(shift, STEP - released);
	}
	return released >= STEP;
}

void thrum__stack_trim(void)
{
	while (thrum__stack_trim_some())
		;
}

/* A new window begins: half of what was to spare in the last one is due. */
static void open_window(void)
{
	thrum__lock(&pool.lock);
	for (unsigned shift = 0; shift <= LARGEST; shift++) {
		struct class *class = &pool.classes[shift];
		__atomic_store_n(&class->due, (class->spare + 1) / 2, __ATOMIC_RELAXED);
		class->spare = class->free_used;
	}
	thrum__unlock(&pool.lock);
}

/* A step of what is due, unless it has found a use since. */
static void decay(unsigned shift)
{
	struct class *class = &pool.classes[shift];
	thrum__lock(&pool.lock);
	size_t most = class->due < class->spare ? class->due : class->spare;
	most = most < STEP ? most : STEP;
	thrum__unlock(&pool.lock);
	size_t done = release_used(shift, 0, most);
	thrum__lock(&pool.lock);
	size_t left = class->due > done && done > 0 ? class->due - done : 0;
	__atomic_store_n(&class->due, left, __ATOMIC_RELAXED);
	thrum__unlock(&pool.lock);
}

void thrum__stack_decay(int64_t now)
{
	int64_t end = __atomic_load_n(&pool.window_end, __ATOMIC_RELAXED);
	if (now >= end && __atomic_compare_exchange_n(&pool.window_end, &end, now + WINDOW_NS,
				  false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		open_window();
	for (unsigned shift = 0; shift <= LARGEST; shift++)
		if (__atomic_load_n(&pool.classes[shift].due, __ATOMIC_RELAXED) != 0)
			decay(shift);
}

struct thrum__stack_stats thrum__stack_stats(void)
{
	struct thrum__stack_stats stats = {0};
	thrum__lock(&pool.lock);
	for (unsigned shift = 0; shift <= LARGEST; shift++) {
		stats.mapped += pool.classes[shift].mapped;
		stats.free += pool.classes[shift].free;
		stats.used += pool.classes[shift].free_used;
	}
	thrum__unlock(&pool.lock);
	return stats;
}
