/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include <errno.h>
#include <time.h>

/*
 * Waiting: claim, wake, park, deadlines; for green threads and OS threads alike. sched.h has the
 * contract.
 *
 * Two atomics take part. The *wait* (on the waiter's stack) is claimed once: PENDING -> a value.
 * The *parker's word* (in the thread, never unmapped) says whether the waiter sleeps:
 *
 *   RUNNING --(after the switch)--> PARKED --(WOKEN or KNOCKED)--> queued --> RUNNING
 *
 *   wake    word |= WOKEN;   was it exactly PARKED: make it runnable. Otherwise it has not slept
 *                            yet and will see the bit, or somebody else is already bringing it
 *                            back.
 *   cancel  flag = 1; word |= KNOCKED; the same.
 *   resume  bits = exchange(word, RUNNING). WOKEN: consumed, the wait is over. KNOCKED alone:
 *           look at the flag, and if it counts, claim the own wait; whoever loses that claim has
 *           a WOKEN on its way, so park again.
 *
 * Invariants
 *   [I1] One successful claim by another <=> one WOKEN, and park returns only after consuming it.
 *        A waiter that claims its own wait gets none. So no WOKEN is ever left over for the next
 *        wait.
 *   [I2] Between claim and wake the waiter cannot return, so the claimer may use the wait and the
 *        parker.
 *   [I3] After wake's read-modify-write that found no PARKED the waker touches nothing: the
 *        waiter may be gone. If it found PARKED, the thread cannot run before the waker has
 *        queued it.
 *   [I4] A canceller never touches the wait. It only knocks; the thread, which owns the wait,
 *        does the rest.
 *   [I5] KNOCKED may be left over: it makes the next park look once in vain.
 *
 * Memory order: everything before claim+wake happens before park returns (word: release in wake,
 * acquire in resume). The cancel flag is written before KNOCKED and read before PARKED or after
 * KNOCKED, so it is never missed.
 *
 * Deadlines.  The timer sits in the wheel of the processor on which the park began. Firing claims
 * under that wheel's lock and wakes outside; a waiter woken by something else removes its timer
 * under the same lock. After either nobody knows the wait. A wait never ends before its deadline.
 * By design it ends less than a tick of the wheel (66 us) after it or, if that is more, less than
 * a thousandth of the wait, and never more than 0.53 ms.
 *
 * Rejected: a pointer to the current wait in the thread, for the canceller to claim. It needs a
 * lock in every thread, taken twice for each park, to keep the wait alive during the claim; the
 * knock costs the waiter nothing.
 */

/* What a wait that ended by itself is claimed with; park then returns result. */
#define GAVE_UP UINT32_MAX

struct deadline {
	struct thrum__timer timer;
	struct thrum__wait *wait;
	struct deadline *next;
	struct thrum__processor *processor;
};

/* ---------------------------------------------------------------- parkers of OS threads */

/*
 * A parker may be named by a waker after its owner has gone on (the futex call comes after the
 * word was set), so they are recycled for ever and never freed.
 */
struct os_parker {
	struct thrum__parker parker;
	struct os_parker *next; /* free */
};

static struct {
	struct thrum__lock lock;
	struct os_parker *free;
	pthread_once_t once;
	pthread_key_t key;
} os_parkers = {.once = PTHREAD_ONCE_INIT};

static _Thread_local struct os_parker *own_parker;

static void parker_give_back(void *parker_v)
{
	struct os_parker *parker = parker_v;
	own_parker = NULL;
	thrum__lock(&os_parkers.lock);
	parker->next = os_parkers.free;
	os_parkers.free = parker;
	thrum__unlock(&os_parkers.lock);
}

static void parker_key_create(void)
{
	CHECK(pthread_key_create(&os_parkers.key, parker_give_back) == 0);
}

static struct thrum__parker *os_parker(void)
{
	if (own_parker != NULL)
		return &own_parker->parker;
	CHECK(pthread_once(&os_parkers.once, parker_key_create) == 0);
	thrum__lock(&os_parkers.lock);
	struct os_parker *parker = os_parkers.free;
	if (parker != NULL)
		os_parkers.free = parker->next;
	thrum__unlock(&os_parkers.lock);
	/* A wait never fails, so an OS thread's first one waits for memory if it must. */
	while (parker == NULL && (parker = calloc(1, sizeof(*parker))) == NULL)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	own_parker = parker;
	/* Should this fail, the parker is lost when the OS thread ends: no more than that. */
	(void)pthread_setspecific(os_parkers.key, parker);
	return &parker->parker;
}

void thrum__wait_lock_all(void)
{
	thrum__lock(&os_parkers.lock);
}

void thrum__wait_unlock_all(void)
{
	thrum__unlock(&os_parkers.lock);
}

/* ---------------------------------------------------------------- claim and wake */

void thrum__wait_init(struct thrum__wait *wait)
{
	struct thrum__machine *machine = thrum__machine_self();
	wait->state = THRUM__WAIT_PENDING;
	wait->result = 0;
	wait->parker = machine != NULL && machine->current != NULL ? &machine->current->parker
								   : os_parker();
}

