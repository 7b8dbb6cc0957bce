/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "subject.h"

#define thrum__wait_init       SUBJECT_OWN(wait_init)
#define thrum__wait_claim      SUBJECT_OWN(wait_claim)
#define thrum__wait_wake       SUBJECT_OWN(wait_wake)
#define thrum__wait_park       SUBJECT_OWN(wait_park)
#define thrum__wait_carried    SUBJECT_OWN(wait_carried)
#define thrum__wait_lock_all   SUBJECT_OWN(wait_lock_all)
#define thrum__wait_unlock_all SUBJECT_OWN(wait_unlock_all)
#define thrum__timers_fire     SUBJECT_OWN(timers_fire)
#define thrum__cancel_due      SUBJECT_OWN(cancel_due)
#define thrum_sleep            SUBJECT_OWN(sleep)
#define thrum_sleep_until      SUBJECT_OWN(sleep_until)

#define thrum__timer_add     SUBJECT_OWN(timer_add)
#define thrum__timer_remove  SUBJECT_OWN(timer_remove)
#define thrum__timer_pop_due SUBJECT_OWN(timer_pop_due)

#include "subject_wait.h"

/* Not asked for, but there. */
int thrum_sleep(int64_t ns);
int thrum_sleep_until(thrum_deadline deadline);
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
