/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <signal.h>

#include "base/base.h"
#include "reactor/loop.h"
#include "sched/sched.h"
#include <thrum/thread.h>

/*
 * libuv handles in a processor's loop, their callbacks waking green threads that may have moved
 * on.
 */
static const unsigned workers[] = {1, 2, 8};

static void *run(unsigned index, thrum_fn fn, void *arg)
{
	struct thrum_config config = {.workers = workers[index]};
	void *result = NULL;
	ck_assert_int_eq(thrum_run(&config, fn, arg, &result), 0);
	return result;
}

static void wake(void *data)
{
	if (thrum__wait_claim(data, 1))
		thrum__wait_wake(data);
}

static void on_timer(uv_timer_t *timer)
{
	wake(timer->data);
}

static void on_close(uv_handle_t *handle)
{
	wake(handle->data);
}

static bool close_handle(struct thrum__reactor *reactor, uv_handle_t *handle)
{
	struct thrum__wait wait;
	thrum__wait_init(&wait);
	thrum__loop_enter(reactor);
	handle->data = &wait;
	uv_close(handle, on_close);
	thrum__loop_leave(reactor);
	return thrum__wait_park(&wait, "uv close", THRUM_FOREVER) == 1;
}

static void *use_timer(void *arg)
{
	uv_timer_t timer;
	struct thrum__wait wait;
	bool ok = true;
	for (int i = 0; i < 20; i++) {
		struct thrum__reactor *reactor = thrum__reactor_current();
		thrum__wait_init(&wait);
		uv_loop_t *loop = thrum__loop_enter(reactor);
		if (loop == NULL)
			return NULL;
		uv_timer_init(loop, &timer);
		timer.data = &wait;
		uv_timer_start(&timer, on_timer, (uint64_t)(i % 3), 0);
		thrum__loop_leave(reactor);
		ok = thrum__wait_park(&wait, "uv timer", THRUM_FOREVER) == 1 && ok;
		thrum_yield(); /* perhaps to another worker: the handle stays with its loop */
		ok = close_handle(reactor, (uv_handle_t *)&timer) && ok;
	}
	return ok ? arg : NULL;
}

static void *many_timers(void *arg)
{
	struct thrum_thread *threads[20];
	bool ok = true;
	for (int i = 0; i < 20; i++)
		ok = thrum_spawn(&threads[i], use_timer, arg) == 0 && ok;
	for (int i = 0; i < 20; i++) {
		void *result = NULL;
		ok = thrum_join(threads[i], &result, THRUM_FOREVER) == 0 && result != NULL && ok;
	}
	return ok ? arg : NULL;
}

START_TEST(loop_timers_wake_threads)
{
	ck_assert_ptr_nonnull(run(_i, many_timers, &(int){0}));
}
END_TEST

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	wake(handle->data);
}

static void *await_signal(void *arg)
{
	uv_signal_t handle;
	struct thrum__wait wait;
	struct thrum__reactor *reactor = thrum__reactor_current();
	thrum__wait_init(&wait);
	uv_loop_t *loop = thrum__loop_enter(reactor);
	if (loop == NULL)
		return NULL;
	uv_signal_init(loop, &handle);
	handle.data = &wait;
	uv_signal_start(&handle, on_signal, SIGUSR1);
	thrum__loop_leave(reactor);
	raise(SIGUSR1);
	bool ok = thrum__wait_park(&wait, "signal", THRUM_FOREVER) == 1;
	return close_handle(reactor, (uv_handle_t *)&handle) && ok ? arg : NULL;
}

START_TEST(a_signal_handle_wakes_a_thread)
{
	ck_assert_ptr_nonnull(run(_i, await_signal, &(int){0}));
}
END_TEST

START_TEST(an_os_thread_has_no_reactor)
{
	ck_assert_ptr_null(thrum__reactor_current());
}
END_TEST

Suite *suite_loop(void)
{
	Suite *suite = suite_create("reactor/loop");
	int n = thrum__countof(workers);
	TCase *basic = tcase_create("basic");
	tcase_set_timeout(basic, 20);
	tcase_add_loop_test(basic, loop_timers_wake_threads, 0, n);
	tcase_add_loop_test(basic, a_signal_handle_wakes_a_thread, 0, n);
	tcase_add_test(basic, an_os_thread_has_no_reactor);
	suite_add_tcase(suite, basic);
	return suite;
}
