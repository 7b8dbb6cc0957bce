/* SPDX-License-Identifier: MIT */
#ifndef TEST_IO_GREEN_H
#define TEST_IO_GREEN_H

/*
 * Green threads must not fail a Check assertion (it longjmps or exits from under the runtime): they
 * REQUIRE, which remembers the first failure, and the test's own stack asserts once thrum_run is
 * over.
 */

#include <check.h>
#include <pthread.h>
#include <stdio.h>

#include "base/base.h"
#include <thrum/thread.h>

static char green_failure[512];
static uint32_t green_failed; /* atomic */

static inline void green_record(const char *file, int line, const char *what, long long got)
{
	if (__atomic_exchange_n(&green_failed, 1, __ATOMIC_ACQ_REL) == 0)
		snprintf(green_failure, sizeof(green_failure), "%s:%d: %s, got %lld (%s)", file,
			line, what, got, got < 0 ? thrum_errname((int)got) : "-");
}

#define REQUIRE(expr) ((expr) ? (void)0 : green_record(__FILE__, __LINE__, #expr, 0))

#define REQUIRE_EQ(call, expected)                                                      \
	do {                                                                            \
		long long got_ = (long long)(call);                                     \
		if (got_ != (long long)(expected))                                      \
			green_record(__FILE__, __LINE__, #call " == " #expected, got_); \
	} while (0)

static const unsigned green_workers[] = {1, 2, 8};

/* Runs fn(arg) in a runtime of so many workers and fails the test if anything in it did not hold.
 */
static inline void green_run(unsigned workers, thrum_fn fn, const void *arg)
{
	struct thrum_config config = {.workers = workers};
	green_failed = 0;
	int r = thrum_run(&config, fn, (void *)(uintptr_t)arg, NULL);
	ck_assert_int_eq(r, 0);
	if (green_failed)
		ck_abort_msg("with %u workers: %s", workers, green_failure);
}

static inline struct thrum_thread *green_spawn(thrum_fn fn, void *arg)
{
	struct thrum_thread *thread = NULL;
	REQUIRE_EQ(thrum_spawn(&thread, fn, arg), 0);
	return thread;
}

static inline void green_join(struct thrum_thread *thread)
{
	if (thread != NULL)
		REQUIRE_EQ(thrum_join(thread, NULL, THRUM_FOREVER), 0);
}

/* Waits until so many calls are inside an object; refs: its count, which its owner is one of. */
static inline void green_until_inside(const uint32_t *refs, uint32_t calls)
{
	while (__atomic_load_n(refs, __ATOMIC_ACQUIRE) < calls + 1)
		thrum_yield();
}

/* What a test waits for ends within this, or the test fails. */
#define GREEN_SOON thrum_after(20 * THRUM_S)

#endif
