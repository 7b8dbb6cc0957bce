/* SPDX-License-Identifier: MIT */
#include "behave.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <time.h>

#include "sched/cpus.h"
#include "../emulated.h"

/*
 * Runtimes: how many workers one has, several in a process, one after another, and what is left of
 * them.
 */

/* ---------------------------------------------------------------- workers */

static void *tell_workers(void *arg)
{
	*(unsigned *)arg = thrum_workers();
	return arg;
}

static unsigned default_workers(void)
{
	unsigned workers = 0;
	run_config(NULL, tell_workers, &workers);
	return workers;
}

START_TEST(the_workers_are_as_many_as_were_asked_for)
{
	unsigned workers = 0;
	run_on(worker_counts[_i], tell_workers, &workers);
	ck_assert_uint_eq(workers, worker_counts[_i]);
}
END_TEST

START_TEST(workers_are_no_more_than_the_process_may_run_on)
{
	cpu_set_t all, some;
	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	unsigned quota = thrum__quota_cpus(""), expected = 0;
	CPU_ZERO(&some);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_SET(cpu, &some);
		expected++;
		ck_assert_int_eq(sched_setaffinity(0, sizeof(some), &some), 0);
		ck_assert_uint_eq(default_workers(), expected < quota ? expected : quota);
	}
	ck_assert_int_eq(sched_setaffinity(0, sizeof(all), &all), 0);
}
END_TEST

/* A directory that plays the root of a file system. */
static char root[64];

