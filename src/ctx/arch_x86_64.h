/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CTX_ARCH_X86_64_H
#define THRUM_CTX_ARCH_X86_64_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)

/* What asm/x86_64/switch.S saves; the compiler saves the rest, by the clobbers below. */
struct thrum__frame {
	uint32_t mxcsr;
	uint16_t x87; /* control word */
	uint16_t unused;
	void *sp, *bp, *pc;
};
_Static_assert(offsetof(struct thrum__frame, x87) == 4 && offsetof(struct thrum__frame, sp) == 8,
	"switch.S draws it so");

/* Whatever a call may change, and what it must keep but for rbp. AVX-512 and APX added to it. */
#define THRUM__FRAME_CLOBBERS                                                                      \
	"rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2",       \
		"xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
		"xmm13", "xmm14", "xmm15", "mm0", "mm1", "mm2", "mm3", "mm4", "mm5", "mm6", "mm7", \
		"st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc",         \
		"memory"
#if defined(__AVX512F__)
#define THRUM__FRAME_CLOBBERS_AVX512                                                             \
	, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",       \
		"xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", \
		"k3", "k4", "k5", "k6", "k7"
#else
#define THRUM__FRAME_CLOBBERS_AVX512
#endif
#if defined(__APX_F__)
#define THRUM__FRAME_CLOBBERS_APX                                                             \
	, "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", \
		"r28", "r29", "r30", "r31"
#else
#define THRUM__FRAME_CLOBBERS_APX
#endif

static inline void *thrum__frame_swap(
	struct thrum__frame **save, struct thrum__frame *load, void *pass)
{
	struct thrum__frame frame, *here = &frame;
	__asm__ volatile(
		"leaq 1f(%%rip), %%rcx\n\t"
		"jmp thrum__switch_swap\n"
		"1:"
		: "+a"(pass), "+D"(here), "+S"(load), "+d"(save)
		:
		: "rcx",
		THRUM__FRAME_CLOBBERS THRUM__FRAME_CLOBBERS_AVX512 THRUM__FRAME_CLOBBERS_APX);
	return pass;
}

_Noreturn static inline void thrum__frame_jump(struct thrum__frame *load, void *pass)
{
	__asm__ volatile("jmp thrum__switch_jump" : : "a"(pass), "S"(load) : "memory");
	__builtin_unreachable();
}

/* The control bits of the floating-point units, as they are now. */
static inline void thrum__frame_control(struct thrum__frame *frame)
{
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(frame->mxcsr), "=m"(frame->x87));
}

#endif
#endif
