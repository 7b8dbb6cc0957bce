/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TIMER_H
#define THRUM_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A heap of timers, earliest first. Pure: it knows no clock and takes no lock, and it never
 * allocates, because the nodes are the timers themselves. All-zero is an empty heap and an idle
 * timer.
 */
struct thrum__timer {
	int64_t when;
	struct thrum__timer *child; /* first child */
	struct thrum__timer *next;  /* next sibling */
	struct thrum__timer *prev;  /* previous sibling, or the parent of a first child */
	bool armed;
};

struct thrum__timer_heap {
	struct thrum__timer *root;
};

/* Adds an idle timer; its when is set and stays. O(1). */
void thrum__timer_add(struct thrum__timer_heap *heap, struct thrum__timer *timer);

/* Takes a timer out; does nothing if it is idle. O(log n) amortised, O(1) for most. */
void thrum__timer_remove(struct thrum__timer_heap *heap, struct thrum__timer *timer);

/* Takes out and returns a timer with the least when, if that is <= now; else NULL. */
struct thrum__timer *thrum__timer_pop_due(struct thrum__timer_heap *heap, int64_t now);

/* The least when, or INT64_MAX. */
static inline int64_t thrum__timer_next(const struct thrum__timer_heap *heap)
{
	return heap->root == NULL ? INT64_MAX : heap->root->when;
}

#endif
