/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <thrum.h>

static void *greet(void *name)
{
	if (thrum_sleep(100 * THRUM_MS) == 0) /* suspends this green thread, not its worker */
		printf("hello from %s\n", (const char *)name);
	return NULL;
}

static void *root(void *arg)
{
	struct thrum_thread *thread;
	int err = thrum_spawn(&thread, greet, arg);
	if (err == 0)
		err = thrum_join(thread, NULL, thrum_after(10 * THRUM_S));
	if (err != 0)
		fprintf(stderr, "greet: %s\n", thrum_strerror(err));
	return NULL;
}

int main(void)
{
	char name[] = "a green thread";
	return thrum_run(NULL, root, name, NULL) != 0;
}
