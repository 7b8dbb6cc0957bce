/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <fenv.h>
#include <signal.h>
#include <sys/time.h>
#include <unwind.h>

#include "base/base.h"
#include "ctx/ctx.h"

/* Two contexts: the test's own stack, and one that each test gives a function. */
static struct thrum__ctx home, away;
static struct thrum__stack stack;
static struct thrum__stack_cache cache;

static void prepare(struct thrum__ctx_next (*fn)(void *, void *), void *arg)
{
	ck_assert_int_eq(thrum__stack_get(&cache, thrum__stack_size(0), &stack), 0);
	thrum__ctx_adopt(&home);
	thrum__ctx_init(&away, &stack, fn, arg);
}

static void go(struct thrum__ctx_next (*fn)(void *, void *), void *arg)
{
	prepare(fn, arg);
	thrum__ctx_switch(&home, &away, NULL);
}

static void done(void)
{
	thrum__ctx_fini(&away);
	thrum__stack_put(&cache, &stack);
	thrum__stack_cache_fini(&cache);
}

static struct thrum__ctx_next count_up(void *arg, void *pass)
{
	(void)pass;
	thrum__ctx_arrive(&away);
	for (int *count = arg; *count < 1000; ++*count)
		thrum__ctx_switch(&away, &home, NULL);
	return thrum__ctx_end(&away, &home, NULL);
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

/* ---------------------------------------------------------------- what is handed over */

static struct thrum__ctx_next echo(void *arg, void *pass)
{
	thrum__ctx_arrive(&away);
	for (uintptr_t **seen = arg;; (*seen)++) {
		**seen = (uintptr_t)pass;
		pass = thrum__ctx_switch(&away, &home, (char *)pass + 1000);
	}
	__builtin_unreachable();
}

START_TEST(each_switch_hands_a_word_over)
{
	uintptr_t words[100] = {0}, *seen = words;
	prepare(echo, &seen);
	for (uintptr_t i = 0; i < 100; i++) {
		void *back = thrum__ctx_switch(&home, &away, (void *)(i + 1));
		ck_assert_uint_eq(words[i], i + 1); /* the first by way of the entry */
		ck_assert_uint_eq((uintptr_t)back, i + 1001);
	}
	done();
}
END_TEST

static struct thrum__ctx_next leave_with_arg(void *arg, void *pass)
{
	(void)pass;
	thrum__ctx_arrive(&away);
	thrum__ctx_leave(&away, &home, arg);
}

START_TEST(the_last_switch_hands_a_word_over)
{
	int word;
	prepare(leave_with_arg, &word);
	ck_assert_ptr_eq(thrum__ctx_switch(&home, &away, NULL), &word);
	done();
}
END_TEST

/* ---------------------------------------------------------------- registers */

/*
 * For each architecture, over the registers that a call must keep: SET(first) gives them values
 * that count up from `first`, and KEEP_ACROSS(function, out) sets them, calls a function, and
 * stores what is in them then. Saved floating-point registers are among them where there are any.
 */
#if defined(__x86_64__)

enum { KEPT = 5 };
#define KEPT_INT "rbx, r12, r13, r14, r15"
#define SET(first)                                                                     \
	".set n, " #first "\n\t.irp r, " KEPT_INT "\n\tmovq $n, %%\\r\n\t.set n, n + " \
						  "1\n\t.endr\n\t"
#define KEEP_ACROSS(function, out)                                                  \
	__asm__ volatile(SET(101) "movq %%rsp, %%rcx\n\t"                           \
				  "subq $144, %%rsp\n\tandq $-16, %%rsp\n\t"        \
				  "movq %%rcx, (%%rsp)\n\tmovq %%rax, 8(%%rsp)\n\t" \
				  "call " #function "\n\t"                          \
				  "movq 8(%%rsp), %%rax\n\tmovq (%%rsp), %%rsp\n\t" \
				  ".set n, 0\n\t.irp r, " KEPT_INT "\n\t"           \
				  "movq %%\\r, n(%%rax)\n\t.set n, n + 8\n\t.endr"  \
			 : "+a"(out)                                                \
			 :                                                          \
			 : "rcx", "rdx", "rsi", "rdi", THRUM__FRAME_CLOBBERS)

#elif defined(__aarch64__)

enum { KEPT = 18 };
#define KEPT_INT   "x19, x20, x21, x22, x23, x24, x25, x26, x27, x28"
#define KEPT_FLOAT "d8, d9, d10, d11, d12, d13, d14, d15"
#define SET(first)                                                                                \
	".set n, " #first "\n\t.irp r, " KEPT_INT "\n\tmov \\r, #n\n\t.set n, n + 1\n\t.endr\n\t" \
	".irp r, " KEPT_FLOAT "\n\tmov x9, #n\n\tfmov \\r, x9\n\t.set n, n + 1\n\t.endr\n\t"
#define KEEP_ACROSS(function, out)                                                   \
	do {                                                                         \
		register uint64_t *x0 __asm__("x0") = out;                           \
		__asm__ volatile("str x0, [sp, #-16]!\n\t" SET(                      \
			101) "bl " #function "\n\t"                                  \
			     "ldr x0, [sp], #16\n\t"                                 \
			     ".set n, 0\n\t.irp r, " KEPT_INT ", " KEPT_FLOAT "\n\t" \
			     "str \\r, [x0, #n]\n\t.set n, n + 8\n\t.endr"           \
				 : "+r"(x0)                                          \
				 :                                                   \
				 : "x1", "x2", "x3", THRUM__FRAME_CLOBBERS);         \
	} while (0)

#elif defined(__riscv)

enum { KEPT = 23 };
#define KEPT_INT   "s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11"
#define KEPT_FLOAT "fs0, fs1, fs2, fs3, fs4, fs5, fs6, fs7, fs8, fs9, fs10, fs11"
#define SET(first)                                                                              \
	".set n, " #first "\n\t.irp r, " KEPT_INT "\n\tli \\r, n\n\t.set n, n + 1\n\t.endr\n\t" \
	".irp r, " KEPT_FLOAT "\n\tli t0, n\n\tfmv.d.x \\r, t0\n\t.set n, n + 1\n\t.endr\n\t"
#define KEEP_ACROSS(function, out)                                                                \
	do {                                                                                      \
		register uint64_t *a0 __asm__("a0") = out;                                        \
		__asm__ volatile("addi sp, sp, -16\n\tsd a0, 0(sp)\n\t" SET(                      \
			101) "call " #function "\n\t"                                             \
			     "ld a0, 0(sp)\n\taddi sp, sp, 16\n\t"                                \
			     ".set n, 0\n\t.irp r, " KEPT_INT                                     \
			     "\n\tsd \\r, n(a0)\n\t.set n, n + 8\n\t.endr\n\t"                    \
			     ".irp r, " KEPT_FLOAT "\n\tfsd \\r, n(a0)\n\t.set n, n + 8\n\t.endr" \
				 : "+r"(a0)                                                       \
				 :                                                                \
				 : "a1", "a2", "a3",                                              \
				 THRUM__FRAME_CLOBBERS THRUM__FRAME_CLOBBERS_FLOAT);              \
	} while (0)

#endif

static struct thrum__ctx_next trash_registers(void *arg, void *pass)
{
	(void)arg, (void)pass;
	thrum__ctx_arrive(&away);
	for (;;) {
#if defined(__riscv)
		__asm__ volatile(SET(501)::: THRUM__FRAME_CLOBBERS THRUM__FRAME_CLOBBERS_FLOAT);
#else
		__asm__ volatile(SET(501)::: THRUM__FRAME_CLOBBERS);
#endif
		thrum__ctx_switch(&away, &home, NULL);
	}
	__builtin_unreachable();
}

/* Called by its name from assembly. */
__attribute__((used, noinline)) void test_ctx_there_and_back(void)
{
	thrum__ctx_switch(&home, &away, NULL);
}

START_TEST(callee_saved_registers_survive_a_switch)
{
	uint64_t words[KEPT] = {0}, *out = words;
	go(trash_registers, NULL);
	KEEP_ACROSS(test_ctx_there_and_back, out);
	for (uint64_t i = 0; i < KEPT; i++)
		ck_assert_uint_eq(words[i], 101 + i);
	done();
}
END_TEST

/* ---------------------------------------------------------------- control words */

/* The bits that a call must keep; the sticky status bits are not among them. */
static uint64_t control(void)
{
	struct thrum__frame now;
	thrum__frame_control(&now);
#if defined(__x86_64__)
	return (now.mxcsr & 0xffc0) | (uint64_t)now.x87 << 32;
#elif defined(__aarch64__)
	return now.fpcr;
#else
	return now.frm;
#endif
}

/* 0: the rounding mode. The others, where there are such: denormals are zero; x87's precision. */
static void change_control(int which)
{
	if (which == 0)
		fesetround(fegetround() == FE_UPWARD ? FE_TOWARDZERO : FE_UPWARD);
#if defined(__x86_64__)
	struct thrum__frame now;
	thrum__frame_control(&now);
	now.mxcsr ^= 0x8040;
	now.x87 ^= 0x0100;
	if (which == 1)
		__asm__ volatile("ldmxcsr %0" : : "m"(now.mxcsr));
	if (which == 2)
		__asm__ volatile("fldcw %0" : : "m"(now.x87));
#elif defined(__aarch64__)
	if (which == 1)
		__asm__ volatile("msr fpcr, %0" : : "r"(control() ^ (uint64_t)1 << 24));
#endif
}

struct controls {
	int which;
	uint64_t inherited, mine, later;
};

static struct thrum__ctx_next change_and_leave(void *arg, void *pass)
{
	(void)pass;
	thrum__ctx_arrive(&away);
	struct controls *seen = arg;
	seen->inherited = control();
	change_control(seen->which);
	seen->mine = control();
	thrum__ctx_switch(&away, &home, NULL);
	seen->later = control();
	thrum__ctx_leave(&away, &home, NULL);
}

START_TEST(control_words_belong_to_the_context)
{
	struct controls seen = {.which = _i};
	fesetround(FE_DOWNWARD);
	uint64_t at_first = control();
	go(change_and_leave, &seen);
	uint64_t back = control();
	change_control(0);
	uint64_t changed = control();
	thrum__ctx_switch(&home, &away, NULL);
	uint64_t at_last = control();
	fesetround(FE_TONEAREST);
	ck_assert_uint_eq(seen.inherited, at_first);
	ck_assert_uint_eq(back, at_first);
	ck_assert_uint_ne(changed, at_first);
	ck_assert_uint_eq(seen.later, seen.mine);
	ck_assert_uint_eq(at_last, changed);
	if (_i == 0)
		ck_assert_uint_ne(seen.mine, seen.inherited);
	done();
}
END_TEST

/* ---------------------------------------------------------------- unwinding */

struct trail {
	unsigned count;
	void *functions[16];
};

static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *arg)
{
	struct trail *trail = arg;
	if (trail->count == 16)
		return _URC_END_OF_STACK;
	int exact = 0; /* not a return address but where a signal came */
	uintptr_t at = _Unwind_GetIPInfo(context, &exact);
	/* The search is for a return address, whose call may be the last in its function. */
	trail->functions[trail->count++] =
		_Unwind_FindEnclosingFunction((void *)(at + (exact != 0)));
	return _URC_NO_REASON;
}

