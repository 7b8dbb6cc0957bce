/* SPDX-License-Identifier: MIT */
#include <check.h>

#include "hooks.h"

#include "explore.h"

/*
 * The explorer itself: litmus tests of its memory model, each with the set of outcomes that C11
 * allows, no more and no fewer; and faults that it must report.
 */

static struct litmus {
	uint64_t x, y, z, f, plain;
	struct thrum__lock lock, other;
	uint32_t futex;
	unsigned r[4];
} w;

static uint32_t outcomes; /* a bit for each combination of r[] seen: r[0] + 2 r[1] + 4 r[2] ... */

static void no_setup(void *world)
{
	(void)world;
}

static void note_outcome(void *world)
{
	(void)world;
	outcomes |= UINT32_C(1) << (w.r[0] + 2 * w.r[1] + 4 * w.r[2] + 8 * w.r[3]);
}

#define LOAD(p, order)     (unsigned)__atomic_load_n(p, __ATOMIC_##order)
#define STORE(p, v, order) __atomic_store_n(p, v, __ATOMIC_##order)
#define FENCE(order)       __atomic_thread_fence(__ATOMIC_##order)
#define LITMUS(name)       static void name(void *world, unsigned self)

/* Store buffering: both write, both read what the other wrote. Bit 0: neither saw anything. */
LITMUS(sb_relaxed)
{
	STORE(self == 0 ? &w.x : &w.y, 1, RELAXED);
	w.r[self] = LOAD(self == 0 ? &w.y : &w.x, RELAXED);
}

LITMUS(sb_one_fence)
{
	STORE(self == 0 ? &w.x : &w.y, 1, RELAXED);
	if (self == 0)
		FENCE(SEQ_CST);
	w.r[self] = LOAD(self == 0 ? &w.y : &w.x, RELAXED);
}

LITMUS(sb_fences)
{
	STORE(self == 0 ? &w.x : &w.y, 1, RELAXED);
	FENCE(SEQ_CST);
	w.r[self] = LOAD(self == 0 ? &w.y : &w.x, RELAXED);
}

LITMUS(sb_rmw)
{
	__atomic_exchange_n(self == 0 ? &w.x : &w.y, 1, __ATOMIC_SEQ_CST);
	w.r[self] = LOAD(self == 0 ? &w.y : &w.x, RELAXED);
}

LITMUS(sb_membarrier)
{
	STORE(self == 0 ? &w.x : &w.y, 1, RELAXED);
	if (self == 0)
		explore_membarrier();
	w.r[self] = LOAD(self == 0 ? &w.y : &w.x, RELAXED);
}

/* Message passing: r[0] the flag, r[1] the data. Bit 1: the flag without the data. */
static void mp(unsigned self, int store, int load, bool store_fence, bool load_fence)
{
	if (self == 0) {
		STORE(&w.x, 1, RELAXED);
		if (store_fence)
			FENCE(RELEASE);
		__atomic_store_n(&w.f, 1, store);
		return;
	}
	w.r[0] = (unsigned)__atomic_load_n(&w.f, load);
	if (load_fence)
		FENCE(ACQUIRE);
	w.r[1] = LOAD(&w.x, RELAXED);
}

LITMUS(mp_relaxed)
{
	mp(self, __ATOMIC_RELAXED, __ATOMIC_RELAXED, false, false);
}

LITMUS(mp_release_only)
{
	mp(self, __ATOMIC_RELEASE, __ATOMIC_RELAXED, false, false);
}

LITMUS(mp_acquire_only)
{
	mp(self, __ATOMIC_RELAXED, __ATOMIC_ACQUIRE, false, false);
}

LITMUS(mp_both)
{
	mp(self, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE, false, false);
}

LITMUS(mp_fences)
{
	mp(self, __ATOMIC_RELAXED, __ATOMIC_RELAXED, true, true);
}

