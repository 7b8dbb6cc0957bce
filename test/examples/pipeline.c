/* SPDX-License-Identifier: MIT */
/* A pipeline of channels: each green thread strikes the multiples of one prime from the stream. */
#include <stdio.h>
#include <stdlib.h>
#include <thrum.h>

enum { PRIMES = 15, CAPACITY = 16 };

struct stage {
	struct thrum_channel *in, *out; /* one reference of each */
	int prime;
};

/* Ends a stage: who sends to it learns that nobody listens, who receives that nothing more comes.
 */
static void finish(struct stage *stage)
{
	if (stage->in != NULL)
		thrum_channel_close(stage->in);
	thrum_channel_close(stage->out);
	thrum_channel_unref(stage->in);
	thrum_channel_unref(stage->out);
	free(stage);
}

static void *count_up(void *arg)
{
	struct stage *stage = arg;
	for (int n = 2; thrum_channel_send(stage->out, &n, THRUM_FOREVER) == 0; n++)
		;
	finish(stage);
	return NULL;
}

static void *strike(void *arg)
{
	struct stage *stage = arg;
	int n;
	while (thrum_channel_recv(stage->in, &n, THRUM_FOREVER) == 0)
		if (n % stage->prime != 0 && thrum_channel_send(stage->out, &n, THRUM_FOREVER) != 0)
			break;
	finish(stage);
	return NULL;
}

/* Starts a stage that reads from in (taken); gives the channel it writes to, or NULL. */
static struct thrum_channel *start(thrum_fn fn, struct thrum_channel *in, int prime)
{
	struct thrum_channel *out;
	struct stage *stage = malloc(sizeof(*stage));
	if (stage == NULL || thrum_channel_create(&out, sizeof(int), CAPACITY) != 0)
		abort();
	*stage = (struct stage){.in = in, .out = thrum_channel_ref(out), .prime = prime};
	if (thrum_spawn(NULL, fn, stage) != 0)
		abort();
	return out;
}

static void *root(void *arg)
{
	struct thrum_channel *numbers = start(count_up, NULL, 0);
	for (int i = 0; i < PRIMES; i++) {
		int prime;
		if (thrum_channel_recv(numbers, &prime, thrum_after(10 * THRUM_S)) != 0)
			break;
		printf("%d%c", prime, i + 1 < PRIMES ? ' ' : '\n');
		numbers = start(strike, numbers, prime);
	}
	thrum_channel_close(numbers); /* each stage's send fails in turn, back to the first */
	thrum_channel_unref(numbers);
	return NULL;
}

int main(void)
{
	return thrum_run(NULL, root, NULL, NULL) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
