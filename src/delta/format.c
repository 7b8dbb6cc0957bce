/* SPDX-License-Identifier: MIT */
#include "delta/delta_internal.h"

#include <errno.h>
#include <sodium.h>

/*
 * A signature is u32 magic, u32 block_len, u32 strong_len, then per block u32 weak sum and the
 * first strong_len bytes of the strong sum; the last block may be shorter, its length is not told.
 * A delta is u32 magic and commands (emit.c). All integers big-endian.
 */

enum {
	DEFAULT_BLOCK_LEN = 2048,
	MIN_BLOCK_LEN = 256,
	UNKNOWN_SIZE_MIN_STRONG = 12,
};

unsigned delta__strong_max(uint32_t magic)
{
	switch (magic) {
	case DELTA_MAGIC_MD4:
	case DELTA_MAGIC_RK_MD4:
		return DELTA__MD4_LEN;
	case DELTA_MAGIC_BLAKE2:
	case DELTA_MAGIC_RK_BLAKE2:
		return DELTA_STRONG_MAX;
	default:
		return 0;
	}
}

void delta__strong_sum(uint32_t magic, const uint8_t *bytes, size_t len, uint8_t *to)
{
	if (delta__strong_max(magic) == DELTA__MD4_LEN) {
		delta__md4(bytes, len, to);
		memset(to + DELTA__MD4_LEN, 0, DELTA_STRONG_MAX - DELTA__MD4_LEN);
	} else {
		crypto_generichash_blake2b(to, DELTA_STRONG_MAX, bytes, len, NULL, 0);
	}
}

static uint64_t square_root(uint64_t value)
{
	uint64_t root = 0;
	for (uint64_t bit = UINT64_C(1) << 31; bit > 0; bit >>= 1)
		if ((root | bit) * (root | bit) <= value)
			root |= bit;
	return root;
}

static unsigned log2_floor(uint64_t value)
{
	return value == 0 ? 0 : 63 - (unsigned)__builtin_clzll(value);
}

static uint32_t recommended_block_len(int64_t size)
{
	if (size < 0)
		return DEFAULT_BLOCK_LEN;
	if (size <= MIN_BLOCK_LEN * MIN_BLOCK_LEN)
		return MIN_BLOCK_LEN;
	uint64_t len = square_root((uint64_t)size) & ~UINT64_C(127);
	return len < DELTA_BLOCK_MAX ? (uint32_t)len : DELTA_BLOCK_MAX;
}

/* Long enough that a false match is unlikely in a new file up to 16 MiB longer than the basis. */
static int shortest_strong_len(int64_t size, uint32_t block_len)
{
	if (size < 0)
		return UNKNOWN_SIZE_MIN_STRONG;
	uint64_t bytes = (uint64_t)size;
	return 2 + (int)(log2_floor(bytes + (1 << 24)) + log2_floor(bytes / block_len + 1) + 7) / 8;
}

int delta_recommend(struct delta_sign_options *options)
{
	if (options->magic == 0)
		options->magic = DELTA_MAGIC_RK_BLAKE2;
	int most = (int)delta__strong_max(options->magic);
	if (most == 0 || options->block_len > DELTA_BLOCK_MAX || options->strong_len < -1 ||
		options->strong_len > most)
		return -EINVAL;
	if (options->block_len == 0)
		options->block_len = recommended_block_len(options->size);
	if (options->strong_len == 0)
		options->strong_len = most;
	else if (options->strong_len < 0)
		options->strong_len = shortest_strong_len(options->size, options->block_len);
	if (options->strong_len > most)
		options->strong_len = most;
	return 0;
}
