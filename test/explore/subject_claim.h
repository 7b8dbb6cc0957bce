/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_CLAIM_H
#define THRUM_TEST_EXPLORE_SUBJECT_CLAIM_H

#include "sched/claim.h"
#include "subject.h"

/* sched/claim.{h,c} as they are, or with one thing changed. */
struct claim_subject {
	struct subject subject;
	bool (*enter)(struct thrum__claim *claim);
	void (*leave)(struct thrum__claim *claim);
	bool (*take)(struct thrum__claim *claim);
};

#endif
