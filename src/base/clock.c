/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

int64_t thrum_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * THRUM_S + ts.tv_nsec;
}

thrum_deadline thrum_after(int64_t ns)
{
	if (ns <= 0)
		return THRUM_NOW;
	int64_t now = thrum_now();
	return ns >= THRUM_FOREVER - now ? THRUM_FOREVER : now + ns;
}

int64_t thrum__wall_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void thrum__random_bytes(void *buf, size_t len)
{
	uint8_t *to = buf;
	while (len > 0) {
		ssize_t n = getrandom(to, len, 0);
		CHECK(n > 0 || errno == EINTR);
		if (n > 0) {
			to += n;
			len -= (size_t)n;
		}
	}
}

/* Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators" (2014). */
uint64_t thrum__splitmix64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}
