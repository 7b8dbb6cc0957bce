/* SPDX-License-Identifier: MIT */
#include "reactor/reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"
#include "sched/driver.h"
#include "sched/sched.h"

/*
 * Readiness of descriptors, edge-triggered: registered once, for reading and writing, with the
 * epoll of one processor. An edge is reported once; the work is in losing none.
 *
 * Per direction
 *   ready    an edge has come that nobody was told of. The next wait consumes it and returns.
 *   told     the one who was last told of an edge.
 *   waiters  oldest first.
 *
 *   edge   waiters? told = the first of them; wake them all. None? ready = 1.
 *   wait   ready?                     ready = 0; told = I; return, so that the caller tries again.
 *          told == I, or nobody yet?  sleep: my failed try came after the last edge.
 *          told is somebody else?     told = I; enqueue, and then ask poll(2): the edge may have
 *                                     come between my failed try and now, and gone to him, who
 *                                     may not have drained the descriptor. Ready: return. Else
 *                                     sleep.
 *
 * [I1] Every edge was followed by a try, or a poll(2), of whoever sleeps: thus none is lost with
 *      any number of readers, and the common case, one reader and one writer, pays neither a
 *      poll(2) nor a vain read.
 *
 * [I2] A short read is as good as a failed try, but for an end of stream that came with the last
 *      bytes and shared their edge. So EPOLLRDHUP, which only stream sockets give and never take
 *      back, is remembered: reading is ready for ever. EPOLLHUP and EPOLLERR are not, for a FIFO
 *      and a datagram socket recover from them.
 *
 * Who "I" is: the address of the parker. A thread that ended and one that took over its memory
 * are the same in this respect: all that the second one tries comes after all that the first one
 * was told.
 *
 * Memory.  Pollables are recycled and never freed. A batch of events may still name one that was
 * closed and opened again for another descriptor: the generation in the event tells, and if its
 * 16 bits should ever coincide, a vain wakeup is all that happens. A waiter that timed out may
 * unlink itself late for the same reason.
 *
 * Locks: reactor->lock before pollable->lock. No system call under either.
 *
 * Rejected: uv_poll, see reactor.c. Level-triggered one-shot registration: an epoll_ctl for every
 * wait. One ready bit that waking leaves set: one vain read for each message.
 */

struct waiter {
	struct thrum__wait wait;
	struct thrum__list link;
};

enum { CLAIM_READY = 1, CLAIM_CLOSED = 2 };

struct direction {
	struct thrum__list waiters;
	struct thrum__parker *told;
	bool ready;
};

struct thrum__pollable {
	struct thrum__lock lock;
	int fd;
	uint16_t generation;
	bool closed;
	bool hung_up; /* the peer's side of the stream has ended: reading stays ready [I2] */
	struct thrum__reactor *reactor; /* where registered; NULL: nowhere */
	struct thrum__list link;        /* in reactor->pollables, under its lock; or free */
	struct direction dir[2];        /* reading, writing */
};

enum { SLAB = 64 };

struct slab {
	struct slab *next;
	struct thrum__pollable pollables[SLAB];
};

static struct {
	struct thrum__lock lock;
	struct slab *slabs;
	struct thrum__list free;
} all;

/* ---------------------------------------------------------------- memory */

static struct thrum__list *pop_free(void)
{
	thrum__lock(&all.lock);
	struct thrum__list *link = thrum__list_pop_front(&all.free);
	thrum__unlock(&all.lock);
	return link;
}

static bool grow(void)
{
	struct slab *slab = calloc(1, sizeof(*slab)); /* maybe a system call: not under the lock */
	if (slab == NULL)
		return false;
	CHECK((uintptr_t)(slab + 1) >> 48 == 0); /* event_data */
	thrum__lock(&all.lock);
	slab->next = all.slabs;
	all.slabs = slab;
	for (int i = 0; i < SLAB; i++)
		thrum__list_push_back(&all.free, &slab->pollables[i].link);
	thrum__unlock(&all.lock);
	return true;
}

