/* SPDX-License-Identifier: MIT */
/*
 * Timer futures, and the clock that wakes them.
 *
 * A future may be polled by any executor, on threads that know no runtime, so there is one clock
 * for the whole process: an OS thread, started by the first timer and gone after a while without
 * any, that sleeps until the earliest deadline and wakes wakers. Green threads' own deadlines do
 * not come here: they lie in the scheduler's wheels.
 *
 * Invariants
 *   [I1] The wheel, `ticking`, and the waker and node of every timer in the wheel, are under `lock`.
 *   [I2] A timer in the wheel implies ticking: the thread leaves only with an empty wheel, and says
 *        so under the lock.
 *   [I3] The thread takes node and waker out under the lock and wakes after it: a timer that has
 *        been dropped is not touched, and a waker may drop or poll the timer.
 */
#include <thrum/future.h>

#include "base/base.h"
#include "time/timer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { IDLE_SECONDS = 5 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t earlier; /* there is a new earliest deadline; set up with the first thread */
static struct thrum__wheel wheel;
static bool ticking;

_Static_assert(sizeof(struct thrum__timer) <= sizeof(((struct thrum_future_timer *)0)->node_),
	"the public struct has room for the wheel's node");

static inline struct thrum__timer *node_of(struct thrum_future_timer *timer)
{
	return (struct thrum__timer *)(void *)timer->node_;
}

static struct thrum_waker take_waker(struct thrum_future_timer *timer)
{
	struct thrum_waker waker = timer->waker_;

	timer->waker_ = (struct thrum_waker){0};
	return waker;
}

/* Under the lock: sleeps until there may be something to do; false if the clock is not wanted. */
static bool sleep_until_next(void)
{
	int64_t next = thrum__timer_next(&wheel);
	bool idle = next == INT64_MAX;

	if (idle)
		next = thrum_now() + IDLE_SECONDS * THRUM_S;
	struct timespec until = {next / THRUM_S, next % THRUM_S};
	int result = pthread_cond_timedwait(&earlier, &lock, &until);
	return !idle || result != ETIMEDOUT || thrum__timer_next(&wheel) != INT64_MAX;
}

static void *tick(void *arg)
{
	struct thrum__timer *due;

	pthread_setname_np(pthread_self(), "thrum-clock");
	pthread_mutex_lock(&lock);
	do {
		while ((due = thrum__timer_pop_due(&wheel, thrum_now())) != NULL) {
			struct thrum_waker waker = take_waker(
				thrum__container_of(due, struct thrum_future_timer, node_));
			pthread_mutex_unlock(&lock);
			thrum_waker_wake(waker);
			pthread_mutex_lock(&lock);
		}
	} while (sleep_until_next());
	ticking = false;
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void set_up(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* what thrum_now reads */
	pthread_cond_init(&earlier, &attr);
	pthread_condattr_destroy(&attr);
}

/* Under the lock: makes sure of the thread. It takes no signals: they are the program's. */
static int start_ticking(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigset_t all, before;
	pthread_t thread;

	if (ticking)
		return 0;
	pthread_once(&once, set_up);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread, NULL, tick, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		return -EAGAIN;
	pthread_detach(thread);
	ticking = true;
	return 0;
}

/* Under the lock. */
static int arm(struct thrum_future_timer *timer)
{
	struct thrum__timer *node = node_of(timer);

	if (thrum__timer_armed(node))
		return 0;
	int result = start_ticking();
	if (result < 0)
		return result;
	node->when = timer->deadline_;
	bool first = node->when < thrum__timer_next(&wheel);
	thrum__timer_add(&wheel, node);
	if (first)
		pthread_cond_signal(&earlier);
	return 0;
}

static int timer_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_timer *timer =
		thrum__container_of(self, struct thrum_future_timer, future);

	if (timer->deadline_ == THRUM_FOREVER)
		return THRUM_PENDING;
	if (thrum_now() >= timer->deadline_)
		return THRUM_READY; /* the drop disarms it */
	struct thrum_waker fresh = thrum_waker_clone(context->waker);
	pthread_mutex_lock(&lock);
	struct thrum_waker old = take_waker(timer);
	timer->waker_ = fresh;
	int result = arm(timer);
	pthread_mutex_unlock(&lock);
	thrum_waker_drop(old);
	return result < 0 ? result : THRUM_PENDING;
}

static void timer_drop(struct thrum_future *self)
{
	struct thrum_future_timer *timer =
		thrum__container_of(self, struct thrum_future_timer, future);

	pthread_mutex_lock(&lock);
	thrum__timer_remove(&wheel, node_of(timer));
	struct thrum_waker old = take_waker(timer);
	pthread_mutex_unlock(&lock);
	thrum_waker_drop(old);
}

static const struct thrum_future_vtable timer_vtable = {timer_poll, timer_drop};

struct thrum_future *thrum_future_timer_init(
	struct thrum_future_timer *timer, thrum_deadline deadline)
{
	memset(timer, 0, sizeof(*timer));
	timer->future.vtable = &timer_vtable;
	timer->deadline_ = deadline;
	return &timer->future;
}
