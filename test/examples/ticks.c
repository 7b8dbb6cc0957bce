/* SPDX-License-Identifier: MIT */
/* Ticks that do not drift: each deadline is reckoned from the last one, not from now. */
#include <stdio.h>
#include <thrum.h>

enum { TICKS = 5 };

static void *root(void *arg)
{
	const int64_t period = 10 * THRUM_MS;
	int64_t start = thrum_now();
	thrum_deadline next = start;
	int err = 0, early = 0;
	for (int i = 0; i < TICKS && err == 0; i++) {
		next += period;
		err = thrum_sleep_until(next);
		early += thrum_now() < next;
	}
	if (err == 0)
		printf("%d ticks, %d too early\n", TICKS, early);
	return NULL;
}

int main(void)
{
	return thrum_run(NULL, root, NULL, NULL) != 0;
}