static struct thrum__ctx_next walk(void *arg, void *pass)
{
	(void)pass;
	thrum__ctx_arrive(&away);
	_Unwind_Backtrace(note, arg);
	thrum__ctx_leave(&away, &home, NULL);
}

void thrum__switch_entry(void);

START_TEST(a_backtrace_ends_at_the_entry)
{
	struct trail trail = {0};
	go(walk, &trail);
	ck_assert_uint_ge(trail.count, 2);
	ck_assert_uint_le(trail.count, 3); /* some unwinders report the end itself */
	ck_assert_ptr_eq(trail.functions[0], (void *)walk);
	ck_assert_ptr_eq(trail.functions[1], (void *)thrum__switch_entry);
	done();
}
END_TEST

/*
 * Backtraces from within the switch, in the handler of a signal: where the processor can raise one
 * after each instruction from each of them, elsewhere from wherever a timer happens to strike.
 */
void thrum__switch_swap(void);

enum { SAMPLES = 200 };

/* Without a frame pointer their frames are found by the stack pointer, which then must be right. */
#if defined(__clang__)
#define SAMPLED __attribute__((noinline))
#else
#define SAMPLED __attribute__((noinline, optimize("omit-frame-pointer")))
#endif

static volatile unsigned samples, astray; /* of those, walks that led to neither context's frames */