/* A read-modify-write in between hands the release on. */
LITMUS(mp_through_rmw)
{
	if (self == 0) {
		STORE(&w.x, 1, RELAXED);
		STORE(&w.f, 1, RELEASE);
	} else if (self == 1) {
		__atomic_fetch_add(&w.f, 2, __ATOMIC_RELAXED);
	} else {
		w.r[0] = LOAD(&w.f, ACQUIRE) == 3;
		w.r[1] = LOAD(&w.x, RELAXED);
	}
}

/* So do the releaser's own later stores to that location. */
LITMUS(mp_through_store)
{
	if (self == 0) {
		STORE(&w.x, 1, RELAXED);
		STORE(&w.f, 1, RELEASE);
		STORE(&w.f, 2, RELAXED);
	} else {
		w.r[0] = LOAD(&w.f, ACQUIRE) == 2;
		w.r[1] = LOAD(&w.x, RELAXED);
	}
}

/* But not after another thread has stored there. Bit 1: relaxed. */
LITMUS(mp_sequence_broken)
{
	if (self == 0) {
		STORE(&w.x, 1, RELAXED);
		STORE(&w.f, 1, RELEASE);
		while (LOAD(&w.f, RELAXED) != 2)
			explore_relax();
		STORE(&w.f, 3, RELAXED);
	} else if (self == 1) {
		while (LOAD(&w.f, RELAXED) != 1)
			explore_relax();
		STORE(&w.f, 2, RELAXED);
	} else {
		w.r[0] = LOAD(&w.f, ACQUIRE) == 3;
		w.r[1] = LOAD(&w.x, RELAXED);
	}
}

/* One location: who has seen the new value does not see the old one again. Bit 1 would be that. */
LITMUS(coherence)
{
	if (self == 0) {
		STORE(&w.x, 1, RELAXED);
		return;
	}
	w.r[0] = LOAD(&w.x, RELAXED);
	w.r[1] = LOAD(&w.x, RELAXED);
}

/* Two writers, two readers: bit 5 is r = 1 0 1 0, the readers disagree on the order. */
static void iriw(unsigned self, bool fence)
{
	if (self < 2) {
		STORE(self == 0 ? &w.x : &w.y, 1, RELEASE);
		return;
	}
	unsigned *r = &w.r[2 * (self - 2)];
	r[0] = LOAD(self == 2 ? &w.x : &w.y, ACQUIRE);
	if (fence)
		FENCE(SEQ_CST);
	r[1] = LOAD(self == 2 ? &w.y : &w.x, ACQUIRE);
}

LITMUS(iriw_acquire)
{
	iriw(self, false);
}

LITMUS(iriw_fences)
{
	iriw(self, true);
}

/* Load buffering, which the model leaves out: bit 3 would be both. */
LITMUS(load_buffering)
{
	w.r[self] = LOAD(self == 0 ? &w.x : &w.y, RELAXED);
	STORE(self == 0 ? &w.y : &w.x, 1, RELAXED);
}

