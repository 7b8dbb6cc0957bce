/* SPDX-License-Identifier: MIT */
#include "hogs.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include "../emulated.h"
#include "sched/sched_internal.h"

/* Hogs that lost their processor: how many there may be, how they come back, and what gets lost. */

/* ---------------------------------------------------------------- how many */

enum { CAP = 3, CAP_WORKERS = 2 };

struct capped {
	struct scene scene;
	int tasks_before, tasks_most, begun_most;
};

/*
 * On an OS thread: sees the cap reached, looks on for a while, and ends the hogs. By then as many
 * have begun as may be detached, and one more for each worker, which keeps it.
 */
static void *watch_cap(void *arg)
{
	struct capped *capped = arg;
	while (hogs_begun(&capped->scene) < CAP + CAP_WORKERS)
		usleep(200);
	for (int i = 0; i < 100; i++) {
		int tasks = os_threads(), begun = hogs_begun(&capped->scene);
		capped->tasks_most = tasks > capped->tasks_most ? tasks : capped->tasks_most;
		capped->begun_most = begun > capped->begun_most ? begun : capped->begun_most;
		usleep(1000);
	}
	end_hogs(&capped->scene);
	return NULL;
}

static void *hogs_beyond_cap(void *arg)
{
	struct capped *capped = arg;
	struct scene *scene = &capped->scene;
	pthread_t watcher;
	scene_init(scene);
	add_hogs(scene, hold_spin, 3);
	add_hogs(scene, hold_nanosleep, 3);
	must(pthread_create(&watcher, NULL, watch_cap, capped) == 0);
	capped->tasks_before = os_threads(); /* workers, the monitor, the watcher */
	start_hogs(scene);
	join_hogs(scene);
	must(pthread_join(watcher, NULL) == 0);
	scene_fini(scene);
	return NULL;
}

START_TEST(no_more_hogs_than_the_cap_get_an_os_thread_of_their_own)
{
	struct capped capped = {.tasks_most = 0};
	struct thrum_config config = {.workers = CAP_WORKERS, .detached_max = CAP};
	run_config(&config, hogs_beyond_cap, &capped);
	ck_assert_int_eq(capped.begun_most, CAP + CAP_WORKERS);
	ck_assert_int_le(capped.tasks_most, capped.tasks_before + CAP);
}
END_TEST

/* ---------------------------------------------------------------- coming back */

static void *end_detached(void *arg)
{
	bool *others_ran = arg;
	while (!flag_get(others_ran))
		;
	return arg; /* without one more call of the runtime */
}

static void *children_end_detached(void *arg)
{
	enum { COUNT = 12 };
	struct thrum_thread *threads[COUNT];
	bool flags[COUNT] = {false};
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < COUNT; i++) {
			flags[i] = false;
			threads[i] = start(end_detached, &flags[i]);
		}
		start_alone(raise_flag, &flags[0]);
		for (int i = 0; i < COUNT; i++) {
			must(thrum_sleep(THRUM_US) == 0);
			flag_set(&flags[i]);
		}
		for (int i = 0; i < COUNT; i++)
			must(finish(threads[i]) == &flags[i]);
	}
	return arg;
}

START_TEST(a_hog_that_returns_while_detached_gives_its_result)
{
	run_on(worker_counts[_i], children_end_detached, NULL);
}
END_TEST

static void *first_ends_detached(void *arg)
{
	start_alone(raise_flag, arg);
	return end_detached(arg);
}

START_TEST(the_first_thread_may_return_while_detached)
{
	for (int i = 0; i < 10; i++) {
		bool ran = false;
		pid_t os_id = gettid();
		ck_assert_ptr_eq(run_on(worker_counts[_i], first_ends_detached, &ran), &ran);
		ck_assert_int_eq(gettid(), os_id);
		ck_assert_ptr_null(thrum_self());
	}
}
END_TEST

struct late {
	bool cancelled, begun;
};

static void *detached_until_cancelled(void *arg)
{
	struct late *late = arg;
	flag_set(&late->begun);
	while (!thrum_canceled())
		;
	must(thrum_sleep(THRUM_S) == -ECANCELED);
	flag_set(&late->cancelled);
	return arg;
}

static void *leave_detached(void *arg)
{
	struct late *late = arg;
	start_alone(detached_until_cancelled, late);
	yield_until(&late->begun);
	return NULL;
}

