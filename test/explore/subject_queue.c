/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject.h"

#define thrum__queue_push SUBJECT_OWN(queue_push)
#define thrum__queue_pop  SUBJECT_OWN(queue_pop)
#define thrum__queue_take SUBJECT_OWN(queue_take)

#include "sched/queue.c"

#include "subject_queue.h"

static struct queue_subject variant = {
	.push = thrum__queue_push, .pop = thrum__queue_pop, .take = thrum__queue_take};
SUBJECT_REGISTER(variant)
