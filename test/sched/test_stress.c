/* SPDX-License-Identifier: MIT */
#include "behave.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <thrum/poll.h>

/*
 * All of the scheduler at once: threads that spawn, join with deadlines, cancel, pin themselves, hold
 * their OS thread, wait for locks, timers and descriptors, in an order that a seed decides. None may
 * be lost, run twice, or leave its OS thread while it is pinned.
 */

enum { THREADS = 1200, DEPTH = 6, MODES = 4 };

struct storm {
	unsigned workers, detached_max;
	uint64_t seed;
	int left;	  /* atomic: threads that may still be born */
	int born, ended;  /* atomic */
	long guarded;	  /* by mutex */
	int locked;	  /* atomic: how often */
	int pipe[2];	  /* nothing ever comes */
	struct thrum_mutex mutex;
	struct thrum_semaphore permits;
};

struct body {
	struct storm *storm;
	uint64_t random;
	int depth;
};

static unsigned choose(struct body *body, unsigned count)
{
	return (unsigned)(next_random(&body->random) >> 32) % count;
}

static bool ended_well(int err)
{
	return err == 0 || err == -ETIMEDOUT || err == -ECANCELED;
}

static void spin(int64_t ns)
{
	int64_t until = thrum_now() + ns;
	while (thrum_now() < until)
		;
}

static void *stormy(void *arg);

static struct thrum_thread *give_birth(struct body *parent, bool joinable)
{
	struct storm *storm = parent->storm;
	if (parent->depth >= DEPTH || __atomic_sub_fetch(&storm->left, 1, __ATOMIC_RELAXED) < 0)
		return NULL;
	struct body *body = malloc(sizeof(*body));
	if (!must(body != NULL))
		return NULL;
	*body = (struct body){storm, next_random(&parent->random), parent->depth + 1};
	struct thrum_attr attr = {.flags = choose(parent, 3) == 0 ? THRUM_CHILD_FIRST : 0};
	struct thrum_thread *thread = NULL;
	count_up(&storm->born);
	must(thrum_spawn_at(joinable ? &thread : NULL, stormy, body, &attr, THRUM_SITE_) == 0);
	return thread;
}

static void join_stormy(struct body *body, struct thrum_thread *thread)
{
	void *result = NULL;
	int err = -ETIMEDOUT;
	for (int i = 0; err == -ETIMEDOUT && i < 3; i++) {
		err = thrum_join(thread, &result, thrum_after((int64_t)choose(body, 400) * THRUM_US));
		must(ended_well(err));
		if (err == -ETIMEDOUT && choose(body, 3) == 0)
			thrum_cancel(thread);
	}
	thrum_shield_begin();
	if (err != 0)
		must(thrum_join(thread, &result, THRUM_FOREVER) == 0);
	thrum_shield_end();
	must(result == body->storm);
}

static void have_children(struct body *body)
{
	struct thrum_thread *threads[3];
	unsigned count = 1 + choose(body, 3);
	for (unsigned i = 0; i < count; i++)
		threads[i] = give_birth(body, choose(body, 4) != 0);
	if (choose(body, 4) == 0)
		thrum_yield();
	while (count-- > 0) {
		struct thrum_thread *thread = threads[count];
		if (thread == NULL)
			continue;
		if (choose(body, 8) == 0)
			thrum_cancel(thread);
		if (choose(body, 8) == 0)
			thrum_detach(thread);
		else
			join_stormy(body, thread);
	}
}

static void *doze(void *arg)
{
	usleep(200);
	return arg;
}

static void one_thing(struct body *body);

static void pinned(struct body *body)
{
	thrum_pin();
	pid_t os_id = gettid();
	one_thing(body);
	must(gettid() == os_id);
	if (choose(body, 16) != 0) /* who ends pinned lets go, too */
		thrum_unpin();
}

static void hold(struct body *body)
{
	if (choose(body, 12) != 0)
		spin(20 * THRUM_US);
	else if (choose(body, 2) == 0)
		spin(12 * THRUM_MS);
	else
		usleep(3000);
}

static void locked(struct body *body)
{
	struct storm *storm = body->storm;
	thrum_deadline until = choose(body, 2) == 0 ? THRUM_FOREVER : thrum_after(THRUM_MS);
	int err = thrum_mutex_lock(&storm->mutex, until);
	must(ended_well(err));
	if (err != 0)
		return;
	long seen = storm->guarded;
	if (choose(body, 4) == 0)
		thrum_yield();
	storm->guarded = seen + 1;
	count_up(&storm->locked);
	thrum_mutex_unlock(&storm->mutex);
}

static void wait_somewhere(struct body *body)
{
	struct storm *storm = body->storm;
	thrum_deadline until = thrum_after((int64_t)choose(body, 500) * THRUM_US);
	if (choose(body, 2) == 0) {
		must(ended_well(thrum_fd_wait(storm->pipe[0], THRUM_READABLE, until)));
		return;
	}
	int err = thrum_semaphore_acquire(&storm->permits, until);
	must(ended_well(err));
	if (err != 0)
		return;
	thrum_yield();
	thrum_semaphore_release(&storm->permits, 1);
}

