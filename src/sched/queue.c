/* SPDX-License-Identifier: MIT */
#include "sched/queue.h"

#include "sched/sched_internal.h"

static void append(struct thrum__queue *queue, struct thrum_thread *first,
	struct thrum_thread *last, uint32_t count)
{
	last->link = NULL;
	if (queue->head == NULL)
		queue->head = first;
	else
		queue->tail->link = first;
	queue->tail = last;
	__atomic_store_n(&queue->count, queue->count + count, __ATOMIC_RELAXED);
}

uint32_t thrum__queue_push(struct thrum__queue *queue, struct thrum_thread *thread)
{
	thrum__lock(&queue->lock);
	append(queue, thread, thread, 1);
	uint32_t count = queue->count;
	thrum__unlock(&queue->lock);
	return count;
}

struct thrum_thread *thrum__queue_pop(struct thrum__queue *queue)
{
	if (thrum__queue_count(queue) == 0)
		return NULL;
	return thrum__queue_move(queue, NULL, 1);
}

struct thrum_thread *thrum__queue_move(
	struct thrum__queue *from, struct thrum__queue *to, uint32_t count)
{
	thrum__lock(&from->lock);
	if (count > from->count)
		count = from->count;
	struct thrum_thread *first = from->head, *last = first;
	for (uint32_t i = 1; i < count; i++)
		last = last->link;
	if (count > 0) {
		from->head = last->link;
		__atomic_store_n(&from->count, from->count - count, __ATOMIC_RELAXED);
	}
	thrum__unlock(&from->lock);
	if (count > 1) {
		thrum__lock(&to->lock);
		append(to, first->link, last, count - 1);
		thrum__unlock(&to->lock);
	}
	return first;
}
