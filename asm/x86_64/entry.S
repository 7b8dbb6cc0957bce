/* SPDX-License-Identifier: MIT */
/*
 * thrum__ctx_entry: the first instruction of a new context; thrum__ctx_swap jumps here.
 *
 *   in   r12 = function, r13 = its argument, rax = pass, rbp = 0, rsp 16-byte aligned
 *
 * The function never returns. The return address is marked undefined and rbp is zero, so that
 * debuggers, profilers and unwinders, by CFI or by frame pointer, end their walk here.
 */
	.text
	.globl	thrum__ctx_entry
	.hidden	thrum__ctx_entry
	.type	thrum__ctx_entry, @function
	.p2align 4
thrum__ctx_entry:
	.cfi_startproc
	.cfi_undefined %rip
	endbr64
	movq	%r13, %rdi
	movq	%rax, %rsi
	call	*%r12
	ud2
	.cfi_endproc
	.size	thrum__ctx_entry, . - thrum__ctx_entry

	.section .note.GNU-stack, "", @progbits
