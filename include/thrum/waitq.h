/* SPDX-License-Identifier: MIT */
#ifndef THRUM_WAITQ_H
#define THRUM_WAITQ_H

#include <stdint.h>

/*
 * The part that all sync objects share: who waits, in order, and the short-term lock around them.
 * All-zero is empty. Complete so that the objects can live in the caller's memory; its fields are
 * the library's own.
 */
struct thrum_waitq {
	uint32_t lock_;
	uint32_t reserved_;
	void *first_;
	void *last_;
};

#endif
