/* SPDX-License-Identifier: MIT */
#ifndef THRUM_BASE_LOCK_H
#define THRUM_BASE_LOCK_H

#include <stdint.h>

/*
 * A lock for a handful of instructions, between OS threads. It never suspends a green thread and
 * must never be held across a suspension or a system call. All-zero is unlocked. It spins briefly,
 * then sleeps in the kernel, so a preempted holder costs no burnt core. Memory order: unlock
 * releases, lock acquires.
 */
struct thrum__lock {
	uint32_t word; /* atomic: 0 free, 1 held, 2 held and somebody sleeps */
};

/* The pause of a loop that spins. */
static inline void thrum__cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#elif defined(__riscv)
	__asm__ volatile(".4byte 0x0100000f"); /* pause, which older assemblers do not know */
#endif
}

void thrum__lock_slow(struct thrum__lock *lock);
void thrum__lock_wake(struct thrum__lock *lock);

static inline void thrum__lock(struct thrum__lock *lock)
{
	uint32_t free = 0;
	if (!__atomic_compare_exchange_n(
		    &lock->word, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		thrum__lock_slow(lock);
}

static inline void thrum__unlock(struct thrum__lock *lock)
{
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
		thrum__lock_wake(lock);
}

/* Sleeps while *word == expected, at most timeout_ns (< 0: for ever). May wake spuriously. */
void thrum__futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns);

/* Wakes up to count sleepers of word. */
void thrum__futex_wake(uint32_t *word, int count);

#endif
