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
	if (thrum__turn_due(processor)) { /* or a chain of such children would starve all others */
		thrum__ready_spawned(processor, thread);
		return thrum__suspend(machine, self, THRUM__ACT_YIELD, NULL);
	}
	/* The chain below, if any, waits for us: it must not be taken for the child's. */
	thrum__publish_chain(processor, machine->carried);
	__atomic_store_n(&machine->carried, NULL, __ATOMIC_RELAXED);
	processor->countdown--;
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
	struct thrum_thread *thread =
		thrum__thread_create(runtime, machine->processor, fn, arg, attr, site, out == NULL);
	if (thread != NULL) {
		if (out != NULL)
			*out = thread;
		machine = launch(machine, thread, attr != NULL && attr->flags != 0);
	}
	thrum__leave(machine);
	return thread == NULL ? -ENOMEM : 0;
}

/* ---------------------------------------------------------------- join */

/* It is ending: a few instructions more. */
static void until_ended(const struct thrum_thread *thread)
{
	while (__atomic_load_n(&thread->joiner, __ATOMIC_ACQUIRE) != THRUM__ENDED)
		sched_yield();
}

/* The joiner has given up. False: the thread has ended meanwhile, and is through with the wait. */
static bool unregister(struct thrum_thread *thread, struct thrum__wait *wait)
{
	if (__atomic_compare_exchange_n(
		    &thread->joiner, &wait, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return true;
	until_ended(thread);
	return false;
}

static int wait_end(struct thrum_thread *thread, struct thrum__wait *wait, thrum_deadline deadline)
{
	struct thrum__wait *nobody = NULL;
	if (!__atomic_compare_exchange_n(
		    &thread->joiner, &nobody, wait, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		until_ended(thread);
		return THRUM__JOINED;
	}
	return thrum__wait_park(wait, "join", deadline);
}

/* What lies in a deque is never pinned, so the child may. */
static bool may_carry(const struct thrum__machine *machine, const struct thrum_thread *self,
	thrum_deadline deadline)
{
	return self->pinned == NULL && !machine->runtime->migrate &&
	       deadline != THRUM_NOW && !__atomic_load_n(&self->cancelled, __ATOMIC_ACQUIRE);
}

/* Others' turn? Takes one that is due without them. False: those that were woken come first. */
static bool take_turn(struct thrum__machine *machine, struct thrum_thread *self)
{
	struct thrum__processor *processor = machine->processor;
	if (thrum__likely(!thrum__turn_due(processor)))
		return true;
	/* Nothing here suspends, so it is the same machine and processor afterwards. */
	thrum__suspend(machine, self, THRUM__ACT_TURN, NULL);
	return thrum__deque_empty(&processor->inbox) &&
	       __atomic_load_n(&processor->slot, __ATOMIC_RELAXED) == NULL;
}

/*
 * Joins a child that nobody has begun and that is next in our own deque by running it at once.
 * Entered; leaves if it returns true. False: it is not so, or others come first.
 */
static bool run_child(struct thrum__machine *machine, struct thrum_thread *self,
	struct thrum_thread *child, void **result, thrum_deadline deadline, int *joined)
{
	struct thrum__processor *processor = machine->processor;
	if (!may_carry(machine, self, deadline) || !thrum__unspawn(processor, child))
		return false;
	if (!take_turn(machine, self) ||
		(!child->started && !thrum__thread_start(processor, child))) {
		thrum__ready_spawned(processor, child);
		return false;
	}
	processor->countdown--;
	thrum__count(&processor->counters.dispatches);
	struct thrum__wait wait = {.state = THRUM__WAIT_PENDING, .parker = &self->parker};
	__atomic_store_n(&child->joiner, &wait, __ATOMIC_RELAXED);
	__atomic_store_n(&self->reason, "join", __ATOMIC_RELAXED);
	*joined = thrum__wait_carried(&machine, self, child, &wait, deadline);
	__atomic_store_n(&self->reason, NULL, __ATOMIC_RELAXED);
	if (result != NULL && *joined > 0)
		*result = child->arg;
	if (*joined == THRUM__JOINED_CARRIED)
		thrum__thread_unref_local(machine, child);
	thrum__leave(machine);
	if (*joined == THRUM__JOINED)
		thrum__thread_unref(child);
	else if (*joined < 0)
		unregister(child, &wait);
	return true;
}

int thrum_join(struct thrum_thread *thread, void **result, thrum_deadline deadline)
{
	struct thrum__machine *machine = thrum__machine_self();
	struct thrum_thread *self = machine == NULL ? NULL : machine->current;
	if (thread == self)
		return -EDEADLK;
	struct thrum__wait *joiner = __atomic_load_n(&thread->joiner, __ATOMIC_ACQUIRE);
	if (joiner != THRUM__ENDED) {
		int joined;
		if (self != NULL && joiner == NULL) {
			if (thrum__enter(machine) &&
				run_child(machine, self, thread, result, deadline, &joined))
				return joined < 0 ? joined : 0;
			thrum__leave(machine);
		}
		struct thrum__wait wait;
		thrum__wait_init(&wait);
		joined = wait_end(thread, &wait, deadline);
		if (joined < 0) {
			unregister(thread, &wait);
			return joined;
		}
	}
	if (result != NULL)
		*result = thread->arg;
	thrum__thread_unref(thread);
	return 0;
}

void thrum_detach(struct thrum_thread *thread)
{
	struct thrum__wait *nobody = NULL;
	if (thread == NULL || __atomic_compare_exchange_n(&thread->joiner, &nobody, THRUM__DETACHED,
				      false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	until_ended(thread);
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
