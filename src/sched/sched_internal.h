/* SPDX-License-Identifier: MIT */
#ifndef THRUM_SCHED_INTERNAL_H
#define THRUM_SCHED_INTERNAL_H

#include <pthread.h>
#include <signal.h>

#include "base/base.h"
#include "ctx/ctx.h"
#include "sched/census.h"
#include "sched/claim.h"
#include "sched/deque.h"
#include "sched/driver.h"
#include "sched/idle.h"
#include "sched/overflow.h"
#include "sched/parker.h"
#include "sched/queue.h"
#include "sched/sched.h"
#include "time/timer.h"

/*
 * Words:  thread (G): a green thread. processor (P): queues, timers, driver; as many as workers.
 * machine (M): an OS thread; runs one processor at a time, or none. runtime: what one thrum_run
 * makes. A machine is *detached* while it runs a thread whose processor was taken away; it is a
 * *spare* while it waits for one.
 *
 * Who may touch what.  A processor's plain members: the machine that holds it, in RUNTIME
 * (claim.h), which is to say between thrum__enter and thrum__leave, or on its own stack. A
 * machine's plain members: itself; the monitor may read and set `carried` when it has taken its
 * processor, and whoever gives it a processor sets `given`.
 */

struct thrum__runtime;
struct thrum__machine;

/* What thread->joiner holds besides NULL and a wait. */
#define THRUM__ENDING   ((struct thrum__wait *)1) /* ended; its joiner is being claimed */
#define THRUM__ENDED    ((struct thrum__wait *)2)
#define THRUM__DETACHED ((struct thrum__wait *)3) /* nobody will join it */

struct thrum_thread {
	/* What a switch touches, in one cache line. */
	struct thrum__parker parker;
	struct thrum__ctx ctx;
	uintptr_t home;                /* of its stack (thrum__stack_at), if it has one */
	struct thrum_thread *link;     /* in the one queue, chain or free list it is in */
	struct thrum__wait *joiner;    /* atomic */
	uint32_t refs;                 /* atomic; 0: free. May be read at any time */
	uint16_t cancelled;            /* atomic */
	uint16_t shield;               /* own depth */
	struct thrum__machine *pinned; /* NULL: runs anywhere */
	uint16_t pins, blocking;       /* own depths */
	uint8_t stack_log2;            /* of the stack's size */
	bool started;                  /* has a context to switch to */
	bool measured;                 /* its stack: thrum__census_end is due */
	/* The rest. */
	struct thrum__runtime *runtime; /* atomic; of the last life, maybe gone, while free */
	thrum_fn fn;
	void *arg; /* once ended: the result */
	const char *name, *site;
	const char *reason; /* why it waits, for reports */
	uint64_t id;
} __attribute__((aligned(THRUM__CACHELINE)));

/* What is to be done with a thread that has just switched away from its stack. */
enum thrum__action {
	THRUM__ACT_PARK,
	THRUM__ACT_YIELD,
	THRUM__ACT_LEND,  /* its child goes first: to the deque, where it may be stolen */
	THRUM__ACT_CARRY, /* it joins the thread that runs now: nothing, it is on the chain */
	THRUM__ACT_TURN,  /* a turn is due: take it, and come back */
	THRUM__ACT_EXIT,
	THRUM__ACT_RETURN /* EXIT to a joiner that was carried */
};

/* Written by the processor's machine alone, read by anybody. */
struct thrum__counters {
	uint64_t dispatches, polls, sleeps, steals;
	uint64_t handoffs, capped;                             /* the monitor's */
	uint64_t rejoined_old, rejoined_idle, rejoined_inject; /* the runtime's */
};

/* Bits of processor->urgent. */
enum { THRUM__URGENT_POLL = 1, THRUM__URGENT_MAIL = 2, THRUM__URGENT_TRIM = 4 };

