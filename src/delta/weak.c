/* SPDX-License-Identifier: MIT */
#include "delta/delta_internal.h"

/*
 * The two rolling sums, all arithmetic modulo 2^32 (rollsum's halves modulo 2^16).
 *
 *   RabinKarp  sum = m^n + b[0] m^(n-1) + ... + b[n-1]            m = DELTA__RK_MULT
 *              roll: sum*m + in - m^n (out + m - 1)
 *   rollsum    s1 = S (b[i] + 31), s2 = S (n-i)(b[i] + 31), sum = s2 << 16 | s1
 *              roll: s1 += in - out; s2 += s1 - n (out + 31)
 */

#define RK_INVERSE   UINT32_C(0x98f009ad) /* RK_MULT * RK_INVERSE == 1 */
#define RK_ADJUST    (DELTA__RK_MULT - 1)
#define ROLLSUM_CHAR 31u

uint32_t delta__rk_power(uint32_t exponent)
{
	uint32_t power = 1, square = DELTA__RK_MULT;
	for (; exponent > 0; exponent >>= 1) {
		if (exponent & 1)
			power *= square;
		square *= square;
	}
	return power;
}

/* Four bytes per link of the chain: the multiplications inside a link need not wait. */
static uint32_t rk_sum(const uint8_t *p, size_t len)
{
	const uint32_t m = DELTA__RK_MULT, m2 = m * m, m3 = m2 * m, m4 = m3 * m;
	uint32_t sum = 1;
	for (; len >= 4; len -= 4, p += 4)
		sum = sum * m4 + (p[0] * m3 + p[1] * m2 + p[2] * m + p[3]);
	for (; len > 0; len--, p++)
		sum = sum * m + *p;
	return sum;
}

static uint32_t rollsum_sum(const uint8_t *p, size_t len)
{
	uint32_t s1 = 0, s2 = 0;
	for (; len > 0; len--, p++) {
		s1 += *p + ROLLSUM_CHAR;
		s2 += s1;
	}
	return s2 << 16 | (s1 & 0xffff);
}

uint32_t delta__weak_sum(bool rabinkarp, const uint8_t *bytes, size_t len)
{
	return rabinkarp ? rk_sum(bytes, len) : rollsum_sum(bytes, len);
}

void delta__weak_init(struct delta__weak *weak, bool rabinkarp, uint32_t len)
{
	weak->rabinkarp = rabinkarp;
	weak->len = len;
	weak->power = delta__rk_power(len);
	for (uint32_t byte = 0; byte < 256; byte++)
		weak->drop[byte] = weak->power * (byte + RK_ADJUST);
}

uint32_t delta__weak_shrink(
	bool rabinkarp, uint32_t sum, uint8_t first, uint32_t len, uint32_t *power)
{
	if (rabinkarp) {
		*power *= RK_INVERSE;
		return sum - *power * (first + RK_ADJUST);
	}
	uint32_t gone = first + ROLLSUM_CHAR;
	uint32_t s1 = sum - gone, s2 = (sum >> 16) - len * gone;
	return s2 << 16 | (s1 & 0xffff);
}
