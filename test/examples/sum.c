/* SPDX-License-Identifier: MIT */
/* Fork and join: a sum by halves, one of them in a green thread of its own. */
#include <stdio.h>
#include <thrum.h>

struct range {
	long first, count, sum;
};

static void *sum(void *arg)
{
	struct range *all = arg;
	if (all->count <= 100) {
		for (long i = 0; i < all->count; i++)
			all->sum += all->first + i;
		return NULL;
	}
	long half = all->count / 2;
	struct range low = {.first = all->first, .count = half};
	struct range high = {.first = all->first + half};
	high.count = all->count - half;
	struct thrum_attr attr = {
		.name = "low half",
		.stack_size = 32 * 1024,
		.flags = THRUM_CHILD_FIRST, /* others may take this half */
	};
	struct thrum_thread *thread;
	int err = thrum_spawn_with(&thread, sum, &low, &attr);
	if (err != 0)
		sum(&low); /* no memory for a thread, say: then here */
	sum(&high);
	if (err == 0) {
		/* The child uses our stack: we must not leave before it. */
		thrum_shield_begin();
		err = thrum_join(thread, NULL, THRUM_FOREVER);
		thrum_shield_end();
		if (err != 0)
			fprintf(stderr, "sum: %s\n", thrum_strerror(err));
	}
	all->sum = low.sum + high.sum;
	return NULL;
}

int main(void)
{
	struct range all = {.first = 1, .count = 100000};
	int err = thrum_run(NULL, sum, &all, NULL);
	if (err == 0)
		printf("1 to %ld add up to %ld\n", all.count, all.sum);
	return err != 0;
}
