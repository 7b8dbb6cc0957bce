/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_JOIN_H
#define THRUM_TEST_EXPLORE_SUBJECT_JOIN_H

/*
 * How threads end and are joined: spawn.c, thread.c and wait.c of sched as they are, or with one
 * thing changed. Machines, run queues and the clock are played by test_join.c, under names of its
 * own.
 */
#define thrum__machine_self     join_machine_self
#define thrum__suspend          join_suspend
#define thrum__enter_slow       join_enter_slow
#define thrum__claim_enter_slow join_claim_enter_slow
#define thrum__ready            join_ready
#define thrum_now               join_now

#include "sched/sched_internal.h"
#include "subject.h"

thrum_deadline join_now(void);

struct join_subject {
	struct subject subject;
	int (*deque_init)(struct thrum__deque *deque, size_t capacity, bool alone);
	bool (*deque_push)(struct thrum__deque *deque, void *item);
	int (*join)(struct thrum_thread *thread, void **result, thrum_deadline deadline);
	void (*detach)(struct thrum_thread *thread);
	void (*end)(struct thrum__machine *machine, struct thrum_thread *thread);
	void (*end_carried)(struct thrum__machine *machine, struct thrum_thread *thread);
	void (*cancel)(struct thrum_thread *thread);
	void (*cancel_in)(struct thrum_thread *thread, struct thrum__runtime *runtime);
	struct thrum_thread **free_list; /* of the process */
	void (*fire)(struct thrum__processor *processor);
};

#endif
