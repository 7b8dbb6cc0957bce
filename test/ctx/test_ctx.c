/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <execinfo.h>
#include <fenv.h>

#include "base/base.h"
#include "ctx/ctx.h"

/* Two contexts: the test's own stack, and one that each test gives a function. */
static struct thrum__ctx home, away;
static struct thrum__stack stack;
static struct thrum__stack_cache cache;

static void go(void (*fn)(void *, void *), void *arg)
{
	ck_assert_int_eq(thrum__stack_get(&cache, thrum__stack_size(0), &stack), 0);
	thrum__ctx_adopt(&home);
	thrum__ctx_init(&away, &stack, fn, arg);
	thrum__ctx_switch(&home, &away, NULL);
}

static void done(void)
{
	thrum__ctx_fini(&away);
	thrum__stack_put(&cache, &stack);
	thrum__stack_cache_fini(&cache);
}

static void count_up(void *arg, void *pass)
{
	(void)pass;
	thrum__ctx_arrive(&away);
	for (int *count = arg; *count < 1000; ++*count)
		thrum__ctx_switch(&away, &home, NULL);
	thrum__ctx_leave(&away, &home, NULL);
}

START_TEST(a_context_goes_on_where_it_left)
{
	int count = 0;
	go(count_up, &count);
	for (int expected = 0; expected < 1000; expected++) {
		ck_assert_int_eq(count, expected);
		thrum__ctx_switch(&home, &away, NULL);
	}
	ck_assert_int_eq(count, 1000);
	done();
}
END_TEST

#if defined(__x86_64__)

static void trash_registers(void *arg, void *pass)
{
	(void)arg, (void)pass;
	thrum__ctx_arrive(&away);
	for (;;) {
		__asm__ volatile("movq $-1, %%rbx\n\tmovq $-2, %%r12\n\tmovq $-3, %%r13\n\t"
				 "movq $-4, %%r14\n\tmovq $-5, %%r15" ::
					 : "rbx", "r12", "r13", "r14", "r15");
		thrum__ctx_switch(&away, &home, NULL);
	}
}

START_TEST(callee_saved_registers_survive_a_switch)
{
	uint64_t out[5] = {0};
	go(trash_registers, NULL);
	thrum__fiber_leave(&home.fiber, &away.fiber, false);
	__asm__ volatile("movq $101, %%rbx\n\tmovq $102, %%r12\n\tmovq $103, %%r13\n\t"
			 "movq $104, %%r14\n\tmovq $105, %%r15\n\t"
			 "pushq %[out]\n\tsubq $8, %%rsp\n\t"
			 "call thrum__ctx_swap\n\t"
			 "addq $8, %%rsp\n\tpopq %%rax\n\t"
			 "movq %%rbx, 0(%%rax)\n\tmovq %%r12, 8(%%rax)\n\tmovq %%r13, 16(%%rax)\n\t"
			 "movq %%r14, 24(%%rax)\n\tmovq %%r15, 32(%%rax)"
			 :
			 : "D"(&home.sp), "S"(away.sp), [out] "a"(out)
			 : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
			 "r15", "memory", "cc");
	thrum__fiber_arrive(&home.fiber);
	for (uint64_t i = 0; i < 5; i++)
		ck_assert_uint_eq(out[i], 101 + i);
	done();
}
END_TEST

static uint32_t get_mxcsr(void)
{
	uint32_t mxcsr;
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	return mxcsr;
}

static uint16_t get_x87(void)
{
	uint16_t cw;
	__asm__ volatile("fnstcw %0" : "=m"(cw));
	return cw;
}

static void change_rounding(void *arg, void *pass)
{
	(void)pass;
	thrum__ctx_arrive(&away);
	uint32_t *seen = arg;
	seen[0] = get_mxcsr(), seen[1] = get_x87();
	fesetround(FE_UPWARD); /* both units */
	uint32_t mxcsr = get_mxcsr(), x87 = get_x87();
	thrum__ctx_switch(&away, &home, NULL);
	seen[2] = mxcsr == get_mxcsr() && x87 == get_x87() && fegetround() == FE_UPWARD;
	thrum__ctx_leave(&away, &home, NULL);
}

START_TEST(rounding_modes_belong_to_the_context)
{
	uint32_t seen[3] = {0};
	fesetround(FE_DOWNWARD);
	uint32_t mxcsr = get_mxcsr(), x87 = get_x87();
	go(change_rounding, seen);
	ck_assert_uint_eq(seen[0], mxcsr); /* inherited from the creator */
	ck_assert_uint_eq(seen[1], x87);
	ck_assert_uint_eq(get_mxcsr(), mxcsr);
	ck_assert_uint_eq(get_x87(), x87);
	fesetround(FE_TOWARDZERO);
	thrum__ctx_switch(&home, &away, NULL);
	ck_assert_uint_eq(seen[2], 1);
	ck_assert_int_eq(fegetround(), FE_TOWARDZERO);
	done();
}
END_TEST

#endif

static void walk(void *arg, void *pass)
{
	(void)pass;
	thrum__ctx_arrive(&away);
	void *frames[32];
	*(int *)arg = backtrace(frames, 32);
	thrum__ctx_leave(&away, &home, NULL);
}

START_TEST(a_backtrace_ends_at_the_entry)
{
	int frames = 0;
	go(walk, &frames);
	/* walk, the entry; one more where backtrace is wrapped by a sanitizer. */
	ck_assert_int_ge(frames, 2);
	ck_assert_int_le(frames, 3);
	done();
}
END_TEST

static int __attribute__((noinline)) recurse(volatile int depth)
{
	volatile char frame[512];
	frame[0] = (char)depth;
	return depth == 0 ? 0 : recurse(depth - 1) + frame[0];
}

static void overflow(void *arg, void *pass)
{
	(void)pass;
	thrum__ctx_arrive(&away);
	*(int *)arg = recurse(10000000);
	thrum__ctx_leave(&away, &home, NULL);
}

/* Run as a signal test: the child must die by SIGSEGV. */
START_TEST(an_overflow_hits_the_guard)
{
	int result = 0;
	go(overflow, &result);
	done();
}
END_TEST

Suite *suite_ctx(void)
{
	Suite *suite = suite_create("ctx/ctx");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, a_context_goes_on_where_it_left);
#if defined(__x86_64__)
	tcase_add_test(basic, callee_saved_registers_survive_a_switch);
	tcase_add_test(basic, rounding_modes_belong_to_the_context);
#endif
	tcase_add_test(basic, a_backtrace_ends_at_the_entry);
#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
	/* The sanitizer's own handler reports the fault and exits. */
	(void)an_overflow_hits_the_guard;
#else
	tcase_add_test_raise_signal(basic, an_overflow_hits_the_guard, 11 /* SIGSEGV */);
#endif
	suite_add_tcase(suite, basic);
	return suite;
}
