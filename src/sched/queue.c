/* SPDX-License-Identifier: MIT */
#include "sched/queue.h"

#include "sched/sched_internal.h"

uint32_t thrum__queue_push(struct thrum__queue *queue, struct thrum_thread *thread)
{
	thread->link = NULL;
	thrum__lock(&queue->lock);
	if (queue->head == NULL)
		queue->head = thread;
	else
		queue->tail->link = thread;
	queue->tail = thread;
	uint32_t count = queue->count + 1;
	__atomic_store_n(&queue->count, count, __ATOMIC_RELAXED);
	thrum__unlock(&queue->lock);
	return count;
}

struct thrum_thread *thrum__queue_pop(struct thrum__queue *queue)
{
	return thrum__queue_take(queue, 1);
}

struct thrum_thread *thrum__queue_take(struct thrum__queue *queue, uint32_t count)
{
	if (thrum__queue_count(queue) == 0)
		return NULL;
	thrum__lock(&queue->lock);
	if (count > queue->count)
		count = queue->count;
	struct thrum_thread *first = queue->head, *last = first;
	for (uint32_t i = 1; i < count; i++)
		last = last->link;
	if (count > 0) {
		queue->head = last->link;
		last->link = NULL;
		__atomic_store_n(&queue->count, queue->count - count, __ATOMIC_RELAXED);
	}
	thrum__unlock(&queue->lock);
	return first;
}
