/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_LOCK_H
#define THRUM_TEST_EXPLORE_SUBJECT_LOCK_H

#include "base/lock.h"
#include "subject.h"

/* base/lock.{h,c} as they are, or with one thing changed. */
struct lock_subject {
	struct subject subject;
	void (*lock)(struct thrum__lock *lock);
	void (*unlock)(struct thrum__lock *lock);
};

#endif
