/* SPDX-License-Identifier: MIT */
#ifndef TEST_HOGS_H
#define TEST_HOGS_H

#include "behave.h"

#include <pthread.h>
#include <semaphore.h>

/*
 * Hogs: green threads that hold their OS thread, by whatever C code, until the test has seen others
 * get their work done. If those depended on the hog's worker, neither would ever end.
 */

struct hog;

/* Holds the OS thread until the hog's end flag is set; see end_hog for what may help it. */
typedef void hold_fn(struct hog *hog);

struct hog {
	hold_fn *hold;
	bool begun, end;
	int fifo;              /* gets a byte at the end */
	sem_t sem;             /* gets a post at the end */
	pthread_mutex_t mutex; /* held by the keeper until the end */
	pthread_t keeper;
	bool keeping;
	struct thrum_thread *thread;
};

hold_fn hold_spin, hold_nanosleep, hold_read;
extern hold_fn *const holds[]; /* these, and others */
extern const int holds_count;

enum { MOST_HOGS = 12 };

struct scene {
	struct hog hogs[MOST_HOGS];
	int count;
	int fifo; /* that all of them share */
	char path[64];
};

void scene_init(struct scene *scene);
void scene_fini(struct scene *scene);

/* Adds hogs, which do not run yet; starts those of a scene that do not. */
void add_hogs(struct scene *scene, hold_fn *hold, int count);
void start_hogs(struct scene *scene);
int hogs_begun(const struct scene *scene);
/* Lets the hogs go; any thread. */
void end_hogs(struct scene *scene);
/* Joins the hogs that were let go. */
void join_hogs(struct scene *scene);

/*
 * A fixture: any signal that comes is counted, and would end a call in the kernel with EINTR; none
 * may, and no handler may be replaced.
 */
void signals_setup(void);
void signals_teardown(void);

#endif
