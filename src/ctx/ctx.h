/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_H
#define THRUM_CTX_H

/*
 * Contexts: a stack and where on it to go on. Switching is asm/<arch>/switch.S and, for the part
 * that the compiler does, ctx/arch_<arch>.h; this header adds what the sanitizers need. A context
 * may be resumed by another OS thread than the one it left, so nothing derived from thread-local
 * storage may live across a switch.
 *
 * An architecture's header gives: struct thrum__frame {sp, bp, pc, and control words};
 * thrum__frame_swap(save, load, pass), which saves a frame on the running stack, notes its address
 * in *save, goes on where `load` was saved, and returns, there, the pass of the one that was left;
 * thrum__frame_jump(load, pass), which saves nothing; and thrum__frame_control(frame).
 */

#if defined(__x86_64__)
#include "ctx/arch_x86_64.h"
#elif defined(__aarch64__)
#include "ctx/arch_aarch64.h"
#elif defined(__riscv) && __riscv_xlen == 64
#include "ctx/arch_riscv64.h"
#else
#error "no context switch for this architecture: add asm/<arch>/ and src/ctx/arch_<arch>.h"
#endif

#include "ctx/sanitizer.h"
#include "ctx/stack.h"

struct thrum__ctx {
	struct thrum__frame *frame; /* while switched away */
	struct thrum__fiber fiber;
};

/* Where a context that ends goes on, and what it passes. Returned in two registers. */
struct thrum__ctx_next {
	struct thrum__frame *frame;
	void *pass;
};

/*
 * A context that will call fn(arg, pass) on the given stack, with the pass of the first switch to
 * it. fn first calls thrum__ctx_arrive and ends with `return thrum__ctx_end(…)`, or with
 * thrum__ctx_leave, which costs the context gone on in a mispredicted return for each call that
 * was not returned from.
 */
void thrum__ctx_init(struct thrum__ctx *ctx, const struct thrum__stack *stack,
	struct thrum__ctx_next (*fn)(void *arg, void *pass), void *arg);

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
	pass = thrum__frame_swap(&from->frame, to->frame, pass);
	thrum__fiber_arrive(&from->fiber);
	return pass;
}

/* The same for the last time: nobody may switch back to `from`. */
_Noreturn static inline void thrum__ctx_leave(
	struct thrum__ctx *from, struct thrum__ctx *to, void *pass)
{
	thrum__fiber_leave(&from->fiber, &to->fiber, true);
	thrum__frame_jump(to->frame, pass);
}

static inline struct thrum__ctx_next thrum__ctx_end(
	struct thrum__ctx *from, struct thrum__ctx *to, void *pass)
{
#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
	thrum__ctx_leave(from, to, pass); /* what still runs here would count as the other's */
#else
	(void)from;
	return (struct thrum__ctx_next){to->frame, pass};
#endif
}

#endif
