/* SPDX-License-Identifier: MIT */
#include <thrum/thread.h>

#include <errno.h>
#include <sched.h>

#include "sched/fence.h"
#include "sched/sched_internal.h"

/*
 * One runtime from thrum_run to its return.
 *
 * Ending, in this order: the first thread returns -> stopping: spawn refuses, all threads are
 * cancelled -> the last thread ends -> done: every machine leaves its loop -> machines and monitor
 * are joined -> visitors == 0: no foreign thread is still inside a wake -> everything is freed.
 *
 * When is the last thread gone?  Each processor counts births and ends plainly, so that neither
 * costs an atomic. check_end sums the ends first and the births after: equal sums mean that at some
 * moment in between nobody was alive, and then nobody can have been born since. While stopping,
 * each end checks; an end that did not see `stopping` yet may also not be seen by the check of the
 * first one, and a spawn that did not see it may escape the cancelling: the monitor, which keeps
 * ticking while a runtime stops, repeats both.
 */

enum { MAX_WORKERS = 1024, DEQUE_CAPACITY = 256, DETACHED_MAX = 256 };

#define SHUTDOWN_REPORT (2 * THRUM_S)

void thrum__runtime_stop(struct thrum__runtime *runtime)
{
	__atomic_store_n(&runtime->stopping, true, __ATOMIC_RELEASE);
	thrum__full_fence();
	thrum__thread_cancel_all(runtime);
	thrum__monitor_wake(runtime);
}

static void finish(struct thrum__runtime *runtime)
{
	if (__atomic_exchange_n(&runtime->done, true, __ATOMIC_ACQ_REL))
		return;
	for (unsigned i = 0; i < runtime->count; i++)
		thrum__driver_wake(runtime->processors[i].driver);
	thrum__machines_finish(runtime);
}

void thrum__runtime_check_end(struct thrum__runtime *runtime)
{
	uint64_t alive = 0;
	thrum__full_fence();
	for (unsigned i = 0; i < runtime->count; i++)
		alive -= __atomic_load_n(&runtime->processors[i].ended, __ATOMIC_ACQUIRE);
	alive -= __atomic_load_n(&runtime->foreign_ended, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < runtime->count; i++)
		alive += __atomic_load_n(&runtime->processors[i].born, __ATOMIC_ACQUIRE);
	alive += __atomic_load_n(&runtime->foreign_born, __ATOMIC_ACQUIRE);
	if (alive == 0)
		finish(runtime);
}

static uint64_t counter(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

struct thrum__counters thrum__runtime_counters(const struct thrum__runtime *runtime)
{
	struct thrum__counters sum = {
		.handoffs = counter(&runtime->handed.handoffs),
		.capped = counter(&runtime->handed.capped),
		.rejoined_old = counter(&runtime->handed.rejoined_old),
		.rejoined_idle = counter(&runtime->handed.rejoined_idle),
		.rejoined_inject = counter(&runtime->handed.rejoined_inject),
	};
	for (unsigned i = 0; i < runtime->count; i++) {
		const struct thrum__counters *one = &runtime->processors[i].counters;
		sum.dispatches += counter(&one->dispatches);
		sum.polls += counter(&one->polls);
		sum.sleeps += counter(&one->sleeps);
		sum.steals += counter(&one->steals);
	}
	return sum;
}

/* ---------------------------------------------------------------- setting up and taking down */

static int processor_init(struct thrum__runtime *runtime, unsigned index)
{
	struct thrum__processor *processor = &runtime->processors[index];
	processor->runtime = runtime;
	processor->index = index;
	processor->next_timer = INT64_MAX;
	thrum__random_bytes(&processor->random, sizeof(processor->random));
	processor->alone = runtime->count == 1;
	processor->countdown = 1;
	processor->oldest = -1;
	int err = thrum__deque_init(&processor->deque, DEQUE_CAPACITY, runtime->count == 1);
	if (err == 0)
		err = thrum__deque_init(&processor->inbox, DEQUE_CAPACITY, runtime->count == 1);
	if (err == 0)
		err = thrum__driver_open(&processor->driver);
	return err;
}

static void processor_fini(struct thrum__processor *processor)
{
	if (processor->driver != NULL)
		thrum__driver_close(processor->driver);
	thrum__deque_fini(&processor->deque);
	thrum__deque_fini(&processor->inbox);
	thrum__thread_cache_fini(processor);
	thrum__stack_cache_fini(&processor->stacks);
	thrum__census_fini(&processor->census);
}

static void runtime_destroy(struct thrum__runtime *runtime)
{
	for (unsigned i = 0; runtime->processors != NULL && i < runtime->count; i++)
		processor_fini(&runtime->processors[i]);
	free(runtime->processors);
	while (runtime->machines != NULL) {
		struct thrum__machine *machine = runtime->machines;
		runtime->machines = machine->all;
		free(machine);
	}
	free(runtime);
}

static void *aligned_zeroed(size_t size)
{
	size = (size + THRUM__CACHELINE - 1) & ~(size_t)(THRUM__CACHELINE - 1);
	void *memory = aligned_alloc(THRUM__CACHELINE, size);
	return memory == NULL ? NULL : memset(memory, 0, size);
}

static int runtime_create(const struct thrum_config *config, struct thrum__runtime **out)
{
	struct thrum__runtime *runtime = aligned_zeroed(sizeof(*runtime));
	if (runtime == NULL)
		return -ENOMEM;
	int err = -ENOMEM;
	const char *migrate = secure_getenv("THRUM_DEBUG_MIGRATE");
	runtime->migrate = migrate != NULL && migrate[0] == '1';
	runtime->fenced = thrum__membarrier_init() ? 0 : THRUM__CLAIM_FENCED;
	runtime->count = config->workers != 0 ? config->workers : thrum__cpu_count();
	if (runtime->count > MAX_WORKERS)
		runtime->count = MAX_WORKERS;
	runtime->detached_max = config->detached_max != 0 ? config->detached_max : DETACHED_MAX;
	runtime->shutdown_report =
		config->shutdown_report != 0 ? config->shutdown_report : SHUTDOWN_REPORT;
	runtime->stack_log2 = (uint8_t)__builtin_ctzll(thrum__stack_size(config->stack_size));
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &runtime->signals) == 0);
	runtime->processors = aligned_zeroed(runtime->count * sizeof(runtime->processors[0]));
	if (runtime->processors == NULL)
		goto destroy;
	for (unsigned i = 0; i < runtime->count; i++) {
		err = processor_init(runtime, i);
		if (err != 0)
			goto destroy;
	}
	*out = runtime;
	return 0;