static SAMPLED void sampled_home(void)
{
	for (int i = 0; i < 100000 && samples < SAMPLES; i++)
		thrum__ctx_switch(&home, &away, NULL);
}

static SAMPLED struct thrum__ctx_next sampled_away(void *arg, void *pass)
{
	(void)arg, (void)pass;
	thrum__ctx_arrive(&away);
	for (;;)
		thrum__ctx_switch(&away, &home, NULL);
	__builtin_unreachable();
}

static bool leads_somewhere(const struct trail *trail, unsigned from)
{
	if (from + 1 >= trail->count)
		return false;
	if (trail->functions[from] == (void *)sampled_away)
		return trail->functions[from + 1] == (void *)thrum__switch_entry;
	return trail->functions[from] == (void *)sampled_home && trail->functions[from + 1] != NULL;
}

static void sample(int signal)
{
	(void)signal;
	struct trail trail = {0};
	_Unwind_Backtrace(note, &trail);
	for (unsigned i = 0; i < trail.count; i++) {
		if (trail.functions[i] != (void *)thrum__switch_swap)
			continue;
		samples++;
		astray += !leads_somewhere(&trail, i + 1);
	}
}

static void raise_signals(bool on)
{
#if defined(__x86_64__)
	uint64_t flags = __builtin_ia32_readeflags_u64();
	__builtin_ia32_writeeflags_u64(on ? flags | 0x100 : flags & ~(uint64_t)0x100);
#else
	struct itimerval each = {
		.it_interval.tv_usec = on ? 100 : 0, .it_value.tv_usec = on ? 100 : 0};
	setitimer(ITIMER_REAL, &each, NULL);
#endif
}

