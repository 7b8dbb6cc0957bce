/* SPDX-License-Identifier: MIT */
#include "sync/waitq.h"

void thrum__waitq_push_back(struct thrum_waitq *queue, struct thrum__waiter *waiter)
{
	struct thrum__waiter *last = queue->last_;

	thrum__wait_init(&waiter->wait);
	waiter->next = NULL;
	waiter->prev = last;
	waiter->linked = true;
	if (last != NULL)
		last->next = waiter;
	else
		queue->first_ = waiter;
	queue->last_ = waiter;
}

void thrum__waitq_push_front(struct thrum_waitq *queue, struct thrum__waiter *waiter)
{
	struct thrum__waiter *first = queue->first_;

	thrum__wait_init(&waiter->wait);
	waiter->next = first;
	waiter->prev = NULL;
	waiter->linked = true;
	if (first != NULL)
		first->prev = waiter;
	else
		queue->last_ = waiter;
	queue->first_ = waiter;
}

void thrum__waitq_remove(struct thrum_waitq *queue, struct thrum__waiter *waiter)
{
	if (!waiter->linked)
		return;
	if (waiter->prev != NULL)
		waiter->prev->next = waiter->next;
	else
		queue->first_ = waiter->next;
	if (waiter->next != NULL)
		waiter->next->prev = waiter->prev;
	else
		queue->last_ = waiter->prev;
	waiter->next = waiter->prev = NULL;
	waiter->linked = false;
}

struct thrum__waiter *thrum__waitq_claim(struct thrum_waitq *queue, uint32_t value)
{
	struct thrum__waiter *waiter;

	while ((waiter = queue->first_) != NULL) {
		thrum__waitq_remove(queue, waiter);
		if (thrum__wait_claim(&waiter->wait, value))
			return waiter;
	}
	return NULL;
}

void thrum__waitq_claim_all(struct thrum_waitq *queue, uint32_t value, struct thrum__wakes *wakes)
{
	struct thrum__waiter *waiter;

	while ((waiter = thrum__waitq_claim(queue, value)) != NULL)
		thrum__wakes_add(wakes, waiter);
}

void thrum__wakes_add(struct thrum__wakes *wakes, struct thrum__waiter *waiter)
{
	waiter->next = NULL;
	if (wakes->first == NULL)
		wakes->last = &wakes->first;
	*wakes->last = waiter;
	wakes->last = &waiter->next;
}

void thrum__wakes_fire(struct thrum__wakes *wakes)
{
	struct thrum__waiter *waiter = wakes->first;

	while (waiter != NULL) {
		struct thrum__waiter *next = waiter->next; /* gone once it is awake */
		thrum__wait_wake(&waiter->wait);
		waiter = next;
	}
	wakes->first = NULL;
}
