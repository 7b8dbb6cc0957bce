/* SPDX-License-Identifier: MIT */
/* A run: it ends when every green thread has, and the first one's return asks the others to. */
#include <stdio.h>
#include <thrum.h>

static void *background(void *arg)
{
	int err = 0;
	while (err == 0)
		err = thrum_sleep(THRUM_MS);
	printf("background: %s\n", thrum_errname(err));
	return NULL;
}

static void *first(void *arg)
{
	int err = thrum_spawn(NULL, background, NULL);
	if (err != 0)
		fprintf(stderr, "run: %s\n", thrum_strerror(err));
	printf("first: returns\n");
	return arg;
}

int main(void)
{
	struct thrum_config config = {.stack_size = 64 * 1024};
	char value[] = "a value";
	void *result = NULL;
	int err = thrum_run(&config, first, value, &result);
	if (err != 0) {
		fprintf(stderr, "run: %s\n", thrum_strerror(err));
		return 1;
	}
	printf("main: the run gave %s\n", (char *)result);
	return 0;
}
