/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject.h"

#include "sched/idle.c"

#include "subject_idle.h"

static struct idle_subject variant = {.call_any = thrum__idlers_call,
	.call = thrum__idler_call,
	.enter = thrum__idler_enter,
	.leave = thrum__idler_leave,
	.search_start = thrum__search_start,
	.search_stop = thrum__search_stop};
SUBJECT_REGISTER(variant)
