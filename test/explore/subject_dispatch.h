/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_DISPATCH_H
#define THRUM_TEST_EXPLORE_SUBJECT_DISPATCH_H

/*
 * The dispatcher with all its queues, and how the monitor sleeps, as they are, or with one thing
 * changed. What they ask of drivers, timers, threads and the clock is played by test_dispatch.c,
 * under names of its own.
 */
#define thrum__driver_poll      dispatch_poll
#define thrum__driver_wake      dispatch_wake
#define thrum__timers_fire      dispatch_fire
#define thrum__machine_self     dispatch_machine_self
#define thrum__enter_slow       dispatch_enter_slow
#define thrum__claim_enter_slow dispatch_claim_enter_slow
#define thrum_now               dispatch_now

#include "sched/sched_internal.h"
#include "subject.h"

thrum_deadline dispatch_now(void);

struct dispatch_subject {
	struct subject subject;
	int (*deque_init)(struct thrum__deque *deque, size_t capacity, bool alone);
	struct thrum_thread *(*dispatch)(struct thrum__machine *machine);
	void (*ready)(struct thrum_thread *thread);
	void (*spawned)(struct thrum__processor *processor, struct thrum_thread *thread);
	void (*woken)(struct thrum__processor *processor, struct thrum_thread *thread);
	void (*mail)(struct thrum__processor *processor, struct thrum_thread *thread);
	void (*notify)(struct thrum__runtime *runtime);
	bool (*all_idle)(const struct thrum__runtime *runtime);
	bool (*monitor_sleep)(struct thrum__runtime *runtime, int64_t wait_ns);
	void (*monitor_wake)(struct thrum__runtime *runtime);
};

#endif
