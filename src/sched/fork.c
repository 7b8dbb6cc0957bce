/* SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "ctx/stack.h"
#include "sched/sched_internal.h"

/*
 * fork.  A child has one OS thread: the one that called. So
 *
 *   from a plain OS thread   all is well: the child may thrum_run. What it needs of the process
 * (free lists, the pool for blocking calls) is locked around the fork, so that no other thread
 * leaves it half-changed in the child. from a green thread      its runtime is gone: no workers, no
 * monitor, an epoll shared with the parent. The calling thread goes on like one whose processor was
 * taken: what does not suspend works, so it may exec, which is what it came for. Where it would
 * suspend, it aborts with a line that says why.
 *
 * Locks in the order of their ranks (HACKING.md).
 */

static void prepare(void)
{
	thrum__census_lock_all();
	thrum__blocking_lock_all();
	thrum__driver_lock_all();
	thrum__thread_lock_all();
	thrum__wait_lock_all();
	thrum__stack_lock_all();
}

static void unlock(void)
{
	thrum__stack_unlock_all();
	thrum__census_unlock_all();
	thrum__wait_unlock_all();
	thrum__thread_unlock_all();
	thrum__driver_unlock_all();
	thrum__blocking_unlock_all();
}

static void in_child(void)
{
	thrum__blocking_reset();
	unlock();
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL)
		return;
	machine->runtime->forked = true;
	/* The monitor may just have asked for it, and nobody would wait for its answer in vain. */
	__atomic_store_n(&machine->claim.word, THRUM__CLAIM_TAKEN | machine->runtime->fenced,
		__ATOMIC_RELAXED);
}

static void init(void)
{
	CHECK(pthread_atfork(prepare, unlock, in_child) == 0);
}

void thrum__fork_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(pthread_once(&once, init) == 0);
}

void thrum__fork_abort(const struct thrum_thread *thread)
{
	thrum__log(THRUM__LOG_ERROR,
		"thrum: green thread %llu '%s' (spawned at %s) waits in a fork's child, which has "
		"no runtime: it may only exec or _exit",
		(unsigned long long)thread->id, thread->name == NULL ? "" : thread->name,
		thread->site);
	abort();
}
