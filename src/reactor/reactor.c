/* SPDX-License-Identifier: MIT */
#include "reactor/reactor.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"
#include "sched/driver.h"

/*
 * One reactor per processor. Its machine sleeps in one epoll:
 *
 *   epoll ─┬─ eventfd            another thread calls: work was queued
 *          ├─ descriptors        each registered once, edge-triggered (pollable.c)
 *          └─ libuv's backend    the loop has something to do; made with its first user
 *
 * Why not a uv_poll handle for each descriptor: libuv's epoll is level-triggered, so each
 * one-shot wait costs a DEL and an ADD, and another DEL to stop: three system calls a wait
 * instead of none. Its handles may be touched only under the loop's lock, so a thread could not
 * begin to wait on a descriptor whose loop is just running. Its own documentation advises against
 * uv_poll as a general mechanism. Its clock counts milliseconds, so timers are the scheduler's,
 * too, and the sleep here is timed in nanoseconds.
 *
 * The loop is for the rest of what libuv does. It runs here, on the scheduler's stack, with
 * UV_RUN_NOWAIT, under loop_mutex: when its backend is ready, when its next timer is due, and
 * when handles were touched. libuv collects changes and tells its epoll about them only when it
 * polls: hence the run before each sleep while loop_dirty is set, without which a started handle
 * would never be heard of. Callbacks may wake threads; nothing suspends while the mutex is held.
 *
 * Waking.  wake: woken 0 -> 1, and the one who did it writes the eventfd. The poller, when it
 * sees the eventfd: read it, then woken = 0. So a wake is either in the eventfd or came while
 * another was, which the same return from epoll serves; the scheduler looks at its queues after
 * each return. A burst of wakes costs one write.
 *
 * The reactor's memory and epoll outlive its processor as long as a pollable is being closed by a
 * foreign thread.
 */

enum { BATCH = 128 };

/* What epoll returns for our own two descriptors; a pollable is a pointer, never this small. */
enum { DATA_EVENT = 1, DATA_LOOP = 2 };

static struct thrum__reactor *reactor_of(struct thrum__driver *driver)
{
	return (struct thrum__reactor *)driver;
}

struct thrum__reactor *thrum__reactor_current(void)
{
	return reactor_of(thrum__driver_current());
}

struct thrum__reactor *thrum__reactor_home(void)
{
	return reactor_of(thrum__driver_home());
}

void thrum__reactor_ref(struct thrum__reactor *reactor)
{
	__atomic_fetch_add(&reactor->refs, 1, __ATOMIC_RELAXED);
}

