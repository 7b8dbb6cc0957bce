/* SPDX-License-Identifier: MIT */
/* A library that keeps its state per OS thread, used by green threads that suspend meanwhile. */
#include <stdio.h>
#include <thrum.h>

enum { USERS = 4 };

static _Thread_local int current; /* the library's: what is set, per OS thread */

static void *use(void *arg)
{
	int *number = arg, mine = *number;
	thrum_pin();
	current = mine;
	for (int i = 0; i < 10 && thrum_sleep(THRUM_US) == 0; i++)
		if (current != mine)
			*number = 0;
	thrum_unpin();
	return NULL;
}

static void *root(void *arg)
{
	struct thrum_thread *threads[USERS];
	int numbers[USERS], started = 0, right = 0;
	for (; started < USERS; started++) {
		numbers[started] = started + 1;
		if (thrum_spawn(&threads[started], use, &numbers[started]) != 0)
			break;
	}
	for (int i = 0; i < started; i++) {
		if (thrum_join(threads[i], NULL, THRUM_FOREVER) == 0)
			right += numbers[i] == i + 1;
	}
	printf("%d of %d found what they had set\n", right, USERS);
	return NULL;
}

int main(void)
{
	return thrum_run(NULL, root, NULL, NULL) != 0;
}
