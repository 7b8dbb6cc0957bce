/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "base/base.h"
#include "explore.h"
#include "subject_queue.h"

/*
 * The locked queue, inject and mail alike: two push, one pops, one takes two at once. Each thread
 * is got once, by somebody who may touch it; who takes from the queue gets those of one pusher in
 * their order.
 */

enum { PUSHERS = 2, EACH = 2 };

static struct world {
	struct thrum__queue queue;
	struct thrum_thread threads[PUSHERS][EACH];
	unsigned got[PUSHERS][EACH], popped[EXPLORE_THREADS + 1][PUSHERS];
} world;

static const struct queue_subject *queue;

/* in_order: it came from the queue that was pushed to. */
static void got(struct thrum_thread *thread, bool in_order)
{
	if (thread == NULL)
		return;
	explore_plain_read(&thread->id);
	explore_plain_write(&thread->link);
	size_t index = (size_t)(thread - world.threads[0]);
	size_t pusher = index / EACH, number = index % EACH;
	if (world.got[pusher][number]++ > 0)
		explore_fail("thread %zu was got twice", index);
	if (!in_order)
		return;
	unsigned *before = &world.popped[explore_self()][pusher];
	if (number < *before)
		explore_fail("thread %zu was overtaken", index);
	*before = (unsigned)number;
}

static void setup(void *unused)
{
	(void)unused;
	explore_name(&world.queue.lock, "queue");
	explore_name(world.threads, "threads");
}

static void body(void *unused, unsigned self)
{
	(void)unused;
	if (self < PUSHERS) {
		for (int i = 0; i < EACH; i++) {
			explore_plain_write(&world.threads[self][i].id);
			queue->push(&world.queue, &world.threads[self][i]);
		}
	} else if (self == PUSHERS) {
		got(queue->pop(&world.queue), true);
	} else {
		struct thrum_thread *chain = queue->take(&world.queue, 2);
		while (chain != NULL) {
			struct thrum_thread *thread = chain;
			chain = thread->link;
			got(thread, true);
		}
	}
}

static void check(void *unused)
{
	(void)unused;
	struct thrum_thread *thread;
	while ((thread = queue->pop(&world.queue)) != NULL)
		got(thread, false);
	for (int i = 0; i < PUSHERS * EACH; i++)
		if (world.got[i / EACH][i % EACH] == 0)
			explore_fail("thread %d was lost", i);
	if (thrum__queue_count(&world.queue) != 0)
		explore_fail("an empty queue counts");
}

static const struct explore_scenario scenario = {.name = "queue",
	.threads = 4,
	.world = &world,
	.size = sizeof(world),
	.setup = setup,
	.body = body,
	.check = check};

START_TEST(every_thread_is_got_once_in_its_pushers_order)
{
	queue = (const struct queue_subject *)subject_real("queue");
	struct explore_result result = explore(&scenario, 100000, 3000);
	ck_assert_msg(!result.found, "%s", result.why);
}
END_TEST

START_TEST(a_mutant_is_found)
{
	queue = (const struct queue_subject *)subject_mutant("queue", _i);
	if (!subject_exposed(&queue->subject, &scenario, 100000, 0))
		subject_survives(&queue->subject);
}
END_TEST

Suite *suite_queue(void)
{
	Suite *suite = suite_create("explore/queue");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, every_thread_is_got_once_in_its_pushers_order);
	tcase_add_loop_test(basic, a_mutant_is_found, 0, subject_mutants("queue"));
	suite_add_tcase(suite, basic);
	return suite;
}