START_TEST(a_detached_hog_learns_that_it_was_cancelled)
{
	for (int i = 0; i < 10; i++) {
		struct late late = {.begun = false};
		run_on(worker_counts[_i], leave_detached, &late);
		ck_assert(late.cancelled);
	}
}
END_TEST

/* Comes back, again and again, by every kind of suspension. */
struct coming {
	struct thrum_semaphore there, back;
	bool end;
	uint64_t turns;
};

static void *go_round(void *arg)
{
	struct coming *coming = arg;
	while (!flag_get(&coming->end)) {
		__atomic_fetch_add(&coming->turns, 1, __ATOMIC_RELEASE);
		thrum_yield();
	}
	return NULL;
}

static void *answer(void *arg)
{
	struct coming *coming = arg;
	while (thrum_semaphore_acquire(&coming->there, THRUM_FOREVER) == 0 &&
		!flag_get(&coming->end))
		thrum_semaphore_release(&coming->back, 1);
	return NULL;
}

/* Until others have had a turn: with one worker, after this the caller is detached. */
static void hog_for_others(struct coming *coming)
{
	uint64_t turns = __atomic_load_n(&coming->turns, __ATOMIC_ACQUIRE);
	while (__atomic_load_n(&coming->turns, __ATOMIC_ACQUIRE) == turns)
		;
}

static void *come_back(void *arg)
{
	struct coming *coming = arg;
	struct thrum_thread *self = thrum_self();
	for (int i = 0; i < 3; i++) {
		hog_for_others(coming);
		thrum_yield();
		hog_for_others(coming);
		must(thrum_sleep(10 * THRUM_US) == 0);
		hog_for_others(coming);
		thrum_semaphore_release(&coming->there, 1);
		must(thrum_semaphore_acquire(&coming->back, THRUM_FOREVER) == 0);
		bool ran = false;
		struct thrum_thread *child = start(raise_flag, &ran);
		hog_for_others(coming);
		finish(child);
		must(ran && thrum_self() == self);
		hog_for_others(coming);
		void *result = NULL;
		must(thrum_blocking(raise_flag, &ran, &result) == 0 && result == &ran);
	}
	return arg;
}

static void *many_come_back(void *arg)
{
	enum { COUNT = 4 };
	struct coming coming = {.turns = 0};
	struct thrum_thread *threads[COUNT];
	struct thrum_thread *rounds = start(go_round, &coming);
	struct thrum_thread *answers = start(answer, &coming);
	for (int i = 0; i < COUNT; i++)
		threads[i] = start(come_back, &coming);
	for (int i = 0; i < COUNT; i++)
		finish(threads[i]);
	flag_set(&coming.end);
	thrum_semaphore_release(&coming.there, 1);
	finish(rounds);
	finish(answers);
	return arg;
}

START_TEST(a_hog_comes_back_by_any_call_that_suspends)
{
	run_on(worker_counts[_i], many_come_back, NULL);
}
END_TEST

/* ---------------------------------------------------------------- where to */

/*
 * Seen from inside, for from outside one place is like another: a hog comes back to the processor
 * it came from if that is idle, else to another idle one, else it waits in the queue that all look
 * at. Which are idle is arranged by further hogs, which keep theirs as long as nothing else is to
 * do. That may go otherwise, and an idle one may wake for a reason of its own: there are attempts.
 */
enum place { OLD, IDLE, INJECT };

struct place_scene {
	enum place place;
	struct thrum__runtime *runtime;
	const struct thrum__processor *old;
	const struct thrum__processor *held[8]; /* by which hog */
	bool end;
	int next, holding;
	bool as_meant;
};

static uint32_t idle_processors(const struct place_scene *scene)
{
	return __atomic_load_n(&scene->runtime->idlers.count, __ATOMIC_ACQUIRE);
}

static uint64_t came_back_to(const struct place_scene *scene, enum place place)
{
	struct thrum__counters counters = thrum__runtime_counters(scene->runtime);
	return place == OLD    ? counters.rejoined_old
	       : place == IDLE ? counters.rejoined_idle
			       : counters.rejoined_inject;
}

static void *hold_processor(void *arg)
{
	struct place_scene *scene = arg;
	int index = count_up(&scene->next) - 1;
	scene->held[index] = thrum__machine_self()->processor;
	count_up(&scene->holding);
	while (!flag_get(&scene->end))
		;
	return NULL;
}

