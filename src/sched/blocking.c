/* SPDX-License-Identifier: MIT */
#include <thrum/thread.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "sched/sched_internal.h"

/*
 * OS threads for calls that block. One pool for the process: threads are started on demand up to
 * a cap, wait a few seconds for the next job, and end. Jobs live on the stacks of their waiting
 * green threads.
 *
 * Invariant: a job is queued only while at least one pool thread is alive that will take it. So
 * a thread that has to be started is started before the job is queued, and an idle one leaves only
 * when the queue is empty, under the lock.
 *
 * Pool threads are detached and block all signals but those that a fault raises: handlers run on
 * the program's own threads.
 */

enum { MAX_THREADS = 64, IDLE_SECONDS = 5 };

/* A job that a green thread waits for. */
struct call {
	struct thrum__job job;
	thrum_fn fn;
	void *arg, *result;
	struct thrum__wait wait;
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t more;
	pthread_once_t once;
	struct thrum__list jobs;
	unsigned queued, idle, threads;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static void pool_init(void)
{
	pthread_condattr_t attr;
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&pool.more, &attr) == 0);
	pthread_condattr_destroy(&attr);
}

void thrum__blocking_lock_all(void)
{
	pthread_mutex_lock(&pool.mutex);
}

void thrum__blocking_unlock_all(void)
{
	pthread_mutex_unlock(&pool.mutex);
}

void thrum__blocking_reset(void)
{
	pool.queued = pool.idle = pool.threads = 0;
	pool.jobs = (struct thrum__list){0};
	pool.once = (pthread_once_t)PTHREAD_ONCE_INIT; /* its condition may have had waiters */
}

static void run_call(struct thrum__job *job)
{
	struct call *call = thrum__container_of(job, struct call, job);
	call->result = call->fn(call->arg);
	struct thrum__wait *wait = &call->wait;
	CHECK(thrum__wait_claim(wait, 1)); /* nobody else may end it: see thrum_blocking */
	thrum__wait_wake(wait);
}

/* Waits for a job. NULL: there was none for a while. Under the mutex. */
static struct thrum__job *next_job(void)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	pool.idle++;
	while (pool.queued == 0 && pthread_cond_timedwait(&pool.more, &pool.mutex, &until) == 0)
		;
	pool.idle--;
	if (pool.queued == 0)
		return NULL;
	pool.queued--;
	return thrum__container_of(thrum__list_pop_front(&pool.jobs), struct thrum__job, link);
}

static void *pool_main(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "thrum-blocking");
	pthread_mutex_lock(&pool.mutex);
	for (struct thrum__job *job; (job = next_job()) != NULL;) {
		pthread_mutex_unlock(&pool.mutex);
		job->run(job);
		pthread_mutex_lock(&pool.mutex);
	}
	pool.threads--;
	pthread_mutex_unlock(&pool.mutex);
	return NULL;
}

static int start_thread(void)
{
	sigset_t block, old;
	sigfillset(&block);
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	for (size_t i = 0; i < thrum__countof(faults); i++)
		sigdelset(&block, faults[i]);
	pthread_attr_t attr;
	pthread_t thread;
	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
	pthread_sigmask(SIG_SETMASK, &block, &old);
	int err = pthread_create(&thread, &attr, pool_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

int thrum__job_submit(struct thrum__job *job)
{
	int err = 0;
	CHECK(pthread_once(&pool.once, pool_init) == 0);
	pthread_mutex_lock(&pool.mutex);
	if (pool.idle <= pool.queued && pool.threads < MAX_THREADS) {
		pool.threads++;
		/*
		 * Under the mutex: a thread that fails to start must not have been counted on
		 * meanwhile.
		 */
		if (start_thread() != 0 && --pool.threads == 0)
			err = -EAGAIN;
	}
	if (err == 0) {
		thrum__list_push_back(&pool.jobs, &job->link);
		pool.queued++;
		pthread_cond_signal(&pool.more);
	}
	pthread_mutex_unlock(&pool.mutex);
	return err;
}

int thrum_blocking(thrum_fn fn, void *arg, void **result)
{
	struct call call = {.job.run = run_call, .fn = fn, .arg = arg};
	struct thrum_thread *self = thrum_self();
	if (self == NULL) {
		call.result = fn(arg);
	} else {
		if (self->runtime->forked) /* before the pool gets a thread there, and fn runs */
			thrum__fork_abort(self);
		thrum__wait_init(&call.wait);
		int err = thrum__job_submit(&call.job);
		if (err != 0)
			return err;
		/*
		 * The job is on this stack and runs whatever happens: no deadline, no
		 * cancellation.
		 */
		thrum_shield_begin();
		err = thrum__wait_park(&call.wait, "blocking call", THRUM_FOREVER);
		thrum_shield_end();
		CHECK(err == 1);
	}
	if (result != NULL)
		*result = call.result;
	return 0;
}
