/* SPDX-License-Identifier: MIT */
#include "behave.h"

#include <errno.h>
#include <pthread.h>

#include "sched/sched_internal.h"

/*
 * Whatever keeps the workers busy, nobody else starves. Each test of the first part puts one kind
 * of load on the workers and then has one kind of bystander get its work done beside it; the load
 * ends only when the bystander has. Iteration _i is bystander _i / 3 with 1, 2 or 8 workers.
 */

#if defined(THRUM__TSAN) || defined(THRUM__ASAN)
enum { STORM = 1000, PAIRS = 50, CHAINS = 10, ROUNDS = 5 };
#else
enum { STORM = 1000, PAIRS = 100, CHAINS = 20, ROUNDS = 20 };
#endif

/* ---------------------------------------------------------------- load */

struct pair {
	struct thrum_semaphore turn[2];
	const bool *stop;
	uint64_t turns[2];
	int work; /* of a turn */
};

struct side {
	struct pair *pair;
	int side;
};

struct scene {
	bool stop; /* the load ends */
	int begun; /* of the load's threads */
	unsigned kind;
	struct pair pairs[PAIRS];
	struct side sides[PAIRS][2];
};

static void *yielder(void *arg)
{
	struct scene *scene = arg;
	count_up(&scene->begun);
	yield_until(&scene->stop);
	return NULL;
}

static int yield_storm(struct scene *scene)
{
	for (int i = 0; i < STORM; i++)
		start_alone(yielder, scene);
	return STORM;
}

/* One of two threads that give a turn to and fro: each wakes the other and parks. */
static void *play(void *arg)
{
	struct side *self = arg;
	struct pair *pair = self->pair;
	while (thrum_semaphore_acquire(&pair->turn[self->side], THRUM_FOREVER) == 0) {
		for (volatile int i = 0; i < pair->work; i++)
			;
		__atomic_fetch_add(&pair->turns[self->side], 1, __ATOMIC_RELAXED);
		thrum_semaphore_release(&pair->turn[!self->side], 1);
		if (flag_get(pair->stop))
			break;
	}
	return NULL;
}

static uint64_t turns(const struct pair *pair)
{
	return __atomic_load_n(&pair->turns[0], __ATOMIC_RELAXED);
}

static void start_pair(struct scene *scene, int i, int work)
{
	struct pair *pair = &scene->pairs[i];
	pair->stop = &scene->stop;
	pair->work = work;
	for (int side = 0; side < 2; side++) {
		scene->sides[i][side] = (struct side){pair, side};
		start_alone(play, &scene->sides[i][side]);
	}
	thrum_semaphore_release(&pair->turn[0], 1);
}

/* As many as it takes to keep each worker in its slot for the last woken one. */
static int a_pair_a_worker(struct scene *scene)
{
	for (unsigned i = 0; i < thrum_workers(); i++)
		start_pair(scene, (int)i, 0);
	return 0;
}

static int many_pairs(struct scene *scene)
{
	for (int i = 0; i < PAIRS; i++)
		start_pair(scene, i, 0);
	return 0;
}

/* Each link starts the next one and ends. */
static void *chain(void *arg)
{
	struct scene *scene = arg;
	count_up(&scene->begun);
	if (!flag_get(&scene->stop) && thrum_spawn(NULL, chain, arg) != 0)
		must(flag_get(&scene->stop));
	return NULL;
}

static int spawn_chains(struct scene *scene)
{
	for (int i = 0; i < CHAINS; i++)
		start_alone(chain, scene);
	return CHAINS;
}

/* Busy for a while, then one yield: what a computation does that was written with others in mind.
 */
static void *busy_yielder(void *arg)
{
	struct scene *scene = arg;
	count_up(&scene->begun);
	while (!flag_get(&scene->stop)) {
		for (volatile int i = 0; i < 20000; i++)
			;
		thrum_yield();
	}
	return NULL;
}

static int busy_workers(struct scene *scene)
{
	int count = 2 * (int)thrum_workers();
	for (int i = 0; i < count; i++)
		start_alone(busy_yielder, scene);
	return count;
}

/* ---------------------------------------------------------------- one beside the other */

enum { CASES = BYSTANDERS * WORKER_COUNTS };

struct play_of {
	struct scene scene;
	int (*load)(struct scene *scene);
};

static void *stage(void *arg)
{
	struct play_of *play_of = arg;
	struct scene *scene = &play_of->scene;
	int count = play_of->load(scene);
	while (count_get(&scene->begun) < count)
		thrum_yield();
	finish(start(bystanders[scene->kind], scene));
	flag_set(&scene->stop);
	return NULL;
}

