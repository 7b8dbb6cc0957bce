/* SPDX-License-Identifier: MIT */
/* A green thread that spins loses its worker, not its OS thread. */
#include <stdatomic.h>
#include <stdio.h>
#include <thrum.h>

static atomic_int ticks;

static void *tick(void *arg)
{
	for (int i = 0; i < 5 && thrum_sleep(THRUM_MS) == 0; i++)
		atomic_fetch_add(&ticks, 1);
	return NULL;
}

static void *spin(void *arg)
{
	while (atomic_load(&ticks) < 5)
		; /* no call at all: the worker goes to others */
	return NULL;
}

static void *root(void *arg)
{
	struct thrum_thread *ticker, *spinner;
	int err = thrum_spawn(&ticker, tick, NULL);
	if (err == 0) {
		err = thrum_spawn(&spinner, spin, NULL);
		if (err == 0)
			err = thrum_join(spinner, NULL, THRUM_FOREVER);
		if (thrum_join(ticker, NULL, THRUM_FOREVER) == 0 && err == 0)
			printf("both are done\n");
	}
	return NULL;
}

int main(void)
{
	struct thrum_config config = {.workers = 1};
	return thrum_run(&config, root, NULL, NULL) != 0;
}