struct thrum__processor {
	struct thrum__deque deque; /* spawned: newest first; thieves: oldest first */
	struct thrum__deque inbox
		__attribute__((aligned(THRUM__CACHELINE))); /* woken, yielded: FIFO */
	struct thrum_thread *slot; /* atomic: the last one woken; only the owner fills it */
	uint32_t urgent;           /* atomic: something is due before the next turn */
	uint32_t countdown;        /* dispatches until the next turn */
	uint32_t slot_run;         /* how often in a row the slot was served */
	uint32_t tokens;           /* atomic, lossy: wakes left for lone work until the next tick */
	/* atomic; the monitor's: it dispatches too fast for stealing to pay. No neighbour of flags
	 * that are not atomic: the compiler reads those together. */
	uint32_t rapid;
	bool polling; /* inside driver or timers: whoever polls announces what became runnable */
	bool alone;   /* no other processor: nobody steals */
	struct thrum__counters counters;
	struct thrum__runtime *runtime;
	struct thrum_thread *next; /* picked, but not to be run from a thread's stack */
	struct thrum__stack_cache stacks;
	struct thrum__census census;
	struct thrum_thread *free_threads;
	uint32_t free_count, free_warm; /* ... and how many of them have kept their stack */
	uint32_t index;
	uint64_t next_id, end_id;
	uint64_t born, ended; /* atomic; threads created and ended here */
	uint64_t random;
	int64_t polled_at;
	int64_t oldest, oldest_since; /* of the deque: its index, when first seen */
	struct thrum__lookout {       /* at a rapid victim, before stealing from it */
		struct thrum__processor *victim;
		int64_t top, since;
		int64_t pause; /* 0: there is none to look out for */
	} lookout;
	struct thrum__driver *driver;
	/* Others' */
	struct thrum__queue mail __attribute__((aligned(THRUM__CACHELINE))); /* sent here by name */
	struct thrum__lock timer_lock;
	struct thrum__wheel timers;
	int64_t next_timer; /* atomic; written under timer_lock: nothing is due before; INT64_MAX: ever */
	struct thrum__idler idler;
	struct thrum__machine *machine; /* atomic; changed under runtime->machine_lock */
	uint64_t stolen;                /* atomic: lone threads that were stolen from here */
	struct thrum__watch {           /* the monitor's */
		uint64_t dispatches, polls, stolen;
		int64_t looked, since, cpu, cpu_at;
		uint32_t tokens, rapid_ticks;
	} watch;
};

struct thrum__machine {
	struct thrum__claim claim;
	struct thrum__processor *processor; /* NULL: none */
	struct thrum_thread *current;       /* NULL: on the machine's own stack */
	struct thrum_thread *left;          /* switched away from, not yet published */
	enum thrum__action action;          /* ... and what to do with it */
	bool searching;                     /* counted in idlers.searching */
	bool detached;                      /* under machine_lock: counted in runtime->detached */
	struct thrum_thread *turning;       /* goes on when the turn is over */
	struct thrum_thread *carried;       /* atomic; joiners below the running thread, by link */
	struct thrum__exceptions {
		void *caught;
		unsigned uncaught;
	} * exceptions; /* C++'s, of this OS thread; NULL: no C++ in this process */
	struct thrum__ctx ctx;
	struct thrum__runtime *runtime;
	struct thrum__processor *home; /* the last one it had */
	/* Getting a processor while it is a spare, or waits as a pinned thread's machine */
	uint32_t baton; /* atomic, a futex: 0: wait */
	struct thrum__processor *given;
	struct thrum_thread *given_thread; /* to be run first; NULL: any */
	struct thrum_thread *given_chain;  /* carried joiners to be published first */
	struct thrum__machine *link;       /* in spares */
	struct thrum__machine *all;        /* all of the runtime, never shrinks */
	bool waiting;                      /* under machine_lock: may be given a processor */
	bool gone;                         /* under machine_lock: its OS thread has ended */
	bool caller;                       /* of thrum_run: no OS thread of its own */
	struct thrum_thread *kept;         /* the pinned thread it runs alone */
	pthread_t os_thread;
	pid_t os_id;
	clockid_t clock; /* of its processor time */
};

