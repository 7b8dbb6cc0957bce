/* SPDX-License-Identifier: MIT */
/*
 * thrum__switch_swap: leaves the running context and goes on in another.
 * thrum__switch_jump: goes on in another context, never to return.
 *
 *   in    rdi = frame to save to *, rdx = where to note its address *, rcx = where to go on *,
 *         rsi = frame to load, rax = pass                          (* thrum__switch_swap alone)
 *   out   at the loaded frame's pc: rax = pass of the context left, rsi = the loaded frame
 *
 *   frame  +0 MXCSR (4)  +4 x87 control word (2)  +8 rsp  +16 rbp  +24 pc
 *
 * Jumped to, not called, and left by a jump. A call would put an address on the return-stack
 * predictor that no ret ever takes off, so that each later ret of either context is mispredicted:
 * 24 against 5 ns for a switch three calls deep. A ret at the end is the same, at once. So the
 * jump stands in an inline function, and the compiler, told that all registers are clobbered, saves
 * those that matter in its caller's frame; it cannot save rsp and rbp, and does not know the
 * floating-point units' control bits, which a call must keep. The frame is the caller's local
 * variable: pushed words would lie in the red zone of a function that the compiler takes for a leaf.
 *
 * MXCSR is loaded unseen: its six sticky status bits go with the context, as an OS thread's do.
 * Comparing first reads back what stmxcsr has just stored, for 1.9 ns of the 4.0 that the whole
 * switch takes; a load that changes nothing, or nothing but status or rounding, is free. fldcw is
 * not, but fnstcw and the comparison are.
 *
 * CFI: up to the switch the rules are those of the context left. From thrum__switch_jump on they
 * take everything from the frame that is loaded, whichever registers already have been.
 *
 * The target is a return address, hence `notrack`. The file carries no .note.gnu.property on
 * purpose: a shadow stack would have to be switched too, and without the note the linker does not
 * mark the output as fit for one.
 */
	.text
	.globl	thrum__switch_swap
	.hidden	thrum__switch_swap
	.type	thrum__switch_swap, @function
	.globl	thrum__switch_jump
	.hidden	thrum__switch_jump
	.type	thrum__switch_jump, @function
	.p2align 6
thrum__switch_swap:
	.cfi_startproc
	.cfi_def_cfa %rsp, 0
	.cfi_register %rip, %rcx
	endbr64
	stmxcsr	(%rdi)
	fnstcw	4(%rdi)
	movq	%rsp, 8(%rdi)
	movq	%rbp, 16(%rdi)
	movq	%rcx, 24(%rdi)
	movq	%rdi, (%rdx)
	movzwl	4(%rdi), %r8d

	.cfi_escape 0x0f, 3, 0x74, 8, 0x06	/* CFA = *(rsi + 8) */
	.cfi_escape 0x10, 6, 2, 0x74, 16	/* rbp at rsi + 16 */
	.cfi_escape 0x10, 16, 2, 0x74, 24	/* rip at rsi + 24 */
.Lload:
	ldmxcsr	(%rsi)
	cmpw	4(%rsi), %r8w
	jne	.Lload_x87
.Lx87_done:
	movq	16(%rsi), %rbp
	movq	8(%rsi), %rsp
	notrack jmp *24(%rsi)
.Lload_x87:
	fldcw	4(%rsi)
	jmp	.Lx87_done
	.size	thrum__switch_swap, . - thrum__switch_swap

thrum__switch_jump:
	endbr64
	fnstcw	-8(%rsp)
	movzwl	-8(%rsp), %r8d
	ldmxcsr	(%rsi)
	cmpw	4(%rsi), %r8w
	jne	.Lload_x87
	movq	16(%rsi), %rbp
	movq	8(%rsi), %rsp
	notrack jmp *24(%rsi)
	.cfi_endproc
	.size	thrum__switch_jump, . - thrum__switch_jump

	.section .note.GNU-stack, "", @progbits