static struct thrum__pollable *take_free(void)
{
	struct thrum__list *link;
	while ((link = pop_free()) == NULL)
		if (!grow())
			return NULL;
	return thrum__container_of(link, struct thrum__pollable, link);
}

static void give_free(struct thrum__pollable *pollable)
{
	thrum__lock(&all.lock);
	thrum__list_push_back(&all.free, &pollable->link);
	thrum__unlock(&all.lock);
}

void thrum__driver_lock_all(void)
{
	thrum__lock(&all.lock);
}

void thrum__driver_unlock_all(void)
{
	thrum__unlock(&all.lock);
}

/* Linux gives user space 48-bit addresses unless asked for more, on all our architectures. */
static uint64_t event_data(const struct thrum__pollable *pollable)
{
	return (uint64_t)(uintptr_t)pollable | (uint64_t)pollable->generation << 48;
}

/* ---------------------------------------------------------------- events */

/* Takes the waiters that can be woken off a direction, onto a list of their own. Under the lock. */
static void claim_all(struct direction *dir, uint32_t value, struct thrum__list *claimed)
{
	struct thrum__list *link;
	while ((link = thrum__list_pop_front(&dir->waiters)) != NULL) {
		struct waiter *waiter = thrum__container_of(link, struct waiter, link);
		if (!thrum__wait_claim(&waiter->wait, value))
			continue;
		if (thrum__list_empty(claimed))
			dir->told = waiter->wait.parker;
		thrum__list_push_back(claimed, link);
	}
}

static void wake_all(struct thrum__list *claimed)
{
	struct thrum__list *link;
	while ((link = thrum__list_pop_front(claimed)) != NULL)
		thrum__wait_wake(&thrum__container_of(link, struct waiter, link)->wait);
}

/* Under the lock. claimed is empty, one for each direction. */
static void edge(struct direction *dir, struct thrum__list *claimed)
{
	claim_all(dir, CLAIM_READY, claimed);
	if (thrum__list_empty(claimed))
		dir->ready = true;
}

void thrum__pollable_event(uint64_t data, uint32_t events)
{
	struct thrum__pollable *pollable =
		(struct thrum__pollable *)(uintptr_t)(data & (((uint64_t)1 << 48) - 1));
	struct thrum__list claimed[2] = {0};
	thrum__lock(&pollable->lock);
	if (pollable->generation == data >> 48 && !pollable->closed) {
		if (events & EPOLLRDHUP)
			pollable->hung_up = true;
		if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			edge(&pollable->dir[0], &claimed[0]);
		if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			edge(&pollable->dir[1], &claimed[1]);
	}
	thrum__unlock(&pollable->lock);
	wake_all(&claimed[0]);
	wake_all(&claimed[1]);
}

/* ---------------------------------------------------------------- registering */

/*
 * The pollable, or NULL for the reactor's first, is registered nowhere any more: whoever waits
 * shall look again. False: the reactor has none.
 */
static bool orphan(struct thrum__reactor *reactor, struct thrum__pollable *pollable)
{
	struct thrum__list claimed[2] = {0};
	thrum__lock(&reactor->lock);
	struct thrum__list *link =
		pollable != NULL ? &pollable->link : thrum__list_first(&reactor->pollables);
	if (link != NULL) {
		pollable = thrum__container_of(link, struct thrum__pollable, link);
		thrum__lock(&pollable->lock);
		pollable->reactor = NULL;
		thrum__list_remove(link);
		for (int i = 0; i < 2; i++)
			edge(&pollable->dir[i], &claimed[i]);
		thrum__unlock(&pollable->lock);
	}
	thrum__unlock(&reactor->lock);
	wake_all(&claimed[0]);
	wake_all(&claimed[1]);
	return link != NULL;
}

void thrum__pollables_orphan(struct thrum__reactor *reactor)
{
	while (orphan(reactor, NULL))
		;
}

