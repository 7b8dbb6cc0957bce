/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_HOOKS_H
#define THRUM_TEST_EXPLORE_HOOKS_H

/*
 * Included before a source of the library to bring it under test: whatever the source says to
 * other threads goes to the explorer. Its plain accesses are reported by the compiler
 * (-fsanitize=thread, answered by race.c), so this header comes before everything.
 *
 * The headers that the replacements would break come first, with the real thing; but the lock is
 * real, too, where EXPLORE_REAL_LOCK is defined.
 */
#undef __SANITIZE_THREAD__ /* the instrumentation is ours: fences stay fences */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a source exports is for its own test alone, and becomes local to its object (Makefile). */
#include <thrum/error.h>
#undef THRUM_API
#define THRUM_API

#if !defined(EXPLORE_REAL_LOCK)
#include "base/base.h"
#endif

enum explore_rmw { EXPLORE_XCHG, EXPLORE_ADD, EXPLORE_SUB, EXPLORE_OR, EXPLORE_AND };

uint64_t explore_load(const void *address, unsigned size, int order);
void explore_store(void *address, unsigned size, uint64_t value, int order);
uint64_t explore_rmw(
	void *address, unsigned size, enum explore_rmw op, uint64_t operand, int order);
bool explore_cas(
	void *address, unsigned size, void *expected, uint64_t desired, int success, int failure);
void explore_fence(int order);

/* A full fence of every thread, each at some moment during the call. */
void explore_membarrier(void);

void explore_lock(const void *lock);
void explore_unlock(const void *lock);
void explore_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout);
void explore_futex_wake(const uint32_t *word, int count);

/* The pause of a loop that spins: sleeps until something that it has read has changed. */
void explore_relax(void);

void *explore_malloc(size_t size);
void explore_free(const void *memory);
_Noreturn void explore_check_failed(const char *expr, const char *file, int line);

#define EXPLORE_TYPED(p, call)            ((__typeof__(*(p)))(call))
#define __atomic_load_n(p, order)         EXPLORE_TYPED(p, explore_load(p, sizeof(*(p)), order))
#define __atomic_store_n(p, value, order) explore_store(p, sizeof(*(p)), (uint64_t)(value), order)
#define EXPLORE_RMW(p, op, value, order)  /* may be used as a statement */              \
	({                                                                              \
		__typeof__(*(p)) before_ = EXPLORE_TYPED(                               \
			p, explore_rmw(p, sizeof(*(p)), op, (uint64_t)(value), order)); \
		before_;                                                                \
	})
#define __atomic_exchange_n(p, value, order) EXPLORE_RMW(p, EXPLORE_XCHG, value, order)
#define __atomic_fetch_add(p, value, order)  EXPLORE_RMW(p, EXPLORE_ADD, value, order)
#define __atomic_fetch_sub(p, value, order)  EXPLORE_RMW(p, EXPLORE_SUB, value, order)
#define __atomic_fetch_or(p, value, order)   EXPLORE_RMW(p, EXPLORE_OR, value, order)
#define __atomic_fetch_and(p, value, order)  EXPLORE_RMW(p, EXPLORE_AND, value, order)
#define __atomic_add_fetch(p, value, order) \
	EXPLORE_TYPED(p, __atomic_fetch_add(p, value, order) + (value))
#define __atomic_sub_fetch(p, value, order) \
	EXPLORE_TYPED(p, __atomic_fetch_sub(p, value, order) - (value))
#define __atomic_compare_exchange_n(p, expected, desired, weak, success, failure) \
	explore_cas(p, sizeof(*(p)), expected, (uint64_t)(desired), success, failure)
#define __atomic_thread_fence(order) explore_fence(order)
#define __atomic_signal_fence(order) ((void)(order)) /* to the compiler alone */

#if defined(EXPLORE_REAL_LOCK)
#include "base/base.h"
#else
#define thrum__lock(lock)                     explore_lock(lock)
#define thrum__unlock(lock)                   explore_unlock(lock)
#define thrum__futex_wait(word, expected, ns) explore_futex_wait(word, expected, ns)
#define thrum__futex_wake(word, count)        explore_futex_wake(word, count)
#define thrum__cpu_relax()                    explore_relax()
#endif
#define malloc(size)        explore_malloc(size)
#define free(memory)        explore_free(memory)
#define thrum__check_failed explore_check_failed

#endif
