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

/* Returns, in the context that is gone on in, the pass of the one that was left. */
void *thrum__ctx_swap(void **save, void *load, void *pass);

/*
 * A context that will call fn(arg, pass) on the given stack, with the pass of the first switch to
 * it. fn first calls thrum__ctx_arrive and never returns.
 */
void thrum__ctx_init(struct thrum__ctx *ctx, const struct thrum__stack *stack,
	void (*fn)(void *arg, void *pass), void *arg);

/* The context of the calling OS thread, to be switched away from. */
void thrum__ctx_adopt(struct thrum__ctx *ctx);

/* Ends a context made by thrum__ctx_init that will not run again. Call from another stack. */
void thrum__ctx_fini(struct thrum__ctx *ctx);

static inline void thrum__ctx_arrive(struct thrum__ctx *self)
{
	thrum__fiber_arrive(&self->fiber);
}

/*
 * Leaves `from` and goes on in `to`; returns when somebody switches back, and what that one
 * passed. This is how a context learns on which OS thread it goes on, without thread-local storage.
 */
static inline void *thrum__ctx_switch(struct thrum__ctx *from, struct thrum__ctx *to, void *pass)
{
	thrum__fiber_leave(&from->fiber, &to->fiber, false);
	pass = thrum__ctx_swap(&from->sp, to->sp, pass);
	thrum__fiber_arrive(&from->fiber);
	return pass;
}

/* The same for the last time: nobody may switch back to `from`. */
_Noreturn static inline void thrum__ctx_leave(
	struct thrum__ctx *from, struct thrum__ctx *to, void *pass)
{
	thrum__fiber_leave(&from->fiber, &to->fiber, true);
	thrum__ctx_swap(&from->sp, to->sp, pass);
	__builtin_unreachable();
}

#endif
