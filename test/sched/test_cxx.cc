/* SPDX-License-Identifier: MIT */
#include "behave.h"

#include <exception>
#include <stdexcept>
#include <string>
#include <sys/wait.h>

/*
 * C++ exceptions on green threads: what is thrown in one is caught in it, whatever it waits for in
 * between, wherever it goes on, and whatever others throw meanwhile.
 */

extern "C" Suite *suite_cxx(void);

namespace
{

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { THROWERS = 12, TIMES = 20 };
#else
enum { THROWERS = 24, TIMES = 60 };
#endif

struct mine : std::runtime_error {
	mine(uint64_t of, int at)
	    : std::runtime_error("mine " + std::to_string(of)), id(of), depth(at)
	{
	}
	uint64_t id;
	int depth;
};

uint64_t own_id()
{
	return thrum_thread_id(thrum_self());
}

/* Suspends in one of several ways. */
void suspend(int way)
{
	switch (way % 3) {
	case 0:
		thrum_yield();
		break;
	case 1:
		must(thrum_sleep(THRUM_US) == 0);
		break;
	default:
		bool flag = false;
		finish(start(raise_flag, &flag));
		must(flag);
	}
}

/* Suspends while the stack is unwound; no exception but the one on its way is there. */
struct suspends_at_the_end {
	int way, in_flight;
	~suspends_at_the_end()
	{
		must(std::uncaught_exceptions() == in_flight);
		suspend(way);
		must(std::uncaught_exceptions() == in_flight);
	}
};

void throw_from(int depth, int way)
{
	suspends_at_the_end guard = {way, 1};
	suspend(way);
	if (depth > 0)
		throw_from(depth - 1, way + 1);
	throw mine(own_id(), way);
}

void *throw_and_catch(void *arg)
{
	for (int i = 0; i < TIMES; i++) {
		bool caught = false;
		try {
			throw_from(i % 5, i);
		} catch (const mine &e) {
			suspend(i);
			must(e.id == own_id());
			must(e.what() == "mine " + std::to_string(own_id()));
			must(std::uncaught_exceptions() == 0);
			caught = true;
		}
		must(caught && std::current_exception() == nullptr);
	}
	return arg;
}

/* In a handler, others are thrown and caught; the one being handled stays the same. */
void handle_within(int depth, int way)
{
	try {
		throw mine(own_id(), depth);
	} catch (const mine &) {
		std::exception_ptr before = std::current_exception();
		suspend(way);
		if (depth > 0)
			handle_within(depth - 1, way + 1);
		must(std::current_exception() == before);
		suspend(way + 1);
		try {
			throw;
		} catch (const mine &e) {
			must(e.id == own_id() && e.depth == depth);
			must(std::current_exception() == before);
		}
		must(std::current_exception() == before);
	}
}

void *nest_handlers(void *arg)
{
	for (int i = 0; i < TIMES; i++) {
		handle_within(i % 4, i);
		must(std::current_exception() == nullptr);
		must(std::uncaught_exceptions() == 0);
	}
	return arg;
}

/* A destructor that runs while one exception is on its way throws and catches another one. */
struct throws_within {
	int way;
	~throws_within()
	{
		int before = std::uncaught_exceptions();
		try {
			suspends_at_the_end guard = {way, before + 1};
			throw mine(own_id(), -1);
		} catch (const mine &e) {
			suspend(way);
			must(e.depth == -1 && e.id == own_id());
			must(std::uncaught_exceptions() == before);
		}
	}
};

void *throw_while_unwinding(void *arg)
{
	for (int i = 0; i < TIMES; i++) {
		try {
			throws_within guard = {i};
			suspend(i);
			throw mine(own_id(), i);
		} catch (const mine &e) {
			suspend(i + 1);
			must(e.depth == i && e.id == own_id());
		}
	}
	return arg;
}

/* Holds its OS thread in a handler until others have thrown: it is handed off within. */
int thrown; /* atomic */

void *hog_in_handler(void *arg)
{
	for (int i = 0; i < 3; i++) {
		try {
			throw mine(own_id(), i);
		} catch (const mine &) {
			for (int before = count_get(&thrown); count_get(&thrown) < before + 5;)
				;
			try {
				throw;
			} catch (const mine &e) {
				must(e.id == own_id() && e.depth == i);
				suspend(i);
				must(e.id == own_id() && e.depth == i);
			}
		}
		must(std::current_exception() == nullptr);
	}
	return arg;
}

void *throw_on(void *arg)
{
	while (!flag_get(static_cast<bool *>(arg))) {
		try {
			throw mine(own_id(), 0);
		} catch (const mine &e) {
			count_up(&thrown);
			thrum_yield();
			must(e.id == own_id());
		}
	}
	return arg;
}

void *run_all(thrum_fn fn)
{
	struct thrum_thread *threads[THROWERS];
	for (int i = 0; i < THROWERS; i++)
		threads[i] = start(fn, threads);
	for (int i = 0; i < THROWERS; i++)
		must(finish(threads[i]) == threads);
	return nullptr;
}

void *all_throw(void *)
{
	return run_all(throw_and_catch);
}

void *all_nest(void *)
{
	return run_all(nest_handlers);
}

void *all_throw_while_unwinding(void *)
{
	return run_all(throw_while_unwinding);
}

void *throw_beside_hogs(void *arg)
{
	bool stop = false;
	struct thrum_thread *others[3], *hogs[4];
	for (auto &other : others)
		other = start(throw_on, &stop);
	for (auto &hog : hogs)
		hog = start(hog_in_handler, arg);
	for (auto &hog : hogs)
		finish(hog);
	flag_set(&stop);
	for (auto &other : others)
		finish(other);
	return arg;
}

const thrum_fn scenes[] = {all_throw, all_nest, all_throw_while_unwinding, throw_beside_hogs};
const int SCENES = sizeof(scenes) / sizeof(scenes[0]);

/* An exception that another thread caught. */
void *catch_for_other(void *arg)
{
	try {
		throw_from(3, 0);
	} catch (...) {
		*static_cast<std::exception_ptr *>(arg) = std::current_exception();
	}
	return arg;
}

void *rethrow_here(void *arg)
{
	for (int i = 0; i < TIMES; i++) {
		std::exception_ptr caught;
		bool again = false;
		finish(start(catch_for_other, &caught));
		try {
			std::rethrow_exception(caught);
		} catch (const mine &e) {
			suspend(i);
			must(e.id != own_id());
			again = true;
		}
		must(again);
	}
	return arg;
}

[[noreturn]] void end_quietly()
{
	_exit(42);
}

void *throw_uncaught(void *)
{
	std::set_terminate(end_quietly);
	thrum_yield();
	throw mine(own_id(), 0);
}

} /* namespace */

