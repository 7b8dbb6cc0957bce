/* SPDX-License-Identifier: MIT */
/*
 * thrum__switch_swap: leaves the running context and goes on in another.
 * thrum__switch_jump: goes on in another context, never to return.
 *
 *   in    x0 = frame to save to *, x3 = where to note its address *, x9 = where to go on *,
 *         x1 = frame to load, x2 = pass                            (* thrum__switch_swap alone)
 *   out   at the loaded frame's pc: x2 = pass of the context left, x1 = the loaded frame
 *
 *   frame  +0 sp  +8 x29  +16 pc  +24 FPCR
 *
 * Jumped to and left by `br`, neither of which touches the return-stack predictor; asm/x86_64 says
 * why the compiler saves the other registers, and why the frame is not pushed.
 *
 * FPCR is written only where it differs: many cores flush their pipeline at each write. The status
 * bits are another register, FPSR, which a call need not keep.
 *
 * CFI: up to the switch the rules are those of the context left. From thrum__switch_jump on they
 * take everything from the frame that is loaded, whichever registers already have been.
 *
 * BTI: the way in is a direct branch, the way out goes by x16 to a `bti`: the file is marked as fit
 * for it. It is not marked for a guarded control stack, which would have to be switched too. The
 * pc in a frame is not signed: with it goes the stack pointer, which is as good a target.
 */
	.text
	.globl	thrum__switch_swap
	.hidden	thrum__switch_swap
	.type	thrum__switch_swap, %function
	.globl	thrum__switch_jump
	.hidden	thrum__switch_jump
	.type	thrum__switch_jump, %function
	.p2align 6
thrum__switch_swap:
	.cfi_startproc
	.cfi_def_cfa sp, 0
	.cfi_register x30, x9
	hint	#34				/* bti c */
	mov	x10, sp
	mrs	x11, fpcr
	stp	x10, x29, [x0]
	stp	x9, x11, [x0, #16]
	str	x0, [x3]

	.cfi_escape 0x0f, 3, 0x71, 0, 0x06	/* CFA = *x1 */
	.cfi_escape 0x10, 29, 2, 0x71, 8	/* x29 at x1 + 8 */
	.cfi_escape 0x10, 30, 2, 0x71, 16	/* the return address at x1 + 16 */
.Lload:
	ldp	x16, x12, [x1, #16]
	ldp	x10, x29, [x1]
	cmp	x11, x12
	b.ne	.Lload_fpcr
.Lfpcr_done:
	mov	sp, x10
	br	x16
.Lload_fpcr:
	msr	fpcr, x12
	b	.Lfpcr_done
	.size	thrum__switch_swap, . - thrum__switch_swap

thrum__switch_jump:
	hint	#34
	mrs	x11, fpcr
	b	.Lload
	.cfi_endproc
	.size	thrum__switch_jump, . - thrum__switch_jump

	/* GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI */
	.section .note.gnu.property, "a"
	.p2align 3
	.word	4, 16, 5
	.asciz	"GNU"
	.word	0xc0000000, 4, 1, 0

	.section .note.GNU-stack, "", %progbits
