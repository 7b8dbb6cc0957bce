/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "sched/fence.h"

/*
 * The monitor: an OS thread for each runtime that looks at every processor once a millisecond
 * while something runs, and sleeps while nothing does. It is what makes the promises of the others
 * hold in the long run:
 *
 *   hogs       a thread that holds its machine for long loses its processor (below)
 *   lone work  that has waited for a tick wakes a thief (dispatch.c)
 *   polling    a processor that has not polled for a tick is told to at its next dispatch
 *   timers     of a processor whose thread is busy are fired from here
 *   stopping   who was started while the runtime began to stop is cancelled, too; the end of the
 *              last thread is noticed; those that refuse to stop are named
 *   memory     when all has been idle for a second, stacks are given back
 *
 * Hogs.  A processor whose dispatch count stands still and whose machine is in USER is with one
 * green thread in foreign code. If there is something it keeps waiting (queued threads, due timers,
 * descriptors, joiners that are carried), it is taken:
 *   - after a tick or two, if its OS thread sleeps in the kernel: its processor clock has not
 *     moved, and the kernel says so, too, for on a loaded machine a clock may stand still for
 *     other reasons.
 *   - after ten milliseconds otherwise: it computes.
 * The new machine exists before the claim (I2 of handoff.c).
 *
 * Sleeping.  Dekker with a machine that leaves idleness:
 *
 *   monitor                            machine (idle in dispatch.c)
 *   1 asleep = 1                       1 off the idle list: count--
 *   2 FENCE                            2 FENCE
 *   3 all idle? sleep on `asleep`      3 asleep? set it to 0 and wake the monitor
 *
 * Rejected: a signal to the hog (EINTR in foreign code, handlers that must be safe anywhere);
 * a timer of each machine (the same, and an interrupt for each).
 */

#define TICK      THRUM_MS
#define SPIN_NS   (9 * THRUM_MS) /* seen for so long; a tick passed before it was first seen */
#define SETTLE_NS THRUM_S        /* idle for so long: give memory back */

#define RAPID_NS (THRUM_US / 2) /* between dispatches: see dispatch.c */

enum { RAPID_CALL = 8 }; /* of so many ticks at which a processor is rapid, one calls a thief */

enum { TOKENS_MIN = 1, TOKENS_MAX = 64 };

/* ---------------------------------------------------------------- hogs */

static int64_t cpu_time(const struct thrum__machine *machine)
{
	struct timespec ts;
	if (clock_gettime(machine->clock, &ts) != 0)
		return 0;
	return ts.tv_sec * THRUM_S + ts.tv_nsec;
}

/* Does the kernel say that this OS thread is on a processor, or waits for one? */
static bool runnable(const struct thrum__machine *machine)
{
	char path[64], line[256];
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)machine->os_id);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	ssize_t got = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (got <= 0)
		return true;
	line[got] = '\0';
	const char *name_end = strrchr(line, ')');
	return name_end == NULL || strlen(name_end) < 3 || name_end[2] == 'R';
}

static bool keeps_waiting(
	struct thrum__processor *processor, const struct thrum__machine *machine, int64_t now)
{
	/* A joiner that is carried sees its deadline, or that it is cancelled, only when published. */
	return __atomic_load_n(&machine->carried, __ATOMIC_RELAXED) != NULL ||
	       thrum__processor_load(processor) > 0 ||
	       thrum__queue_count(&processor->runtime->inject) > 0 ||
	       thrum__queue_count(&processor->mail) > 0 ||
	       __atomic_load_n(&processor->next_timer, __ATOMIC_RELAXED) <= now ||
	       thrum__driver_armed(processor->driver);
}

static bool is_hog(struct thrum__processor *processor, struct thrum__machine *machine, int64_t now)
{
	struct thrum__watch *watch = &processor->watch;
	if (now - watch->since >= SPIN_NS)
		return true;
	int64_t cpu = cpu_time(machine), before = watch->cpu, before_at = watch->cpu_at;
	watch->cpu = cpu;
	watch->cpu_at = now;
	return before_at != 0 && cpu - before < (now - before_at) / 16 && !runnable(machine);
}

