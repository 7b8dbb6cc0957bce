/* SPDX-License-Identifier: MIT */
#include "ctx/stack_internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

/*
 * Guards. MADV_GUARD_INSTALL (Linux 6.13) makes a page fault without splitting the mapping, so a
 * million stacks stay a handful of mappings; mprotect needs two mappings a stack, of which a
 * process has 65,530. One call for a whole slab (Linux 6.15) saves 5 % of what a new stack costs.
 * The guards survive MADV_DONTNEED.
 *
 * Rejected: having the top pages populated beforehand. MADV_POPULATE_WRITE, process_vm_writev and
 * a readv of zeros into all of a slab's were each as slow as the faults (1.6 us here).
 */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { SELF = -10000 }; /* PIDFD_SELF: stands for the calling process */

/*
 * Whether MADV_GUARD_INSTALL means anything: an emulator of another architecture may say yes to
 * any advice, even to one that nobody has ever given a meaning.
 */
static bool guards_by_advice(void *at, size_t size)
{
	enum { UNASKED, NO, YES };
	static int answer; /* atomic */
	int known = __atomic_load_n(&answer, __ATOMIC_RELAXED);
	if (known == UNASKED) {
		known = madvise(at, size, -1) == 0 ? NO : YES;
		__atomic_store_n(&answer, known, __ATOMIC_RELAXED);
	}
	return known == YES;
}

static bool guard_each(char *base, size_t step, unsigned index)
{
	size_t guard = thrum__stack_guard();
	char *at = base + index * step;
	if (guards_by_advice(at, guard) && madvise(at, guard, MADV_GUARD_INSTALL) == 0)
		return true;
	return mprotect(at, guard, PROT_NONE) == 0;
}

static bool under_valgrind(void)
{
#ifdef RUNNING_ON_VALGRIND
	return RUNNING_ON_VALGRIND;
#else
	return false;
#endif
}

/* The number of stacks, from the first on, that have their guard. */
static unsigned guard_all(char *base, size_t step, unsigned count)
{
	static bool refused; /* atomic */
	size_t guard = thrum__stack_guard();
	struct iovec guards[THRUM__SLAB_STACKS];
	unsigned done = 0;
	if (count > 1 && guards_by_advice(base, guard) &&
		!under_valgrind() && /* it does not know the call, and says so at length */
		!__atomic_load_n(&refused, __ATOMIC_RELAXED)) {
		for (unsigned i = 0; i < count; i++)
			guards[i] = (struct iovec){base + i * step, guard};
		long bytes = syscall(
			SYS_process_madvise, SELF, guards, (size_t)count, MADV_GUARD_INSTALL, 0u);
		if (bytes > 0)
			done = (unsigned)((size_t)bytes / guard);
		else if (errno != ENOMEM && errno != EINTR)
			__atomic_store_n(&refused, true, __ATOMIC_RELAXED);
	}
	while (done < count && guard_each(base, step, done))
		done++;
	return done;
}

static void *map(size_t size)
{
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	return base == MAP_FAILED ? NULL : base;
}

static void tell_valgrind(const struct thrum__slab *slab)
{
#ifdef VALGRIND_STACK_REGISTER
	/* The ids are not kept: valgrind drops what is unmapped. */
	for (unsigned i = 0; i < slab->count; i++) {
		char *at = thrum__slab_stack(slab, i);
		(void)at; /* the macro is empty where there is no valgrind */
		(void)VALGRIND_STACK_REGISTER(
			at + thrum__stack_guard(), at + ((size_t)1 << slab->shift) - 1);
	}
#endif
	(void)slab;
}

struct thrum__slab *thrum__slab_map(unsigned shift, unsigned count)
{
	size_t step = (size_t)1 << shift;
	struct thrum__slab *slab = aligned_alloc(_Alignof(struct thrum__slab), sizeof(*slab));
	if (slab == NULL)
		return NULL;
	char *base = map(count * step);
	while (base == NULL && count > 1) {
		count /= 2;
		base = map(count * step);
	}
	if (base == NULL)
		goto free_slab;
	unsigned guarded = guard_all(base, step, count);
	if (guarded == 0)
		goto unmap;
	/* What is left over has no guard; if it cannot be cut off it is only address space. */
	if (guarded < count)
		(void)munmap(base + guarded * step, (count - guarded) * step);
	*slab = (struct thrum__slab){.base = base, .count = guarded, .shift = shift};
	slab->free = thrum__slab_all(slab);
	tell_valgrind(slab);
	return slab;

unmap:
	(void)munmap(base, count * step);
free_slab:
	free(slab);
	return NULL;
}

bool thrum__slab_unmap(struct thrum__slab *slab)
{
	if (munmap(slab->base, (size_t)slab->count << slab->shift) != 0) {
		CHECK(errno == ENOMEM);
		thrum__slab_drop(slab, thrum__slab_all(slab));
		return false;
	}
	free(slab);
	return true;
}

void thrum__slab_drop(struct thrum__slab *slab, uint64_t stacks)
{
	for (unsigned i = 0; i < slab->count; i++) {
		unsigned first = i;
		while (i < slab->count && (stacks >> i & 1) != 0)
			i++;
		/* Fails on locked memory, which is not to go. */
		if (i > first)
			(void)madvise(thrum__slab_stack(slab, first),
				(size_t)(i - first) << slab->shift, MADV_DONTNEED);
	}
}