/* Detached: has as many processors held as it takes, and sees whether they are the right ones. */
static bool arrange(struct place_scene *scene)
{
	int count = (int)scene->runtime->count;
	int hogs = scene->place == OLD ? 0 : scene->place == IDLE ? 1 : count;
	for (int i = 0; i < hogs; i++)
		start_alone(hold_processor, scene);
	while (count_get(&scene->holding) < hogs ||
		idle_processors(scene) != (uint32_t)(count - hogs))
		if (__atomic_load_n(&scene->runtime->detached, __ATOMIC_ACQUIRE) > 1)
			return false; /* two came to one processor, and it was taken from the first
				       */
	return scene->place != IDLE || scene->held[0] == scene->old;
}

static void *come_back_to_place(void *arg)
{
	struct place_scene *scene = arg;
	scene->runtime = thrum__machine_self()->runtime;
	scene->old = thrum__machine_self()->processor;
	thrum_blocking_begin(); /* with more than one worker nothing else would make it sure */
	must(__atomic_load_n(&scene->runtime->detached, __ATOMIC_ACQUIRE) == 1);
	bool arranged = arrange(scene);
	uint64_t before = came_back_to(scene, scene->place);
	thrum_blocking_end();
	scene->as_meant = arranged && came_back_to(scene, scene->place) == before + 1;
	flag_set(&scene->end);
	return NULL;
}

static void come_back_to(enum place place, unsigned workers)
{
	for (int i = 0; i < 100; i++) {
		struct place_scene scene = {.place = place};
		run_on(workers, come_back_to_place, &scene);
		if (scene.as_meant)
			return;
	}
	ck_abort_msg("it never came back to where it should");
}

START_TEST(a_hog_comes_back_to_the_processor_it_came_from_if_that_is_idle)
{
	come_back_to(OLD, worker_counts[_i]);
}
END_TEST

START_TEST(a_hog_comes_back_to_another_idle_processor_if_its_own_is_not)
{
	come_back_to(IDLE, 2);
}
END_TEST

START_TEST(a_hog_that_finds_no_processor_idle_waits_for_one)
{
	come_back_to(INJECT, worker_counts[_i]);
}
END_TEST

/* ---------------------------------------------------------------- no OS thread to be had */

static void *hog_for_a_while(void *arg)
{
	for (int64_t end = thrum_now() + 20 * THRUM_MS; thrum_now() < end;)
		;
	thrum_blocking_begin();
	usleep(2000);
	thrum_blocking_end();
	thrum_pin();
	thrum_yield();
	thrum_unpin();
	count_up(arg);
	return arg;
}

enum { SCARCE = 6 };

/* With room for no further stack of an OS thread. */
static void *hog_in_scarcity(void *arg)
{
	long pages = 0;
	struct thrum_thread *threads[SCARCE];
	struct rlimit before, limit;
	FILE *statm = fopen("/proc/self/statm", "re");
	if (!must(statm != NULL && fscanf(statm, "%ld", &pages) == 1))
		return NULL;
	fclose(statm);
	for (int i = 0; i < SCARCE; i++)
		threads[i] = start(hog_for_a_while, arg);
	must(getrlimit(RLIMIT_AS, &before) == 0);
	limit = before;
	limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (4 << 20);
	must(setrlimit(RLIMIT_AS, &limit) == 0);
	pthread_t none;
	must(pthread_create(&none, NULL, hog_for_a_while, NULL) == EAGAIN);
	for (int i = 0; i < SCARCE; i++)
		must(finish(threads[i]) == arg);
	must(setrlimit(RLIMIT_AS, &before) == 0);
	/* Now there are some again: this ends only if others run meanwhile. */
	struct scene scene;
	scene_init(&scene);
	add_hogs(&scene, hold_read, (int)thrum_workers());
	start_hogs(&scene);
	while (hogs_begun(&scene) < scene.count)
		thrum_yield();
	end_hogs(&scene);
	join_hogs(&scene);
	scene_fini(&scene);
	return arg;
}

START_TEST(where_no_os_thread_is_to_be_had_a_hog_keeps_its_worker_and_nothing_is_lost)
{
	int ended = 0;
	if (!space_is_limited())
		return;
	run_on(worker_counts[_i], hog_in_scarcity, &ended);
	ck_assert_int_eq(ended, SCARCE);
}
END_TEST