static void take(struct thrum__processor *processor, struct thrum__machine *from)
{
	struct thrum__runtime *runtime = processor->runtime;
	if (__atomic_load_n(&runtime->detached, __ATOMIC_RELAXED) >= runtime->detached_max) {
		__atomic_fetch_add(&runtime->handed.capped, 1, __ATOMIC_RELAXED);
		return;
	}
	struct thrum__machine *to = thrum__spare_take(runtime);
	if (to == NULL)
		return;
	if (!thrum__handoff(processor, from, to)) {
		thrum__spare_put(to);
		return;
	}
	__atomic_fetch_add(&runtime->handed.handoffs, 1, __ATOMIC_RELAXED);
	processor->watch.since = thrum_now();
	processor->watch.cpu_at = 0;
}

/* The same dispatch as at the last tick. */
static void check_busy(struct thrum__processor *processor, int64_t now)
{
	struct thrum__machine *machine = __atomic_load_n(&processor->machine, __ATOMIC_ACQUIRE);
	if (__atomic_load_n(&machine->claim.state, __ATOMIC_ACQUIRE) != THRUM__USER)
		return; /* asleep in its driver, say */
	thrum__timers_fire(processor);
	if (keeps_waiting(processor, machine, now) && is_hog(processor, machine, now))
		take(processor, machine);
}

/* ---------------------------------------------------------------- one look */

static void set_tokens(struct thrum__processor *processor, bool waited)
{
	struct thrum__watch *watch = &processor->watch;
	uint64_t stolen = __atomic_load_n(&processor->stolen, __ATOMIC_RELAXED);
	bool spent = __atomic_load_n(&processor->tokens, __ATOMIC_RELAXED) < watch->tokens;
	if ((waited || stolen != watch->stolen) && watch->tokens < TOKENS_MAX)
		watch->tokens *= 2;
	else if (spent && stolen == watch->stolen && watch->tokens > TOKENS_MIN)
		watch->tokens /= 2;
	watch->stolen = stolen;
	__atomic_store_n(&processor->tokens, watch->tokens, __ATOMIC_RELAXED);
}

static void look(struct thrum__processor *processor, int64_t now)
{
	struct thrum__watch *watch = &processor->watch;
	uint64_t dispatches = __atomic_load_n(&processor->counters.dispatches, __ATOMIC_RELAXED);
	uint64_t polls = __atomic_load_n(&processor->counters.polls, __ATOMIC_RELAXED) +
			 __atomic_load_n(&processor->counters.sleeps, __ATOMIC_RELAXED);
	bool waited = dispatches == watch->dispatches && thrum__processor_load(processor) > 0;
	bool rapid = (int64_t)(dispatches - watch->dispatches) > (now - watch->looked) / RAPID_NS;
	watch->looked = now;
	__atomic_store_n(&processor->rapid, rapid, __ATOMIC_RELAXED);
	set_tokens(processor, waited);
	/* Now and then a rapid one, too: who went to sleep while it had nothing looks out again. */
	bool calls = !rapid || ++watch->rapid_ticks % RAPID_CALL == 0;
	if (waited || (calls && thrum__processor_load(processor) > 1))
		thrum__notify(processor->runtime);
	if (polls == watch->polls && dispatches != watch->dispatches)
		__atomic_fetch_or(&processor->urgent, THRUM__URGENT_POLL, __ATOMIC_RELAXED);
	watch->polls = polls;
	if (dispatches == watch->dispatches) {
		check_busy(processor, now);
		return;
	}
	watch->dispatches = dispatches;
	watch->since = now;
	watch->cpu_at = 0;
	struct thrum__machine *machine = __atomic_load_n(&processor->machine, __ATOMIC_ACQUIRE);
	if (__atomic_load_n(&machine->claim.state, __ATOMIC_ACQUIRE) == THRUM__USER) {
		watch->cpu = cpu_time(machine);
		watch->cpu_at = now;
	}
}

/* ---------------------------------------------------------------- stopping */

struct stopping {
	int64_t since, next_cancel, pause;
	bool reported;
};

