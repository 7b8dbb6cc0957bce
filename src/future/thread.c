/* SPDX-License-Identifier: MIT */
#include <thrum/future.h>

#include "base/base.h"

#include <errno.h>

/* What the green thread is started with; it frees it. */
struct start {
	thrum_fn fn;
	void *arg;
	struct thrum_oneshot *sender;
};

static void *run(void *arg)
{
	struct start start = *(struct start *)arg;

	free(arg);
	void *result = start.fn(start.arg);
	thrum_oneshot_send(start.sender, &result); /* nobody may want it any more */
	return result;
}

/* Gives the thread up, asking it to stop if it has not returned. */
static void let_go(struct thrum_future_thread *future, bool cancel)
{
	struct thrum_thread *thread = future->thread_;

	if (thread == NULL)
		return;
	future->thread_ = NULL;
	if (cancel)
		thrum_cancel(thread);
	thrum_detach(thread);
}

static int thread_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_thread *future =
		thrum__container_of(self, struct thrum_future_thread, future);
	void *value = NULL;
	int result = thrum_future_poll(&future->result_.future, context, &value);

	if (result == THRUM_PENDING)
		return result;
	let_go(future, false);
	if (output != NULL)
		*(void **)output = value;
	return result;
}

static void thread_drop(struct thrum_future *self)
{
	struct thrum_future_thread *future =
		thrum__container_of(self, struct thrum_future_thread, future);

	let_go(future, true);
	thrum_future_drop(&future->result_.future);
}

static const struct thrum_future_vtable thread_vtable = {thread_poll, thread_drop};

int thrum_future_thread_spawn_at(
	struct thrum_future_thread *future, thrum_fn fn, void *arg, const char *site)
{
	struct start *start = malloc(sizeof(*start));
	int result = -ENOMEM;

	if (start == NULL)
		return result;
	*start = (struct start){.fn = fn, .arg = arg};
	result = thrum_oneshot_create(&start->sender, &future->result_, sizeof(void *));
	if (result < 0)
		goto free_start;
	result = thrum_spawn_at(&future->thread_, run, start, NULL, site);
	if (result < 0)
		goto close_oneshot;
	future->future.vtable = &thread_vtable;
	return 0;

close_oneshot:
	thrum_oneshot_close(start->sender);
	thrum_future_drop(&future->result_.future);
free_start:
	free(start);
	return result;
}
