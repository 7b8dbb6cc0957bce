/* SPDX-License-Identifier: MIT */
#include "base/lock.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPINS = 100 };

void thrum__futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
	struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns < 0 ? NULL : &ts, NULL,
		0);
}

void thrum__futex_wake(uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Drepper's three-state mutex ("Futexes Are Tricky", mutex 3), after a short spin. */
void thrum__lock_slow(struct thrum__lock *lock)
{
	for (int i = 0; i < SPINS; i++) {
		uint32_t free = 0;
		if (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 0 &&
			__atomic_compare_exchange_n(
				&lock->word, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		thrum__cpu_relax();
	}
	while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0)
		thrum__futex_wait(&lock->word, 2, -1);
}

void thrum__lock_wake(struct thrum__lock *lock)
{
	thrum__futex_wake(&lock->word, 1);
}
