/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "memory.h"

/* What the source under test does to memory, one step each. memory.c says what may come of it. */

static struct {
	struct view view;
	uint64_t history; /* a sum: the order of fences among themselves does not matter */
} fences;                 /* all seq_cst ones so far */

void fence_reset(void)
{
	fences.view = (struct view){0};
	fences.history = 0;
}

static uint64_t clipped(uint64_t value, unsigned size)
{
	return size == 8 ? value : value & ((UINT64_C(1) << (8 * size)) - 1);
}

static uint64_t combine(enum explore_rmw op, uint64_t old, uint64_t operand)
{
	switch (op) {
	case EXPLORE_ADD:
		return old + operand;
	case EXPLORE_SUB:
		return old - operand;
	case EXPLORE_OR:
		return old | operand;
	case EXPLORE_AND:
		return old & operand;
	case EXPLORE_XCHG:
		break;
	}
	return operand;
}

/* ---------------------------------------------------------------- operations */

static bool acquires(int order)
{
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_ACQ_REL ||
	       order == __ATOMIC_SEQ_CST || order == __ATOMIC_CONSUME;
}

static bool releases(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

/* The running thread, about to do a step of its own at this location. */
static struct location *step(const void *address, unsigned size)
{
	struct virtual *self = engine_current();
	engine_yield();
	self->now.at[explore_self()]++;
	race_check_atomic(address);
	struct location *location = memory_locate(address, size);
	memory_reconcile(location);
	return location;
}

static uint64_t take_in(struct location *location, int index, int order)
{
	struct virtual *self = engine_current();
	const struct message *message = memory_message(location, index);
	self->now.at[memory_view_index(location)] = (int16_t)index;
	view_join(&self->glimpsed, &message->view);
	if (acquires(order))
		view_join(&self->now, &message->view);
	engine_note((uintptr_t)location->address, (uint64_t)index);
	memory_glance(self, location, index);
	return message->value;
}

/* A store, or (whole) the storing half of a read-modify-write, which nothing can come between. */
static void put_out(struct location *location, uint64_t value, int order, bool whole)
{
	struct virtual *self = engine_current();
	int16_t author = (int16_t)explore_self();
	const struct message *before = memory_newest(location);
	struct view carried = releases(order) ? self->now : self->announced;
	bool sequel = whole || before->head == author;
	if (sequel)
		view_join(&carried, &before->view);
	int16_t head = releases(order) ? author : sequel ? before->head : -1;
	memory_publish(location, clipped(value, location->size), &carried)->head = head;
	memory_glance(self, location, location->count - 1); /* no change by another */
	if (order == __ATOMIC_SEQ_CST)
		location->strongest = (int16_t)(location->count - 1);
}

static const char *order_name(int order)
{
	static const char *const names[] = {
		"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};
	return names[order];
}

static int oldest_visible(const struct location *location, int order)
{
	int known = engine_current()->now.at[memory_view_index(location)];
	return order == __ATOMIC_SEQ_CST && location->strongest > known ? location->strongest
									: known;
}

uint64_t explore_load(const void *address, unsigned size, int order)
{
	if (engine_current() == NULL)
		return memory_peek(address, size);
	struct location *location = step(address, size);
	int last = location->count - 1;
	int back = (int)search_choose(
		CHOOSE_MESSAGE, (unsigned)(last - oldest_visible(location, order) + 1));
	uint64_t value = take_in(location, last - back, order);
	if (report_tracing())
		report_line("load %s: %jd, %s%s", report_name(address), (intmax_t)value,
			order_name(order), back > 0 ? ", not the newest" : "");
	return value;
}

uint32_t atomic_kernel_load(const uint32_t *word)
{
	struct location *location = memory_locate(word, sizeof(*word));
	memory_reconcile(location);
	return (uint32_t)take_in(location, location->count - 1, __ATOMIC_RELAXED);
}

void explore_store(void *address, unsigned size, uint64_t value, int order)
{
	if (engine_current() == NULL) {
		memory_poke(address, size, value);
		return;
	}
	struct location *location = step(address, size);
	put_out(location, value, order, false);
	if (report_tracing())
		report_line("store %s: %jd, %s", report_name(address), (intmax_t)value,
			order_name(order));
}

uint64_t explore_rmw(void *address, unsigned size, enum explore_rmw op, uint64_t operand, int order)
{
	if (engine_current() == NULL) {
		uint64_t old = memory_peek(address, size);
		memory_poke(address, size, combine(op, old, operand));
		return old;
	}
	struct location *location = step(address, size);
	uint64_t old = take_in(location, location->count - 1, order);
	put_out(location, combine(op, old, operand), order, true);
	if (report_tracing())
		report_line("change %s: %jd to %jd, %s", report_name(address), (intmax_t)old,
			(intmax_t)memory_newest(location)->value, order_name(order));
	return old;
}

/* Which message a compare-and-swap reads: the newest, or an older one that it fails on. */
static int cas_choice(const struct location *location, uint64_t wanted, int failure)
{
	int options[36], last = location->count - 1;
	unsigned count = 0;
	options[count++] = last;
	for (int i = last - 1; i >= oldest_visible(location, failure) && count < 35; i--)
		if (memory_message(location, i)->value != wanted)
			options[count++] = i;
	return options[search_choose(CHOOSE_MESSAGE, count)];
}

bool explore_cas(
	void *address, unsigned size, void *expected, uint64_t desired, int success, int failure)
{
	uint64_t wanted = memory_peek(expected, size);
	if (engine_current() == NULL) {
		uint64_t old = memory_peek(address, size);
		memory_poke(
			old == wanted ? address : expected, size, old == wanted ? desired : old);
		return old == wanted;
	}
	struct location *location = step(address, size);
	int index = cas_choice(location, wanted, failure);
	bool equal = memory_message(location, index)->value == wanted;
	uint64_t old = take_in(location, index, equal ? success : failure);
	if (equal)
		put_out(location, desired, success, true);
	else
		memory_poke(expected, size, old);
	if (report_tracing())
		report_line("swap %s: %jd for %jd, %s: %s", report_name(address), (intmax_t)desired,
			(intmax_t)wanted, order_name(success), equal ? "done" : "failed");
	return equal;
}

/* ---------------------------------------------------------------- fences */

static void fence_of(unsigned index)
{
	struct virtual *thread = engine_thread(index);
	thread->now.at[index]++;
	view_join(&thread->now, &thread->glimpsed);
	view_join(&thread->now, &fences.view);
	fences.view = thread->announced = thread->now;
	thread->history = engine_mix(thread->history, fences.history);
	fences.history += thread->history;
}

void explore_fence(int order)
{
	struct virtual *self = engine_current();
	if (self == NULL || order == __ATOMIC_RELAXED)
		return;
	if (order == __ATOMIC_SEQ_CST) {
		engine_yield();
		fence_of(explore_self());
	} else { /* of no consequence to others: no step */
		if (acquires(order))
			view_join(&self->now, &self->glimpsed);
		if (releases(order))
			self->announced = self->now;
	}
	report_line("fence, %s", order_name(order));
}

void explore_membarrier(void)
{
	struct virtual *self = engine_current();
	if (self == NULL)
		return;
	explore_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < engine_threads(); i++) {
		if (engine_thread(i) == self)
			continue;
		engine_yield();
		fence_of(i);
		engine_note(i, fences.history);
		report_line("fence of thread %u", i);
	}
	explore_fence(__ATOMIC_SEQ_CST);
}
