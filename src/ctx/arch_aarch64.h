/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_ARCH_AARCH64_H
#define THRUM_CTX_ARCH_AARCH64_H

#include <stddef.h>
#include <stdint.h>

#if defined(__aarch64__)

/* What asm/aarch64/switch.S saves; the compiler saves the rest, by the clobbers below. */
struct thrum__frame {
	void *sp, *bp, *pc;
	uint64_t fpcr;
};
_Static_assert(offsetof(struct thrum__frame, sp) == 0 && offsetof(struct thrum__frame, fpcr) == 24,
	"switch.S draws it so");

/*
 * Whatever a call may change, and what it must keep but for x29. A call
 * keeps the low halves of v8 to v15 alone; the compiler saves those, and has nothing in the others.
 */
#define THRUM__FRAME_CLOBBERS                                                                    \
	"x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",     \
		"x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",     \
		"x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", \
		"v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21",     \
		"v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31", "cc",      \
		"memory"
#if defined(__ARM_FEATURE_SVE)
#define THRUM__FRAME_CLOBBERS_SVE                                                                 \
	, "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", \
		"p14", "p15", "ffr"
#else
#define THRUM__FRAME_CLOBBERS_SVE
#endif

static inline void *thrum__frame_swap(
	struct thrum__frame **save, struct thrum__frame *load, void *pass)
{
	struct thrum__frame frame;
	register struct thrum__frame *x0 __asm__("x0") = &frame;
	register struct thrum__frame *x1 __asm__("x1") = load;
	register void *x2 __asm__("x2") = pass;
	register struct thrum__frame **x3 __asm__("x3") = save;
	__asm__ volatile("adr x9, 1f\n\t"
			 "b thrum__switch_swap\n"
			 "1:\thint #36" /* bti j */
			 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
			 :
			 : THRUM__FRAME_CLOBBERS THRUM__FRAME_CLOBBERS_SVE);
	return x2;
}

_Noreturn static inline void thrum__frame_jump(struct thrum__frame *load, void *pass)
{
	register struct thrum__frame *x1 __asm__("x1") = load;
	register void *x2 __asm__("x2") = pass;
	__asm__ volatile("b thrum__switch_jump" : : "r"(x1), "r"(x2) : "memory");
	__builtin_unreachable();
}

/* The control bits of the floating-point unit, as they are now. */
static inline void thrum__frame_control(struct thrum__frame *frame)
{
	__asm__ volatile("mrs %0, fpcr" : "=r"(frame->fpcr));
}

#endif
#endif