static void root_setup(void)
{
	strcpy(root, "/tmp/thrum-cgroup-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void root_teardown(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	ck_assert_int_eq(system(command), 0);
}

/* Writes a file below the root, and the directories on the way. */
static void put(const char *path, const char *text)
{
	char full[512];
	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
		*at = '\0';
		ck_assert(mkdir(full, 0755) == 0 || errno == EEXIST);
	}
	FILE *file = fopen(full, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

START_TEST(a_quota_is_rounded_up_to_whole_workers)
{
	static const struct {
		const char *text;
		unsigned cpus;
	} cases[] = {{"max 100000\n", UINT32_MAX}, {"50000 100000\n", 1}, {"100000 100000\n", 1},
		{"100001 100000\n", 2}, {"150000 100000\n", 2}, {"6400000 100000\n", 64},
		{"1000 100000\n", 1}, {"", UINT32_MAX}, {"nonsense\n", UINT32_MAX},
		{"-1 100000\n", UINT32_MAX}, {"0 0\n", UINT32_MAX}, {"100000\n", UINT32_MAX},
		{"9223372036854775807 1\n", UINT32_MAX},
		{"9223372036854775807 9223372036854775806", 2}};
	put("/proc/self/cgroup", "0::/box\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put("/sys/fs/cgroup/box/cpu.max", cases[i].text);
		ck_assert_uint_eq(thrum__quota_cpus(root), cases[i].cpus);
	}
}
END_TEST

START_TEST(the_least_quota_on_the_way_up_counts)
{
	put("/proc/self/cgroup", "0::/slice/box/job\n");
	put("/sys/fs/cgroup/slice/box/job/cpu.max", "max 100000\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), UINT32_MAX);
	put("/sys/fs/cgroup/slice/cpu.max", "300000 100000\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), 3);
	put("/sys/fs/cgroup/slice/box/cpu.max", "500000 100000\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), 3);
	put("/sys/fs/cgroup/slice/box/job/cpu.max", "200000 100000\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), 2);
}
END_TEST

START_TEST(a_container_finds_its_quota_at_its_own_root)
{
	put("/proc/self/cgroup", "0::/a/path/of/the/host\n");
	put("/sys/fs/cgroup/cpu.max", "700000 100000\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), 7);
	put("/proc/self/cgroup", "0::/\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), 7);
}
END_TEST

START_TEST(quotas_of_version_1_count_too)
{
	put("/proc/self/cgroup", "9:name=systemd:/\n5:memory:/box\n1:cpuacct,cpu:/box\n0::/\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), UINT32_MAX);
	put("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), UINT32_MAX);
	put("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "250000\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), 3);
	put("/sys/fs/cgroup/unified/cpu.max", "200000 100000\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), 2);
}
END_TEST

START_TEST(without_cgroups_there_is_no_quota)
{
	ck_assert_uint_eq(thrum__quota_cpus(root), UINT32_MAX);
	put("/proc/self/cgroup", "");
	ck_assert_uint_eq(thrum__quota_cpus(root), UINT32_MAX);
	put("/proc/self/cgroup", "0\n0:\n::\n0::\n\n0::no-slash\n");
	ck_assert_uint_eq(thrum__quota_cpus(root), UINT32_MAX);
}
END_TEST

/* ---------------------------------------------------------------- several at once */

enum { RUNTIMES = 3, LAPS = 300, TALKERS = 10, WORDS = 50 };

/* A ring of runtimes, each of which receives from the one before it. */
struct town {
	struct thrum_channel *ring[RUNTIMES];
	struct thrum_channel *square; /* everybody sends to everybody */
	int heard;
};

struct house {
	struct town *town;
	int index;
	unsigned workers;
};

static void *talk(void *arg)
{
	struct town *town = arg;
	for (int i = 0; i < WORDS; i++)
		must(thrum_channel_send(town->square, &i, THRUM_FOREVER) == 0);
	return NULL;
}

static void *listen_in(void *arg)
{
	struct town *town = arg;
	int word;
	for (int i = 0; i < WORDS; i++) {
		must(thrum_channel_recv(town->square, &word, THRUM_FOREVER) == 0);
		count_up(&town->heard);
	}
	return NULL;
}

static void *live(void *arg)
{
	const struct house *house = arg;
	struct town *town = house->town;
	struct thrum_thread *threads[2 * TALKERS];
	struct thrum_channel *in = town->ring[house->index];
	struct thrum_channel *out = town->ring[(house->index + 1) % RUNTIMES];
	for (int i = 0; i < 2 * TALKERS; i++)
		threads[i] = start(i % 2 == 0 ? talk : listen_in, town);
	for (int lap = 0, token = 0; lap < LAPS; lap++) {
		if (house->index == 0)
			must(thrum_channel_send(out, &token, THRUM_FOREVER) == 0);
		must(thrum_channel_recv(in, &token, THRUM_FOREVER) == 0);
		token++;
		if (house->index != 0)
			must(thrum_channel_send(out, &token, THRUM_FOREVER) == 0);
		else
			must(token == (lap + 1) * RUNTIMES);
	}
	for (int i = 0; i < 2 * TALKERS; i++)
		finish(threads[i]);
	return arg;
}

static void *build(void *arg)
{
	const struct house *house = arg;
	struct thrum_config config = {.workers = house->workers};
	must(thrum_run(&config, live, arg, NULL) == 0);
	return NULL;
}

START_TEST(runtimes_in_one_process_talk_to_each_other)
{
	struct town town = {.heard = 0};
	struct house houses[RUNTIMES];
	pthread_t threads[RUNTIMES];
	broken = NULL;
	ck_assert_int_eq(thrum_channel_create(&town.square, sizeof(int), 0), 0);
	for (int i = 0; i < RUNTIMES; i++)
		ck_assert_int_eq(thrum_channel_create(&town.ring[i], sizeof(int), 0), 0);
	for (int i = 0; i < RUNTIMES; i++) {
		houses[i] = (struct house){&town, i, worker_counts[(i + _i) % WORKER_COUNTS]};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, build, &houses[i]), 0);
	}
	for (int i = 0; i < RUNTIMES; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (int i = 0; i < RUNTIMES; i++)
		thrum_channel_unref(town.ring[i]);
	thrum_channel_unref(town.square);
	ck_assert_msg(broken == NULL, "%s", broken);
	ck_assert_int_eq(town.heard, RUNTIMES * TALKERS * WORDS);
}
END_TEST

/* ---------------------------------------------------------------- idle */

enum { PARKED = 100, MAX_TASKS = 64 };

/* A runtime in which everybody waits: for a wake, a descriptor, and a time that is far away. */
struct still {
	unsigned workers;
	struct thrum_semaphore never, end;
	int pipe[2];
	int waiting;
};

static void *wait_for_never(void *arg)
{
	struct still *still = arg;
	count_up(&still->waiting);
	must(thrum_semaphore_acquire(&still->never, THRUM_FOREVER) == -ECANCELED);
	return NULL;
}

static void *wait_for_pipe(void *arg)
{
	struct still *still = arg;
	count_up(&still->waiting);
	must(thrum_fd_wait(still->pipe[0], THRUM_READABLE, THRUM_FOREVER) == -ECANCELED);
	return NULL;
}

static void *wait_for_morning(void *arg)
{
	struct still *still = arg;
	count_up(&still->waiting);
	must(thrum_sleep(3600 * THRUM_S) == -ECANCELED);
	return NULL;
}

static void *still_main(void *arg)
{
	struct still *still = arg;
	for (int i = 0; i < PARKED; i++) {
		start_alone(wait_for_never, still);
		start_alone(wait_for_pipe, still);
		start_alone(wait_for_morning, still);
	}
	while (count_get(&still->waiting) < 3 * PARKED)
		thrum_yield();
	must(thrum_semaphore_acquire(&still->end, THRUM_FOREVER) == 0);
	return NULL;
}

static void *still_run(void *arg)
{
	struct still *still = arg;
	struct thrum_config config = {.workers = still->workers};
	must(thrum_run(&config, still_main, still, NULL) == 0);
	return NULL;
}

/* What the OS threads of this process but the caller have done. */
struct activity {
	int tasks;
	long long switches;
	int64_t cpu;
};

static int64_t cpu_time(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * THRUM_S + now.tv_nsec;
}

/* How often a task has gone to sleep or was sent there; 0 if it is gone. */
static long long switches_of(const char *task)
{
	char path[300], line[256];
	snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
	FILE *file = fopen(path, "re");
	long long sum = 0;
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		const char *at = strstr(line, "voluntary_ctxt_switches:");
		sum += at == NULL ? 0 : atoll(strchr(at, ':') + 1);
	}
	if (file != NULL)
		fclose(file);
	return sum;
}

static struct activity activity_now(void)
{
	struct activity activity = {0};
	DIR *dir = opendir("/proc/self/task");
	ck_assert_ptr_nonnull(dir);
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid())
			continue;
		activity.tasks++;
		activity.switches += switches_of(entry->d_name);
	}
	closedir(dir);
	activity.cpu = cpu_time(CLOCK_PROCESS_CPUTIME_ID) - cpu_time(CLOCK_THREAD_CPUTIME_ID);
	return activity;
}

/* A time in which to see what happens; nothing waits for it to be enough. */
static void watch_for(int64_t ns)
{
	struct timespec time = {.tv_sec = ns / THRUM_S, .tv_nsec = ns % THRUM_S};
	nanosleep(&time, NULL);
}

START_TEST(an_idle_runtime_uses_no_processor_for_five_seconds)
{
	struct still stills[WORKER_COUNTS];
	pthread_t threads[WORKER_COUNTS];
	broken = NULL;
	for (int i = 0; i < WORKER_COUNTS; i++) {
		stills[i] = (struct still){.workers = worker_counts[i]};
		ck_assert_int_eq(pipe2(stills[i].pipe, O_CLOEXEC), 0);
		ck_assert_int_eq(pthread_create(&threads[i], NULL, still_run, &stills[i]), 0);
	}
	for (int i = 0; i < WORKER_COUNTS; i++)
		while (count_get(&stills[i].waiting) < 3 * PARKED)
			watch_for(THRUM_MS);
	/* Caches are given back a while after the last work: until then it is not idle. */
	struct activity before, after = activity_now();
	do {
		before = after;
		watch_for(1500 * THRUM_MS);
		after = activity_now();
	} while (after.switches != before.switches || after.tasks != before.tasks);
	/* OS threads that were needed on the way here may wake once more, to end. */
	for (int i = 0; i == 0 || (i < 8 && after.switches != before.switches); i++) {
		before = after;
		watch_for(5 * THRUM_S);
		after = activity_now();
	}
	ck_assert_int_eq(after.tasks, before.tasks);
	ck_assert_int_eq(after.switches - before.switches, 0);
	ck_assert_int_le(
		after.cpu - before.cpu, THRUM_MS); /* the two clocks are not read at once */
	for (int i = 0; i < WORKER_COUNTS; i++)
		thrum_semaphore_release(&stills[i].end, 1);
	for (int i = 0; i < WORKER_COUNTS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_msg(broken == NULL, "%s", broken);
	for (int i = 0; i < WORKER_COUNTS; i++) {
		close(stills[i].pipe[0]);
		close(stills[i].pipe[1]);
	}
}
END_TEST

/* ---------------------------------------------------------------- one after another */

static void *nap(void *arg)
{
	must(thrum_sleep(10 * THRUM_US) == 0);
	return arg;
}

static void *nap_if_left_alone(void *arg)
{
	int err = thrum_sleep(10 * THRUM_US);
	must(err == 0 || err == -ECANCELED);
	return arg;
}

/* A bit of everything a runtime has resources for. */
static void *a_bit_of_everything(void *arg)
{
	int fds[2];
	struct thrum_thread *threads[20];
	struct thrum_poll *poll = NULL;
	if (!must(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0))
		return NULL;
	for (int i = 0; i < 20; i++)
		threads[i] = start(nap, arg);
	must(thrum_poll_open(&poll, fds[0]) == 0);
	must(thrum_poll_wait(poll, THRUM_READABLE, thrum_after(THRUM_US)) == -ETIMEDOUT);
	thrum_poll_close(poll);
	must(thrum_fd_wait(fds[1], THRUM_WRITABLE, THRUM_FOREVER) == 0);
	close(fds[0]);
	close(fds[1]);
	for (int i = 0; i < 20; i++)
		finish(threads[i]);
	bool ran = false;
	start_alone(raise_flag, &ran);
	thrum_blocking_begin();
	while (!flag_get(&ran))
		sched_yield();
	thrum_blocking_end();
	thrum_pin(); /* and so to the end */
	for (int i = 0; i < 20; i++)
		start_alone(nap_if_left_alone, arg);
	thrum_yield();
	return arg;
}

static long resident_pages(void)
{
	long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%ld %ld", &size, &resident), 2);
	fclose(file);
	return resident;
}

/* OF_OTHERS: OS threads that TSan starts for itself when it likes. */
#if defined(THRUM__TSAN)
enum { RUNS = 60, WARM = 20, OWN_HEAP = 0, OF_OTHERS = 2 };
#elif defined(THRUM__ASAN)
enum { RUNS = 60, WARM = 20, OWN_HEAP = 0, OF_OTHERS = 0 };
#else
enum { RUNS = 200, WARM = 20, OWN_HEAP = 1, OF_OTHERS = 0 };
#endif

static void run_often(unsigned workers, int times)
{
	for (int i = 0; i < times; i++)
		run_on(workers, a_bit_of_everything, NULL);
}

START_TEST(running_again_and_again_leaves_nothing_behind)
{
	int tasks = os_threads();
	run_often(worker_counts[_i], WARM); /* what is kept for the next time is there now */
	int fds = open_fds();
	size_t heap = mallinfo2().uordblks;
	long resident = resident_pages();
	run_often(worker_counts[_i], RUNS);
	ck_assert_int_le(open_fds(), fds);
	/* A joined OS thread is in /proc for a moment yet. */
	while (os_threads() > tasks + OF_OTHERS)
		watch_for(THRUM_MS);
	/* A leak of 400 bytes a run would be 80,000; the caches of OS threads' heaps vary. */
	if (OWN_HEAP) {
		ck_assert_uint_le(mallinfo2().uordblks, heap + 40000);
		if (!space_costs_memory())
			ck_assert_int_le(resident_pages(), resident + 4 * 256);
	}
}
END_TEST

Suite *suite_runtimes(void)
{
	Suite *suite = suite_create("sched/runtimes");
	TCase *workers = tcase_create("workers");
	tcase_add_loop_test(workers, the_workers_are_as_many_as_were_asked_for, 0, WORKER_COUNTS);
	tcase_add_test(workers, workers_are_no_more_than_the_process_may_run_on);
	suite_add_tcase(suite, workers);
	TCase *quota = tcase_create("quota");
	tcase_add_checked_fixture(quota, root_setup, root_teardown);
	tcase_add_test(quota, a_quota_is_rounded_up_to_whole_workers);
	tcase_add_test(quota, the_least_quota_on_the_way_up_counts);
	tcase_add_test(quota, a_container_finds_its_quota_at_its_own_root);
	tcase_add_test(quota, quotas_of_version_1_count_too);
	tcase_add_test(quota, without_cgroups_there_is_no_quota);
	suite_add_tcase(suite, quota);
	TCase *several = tcase_create("several");
	tcase_set_timeout(several, 60);
	tcase_add_loop_test(several, runtimes_in_one_process_talk_to_each_other, 0, WORKER_COUNTS);
	tcase_add_loop_test(
		several, running_again_and_again_leaves_nothing_behind, 0, WORKER_COUNTS);
#if defined(THRUM__TSAN) || defined(THRUM__ASAN)
	(void)an_idle_runtime_uses_no_processor_for_five_seconds; /* the sanitizer has its own */
#else
	tcase_add_test(several, an_idle_runtime_uses_no_processor_for_five_seconds);
#endif
	suite_add_tcase(suite, several);
	return suite;
}
