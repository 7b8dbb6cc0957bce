/* SPDX-License-Identifier: MIT */
/*
 * thrum__switch_entry: the first instruction of a new context.
 *
 *   in   x1 = its frame, followed by +32 function, +40 its argument; x2 = pass; x29 = 0;
 *        sp 16-byte aligned
 *
 * What the function returns is where to go on, for good: by a return, so that each call has had its
 * own, and the return-stack predictor is right about the frames gone on in (switch.S). The return
 * address here is marked undefined and x29 is zero, so that
 * debuggers, profilers and unwinders, by CFI or by frame pointer, end their walk here.
 */
	.text
	.globl	thrum__switch_entry
	.hidden	thrum__switch_entry
	.type	thrum__switch_entry, %function
	.p2align 4
thrum__switch_entry:
	.cfi_startproc
	.cfi_undefined x30
	hint	#34				/* bti c: `br x16` comes here */
	ldp	x9, x0, [x1, #32]
	mov	x1, x2
	blr	x9
	mov	x2, x1
	mov	x1, x0
	b	thrum__switch_jump
	.cfi_endproc
	.size	thrum__switch_entry, . - thrum__switch_entry

	/* GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI */
	.section .note.gnu.property, "a"
	.p2align 3
	.word	4, 16, 5
	.asciz	"GNU"
	.word	0xc0000000, 4, 1, 0

	.section .note.GNU-stack, "", %progbits