/*
 * Registers with a reactor's epoll, unless another thread has done so meanwhile. The reactor is
 * noted before, so that an event that comes at once finds all in order.
 */
static int attach(struct thrum__pollable *pollable, struct thrum__reactor *reactor)
{
	thrum__lock(&reactor->lock);
	thrum__lock(&pollable->lock);
	bool first = pollable->reactor == NULL && !pollable->closed;
	if (first) {
		pollable->reactor = reactor;
		thrum__list_push_back(&reactor->pollables, &pollable->link);
	}
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.u64 = event_data(pollable)};
	int fd = pollable->fd;
	thrum__unlock(&pollable->lock);
	thrum__unlock(&reactor->lock);
	if (!first || epoll_ctl(reactor->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	int err = -errno;
	orphan(reactor, pollable);
	return err;
}

int thrum__pollable_open(struct thrum__pollable **out, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return -errno;
	return thrum__pollable_watch(out, fd);
}

int thrum__pollable_watch(struct thrum__pollable **out, int fd)
{
	struct thrum__pollable *pollable = take_free();
	if (pollable == NULL)
		return -ENOMEM;
	thrum__lock(&pollable->lock);
	pollable->fd = fd;
	pollable->closed = pollable->hung_up = false;
	for (int i = 0; i < 2; i++) {
		pollable->dir[i].told = NULL;
		pollable->dir[i].ready = false;
	}
	thrum__unlock(&pollable->lock);
	struct thrum__reactor *reactor = thrum__reactor_home();
	int err = reactor == NULL ? 0 : attach(pollable, reactor);
	if (err != 0) {
		thrum__pollable_close(pollable);
		return err;
	}
	*out = pollable;
	return 0;
}

void thrum__pollable_shut(struct thrum__pollable *pollable)
{
	struct thrum__list claimed[2] = {0};
	thrum__lock(&pollable->lock);
	pollable->closed = true;
	claim_all(&pollable->dir[0], CLAIM_CLOSED, &claimed[0]);
	claim_all(&pollable->dir[1], CLAIM_CLOSED, &claimed[1]);
	thrum__unlock(&pollable->lock);
	wake_all(&claimed[0]);
	wake_all(&claimed[1]);
}

void thrum__pollable_close(struct thrum__pollable *pollable)
{
	if (pollable == NULL)
		return;
	struct thrum__list claimed[2] = {0};
	thrum__lock(&pollable->lock);
	/*
	 * As long as it is noted here, the reactor has not ended; the reference lets it outlive
	 * the DEL.
	 */
	struct thrum__reactor *reactor = pollable->reactor;
	if (reactor != NULL)
		thrum__reactor_ref(reactor);
	pollable->reactor = NULL;
	pollable->closed = true;
	pollable->generation++;
	claim_all(&pollable->dir[0], CLAIM_CLOSED, &claimed[0]);
	claim_all(&pollable->dir[1], CLAIM_CLOSED, &claimed[1]);
	int fd = pollable->fd;
	thrum__unlock(&pollable->lock);
	wake_all(&claimed[0]);
	wake_all(&claimed[1]);
	if (reactor != NULL) {
		if (reactor->process == getpid()) /* a fork's child shares its parent's epoll */
			epoll_ctl(reactor->epoll, EPOLL_CTL_DEL, fd, NULL);
		thrum__lock(&reactor->lock);
		thrum__list_remove(&pollable->link);
		thrum__unlock(&reactor->lock);
		thrum__reactor_unref(reactor);
	}
	give_free(pollable);
}

/* ---------------------------------------------------------------- waiting */

static int poll_fd(int fd, int events, thrum_deadline deadline)
{
	struct pollfd pollfd = {
		.fd = fd, .events = events == THRUM__READABLE ? POLLIN | POLLRDHUP : POLLOUT};
	for (;;) {
		struct timespec left = {0}, *timeout = &left;
		if (deadline == THRUM_FOREVER) {
			timeout = NULL;
		} else if (deadline != THRUM_NOW) {
			int64_t ns = deadline - thrum_now();
			if (ns > 0)
				left = (struct timespec){ns / THRUM_S, ns % THRUM_S};
		}
		int n = ppoll(&pollfd, 1, timeout, NULL);
		if (n >= 0)
			return n > 0 ? 0 : -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

enum begun { ENQUEUED, ENQUEUED_CHECK, OVER, UNREGISTERED, CLOSED };

static enum begun enqueue(
	struct thrum__pollable *pollable, struct direction *dir, struct waiter *waiter)
{
	enum begun result;
	struct thrum__parker *self = waiter->wait.parker;
	thrum__lock(&pollable->lock);
	if (pollable->closed) {
		result = CLOSED;
	} else if (pollable->reactor == NULL) {
		result = UNREGISTERED;
	} else if (dir->ready || (pollable->hung_up && dir == &pollable->dir[0])) {
		dir->ready = false;
		dir->told = self;
		result = OVER;
	} else {
		result = dir->told == NULL || dir->told == self ? ENQUEUED : ENQUEUED_CHECK;
		if (result == ENQUEUED_CHECK)
			dir->told = self;
		thrum__list_push_back(&dir->waiters, &waiter->link);
	}
	thrum__unlock(&pollable->lock);
	return result;
}

/* Ends an own wait as an edge would. */
static void claim_self(struct thrum__pollable *pollable, struct waiter *waiter)
{
	thrum__lock(&pollable->lock);
	bool won = thrum__wait_claim(&waiter->wait, CLAIM_READY);
	if (won)
		thrum__list_remove(&waiter->link);
	thrum__unlock(&pollable->lock);
	if (won)
		thrum__wait_wake(&waiter->wait);
}

/*
 * Not registered, as the pollable was opened, or its runtime has ended, elsewhere. 0: it is now,
 * or a wait was done.
 */
static int register_late(
	struct thrum__pollable *pollable, bool *waited, int events, thrum_deadline deadline)
{
	struct thrum__reactor *reactor = thrum__reactor_home();
	*waited = reactor == NULL;
	if (reactor != NULL)
		return attach(pollable, reactor);
	if (thrum_self() != NULL && deadline != THRUM_NOW) /* a fork's child, which may not wait */
		return thrum_sleep_until(deadline);
	return poll_fd(pollable->fd, events, deadline);
}

static int finish_wait(struct thrum__pollable *pollable, struct waiter *waiter, const char *reason,
	thrum_deadline deadline)
{
	int result = thrum__wait_park(&waiter->wait, reason, deadline);
	if (result < 0) {
		thrum__lock(&pollable->lock);
		thrum__list_remove(&waiter->link);
		thrum__unlock(&pollable->lock);
		return result;
	}
	return result == CLAIM_READY ? 0 : THRUM_ECLOSED;
}

int thrum__pollable_wait(
	struct thrum__pollable *pollable, int events, const char *reason, thrum_deadline deadline)
{
	ASSERT(events == THRUM__READABLE || events == THRUM__WRITABLE);
	struct direction *dir = &pollable->dir[events == THRUM__WRITABLE];
	for (;;) {
		struct waiter waiter = {0};
		thrum__wait_init(&waiter.wait);
		enum begun begun = enqueue(pollable, dir, &waiter);
		if (begun == OVER)
			return 0;
		if (begun == CLOSED)
			return THRUM_ECLOSED;
		if (begun == ENQUEUED)
			return finish_wait(pollable, &waiter, reason, deadline);
		if (begun == ENQUEUED_CHECK) {
			if (poll_fd(pollable->fd, events, THRUM_NOW) == 0)
				claim_self(pollable, &waiter);
			return finish_wait(pollable, &waiter, reason, deadline);
		}
		bool waited;
		int err = register_late(pollable, &waited, events, deadline);
		if (err != 0 || waited)
			return err;
	}
}
