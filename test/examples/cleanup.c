/* SPDX-License-Identifier: MIT */
/* A cancelled thread hands over what it has before it ends. */
#include <stdio.h>
#include <thrum.h>

struct ends {
	struct thrum_channel *in, *out;
};

static void *count(void *arg)
{
	struct ends *ends = arg;
	int item, items = 0, err;
	while ((err = thrum_channel_recv(ends->in, &item, THRUM_FOREVER)) == 0)
		items++;
	printf("count: %s\n", thrum_errname(err));
	thrum_shield_begin(); /* without it the send would fail too */
	err = thrum_channel_send(ends->out, &items, thrum_after(10 * THRUM_S));
	thrum_shield_end();
	if (err != 0)
		fprintf(stderr, "count: %s\n", thrum_strerror(err));
	return NULL;
}

static void *root(void *arg)
{
	struct ends ends = {0};
	struct thrum_thread *thread = NULL;
	int items = 0, joined;
	int err = thrum_channel_create(&ends.in, sizeof(int), 0);
	if (err == 0)
		err = thrum_channel_create(&ends.out, sizeof(int), 0);
	if (err == 0)
		err = thrum_spawn(&thread, count, &ends);
	for (int i = 0; i < 3 && err == 0; i++)
		err = thrum_channel_send(ends.in, &i, THRUM_FOREVER);
	if (thread != NULL) {
		thrum_cancel(thread);
		if (err == 0)
			err = thrum_channel_recv(ends.out, &items, THRUM_FOREVER);
		joined = thrum_join(thread, NULL, THRUM_FOREVER);
		if (err == 0)
			err = joined;
	}
	if (err == 0)
		printf("root: it had counted %d items\n", items);
	else
		fprintf(stderr, "cleanup: %s\n", thrum_strerror(err));
	thrum_channel_unref(ends.in);
	thrum_channel_unref(ends.out);
	return NULL;
}

int main(void)
{
	return thrum_run(NULL, root, NULL, NULL) != 0;
}
