/* SPDX-License-Identifier: MIT */
#include "sched/deque.h"

#include <errno.h>

#include "sched/fence.h"

/*
 * The deque of Chase and Lev (SPAA 2005), in the C11 form of Lê, Pop, Cohen and Zappa Nardelli
 * (PPoPP 2013), with what later turned out to be wrong in that paper put right.
 *
 *         top                    bottom
 *          v                       v
 *   [ .. ][ a ][ b ][ c ][ .. ][ .. ]     indices grow for ever; slot = index & mask
 *     thieves ->      <- owner
 *
 * Protocol
 *   push   slot[bottom] = item; bottom++ (release)
 *   take   bottom--; FENCE; read top; more than one left: mine. Exactly one: whoever advances top
 *          has it.
 *   shift  what steal does, by the owner, who knows bottom and the array without a FENCE.
 *   steal  read top; FENCE; read bottom; read the item; advance top by compare-and-swap, else it
 *          was not mine.
 *
 * Invariants
 *   [I1] Items live in [top, bottom); every index in it is in the current array.
 *   [I2] top only grows, by one, by a successful compare-and-swap; each index is won once.
 *   [I3] An array, once published, keeps the items of its window until the deque ends, so a thief
 *        that still holds an old one reads the right item or fails its compare-and-swap.
 *
 * Memory order
 *   bottom  push's release store -> steal's acquire load: item and slot are visible.
 *   array   grow's release store -> steal's acquire load: the new slots are visible.
 *   top     steal's seq_cst swap -> push's acquire load (make_room): a slot is reused only after
 *           its thief has read it. seen_top spares most of these loads: an old value only makes
 *           the deque look fuller.
 *   FENCE   in take and in steal: of an owner and a thief that want the same last item, at least
 *           one sees the other.
 *
 * Errata kept in mind: push reloads the array after growing; indices are signed 64-bit, because
 * bottom - 1 of a fresh deque is -1; the thief's array load is an acquire; slots are atomics.
 *
 * Rejected: stealing half with one compare-and-swap (the owner takes from the bottom without one,
 * so the two would overlap); a fixed ring with overflow elsewhere (cheaper to reason about, but a
 * thread that spawns thousands is the normal case here); reclaiming old arrays early (they add up
 * to less than the current one).
 *
 * Tests: a model for one thread; an owner against thieves that count every item once, from
 * capacity 4.
 */

struct thrum__deque_array {
	struct thrum__deque_array *previous; /* retired, kept for [I3] */
	int64_t mask;
	void *slots[]; /* atomic */
};

static struct thrum__deque_array *array_create(int64_t capacity)
{
	struct thrum__deque_array *array =
		malloc(sizeof(*array) + (size_t)capacity * sizeof(array->slots[0]));
	if (array != NULL) {
		array->previous = NULL;
		array->mask = capacity - 1;
	}
	return array;
}

static void *slot_get(struct thrum__deque_array *array, int64_t index)
{
	return __atomic_load_n(&array->slots[index & array->mask], __ATOMIC_RELAXED);
}

static void slot_set(struct thrum__deque_array *array, int64_t index, void *item)
{
	__atomic_store_n(&array->slots[index & array->mask], item, __ATOMIC_RELAXED);
}

int thrum__deque_init(struct thrum__deque *deque, size_t capacity, bool alone)
{
	CHECK(capacity > 0 && (capacity & (capacity - 1)) == 0);
	*deque = (struct thrum__deque){.array = array_create((int64_t)capacity), .alone = alone};
	return deque->array == NULL ? -ENOMEM : 0;
}

void thrum__deque_fini(struct thrum__deque *deque)
{
	while (deque->array != NULL) {
		struct thrum__deque_array *array = deque->array;
		deque->array = array->previous;
		free(array);
	}
}

/* Publishes an array of twice the size with the items of [top, bottom). False: out of memory. */
static bool grow(struct thrum__deque *deque, int64_t top, int64_t bottom)
{
	struct thrum__deque_array *old = deque->array;
	struct thrum__deque_array *array = array_create(2 * (old->mask + 1));
	if (array == NULL)
		return false;
	array->previous = old;
	for (int64_t i = top; i < bottom; i++)
		slot_set(array, i, slot_get(old, i));
	__atomic_store_n(&deque->array, array, __ATOMIC_RELEASE);
	return true;
}

