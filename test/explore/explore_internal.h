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
enum { VIEW = 128, MAX_LOCATIONS = VIEW - EXPLORE_THREADS, MAX_MESSAGES = 120, MAX_GLANCES = 8 };

struct view {
	int16_t at[VIEW];
};

struct glance {
	int16_t location, message;
};

enum waiting { WAIT_NOT, WAIT_LOCK, WAIT_FUTEX, WAIT_FUTEX_TIMED, WAIT_CHANGE };

/* A virtual thread. */
struct virtual {
	struct thrum__ctx ctx;
	bool ended, woken;
	enum waiting waiting;
	const void *waits_for;
	uint64_t history;	/* hash of all that it did and saw: its local state depends on no more */
	struct view now;	/* what it knows */
	struct view glimpsed;	/* what its relaxed loads brought: known after an acquire fence */
	struct view announced;	/* what its relaxed stores carry: known at its last release fence */
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

enum choice { CHOOSE_THREAD, CHOOSE_MESSAGE, CHOOSE_OTHER };
unsigned engine_choose(enum choice kind, unsigned count);

_Noreturn void engine_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Something that happened to the running thread; part of what makes states different. */
void engine_note(uint64_t a, uint64_t b);
bool engine_tracing(void);
void engine_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *engine_name(const void *address);
bool engine_on_own_stack(const void *address);

static inline uint64_t engine_mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ (hash >> 29);
}

/* memory.c */
void memory_reset(void);
void memory_flush_plain(void); /* plain stores to atomic locations become messages */
bool memory_glance_changed(const struct virtual *thread);
void memory_refresh(struct virtual *thread);
int memory_location(const void *address); /* -1: none yet */
bool memory_knows_last(int location);
void memory_plain_store(int location);
void memory_fence_of(unsigned index);
uint32_t memory_kernel_load(const uint32_t *word); /* the newest value; not a step of its own */
void view_join(struct view *restrict into, const struct view *restrict from);

/* race.c */
void race_reset(void);
void race_check_atomic(const void *address);

/* sync.c */
void sync_reset(void);
bool sync_lock_free(const void *lock);

#endif
