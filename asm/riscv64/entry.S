/* SPDX-License-Identifier: MIT */
/*
 * thrum__switch_entry: the first instruction of a new context.
 *
 *   in   a1 = its frame, followed by +32 function, +40 its argument; a2 = pass; s0 = 0;
 *        sp 16-byte aligned
 *
 * What the function returns is where to go on, for good: by a return, so that each call has had its
 * own, and the return-stack predictor is right about the frames gone on in (switch.S). The return
 * address here is marked undefined and s0 is zero, so that
 * debuggers, profilers and unwinders, by CFI or by frame pointer, end their walk here.
 */
	.text
	.globl	thrum__switch_entry
	.hidden	thrum__switch_entry
	.type	thrum__switch_entry, @function
	.p2align 2
thrum__switch_entry:
	.cfi_startproc
	.cfi_undefined ra
	ld	t1, 32(a1)
	ld	a0, 40(a1)
	mv	a1, a2
	jalr	t1
	mv	a2, a1
	mv	a1, a0
	tail	thrum__switch_jump
	.cfi_endproc
	.size	thrum__switch_entry, . - thrum__switch_entry

	.section .note.GNU-stack, "", @progbits
