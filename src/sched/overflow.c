/* SPDX-License-Identifier: MIT */
#include "sched/overflow.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sched/sched_internal.h"

/*
 * The handler runs on an alternate stack, as there is nothing left of the thread's own. It claims
 * only a fault in the guard of the green thread that runs on this OS thread; every other one, and
 * this one after its line is written, is handed to whatever was there before: the program's own
 * handler, a sanitizer's, or the default. For the default the handler takes itself away and
 * returns, so that the instruction faults again and the core shows the overflow itself.
 *
 * All of it is async-signal-safe: no stdio, no allocation, no lock.
 */

enum { SIGNALS = 2, NAME_MOST = 64 };

static const int signals[SIGNALS] = {SIGSEGV, SIGBUS};
static struct sigaction before[SIGNALS]; /* written before the handler is there */
static size_t guard;                     /* likewise */

static _Thread_local void *alternate; /* the OS thread's alternate stack, if it is ours */

/* ---------------------------------------------------------------- the line */

struct line {
	char text[768];
	size_t len;
};

static void add_char(struct line *line, char c)
{
	if (line->len < sizeof(line->text) - 1) /* room for the line's end */
		line->text[line->len++] = c;
}

/* A text of at most `most` bytes, without what would paint on a terminal. */
static void add_text(struct line *line, const char *text, size_t most)
{
	for (; *text != '\0' && most > 0; text++, most--)
		add_char(line, (unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
}

static void add_number(struct line *line, uint64_t number, unsigned base)
{
	char digits[20];
	size_t count = 0;
	do {
		digits[count++] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number != 0);
	while (count > 0)
		add_char(line, digits[--count]);
}

static void report(
	const struct thrum_thread *thread, const struct thrum__stack *stack, char *address)
{
	struct line line = {.len = 0};
	add_text(&line, "thrum: stack overflow: green thread ", SIZE_MAX);
	add_number(&line, thread->id, 10);
	if (thread->name != NULL) {
		add_text(&line, " '", SIZE_MAX);
		add_text(&line, thread->name, NAME_MOST);
		add_text(&line, "'", SIZE_MAX);
	}
	add_text(&line, " (spawned at ", SIZE_MAX);
	add_text(&line, thread->site, sizeof(line.text) / 2);
	add_text(&line, ") needs more than its ", SIZE_MAX);
	add_number(&line, stack->size + guard, 10);
	add_text(&line, " bytes at 0x", SIZE_MAX);
	add_number(&line, (uintptr_t)address, 16);
	add_text(&line, "; give it a larger stack_size in thrum_attr, or all in thrum_config",
		SIZE_MAX);
	line.text[line.len++] = '\n';
	ssize_t written = write(STDERR_FILENO, line.text, line.len);
	(void)written;
}

/* ---------------------------------------------------------------- the handler */

/* What the kernel would have done, had we not been there. */
static void hand_on(int number, siginfo_t *info, void *context)
{
	const struct sigaction *action = &before[number == signals[0] ? 0 : 1];
	const struct sigaction fatal = {.sa_handler = SIG_DFL};
	bool sent = info->si_code <= 0; /* by somebody, not by a fault */
	bool is_function = (action->sa_flags & SA_SIGINFO) != 0 ||
			   (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
	if (!is_function && sent && action->sa_handler == SIG_IGN)
		return;
	if (!is_function || (action->sa_flags & (int)SA_RESETHAND) != 0)
		(void)sigaction(number, &fatal, NULL);
	if (!is_function) {
		if (sent)
			(void)raise(number); /* it is blocked until we return */
	} else if ((action->sa_flags & SA_SIGINFO) != 0) {
		action->sa_sigaction(number, info, context);
	} else {
		action->sa_handler(number);
	}
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	struct thrum__machine *machine = thrum__machine_self();
	struct thrum_thread *thread = machine == NULL ? NULL : machine->current;
	if (thread != NULL && info->si_code > 0) {
		struct thrum__stack stack = thrum__stack_at(thread->home);
		char *base = stack.base, *address = info->si_addr;
		if (address < base && address >= base - guard)
			report(thread, &stack, address);
	}
	hand_on(number, info, context);
}

static void install(void)
{
	guard = thrum__stack_guard();
	for (int i = 0; i < SIGNALS; i++) {
		CHECK(sigaction(signals[i], NULL, &before[i]) == 0);
		struct sigaction action = {
			.sa_sigaction = on_fault,
			.sa_mask = before[i].sa_mask,
			.sa_flags = SA_SIGINFO | SA_ONSTACK | (before[i].sa_flags & SA_NODEFER),
		};
		CHECK(sigaction(signals[i], &action, NULL) == 0);
	}
}

void thrum__overflow_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(pthread_once(&once, install) == 0);
}

/* ---------------------------------------------------------------- alternate stacks */

/* Large enough for a program's own handler, which runs on it too; memory only where touched. */
static size_t alternate_size(void)
{
	long least = sysconf(_SC_MINSIGSTKSZ);
	return least > 32768 ? 2 * (size_t)least : 65536;
}

void thrum__overflow_arm(void)
{
	thrum__overflow_init();
	stack_t there;
	if (sigaltstack(NULL, &there) != 0 || (there.ss_flags & SS_DISABLE) == 0)
		return;
	size_t size = alternate_size();
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (memory == MAP_FAILED)
		return;
	CHECK(sigaltstack(&(stack_t){.ss_sp = memory, .ss_size = size}, NULL) == 0);
	alternate = memory;
}

void thrum__overflow_disarm(void)
{
	if (alternate == NULL)
		return;
	stack_t there;
	CHECK(sigaltstack(NULL, &there) == 0);
	/* The program may have put another one in its place meanwhile. */
	if (there.ss_sp == alternate)
		CHECK(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) == 0);
	(void)munmap(alternate, alternate_size());
	alternate = NULL;
}
