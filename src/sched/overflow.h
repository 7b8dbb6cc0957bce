/* SPDX-License-Identifier: MIT */
#ifndef THRUM_SCHED_OVERFLOW_H
#define THRUM_SCHED_OVERFLOW_H

/*
 * Reports a green thread that has run into the guard of its stack, in one line on standard error,
 * before the process dies of it.
 */

/*
 * Puts the process's handler for SIGSEGV and SIGBUS in front of those that are there. The first
 * call counts, the others do nothing. Any thread.
 */
void thrum__overflow_init(void);

/*
 * Gives the calling OS thread an alternate signal stack, unless it has one; thrum__overflow_init is
 * called on the way. Without memory for it there will be no report. disarm takes it away again.
 */
void thrum__overflow_arm(void);
void thrum__overflow_disarm(void);

#endif
