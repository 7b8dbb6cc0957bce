/* SPDX-License-Identifier: MIT */
#ifndef THRUM_DRIVER_H
#define THRUM_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the scheduler needs from the layer below it, the reactor, which implements these: a place
 * for a processor to sleep in, out of which any thread can call it. One driver per processor.
 */
struct thrum__driver;

/* 0, or a negative errno. */
int thrum__driver_open(struct thrum__driver **out);
void thrum__driver_close(struct thrum__driver *driver);

/*
 * Makes runnable what is ready, by thrum__wait_wake. If nothing is and max_wait_ns is not 0,
 * sleeps until something is, thrum__driver_wake is called, or max_wait_ns have passed (< 0: for
 * ever). May return early. Runs on a scheduler's stack, one caller at a time.
 */
void thrum__driver_poll(struct thrum__driver *driver, int64_t max_wait_ns);

/* Is there anything that a poll could find, now or later? A snapshot. Any thread. */
bool thrum__driver_armed(struct thrum__driver *driver);

/* What all drivers of the process share, around a fork. */
void thrum__driver_lock_all(void);
void thrum__driver_unlock_all(void);

/* Ends the sleep that is going on, or the next one. Any thread. */
void thrum__driver_wake(struct thrum__driver *driver);

/*
 * From the scheduler: the driver of the calling worker's processor, or NULL. Not to be kept
 * across a suspension.
 */
struct thrum__driver *thrum__driver_current(void);

/*
 * The driver with which the calling green thread registers what it will wait for: its processor's,
 * or the last one's that it had, for a detached thread waits like any other. NULL on a plain OS
 * thread and in a fork's child.
 */
struct thrum__driver *thrum__driver_home(void);

#endif
