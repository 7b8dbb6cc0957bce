/* SPDX-License-Identifier: MIT */
/*
 * thrum__switch_swap: leaves the running context and goes on in another.
 * thrum__switch_jump: goes on in another context, never to return.
 *
 *   in    a0 = frame to save to *, a3 = where to note its address *, t3 = where to go on *,
 *         a1 = frame to load, a2 = pass                            (* thrum__switch_swap alone)
 *   out   at the loaded frame's pc: a2 = pass of the context left, a1 = the loaded frame
 *
 *   frame  +0 sp  +8 s0  +16 pc  +24 rounding mode
 *
 * Jumped to and left by `jr t1`: a jump through ra or t0 would pop the return-stack predictor, by
 * the manual's hints, and t1 is neither. asm/x86_64 says why the compiler saves the other
 * registers, and why the frame is not pushed.
 *
 * The rounding mode is written only where it differs. The flags beside it in fcsr are nobody's to
 * keep across a call.
 *
 * CFI: up to the switch the rules are those of the context left. From thrum__switch_jump on they
 * take everything from the frame that is loaded, whichever registers already have been.
 *
 * No note marks the file as fit for landing pads or a shadow stack (Zicfilp, Zicfiss): the pads are
 * missing, and the shadow stack would have to be switched too.
 */
	.text
	.globl	thrum__switch_swap
	.hidden	thrum__switch_swap
	.type	thrum__switch_swap, @function
	.globl	thrum__switch_jump
	.hidden	thrum__switch_jump
	.type	thrum__switch_jump, @function
	.p2align 4
thrum__switch_swap:
	.cfi_startproc
	.cfi_def_cfa sp, 0
	.cfi_register ra, t3
	sd	sp, 0(a0)
	sd	s0, 8(a0)
	sd	t3, 16(a0)
#if defined(__riscv_flen)
	frrm	t4
	sd	t4, 24(a0)
#endif
	sd	a0, 0(a3)

	.cfi_escape 0x0f, 3, 0x7b, 0, 0x06	/* CFA = *a1 */
	.cfi_escape 0x10, 8, 2, 0x7b, 8		/* s0 at a1 + 8 */
	.cfi_escape 0x10, 1, 2, 0x7b, 16	/* the return address at a1 + 16 */
.Lload:
#if defined(__riscv_flen)
	ld	t5, 24(a1)
	bne	t4, t5, .Lload_frm
.Lfrm_done:
#endif
	ld	t1, 16(a1)
	ld	s0, 8(a1)
	ld	sp, 0(a1)
	jr	t1
#if defined(__riscv_flen)
.Lload_frm:
	fsrm	t5
	j	.Lfrm_done
#endif
	.size	thrum__switch_swap, . - thrum__switch_swap

thrum__switch_jump:
#if defined(__riscv_flen)
	frrm	t4
#endif
	j	.Lload
	.cfi_endproc
	.size	thrum__switch_jump, . - thrum__switch_jump

	.section .note.GNU-stack, "", @progbits
