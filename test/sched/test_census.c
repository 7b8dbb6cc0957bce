/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "sched/sched_internal.h"
#include <thrum/stack.h>
#include <thrum/thread.h>

/* Each test runs in a process of its own, so the census begins empty. */

struct seen {
	const char *site;
	struct thrum_stack_use use; /* of the site looked for */
	size_t last;                /* to see the order */
	bool sorted;
	int calls;
};

static void look(const struct thrum_stack_use *use, void *arg)
{
	struct seen *seen = arg;
	seen->sorted = seen->sorted && use->high_water <= seen->last;
	seen->last = use->high_water;
	seen->calls++;
	if (strcmp(use->site, seen->site) == 0)
		seen->use = *use;
}

static struct seen find(const char *site)
{
	struct seen seen = {.site = site, .last = SIZE_MAX, .sorted = true};
	int sites = thrum_stack_census(look, &seen);
	ck_assert_int_eq(sites, seen.calls);
	ck_assert(seen.sorted);
	return seen;
}

static void run(unsigned workers, thrum_fn fn, void *arg)
{
	struct thrum_config config = {.workers = workers};
	void *result = NULL;
	ck_assert_int_eq(thrum_run(&config, fn, arg, &result), 0);
	ck_assert_ptr_eq(result, arg);
}

/* A body that goes `*arg` bytes deep, at least. */
static void *__attribute__((noinline)) dive(void *arg)
{
	size_t depth = *(size_t *)arg;
	volatile char *frame = __builtin_alloca(depth);
	frame[0] = 1;
	return frame[0] == 1 ? arg : NULL;
}

static bool spawn_and_join(thrum_fn fn, void *arg, const char *site, int count)
{
	for (int i = 0; i < count; i++) {
		struct thrum_thread *thread;
		void *result = NULL;
		if (thrum_spawn_at(&thread, fn, arg, NULL, site) != 0 ||
			thrum_join(thread, &result, THRUM_FOREVER) != 0 || result != arg)
			return false;
	}
	return true;
}

static size_t shallow = 64, deep = 60000;

static void *two_sites(void *arg)
{
	bool ok = spawn_and_join(dive, &shallow, "shallow.c:1", 1000);
	return spawn_and_join(dive, &deep, "deep.c:2", 3) && ok ? arg : NULL;
}

START_TEST(each_spawn_site_has_its_count_and_its_mark)
{
	run(1, two_sites, &deep);
	struct seen seen = find("shallow.c:1");
	ck_assert_uint_eq(seen.use.threads, 1000);
	/* 1 2 4 8 ... 512 */
	ck_assert_uint_eq(seen.use.measured, 10);
	ck_assert_uint_ge(seen.use.high_water, shallow);
	ck_assert_uint_lt(seen.use.high_water, 20000);
	ck_assert_uint_ge(seen.use.stack_size, THRUM__STACK_DEFAULT * 3 / 4);
	seen = find("deep.c:2");
	ck_assert_uint_eq(seen.use.threads, 3);
	ck_assert_uint_eq(seen.use.measured, 2);
	ck_assert_uint_ge(seen.use.high_water, deep);
	ck_assert_uint_lt(seen.use.high_water, deep + 20000);
	seen = find("thrum_run");
	ck_assert_uint_eq(seen.use.threads, 1);
	ck_assert_uint_eq(seen.use.measured, 1);
	ck_assert_int_eq(seen.calls, 3);
}
END_TEST

static void *look_inside(void *arg)
{
	bool ok = spawn_and_join(dive, &shallow, "inside.c:1", 7);
	struct seen seen = {.site = "inside.c:1", .last = SIZE_MAX};
	ok = thrum_stack_census(look, &seen) >= 2 && ok;
	return ok && seen.use.threads == 7 && seen.use.measured >= 3 ? arg : NULL;
}

START_TEST(the_census_can_be_taken_while_it_goes_on)
{
	run(2, look_inside, &deep);
}
END_TEST

static void *nothing(void *arg)
{
	return arg;
}

/* More sites than a table has rows; their texts differ. */
enum { SITES = 600 };
static char sites[SITES][16];

static void *many_sites(void *arg)
{
	for (int i = 0; i < SITES; i++) {
		snprintf(sites[i], sizeof(sites[i]), "site.c:%d", i);
		if (!spawn_and_join(nothing, arg, sites[i], 1))
			return NULL;
	}
	return arg;
}

static void sum(const struct thrum_stack_use *use, void *arg)
{
	*(uint64_t *)arg += use->threads;
}

START_TEST(the_table_is_bounded_and_what_does_not_fit_is_counted_together)
{
	run(1, many_sites, &deep);
	uint64_t threads = 0;
	ck_assert_int_lt(thrum_stack_census(sum, &threads), 300);
	ck_assert_uint_eq(threads, SITES + 1);
	struct seen seen = find("(other sites)");
	ck_assert_uint_gt(seen.use.threads, 0);
	ck_assert_uint_gt(seen.use.measured, 0);
}
END_TEST

