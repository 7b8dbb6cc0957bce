/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_QUEUE_H
#define THRUM_TEST_EXPLORE_SUBJECT_QUEUE_H

#include "sched/sched_internal.h"
#include "subject.h"

/* sched/queue.c as it is, or with one thing changed. */
struct queue_subject {
	struct subject subject;
	uint32_t (*push)(struct thrum__queue *queue, struct thrum_thread *thread);
	struct thrum_thread *(*pop)(struct thrum__queue *queue);
	struct thrum_thread *(*take)(struct thrum__queue *queue, uint32_t count);
};

#endif
