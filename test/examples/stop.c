/* SPDX-License-Identifier: MIT */
/* A computation that lets others run, and stops when it is asked to. */
#include <stdio.h>
#include <thrum.h>

static void *compute(void *arg)
{
	unsigned long *steps = arg;
	while (!thrum_canceled()) {
		for (int i = 0; i < 1000; i++)
			++*steps;
		thrum_yield();
	}
	return NULL;
}

static void *root(void *arg)
{
	struct thrum_thread *thread;
	unsigned long steps = 0;
	int err = thrum_spawn(&thread, compute, &steps);
	if (err == 0) {
		err = thrum_sleep(10 * THRUM_MS);
		thrum_cancel(thread);
		if (err == 0)
			err = thrum_join(thread, NULL, THRUM_FOREVER);
	}
	if (err == 0)
		printf("stopped in the middle of a slice: %s\n", steps % 1000 ? "yes" : "no");
	return NULL;
}

int main(void)
{
	struct thrum_config config = {.workers = 1};
	return thrum_run(&config, root, NULL, NULL) != 0;
}
