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
	if (thrum__queue_count(queue) == 0)
		return NULL;
	thrum__lock(&queue->lock);
	struct thrum_thread *thread = queue->head;
	if (thread != NULL) {
		queue->head = thread->link;
		__atomic_store_n(&queue->count, queue->count - 1, __ATOMIC_RELAXED);
	}
	thrum__unlock(&queue->lock);
	return thread;
}
