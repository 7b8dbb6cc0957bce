/* SPDX-License-Identifier: MIT */
#include <sys/syscall.h>
#include <unistd.h>

#include "subject.h"

#define EXPLORE_REAL_LOCK 1
#include "hooks.h"

#include <linux/futex.h>

/* A hundred looks at a held lock differ from one only in time: the pause ends the spinning. */
#define thrum__cpu_relax() (i = SPINS)

#define syscall(number, word, op, value, timeout, word2, value3) \
	kernel(number, word, op, value, timeout)

/* futex(2), which is all that is called. */
static long kernel(
	long number, uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	CHECK(number == SYS_futex);
	if (op == FUTEX_WAIT_PRIVATE)
		explore_futex_wait(word, value, timeout == NULL ? -1 : 0);
	else
		explore_futex_wake(word, (int)value);
	return 0;
}

#include "base/lock.c"

#include "subject_lock.h"

static void lock_take(struct thrum__lock *lock)
{
	thrum__lock(lock);
}

static void lock_leave(struct thrum__lock *lock)
{
	thrum__unlock(lock);
}

static struct lock_subject variant = {.lock = lock_take, .unlock = lock_leave};
SUBJECT_REGISTER(variant)
