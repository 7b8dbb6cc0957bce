/* SPDX-License-Identifier: MIT */
#include "explore_internal.h"

/*
 * The search: which alternative is taken at each choice, which states are known. engine.c has the
 * essay.
 */

enum { MAX_CHOICES = 8192 };

static struct {
	enum mode mode;
	/* The choices: before `depth` made in this execution, from there to `length` to be made. */
	int depth, length;
	uint8_t taken[MAX_CHOICES], of[MAX_CHOICES];
	unsigned haste; /* of 8 chances, how many let the same thread run on */
	uint64_t random;
	uint64_t *states; /* a hash set; 0 is empty */
	size_t state_count, state_capacity;
} search;

void search_begin(enum mode mode, uint64_t seed, const char *schedule)
{
	search.mode = mode;
	search.random = seed;
	search.length = 0;
	for (const char *c = schedule; c != NULL && *c != '\0' && search.length < MAX_CHOICES; c++)
		search.taken[search.length++] = (uint8_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
	free(search.states);
	search.states = NULL;
	search.state_count = search.state_capacity = 0;
}

void search_start(void)
{
	static const uint8_t hastes[] = {0, 3, 5, 6, 7, 7};
	search.depth = 0;
	if (search.mode != MODE_RANDOM)
		return;
	search.length = 0;
	search.haste = hastes[thrum__splitmix64(&search.random) % sizeof(hastes)];
}

/* Goes back to the last choice with an untried alternative. */
bool search_next(void)
{
	/* The same choices must lead to the same end. */
	CHECK(search.depth == search.length);
	while (search.length > 0 &&
		search.taken[search.length - 1] + 1 == search.of[search.length - 1])
		search.length--;
	if (search.length == 0)
		return false;
	search.taken[search.length - 1]++;
	return true;
}

void search_schedule(char *text, size_t size)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	size_t length = 0;
	for (int i = 0; i < search.depth && length < size - 1; i++)
		text[length++] = digits[search.taken[i]];
	text[length] = '\0';
}

uint64_t search_states(void)
{
	return search.state_count;
}

bool search_is_replaying(void)
{
	return search.depth < search.length;
}

static unsigned random_choice(enum choice kind, unsigned count)
{
	uint64_t word = thrum__splitmix64(&search.random);
	if (kind == CHOOSE_THREAD && (word & 7) < search.haste)
		return 0;
	if (kind == CHOOSE_MESSAGE && (word & 7) < 4)
		return 0;
	return (unsigned)((word >> 8) % count);
}

unsigned search_choose(enum choice kind, unsigned count)
{
	CHECK(count > 0 && count < 36);
	if (count == 1)
		return 0;
	if (search.depth < search.length) {
		/* The same choices must lead to the same alternatives. */
		CHECK(search.mode == MODE_REPLAY || search.of[search.depth] == count);
		unsigned taken = search.taken[search.depth++];
		return taken < count ? taken : 0;
	}
	CHECK(search.depth < MAX_CHOICES);
	unsigned choice = search.mode == MODE_RANDOM ? random_choice(kind, count) : 0;
	search.taken[search.depth] = (uint8_t)choice;
	search.of[search.depth] = (uint8_t)count;
	search.length = ++search.depth;
	return choice;
}

static bool state_add(uint64_t *table, size_t capacity, uint64_t hash)
{
	size_t i = hash & (capacity - 1);
	while (table[i] != 0) {
		if (table[i] == hash)
			return false;
		i = (i + 1) & (capacity - 1);
	}
	table[i] = hash;
	return true;
}

static void states_grow(void)
{
	size_t capacity = search.state_capacity == 0 ? 1 << 16 : 2 * search.state_capacity;
	uint64_t *table = calloc(capacity, sizeof(*table));
	CHECK(table != NULL);
	for (size_t i = 0; i < search.state_capacity; i++)
		if (search.states[i] != 0)
			state_add(table, capacity, search.states[i]);
	free(search.states);
	search.states = table;
	search.state_capacity = capacity;
}

bool search_is_new(uint64_t hash)
{
	hash |= hash == 0;
	if (2 * search.state_count >= search.state_capacity)
		states_grow();
	if (!state_add(search.states, search.state_capacity, hash))
		return false;
	search.state_count++;
	return true;
}
