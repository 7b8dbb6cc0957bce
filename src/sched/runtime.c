/* SPDX-License-Identifier: MIT */
#include <thrum/thread.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include "sched/fence.h"
#include "sched/sched_internal.h"

/*
 * One runtime from thrum_run to its return.
 *
 * Ending, in this order: the first thread returns -> stopping: spawn refuses, all threads are
 * cancelled -> the last thread ends (live == 0) -> done: every machine leaves its loop ->
 * machines are joined -> visitors == 0: no foreign thread is still inside a wake -> everything is
 * freed.
 */

enum { MAX_WORKERS = 1024, DEQUE_CAPACITY = 256 };

void thrum__runtime_stop(struct thrum__runtime *runtime)
{
	__atomic_store_n(&runtime->stopping, true, __ATOMIC_RELAXED);
	thrum__full_fence();
	thrum__thread_cancel_all(runtime);
}

static void finish(struct thrum__runtime *runtime)
{
	__atomic_store_n(&runtime->done, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < runtime->count; i++)
		thrum__driver_wake(runtime->processors[i].driver);
}

void thrum__runtime_leave(struct thrum__runtime *runtime)
{
	if (__atomic_sub_fetch(&runtime->live, 1, __ATOMIC_ACQ_REL) == 0)
		finish(runtime);
}

struct thrum__counters thrum__runtime_counters(const struct thrum__runtime *runtime)
{
	struct thrum__counters sum = {0};
	for (unsigned i = 0; i < runtime->count; i++) {
		const struct thrum__counters *one = &runtime->processors[i].counters;
		sum.dispatches += __atomic_load_n(&one->dispatches, __ATOMIC_RELAXED);
		sum.polls += __atomic_load_n(&one->polls, __ATOMIC_RELAXED);
		sum.sleeps += __atomic_load_n(&one->sleeps, __ATOMIC_RELAXED);
		sum.steals += __atomic_load_n(&one->steals, __ATOMIC_RELAXED);
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
	int err = thrum__deque_init(&processor->deque, DEQUE_CAPACITY);
	if (err == 0)
		err = thrum__driver_open(&processor->driver);
	return err;
}

static void processor_fini(struct thrum__processor *processor)
{
	if (processor->driver != NULL)
		thrum__driver_close(processor->driver);
	thrum__deque_fini(&processor->deque);
	thrum__stack_cache_fini(&processor->stacks);
	thrum__census_fini(&processor->census);
	thrum__thread_cache_fini(processor);
}

static void runtime_destroy(struct thrum__runtime *runtime)
{
	for (unsigned i = 0; runtime->processors != NULL && i < runtime->count; i++)
		processor_fini(&runtime->processors[i]);
	free(runtime->processors);
	free(runtime->machines);
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
	runtime->count = config->workers != 0 ? config->workers : thrum__cpu_count();
	if (runtime->count > MAX_WORKERS)
		runtime->count = MAX_WORKERS;
	runtime->stack_size = thrum__stack_size(config->stack_size);
	runtime->processors = aligned_zeroed(runtime->count * sizeof(runtime->processors[0]));
	runtime->machines = aligned_zeroed(runtime->count * sizeof(runtime->machines[0]));
	if (runtime->processors == NULL || runtime->machines == NULL)
		goto destroy;
	for (unsigned i = 0; i < runtime->count; i++) {
		runtime->machines[i].processor = &runtime->processors[i];
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

static void *machine_main(void *arg)
{
	struct thrum__machine *machine = arg;
	char name[16];
	snprintf(name, sizeof(name), "thrum-%u", machine->processor->index);
	pthread_setname_np(pthread_self(), name);
	thrum__machine_run(machine);
	return NULL;
}

static void join_machines(struct thrum__runtime *runtime, unsigned count)
{
	for (unsigned i = 1; i < count; i++)
		CHECK(pthread_join(runtime->machines[i].os_thread, NULL) == 0);
	while (__atomic_load_n(&runtime->visitors, __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

/* Starts machines 1.. ; 0 is the caller. On failure none is left. */
static int start_machines(struct thrum__runtime *runtime)
{
	for (unsigned i = 1; i < runtime->count; i++) {
		struct thrum__machine *machine = &runtime->machines[i];
		if (pthread_create(&machine->os_thread, NULL, machine_main, machine) != 0) {
			finish(runtime);
			join_machines(runtime, i);
			return -EAGAIN;
		}
	}
	return 0;
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
	struct thrum__runtime *runtime;
	int err = runtime_create(config, &runtime);
	if (err != 0)
		return err;

	err = -ENOMEM;
	struct thrum_attr attr = {.name = "main"};
	struct thrum_thread *first = thrum__thread_create(
		runtime, &runtime->processors[0], fn, arg, &attr, "thrum_run", 2);
	if (first == NULL)
		goto destroy;
	runtime->first = first;
	runtime->live = 1;
	err = start_machines(runtime);
	if (err != 0)
		goto unref_first;

	thrum__queue_push(&runtime->inject, first);
	thrum__machine_run(&runtime->machines[0]);
	join_machines(runtime, runtime->count);
	if (result != NULL)
		*result = first->result;
	thrum__thread_unref(first);
	runtime_destroy(runtime);
	return 0;

unref_first:
	thrum__thread_unref(first);
	thrum__thread_unref(first);
destroy:
	runtime_destroy(runtime);
	return err;
}
