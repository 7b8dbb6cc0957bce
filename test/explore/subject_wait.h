/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_WAIT_H
#define THRUM_TEST_EXPLORE_SUBJECT_WAIT_H

/*
 * sched/wait.c as it is, or with one thing changed. What it asks of machines, the run queues and
 * the clock is played by test_wait.c, under names of its own.
 */
#define thrum__machine_self     stage_machine
#define thrum__suspend          stage_suspend
#define thrum__enter_slow       stage_enter_slow
#define thrum__claim_enter_slow stage_claim_enter_slow
#define thrum__ready            stage_ready
#define thrum_now               stage_now

#include "sched/sched_internal.h"
#include "subject.h"

thrum_deadline stage_now(void);

struct wait_subject {
	struct subject subject;
	void (*init)(struct thrum__wait *wait);
	bool (*claim)(struct thrum__wait *wait, uint32_t value);
	void (*wake)(struct thrum__wait *wait);
	int (*park)(struct thrum__wait *wait, const char *reason, thrum_deadline deadline);
	bool (*park_word)(struct thrum__parker *parker);
	bool (*signal)(struct thrum__parker *parker, uint32_t bit);
	void (*fire)(struct thrum__processor *processor);
};

#endif
