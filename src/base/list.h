/* SPDX-License-Identifier: MIT */
#ifndef THRUM_BASE_LIST_H
#define THRUM_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Intrusive doubly linked circular list. A node that is in no list has next == NULL, so an all-zero
 * head is also a valid empty list (it is linked on first use).
 */
struct thrum__list {
	struct thrum__list *next;
	struct thrum__list *prev;
};

static inline void thrum__list_init(struct thrum__list *head)
{
	head->next = head->prev = head;
}

static inline bool thrum__list_empty(const struct thrum__list *head)
{
	return head->next == NULL || head->next == head;
}

static inline bool thrum__list_linked(const struct thrum__list *node)
{
	return node->next != NULL;
}

static inline void thrum__list_push_back(struct thrum__list *head, struct thrum__list *node)
{
	if (head->next == NULL)
		thrum__list_init(head);
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void thrum__list_push_front(struct thrum__list *head, struct thrum__list *node)
{
	if (head->next == NULL)
		thrum__list_init(head);
	node->next = head->next;
	node->prev = head;
	head->next->prev = node;
	head->next = node;
}

/* Unlinks node; does nothing if it is in no list. */
static inline void thrum__list_remove(struct thrum__list *node)
{
	if (node->next == NULL)
		return;
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->next = node->prev = NULL;
}

static inline struct thrum__list *thrum__list_first(const struct thrum__list *head)
{
	return thrum__list_empty(head) ? NULL : head->next;
}

static inline struct thrum__list *thrum__list_pop_front(struct thrum__list *head)
{
	struct thrum__list *node = thrum__list_first(head);
	if (node != NULL)
		thrum__list_remove(node);
	return node;
}

/* The body may not remove `it`; see thrum__list_foreach_safe. */
#define thrum__list_foreach(it, head)                                                      \
	for (struct thrum__list *it = thrum__list_first(head); it != NULL && it != (head); \
		it = it->next)

#define thrum__list_foreach_safe(it, head)                                                        \
	for (struct thrum__list *it = thrum__list_first(head), *it##_next = it ? it->next : NULL; \
		it != NULL && it != (head); it = it##_next, it##_next = it ? it->next : NULL)

#endif