/* ---------------------------------------------------------------- descriptors */

struct reading {
	struct coming coming;
	int fds[2];
	int begun;
	bool cancelled;
};

/* What a detached thread opens and waits for is served like what others do. */
static void *read_detached(void *arg)
{
	struct reading *reading = arg;
	struct thrum_poll *poll = NULL;
	char byte;
	hog_for_others(&reading->coming);
	count_up(&reading->begun);
	must(thrum_fd_wait(reading->fds[0], THRUM_READABLE, THRUM_FOREVER) == 0);
	must(read(reading->fds[0], &byte, 1) == 1);
	hog_for_others(&reading->coming);
	must(thrum_poll_open(&poll, reading->fds[0]) == 0);
	hog_for_others(&reading->coming);
	must(thrum_poll_wait(poll, THRUM_READABLE, thrum_after(THRUM_MS)) == -ETIMEDOUT);
	hog_for_others(&reading->coming);
	count_up(&reading->begun);
	must(thrum_poll_wait(poll, THRUM_READABLE, THRUM_FOREVER) == -ECANCELED);
	thrum_poll_close(poll);
	must(thrum_fd_wait(reading->fds[0], THRUM_READABLE, THRUM_FOREVER) == -ECANCELED);
	flag_set(&reading->cancelled);
	return arg;
}

static void *write_and_cancel(void *arg)
{
	struct reading *reading = arg;
	struct thrum_thread *rounds = start(go_round, &reading->coming);
	struct thrum_thread *reader = start(read_detached, reading);
	while (count_get(&reading->begun) < 1)
		thrum_yield();
	for (int i = 0; i < 3; i++)
		thrum_yield();
	must(write(reading->fds[1], "x", 1) == 1);
	while (count_get(&reading->begun) < 2)
		thrum_yield();
	for (int i = 0; i < 3; i++)
		thrum_yield();
	thrum_cancel(reader);
	finish(reader);
	flag_set(&reading->coming.end);
	finish(rounds);
	return arg;
}

START_TEST(a_detached_hog_waits_for_descriptors_like_any_other_thread)
{
	struct reading reading = {.begun = 0};
	ck_assert_int_eq(pipe2(reading.fds, O_CLOEXEC), 0);
	run_on(worker_counts[_i], write_and_cancel, &reading);
	ck_assert(reading.cancelled);
	close(reading.fds[0]);
	close(reading.fds[1]);
}
END_TEST

/* ---------------------------------------------------------------- heavy stealing */

#if defined(THRUM__TSAN) || defined(THRUM__ASAN)
enum { FAMILIES = 4, MEMBERS = 10, STEPS = 20 };
#else
enum { FAMILIES = 8, MEMBERS = 20, STEPS = 20 };
#endif

struct storm {
	struct thrum_mutex mutex;
	struct thrum_channel *channel;
	uint64_t seed;
	long under_mutex;
	int steps, ended, index;
};

static void *leaf(void *arg)
{
	thrum_yield();
	return arg;
}

/* Holds the OS thread: in the kernel, or spinning, for about as long as the monitor looks on. */
static void hog_a_little(uint64_t random)
{
	pid_t os_id = gettid();
	int64_t ns = (int64_t)(random >> 8 & 0xfff) * 1000; /* up to 4 ms */
	if (random & 1) {
		struct timespec time = {.tv_nsec = ns};
		must(nanosleep(&time, NULL) == 0);
	} else {
		for (int64_t end = thrum_now() + ns; thrum_now() < end;)
			;
	}
	must(gettid() == os_id);
}

static void storm_step(struct storm *storm, uint64_t random)
{
	int value = 0;
	switch (random % 8) {
	case 0:
		if (random >> 32 & 1)
			hog_a_little(random >> 3);
		break;
	case 1:
		must(thrum_mutex_lock(&storm->mutex, THRUM_FOREVER) == 0);
		storm->under_mutex++;
		if (random >> 32 & 1)
			thrum_yield();
		thrum_mutex_unlock(&storm->mutex);
		count_up(&storm->steps);
		break;
	case 2:
		must(thrum_sleep((int64_t)(random >> 8 & 0xff) * 1000) == 0);
		break;
	case 3:
		must(thrum_channel_send(storm->channel, &value, THRUM_FOREVER) == 0);
		must(thrum_channel_recv(storm->channel, &value, THRUM_FOREVER) == 0);
		break;
	case 4:
		finish(start(leaf, storm));
		break;
	default:
		thrum_yield();
	}
}

