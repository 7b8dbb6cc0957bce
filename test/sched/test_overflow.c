/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "sched/sched_internal.h"
#include <thrum/thread.h>

/*
 * Each case is a process that must die of something; what it said on standard error and how it
 * ended is looked at from outside. Under a sanitizer its own handler follows ours, and ends the
 * process with a status instead of the signal.
 */

#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

struct death {
	char said[16384];
	int status;
};

static struct death die(void (*body)(void))
{
	static struct death death;
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	fflush(NULL);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		body();
		_exit(0);
	}
	close(ends[1]);
	size_t len = 0, room = sizeof(death.said) - 1;
	char rest[4096];
	for (ssize_t got;;) {
		if (len < room)
			got = read(ends[0], death.said + len, room - len);
		else
			got = read(ends[0], rest, sizeof(rest));
		if (got <= 0)
			break;
		if (len < room)
			len += (size_t)got;
	}
	death.said[len] = '\0';
	close(ends[0]);
	ck_assert_int_eq(waitpid(child, &death.status, 0), child);
	return death;
}

static void check_killed(const struct death *death, int number)
{
	if (SANITIZED) {
		ck_assert_msg(death->status != 0, "%s", death->said);
	} else {
		ck_assert_msg(WIFSIGNALED(death->status), "%d %s", death->status, death->said);
		ck_assert_int_eq(WTERMSIG(death->status), number);
	}
}

static void run(unsigned workers, thrum_fn fn)
{
	struct thrum_config config = {.workers = workers};
	if (thrum_run(&config, fn, NULL, NULL) != 0)
		_exit(77);
}

/* Never ends; in steps that no guard is too small for. */
static int __attribute__((noinline)) recurse(volatile int depth)
{
	volatile char frame[512];
	frame[0] = (char)depth;
	return depth < 0 ? 0 : recurse(depth + 1) + frame[0];
}

static void *overflow(void *arg)
{
	return recurse(0) == 0 ? arg : NULL;
}

static void spawn_and_wait(thrum_fn fn, const struct thrum_attr *attr, const char *site)
{
	struct thrum_thread *thread;
	if (thrum_spawn_at(&thread, fn, NULL, attr, site) != 0 ||
		thrum_join(thread, NULL, THRUM_FOREVER) != 0)
		_exit(76);
}

/* ---------------------------------------------------------------- overflows */

static void *spawn_parser(void *arg)
{
	struct thrum_attr attr = {.name = "parser\n", .stack_size = 65536};
	spawn_and_wait(overflow, &attr, "main.c:42");
	return arg;
}

static void parser(void)
{
	run(1, spawn_parser);
}

START_TEST(an_overflow_names_the_thread_its_site_and_its_size)
{
	struct death death = die(parser);
	check_killed(&death, SIGSEGV);
	unsigned long long id;
	size_t size;
	uintptr_t address;
	int end = 0;
	char *line = strstr(death.said, "thrum: stack overflow: ");
	ck_assert_ptr_nonnull(line);
	int read = sscanf(line,
		"thrum: stack overflow: green thread %llu 'parser?' (spawned at main.c:42) needs "
		"more than its %zu bytes at 0x%" SCNxPTR
		"; give it a larger stack_size in thrum_attr, or all in thrum_config\n%n",
		&id, &size, &address, &end);
	ck_assert_msg(read == 3 && end > 0, "%s", line);
	ck_assert_uint_gt(id, 0);
	ck_assert_uint_eq(size, thrum__stack_size(65536));
	ck_assert_uint_gt(address, 65536);
	ck_assert_ptr_null(strstr(line + 1, "thrum: stack overflow"));
}
END_TEST

static void first_thread(void)
{
	run(2, overflow);
}

START_TEST(the_first_thread_overflows_like_any_other)
{
	struct death death = die(first_thread);
	check_killed(&death, SIGSEGV);
	ck_assert_ptr_nonnull(strstr(death.said, " 'main' (spawned at thrum_run) needs more than"));
}
END_TEST

/* Ends up on another OS thread than the one that called thrum_run. */
static void *overflow_elsewhere(void *home)
{
	while (pthread_equal(pthread_self(), *(pthread_t *)home))
		thrum_yield();
	return overflow(NULL);
}

static void *spawn_elsewhere(void *arg)
{
	pthread_t self = pthread_self();
	struct thrum_thread *thread;
	if (thrum_spawn_at(&thread, overflow_elsewhere, &self, NULL, "elsewhere.c:1") == 0)
		for (;;) /* holds this OS thread, so that it is the other one's */
			sched_yield();
	return arg;
}

static void elsewhere(void)
{
	run(2, spawn_elsewhere);
}