void thrum__reactor_unref(struct thrum__reactor *reactor)
{
	if (__atomic_sub_fetch(&reactor->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	close(reactor->event);
	close(reactor->epoll);
	pthread_mutex_destroy(&reactor->loop_mutex);
	free(reactor);
}

/* ---------------------------------------------------------------- life */

static int watch(struct thrum__reactor *reactor, int fd, uint64_t data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
	return epoll_ctl(reactor->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

int thrum__driver_open(struct thrum__driver **out)
{
	struct thrum__reactor *reactor = calloc(1, sizeof(*reactor));
	if (reactor == NULL)
		return -ENOMEM;
	int err;
	reactor->refs = 1;
	reactor->process = getpid();
	reactor->loop_due = INT64_MAX;
	reactor->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (reactor->epoll < 0) {
		err = -errno;
		goto free_reactor;
	}
	reactor->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (reactor->event < 0) {
		err = -errno;
		goto close_epoll;
	}
	err = watch(reactor, reactor->event, DATA_EVENT);
	if (err != 0)
		goto close_event;
	CHECK(pthread_mutex_init(&reactor->loop_mutex, NULL) == 0);
	*out = (struct thrum__driver *)reactor;
	return 0;

close_event:
	close(reactor->event);
close_epoll:
	close(reactor->epoll);
free_reactor:
	free(reactor);
	return err;
}

void thrum__driver_close(struct thrum__driver *driver)
{
	struct thrum__reactor *reactor = reactor_of(driver);
	thrum__pollables_orphan(reactor);
	if (reactor->loop_made) {
		/* Lets handles finish closing; one that was never closed is a bug above us. */
		uv_run(&reactor->loop, UV_RUN_NOWAIT);
		CHECK(uv_loop_close(&reactor->loop) == 0);
	}
	thrum__reactor_unref(reactor);
}

/* ---------------------------------------------------------------- libuv's loop */

static int loop_make(struct thrum__reactor *reactor)
{
	int err = uv_loop_init(&reactor->loop);
	if (err != 0)
		return err;
	err = watch(reactor, uv_backend_fd(&reactor->loop), DATA_LOOP);
	if (err != 0)
		uv_loop_close(&reactor->loop);
	__atomic_store_n(&reactor->loop_made, err == 0, __ATOMIC_RELAXED);
	return err;
}

uv_loop_t *thrum__loop_enter(struct thrum__reactor *reactor)
{
	pthread_mutex_lock(&reactor->loop_mutex);
	if (!reactor->loop_made && loop_make(reactor) != 0) {
		pthread_mutex_unlock(&reactor->loop_mutex);
		return NULL;
	}
	uv_update_time(&reactor->loop);
	return &reactor->loop;
}

void thrum__loop_leave(struct thrum__reactor *reactor)
{
	__atomic_store_n(&reactor->loop_dirty, 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&reactor->loop_mutex);
	/* Our own processor polls before it sleeps; another one may be asleep. */
	if (reactor != thrum__reactor_current())
		thrum__driver_wake((struct thrum__driver *)reactor);
}

static void loop_run(struct thrum__reactor *reactor)
{
	pthread_mutex_lock(&reactor->loop_mutex);
	__atomic_store_n(&reactor->loop_dirty, 0, __ATOMIC_RELAXED);
	uv_run(&reactor->loop, UV_RUN_NOWAIT);
	int ms = uv_backend_timeout(&reactor->loop);
	pthread_mutex_unlock(&reactor->loop_mutex);
	reactor->loop_due = ms < 0 ? INT64_MAX : thrum_now() + ms * THRUM_MS;
}

/* ---------------------------------------------------------------- polling */

/*
 * epoll with nanoseconds where the kernel has it (5.11) and lets us; else rounded up to
 * milliseconds.
 */
static int wait_events(int epoll, struct epoll_event *events, int64_t wait_ns)
{
	static uint32_t unavailable;
	if (wait_ns > 0 && !__atomic_load_n(&unavailable, __ATOMIC_RELAXED)) {
		struct timespec ts = {wait_ns / THRUM_S, wait_ns % THRUM_S};
		int n = epoll_pwait2(epoll, events, BATCH, &ts, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		__atomic_store_n(&unavailable, 1, __ATOMIC_RELAXED);
	}
	int64_t ms = wait_ns < 0 ? -1 : (wait_ns + THRUM_MS - 1) / THRUM_MS;
	return epoll_wait(epoll, events, BATCH, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

static int64_t earlier(int64_t wait_ns, int64_t due)
{
	if (due == INT64_MAX || wait_ns == 0)
		return wait_ns;
	int64_t left = due - thrum_now();
	left = left < 0 ? 0 : left;
	return wait_ns < 0 || left < wait_ns ? left : wait_ns;
}

void thrum__driver_poll(struct thrum__driver *driver, int64_t max_wait_ns)
{
	struct thrum__reactor *reactor = reactor_of(driver);
	if (__atomic_load_n(&reactor->loop_dirty, __ATOMIC_ACQUIRE)) {
		loop_run(reactor);
		max_wait_ns = 0; /* its callbacks may have made threads runnable */
	}
	struct epoll_event events[BATCH];
	int n = wait_events(reactor->epoll, events, earlier(max_wait_ns, reactor->loop_due));
	bool loop_ready = reactor->loop_due != INT64_MAX && reactor->loop_due <= thrum_now();
	for (int i = 0; i < n; i++) {
		uint64_t data = events[i].data.u64;
		if (data == DATA_EVENT) {
			uint64_t count;
			(void)!read(reactor->event, &count, sizeof(count));
			__atomic_exchange_n(&reactor->woken, 0, __ATOMIC_SEQ_CST);
		} else if (data == DATA_LOOP) {
			loop_ready = true;
		} else {
			thrum__pollable_event(data, events[i].events);
		}
	}
	if (loop_ready)
		loop_run(reactor);
}

bool thrum__driver_armed(struct thrum__driver *driver)
{
	struct thrum__reactor *reactor = reactor_of(driver);
	thrum__lock(&reactor->lock);
	bool armed = !thrum__list_empty(&reactor->pollables);
	thrum__unlock(&reactor->lock);
	return armed || __atomic_load_n(&reactor->loop_made, __ATOMIC_RELAXED);
}

void thrum__driver_wake(struct thrum__driver *driver)
{
	struct thrum__reactor *reactor = reactor_of(driver);
	if (__atomic_exchange_n(&reactor->woken, 1, __ATOMIC_SEQ_CST) != 0)
		return;
	uint64_t one = 1;
	(void)!write(reactor->event, &one, sizeof(one));
}