/* Looks at top, if it has not advanced far enough when last seen, and grows. */
static bool make_room(struct thrum__deque *deque, int64_t bottom)
{
	deque->seen_top = __atomic_load_n(&deque->top, __ATOMIC_ACQUIRE);
	return bottom - deque->seen_top <= deque->array->mask ||
	       grow(deque, deque->seen_top, bottom);
}

bool thrum__deque_push(struct thrum__deque *deque, void *item)
{
	int64_t bottom = __atomic_load_n(&deque->bottom, __ATOMIC_RELAXED);
	if (thrum__unlikely(bottom - deque->seen_top > deque->array->mask) &&
		!make_room(deque, bottom))
		return false;
	slot_set(deque->array, bottom, item);
	__atomic_store_n(&deque->bottom, bottom + 1, __ATOMIC_RELEASE);
	return true;
}

void *thrum__deque_take(struct thrum__deque *deque)
{
	int64_t bottom = __atomic_load_n(&deque->bottom, __ATOMIC_RELAXED) - 1;
	/*
	 * Only thieves change top, and they only advance it: empty now means empty without the
	 * fence, too.
	 */
	if (__atomic_load_n(&deque->top, __ATOMIC_RELAXED) > bottom)
		return NULL;
	if (deque->alone) {
		__atomic_store_n(&deque->bottom, bottom, __ATOMIC_RELAXED);
		return slot_get(deque->array, bottom);
	}
	__atomic_store_n(&deque->bottom, bottom, __ATOMIC_RELAXED);
	thrum__full_fence();
	int64_t top = __atomic_load_n(&deque->top, __ATOMIC_ACQUIRE);
	deque->seen_top = top;
	void *item = NULL;
	if (top <= bottom)
		item = slot_get(deque->array, bottom);
	if (top < bottom)
		return item;
	if (top == bottom && !__atomic_compare_exchange_n(&deque->top, &top, top + 1, false,
				     __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		item = NULL;
	__atomic_store_n(&deque->bottom, bottom + 1, __ATOMIC_RELAXED);
	return item;
}

void *thrum__deque_peek(const struct thrum__deque *deque)
{
	int64_t bottom = __atomic_load_n(&deque->bottom, __ATOMIC_RELAXED);
	if (__atomic_load_n(&deque->top, __ATOMIC_RELAXED) >= bottom)
		return NULL;
	return slot_get(deque->array, bottom - 1);
}

void *thrum__deque_ahead(const struct thrum__deque *deque, int64_t ahead)
{
	int64_t top = __atomic_load_n(&deque->top, __ATOMIC_RELAXED) + ahead;
	if (top >= __atomic_load_n(&deque->bottom, __ATOMIC_RELAXED))
		return NULL;
	return slot_get(deque->array, top);
}

/*
 * A thief that is never late: bottom and array are the owner's own, so no barrier is needed to read
 * them, and the compare-and-swap alone decides between it and the thieves.
 */
void *thrum__deque_shift(struct thrum__deque *deque)
{
	int64_t bottom = __atomic_load_n(&deque->bottom, __ATOMIC_RELAXED);
	int64_t top = __atomic_load_n(&deque->top, __ATOMIC_ACQUIRE);
	deque->seen_top = top;
	while (top < bottom) {
		void *item = slot_get(deque->array, top);
		if (deque->alone) {
			__atomic_store_n(&deque->top, top + 1, __ATOMIC_RELAXED);
			return item;
		}
		if (__atomic_compare_exchange_n(
			    &deque->top, &top, top + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
			return item;
	}
	return NULL;
}

void *thrum__deque_steal(struct thrum__deque *deque, bool *lost)
{
	int64_t top = __atomic_load_n(&deque->top, __ATOMIC_ACQUIRE);
	thrum__full_fence();
	int64_t bottom = __atomic_load_n(&deque->bottom, __ATOMIC_ACQUIRE);
	if (top >= bottom)
		return NULL;
	struct thrum__deque_array *array = __atomic_load_n(&deque->array, __ATOMIC_ACQUIRE);
	void *item = slot_get(array, top);
	if (__atomic_compare_exchange_n(
		    &deque->top, &top, top + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return item;
	*lost = true;
	return NULL;
}
