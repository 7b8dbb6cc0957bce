/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_H
#define THRUM_CTX_H

/*
 * Contexts: a stack and where on it to go on. Switching is asm/<arch>/switch.S; this header adds
 * what the sanitizers need. A context may be resumed by another OS thread than the one it left, so
 * nothing derived from thread-local storage may live across a switch.
 */

#include "ctx/sanitizer.h"
#include "ctx/stack.h"

struct thrum__ctx {
	void *sp; /* while switched away: the saved frame */
	struct thrum__fiber fiber;
};

void thrum__ctx_swap(void **save, void *load);

/*
 * A context that will call fn(arg) on the given stack. fn first calls thrum__ctx_arrive and never
 * returns.
 */
void thrum__ctx_init(
	struct thrum__ctx *ctx, const struct thrum__stack *stack, void (*fn)(void *), void *arg);

/* The context of the calling OS thread, to be switched away from. */
void thrum__ctx_adopt(struct thrum__ctx *ctx);

/* Ends a context made by thrum__ctx_init that will not run again. Call from another stack. */
void thrum__ctx_fini(struct thrum__ctx *ctx);

static inline void thrum__ctx_arrive(struct thrum__ctx *self)
{
	thrum__fiber_arrive(&self->fiber);
}

/* Leaves `from` and goes on in `to`; returns when somebody switches back. */
static inline void thrum__ctx_switch(struct thrum__ctx *from, struct thrum__ctx *to)
{
	thrum__fiber_leave(&from->fiber, &to->fiber, false);
	thrum__ctx_swap(&from->sp, to->sp);
	thrum__fiber_arrive(&from->fiber);
}

/* The same for the last time: nobody may switch back to `from`. */
_Noreturn static inline void thrum__ctx_leave(struct thrum__ctx *from, struct thrum__ctx *to)
{
	thrum__fiber_leave(&from->fiber, &to->fiber, true);
	thrum__ctx_swap(&from->sp, to->sp);
	__builtin_unreachable();
}

#endif
