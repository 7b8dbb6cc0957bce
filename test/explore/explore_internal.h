/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_INTERNAL_H
#define THRUM_TEST_EXPLORE_INTERNAL_H

#include "base/base.h"
#include "ctx/ctx.h"
#include "explore.h"

/*
 * A view says, of each thread, up to which of its steps, and of each location, up to which of its
 * messages, something is known.
 */
enum { VIEW = 128, MAX_LOCATIONS = VIEW - EXPLORE_THREADS, MAX_MESSAGES = 120, MAX_GLANCES = 32 };

struct view {
	int16_t at[VIEW];
};

struct glance {
	int16_t location, message;
};

enum waiting { WAIT_NOT, WAIT_LOCK, WAIT_FUTEX, WAIT_FUTEX_TIMED, WAIT_CHANGE };

/* A virtual thread. */
struct virtual
{
	struct thrum__ctx ctx;
	bool ended, woken;
	enum waiting waiting;
	const void *waits_for;
	uint64_t history; /* hash of all that it did and saw: its local state depends on no more */
	struct view now;  /* what it knows */
	struct view glimpsed;  /* what its relaxed loads brought: known after an acquire fence */
	struct view announced; /* what its relaxed stores carry: known at its last release fence */
	struct glance glances[MAX_GLANCES]; /* what it read since it last paused */
	unsigned glance_count;
};

/* engine.c */
struct virtual *engine_current(void); /* NULL outside of the threads */
struct virtual *engine_thread(unsigned index);
unsigned engine_threads(void);

/* Before each visible step: any thread may be next. */
void engine_yield(void);

/* The same, but this thread cannot be next until its wait is over. */
void engine_wait(enum waiting why, const void *what);

_Noreturn void engine_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Something that happened to the running thread; part of what makes states different. */
void engine_note(uint64_t a, uint64_t b);
bool engine_on_own_stack(const void *address);

static inline uint64_t engine_mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ (hash >> 29);
}

/* search.c */
enum mode { MODE_ALL, MODE_RANDOM, MODE_REPLAY };
enum choice { CHOOSE_THREAD, CHOOSE_MESSAGE, CHOOSE_OTHER };

void search_begin(enum mode mode, uint64_t seed, const char *schedule);
void search_start(void); /* an execution begins */
unsigned search_choose(enum choice kind, unsigned count);
bool search_is_replaying(void);
bool search_is_new(uint64_t state); /* and remembers it */
bool search_next(void);             /* an execution has ended; false: it was the last one */
void search_schedule(char *text, size_t size);
uint64_t search_states(void);

/* report.c */
void report_begin(FILE *trace);
void report_forget_names(void);
bool report_tracing(void);
void report_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *report_name(const void *address);

/* memory.c */
void memory_reset(void);
void memory_flush_plain(void); /* plain stores to atomic locations become messages */
const void *memory_glanced(const struct virtual *thread); /* what it read last */
bool memory_glance_changed(const struct virtual *thread);
void memory_refresh(struct virtual *thread);
int memory_location(const void *address); /* -1: none yet */
bool memory_knows_last(int location);
void memory_plain_store(int location);
void view_join(struct view *restrict into, const struct view *restrict from);

/* atomic.c */
uint32_t atomic_kernel_load(const uint32_t *word); /* the newest value; not a step of its own */

/* race.c */
void race_reset(void);
void race_check_atomic(const void *address);

/* sync.c */
void sync_reset(void);
bool sync_lock_free(const void *lock);

#endif
