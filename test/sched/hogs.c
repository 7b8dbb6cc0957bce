/* SPDX-License-Identifier: MIT */
#include "hogs.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#if __has_include(<sqlite3.h>) && !defined(NO_SQLITE)
#include <sqlite3.h>
#define HAVE_SQLITE 1
#endif

void hold_spin(struct hog *hog)
{
	while (!flag_get(&hog->end))
		;
}

void hold_nanosleep(struct hog *hog)
{
	while (!flag_get(&hog->end)) {
		struct timespec time = {.tv_nsec = 20 * THRUM_MS};
		must(nanosleep(&time, NULL) == 0);
	}
}

void hold_read(struct hog *hog)
{
	char byte;
	must(read(hog->fifo, &byte, 1) == 1);
}

static void hold_poll(struct hog *hog)
{
	struct pollfd pollfd = {.fd = hog->fifo, .events = POLLIN};
	must(poll(&pollfd, 1, -1) == 1);
}

static void hold_sem_wait(struct hog *hog)
{
	must(sem_wait(&hog->sem) == 0);
}

static void hold_pthread_mutex(struct hog *hog)
{
	must(pthread_mutex_lock(&hog->mutex) == 0);
	must(pthread_mutex_unlock(&hog->mutex) == 0);
}

static void hold_pthread_join(struct hog *hog)
{
	must(pthread_join(hog->keeper, NULL) == 0);
	hog->keeping = false;
}

static void hold_fsync(struct hog *hog)
{
	char path[] = "/tmp/thrum-fsync-XXXXXX";
	int fd = mkstemp(path);
	must(fd >= 0);
	unlink(path);
	while (!flag_get(&hog->end)) {
		must(pwrite(fd, path, sizeof(path), 0) == sizeof(path));
		must(fsync(fd) == 0);
	}
	close(fd);
}

#ifdef HAVE_SQLITE
static int sqlite_may_end(void *arg)
{
	struct hog *hog = arg;
	return flag_get(&hog->end);
}

static void hold_sqlite(struct hog *hog)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *statement = NULL;
	must(sqlite3_open(":memory:", &db) == SQLITE_OK);
	sqlite3_progress_handler(db, 1000, sqlite_may_end, hog);
	must(sqlite3_prepare_v2(db,
		     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
		     " SELECT sum(i) FROM n",
		     -1, &statement, NULL) == SQLITE_OK);
	must(sqlite3_step(statement) == SQLITE_INTERRUPT);
	sqlite3_finalize(statement);
	must(sqlite3_close(db) == SQLITE_OK);
}
#endif

hold_fn *const holds[] = {
	hold_spin,
	hold_nanosleep,
	hold_read,
	hold_poll,
	hold_sem_wait,
	hold_pthread_mutex,
	hold_pthread_join,
	hold_fsync,
#ifdef HAVE_SQLITE
	hold_sqlite,
#endif
};

const int holds_count = sizeof(holds) / sizeof(holds[0]);

/* Holds a hog's mutex, on an OS thread. */
static void *keep(void *arg)
{
	struct hog *hog = arg;
	must(pthread_mutex_lock(&hog->mutex) == 0);
	flag_set(&hog->keeping);
	doze_until(&hog->end);
	must(pthread_mutex_unlock(&hog->mutex) == 0);
	return NULL;
}

static void hog_init(struct hog *hog, hold_fn *hold, int fifo)
{
	*hog = (struct hog){.hold = hold, .fifo = fifo};
	must(sem_init(&hog->sem, 0, 0) == 0);
	must(pthread_mutex_init(&hog->mutex, NULL) == 0);
	if (hold != hold_pthread_mutex && hold != hold_pthread_join)
		return;
	must(pthread_create(&hog->keeper, NULL, keep, hog) == 0);
	while (!flag_get(&hog->keeping))
		sched_yield();
}

static void hog_fini(struct hog *hog)
{
	if (hog->keeping)
		must(pthread_join(hog->keeper, NULL) == 0);
	must(sem_destroy(&hog->sem) == 0);
	must(pthread_mutex_destroy(&hog->mutex) == 0);
}

static _Thread_local int os_thread_local;

/* Not inlined: what it reads belongs to the OS thread that it is called on. */
static int __attribute__((noinline)) * own_local(void)
{
	__asm__ volatile("");
	return &os_thread_local;
}

/* All that a hog keeps: its OS thread, with what is stored there, and who it is. */
static void *hog_main(void *arg)
{
	struct hog *hog = arg;
	struct thrum_thread *self = thrum_self();
	int *local = own_local();
	pid_t os_id = gettid();
	*local = os_id;
	flag_set(&hog->begun);
	hog->hold(hog);
	must(gettid() == os_id);
	must(own_local() == local && *local == os_id);
	must(thrum_self() == self);
	must(thrum_workers() > 0);
	thrum_yield();
	must(thrum_self() == self);
	return hog;
}

/* A FIFO for hogs to read from: opened for both ends, so that neither open waits. */
void scene_init(struct scene *scene)
{
	strcpy(scene->path, "/tmp/thrum-fifo-XXXXXX");
	must(mkdtemp(scene->path) != NULL);
	strcat(scene->path, "/fifo");
	must(mkfifo(scene->path, 0600) == 0);
	scene->fifo = open(scene->path, O_RDWR | O_CLOEXEC);
	must(scene->fifo >= 0);
	scene->count = 0;
}

void scene_fini(struct scene *scene)
{
	close(scene->fifo);
	unlink(scene->path);
	*strrchr(scene->path, '/') = '\0';
	rmdir(scene->path);
}

void add_hogs(struct scene *scene, hold_fn *hold, int count)
{
	for (int i = 0; i < count; i++)
		hog_init(&scene->hogs[scene->count++], hold, scene->fifo);
}

void start_hogs(struct scene *scene)
{
	for (int i = 0; i < scene->count; i++)
		if (scene->hogs[i].thread == NULL)
			scene->hogs[i].thread = start(hog_main, &scene->hogs[i]);
}

int hogs_begun(const struct scene *scene)
{
	int begun = 0;
	for (int i = 0; i < scene->count; i++)
		begun += flag_get(&scene->hogs[i].begun);
	return begun;
}

void end_hogs(struct scene *scene)
{
	for (int i = 0; i < scene->count; i++) {
		struct hog *hog = &scene->hogs[i];
		flag_set(&hog->end);
		must(sem_post(&hog->sem) == 0);
		must(write(hog->fifo, "x", 1) == 1);
	}
}

void join_hogs(struct scene *scene)
{
	for (int i = 0; i < scene->count; i++) {
		struct hog *hog = &scene->hogs[i];
		must(finish(hog->thread) == hog);
		hog_fini(hog);
	}
}

static int signals; /* atomic */

static void count_signal(int number)
{
	(void)number;
	__atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

static bool faults(int number)
{
	return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL ||
	       number == SIGTRAP || number == SIGABRT || number == SIGSYS;
}

void signals_setup(void)
{
	struct sigaction action = {.sa_handler = count_signal};
	for (int number = 1; number <= SIGRTMAX; number++)
		if (!faults(number))
			sigaction(number, &action, NULL); /* not all of them can be */
}

void signals_teardown(void)
{
	ck_assert_int_eq(__atomic_load_n(&signals, __ATOMIC_RELAXED), 0);
	for (int number = 1; number <= SIGRTMAX; number++) {
		struct sigaction action;
		if (faults(number) || number == SIGKILL || number == SIGSTOP ||
			sigaction(number, NULL, &action) != 0)
			continue;
		ck_assert_msg(action.sa_handler == count_signal, "signal %d was taken", number);
	}
}