START_TEST(a_switch_can_be_unwound_at_any_instruction)
{
	struct sigaction action = {.sa_handler = sample};
	sigaction(SIGTRAP, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	go(sampled_away, NULL);
	raise_signals(true);
	sampled_home();
	raise_signals(false);
#if defined(__x86_64__)
	ck_assert_uint_ge(samples, SAMPLES);
#endif
	ck_assert_uint_eq(astray, 0);
	done();
}
END_TEST

static int __attribute__((noinline)) recurse(volatile int depth)
{
	volatile char frame[512];
	frame[0] = (char)depth;
	return depth == 0 ? 0 : recurse(depth - 1) + frame[0];
}

static struct thrum__ctx_next overflow(void *arg, void *pass)
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
	tcase_add_test(basic, each_switch_hands_a_word_over);
	tcase_add_test(basic, the_last_switch_hands_a_word_over);
	tcase_add_test(basic, callee_saved_registers_survive_a_switch);
	tcase_add_loop_test(basic, control_words_belong_to_the_context, 0, 3);
	tcase_add_test(basic, a_backtrace_ends_at_the_entry);
#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
	/* Their interceptors do not let a handler unwind. */
	(void)a_switch_can_be_unwound_at_any_instruction;
	/* The sanitizer's own handler reports the fault and exits. */
	(void)an_overflow_hits_the_guard;
#else
	tcase_add_test(basic, a_switch_can_be_unwound_at_any_instruction);
	tcase_add_test_raise_signal(basic, an_overflow_hits_the_guard, 11 /* SIGSEGV */);
#endif
	suite_add_tcase(suite, basic);
	return suite;
}
