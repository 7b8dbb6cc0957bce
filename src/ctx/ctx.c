/* SPDX-License-Identifier: MIT */
#include "ctx/ctx.h"

#include "base/base.h"

void thrum__ctx_entry(void);

#if defined(__x86_64__)

/* What thrum__ctx_swap pops; the layout is drawn in asm/x86_64/switch.S. */
struct frame {
	uint32_t mxcsr;
	uint16_t x87;
	uint16_t pad;
	void *r15, *r14;
	void *r13; /* the argument */
	void *r12; /* the function */
	void *rbx, *rbp;
	void *rip;
};
_Static_assert(sizeof(struct frame) == 64, "switch.S pops 64 bytes");

static void *first_frame(char *top, void (*fn)(void *, void *), void *arg)
{
	struct frame *frame = (struct frame *)top - 1;
	*frame = (struct frame){.r13 = arg, .r12 = (void *)fn, .rip = (void *)thrum__ctx_entry};
	/*
	 * A new context starts with the creator's rounding and exception masks, as a new OS
	 * thread would.
	 */
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(frame->mxcsr), "=m"(frame->x87));
	return frame;
}

#else
#error "no context switch for this architecture: add asm/<arch>/ and its first frame here"
#endif

/*
 * Stacks lie at power-of-two distances, so the hot frames of all threads would share a few cache
 * sets; starting each at its own offset within half a page spreads them.
 */
enum { COLOURS = 32, COLOUR_STEP = 64 };

void thrum__ctx_init(struct thrum__ctx *ctx, const struct thrum__stack *stack,
	void (*fn)(void *arg, void *pass), void *arg)
{
	size_t colour = ((uintptr_t)stack->base / stack->size) % COLOURS * COLOUR_STEP;
	char *top = (char *)stack->base + stack->size - colour;
	CHECK((uintptr_t)top % 16 == 0);
	ctx->sp = first_frame(top, fn, arg);
	thrum__fiber_create(&ctx->fiber, stack->base, stack->size);
}

void thrum__ctx_adopt(struct thrum__ctx *ctx)
{
	ctx->sp = NULL;
	thrum__fiber_adopt(&ctx->fiber);
}

void thrum__ctx_fini(struct thrum__ctx *ctx)
{
	thrum__fiber_destroy(&ctx->fiber);
	ctx->sp = NULL;
}