static void one_thing(struct body *body)
{
	void *result = NULL;
	switch (choose(body, 10)) {
	case 0:
		thrum_yield();
		break;
	case 1:
		must(ended_well(thrum_sleep((int64_t)choose(body, 300) * THRUM_US)));
		break;
	case 2:
		hold(body);
		break;
	case 3:
		pinned(body);
		break;
	case 4:
		thrum_blocking_begin();
		if (choose(body, 2) == 0)
			usleep(100);
		one_thing(body);
		thrum_blocking_end();
		break;
	case 5:
		must(thrum_blocking(doze, body, &result) == 0 && result == body);
		break;
	case 6:
		locked(body);
		break;
	case 7:
		wait_somewhere(body);
		break;
	default:
		have_children(body);
	}
}

static void *stormy(void *arg)
{
	struct body body = *(struct body *)arg;
	struct storm *storm = body.storm;
	free(arg);
	for (unsigned i = choose(&body, 4); i > 0; i--)
		one_thing(&body);
	count_up(&storm->ended);
	return storm;
}

static void *storm_main(void *arg)
{
	struct storm *storm = arg;
	struct body body = {storm, storm->seed, 0};
	while (__atomic_load_n(&storm->left, __ATOMIC_RELAXED) > 0)
		have_children(&body);
	while (count_get(&storm->ended) != count_get(&storm->born)) /* those that were detached */
		must(thrum_sleep(THRUM_MS) == 0);
	return storm;
}

static void *storm_run(void *arg)
{
	struct storm *storm = arg;
	struct thrum_config config = {
		.workers = storm->workers, .detached_max = storm->detached_max};
	must(pipe(storm->pipe) == 0);
	void *result = NULL;
	must(thrum_run(&config, storm_main, storm, &result) == 0 && result == storm);
	close(storm->pipe[0]);
	close(storm->pipe[1]);
	must(storm->guarded == storm->locked);
	must(thrum_semaphore_permits(&storm->permits) == 2);
	return storm;
}

static struct storm storm_new(unsigned workers, uint64_t *seed)
{
	return (struct storm){.workers = workers,
		.seed = next_random(seed),
		.left = THREADS,
		.permits = THRUM_SEMAPHORE_INIT(2)};
}

START_TEST(nothing_is_lost_in_a_storm)
{
	static const char *const variables[MODES] = {
		NULL, "THRUM_DEBUG_MIGRATE", "THRUM_NO_MEMBARRIER", NULL};
	int mode = _i / WORKER_COUNTS;
	uint64_t seed = test_seed("nothing_is_lost_in_a_storm");
	struct storm storm = storm_new(worker_counts[_i % WORKER_COUNTS], &seed);
	if (variables[mode] != NULL)
		ck_assert_int_eq(setenv(variables[mode], "1", 1), 0);
	storm.detached_max = mode == MODES - 1 ? 1 : 0;
	storm_run(&storm);
	ck_assert_msg(broken == NULL, "%s", broken);
}
END_TEST

START_TEST(storms_in_several_runtimes_do_not_disturb_each_other)
{
	uint64_t seed = test_seed("storms_in_several_runtimes_do_not_disturb_each_other");
	struct storm storms[3];
	pthread_t threads[3];
	for (int i = 0; i < 3; i++) {
		storms[i] = storm_new(worker_counts[i % WORKER_COUNTS], &seed);
		ck_assert_int_eq(pthread_create(&threads[i], NULL, storm_run, &storms[i]), 0);
	}
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_msg(broken == NULL, "%s", broken);
}
END_TEST

/* ---------------------------------------------------------------- joiners that are carried */

static void *nothing(void *arg)
{
	return arg;
}

/* So that no turn is due at the next join of an unstarted child, which is then run in its place. */
static void take_turns(void)
{
	for (int i = 0; i < 5; i++)
		must(finish(start(nothing, NULL)) == NULL);
}

/* Computes until the flag is set. */
static void *compute_until(void *flag)
{
	while (!flag_get(flag))
		;
	return flag;
}

static void *time_out(void *arg)
{
	bool end = false;
	for (int i = 0; i < 3; i++) {
		flag_set(&end);
		take_turns();
		end = false;
		struct thrum_thread *child = start(compute_until, &end);
		must(thrum_join(child, NULL, thrum_after(THRUM_MS)) == -ETIMEDOUT);
		flag_set(&end);
		must(finish(child) == &end);
	}
	return arg;
}

START_TEST(a_join_with_a_deadline_ends_though_the_child_computes)
{
	run_on(worker_counts[_i], time_out, NULL);
}
END_TEST

