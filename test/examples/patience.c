/* SPDX-License-Identifier: MIT */
/* A join that gives up keeps the handle, so the thread can be stopped and joined after all. */
#include <errno.h>
#include <stdio.h>
#include <thrum.h>

static void *slow(void *arg)
{
	static char done[] = "slept enough", stopped[] = "was woken early";
	return thrum_sleep(3600 * THRUM_S) == 0 ? done : stopped;
}

static void *root(void *arg)
{
	struct thrum_thread *thread;
	void *result;
	int err = thrum_spawn(&thread, slow, NULL);
	if (err != 0)
		goto out;
	err = thrum_join(thread, &result, thrum_after(10 * THRUM_MS));
	printf("first join: %s\n", thrum_errname(err));
	if (err == -ETIMEDOUT) {
		thrum_cancel(thread);
		err = thrum_join(thread, &result, THRUM_FOREVER);
	}
	if (err == 0)
		printf("second join: it %s\n", (char *)result);
	else
		thrum_detach(thread);
out:
	if (err != 0)
		fprintf(stderr, "patience: %s\n", thrum_strerror(err));
	return NULL;
}

int main(void)
{
	return thrum_run(NULL, root, NULL, NULL) != 0;
}
