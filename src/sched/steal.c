/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

/*
 * Taking threads from other processors. What ready.c calls lone is left for a moment, what is on a
 * rapid processor for longer, for a thread that crosses to another core costs several times what a
 * short one takes to run. Any two threads elsewhere are fair game; whoever moves several is a
 * submitter again (I3 of idle.c).
 */

enum { STEAL_MAX = 32, STEAL_SHARE = 16, LONE_MAX = 8 };

#define AGE_NS      (2 * THRUM_US) /* a thief's moment */
#define LOOKOUT_MIN (100 * THRUM_US)
#define LOOKOUT_MAX (2 * THRUM_MS)

/* Half of a victim's inbox: the first is returned, the others go to the thief's. */
static struct thrum_thread *steal_inbox(
	struct thrum__processor *thief, struct thrum__processor *victim, int64_t max, bool *lost)
{
	int64_t want = (thrum__deque_count(&victim->inbox) + 1) / 2;
	struct thrum_thread *first = thrum__deque_steal(&victim->inbox, lost);
	for (int64_t i = 1; first != NULL && i < want && i < max; i++) {
		struct thrum_thread *more = thrum__deque_steal(&victim->inbox, lost);
		if (more == NULL)
			break;
		thrum__push_inbox(thief, more);
	}
	return first;
}

/*
 * The oldest of a victim's deque: in fork-join code, where there are few, the root of the largest
 * part of the work. Where there are many, one for each trip across cores would be dear: some more
 * come along.
 */
static struct thrum_thread *steal_deque(
	struct thrum__processor *thief, struct thrum__processor *victim, int64_t max, bool *lost)
{
	int64_t want = thrum__deque_count(&victim->deque) / STEAL_SHARE;
	struct thrum_thread *first = thrum__deque_steal(&victim->deque, lost);
	for (int64_t i = 1; first != NULL && i < want && i < max; i++) {
		struct thrum_thread *more = thrum__deque_steal(&victim->deque, lost);
		if (more == NULL)
			break;
		thrum__push_inbox(thief, more);
	}
	return first;
}

static struct thrum_thread *steal_from(
	struct thrum__processor *thief, struct thrum__processor *victim, int64_t max, bool *lost)
{
	struct thrum_thread *thread = steal_deque(thief, victim, max, lost);
	if (thread == NULL)
		thread = steal_inbox(thief, victim, max, lost);
	if (thread == NULL && __atomic_load_n(&victim->slot, __ATOMIC_RELAXED) != NULL)
		thread = __atomic_exchange_n(&victim->slot, NULL, __ATOMIC_ACQ_REL);
	if (thread != NULL)
		thrum__count(&thief->counters.steals);
	return thread;
}

/*
 * A rapid victim with more than one thread. First seen: look again later. Still the same oldest
 * one a while after: take it.
 */
static struct thrum_thread *look_out(
	struct thrum__processor *thief, struct thrum__processor *victim, int64_t max, bool *lost)
{
	struct thrum__lookout *lookout = &thief->lookout;
	int64_t top = __atomic_load_n(&victim->deque.top, __ATOMIC_RELAXED), now = thrum_now();
	if (lookout->pause == 0)
		lookout->pause = LOOKOUT_MIN;
	if (lookout->victim != victim || lookout->top != top) {
		lookout->victim = victim;
		lookout->top = top;
		lookout->since = now;
		if (!thrum__deque_empty(&victim->deque))
			return NULL;
	}
	if (now - lookout->since < LOOKOUT_MIN)
		return NULL;
	lookout->since = now;
	struct thrum_thread *thread = thrum__deque_steal(&victim->deque, lost);
	return thread != NULL ? thread : steal_inbox(thief, victim, max, lost);
}

struct lone {
	struct thrum__processor *victim;
	uint64_t dispatches;
};

static uint64_t dispatches_of(const struct thrum__processor *processor)
{
	return __atomic_load_n(&processor->counters.dispatches, __ATOMIC_ACQUIRE);
}

/* Tries every other processor with two threads or more, from a random one on. */
static struct thrum_thread *steal_surplus(
	struct thrum__processor *thief, struct lone *lone, unsigned *lones, int64_t max, bool *lost)
{
	struct thrum__runtime *runtime = thief->runtime;
	unsigned from = thrum__splitmix64(&thief->random) % runtime->count;
	for (unsigned i = 0; i < runtime->count; i++) {
		struct thrum__processor *victim = &runtime->processors[(from + i) % runtime->count];
		uint64_t load = victim == thief ? 0 : thrum__processor_load(victim);
		if (load == 1 && lone != NULL && *lones < LONE_MAX)
			lone[(*lones)++] = (struct lone){victim, dispatches_of(victim)};
		struct thrum_thread *thread = NULL;
		if (load >= 2)
			thread = thrum__is_rapid(victim) ? look_out(thief, victim, max, lost)
							 : steal_from(thief, victim, max, lost);
		if (thread != NULL)
			return thread;
	}
	return NULL;
}

struct thrum_thread *thrum__steal_one(struct thrum__processor *thief)
{
	bool lost;
	return steal_surplus(thief, NULL, NULL, 1, &lost);
}

/* What has lain alone on a processor for a moment, in which that one has not dispatched. */
static struct thrum_thread *steal_lone(
	struct thrum__processor *thief, const struct lone *lone, unsigned lones)
{
	bool lost;
	int64_t until = thrum_now() + AGE_NS;
	while (lones > 0 && thrum_now() < until)
		thrum__cpu_relax();
	for (unsigned i = 0; i < lones; i++) {
		struct thrum__processor *victim = lone[i].victim;
		if (dispatches_of(victim) != lone[i].dispatches)
			continue;
		struct thrum_thread *thread = steal_from(thief, victim, STEAL_MAX, &lost);
		if (thread == NULL)
			continue;
		__atomic_fetch_add(&victim->stolen, 1, __ATOMIC_RELAXED);
		return thread;
	}
	return NULL;
}

static struct thrum_thread *steal_any(struct thrum__processor *thief)
{
	struct lone lone[LONE_MAX];
	unsigned lones = 0;
	bool lost = false;
	struct thrum_thread *thread = steal_surplus(thief, lone, &lones, STEAL_MAX, &lost);
	if (thread == NULL && lost)
		thread = steal_surplus(thief, NULL, NULL, STEAL_MAX, &lost);
	return thread != NULL ? thread : steal_lone(thief, lone, lones);
}

struct thrum_thread *thrum__steal(struct thrum__processor *thief)
{
	int64_t pause = thief->lookout.pause;
	thief->lookout.pause = 0;
	struct thrum_thread *thread = steal_any(thief);
	if (thread != NULL)
		thief->lookout.pause = 0;
	else if (thief->lookout.pause != 0 && pause != 0) /* in vain, again */
		thief->lookout.pause = pause < LOOKOUT_MAX ? 2 * pause : pause;
	return thread;
}