/* A compare-and-swap may fail on a value that is no longer there, but succeeds only once. */
LITMUS(cas_once)
{
	uint64_t expected = 0;
	w.r[self] = __atomic_compare_exchange_n(
		&w.x, &expected, self + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Spinning ends when what is spun on changes. */
LITMUS(spin)
{
	if (self == 0) {
		STORE(&w.x, 1, RELAXED);
		STORE(&w.f, 1, RELEASE);
		return;
	}
	while (LOAD(&w.f, ACQUIRE) == 0)
		explore_relax();
	w.r[0] = LOAD(&w.x, RELAXED);
}

static const struct {
	const char *name;
	void (*body)(void *world, unsigned self);
	unsigned threads;
	uint32_t outcomes;
} litmus[] = {
	{"store buffering, relaxed", sb_relaxed, 2, 0xf},
	{"store buffering, one fence", sb_one_fence, 2, 0xf},
	{"store buffering, fences", sb_fences, 2, 0xe},
	{"store buffering, exchanges", sb_rmw, 2, 0xf},
	{"store buffering, membarrier", sb_membarrier, 2, 0xe},
	{"message passing, relaxed", mp_relaxed, 2, 0xf},
	{"message passing, release only", mp_release_only, 2, 0xf},
	{"message passing, acquire only", mp_acquire_only, 2, 0xf},
	{"message passing, release and acquire", mp_both, 2, 0xd},
	{"message passing, fences", mp_fences, 2, 0xd},
	{"message passing, through a read-modify-write", mp_through_rmw, 3, 0xd},
	{"message passing, through a later store", mp_through_store, 2, 0xd},
	{"message passing, a release sequence broken", mp_sequence_broken, 3, 0xf},
	{"coherence", coherence, 2, 0xd},
	{"independent reads, acquire", iriw_acquire, 4, 0xffff},
	{"independent reads, fences", iriw_fences, 4, 0xffff & ~(1u << 5)},
	{"load buffering", load_buffering, 2, 0x7},
	{"one swap", cas_once, 2, 0x6},
	{"spinning", spin, 2, 0x2},
};

static struct explore_scenario scenario_of(int i)
{
	return (struct explore_scenario){.name = litmus[i].name,
		.threads = litmus[i].threads,
		.world = &w,
		.size = sizeof(w),
		.setup = no_setup,
		.body = litmus[i].body,
		.check = note_outcome};
}

START_TEST(a_litmus_test_has_the_outcomes_that_the_model_allows_and_no_others)
{
	struct explore_scenario scenario = scenario_of(_i);
	outcomes = 0;
	struct explore_result result = explore_all(&scenario, 1000000);
	ck_assert(result.complete && !result.found);
	ck_assert_msg(outcomes == litmus[_i].outcomes, "%s: outcomes %x, not %x", litmus[_i].name,
		outcomes, litmus[_i].outcomes);
}
END_TEST

START_TEST(skipping_known_states_loses_no_outcome)
{
	struct explore_scenario scenario = scenario_of(_i);
	outcomes = 0;
	struct explore_result few = explore_all(&scenario, 1000000);
	uint32_t seen = outcomes;
	outcomes = 0;
	scenario.every_path = true;
	struct explore_result all = explore_all(&scenario, 200000);
	ck_assert(few.executions <= all.executions);
	ck_assert_msg(seen == outcomes || (!all.complete && (seen | outcomes) == seen),
		"%s: outcomes %x, with every path %x", litmus[_i].name, seen, outcomes);
}
END_TEST

START_TEST(random_executions_see_no_other_outcomes)
{
	struct explore_scenario scenario = scenario_of(_i);
	outcomes = 0;
	struct explore_result result = explore_random(&scenario, 7, 3000);
	ck_assert(!result.found);
	ck_assert_uint_eq(outcomes & ~litmus[_i].outcomes, 0);
}
END_TEST

/* ---------------------------------------------------------------- findings */

LITMUS(race_bare)
{
	explore_plain_write(&w.plain);
	w.plain = self;
}

LITMUS(race_behind_relaxed)
{
	if (self == 0) {
		explore_plain_write(&w.plain);
		STORE(&w.f, 1, RELAXED);
	} else if (LOAD(&w.f, ACQUIRE)) {
		explore_plain_read(&w.plain);
	}
}

LITMUS(race_after_release)
{
	if (self == 0) {
		STORE(&w.f, 1, RELEASE);
		explore_plain_write(&w.plain);
	} else if (LOAD(&w.f, ACQUIRE)) {
		explore_plain_read(&w.plain);
	}
}

LITMUS(locks_crossed)
{
	thrum__lock(self == 0 ? &w.lock : &w.other);
	thrum__lock(self == 0 ? &w.other : &w.lock);
	thrum__unlock(self == 0 ? &w.lock : &w.other);
	thrum__unlock(self == 0 ? &w.other : &w.lock);
}

/* The word is set after the wake: the sleeper may look before and sleep after it. */
LITMUS(wake_before_set)
{
	if (self == 0) {
		thrum__futex_wake(&w.futex, 1);
		STORE(&w.futex, 1, RELEASE);
	} else {
		while (LOAD(&w.futex, ACQUIRE) == 0)
			thrum__futex_wait(&w.futex, 0, -1);
	}
}

LITMUS(spin_for_ever)
{
	while (LOAD(&w.f, ACQUIRE) == 0)
		explore_relax();
}

LITMUS(check_fails)
{
	__atomic_fetch_add(&w.x, 1, __ATOMIC_RELAXED);
	CHECK(self == 0 || LOAD(&w.x, RELAXED) != 2);
}

LITMUS(stores_for_ever)
{
	for (;;)
		STORE(&w.x, LOAD(&w.x, RELAXED) ^ 1, RELAXED);
}

static const struct {
	const char *name, *why;
	void (*body)(void *world, unsigned self);
} faults[] = {
	{"two plain stores", "data race", race_bare},
	{"published relaxed", "data race", race_behind_relaxed},
	{"stored after publishing", "data race", race_after_release},
	{"locks in two orders", "everybody waits", locks_crossed},
	{"a wake before the word is set", "everybody waits", wake_before_set},
	{"spinning for ever", "everybody waits", spin_for_ever},
	{"a check", "does not hold", check_fails},
	{"no end", "no end", stores_for_ever},
};

START_TEST(a_fault_is_found_and_its_schedule_finds_it_again)
{
	struct explore_scenario scenario = {.name = faults[_i].name,
		.threads = 2,
		.world = &w,
		.size = sizeof(w),
		.setup = no_setup,
		.body = faults[_i].body};
	struct explore_result result = explore_all(&scenario, 100000);
	ck_assert_msg(result.found, "%s was not found", faults[_i].name);
	ck_assert_msg(
		strstr(result.why, faults[_i].why) != NULL, "%s: %s", faults[_i].name, result.why);
	struct explore_result again = explore_replay(&scenario, result.schedule, NULL);
	ck_assert(again.found);
	ck_assert_str_eq(again.why, result.why);
	ck_assert(explore_random(&scenario, 3, 1000).found);
}
END_TEST

LITMUS(locked)
{
	for (int i = 0; i < 2; i++) {
		thrum__lock(&w.lock);
		explore_plain_read(&w.plain);
		explore_plain_write(&w.plain);
		w.plain++;
		thrum__unlock(&w.lock);
	}
}

static void all_counted(void *world)
{
	if (w.plain != 6)
		explore_fail("%u increments of 6", (unsigned)w.plain);
}

START_TEST(a_lock_orders_what_it_guards)
{
	struct explore_scenario scenario = {.name = "lock",
		.threads = 3,
		.world = &w,
		.size = sizeof(w),
		.setup = no_setup,
		.body = locked,
		.check = all_counted};
	struct explore_result result = explore_all(&scenario, 100000);
	ck_assert_msg(!result.found, "%s", result.why);
	ck_assert(result.complete);
}
END_TEST

Suite *suite_engine(void)
{
	Suite *suite = suite_create("explore/engine");
	TCase *basic = tcase_create("basic");
	int count = (int)thrum__countof(litmus);
	tcase_add_loop_test(basic,
		a_litmus_test_has_the_outcomes_that_the_model_allows_and_no_others, 0, count);
	tcase_add_loop_test(basic, skipping_known_states_loses_no_outcome, 0, count);
	tcase_add_loop_test(basic, random_executions_see_no_other_outcomes, 0, count);
	tcase_add_loop_test(basic, a_fault_is_found_and_its_schedule_finds_it_again, 0,
		(int)thrum__countof(faults));
	tcase_add_test(basic, a_lock_orders_what_it_guards);
	suite_add_tcase(suite, basic);
	return suite;
}