START_TEST(what_is_thrown_in_a_thread_is_caught_in_it)
{
	run_on(worker_counts[_i % WORKER_COUNTS], scenes[_i / WORKER_COUNTS], NULL);
}
END_TEST

START_TEST(exceptions_move_with_their_thread)
{
	setenv("THRUM_DEBUG_MIGRATE", "1", 1);
	run_on(worker_counts[_i % WORKER_COUNTS], scenes[_i / WORKER_COUNTS], NULL);
}
END_TEST

START_TEST(an_exception_is_rethrown_in_another_thread)
{
	run_on(worker_counts[_i], rethrow_here, NULL);
}
END_TEST

START_TEST(an_exception_that_nobody_catches_ends_the_program_by_terminate)
{
	int status;
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct thrum_config config = {};
		config.workers = worker_counts[_i];
		(void)!thrum_run(&config, throw_uncaught, NULL, NULL);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 42);
}
END_TEST

Suite *suite_cxx(void)
{
	Suite *suite = suite_create("sched/cxx");
	TCase *basic = tcase_create("exceptions");
	tcase_set_timeout(basic, 60);
	tcase_add_loop_test(
		basic, what_is_thrown_in_a_thread_is_caught_in_it, 0, SCENES * WORKER_COUNTS);
	tcase_add_loop_test(basic, exceptions_move_with_their_thread, 0, SCENES * WORKER_COUNTS);
	tcase_add_loop_test(basic, an_exception_is_rethrown_in_another_thread, 0, WORKER_COUNTS);
	tcase_add_loop_test(basic, an_exception_that_nobody_catches_ends_the_program_by_terminate,
		0, WORKER_COUNTS);
	suite_add_tcase(suite, basic);
	return suite;
}
