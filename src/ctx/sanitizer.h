/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_SANITIZER_H
#define THRUM_CTX_SANITIZER_H

/*
 * What the sanitizers must be told about stacks of our own. All of it compiles to nothing without
 * them. Order around a switch:
 *
 *   fiber_leave(from, to, last)    on the old stack, right before
 *   fiber_arrive(to)               on the new stack, right after (or first thing in a new context)
 */

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define THRUM__ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define THRUM__TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define THRUM__ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define THRUM__TSAN 1
#endif
#endif

#if defined(THRUM__ASAN)
struct thrum__fiber {
	void *fake;                /* ASan's fake stack, while switched away */
	const void *bottom;        /* lowest address of the stack */
	size_t size;               /* 0: an OS thread's stack, learned at the first switch */
	struct thrum__fiber *from; /* whence the running context was entered */
};
#elif defined(THRUM__TSAN)
struct thrum__fiber {
	void *tsan;
};
#else
struct thrum__fiber {
	char none[0];
};
#endif

#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
/* A fiber for a new stack. */
void thrum__fiber_create(struct thrum__fiber *fiber, void *bottom, size_t size);

/* The fiber of the calling OS thread's own stack. */
void thrum__fiber_adopt(struct thrum__fiber *fiber);

/* Ends a created fiber that nobody runs any more. */
void thrum__fiber_destroy(struct thrum__fiber *fiber);

/* Memory of a stack is about to be used afresh: forget what dead frames left poisoned. */
void thrum__fiber_unpoison(void *bottom, size_t size);

void thrum__fiber_leave(struct thrum__fiber *from, struct thrum__fiber *to, bool last);
void thrum__fiber_arrive(struct thrum__fiber *self);
#else
static inline void thrum__fiber_create(struct thrum__fiber *fiber, void *bottom, size_t size)
{
	(void)fiber, (void)bottom, (void)size;
}
static inline void thrum__fiber_adopt(struct thrum__fiber *fiber)
{
	(void)fiber;
}
static inline void thrum__fiber_destroy(struct thrum__fiber *fiber)
{
	(void)fiber;
}
static inline void thrum__fiber_unpoison(void *bottom, size_t size)
{
	(void)bottom, (void)size;
}
static inline void thrum__fiber_leave(struct thrum__fiber *from, struct thrum__fiber *to, bool last)
{
	(void)from, (void)to, (void)last;
}
static inline void thrum__fiber_arrive(struct thrum__fiber *self)
{
	(void)self;
}
#endif

#endif
