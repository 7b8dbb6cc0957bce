/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject_wait.h"

/* Of what is not asked for, but there. */
#define thrum_self()    NULL
#define thrum_after(ns) (ns)

#include "sched/wait.c"
#include "time/timer.c"

static bool park_word(struct thrum__parker *parker)
{
	return thrum__parker_park(parker);
}

static bool signal_word(struct thrum__parker *parker, uint32_t bit)
{
	return thrum__parker_signal(parker, bit);
}

static struct wait_subject variant = {.init = thrum__wait_init,
	.claim = thrum__wait_claim,
	.wake = thrum__wait_wake,
	.park = thrum__wait_park,
	.park_word = park_word,
	.signal = signal_word,
	.fire = thrum__timers_fire};
SUBJECT_REGISTER(variant)
