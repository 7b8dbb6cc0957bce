/* SPDX-License-Identifier: MIT */
/*
 * void *thrum__ctx_swap(void **save, void *load, void *pass)
 *
 * Saves the caller's context on its own stack, stores the stack pointer to *save, and goes on
 * where the context `load` was saved (or at its entry trampoline), handing it `pass`. System V
 * AMD64:
 *
 *   in        rdi = save, rsi = load, rdx = pass
 *   out       rax = pass of the context left
 *   preserved rbx rbp r12-r15 rsp, the control bits of MXCSR, the x87 control word
 *   clobbered rcx and everything else a call may clobber
 *
 *   saved frame, from *save up:
 *     +0 MXCSR (4)  +4 x87 CW (2)  +8 r15 r14 r13 r12 rbx rbp  +56 return address
 *
 * MXCSR and x87 CW are loaded only when they differ: an ldmxcsr that changes something costs more
 * than the rest of the switch several times over. MXCSR's low six bits are sticky status, not the
 * callee's to preserve, and take no part in the comparison.
 *
 * It ends in a pop and an indirect jump: a `ret` would be mispredicted every time, as the
 * return-stack predictor still holds the other stack's addresses. The target is a return address,
 * hence `notrack`. The file carries no .note.gnu.property on purpose: a shadow stack would have
 * to be switched too, and without the note the linker does not mark the output as fit for one.
 */
	.text
	.globl	thrum__ctx_swap
	.hidden	thrum__ctx_swap
	.type	thrum__ctx_swap, @function
	.p2align 4
thrum__ctx_swap:
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r15, 0
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movl	(%rsp), %eax
	movzwl	4(%rsp), %ecx
	movq	%rsp, (%rdi)

	/* Both stacks have the same frame here, so the unwind rules hold across this line. */
	movq	%rsi, %rsp

	xorl	(%rsp), %eax
	testl	$0xffc0, %eax
	jne	.Lload_mxcsr
.Lmxcsr_done:
	cmpw	4(%rsp), %cx
	jne	.Lload_x87
.Lx87_done:
	.cfi_remember_state
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbp
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rcx
	movq	%rdx, %rax
	notrack jmp *%rcx

	.cfi_restore_state
.Lload_mxcsr:
	ldmxcsr	(%rsp)
	jmp	.Lmxcsr_done
.Lload_x87:
	fldcw	4(%rsp)
	jmp	.Lx87_done
	.cfi_endproc
	.size	thrum__ctx_swap, . - thrum__ctx_swap

	.section .note.GNU-stack, "", @progbits
