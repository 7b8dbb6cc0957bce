/* SPDX-License-Identifier: MIT */
#include "time/timer.h"

#include "base/base.h"

/*
 * A pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): a tree in which no child is earlier
 * than its parent. Adding melds with the root; removing melds the children, pairwise from the
 * left, then from the right.
 *
 * Rejected: a binary or 4-ary heap in an array. It compares faster, but it must grow, so that a
 * wait with a deadline could fail for want of memory; and it writes an index into every timer it
 * moves, a cache miss each, where most deadlines are added and removed again without ever being
 * near the root: here that is O(1) and touches three nodes.
 *
 * Invariants
 *   [I1] A node's when is not before its parent's.
 *   [I2] armed <=> in the heap.
 *   [I3] root->next == root->prev == NULL.
 */

/*
 * Makes the later of two roots the first child of the earlier one; returns that. Ties keep a on
 * top.
 */
static struct thrum__timer *meld(struct thrum__timer *a, struct thrum__timer *b)
{
	if (b->when < a->when) {
		struct thrum__timer *swap = a;
		a = b;
		b = swap;
	}
	b->prev = a;
	b->next = a->child;
	if (a->child != NULL)
		a->child->prev = b;
	a->child = b;
	return a;
}

/* Melds a list of siblings into one root; NULL for none. */
static struct thrum__timer *meld_siblings(struct thrum__timer *first)
{
	struct thrum__timer *pairs = NULL; /* melded pairs, last one first, linked by next */
	while (first != NULL) {
		struct thrum__timer *a = first, *b = a->next;
		first = b == NULL ? NULL : b->next;
		a->next = a->prev = NULL;
		if (b != NULL) {
			b->next = b->prev = NULL;
			a = meld(a, b);
		}
		a->next = pairs;
		pairs = a;
	}
	struct thrum__timer *root = NULL;
	while (pairs != NULL) {
		struct thrum__timer *pair = pairs;
		pairs = pair->next;
		pair->next = NULL;
		root = root == NULL ? pair : meld(pair, root);
	}
	return root;
}

void thrum__timer_add(struct thrum__timer_heap *heap, struct thrum__timer *timer)
{
	ASSERT(!timer->armed);
	timer->child = timer->next = timer->prev = NULL;
	timer->armed = true;
	heap->root = heap->root == NULL ? timer : meld(heap->root, timer);
}

void thrum__timer_remove(struct thrum__timer_heap *heap, struct thrum__timer *timer)
{
	if (!timer->armed)
		return;
	struct thrum__timer *below = meld_siblings(timer->child);
	if (timer == heap->root) {
		heap->root = below;
	} else {
		if (timer->prev->child == timer)
			timer->prev->child = timer->next;
		else
			timer->prev->next = timer->next;
		if (timer->next != NULL)
			timer->next->prev = timer->prev;
		if (below != NULL)
			heap->root = meld(heap->root, below);
	}
	timer->child = timer->next = timer->prev = NULL;
	timer->armed = false;
}

struct thrum__timer *thrum__timer_pop_due(struct thrum__timer_heap *heap, int64_t now)
{
	struct thrum__timer *timer = heap->root;
	if (timer == NULL || timer->when > now)
		return NULL;
	thrum__timer_remove(heap, timer);
	return timer;
}