static void *member(void *arg)
{
	struct storm *storm = arg;
	struct thrum_thread *self = thrum_self();
	uint64_t random = storm->seed + (uint64_t)count_up(&storm->index);
	for (int i = 0; i < STEPS; i++) {
		storm_step(storm, next_random(&random));
		must(thrum_self() == self);
	}
	count_up(&storm->ended);
	return NULL;
}

static void *family(void *arg)
{
	struct thrum_thread *threads[MEMBERS];
	for (int i = 0; i < MEMBERS; i++)
		threads[i] = start(member, arg);
	for (int i = 0; i < MEMBERS; i++)
		finish(threads[i]);
	return NULL;
}

static void *families(void *arg)
{
	struct thrum_thread *threads[FAMILIES];
	for (int i = 0; i < FAMILIES; i++)
		threads[i] = start(family, arg);
	for (int i = 0; i < FAMILIES; i++)
		finish(threads[i]);
	return NULL;
}

static void run_storm(unsigned workers)
{
	struct storm storm = {.seed = test_seed("hand-off storm")};
	/* Room for all: each receives as often as it sends. */
	ck_assert_int_eq(thrum_channel_create(&storm.channel, sizeof(int), FAMILIES * MEMBERS), 0);
	run_on(workers, families, &storm);
	thrum_channel_unref(storm.channel);
	ck_assert_int_eq(storm.ended, FAMILIES * MEMBERS);
	ck_assert_int_eq(storm.under_mutex, storm.steps);
}

START_TEST(hand_offs_while_everybody_steals_lose_nothing)
{
	run_storm(worker_counts[_i]);
}
END_TEST

START_TEST(hand_offs_without_membarrier_lose_nothing)
{
	setenv("THRUM_NO_MEMBARRIER", "1", 1);
	run_storm(worker_counts[_i]);
}
END_TEST

START_TEST(hand_offs_under_forced_migration_lose_nothing)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	run_storm(worker_counts[_i]);
}
END_TEST

Suite *suite_rejoin(void)
{
	Suite *suite = suite_create("sched/rejoin");
	int n = WORKER_COUNTS;
	TCase *hogs = tcase_create("hogs");
	tcase_set_timeout(hogs, 60);
	tcase_add_checked_fixture(hogs, signals_setup, signals_teardown);
	tcase_add_test(hogs, no_more_hogs_than_the_cap_get_an_os_thread_of_their_own);
	tcase_add_loop_test(hogs, a_hog_that_returns_while_detached_gives_its_result, 0, n);
	tcase_add_loop_test(hogs, the_first_thread_may_return_while_detached, 0, n);
	tcase_add_loop_test(hogs, a_detached_hog_learns_that_it_was_cancelled, 0, n);
	tcase_add_loop_test(hogs, a_hog_comes_back_by_any_call_that_suspends, 0, n);
	tcase_add_loop_test(
		hogs, a_hog_comes_back_to_the_processor_it_came_from_if_that_is_idle, 0, n);
	tcase_add_test(hogs, a_hog_comes_back_to_another_idle_processor_if_its_own_is_not);
	tcase_add_loop_test(hogs, a_hog_that_finds_no_processor_idle_waits_for_one, 0, n);
#if defined(THRUM__ASAN) || defined(THRUM__TSAN)
	/* Shadow memory knows no limit. */
	(void)where_no_os_thread_is_to_be_had_a_hog_keeps_its_worker_and_nothing_is_lost;
#else
	tcase_add_loop_test(hogs,
		where_no_os_thread_is_to_be_had_a_hog_keeps_its_worker_and_nothing_is_lost, 0, n);
#endif
	tcase_add_loop_test(hogs, a_detached_hog_waits_for_descriptors_like_any_other_thread, 0, n);
	tcase_add_loop_test(hogs, hand_offs_while_everybody_steals_lose_nothing, 0, n);
	tcase_add_loop_test(hogs, hand_offs_without_membarrier_lose_nothing, 0, n);
	tcase_add_loop_test(hogs, hand_offs_under_forced_migration_lose_nothing, 0, n);
	suite_add_tcase(suite, hogs);
	return suite;
}