bool thrum__wait_claim(struct thrum__wait *wait, uint32_t value)
{
	uint32_t expected = THRUM__WAIT_PENDING;
	ASSERT(value != THRUM__WAIT_PENDING && value <= INT32_MAX);
	return __atomic_compare_exchange_n(
		&wait->state, &expected, value, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void thrum__wait_wake(struct thrum__wait *wait)
{
	struct thrum__parker *parker = wait->parker;
	bool green = parker->green;
	if (!thrum__parker_signal(parker, THRUM__WOKEN))
		return; /* [I3] */
	if (green)
		thrum__ready(thrum__parker_thread(parker));
	else
		thrum__futex_wake(&parker->word, 1);
}

/* Claims a wait for its end without a waker. */
static bool give_up(struct thrum__wait *wait, int result)
{
	uint32_t expected = THRUM__WAIT_PENDING;
	if (!__atomic_compare_exchange_n(
		    &wait->state, &expected, GAVE_UP, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return false;
	wait->result = result;
	return true;
}

static int outcome(const struct thrum__wait *wait)
{
	uint32_t state = __atomic_load_n(&wait->state, __ATOMIC_RELAXED);
	return state == GAVE_UP ? wait->result : (int)state;
}

/* ---------------------------------------------------------------- deadlines */

enum { LATE_SHIFT = 10, LATE_MAX_SHIFT = 19, FIRE_BATCH = 64 };

/*
 * When a wait until `when` is to end: not before, and less than a thousandth of it later. Rounded to
 * a power of two, so that many long waits end together, with one wake of the processor for all.
 */
static int64_t rounded(int64_t when, int64_t now)
{
	int64_t late = (when - now) >> LATE_SHIFT;
	if (late <= 0 || when > INT64_MAX - ((int64_t)1 << LATE_MAX_SHIFT))
		return when;
	int shift = 63 - __builtin_clzll((uint64_t)late);
	int64_t grain = (int64_t)1 << (shift < LATE_MAX_SHIFT ? shift : LATE_MAX_SHIFT);
	return (when + grain - 1) & -grain;
}

/* Keeps the time of the earliest where it can be read without the lock. */
static void note_next(struct thrum__processor *processor)
{
	__atomic_store_n(
		&processor->next_timer, thrum__timer_next(&processor->timers), __ATOMIC_RELAXED);
}

static void deadline_arm(struct thrum__processor *processor, struct deadline *deadline,
	struct thrum__wait *wait, int64_t when)
{
	*deadline = (struct deadline){.timer.when = when, .wait = wait, .processor = processor};
	thrum__lock(&processor->timer_lock);
	thrum__timer_add(&processor->timers, &deadline->timer);
	note_next(processor);
	thrum__unlock(&processor->timer_lock);
}

static void deadline_disarm(struct deadline *deadline)
{
	struct thrum__processor *processor = deadline->processor;
	if (outcome(deadline->wait) == -ETIMEDOUT)
		return; /* it has fired, and the wake was the last that it did */
	thrum__lock(&processor->timer_lock);
	if (thrum__timer_armed(&deadline->timer)) {
		thrum__timer_remove(&processor->timers, &deadline->timer);
		note_next(processor);
	}
	thrum__unlock(&processor->timer_lock);
}

/*
 * Takes out what is due, up to a batch, and claims the waits: those that are to be woken are put
 * into *fired. True: there may be more. In steps, each of which calls for what the next one touches:
 * deadline, wait and parker of a thread that slept are in no cache.
 */
static bool claim_due(struct thrum__processor *processor, int64_t now, struct deadline **fired)
{
	struct deadline *due = NULL, **end = &due, **fired_end = fired;
	struct thrum__timer *timer;
	unsigned count = 0;
	for (; count < FIRE_BATCH; count++) {
		timer = thrum__timer_pop_due(&processor->timers, now);
		if (timer == NULL)
			break;
		*end = thrum__container_of(timer, struct deadline, timer);
		__builtin_prefetch((*end)->wait, 1);
		end = &(*end)->next;
	}
	for (; due != NULL; due = due->next) {
		if (!give_up(due->wait, -ETIMEDOUT))
			continue;
		__builtin_prefetch(due->wait->parker, 1);
		*fired_end = due;
		fired_end = &due->next;
	}
	*fired_end = NULL;
	return count == FIRE_BATCH;
}

void thrum__timers_fire(struct thrum__processor *processor)
{
	/*
	 * Only this processor's machine adds: what others may do meanwhile is to make the next
	 * one later. (The monitor may miss one; it looks again.)
	 */
	int64_t next = __atomic_load_n(&processor->next_timer, __ATOMIC_RELAXED);
	int64_t now;
	if (next == INT64_MAX || next > (now = thrum_now()))
		return;
	bool more = true;
	while (more) {
		struct deadline *fired;
		thrum__lock(&processor->timer_lock);
		more = claim_due(processor, now, &fired);
		note_next(processor);
		thrum__unlock(&processor->timer_lock);
		while (fired != NULL) {
			struct thrum__wait *wait = fired->wait;
			fired = fired->next;
			thrum__wait_wake(wait);
		}
	}
}

/* ---------------------------------------------------------------- park */

static bool must_cancel(const struct thrum_thread *self)
{
	return __atomic_load_n(&self->cancelled, __ATOMIC_ACQUIRE) && self->shield == 0;
}

bool thrum__cancel_due(void)
{
	const struct thrum_thread *self = thrum_self();
	return self != NULL && must_cancel(self);
}

/* The rest of a park, entered, until the wait's end has been consumed. */
static struct thrum__machine *park_until(
	struct thrum__machine *machine, struct thrum_thread *self, struct thrum__wait *wait)
{
	for (;;) {
		uint32_t bits = thrum__parker_consume(&self->parker);
		if (bits & THRUM__WOKEN)
			return machine;
		if ((bits & THRUM__KNOCKED) && must_cancel(self) && give_up(wait, -ECANCELED))
			return machine;
		machine = thrum__suspend(machine, self, THRUM__ACT_PARK, NULL);
	}
}

static int park_thread(struct thrum_thread *self, struct thrum__wait *wait, thrum_deadline when)
{
	if (must_cancel(self) && give_up(wait, -ECANCELED))
		return -ECANCELED;
	bool timed = when != THRUM_FOREVER;
	int64_t now = timed ? thrum_now() : 0;
	if (timed && when <= now) {
		if (give_up(wait, -ETIMEDOUT))
			return -ETIMEDOUT;
		timed = false;
	}
	struct deadline deadline;
	struct thrum__machine *machine = thrum__machine_self();
	bool attached = thrum__enter(machine);
	if (timed) {
		while (!attached) { /* the timer wants a processor */
			machine = thrum__suspend(machine, self, THRUM__ACT_YIELD, NULL);
			attached = machine->processor != NULL;
		}
		deadline_arm(machine->processor, &deadline, wait, rounded(when, now));
	}
	machine = park_until(machine, self, wait);
	if (timed)
		deadline_disarm(&deadline);
	thrum__leave(machine);
	return outcome(wait);
}

/*
 * The join of a thread that the caller has just taken off the deque, unstarted. The child's end, if
 * it comes before any suspension, is all: nobody has claimed the wait (machine.c, carrying).
 */
int thrum__wait_carried(struct thrum__machine **machine, struct thrum_thread *self,
	struct thrum_thread *child, struct thrum__wait *wait, thrum_deadline when)
{
	struct deadline deadline;
	if (when != THRUM_FOREVER)
		deadline_arm((*machine)->processor, &deadline, wait, when);
	self->link = (*machine)->carried;
	__atomic_store_n(&(*machine)->carried, self, __ATOMIC_RELAXED);
	*machine = thrum__suspend(*machine, self, THRUM__ACT_CARRY, child);
	bool returned = (*machine)->action == THRUM__ACT_RETURN;
	/* Of a wait without a deadline nobody else knows but the child. */
	if (returned && when == THRUM_FOREVER) {
		wait->state = THRUM__JOINED_CARRIED;
	} else if (!returned || !thrum__wait_claim(wait, THRUM__JOINED_CARRIED)) {
		if (returned) /* the deadline was faster */
			thrum__thread_keep(*machine, child);
		*machine = park_until(*machine, self, wait);
	}
	if (when != THRUM_FOREVER)
		deadline_disarm(&deadline);
	return outcome(wait);
}

static int park_os_thread(
	struct thrum__parker *parker, struct thrum__wait *wait, thrum_deadline when)
{
	for (;;) {
		if (thrum__parker_consume(parker) & THRUM__WOKEN)
			break;
		int64_t left = -1;
		if (when != THRUM_FOREVER) {
			left = when - thrum_now();
			if (left <= 0) {
				if (give_up(wait, -ETIMEDOUT))
					break;
				when = THRUM_FOREVER; /* claimed: the wake is on its way */
				left = -1;
			}
		}
		if (thrum__parker_park(parker))
			thrum__futex_wait(&parker->word, THRUM__PARKED, left);
	}
	return outcome(wait);
}

int thrum__wait_park(struct thrum__wait *wait, const char *reason, thrum_deadline deadline)
{
	if (!wait->parker->green)
		return park_os_thread(wait->parker, wait, deadline);
	struct thrum_thread *self = thrum__parker_thread(wait->parker);
	__atomic_store_n(&self->reason, reason, __ATOMIC_RELAXED); /* reports read it */
	int result = park_thread(self, wait, deadline);
	__atomic_store_n(&self->reason, NULL, __ATOMIC_RELAXED);
	return result;
}

/* ---------------------------------------------------------------- sleep */

int thrum_sleep_until(thrum_deadline deadline)
{
	if (deadline == THRUM_NOW)
		return 0;
	struct thrum__wait wait;
	thrum__wait_init(&wait);
	int result = thrum__wait_park(&wait, "sleep", deadline);
	return result == -ETIMEDOUT ? 0 : result;
}

int thrum_sleep(int64_t ns)
{
	return thrum_sleep_until(thrum_after(ns));
}
