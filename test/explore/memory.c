/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include "explore_internal.h"

/*
 * The memory model: what a load may return, after C11 (and what it says of fences since C++20).
 *
 * Each location keeps all that was ever stored in it, as a list of messages; each thread has a
 * view: up to which message of each location it knows. A load may return any message that is not
 * older than the thread's view of that location, which is how a store buffer looks from outside (the
 * others do not see my store yet), and also a late invalidation or a load done early (I do not see
 * yours although it is there). So TSO is contained, and ARM's and POWER's reordering of stores with
 * stores and loads with loads.
 *
 *   store, release   the message carries the storer's view, and so do its relaxed stores to the same
 *                    location after it, until another thread stores there (a release sequence)
 *   store, relaxed   the message carries the view of the storer's last release fence
 *   load, acquire    takes over the message's view
 *   load, relaxed    keeps it aside for the next acquire fence
 *   read-modify-write  reads the newest message; its own carries that one's view too
 *   failed compare   a load, of any message it may see that does not hold what was expected
 *   fence, seq_cst   joins its view with that of all such fences before it, both ways
 *   membarrier       such a fence by the caller, by every other thread (each at a moment of its
 *                    own), and by the caller again
 *
 * A seq_cst load does not go behind the newest seq_cst store of its location. Otherwise seq_cst on
 * an access means acquire and release: C11 promises the relaxed neighbours of such an access no
 * more, so source that leans on x86's locked instructions as barriers is found out.
 *
 * Not modelled. A load that returns a store which comes later in the same execution: hardware does
 * it, though only where no dependency and no barrier orders the two; a thief's item load and its
 * own compare-and-swap are so ordered. And a store that takes its place in the order of its
 * location *before* one that was executed earlier: locations here have one writer, or are written
 * by read-modify-writes, which cannot. A compiler's liberties: see the barriers in the source.
 *
 * The real memory always holds the newest message, so that plain reads by a location's only writer
 * (or under its lock, or after the end) see what they should.
 */

enum { MAX_POOL = 4096, INDEX = 512 };

struct message {
	uint64_t value;
	int16_t author, step; /* who stored it, at which of its steps; author < 0: the setup */
	int16_t head;	      /* who began the release sequence it is in, or < 0 */
	struct view view;
};

struct location {
	const void *address;
	uint8_t size;
	bool plain;	   /* a plain store was announced that is not yet a message */
	int16_t count;	   /* of messages */
	int16_t strongest; /* the newest seq_cst store */
	uint16_t messages[MAX_MESSAGES];
};

static struct {
	struct location locations[MAX_LOCATIONS];
	int location_count, plain_count;
	struct message pool[MAX_POOL];
	unsigned pooled;
	struct view fences;	/* of all seq_cst fences */
	uint64_t fence_history; /* a sum: their order among themselves does not matter */
	uint32_t generation;
	struct {
		const void *address;
		uint32_t generation;
		int16_t location;
	} index[INDEX];
} memory;

void view_join(struct view *restrict into, const struct view *restrict from)
{
	for (int i = 0; i < VIEW; i++)
		into->at[i] = into->at[i] > from->at[i] ? into->at[i] : from->at[i];
}

void memory_reset(void)
{
	memory.location_count = memory.plain_count = 0;
	memory.pooled = 0;
	memory.fences = (struct view){0};
	memory.fence_history = 0;
	memory.generation++;
}

/* ---------------------------------------------------------------- plain memory */

static uint64_t peek(const void *address, unsigned size)
{
	uint64_t value = 0;
	memcpy(&value, address, size);
	return value;
}

