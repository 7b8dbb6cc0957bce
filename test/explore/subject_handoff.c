/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "subject_handoff.h"

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

/* No further machine is to be had. */
#define thrum__machine_run(machine)             ((void)(machine))
#define pthread_create(thread, attr, main, arg) ((void)(main), EAGAIN)
#define aligned_alloc(alignment, size)          ((void)(size), NULL)

#include "sched/claim.c"
#include "sched/handoff.c"
#include "sched/idle.c"
#include "sched/queue.c"

static bool enter(struct thrum__machine *machine)
{
	return thrum__enter(machine);
}

static void leave(struct thrum__machine *machine)
{
	thrum__leave(machine);
}

static struct handoff_subject variant = {.enter = enter,
	.leave = leave,
	.wait = thrum__machine_wait,
	.spare_take = thrum__spare_take,
	.spare_put = thrum__spare_put,
	.handoff = thrum__handoff,
	.rejoin = thrum__rejoin,
	.finish = thrum__machines_finish,
	.idle_enter = thrum__idler_enter,
	.idle_leave = thrum__idler_leave,
	.search_stop = thrum__search_stop,
	.take = thrum__queue_take,
	.push = thrum__queue_push,
	.call_any = thrum__idlers_call};
SUBJECT_REGISTER(variant)