static void run_beside(int (*load)(struct scene *scene), int index)
{
	struct play_of *play_of = calloc(1, sizeof(*play_of)); /* the load may outlive the stage */
	ck_assert_ptr_nonnull(play_of);
	play_of->load = load;
	play_of->scene.kind = (unsigned)index / WORKER_COUNTS;
	run_on(worker_counts[index % WORKER_COUNTS], stage, play_of);
	free(play_of);
}

START_TEST(a_storm_of_a_thousand_yields_starves_nobody)
{
	run_beside(yield_storm, _i);
}
END_TEST

START_TEST(a_pair_that_wakes_each_other_starves_nobody)
{
	run_beside(a_pair_a_worker, _i);
}
END_TEST

START_TEST(many_pairs_that_wake_each_other_starve_nobody)
{
	run_beside(many_pairs, _i);
}
END_TEST

START_TEST(endless_chains_of_spawns_starve_nobody)
{
	run_beside(spawn_chains, _i);
}
END_TEST

START_TEST(busy_threads_that_yield_now_and_then_starve_nobody)
{
	run_beside(busy_workers, _i);
}
END_TEST

/* ---------------------------------------------------------------- shares */

/*
 * Where one worker deals out turns, they are counted. A machine that is busy with other things may
 * take the processor away from a thread in its turn, and give the others turns meanwhile: such an
 * attempt says nothing, but among this many one is undisturbed.
 */
enum { ATTEMPTS = 50 };

struct shares {
	struct scene scene;
	uint64_t turns[10];
	int next;
	bool fair;
};

static void *yield_and_count(void *arg)
{
	struct shares *shares = arg;
	uint64_t *turns = &shares->turns[shares->next++];
	while (!flag_get(&shares->scene.stop)) {
		++*turns;
		thrum_yield();
	}
	return NULL;
}

static void *equal_yielders(void *arg)
{
	struct shares *shares = arg;
	struct thrum_thread *threads[10];
	uint64_t least = UINT64_MAX, most = 0;
	for (int i = 0; i < 10; i++)
		threads[i] = start(yield_and_count, shares);
	for (int i = 0; i < 1000; i++)
		thrum_yield();
	flag_set(&shares->scene.stop);
	for (int i = 0; i < 10; i++) {
		finish(threads[i]);
		least = shares->turns[i] < least ? shares->turns[i] : least;
		most = shares->turns[i] > most ? shares->turns[i] : most;
	}
	shares->fair = least >= 900 && most - least <= 100;
	return NULL;
}

static void *pair_beside_yielder(void *arg)
{
	/* How often the pair gets a turn between two of ours. */
	struct shares *shares = arg;
	struct pair *pair = &shares->scene.pairs[0];
	uint64_t before = 0, most = 0;
	start_pair(&shares->scene, 0, 0);
	while (turns(pair) == 0)
		thrum_yield();
	before = turns(pair);
	for (int i = 0; i < 1000; i++) {
		thrum_yield();
		uint64_t now = turns(pair);
		most = now - before > most ? now - before : most;
		before = now;
	}
	flag_set(&shares->scene.stop);
	shares->fair = most <= 16 && turns(pair) >= 100;
	return NULL;
}

static void *heavy_and_light_pair(void *arg)
{
	struct shares *shares = arg;
	struct pair *heavy = &shares->scene.pairs[0], *light = &shares->scene.pairs[1];
	start_pair(&shares->scene, 0, 50000);
	start_pair(&shares->scene, 1, 50);
	while (turns(heavy) < 100)
		thrum_yield();
	flag_set(&shares->scene.stop);
	shares->fair = turns(light) >= 20 && turns(light) <= 500;
	return NULL;
}

static void check_shares(thrum_fn fn)
{
	bool fair = false;
	for (int i = 0; i < ATTEMPTS && !fair; i++) {
		struct shares *shares = calloc(1, sizeof(*shares));
		ck_assert_ptr_nonnull(shares);
		run_on(1, fn, shares);
		fair = shares->fair;
		free(shares);
	}
	ck_assert(fair);
}

START_TEST(equal_threads_get_equal_turns)
{
	check_shares(equal_yielders);
}
END_TEST

START_TEST(a_pair_in_the_slot_gets_few_turns_in_a_row)
{
	check_shares(pair_beside_yielder);
}
END_TEST

START_TEST(a_heavy_pair_and_a_light_one_get_similar_turns)
{
	check_shares(heavy_and_light_pair);
}
END_TEST