START_TEST(it_is_seen_on_every_worker)
{
	struct death death = die(elsewhere);
	check_killed(&death, SIGSEGV);
	ck_assert_ptr_nonnull(strstr(death.said, " (spawned at elsewhere.c:1) needs more than"));
}
END_TEST

/* Spins for long enough that its worker is handed to another OS thread. */
static void *overflow_late(void *arg)
{
	thrum_deadline end = thrum_after(60 * THRUM_MS);
	while (thrum_now() < end)
		;
	return overflow(arg);
}

static void *spawn_late(void *arg)
{
	struct thrum_attr attr = {.name = "hog"};
	struct thrum_thread *thread;
	if (thrum_spawn_at(&thread, overflow_late, NULL, &attr, "late.c:1") != 0)
		return NULL;
	for (;;)
		if (thrum_sleep(THRUM_MS) != 0) /* there is work meanwhile */
			return arg;
}

static void late(void)
{
	run(1, spawn_late);
}

START_TEST(it_is_seen_in_a_hog_whose_worker_was_handed_over)
{
	struct death death = die(late);
	check_killed(&death, SIGSEGV);
	ck_assert_ptr_nonnull(strstr(death.said, " 'hog' (spawned at late.c:1) needs more than"));
}
END_TEST

/* ---------------------------------------------------------------- what is none */

static void *volatile nowhere = (void *)64; /* NULL itself UBSan would see first */

static void *touch_null(void *arg)
{
	*(volatile int *)nowhere = 1;
	return arg;
}

static void null_pointer(void)
{
	run(1, touch_null);
}

START_TEST(a_null_pointer_is_no_overflow)
{
	struct death death = die(null_pointer);
	check_killed(&death, SIGSEGV);
	ck_assert_ptr_null(strstr(death.said, "thrum:"));
}
END_TEST

/* The guard of a stack that is not the caller's. */
static void *touch_foreign_guard(void *arg)
{
	struct thrum__stack_cache cache = {.count = 0};
	struct thrum__stack other;
	if (thrum__stack_get(&cache, thrum__stack_size(0), &other) == 0)
		((volatile char *)other.base)[-1] = 1;
	return arg;
}

static void foreign_guard(void)
{
	run(1, touch_foreign_guard);
}

START_TEST(the_guard_of_another_stack_is_no_overflow)
{
	struct death death = die(foreign_guard);
	check_killed(&death, SIGSEGV);
	ck_assert_ptr_null(strstr(death.said, "thrum:"));
}
END_TEST

static void *raise_signal(void *arg)
{
	raise(SIGSEGV);
	return arg;
}

static void sent_signal(void)
{
	run(1, raise_signal);
	_exit(78); /* not reached */
}

START_TEST(a_signal_that_was_sent_kills_as_ever)
{
	struct death death = die(sent_signal);
	check_killed(&death, SIGSEGV);
	ck_assert_ptr_null(strstr(death.said, "thrum:"));
}
END_TEST

static void ignored_signal(void)
{
	signal(SIGSEGV, SIG_IGN);
	run(1, raise_signal);
	_exit(0);
}

START_TEST(a_sent_signal_that_is_ignored_stays_ignored)
{
	struct death death = die(ignored_signal);
	ck_assert_int_eq(death.status, 0);
}
END_TEST

static void *bus_error(void *arg)
{
	char name[] = "/tmp/thrum-overflow-XXXXXX";
	int file = mkstemp(name);
	if (file < 0)
		return arg;
	unlink(name);
	volatile char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	page[0] = 1; /* beyond the end of the file */
	return arg;
}

static void bus(void)
{
	run(1, bus_error);
}

START_TEST(a_bus_error_is_none_either)
{
	struct death death = die(bus);
	check_killed(&death, SIGBUS);
	ck_assert_ptr_null(strstr(death.said, "thrum:"));
}
END_TEST

/* ---------------------------------------------------------------- the program's own handler */

static void own_handler(int number, siginfo_t *info, void *context)
{
	(void)context;
	static const char text[] = "own handler\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(written > 0 && number == SIGSEGV && info->si_addr == nowhere ? 42 : 43);
}

static void handle_with(void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
	if (sigaction(SIGSEGV, &action, NULL) != 0)
		_exit(79);
}

static void *nothing(void *arg)
{
	return arg;
}

static void handler_before(void)
{
	handle_with(own_handler, 0);
	run(1, touch_null);
}

static void handler_after(void)
{
	run(1, nothing);
	handle_with(own_handler, 0);
	run(1, touch_null);
}

START_TEST(a_handler_of_the_program_is_still_called)
{
	struct death death = die(_i == 0 ? handler_before : handler_after);
	ck_assert_str_eq(death.said, "own handler\n");
	ck_assert(WIFEXITED(death.status));
	ck_assert_int_eq(WEXITSTATUS(death.status), 42);
}
END_TEST

