/* SPDX-License-Identifier: MIT */
#ifndef THRUM_SCHED_INTERNAL_H
#define THRUM_SCHED_INTERNAL_H

#include <pthread.h>

#include "base/base.h"
#include "ctx/ctx.h"
#include "sched/census.h"
#include "sched/deque.h"
#include "sched/driver.h"
#include "sched/overflow.h"
#include "sched/queue.h"
#include "sched/sched.h"
#include "time/timer.h"

/*
 * Words:  thread (G): a green thread. processor (P): queues, timers, driver; as many as workers.
 * machine (M): an OS thread that runs a processor. runtime: what one thrum_run makes.
 */

struct thrum__runtime;

/* A parker's word. PARKED with any of the others means: already on its way to run. */
enum {
	THRUM__RUNNING = 0,
	THRUM__PARKED = 1,
	THRUM__WOKEN = 2,  /* its wait was claimed; to be consumed exactly once */
	THRUM__KNOCKED = 4 /* look at the cancel flag */
};

struct thrum__parker {
	uint32_t word;		      /* atomic */
	struct thrum_thread *thread;  /* NULL: an OS thread, which sleeps on the word as a futex */
	struct thrum__parker *next;   /* free OS-thread parkers */
};

struct thrum_thread {
	struct thrum__parker parker;
	uint32_t refs;		    /* atomic; 0: free. May be read at any time */
	uint32_t cancelled;	    /* atomic */
	uint32_t shield;	    /* own depth */
	struct thrum__lock lock;    /* done, joiner */
	bool done;
	bool measured;		    /* its stack: thrum__census_end is due */
	struct thrum__wait *joiner;
	struct thrum_thread *link;  /* in the one queue or free list it is in */
	struct thrum__runtime *runtime; /* atomic; of the last life, maybe gone, while free */
	thrum_fn fn;
	void *arg, *result;
	struct thrum__ctx ctx;
	struct thrum__stack stack;  /* no base: not started yet */
	size_t stack_size;
	const char *name, *site, *reason; /* reason: why it waits, for dumps */
	uint64_t id;
};

/* What the scheduler does with a thread that has just switched away from its stack. */
enum thrum__action { THRUM__ACT_PARK, THRUM__ACT_YIELD, THRUM__ACT_EXIT };

/* Written by the processor's machine alone, read by anybody. */
struct thrum__counters {
	uint64_t dispatches, polls, sleeps, steals;
};

struct thrum__processor {
	struct thrum__deque deque;
	struct thrum__queue inbox __attribute__((aligned(THRUM__CACHELINE)));
	struct thrum__lock timer_lock;
	struct thrum__timer_heap timers;
	int64_t next_timer; /* atomic; written under timer_lock: the earliest, or INT64_MAX */
	struct thrum__driver *driver;
	struct thrum__runtime *runtime;
	struct thrum__list idle_link; /* under runtime->idle_lock */
	bool called;		      /* under idle_lock: a submitter took it off the idle list */
	/* the rest: only the machine that runs this processor */
	uint32_t index, tick;
	bool polling; /* inside driver or timers: whoever polls announces what became runnable */
	uint64_t random;
	struct thrum__stack_cache stacks;
	struct thrum__census census;
	struct thrum_thread *free_threads;
	uint32_t free_count;
	uint64_t next_id, end_id;
	struct thrum__counters counters;
};

struct thrum__machine {
	struct thrum__processor *processor;
	struct thrum_thread *current; /* NULL: on the scheduler's stack */
	enum thrum__action action;
	bool searching; /* counted in runtime->searching */
	struct thrum__ctx ctx;
	pthread_t os_thread; /* to join it; unset for the caller of thrum_run */
	pid_t os_id;
};

struct thrum__runtime {
	struct thrum__queue inject;
	/* atomic: threads that have not ended */
	uint64_t live __attribute__((aligned(THRUM__CACHELINE)));
	uint32_t searching;   /* atomic: machines that look for work to steal */
	uint32_t idle_count;  /* atomic; changed under idle_lock */
	struct thrum__lock idle_lock;
	struct thrum__list idle; /* processors */
	uint32_t visitors;    /* atomic: foreign threads inside a wake of a thread of ours */
	bool stopping;	      /* atomic: the first thread has returned */
	bool done;	      /* atomic: the last thread has ended */
	bool migrate;	      /* debug: hand every yielded and woken thread to another processor */
	size_t stack_size;
	struct thrum_thread *first;
	unsigned count; /* of processors */
	struct thrum__processor *processors;
	struct thrum__machine *machines;
};

/* machine.c: the calling OS thread's machine or NULL. Never keep the result across a switch. */
struct thrum__machine *thrum__machine_self(void);
/* Runs processor work until the runtime is done. */
void thrum__machine_run(struct thrum__machine *machine);
/*
 * Leaves the current thread's stack for the scheduler's. Returns when the thread is resumed (not
 * after EXIT).
 */
void thrum__machine_suspend(struct thrum_thread *self, enum thrum__action action);

/*
 * dispatch.c: the next thread to run, sleeping until there is one; NULL when the runtime is done.
 */
struct thrum_thread *thrum__dispatch(struct thrum__machine *machine);
/* Makes a thread runnable that was parked; it may be gone when this returns. Any OS thread. */
void thrum__ready(struct thrum_thread *thread);
/* The same for a thread that has just yielded, on its machine. */
void thrum__ready_yielded(struct thrum__processor *processor, struct thrum_thread *thread);
/* True if yielding would only come back at once; counts as a dispatch for the turns. */
bool thrum__yield_is_vain(struct thrum__processor *processor);
/*
 * After work was queued where others may take it: wakes an idle processor if nobody is searching.
 */
void thrum__notify(struct thrum__runtime *runtime);

/* wait.c: fires the timers of a processor that are due. Its machine alone. */
void thrum__timers_fire(struct thrum__processor *processor);

/* thread.c */
struct thrum_thread *thrum__thread_create(struct thrum__runtime *runtime,
	struct thrum__processor *processor, thrum_fn fn, void *arg, const struct thrum_attr *attr,
	const char *site, uint32_t refs);
/* First instructions on a thread's own stack. */
void thrum__thread_main(void *arg, void *machine);
/* On the scheduler's stack: the thread has left its own for good. */
void thrum__thread_end(struct thrum__machine *machine, struct thrum_thread *thread);
void thrum__thread_unref(struct thrum_thread *thread);
/* Cancels every thread of a runtime. */
void thrum__thread_cancel_all(struct thrum__runtime *runtime);
/* Gives a processor's free threads to the process. */
void thrum__thread_cache_fini(struct thrum__processor *processor);

/* runtime.c: the first thread has returned: no more spawns, all others are cancelled. */
void thrum__runtime_stop(struct thrum__runtime *runtime);
/* A thread has ended; the last one ends the runtime. */
void thrum__runtime_leave(struct thrum__runtime *runtime);
/* Sums up the processors' counters. */
struct thrum__counters thrum__runtime_counters(const struct thrum__runtime *runtime);

/* cpus.c: processors this process may use: affinity and the cgroup's quota; at least 1. */
unsigned thrum__cpu_count(void);

static inline void thrum__count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

#endif