static void poke(void *address, unsigned size, uint64_t value)
{
	memcpy(address, &value, size);
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

/* ---------------------------------------------------------------- locations and messages */

static unsigned slot_of(const void *address)
{
	unsigned slot = (unsigned)(engine_mix(0, (uintptr_t)address) >> 32) % INDEX;
	while (memory.index[slot].generation == memory.generation &&
		memory.index[slot].address != address)
		slot = (slot + 1) % INDEX;
	return slot;
}

int memory_location(const void *address)
{
	unsigned slot = slot_of(address);
	return memory.index[slot].generation == memory.generation ? memory.index[slot].location : -1;
}

static struct message *message_at(const struct location *location, int index)
{
	return &memory.pool[location->messages[index]];
}

static struct message *newest(const struct location *location)
{
	return message_at(location, location->count - 1);
}

static int view_index(const struct location *location)
{
	return EXPLORE_THREADS + (int)(location - memory.locations);
}

static struct message *message_add(struct location *location, uint64_t value)
{
	if (location->count == MAX_MESSAGES || memory.pooled == MAX_POOL)
		engine_fail("no end: more stores than the explorer holds");
	location->messages[location->count++] = (uint16_t)memory.pooled;
	struct message *message = &memory.pool[memory.pooled++];
	message->value = value;
	message->author = message->head = -1;
	return message;
}

static struct location *locate(const void *address, unsigned size)
{
	unsigned slot = slot_of(address);
	if (memory.index[slot].generation == memory.generation) {
		struct location *known = &memory.locations[memory.index[slot].location];
		CHECK(known->size == size);
		return known;
	}
	if (memory.location_count == MAX_LOCATIONS)
		engine_fail("the scenario has more atomic locations than the explorer holds");
	memory.index[slot].address = address;
	memory.index[slot].generation = memory.generation;
	memory.index[slot].location = (int16_t)memory.location_count;
	struct location *location = &memory.locations[memory.location_count++];
	*location = (struct location){.address = address, .size = (uint8_t)size};
	message_add(location, peek(address, size))->view = (struct view){0};
	return location;
}

/* A message by the running thread; carried: what its reader learns besides. */
static struct message *publish(
	struct location *location, uint64_t value, const struct view *carried)
{
	struct virtual *self = engine_current();
	int at = view_index(location);
	struct message *message = message_add(location, value);
	message->view = *carried;
	message->view.at[at] = self->now.at[at] = (int16_t)(location->count - 1);
	message->author = (int16_t)explore_self();
	message->step = self->now.at[explore_self()];
	poke((void *)location->address, location->size, value);
	engine_note((uintptr_t)location->address, (uint64_t)location->count);
	return message;
}

/* ---------------------------------------------------------------- plain stores to them */

static void publish_plain(struct location *location)
{
	uint64_t value = peek(location->address, location->size);
	publish(location, value, &engine_current()->announced)->step++; /* it came after that step */
}

void memory_plain_store(int index)
{
	struct location *location = &memory.locations[index];
	memory.plain_count += !location->plain;
	location->plain = true;
}

void memory_flush_plain(void)
{
	for (int i = 0; memory.plain_count > 0; i++) {
		struct location *location = &memory.locations[i];
		if (!location->plain)
			continue;
		location->plain = false;
		memory.plain_count--;
		publish_plain(location);
	}
}

/* Memory that is reused on a stack changes unannounced. Anything else must not. */
static void reconcile(struct location *location)
{
	if (newest(location)->value == peek(location->address, location->size))
		return;
	if (!engine_on_own_stack(location->address))
		engine_fail("%s was stored to behind the explorer's back",
			engine_name(location->address));
	publish_plain(location);
}

bool memory_knows_last(int index)
{
	const struct location *location = &memory.locations[index];
	const struct message *last = newest(location);
	return last->author < 0 || engine_current()->now.at[last->author] >= last->step;
}

/* ---------------------------------------------------------------- spinning */

static void glance(struct virtual *self, const struct location *location, int message)
{
	int16_t index = (int16_t)(location - memory.locations);
	unsigned i = 0;
	while (i < self->glance_count && self->glances[i].location != index)
		i++;
	if (i == MAX_GLANCES)
		memmove(self->glances, self->glances + 1, --i * sizeof(self->glances[0]));
	else
		self->glance_count += i == self->glance_count;
	self->glances[i] = (struct glance){index, (int16_t)message};
}

bool memory_glance_changed(const struct virtual *thread)
{
	for (unsigned i = 0; i < thread->glance_count; i++)
		if (memory.locations[thread->glances[i].location].count - 1 >
			thread->glances[i].message)
			return true;
	return false;
}

/* Stores arrive in the end: who looks again sees more than last time. */
void memory_refresh(struct virtual *thread)
{
	for (unsigned i = 0; i < thread->glance_count; i++) {
		const struct location *location = &memory.locations[thread->glances[i].location];
		int16_t next = (int16_t)(thread->glances[i].message + 1);
		int16_t *known = &thread->now.at[view_index(location)];
		if (location->count > next && *known < next) {
			*known = next;
			engine_note((uintptr_t)location->address, (uint64_t)next);
		}
	}
	thread->glance_count = 0;
}

/* ---------------------------------------------------------------- operations */

static bool acquires(int order)
{
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST ||
	       order == __ATOMIC_CONSUME;
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
	struct location *location = locate(address, size);
	reconcile(location);
	return location;
}

static uint64_t take_in(struct location *location, int index, int order)
{
	struct virtual *self = engine_current();
	const struct message *message = message_at(location, index);
	self->now.at[view_index(location)] = (int16_t)index;
	view_join(&self->glimpsed, &message->view);
	if (acquires(order))
		view_join(&self->now, &message->view);
	engine_note((uintptr_t)location->address, (uint64_t)index);
	glance(self, location, index);
	return message->value;
}

/* A store, or (whole) the storing half of a read-modify-write, which nothing can come between. */
static void put_out(struct location *location, uint64_t value, int order, bool whole)
{
	struct virtual *self = engine_current();
	int16_t author = (int16_t)explore_self();
	const struct message *before = newest(location);
	struct view carried = releases(order) ? self->now : self->announced;
	bool sequel = whole || before->head == author;
	if (sequel)
		view_join(&carried, &before->view);
	int16_t head = releases(order) ? author : sequel ? before->head : -1;
	publish(location, clipped(value, location->size), &carried)->head = head;
	glance(self, location, location->count - 1); /* no change by another */
	if (order == __ATOMIC_SEQ_CST)
		location->strongest = (int16_t)(location->count - 1);
}

static const char *order_name(int order)
{
	static const char *const names[] = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};
	return names[order];
}

