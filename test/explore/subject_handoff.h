/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_HANDOFF_H
#define THRUM_TEST_EXPLORE_SUBJECT_HANDOFF_H

/*
 * Which machine has which processor: claim, handoff and idle of sched as they are, or with one
 * thing changed. Dispatching is played by test_handoff.c, under names of its own.
 */
#define thrum__driver_wake  handoff_wake
#define thrum__ready_inject handoff_inject
#define thrum__enter_slow   handoff_enter_slow
#define thrum_now           handoff_now

#include "sched/sched_internal.h"
#include "subject.h"

thrum_deadline handoff_now(void);

struct handoff_subject {
	struct subject subject;
	bool (*enter)(struct thrum__machine *machine);
	void (*leave)(struct thrum__machine *machine);
	bool (*wait)(struct thrum__machine *machine);
	struct thrum__machine *(*spare_take)(struct thrum__runtime *runtime);
	void (*spare_put)(struct thrum__machine *machine);
	bool (*handoff)(struct thrum__processor *processor, struct thrum__machine *from,
		struct thrum__machine *to);
	void (*rejoin)(struct thrum__machine *machine, struct thrum_thread *thread);
	void (*finish)(struct thrum__runtime *runtime);
	void (*idle_enter)(struct thrum__idlers *idlers, struct thrum__idler *idler);
	bool (*idle_leave)(struct thrum__idlers *idlers, struct thrum__idler *idler, bool saw_work);
	bool (*search_stop)(struct thrum__idlers *idlers, bool found);
	struct thrum_thread *(*take)(struct thrum__queue *queue, uint32_t count);
	uint32_t (*push)(struct thrum__queue *queue, struct thrum_thread *thread);
	struct thrum__idler *(*call_any)(struct thrum__idlers *idlers);
};

#endif