destroy:
	runtime_destroy(runtime);
	return err;
}

static void join_machines(struct thrum__runtime *runtime)
{
	for (struct thrum__machine *machine = runtime->machines; machine != NULL;
		machine = machine->all)
		if (!machine->caller)
			CHECK(pthread_join(machine->os_thread, NULL) == 0);
	while (__atomic_load_n(&runtime->visitors, __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

/* A machine for each processor; the first one is the caller's. On failure none is running. */
static int start_machines(struct thrum__runtime *runtime, struct thrum__machine **caller)
{
	for (unsigned i = 0; i < runtime->count; i++) {
		struct thrum__machine *machine = thrum__machine_create(runtime, i > 0);
		if (machine == NULL)
			goto stop;
		if (i == 0)
			*caller = machine;
		thrum__machine_give(machine, &runtime->processors[i]);
	}
	if (thrum__monitor_start(runtime) == 0)
		return 0;
stop:
	finish(runtime);
	join_machines(runtime);
	return -EAGAIN;
}

static bool config_valid(const struct thrum_config *config)
{
	for (size_t i = 0; i < thrum__countof(config->reserved_); i++)
		if (config->reserved_[i] != 0)
			return false;
	return config->workers <= MAX_WORKERS && thrum__stack_size(config->stack_size) != 0;
}

int thrum_run(const struct thrum_config *config, thrum_fn fn, void *arg, void **result)
{
	static const struct thrum_config defaults;
	if (config == NULL)
		config = &defaults;
	if (thrum__machine_self() != NULL)
		return -EDEADLK;
	if (!config_valid(config))
		return -EINVAL;
	thrum__fork_init();
	struct thrum__runtime *runtime;
	int err = runtime_create(config, &runtime);
	if (err != 0)
		return err;

	err = -ENOMEM;
	struct thrum_attr attr = {.name = "main"};
	struct thrum_thread *first = thrum__thread_create(
		runtime, &runtime->processors[0], fn, arg, &attr, "thrum_run", false);
	if (first == NULL)
		goto destroy;
	runtime->first = first;
	struct thrum__machine *caller = NULL;
	err = start_machines(runtime, &caller);
	if (err != 0)
		goto unref_first;

	thrum__ready_inject(runtime, first);
	thrum__machine_run(caller);
	thrum__monitor_join(runtime);
	join_machines(runtime);
	if (result != NULL)
		*result = first->arg;
	thrum__thread_unref(first);
	runtime_destroy(runtime);
	return 0;

unref_first:
	thrum__thread_unref(first);
destroy:
	runtime_destroy(runtime);
	return err;
}
