/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject_dispatch.h"

/* Of what is not asked for, but there. */
#define thrum__stack_cache_trim(cache)         ((void)(cache))
#define thrum__thread_cool(processor)          ((void)(processor))
#define thrum__thread_start(processor, thread) (true)

#include "sched/deque.c"
#include "sched/dispatch.c"
#include "sched/idle.c"
#include "sched/queue.c"
#include "sched/ready.c"
#include "sched/steal.c"

#define dispatches_of monitor_dispatches_of
#include "sched/monitor.c"

static struct dispatch_subject variant = {.deque_init = thrum__deque_init,
	.dispatch = thrum__dispatch,
	.ready = thrum__ready,
	.spawned = thrum__ready_spawned,
	.woken = thrum__ready_local,
	.mail = thrum__mail,
	.notify = thrum__notify,
	.all_idle = all_idle,
	.monitor_sleep = sleep_idle,
	.monitor_wake = thrum__monitor_wake};
SUBJECT_REGISTER(variant)
