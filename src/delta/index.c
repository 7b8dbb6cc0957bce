/* SPDX-License-Identifier: MIT */
#include "delta/delta.h"

#include <errno.h>

#include "delta/delta_internal.h"

/*
 * Problem: at every byte of a new file one asks "is there a block with this weak sum?", and the
 * answer is nearly always no. A hash table of half a million blocks misses the cache at each
 * question.
 *
 *   weak sum ──► filter: 16..32 bits per block, one load, ~2 % false; fits the L2 cache
 *                  │ maybe
 *                  ▼
 *                table: open addressing, {weak, block}, at most half full
 *                  │ equal weak
 *                  ▼
 *                strong sum, compared with each block of that weak sum
 *
 * Bounds, whatever the signature says (it may come from a peer): a lookup looks at MAX_PROBE slots
 * at most. A block that finds none of them free is not entered: the delta grows, the time does not.
 * Blocks with equal sums both ways (a file of zeroes) take one slot; the diff job tries the block
 * after the last copied one by itself, so runs of them still match.
 */

enum {
	MAX_PROBE = 64,
	MIN_SLOT_BITS = 4,
	MIN_FILTER_BITS = 6, /* words */
	BLOCKS_PER_WORD = 4, /* at most: 16 bits for each */
};

static uint32_t home(const struct delta_index *index, uint32_t weak)
{
	/* Fibonacci hashing: the product's high bits depend on all of weak. */
	return weak * UINT32_C(0x9e3779b1) >> index->table_shift;
}

static unsigned bits_for(uint64_t count, unsigned least)
{
	unsigned bits = least;
	while ((UINT64_C(1) << bits) < count)
		bits++;
	return bits;
}

/* Gives back what the arrays have in reserve; a failure leaves them as they were. */
static void trim(struct delta_index *index)
{
	if (index->count == 0)
		return;
	uint32_t *weak = realloc(index->weak, index->count * sizeof(*weak));
	if (weak != NULL)
		index->weak = weak;
	uint8_t *strong = realloc(index->strong, (size_t)index->count * index->strong_len);
	if (strong != NULL)
		index->strong = strong;
}

int delta__index_prepare(struct delta_index *index)
{
	unsigned slot_bits = bits_for((uint64_t)index->count * 2, MIN_SLOT_BITS);
	unsigned filter_bits = bits_for(index->count / BLOCKS_PER_WORD, MIN_FILTER_BITS);
	if (slot_bits > 32)
		slot_bits = 32;
	size_t slots = (size_t)1 << slot_bits;
	trim(index);
	index->table = malloc(slots * sizeof(*index->table));
	index->filter = calloc((size_t)1 << filter_bits, sizeof(*index->filter));
	if (index->table == NULL || index->filter == NULL)
		return -ENOMEM;
	memset(index->table, 0xff, slots * sizeof(*index->table)); /* all DELTA__NO_BLOCK */
	index->table_shift = 32 - slot_bits;
	index->filter_shift = 32 - filter_bits;
	return 0;
}

static void enter(struct delta_index *index, uint32_t block)
{
	uint32_t weak = index->weak[block];
	const uint8_t *strong = index->strong + (size_t)block * index->strong_len;
	uint32_t key = delta__filter_key(delta__is_rabinkarp(index->magic), weak);
	uint32_t mask = UINT32_MAX >> index->table_shift;
	uint32_t at = home(index, weak);
	index->filter[key >> index->filter_shift] |=
		UINT64_C(1) << (key >> 10 & 63) | UINT64_C(1) << (key >> 4 & 63);
	for (unsigned i = 0; i < MAX_PROBE; i++, at = (at + 1) & mask) {
		struct delta__slot *slot = &index->table[at];
		if (slot->block == DELTA__NO_BLOCK) {
			*slot = (struct delta__slot){.weak = weak, .block = block};
			return;
		}
		if (slot->weak == weak && delta__index_is(index, slot->block, strong))
			return;
	}
}

bool delta__index_build(struct delta_index *index, uint32_t most)
{
	while (index->built < index->count && most-- > 0)
		enter(index, index->built++);
	return index->built == index->count;
}

bool delta__index_has_weak(const struct delta_index *index, uint32_t weak)
{
	uint32_t mask = UINT32_MAX >> index->table_shift;
	uint32_t at = home(index, weak);
	for (unsigned i = 0; i < MAX_PROBE; i++, at = (at + 1) & mask) {
		const struct delta__slot *slot = &index->table[at];
		if (slot->block == DELTA__NO_BLOCK)
			return false;
		if (slot->weak == weak)
			return true;
	}
	return false;
}

uint32_t delta__index_find(const struct delta_index *index, uint32_t weak, const uint8_t *strong)
{
	uint32_t mask = UINT32_MAX >> index->table_shift;
	uint32_t at = home(index, weak);
	for (unsigned i = 0; i < MAX_PROBE; i++, at = (at + 1) & mask) {
		const struct delta__slot *slot = &index->table[at];
		if (slot->block == DELTA__NO_BLOCK)
			break;
		if (slot->weak == weak && delta__index_is(index, slot->block, strong))
			return slot->block;
	}
	return DELTA__NO_BLOCK;
}

uint32_t delta_index_block_len(const struct delta_index *index)
{
	return index->block_len;
}

uint32_t delta_index_blocks(const struct delta_index *index)
{
	return index->count;
}

void delta_index_destroy(struct delta_index *index)
{
	if (index == NULL)
		return;
	free(index->weak);
	free(index->strong);
	free(index->table);
	free(index->filter);
	free(index);
}
