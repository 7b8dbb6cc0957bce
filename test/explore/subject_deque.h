/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_DEQUE_H
#define THRUM_TEST_EXPLORE_SUBJECT_DEQUE_H

#include "sched/deque.h"
#include "subject.h"

/* sched/deque.c as it is, or with one thing changed. */
struct deque_subject {
	struct subject subject;
	int (*init)(struct thrum__deque *deque, size_t capacity, bool alone);
	bool (*push)(struct thrum__deque *deque, void *item);
	void *(*peek)(const struct thrum__deque *deque);
	void *(*take)(struct thrum__deque *deque);
	void *(*shift)(struct thrum__deque *deque);
	void *(*steal)(struct thrum__deque *deque, bool *lost);
};

#endif