static void watch_stopping(struct thrum__runtime *runtime, struct stopping *stopping, int64_t now)
{
	if (stopping->since == 0) {
		stopping->since = now;
		stopping->pause = TICK;
	}
	if (now >= stopping->next_cancel) {
		thrum__thread_cancel_all(runtime);
		stopping->pause =
			stopping->pause < 100 * THRUM_MS ? 2 * stopping->pause : stopping->pause;
		stopping->next_cancel = now + stopping->pause;
	}
	if (!stopping->reported && runtime->shutdown_report >= 0 &&
		now - stopping->since >= runtime->shutdown_report) {
		stopping->reported = true;
		thrum__thread_report_all(runtime);
	}
	thrum__runtime_check_end(runtime);
}

/* ---------------------------------------------------------------- the loop */

static bool all_idle(const struct thrum__runtime *runtime)
{
	return __atomic_load_n(&runtime->idlers.count, __ATOMIC_RELAXED) == runtime->count &&
	       !__atomic_load_n(&runtime->stopping, __ATOMIC_RELAXED);
}

static uint64_t dispatches_of(const struct thrum__runtime *runtime)
{
	return thrum__runtime_counters(runtime).dispatches;
}

static void give_memory_back(struct thrum__runtime *runtime)
{
	while (thrum__stack_trim_some() && all_idle(runtime))
		;
	for (unsigned i = 0; i < runtime->count; i++) {
		struct thrum__processor *processor = &runtime->processors[i];
		__atomic_fetch_or(&processor->urgent, THRUM__URGENT_TRIM, __ATOMIC_SEQ_CST);
		thrum__driver_wake(processor->driver);
	}
}

/* Sleeps until a machine leaves idleness, or for wait_ns. True: it did not. */
static bool sleep_idle(struct thrum__runtime *runtime, int64_t wait_ns)
{
	uint32_t *asleep = &runtime->monitor.asleep;
	__atomic_store_n(asleep, 1, __ATOMIC_RELAXED);
	thrum__full_fence();
	int64_t until = wait_ns < 0 ? INT64_MAX : thrum_now() + wait_ns;
	while (all_idle(runtime) && __atomic_load_n(asleep, __ATOMIC_ACQUIRE) == 1) {
		int64_t left = wait_ns < 0 ? -1 : until - thrum_now();
		if (wait_ns >= 0 && left <= 0)
			break;
		thrum__futex_wait(asleep, 1, left);
	}
	return __atomic_exchange_n(asleep, 0, __ATOMIC_ACQ_REL) == 1;
}

void thrum__monitor_wake(struct thrum__runtime *runtime)
{
	if (__atomic_exchange_n(&runtime->monitor.asleep, 0, __ATOMIC_SEQ_CST) == 1)
		thrum__futex_wake(&runtime->monitor.asleep, 1);
}

static void *monitor_main(void *runtime_v)
{
	struct thrum__runtime *runtime = runtime_v;
	struct stopping stopping = {0};
	uint64_t given_back = 0; /* after so many dispatches */
	pthread_setname_np(pthread_self(), "thrum-monitor");
	while (!__atomic_load_n(&runtime->done, __ATOMIC_ACQUIRE)) {
		if (all_idle(runtime)) {
			bool clean = dispatches_of(runtime) <= given_back;
			if (sleep_idle(runtime, clean ? -1 : SETTLE_NS) && !clean) {
				given_back = dispatches_of(runtime) + 2 * runtime->count;
				give_memory_back(runtime);
			}
		}
		nanosleep(&(struct timespec){.tv_nsec = TICK}, NULL);
		int64_t now = thrum_now();
		for (unsigned i = 0; i < runtime->count; i++)
			look(&runtime->processors[i], now);
		thrum__stack_decay(now);
		if (__atomic_load_n(&runtime->stopping, __ATOMIC_ACQUIRE))
			watch_stopping(runtime, &stopping, now);
	}
	return NULL;
}

int thrum__monitor_start(struct thrum__runtime *runtime)
{
	sigset_t all, old;
	for (unsigned i = 0; i < runtime->count; i++)
		runtime->processors[i].watch.tokens = TOKENS_MIN;
	sigfillset(&all); /* handlers run on the program's own threads */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&runtime->monitor.os_thread, NULL, monitor_main, runtime);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err == 0 ? 0 : -EAGAIN;
}

void thrum__monitor_join(struct thrum__runtime *runtime)
{
	thrum__monitor_wake(runtime);
	CHECK(pthread_join(runtime->monitor.os_thread, NULL) == 0);
}