static void *cancel_soon(void *thread)
{
	usleep(2000);
	thrum_cancel(thread);
	return thread;
}

static void *be_cancelled(void *arg)
{
	bool end = false;
	pthread_t canceller;
	take_turns();
	must(pthread_create(&canceller, NULL, cancel_soon, thrum_self()) == 0);
	struct thrum_thread *child = start(compute_until, &end);
	must(thrum_join(child, NULL, THRUM_FOREVER) == -ECANCELED);
	flag_set(&end);
	must(pthread_join(canceller, NULL) == 0);
	thrum_shield_begin();
	must(finish(child) == &end);
	thrum_shield_end();
	return arg;
}

START_TEST(a_join_can_be_cancelled_though_the_child_computes)
{
	run_on(worker_counts[_i], be_cancelled, NULL);
}
END_TEST

/* ---------------------------------------------------------------- children that go first */

struct relay {
	bool slept;
	int left;
};

static void *sleep_a_bit(void *arg)
{
	struct relay *relay = arg;
	must(thrum_sleep(THRUM_MS) == 0);
	flag_set(&relay->slept);
	return arg;
}

/* Hands on to a child that goes first, until the sleeper is up. */
static void *hand_on(void *arg)
{
	struct relay *relay = arg;
	const struct thrum_attr attr = {.flags = THRUM_CHILD_FIRST};
	spin(2 * THRUM_US);
	if (!flag_get(&relay->slept) && must(relay->left-- > 0))
		(void)!thrum_spawn_at(NULL, hand_on, relay, &attr, THRUM_SITE_); /* or the runtime stops */
	return arg;
}

static void *run_relay(void *arg)
{
	start_alone(sleep_a_bit, arg);
	thrum_yield();
	start_alone(hand_on, arg);
	while (!flag_get(&((struct relay *)arg)->slept))
		must(thrum_sleep(THRUM_MS) == 0);
	return arg;
}

START_TEST(an_endless_chain_of_children_that_go_first_leaves_timers_their_turn)
{
	struct relay relay = {.left = 30000};
	run_on(1, run_relay, &relay);
}
END_TEST

/* ---------------------------------------------------------------- without further OS threads */

enum { ANOTHER_USER = 54321, SHORT_OF_THREADS = 8 };

static void *get_on_pinned(void *arg)
{
	thrum_pin();
	pid_t os_id = gettid();
	for (int i = 0; i < 50; i++) {
		if (i % 3 == 0)
			must(thrum_sleep(50 * THRUM_US) == 0);
		else
			thrum_yield();
		must(gettid() == os_id);
	}
	thrum_unpin();
	return arg;
}

static void *pin_many(void *arg)
{
	struct thrum_thread *threads[SHORT_OF_THREADS];
	for (int i = 0; i < SHORT_OF_THREADS; i++)
		threads[i] = start(get_on_pinned, arg);
	for (int i = 0; i < SHORT_OF_THREADS; i++)
		must(finish(threads[i]) == arg);
	return arg;
}

/* A user of whom the kernel counts the OS threads. False: there are none to be had for us. */
static bool become_limited(rlim_t os_threads_max)
{
	const struct rlimit limit = {os_threads_max, os_threads_max};
	return geteuid() == 0 && setrlimit(RLIMIT_NPROC, &limit) == 0 && setuid(ANOTHER_USER) == 0;
}

START_TEST(pinned_threads_get_on_where_no_further_os_thread_is_to_be_had)
{
	unsigned workers = worker_counts[_i];
	if (!become_limited(workers + 1)) /* and the monitor */
		return;
	int thing;
	must(run_on(workers, pin_many, &thing) == &thing);
}
END_TEST

Suite *suite_stress(void)
{
	Suite *suite = suite_create("sched/stress");
	TCase *tcase = tcase_create("storm");
	tcase_add_loop_test(tcase, nothing_is_lost_in_a_storm, 0, MODES * WORKER_COUNTS);
	tcase_add_test(tcase, storms_in_several_runtimes_do_not_disturb_each_other);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("turns");
	tcase_add_loop_test(tcase, a_join_with_a_deadline_ends_though_the_child_computes, 0,
		WORKER_COUNTS);
	tcase_add_loop_test(tcase, a_join_can_be_cancelled_though_the_child_computes, 0,
		WORKER_COUNTS);
	tcase_add_test(tcase, an_endless_chain_of_children_that_go_first_leaves_timers_their_turn);
#if !defined(THRUM__TSAN) && !defined(THRUM__ASAN) /* which have threads of their own */
	tcase_add_loop_test(tcase, pinned_threads_get_on_where_no_further_os_thread_is_to_be_had, 0,
		WORKER_COUNTS);
#else
	(void)pinned_threads_get_on_where_no_further_os_thread_is_to_be_had;
#endif
	tcase_set_timeout(tcase, 20);
	suite_add_tcase(suite, tcase);
	return suite;
}