struct thrum__runtime {
	struct thrum__queue inject;
	struct thrum__idlers idlers;
	uint64_t foreign_born, foreign_ended; /* atomic: by machines without a processor */
	uint32_t visitors; /* atomic: foreign threads inside a wake of a thread of ours */
	bool stopping;     /* atomic: the first thread has returned */
	bool done;         /* atomic: the last thread has ended */
	bool forked;       /* this is a fork's child: none of the OS threads exist */
	bool migrate;      /* debug: hand every yielded and woken thread to another processor */
	uint32_t fenced;   /* CLAIM_FENCED, where membarrier is missing */
	uint8_t stack_log2;
	int64_t shutdown_report;
	struct thrum_thread *first;
	unsigned count; /* of processors */
	struct thrum__processor *processors;
	/* Machines */
	struct thrum__lock machine_lock;
	struct thrum__machine *machines; /* all, by `all`; the last one is thrum_run's caller */
	struct thrum__machine *spares;   /* by link */
	uint32_t spare_count;
	uint32_t machine_count, machine_peak; /* atomic: OS threads */
	uint32_t detached, detached_max;      /* atomic; under machine_lock */
	struct thrum__counters handed;        /* atomic: what no processor's machine counts */
	sigset_t signals; /* mask of thrum_run's caller, which all machines have */
	struct {
		pthread_t os_thread;
		uint32_t asleep; /* atomic, a futex: 1 while nothing runs */
	} monitor;
};

/* ---------------------------------------------------------------- machine.c */

/* The calling OS thread's machine or NULL. Never keep the result across a switch. */
struct thrum__machine *thrum__machine_self(void);

/*
 * Makes the processor the machine's to use; false: it has none (any more). Pairs with
 * thrum__leave. Not nested: on the machine's own stack and inside such a pair one is in already.
 */
bool thrum__enter_slow(struct thrum__machine *machine);

static inline bool thrum__enter(struct thrum__machine *machine)
{
	return thrum__likely(thrum__claim_enter(&machine->claim)) || thrum__enter_slow(machine);
}

static inline void thrum__leave(struct thrum__machine *machine)
{
	thrum__claim_leave(&machine->claim);
}

/* In RUNTIME already: on the machine's own stack, or between enter and leave. */
static inline bool thrum__entered(const struct thrum__machine *machine)
{
	return machine->claim.state == THRUM__RUNTIME;
}

/*
 * Leaves a thread's stack; returns, when it is resumed, the machine it is on then. Entered before
 * and after. next: what to go on with, or NULL for whatever is next.
 */
struct thrum__machine *thrum__suspend(struct thrum__machine *machine, struct thrum_thread *self,
	enum thrum__action action, struct thrum_thread *next);

/* First instructions on a thread's own stack. */
struct thrum__ctx_next thrum__thread_main(void *thread, void *machine);

/* Gives a thread that was never run a stack. False: out of memory. */
bool thrum__thread_start(struct thrum__processor *processor, struct thrum_thread *thread);

/* An OS thread's main function: waits for processors and runs them until the runtime is done. */
void thrum__machine_run(struct thrum__machine *machine);

/* ---------------------------------------------------------------- handoff.c */

/* A new machine; with_thread: and its OS thread, waiting for a processor. NULL: none to be had. */
struct thrum__machine *thrum__machine_create(struct thrum__runtime *runtime, bool with_thread);

/* Gives a new machine its first processor. */
void thrum__machine_give(struct thrum__machine *machine, struct thrum__processor *processor);

/* A machine that waits for a processor, to be given one or put back. NULL: none to be had. */
struct thrum__machine *thrum__spare_take(struct thrum__runtime *runtime);
void thrum__spare_put(struct thrum__machine *machine);

/*
 * Takes a processor from a machine in USER for a spare. False: it has entered meanwhile, or the
 * spare is not needed. The monitor alone.
 */
bool thrum__handoff(
	struct thrum__processor *processor, struct thrum__machine *from, struct thrum__machine *to);

/* On a machine's own stack, without a processor: waits for one. False: the runtime is done. */
bool thrum__machine_wait(struct thrum__machine *machine);

/*
 * Gives a machine's processor away on its own stack: to a pinned thread's machine with that
 * thread, or (NULL) to any. False: that one does not wait yet, or there is none.
 */
