/* SPDX-License-Identifier: MIT */
/*
 * thrum__switch_entry: the first instruction of a new context.
 *
 *   in   rsi = its frame, followed by +32 function, +40 its argument; rax = pass; rbp = 0;
 *        rsp 16-byte aligned
 *
 * What the function returns is where to go on, for good: by a return, so that each call has had its
 * own, and the return-stack predictor is right about the frames gone on in (switch.S). The return
 * address here is marked undefined and rbp is zero, so that
 * debuggers, profilers and unwinders, by CFI or by frame pointer, end their walk here.
 */
	.text
	.globl	thrum__switch_entry
	.hidden	thrum__switch_entry
	.type	thrum__switch_entry, @function
	.p2align 4
thrum__switch_entry:
	.cfi_startproc
	.cfi_undefined %rip
	endbr64
	movq	32(%rsi), %rcx
	movq	40(%rsi), %rdi
	movq	%rax, %rsi
	call	*%rcx
	movq	%rax, %rsi
	movq	%rdx, %rax
	jmp	thrum__switch_jump
	.cfi_endproc
	.size	thrum__switch_entry, . - thrum__switch_entry

	.section .note.GNU-stack, "", @progbits
