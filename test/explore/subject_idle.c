/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject.h"

#define thrum__idlers_call  SUBJECT_OWN(idlers_call)
#define thrum__idler_call   SUBJECT_OWN(idler_call)
#define thrum__idler_enter  SUBJECT_OWN(idler_enter)
#define thrum__idler_leave  SUBJECT_OWN(idler_leave)
#define thrum__search_start SUBJECT_OWN(search_start)
#define thrum__search_stop  SUBJECT_OWN(search_stop)

#include "sched/idle.c"

#include "subject_idle.h"

static struct idle_subject variant = {.call_any = thrum__idlers_call,
	.call = thrum__idler_call,
	.enter = thrum__idler_enter,
	.leave = thrum__idler_leave,
	.search_start = thrum__search_start,
	.search_stop = thrum__search_stop};
SUBJECT_REGISTER(variant)
