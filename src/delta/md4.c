/* SPDX-License-Identifier: MIT */
#include "delta/delta_internal.h"

/*
 * MD4 (RFC 1320) of whole buffers. Broken long ago; here only for signatures made with it.
 */

enum { CHUNK = 64 };

static uint32_t rotate(uint32_t value, unsigned bits)
{
	return value << bits | value >> (32 - bits);
}

static uint32_t load_le32(const uint8_t *from)
{
	return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* Three rounds of sixteen operations; the four words take turns as the target. */
static void mix_chunk(uint32_t state[4], const uint8_t *chunk)
{
	static const uint8_t turn[3][4] = {{3, 7, 11, 19}, {3, 5, 9, 13}, {3, 9, 11, 15}};
	/* Round 3 takes the words in the order of their bit-reversed numbers. */
	static const uint8_t order3[16] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
	uint32_t x[16], a = state[0], b = state[1], c = state[2], d = state[3];
	for (unsigned i = 0; i < 16; i++)
		x[i] = load_le32(chunk + 4 * i);
	for (unsigned i = 0; i < 48; i++) {
		unsigned k = i % 16;
		uint32_t sum;
		if (i < 16)
			sum = a + ((b & c) | (~b & d)) + x[k];
		else if (i < 32)
			sum = a + ((b & c) | (b & d) | (c & d)) + x[k % 4 * 4 + k / 4] +
			      UINT32_C(0x5a827999);
		else
			sum = a + (b ^ c ^ d) + x[order3[k]] + UINT32_C(0x6ed9eba1);
		uint32_t next = rotate(sum, turn[i / 16][i % 4]);
		a = d;
		d = c;
		c = b;
		b = next;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

void delta__md4(const uint8_t *bytes, size_t len, uint8_t to[DELTA__MD4_LEN])
{
	uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
	uint8_t tail[2 * CHUNK] = {0};
	size_t whole = len / CHUNK * CHUNK, rest = len - whole;
	for (size_t at = 0; at < whole; at += CHUNK)
		mix_chunk(state, bytes + at);
	/* The rest, a one bit, zeroes, and the length in bits to the end of a chunk. */
	if (rest > 0)
		memcpy(tail, bytes + whole, rest);
	tail[rest] = 0x80;
	size_t padded = rest + 9 <= CHUNK ? CHUNK : 2 * CHUNK;
	uint64_t bits = (uint64_t)len * 8;
	for (unsigned i = 0; i < 8; i++)
		tail[padded - 8 + i] = (uint8_t)(bits >> 8 * i);
	for (size_t at = 0; at < padded; at += CHUNK)
		mix_chunk(state, tail + at);
	for (unsigned i = 0; i < DELTA__MD4_LEN; i++)
		to[i] = (uint8_t)(state[i / 4] >> 8 * (i % 4));
}
