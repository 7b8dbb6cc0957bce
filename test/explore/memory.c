/* SPDX-License-Identifier: MIT */
#include "memory.h"

#include "hooks.h"

/*
 * The memory model: what a load may return, after C11; of seq_cst fences it says what C++20 does.
 *
 * Each location keeps all that was ever stored in it, as a list of messages; each thread has a
 * view: up to which message of each location it knows. A load may return any message that is not
 * older than the thread's view of that location, which is how a store buffer looks from outside
 * (the others do not see my store yet), and also a late invalidation or a load done early (I do not
 * see yours although it is there). So TSO is contained, and ARM's and POWER's reordering of stores
 * with stores and loads with loads.
 *
 *   store, release   the message carries the storer's view, and so do its relaxed stores to
 *                    the same location until another thread stores there (release sequence)
 *   store, relaxed   the message carries the view of the storer's last release fence
 *   load, acquire    takes over the message's view
 *   load, relaxed    keeps it aside for the next acquire fence
 *   read and modify  reads the newest message, and its own carries that one's view, too
 *   failed compare   a load, of any visible message that does not hold what was expected
 *   fence, seq_cst   joins its view with that of all such fences before it, both ways
 *   membarrier       such a fence by the caller, by every other thread (each at a moment of
 *                    its own), and by the caller again
 *
 * A seq_cst load does not go behind the newest seq_cst store of its location. Otherwise seq_cst on
 * an access means acquire and release: C11 promises the relaxed neighbours of such an access no
 * more, so source that leans on x86's locked instructions as barriers is found out.
 *
 * Not modelled. A load that returns what is stored only later in the execution (load buffering):
 * hardware does it where neither a dependency nor a barrier stands between the load and its own
 * thread's next store. So that a thief's release keeps its load of the item before its swap of top
 * is not tested here. And a store that takes its place in the order of its location *before* one
 * that was executed earlier: locations here have one writer, or are written by read-modify-writes,
 * which cannot. A compiler's liberties: see the barriers in the source.
 *
 * The real memory always holds the newest message, so that plain reads by a location's only writer
 * (or under its lock, or after the end) see what they should.
 */

enum { MAX_POOL = 4096, INDEX = 512 };

static struct {
	struct location locations[MAX_LOCATIONS];
	int location_count, plain_count;
	struct message pool[MAX_POOL];
	unsigned pooled;
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
	fence_reset();
	memory.generation++;
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
	return memory.index[slot].generation == memory.generation ? memory.index[slot].location
								  : -1;
}

struct message *memory_message(const struct location *location, int index)
{
	return &memory.pool[location->messages[index]];
}

struct message *memory_newest(const struct location *location)
{
	return memory_message(location, location->count - 1);
}

int memory_view_index(const struct location *location)
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

struct location *memory_locate(const void *address, unsigned size)
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
	message_add(location, memory_peek(address, size))->view = (struct view){0};
	return location;
}

/* A message by the running thread; carried: what its reader learns besides. */
struct message *memory_publish(
	struct location *location, uint64_t value, const struct view *carried)
{
	struct virtual *self = engine_current();
	int at = memory_view_index(location);
	struct message *message = message_add(location, value);
	message->view = *carried;
	message->view.at[at] = self->now.at[at] = (int16_t)(location->count - 1);
	message->author = (int16_t)explore_self();
	message->step = self->now.at[explore_self()];
	memory_poke((void *)location->address, location->size, value);
	engine_note((uintptr_t)location->address, (uint64_t)location->count);
	return message;
}

/* ---------------------------------------------------------------- plain stores to them */

static void publish_plain(struct location *location)
{
	uint64_t value = memory_peek(location->address, location->size);
	memory_publish(location, value, &engine_current()->announced)
		->step++; /* it came after that step */
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
void memory_reconcile(struct location *location)
{
	if (memory_newest(location)->value == memory_peek(location->address, location->size))
		return;
	if (!engine_on_own_stack(location->address))
		engine_fail("%s was stored to behind the explorer's back",
			report_name(location->address));
	publish_plain(location);
}

bool memory_knows_last(int index)
{
	const struct location *location = &memory.locations[index];
	const struct message *last = memory_newest(location);
	return last->author < 0 || engine_current()->now.at[last->author] >= last->step;
}

/* ---------------------------------------------------------------- spinning */

void memory_glance(struct virtual *self, const struct location *location, int message)
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

const void *memory_glanced(const struct virtual *thread)
{
	if (thread->glance_count == 0)
		return NULL;
	return memory.locations[thread->glances[thread->glance_count - 1].location].address;
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
		int16_t *known = &thread->now.at[memory_view_index(location)];
		if (location->count > next && *known < next) {
			*known = next;
			engine_note((uintptr_t)location->address, (uint64_t)next);
		}
	}
	thread->glance_count = 0;
}
