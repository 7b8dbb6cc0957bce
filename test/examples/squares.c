/* SPDX-License-Identifier: MIT */
/* Green threads send into a channel; the receiver gives up when a deadline has come. */
#include <stdio.h>
#include <thrum.h>

enum { COUNT = 1000 };

struct job {
	struct thrum_channel *out;
	long number;
};

static void *square(void *arg)
{
	struct job *job = arg;
	long result = job->number * job->number;
	int err = thrum_channel_send(job->out, &result, THRUM_FOREVER);
	if (err != 0)
		fprintf(stderr, "send: %s\n", thrum_strerror(err));
	thrum_channel_unref(job->out);
	return NULL;
}

static void *collect(void *arg)
{
	static struct job jobs[COUNT];
	struct thrum_channel *squares = NULL;
	thrum_deadline deadline = thrum_after(30 * THRUM_S);
	long sum = 0, value;

	int err = thrum_channel_create(&squares, sizeof(long), 16);
	for (int i = 0; i < COUNT && err == 0; i++) {
		jobs[i] = (struct job){ .out = thrum_channel_ref(squares), .number = i };
		err = thrum_spawn(NULL, square, &jobs[i]);
		if (err != 0)
			thrum_channel_unref(squares);
	}
	for (int i = 0; i < COUNT && err == 0; i++) {
		err = thrum_channel_recv(squares, &value, deadline);
		if (err == 0)
			sum += value;
	}
	if (err == 0)
		printf("the squares below %d add up to %ld\n", COUNT, sum);
	else
		printf("failed: %s\n", thrum_strerror(err));
	thrum_channel_unref(squares);
	return NULL;
}

int main(void)
{
	int err = thrum_run(NULL, collect, NULL, NULL);
	if (err != 0)
		fprintf(stderr, "thrum_run: %s\n", thrum_strerror(err));
	return err != 0;
}
