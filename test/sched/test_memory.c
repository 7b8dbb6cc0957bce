/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/base.h"
#include "sched/sched_internal.h"
#include "../emulated.h"
#include <thrum/thread.h>

/* What becomes of the stacks' memory while a runtime goes on. */

/* A sanitizer has memory of its own. TSan has 8,128 fibers at most. */
#if defined(THRUM__TSAN)
enum { BURST = 4000, SHADOWED = 1 };
#elif defined(THRUM__ASAN)
enum { BURST = 20000, SHADOWED = 1 };
#else
enum { BURST = 20000, SHADOWED = 0 };
#endif
#define LATE (15 * THRUM_S)

static void *run(unsigned workers, thrum_fn fn, void *arg)
{
	struct thrum_config config = {.workers = workers};
	void *result = NULL;
	ck_assert_int_eq(thrum_run(&config, fn, arg, &result), 0);
	return result;
}

static size_t resident_pages(void)
{
	size_t size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	if (file == NULL || fscanf(file, "%zu %zu", &size, &resident) != 2)
		resident = SIZE_MAX;
	if (file != NULL)
		fclose(file);
	return resident;
}

static int begun;

static void *stay(void *arg)
{
	__atomic_add_fetch(&begun, 1, __ATOMIC_RELAXED);
	return thrum_sleep(THRUM_S * 3600) == -ECANCELED ? arg : NULL;
}

/* BURST threads are there at once, each on its own stack, and end. */
static bool burst(void)
{
	static struct thrum_thread *threads[BURST];
	begun = 0;
	bool ok = true;
	for (int i = 0; i < BURST; i++)
		ok = thrum_spawn(&threads[i], stay, threads) == 0 && ok;
	while (ok && __atomic_load_n(&begun, __ATOMIC_RELAXED) < BURST)
		thrum_yield();
	ok = ok && resident_pages() > BURST;
	for (int i = 0; i < BURST; i++) {
		void *result = NULL;
		thrum_cancel(threads[i]);
		ok = thrum_join(threads[i], &result, THRUM_FOREVER) == 0 && result != NULL && ok;
	}
	return ok;
}

/* ---------------------------------------------------------------- idle */

struct watcher {
	struct thrum__wait wait;
	size_t before;
	bool unknown; /* what the process holds tells nothing */
	bool given_back;
};

/* A plain OS thread: looking does not wake the runtime. */
static void *watch(void *arg)
{
	struct watcher *watcher = arg;
	thrum_deadline late = thrum_after(LATE);
	do {
		sched_yield();
		bool fallen = SHADOWED || watcher->unknown ||
			      resident_pages() < watcher->before + BURST / 4;
		watcher->given_back = fallen && thrum__stack_stats().used < BURST / 100;
	} while (!watcher->given_back && thrum_now() < late);
	if (thrum__wait_claim(&watcher->wait, 1))
		thrum__wait_wake(&watcher->wait);
	return NULL;
}

static void *burst_and_rest(void *arg)
{
	struct watcher *watcher = arg;
	/* What is recycled and not given back, the threads themselves, is there before. */
	bool ok = burst();
	thrum__stack_trim();
	watcher->before = resident_pages();
	ok = burst() && ok;
	pthread_t thread;
	thrum__wait_init(&watcher->wait);
	if (pthread_create(&thread, NULL, watch, watcher) != 0)
		return NULL;
	ok = thrum__wait_park(&watcher->wait, "test", THRUM_FOREVER) == 1 && ok;
	return pthread_join(thread, NULL) == 0 && ok && watcher->given_back ? arg : NULL;
}

START_TEST(the_memory_of_a_burst_falls_back_once_all_is_idle)
{
	struct watcher watcher = {.unknown = space_costs_memory()};
	ck_assert_ptr_nonnull(run(_i + 1, burst_and_rest, &watcher));
}
END_TEST

/* ---------------------------------------------------------------- busy */

/* A second is looked at, then half of what was to spare goes, then half of the rest. */
static void *burst_and_work(void *arg)
{
	bool ok = burst();
	thrum_deadline late = thrum_after(LATE);
	while (thrum__stack_stats().used > BURST / 3 && thrum_now() < late)
		thrum_yield();
	return ok && thrum__stack_stats().used <= BURST / 3 ? arg : NULL;
}

START_TEST(the_memory_of_a_burst_is_forgotten_while_others_work)
{
	ck_assert_ptr_nonnull(run(_i + 1, burst_and_work, &begun));
}
END_TEST

/* ---------------------------------------------------------------- too much */

#if !defined(THRUM__ASAN) && !defined(THRUM__TSAN)

static void *nothing(void *arg)
{
	return arg;
}

static int spawn_with(size_t stack_size)
{
	struct thrum_attr attr = {.stack_size = stack_size};
	struct thrum_thread *thread;
	void *result = NULL;
	int err = thrum_spawn_with(&thread, nothing, &attr, &attr);
	if (err == 0)
		err = thrum_join(thread, &result, THRUM_FOREVER);
	return err != 0 ? err : result == &attr ? 0 : 1;
}

static void *ask_for_much(void *arg)
{
	bool ok = spawn_with((size_t)1 << 30) == 0;
	struct rlimit limit, old;
	if (getrlimit(RLIMIT_AS, &old) != 0)
		return NULL;
	limit = (struct rlimit){.rlim_cur = (rlim_t)1 << 30, .rlim_max = old.rlim_max};
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		return NULL;
	ok = spawn_with((size_t)1 << 30) == -ENOMEM && ok;
	ok = spawn_with((size_t)1 << 50) == -ENOMEM && ok;
	ok = spawn_with(0) == 0 && ok;
	return setrlimit(RLIMIT_AS, &old) == 0 && ok ? arg : NULL;
}

START_TEST(a_stack_larger_than_the_process_can_have_is_refused_at_the_spawn)
{
	if (space_is_limited())
		ck_assert_ptr_nonnull(run(1, ask_for_much, &begun));
}
END_TEST

#endif

Suite *suite_memory(void)
{
	Suite *suite = suite_create("sched/memory");
	TCase *memory = tcase_create("memory");
	tcase_add_loop_test(memory, the_memory_of_a_burst_falls_back_once_all_is_idle, 0, 2);
	tcase_add_loop_test(memory, the_memory_of_a_burst_is_forgotten_while_others_work, 0, 2);
#if !defined(THRUM__ASAN) && !defined(THRUM__TSAN)
	/* A sanitizer needs more address space than this leaves. */
	tcase_add_test(memory, a_stack_larger_than_the_process_can_have_is_refused_at_the_spawn);
#endif
	suite_add_tcase(suite, memory);
	return suite;
}
