/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject.h"

#include "sched/queue.c"

#include "subject_queue.h"

static struct queue_subject variant = {
	.push = thrum__queue_push, .pop = thrum__queue_pop, .take = thrum__queue_take};
SUBJECT_REGISTER(variant)