bool thrum__machine_pass(
	struct thrum__machine *machine, struct thrum__machine *to, struct thrum_thread *thread);

/*
 * Brings a pinned thread to its machine, with the processor of the caller, or, where that machine runs
 * others for want of OS threads, by mail.
 */
void thrum__deliver(struct thrum__machine *machine, struct thrum_thread *thread);

/* On a machine's own stack, detached: makes its last thread runnable elsewhere. */
void thrum__rejoin(struct thrum__machine *machine, struct thrum_thread *thread);

/* The runtime is done: wakes all who wait for a processor. */
void thrum__machines_finish(struct thrum__runtime *runtime);

/* ---------------------------------------------------------------- dispatch.c */

/* The next thread, from a thread's stack. NULL: it is the scheduler's turn. */
struct thrum_thread *thrum__dispatch_fast(struct thrum__processor *processor);

/*
 * The next thread to run, sleeping until there is one; NULL when the runtime is done. On the
 * machine's own stack.
 */
struct thrum_thread *thrum__dispatch(struct thrum__machine *machine);

/* True if yielding would only come back at once; counts as a dispatch for the turns. */
bool thrum__yield_is_vain(struct thrum__processor *processor);

/* Is a turn due before anything else may be dispatched? */
static inline bool thrum__turn_due(const struct thrum__processor *processor)
{
	return processor->countdown == 0 ||
	       __atomic_load_n(&processor->urgent, __ATOMIC_RELAXED) != 0;
}

/* A turn, for a thread that goes on after it. On the machine's own stack. */
void thrum__turn(struct thrum__processor *processor);

/* ---------------------------------------------------------------- ready.c */

/* Makes a thread runnable that was parked; it may be gone when this returns. Any OS thread. */
void thrum__ready(struct thrum_thread *thread);
/* The same, on a machine that has entered and holds a processor. */
void thrum__ready_local(struct thrum__processor *processor, struct thrum_thread *thread);
/* The same for a thread that has just yielded. */
void thrum__ready_yielded(struct thrum__processor *processor, struct thrum_thread *thread);
/* The same where there is no processor: into the inject queue. */
void thrum__ready_inject(struct thrum__runtime *runtime, struct thrum_thread *thread);
/* A thread for one processor, whoever calls. */
void thrum__mail(struct thrum__processor *processor, struct thrum_thread *thread);
/* A new or lent thread, to the deque. */
void thrum__ready_spawned(struct thrum__processor *processor, struct thrum_thread *thread);
/* Takes exactly this thread, if it is the newest of the deque. */
bool thrum__unspawn(struct thrum__processor *processor, struct thrum_thread *thread);
/* After work was queued where others may take it: wakes an idle processor if nobody searches. */
void thrum__notify(struct thrum__runtime *runtime);
void thrum__push_inbox(struct thrum__processor *processor, struct thrum_thread *thread);
void thrum__push_chain(struct thrum__processor *processor, struct thrum_thread *chain);
/* Puts a thread, or nothing, into the slot; returns what was in it. */
struct thrum_thread *thrum__slot_exchange(
	struct thrum__processor *processor, struct thrum_thread *thread);

/* How many threads are queued there; a snapshot. */
static inline uint64_t thrum__processor_load(const struct thrum__processor *processor)
{
	return (uint64_t)thrum__deque_count(&processor->deque) +
	       (uint64_t)thrum__deque_count(&processor->inbox) +
	       (__atomic_load_n(&processor->slot, __ATOMIC_RELAXED) != NULL);
}

static inline bool thrum__is_rapid(const struct thrum__processor *processor)
{
	return __atomic_load_n(&processor->rapid, __ATOMIC_RELAXED);
}

/* ---------------------------------------------------------------- steal.c */

/* Threads of another processor: one is returned, others may come to the inbox. */
struct thrum_thread *thrum__steal(struct thrum__processor *thief);
/* Exactly one. */
struct thrum_thread *thrum__steal_one(struct thrum__processor *thief);

/* ---------------------------------------------------------------- wait.c */

