/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_ARCH_RISCV64_H
#define THRUM_CTX_ARCH_RISCV64_H

#include <stddef.h>
#include <stdint.h>

#if defined(__riscv) && __riscv_xlen == 64

/* What asm/riscv64/switch.S saves; the compiler saves the rest, by the clobbers below. */
struct thrum__frame {
	void *sp, *bp, *pc;
	uint64_t frm; /* rounding mode; 0 without a floating-point unit */
};
_Static_assert(offsetof(struct thrum__frame, sp) == 0 && offsetof(struct thrum__frame, frm) == 24,
	"switch.S draws it so");

/* Whatever a call may change, and what it must keep but for s0. gp and tp are the platform's. */
#define THRUM__FRAME_CLOBBERS                                                                     \
	"ra", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "a4", "a5", "a6", "a7", "s1", "s2", "s3", \
		"s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "memory"
#if defined(__riscv_flen)
#define THRUM__FRAME_CLOBBERS_FLOAT                                                             \
	, "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "ft8", "ft9", "ft10", "ft11", \
		"fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7", "fs0", "fs1", "fs2",    \
		"fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11"
#else
#define THRUM__FRAME_CLOBBERS_FLOAT
#endif
#if defined(__riscv_vector)
#define THRUM__FRAME_CLOBBERS_VECTOR                                                              \
	, "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", \
		"v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",      \
		"v25", "v26", "v27", "v28", "v29", "v30", "v31", "vl", "vtype"
#else
#define THRUM__FRAME_CLOBBERS_VECTOR
#endif

static inline void *thrum__frame_swap(
	struct thrum__frame **save, struct thrum__frame *load, void *pass)
{
	struct thrum__frame frame;
	register struct thrum__frame *a0 __asm__("a0") = &frame;
	register struct thrum__frame *a1 __asm__("a1") = load;
	register void *a2 __asm__("a2") = pass;
	register struct thrum__frame **a3 __asm__("a3") = save;
	__asm__ volatile(
		"lla t3, 1f\n\t"
		"tail thrum__switch_swap\n"
		"1:"
		: "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3)
		:
		: THRUM__FRAME_CLOBBERS THRUM__FRAME_CLOBBERS_FLOAT THRUM__FRAME_CLOBBERS_VECTOR);
	return a2;
}

_Noreturn static inline void thrum__frame_jump(struct thrum__frame *load, void *pass)
{
	register struct thrum__frame *a1 __asm__("a1") = load;
	register void *a2 __asm__("a2") = pass;
	__asm__ volatile("tail thrum__switch_jump" : : "r"(a1), "r"(a2) : "memory");
	__builtin_unreachable();
}

/* The control bits of the floating-point unit, as they are now. */
static inline void thrum__frame_control(struct thrum__frame *frame)
{
#if defined(__riscv_flen)
	__asm__ volatile("frrm %0" : "=r"(frame->frm));
#else
	frame->frm = 0;
#endif
}

#endif
#endif