static int oldest_visible(const struct location *location, int order)
{
	int known = engine_current()->now.at[view_index(location)];
	return order == __ATOMIC_SEQ_CST && location->strongest > known ? location->strongest : known;
}

uint64_t explore_load(const void *address, unsigned size, int order)
{
	if (engine_current() == NULL)
		return peek(address, size);
	struct location *location = step(address, size);
	int last = location->count - 1;
	int back = (int)engine_choose(
		CHOOSE_MESSAGE, (unsigned)(last - oldest_visible(location, order) + 1));
	uint64_t value = take_in(location, last - back, order);
	if (engine_tracing())
		engine_trace("load %s: %jd, %s%s", engine_name(address), (intmax_t)value,
			order_name(order), back > 0 ? ", not the newest" : "");
	return value;
}

uint32_t memory_kernel_load(const uint32_t *word)
{
	struct location *location = locate(word, sizeof(*word));
	reconcile(location);
	return (uint32_t)take_in(location, location->count - 1, __ATOMIC_RELAXED);
}

void explore_store(void *address, unsigned size, uint64_t value, int order)
{
	if (engine_current() == NULL) {
		poke(address, size, value);
		return;
	}
	struct location *location = step(address, size);
	put_out(location, value, order, false);
	if (engine_tracing())
		engine_trace("store %s: %jd, %s", engine_name(address), (intmax_t)value,
			order_name(order));
}

uint64_t explore_rmw(void *address, unsigned size, enum explore_rmw op, uint64_t operand, int order)
{
	if (engine_current() == NULL) {
		uint64_t old = peek(address, size);
		poke(address, size, combine(op, old, operand));
		return old;
	}
	struct location *location = step(address, size);
	uint64_t old = take_in(location, location->count - 1, order);
	put_out(location, combine(op, old, operand), order, true);
	if (engine_tracing())
		engine_trace("change %s: %jd to %jd, %s", engine_name(address), (intmax_t)old,
			(intmax_t)newest(location)->value, order_name(order));
	return old;
}

/* Which message a compare-and-swap reads: the newest, or an older one that it fails on. */
static int cas_choice(const struct location *location, uint64_t wanted, int failure)
{
	int options[36], last = location->count - 1;
	unsigned count = 0;
	options[count++] = last;
	for (int i = last - 1; i >= oldest_visible(location, failure) && count < 35; i--)
		if (message_at(location, i)->value != wanted)
			options[count++] = i;
	return options[engine_choose(CHOOSE_MESSAGE, count)];
}

bool explore_cas(void *address, unsigned size, void *expected, uint64_t desired, int success,
	int failure)
{
	uint64_t wanted = peek(expected, size);
	if (engine_current() == NULL) {
		uint64_t old = peek(address, size);
		poke(old == wanted ? address : expected, size, old == wanted ? desired : old);
		return old == wanted;
	}
	struct location *location = step(address, size);
	int index = cas_choice(location, wanted, failure);
	bool equal = message_at(location, index)->value == wanted;
	uint64_t old = take_in(location, index, equal ? success : failure);
	if (equal)
		put_out(location, desired, success, true);
	else
		poke(expected, size, old);
	if (engine_tracing())
		engine_trace("swap %s: %jd for %jd, %s: %s", engine_name(address),
			(intmax_t)desired, (intmax_t)wanted, order_name(success),
			equal ? "done" : "failed");
	return equal;
}

/* ---------------------------------------------------------------- fences */

void memory_fence_of(unsigned index)
{
	struct virtual *thread = engine_thread(index);
	thread->now.at[index]++;
	view_join(&thread->now, &thread->glimpsed);
	view_join(&thread->now, &memory.fences);
	memory.fences = thread->announced = thread->now;
	thread->history = engine_mix(thread->history, memory.fence_history);
	memory.fence_history += thread->history;
}

void explore_fence(int order)
{
	struct virtual *self = engine_current();
	if (self == NULL || order == __ATOMIC_RELAXED)
		return;
	if (order == __ATOMIC_SEQ_CST) {
		engine_yield();
		memory_fence_of(explore_self());
	} else { /* of no consequence to others: no step */
		if (acquires(order))
			view_join(&self->now, &self->glimpsed);
		if (releases(order))
			self->announced = self->now;
	}
	engine_trace("fence, %s", order_name(order));
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
		memory_fence_of(i);
		engine_note(i, memory.fence_history);
		engine_trace("fence of thread %u", i);
	}
	explore_fence(__ATOMIC_SEQ_CST);
}
