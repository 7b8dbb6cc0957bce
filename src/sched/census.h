/* SPDX-License-Identifier: MIT */
#ifndef THRUM_SCHED_CENSUS_H
#define THRUM_SCHED_CENSUS_H

#include "base/base.h"
#include "ctx/stack.h"

/*
 * High-water marks of stacks by spawn site: see thrum/stack.h. Each processor counts in a table of
 * its own, that all may read.
 */

struct thrum__census_table;

/* A processor's. All-zero is empty. One user at a time, but for thrum_stack_census. */
struct thrum__census {
	struct thrum__census_table *table;
	void *last; /* row */
	bool off;
};

/*
 * A thread begins to run on this stack, that nobody has touched for it. True: it is to be measured,
 * and thrum__census_end to be called.
 */
bool thrum__census_begin(
	struct thrum__census *census, const char *site, const struct thrum__stack *stack);

/*
 * A thread that was to be measured has left its stack for good. census: that of any processor the
 * caller runs, or NULL.
 */
void thrum__census_end(
	struct thrum__census *census, const char *site, const struct thrum__stack *stack);

/* Around a fork. */
void thrum__census_lock_all(void);
void thrum__census_unlock_all(void);

/* The processor ends; what it counted stays. */
void thrum__census_fini(struct thrum__census *census);

#endif
