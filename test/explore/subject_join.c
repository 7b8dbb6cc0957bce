/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include <sched.h>

#include "subject_join.h"

#define sched_yield() explore_relax()

/* Stacks, of which there are none, and what never happens here. */
#define thrum__stack_at(home)                   ((void)(home), (struct thrum__stack){0})
#define thrum__stack_put(cache, stack)          ((void)(cache), (void)(stack))
#define thrum__stack_cache_trim(cache)          ((void)(cache))
#define thrum__ctx_fini(ctx)                    ((void)(ctx))
#define thrum__census_end(census, site, stack)  ((void)(stack))
#define thrum__thread_start(processor, thread)  (true)
#define thrum__ready_spawned(processor, thread) CHECK(!"spawned")
#define thrum__runtime_stop(runtime)            CHECK(!"stopped")
#define thrum__runtime_check_end(runtime)       CHECK(!"stopping")

/* As in dispatch.c. */
#define thrum__unspawn(processor, thread)                      \
	(thrum__deque_peek(&(processor)->deque) == (thread) && \
		thrum__deque_take(&(processor)->deque) != NULL)

#include "sched/deque.c"

#define grow thread_grow /* two files, two of them */
#include "sched/spawn.c"
#include "sched/thread.c"
#include "sched/wait.c"
#include "time/timer.c"

static struct join_subject variant = {.deque_init = thrum__deque_init,
	.deque_push = thrum__deque_push,
	.join = thrum_join,
	.detach = thrum_detach,
	.end = thrum__thread_end,
	.end_carried = thrum__thread_end_carried,
	.cancel = thrum_cancel,
	.cancel_in = thrum__thread_cancel_in,
	.free_list = &threads.free,
	.fire = thrum__timers_fire};
SUBJECT_REGISTER(variant)