static void *swarm(void *arg)
{
	struct thrum_thread *threads[100];
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 100; i++)
			if (thrum_spawn_at(&threads[i], dive, &shallow, NULL, "swarm.c:1") != 0)
				return NULL;
		for (int i = 0; i < 100; i++)
			if (thrum_join(threads[i], NULL, THRUM_FOREVER) != 0)
				return NULL;
	}
	return arg;
}

static void *keep_looking(void *stop)
{
	uint64_t threads = 0, before = 0;
	while (!__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE)) {
		if (thrum_stack_census(sum, &threads) < 0 || threads < before)
			return NULL;
		before = threads;
		threads = 0;
	}
	return stop;
}

START_TEST(several_workers_lose_no_thread)
{
	bool stop = false;
	pthread_t looker;
	ck_assert_int_eq(pthread_create(&looker, NULL, keep_looking, &stop), 0);
	run(4, swarm, &deep);
	run(4, swarm, &deep);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	void *result;
	ck_assert_int_eq(pthread_join(looker, &result), 0);
	ck_assert_ptr_nonnull(result); /* the sum never went down */
	struct seen seen = find("swarm.c:1");
	ck_assert_uint_eq(seen.use.threads, 4000);
	ck_assert_uint_ge(seen.use.measured, 12);
	ck_assert_uint_ge(seen.use.high_water, shallow);
}
END_TEST

START_TEST(a_thread_that_ends_without_a_processor_is_counted_too)
{
	struct thrum__census census = {.table = NULL};
	struct thrum__stack_cache cache = {.count = 0};
	struct thrum__stack stack;
	ck_assert_int_eq(thrum__stack_get(&cache, thrum__stack_size(0), &stack), 0);
	ck_assert(thrum__census_begin(&census, "hog.c:1", &stack));
	((char *)stack.base)[stack.size - 5000] = 1;
	thrum__census_end(NULL, "hog.c:1", &stack);
	struct seen seen = find("hog.c:1");
	ck_assert_uint_eq(seen.use.threads, 1);
	ck_assert_uint_eq(seen.use.measured, 1);
	ck_assert_uint_eq(seen.use.high_water, 5000);
	thrum__census_fini(&census);
	ck_assert_uint_eq(find("hog.c:1").use.high_water, 5000);
	thrum__stack_put(&cache, &stack);
	thrum__stack_cache_fini(&cache);
}
END_TEST

/* ---------------------------------------------------------------- THRUM_STACK_CENSUS */

static void *ten_threads(void *arg)
{
	return spawn_and_join(dive, &shallow, "ten.c:1", 10) ? arg : NULL;
}

/* Runs ten threads in a process with the variable set; what it says on standard error. */
static void run_with(const char *every, char *said, size_t size)
{
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	fflush(NULL);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		setenv("THRUM_STACK_CENSUS", every, 1);
		dup2(ends[1], STDERR_FILENO);
		struct thrum_config config = {.workers = 1};
		exit(thrum_run(&config, ten_threads, &deep, NULL) == 0 ? 0 : 1);
	}
	close(ends[1]);
	size_t len = 0;
	for (ssize_t got; len < size - 1 && (got = read(ends[0], said + len, size - 1 - len)) > 0;)
		len += (size_t)got;
	said[len] = '\0';
	close(ends[0]);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}

START_TEST(the_environment_has_it_printed_at_exit)
{
	char said[4096];
	run_with("1", said, sizeof(said));
	ck_assert_ptr_nonnull(strstr(said, "thrum: stacks, in bytes\n"));
	ck_assert_ptr_nonnull(strstr(said, "          10           10  ten.c:1\n"));
	run_with("3", said, sizeof(said)); /* 1 2 4 7 10 */
	ck_assert_ptr_nonnull(strstr(said, "          10            5  ten.c:1\n"));
	run_with("0", said, sizeof(said));
	ck_assert_str_eq(said, "");
	run_with("many", said, sizeof(said));
	ck_assert_str_eq(said, "");
}
END_TEST

Suite *suite_census(void)
{
	Suite *suite = suite_create("sched/census");
	TCase *census = tcase_create("census");
	tcase_add_test(census, each_spawn_site_has_its_count_and_its_mark);
	tcase_add_test(census, the_census_can_be_taken_while_it_goes_on);
	tcase_add_test(census, the_table_is_bounded_and_what_does_not_fit_is_counted_together);
	tcase_add_test(census, several_workers_lose_no_thread);
	tcase_add_test(census, a_thread_that_ends_without_a_processor_is_counted_too);
	tcase_add_test(census, the_environment_has_it_printed_at_exit);
	suite_add_tcase(suite, census);
	return suite;
}
