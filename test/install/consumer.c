/* SPDX-License-Identifier: MIT */
/* A program outside the tree, valid as C11 and as C++: what a user's first build looks like. */
#include <stdio.h>
#include <thrum.h>

static void *child(void *arg)
{
	int *value = (int *)arg;
	if (thrum_sleep(THRUM_MS) != 0)
		return NULL;
	*value += 1;
	return value;
}

static void *root(void *arg)
{
	struct thrum_thread *thread = NULL;
	void *result = NULL;
	int err = thrum_spawn(&thread, child, arg);
	if (err == 0)
		err = thrum_join(thread, &result, THRUM_FOREVER);
	if (err != 0)
		printf("failed: %s\n", thrum_strerror(err));
	return result;
}

int main(void)
{
	int value = 41;
	void *result = NULL;
	int err = thrum_run(NULL, root, &value, &result);
	if (err != 0 || result != &value) {
		printf("failed: %s\n", thrum_strerror(err));
		return 1;
	}
	printf("the answer is %d\n", value);
	return 0;
}
