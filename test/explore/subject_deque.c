/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject.h"

#include "sched/deque.c"

#include "subject_deque.h"

static struct deque_subject variant = {
	.init = thrum__deque_init,
	.push = thrum__deque_push,
	.peek = thrum__deque_peek,
	.take = thrum__deque_take,
	.shift = thrum__deque_shift,
	.steal = thrum__deque_steal,
};
SUBJECT_REGISTER(variant)
