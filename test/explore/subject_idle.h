/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_IDLE_H
#define THRUM_TEST_EXPLORE_SUBJECT_IDLE_H

#include "sched/idle.h"
#include "subject.h"

/* sched/idle.c as it is, or with one thing changed. */
struct idle_subject {
	struct subject subject;
	struct thrum__idler *(*call_any)(struct thrum__idlers *idlers);
	bool (*call)(struct thrum__idlers *idlers, struct thrum__idler *idler);
	void (*enter)(struct thrum__idlers *idlers, struct thrum__idler *idler);
	bool (*leave)(struct thrum__idlers *idlers, struct thrum__idler *idler, bool saw_work);
	bool (*search_start)(struct thrum__idlers *idlers, unsigned count);
	bool (*search_stop)(struct thrum__idlers *idlers, bool found);
};

#endif
