/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject.h"

#define thrum__deque_init  SUBJECT_OWN(deque_init)
#define thrum__deque_peek  SUBJECT_OWN(deque_peek)
#define thrum__deque_ahead SUBJECT_OWN(deque_ahead)
#define thrum__deque_fini  SUBJECT_OWN(deque_fini)
#define thrum__deque_push  SUBJECT_OWN(deque_push)
#define thrum__deque_peek  SUBJECT_OWN(deque_peek)
#define thrum__deque_ahead SUBJECT_OWN(deque_ahead)
#define thrum__deque_take  SUBJECT_OWN(deque_take)
#define thrum__deque_shift SUBJECT_OWN(deque_shift)
#define thrum__deque_steal SUBJECT_OWN(deque_steal)

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