static void plain_handler(int number)
{
	_exit(number == SIGSEGV ? 44 : 45);
}

static void overflow_with_handler(void)
{
	signal(SIGSEGV, plain_handler);
	run(1, overflow);
}

START_TEST(a_handler_of_the_program_follows_the_report)
{
	struct death death = die(overflow_with_handler);
	ck_assert_ptr_nonnull(strstr(death.said, "thrum: stack overflow: "));
	ck_assert(WIFEXITED(death.status));
	ck_assert_int_eq(WEXITSTATUS(death.status), 44);
}
END_TEST

/* A handler that mends what faulted: the program goes on. */
static char *mended;

static void mend(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (number != SIGSEGV || (char *)info->si_addr != mended)
		_exit(46);
	if (mprotect(mended, 4096, PROT_READ | PROT_WRITE) != 0)
		_exit(47);
}

static void *touch_mended(void *arg)
{
	for (int i = 0; i < 3; i++) {
		*(volatile char *)mended = 1;
		if (mprotect(mended, 4096, PROT_NONE) != 0)
			_exit(48);
		thrum_yield();
	}
	return arg;
}

static void mending(void)
{
	mended = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	handle_with(mend, 0);
	run(1, touch_mended);
	_exit(50);
}

START_TEST(a_handler_that_mends_the_fault_lets_the_program_go_on)
{
	struct death death = die(mending);
	ck_assert(WIFEXITED(death.status));
	ck_assert_int_eq(WEXITSTATUS(death.status), 50);
}
END_TEST

static void once_only(void)
{
	mended = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	handle_with(mend, (int)SA_RESETHAND);
	run(1, touch_mended);
	_exit(50);
}

START_TEST(a_handler_for_one_time_is_called_once)
{
	struct death death = die(once_only);
	if (SANITIZED)
		return; /* which handler its interceptors set back to is theirs to say */
	check_killed(&death, SIGSEGV);
}
END_TEST

/* ---------------------------------------------------------------- alternate stacks */

START_TEST(an_os_thread_keeps_the_alternate_stack_it_has)
{
	static char own[65536];
	stack_t before = {.ss_sp = own, .ss_size = sizeof(own)}, after;
	ck_assert_int_eq(sigaltstack(&before, NULL), 0);
	thrum__overflow_arm();
	ck_assert_int_eq(sigaltstack(NULL, &after), 0);
	ck_assert_ptr_eq(after.ss_sp, own);
	thrum__overflow_disarm();
	ck_assert_int_eq(sigaltstack(NULL, &after), 0);
	ck_assert_ptr_eq(after.ss_sp, own);
	ck_assert_int_eq(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL), 0);
	thrum__overflow_arm();
	ck_assert_int_eq(sigaltstack(NULL, &after), 0);
	ck_assert_int_eq(after.ss_flags & SS_DISABLE, 0);
	ck_assert_ptr_ne(after.ss_sp, own);
	thrum__overflow_disarm();
	ck_assert_int_eq(sigaltstack(NULL, &after), 0);
	ck_assert_int_ne(after.ss_flags & SS_DISABLE, 0);
}
END_TEST

Suite *suite_overflow(void)
{
	Suite *suite = suite_create("sched/overflow");
	TCase *report = tcase_create("report");
	tcase_add_test(report, an_overflow_names_the_thread_its_site_and_its_size);
	tcase_add_test(report, the_first_thread_overflows_like_any_other);
	tcase_add_test(report, it_is_seen_on_every_worker);
	tcase_add_test(report, it_is_seen_in_a_hog_whose_worker_was_handed_over);
	suite_add_tcase(suite, report);
	TCase *others = tcase_create("others");
	tcase_add_test(others, a_null_pointer_is_no_overflow);
	tcase_add_test(others, the_guard_of_another_stack_is_no_overflow);
	tcase_add_test(others, a_signal_that_was_sent_kills_as_ever);
	tcase_add_test(others, a_sent_signal_that_is_ignored_stays_ignored);
	tcase_add_test(others, a_bus_error_is_none_either);
	tcase_add_loop_test(others, a_handler_of_the_program_is_still_called, 0, 2);
	tcase_add_test(others, a_handler_of_the_program_follows_the_report);
	tcase_add_test(others, a_handler_that_mends_the_fault_lets_the_program_go_on);
	tcase_add_test(others, a_handler_for_one_time_is_called_once);
	tcase_add_test(others, an_os_thread_keeps_the_alternate_stack_it_has);
	suite_add_tcase(suite, others);
	return suite;
}