/* Fires the timers of a processor that are due. Its machine, or the monitor. */
void thrum__timers_fire(struct thrum__processor *processor);

/*
 * A join, entered, on a thread that the caller has taken off the deque, with the wait registered
 * there: runs it. *machine is the one it is on afterwards. Returns as a park does, or
 * JOINED_CARRIED: it ended before it suspended, and both its references are the caller's.
 */
enum { THRUM__JOINED = 1, THRUM__JOINED_CARRIED = 2 };
int thrum__wait_carried(struct thrum__machine **machine, struct thrum_thread *self,
	struct thrum_thread *child, struct thrum__wait *wait, thrum_deadline when);

/* ---------------------------------------------------------------- thread.c */

/* processor: NULL: the caller has none. */
struct thrum_thread *thrum__thread_create(struct thrum__runtime *runtime,
	struct thrum__processor *processor, thrum_fn fn, void *arg, const struct thrum_attr *attr,
	const char *site, bool detached);
/* The thread has left its own stack for good. Entered, or on the machine's own stack. */
void thrum__thread_end(struct thrum__machine *machine, struct thrum_thread *thread);
/* The same where the one who joins it is about to run in its place. */
void thrum__thread_end_carried(struct thrum__machine *machine, struct thrum_thread *thread);
void thrum__thread_unref(struct thrum_thread *thread);
/* The same, entered, for one that was carried and has ended, with its stack. */
void thrum__thread_unref_local(struct thrum__machine *machine, struct thrum_thread *thread);
/* One that was carried and has ended lives on: its stack goes. Entered. */
void thrum__thread_keep(struct thrum__machine *machine, struct thrum_thread *thread);
/* Gives back the stacks that free threads have kept. */
void thrum__thread_cool(struct thrum__processor *processor);
/* Publishes joiners that were carried: they wait like others from now on. */
void thrum__publish_chain(struct thrum__processor *processor, struct thrum_thread *chain);
/* Cancels every thread of a runtime. */
void thrum__thread_cancel_all(struct thrum__runtime *runtime);
/* Cancels a thread if it is alive and of this runtime. Anything may have become of it meanwhile. */
void thrum__thread_cancel_in(struct thrum_thread *thread, struct thrum__runtime *runtime);
/* Writes a line for each thread of a runtime to the log. Returns how many there are. */
unsigned thrum__thread_report_all(struct thrum__runtime *runtime);
/* Gives a processor's free threads to the process. */
void thrum__thread_cache_fini(struct thrum__processor *processor);
/* Around a fork. */
void thrum__thread_lock_all(void);
void thrum__thread_unlock_all(void);

/* ---------------------------------------------------------------- runtime.c, monitor.c, fork.c */

/* The first thread has returned: no more spawns, all others are cancelled. */
void thrum__runtime_stop(struct thrum__runtime *runtime);
/* Ends the runtime if it is stopping and no thread is left. */
void thrum__runtime_check_end(struct thrum__runtime *runtime);
/* Sums up the counters. */
struct thrum__counters thrum__runtime_counters(const struct thrum__runtime *runtime);

int thrum__monitor_start(struct thrum__runtime *runtime);
void thrum__monitor_join(struct thrum__runtime *runtime);
/* Wakes it, if it sleeps because nothing ran. */
void thrum__monitor_wake(struct thrum__runtime *runtime);

/* Once per process. */
void thrum__fork_init(void);
/* A thread is about to suspend in a fork's child. */
_Noreturn void thrum__fork_abort(const struct thrum_thread *thread);
void thrum__wait_lock_all(void);
void thrum__wait_unlock_all(void);
void thrum__blocking_lock_all(void);
void thrum__blocking_unlock_all(void);
/* In a fork's child: none of the pool's threads exist. */
void thrum__blocking_reset(void);

/* ---------------------------------------------------------------- cpus.c */

/* Processors this process may use: affinity and the cgroup's quota; at least 1. */
unsigned thrum__cpu_count(void);

static inline struct thrum_thread *thrum__parker_thread(struct thrum__parker *parker)
{
	return thrum__container_of(parker, struct thrum_thread, parker);
}

static inline void thrum__count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

#endif
