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
 * Deadlines.  The timer sits in the heap of the processor on which the park began. Firing claims
 * under that heap's lock and wakes outside; the waiter removes its timer under the same lock, so
 * after that nobody knows the wait.
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
	struct thrum__processor *processor; /* NULL: never armed */
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

/* Keeps the earliest deadline where it can be read without the lock. */
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
	if (processor == NULL)
		return;
	thrum__lock(&processor->timer_lock);
	if (deadline->timer.armed) {
		thrum__timer_remove(&processor->timers, &deadline->timer);
		note_next(processor);
	}
	thrum__unlock(&processor->timer_lock);
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
	struct deadline *fired = NULL, **end = &fired;
	thrum__lock(&processor->timer_lock);
	struct thrum__timer *timer;
	while ((timer = thrum__timer_pop_due(&processor->timers, now)) != NULL) {
		struct deadline *deadline = thrum__container_of(timer, struct deadline, timer);
		if (give_up(deadline->wait, -ETIMEDOUT)) {
			*end = deadline;
			end = &deadline->next;
		}
	}
	note_next(processor);
	thrum__unlock(&processor->timer_lock);
	while (fired != NULL) {
		struct thrum__wait *wait = fired->wait;
		fired = fired->next;
		thrum__wait_wake(wait);
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
	if (timed && when <= thrum_now()) {
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
		deadline_arm(machine->processor, &deadline, wait, when);
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
