/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "subject.h"

#define sched_yield()                        explore_relax()
#define syscall(number, command, flags, cpu) kernel(number, command)

/* membarrier(2), which is all that is called. */
static long kernel(long number, int command)
{
	CHECK(number == SYS_membarrier);
	if (command == MEMBARRIER_CMD_PRIVATE_EXPEDITED)
		explore_membarrier();
	return 0;
}

#include "sched/claim.c"

#include "subject_claim.h"

static bool enter(struct thrum__claim *claim)
{
	return thrum__claim_enter(claim);
}

static void leave(struct thrum__claim *claim)
{
	thrum__claim_leave(claim);
}

static struct claim_subject variant = {.enter = enter, .leave = leave, .take = thrum__claim_take};
SUBJECT_REGISTER(variant)
