/* SPDX-License-Identifier: MIT */
#include "ctx/ctx.h"

#include <stddef.h>

#include "base/base.h"

/* What asm/<arch>/entry.S finds at the top of a new stack. */
struct first_frame {
	struct thrum__frame frame;
	struct thrum__ctx_next (*fn)(void *arg, void *pass);
	void *arg;
};
_Static_assert(offsetof(struct first_frame, fn) == 32 && offsetof(struct first_frame, arg) == 40 &&
		       sizeof(struct first_frame) % 16 == 0,
	"entry.S knows where the function is, and that the stack ends aligned");

void thrum__switch_entry(void);

/*
 * Stacks lie at power-of-two distances, so the hot frames of all threads would share a few cache
 * sets; starting each at its own offset within half a page spreads them.
 */
enum { COLOUR_BITS = 5, COLOUR_STEP = 64 };

void thrum__ctx_init(struct thrum__ctx *ctx, const struct thrum__stack *stack,
	struct thrum__ctx_next (*fn)(void *arg, void *pass), void *arg)
{
	/* The top bits of a product: what is alike of all addresses does not matter. */
	size_t colour = ((uintptr_t)stack->base >> 12) * 0x9e3779b97f4a7c15u >> (64 - COLOUR_BITS);
	colour *= COLOUR_STEP;
	char *top = (char *)stack->base + stack->size - colour;
	CHECK((uintptr_t)top % 16 == 0);
	struct first_frame *first = (struct first_frame *)top - 1;
	*first = (struct first_frame){
		.frame = {.sp = first, .pc = (void *)thrum__switch_entry}, .fn = fn, .arg = arg};
	/* A new context starts with the creator's rounding and masks, as a new OS thread would. */
	thrum__frame_control(&first->frame);
	ctx->frame = &first->frame;
	thrum__fiber_create(&ctx->fiber, stack->base, stack->size);
}

void thrum__ctx_adopt(struct thrum__ctx *ctx)
{
	ctx->frame = NULL;
	thrum__fiber_adopt(&ctx->fiber);
}

void thrum__ctx_fini(struct thrum__ctx *ctx)
{
	thrum__fiber_destroy(&ctx->fiber);
	ctx->frame = NULL;
}