/* ---------------------------------------------------------------- a yield, and who wakes where */

struct reader {
	int fd;
	bool ran;
};

static void *read_one(void *arg)
{
	struct reader *reader = arg;
	char byte;
	must(thrum_fd_wait(reader->fd, THRUM_READABLE, THRUM_FOREVER) == 0);
	must(read(reader->fd, &byte, 1) == 1);
	flag_set(&reader->ran);
	return NULL;
}

static void *yield_for_reader(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		int fds[2];
		if (!must(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0))
			return NULL;
		struct reader reader = {.fd = fds[0]};
		struct thrum_thread *thread = start(read_one, &reader);
		thrum_yield();
		must(write(fds[1], "z", 1) == 1);
		yield_until(&reader.ran);
		finish(thread);
		close(fds[0]);
		close(fds[1]);
	}
	return arg;
}

START_TEST(a_lone_thread_that_yields_lets_descriptors_be_served)
{
	run_on(worker_counts[_i], yield_for_reader, NULL);
}
END_TEST

struct home {
	int moves;
};

static void *sleep_and_count_moves(void *arg)
{
	/* Which processor it is on shows from inside alone: OS threads change with hand-offs. */
	struct home *home = arg;
	const struct thrum__processor *last = thrum__machine_self()->processor;
	for (int i = 0; i < 20; i++) {
		must(thrum_sleep(THRUM_MS) == 0);
		const struct thrum__processor *now = thrum__machine_self()->processor;
		home->moves += now != last;
		last = now;
	}
	return NULL;
}

static void *sleep_beside_idle_workers(void *arg)
{
	finish(start(sleep_and_count_moves, arg));
	return NULL;
}

START_TEST(a_sleeping_thread_stays_where_it_is)
{
	bool stayed = false;
	for (int i = 0; i < 10 && !stayed; i++) {
		struct home home = {0};
		run_on(8, sleep_beside_idle_workers, &home);
		stayed = home.moves <= 5;
	}
	ck_assert(stayed);
}
END_TEST

/* ---------------------------------------------------------------- churn */

static void *few_yields(void *arg)
{
	for (int i = 0; i < 5; i++)
		thrum_yield();
	count_up(arg);
	return arg;
}

enum { BRIEF = 50 };

static void *brief_main(void *arg)
{
	struct thrum_thread *threads[BRIEF];
	for (int i = 0; i < BRIEF; i++)
		threads[i] = start(few_yields, arg);
	for (int i = 0; i < BRIEF; i++)
		finish(threads[i]);
	return arg;
}

static void *churn(void *arg)
{
	struct thrum_config config = {.workers = 4};
	for (int i = 0; i < ROUNDS; i++) {
		int ended = 0;
		must(thrum_run(&config, brief_main, &ended, NULL) == 0);
		must(ended == BRIEF);
	}
	return arg;
}

START_TEST(runtimes_come_and_go_while_their_workers_steal)
{
	pthread_t threads[4];
	broken = NULL;
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, NULL), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_msg(broken == NULL, "%s", broken);
}
END_TEST

Suite *suite_fairness(void)
{
	Suite *suite = suite_create("sched/fairness");
	TCase *load = tcase_create("load");
	tcase_set_timeout(load, 60);
	tcase_add_loop_test(load, a_storm_of_a_thousand_yields_starves_nobody, 0, CASES);
	tcase_add_loop_test(load, a_pair_that_wakes_each_other_starves_nobody, 0, CASES);
	tcase_add_loop_test(load, many_pairs_that_wake_each_other_starve_nobody, 0, CASES);
	tcase_add_loop_test(load, endless_chains_of_spawns_starve_nobody, 0, CASES);
	tcase_add_loop_test(load, busy_threads_that_yield_now_and_then_starve_nobody, 0, CASES);
	suite_add_tcase(suite, load);
	TCase *shares = tcase_create("shares");
	tcase_set_timeout(shares, 60);
	tcase_add_test(shares, equal_threads_get_equal_turns);
	tcase_add_test(shares, a_pair_in_the_slot_gets_few_turns_in_a_row);
	tcase_add_test(shares, a_heavy_pair_and_a_light_one_get_similar_turns);
	tcase_add_loop_test(
		shares, a_lone_thread_that_yields_lets_descriptors_be_served, 0, WORKER_COUNTS);
	tcase_add_test(shares, a_sleeping_thread_stays_where_it_is);
	tcase_add_test(shares, runtimes_come_and_go_while_their_workers_steal);
	suite_add_tcase(suite, shares);
	return suite;
}
