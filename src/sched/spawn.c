/* SPDX-License-Identifier: MIT */
#include <thrum/thread.h>

#include <errno.h>
#include <sched.h>

#include "sched/sched_internal.h"

/*
 * Spawning, joining, yielding: what programs do most, so the common way through each is short.
 * The protocols are told where they are kept: thread.c (ending and joining), machine.c (carrying),
 * dispatch.c (lone work).
 */

static int attr_check(const struct thrum_attr *attr)
{
	for (size_t i = 0; i < thrum__countof(attr->reserved_); i++)
		if (attr->reserved_[i] != 0)
			return -EINVAL;
	if ((attr->flags & ~THRUM_CHILD_FIRST) != 0)
		return -EINVAL;
	size_t size = thrum__stack_size(attr->stack_size);
	return size == 0 || !thrum__stack_possible(size) ? -ENOMEM : 0;
}

/* Publishes a new thread. Entered before and after. */
static struct thrum__machine *launch(
	struct thrum__machine *machine, struct thrum_thread *thread, bool child_first)
{
	struct thrum_thread *self = machine->current;
	struct thrum__processor *processor = machine->processor;
	if (processor == NULL) {
		thrum__ready_inject(machine->runtime, thread);
		return machine;
	}
	if (!child_first || self->pinned != NULL || machine->runtime->migrate ||
		!thrum__thread_start(processor, thread)) {
		thrum__ready_spawned(processor, thread);
		return machine;
	}
	/* The chain below, if any, waits for us: it must not be taken for the child's. */
	thrum__publish_chain(processor, machine->carried);
	machine->carried = NULL;
	thrum__count(&processor->counters.dispatches);
	return thrum__suspend(machine, self, THRUM__ACT_LEND, thread);
}

int thrum_spawn_at(struct thrum_thread **out, thrum_fn fn, void *arg, const struct thrum_attr *attr,
	const char *site)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL || machine->current == NULL)
		return THRUM_ENORUNTIME;
	struct thrum__runtime *runtime = machine->runtime;
	if (__atomic_load_n(&runtime->stopping, __ATOMIC_RELAXED) || runtime->forked)
		return -ECANCELED;
	int err = attr == NULL ? 0 : attr_check(attr);
	if (err != 0)
		return err;
	thrum__enter(machine);
	struct thrum_thread *thread = thrum__thread_create(
		runtime, machine->processor, fn, arg, attr, site, out == NULL ? 1 : 2);
	if (thread != NULL) {
		if (out != NULL)
			*out = thread;
		machine = launch(machine, thread, attr != NULL && attr->flags != 0);
	}
	thrum__leave(machine);
	return thread == NULL ? -ENOMEM : 0;
}

/* ---------------------------------------------------------------- join */

/* The joiner has given up. False: the thread has ended meanwhile, and is through with the wait. */
static bool unregister(struct thrum_thread *thread, struct thrum__wait *wait)
{
	if (__atomic_compare_exchange_n(
		    &thread->joiner, &wait, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return true;
	while (__atomic_load_n(&thread->joiner, __ATOMIC_ACQUIRE) != THRUM__ENDED)
		sched_yield();
	return false;
}

static int wait_end(struct thrum_thread *thread, struct thrum__wait *wait, thrum_deadline deadline)
{
	struct thrum__wait *nobody = NULL;
	if (!__atomic_compare_exchange_n(
		    &thread->joiner, &nobody, wait, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		while (__atomic_load_n(&thread->joiner, __ATOMIC_ACQUIRE) != THRUM__ENDED)
			sched_yield();
		return THRUM__JOINED;
	}
	return thrum__wait_park(wait, "join", deadline);
}

/* The child is ours to run: nobody has begun it, and it is next in our deque. */
static bool run_child(struct thrum_thread *self, struct thrum_thread *child,
	struct thrum__wait *wait, thrum_deadline deadline, int *result)
{
	if (self == NULL || self->pinned != NULL || deadline == THRUM_NOW || thrum__cancel_due())
		return false;
	struct thrum__machine *machine = thrum__machine_self();
	struct thrum__processor *processor;
	if (!thrum__enter(machine) || (processor = machine->processor)->runtime->migrate ||
		!thrum__unspawn(processor, child)) {
		thrum__leave(machine);
		return false;
	}
	if (child->pinned != NULL ||
		(child->home == 0 && !thrum__thread_start(processor, child))) {
		thrum__ready_spawned(processor, child);
		thrum__leave(machine);
		return false;
	}
	thrum__count(&processor->counters.dispatches);
	child->joiner = wait;
	self->reason = "join";
	*result = thrum__wait_carried(machine, self, child, wait, deadline);
	self->reason = NULL;
	return true;
}

int thrum_join(struct thrum_thread *thread, void **result, thrum_deadline deadline)
{
	struct thrum_thread *self = thrum_self();
	if (thread == self)
		return -EDEADLK;
	int err = THRUM__JOINED;
	if (__atomic_load_n(&thread->joiner, __ATOMIC_ACQUIRE) != THRUM__ENDED) {
		struct thrum__wait wait;
		thrum__wait_init(&wait);
		if (!run_child(self, thread, &wait, deadline, &err))
			err = wait_end(thread, &wait, deadline);
		if (err < 0) {
			unregister(thread, &wait);
			return err;
		}
	}
	if (result != NULL)
		*result = thread->arg;
	if (err == THRUM__JOINED_CARRIED)
		thrum__thread_unref_both(thread);
	else
		thrum__thread_unref(thread);
	return 0;
}

void thrum_detach(struct thrum_thread *thread)
{
	if (thread != NULL)
		thrum__thread_unref(thread);
}

/* ---------------------------------------------------------------- yield */

void thrum_yield(void)
{
	struct thrum__machine *machine = thrum__machine_self();
	if (machine == NULL || machine->current == NULL) {
		sched_yield();
		return;
	}
	if (!thrum__enter(machine) || !thrum__yield_is_vain(machine->processor))
		machine = thrum__suspend(machine, machine->current, THRUM__ACT_YIELD, NULL);
	thrum__leave(machine);
}
