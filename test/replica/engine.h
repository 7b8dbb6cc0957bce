/* SPDX-License-Identifier: MIT */
#ifndef TEST_REPLICA_ENGINE_H
#define TEST_REPLICA_ENGINE_H

#include "disk.h"
#include "replica/daemon.h"

/*
 * One replica without a network, for tests of what a pull does: a folder on a real directory with
 * its index and watcher, and a *source* beside it, which is a tree in an index of its own and has
 * no directory at all.
 *
 * Everything between engine_begin and engine_end runs in a green thread (engine_run), which records
 * with EXPECT; the test's main stack asserts that nothing was recorded.
 */
struct engine {
	struct disk disk;
	struct replica_daemon *daemon;
	struct replica_folder *folder;
	struct replica_link *link;
	struct replica_index *source_index;
	struct replica_tree *source;
	char failure[512];
};

extern struct engine engine;

void engine_set_up(void);    /* checked fixture */
void engine_tear_down(void); /* the same */

/* Runs the story with the folder ready and scanned; asserts that no EXPECT failed. */
void engine_run(void (*story)(void));

void engine_blame(const char *file, int line, const char *what, long long value);

#define EXPECT(holds)                                                \
	do {                                                         \
		if (!(holds))                                        \
			engine_blame(__FILE__, __LINE__, #holds, 0); \
	} while (0)
#define EXPECT_INT(value, want)                                                            \
	do {                                                                               \
		long long value_ = (value);                                                \
		if (value_ != (want))                                                      \
			engine_blame(__FILE__, __LINE__, #value " is not " #want, value_); \
	} while (0)

/* A file's version as a scan would see it, mode 0644. target of the result is NULL. */
struct replica_version engine_version(const char *text, int64_t mtime_s);

/* The source makes an event: a version, a directory's marker (path "d/."), or NULL, a deletion. */
void engine_source_event(const char *path, const struct replica_version *version);

/* Writes a file of that version into the share, past everybody. */
void engine_put(const char *path, const char *text, int64_t mtime_s);

/* Begins the visit to a directory with the source's listing of it; *their_s as a pull keeps it. */
int engine_visit(struct replica_visit *visit, const char *dir, struct replica_vt *their_s);

/* The visit's leaf of that name. */
size_t engine_task(const struct replica_visit *visit, const char *name);

/* The verdict a pull of the directory would have on a leaf now; nothing is done. */
enum replica_verdict engine_verdict(const char *dir, const char *name);

/* Our row of a leaf says what the source's does: the same event. */
bool engine_same_event(const char *path);

/* Scans everything. Returns how many events that made. */
uint64_t engine_scan(void);

/* Closes the root and opens it again, as after a crash or a failure: intents first. */
void engine_reopen(void);

/* Rows of the table of intents. */
int64_t engine_intents(void);

#endif
