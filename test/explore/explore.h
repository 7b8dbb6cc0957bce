/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_H
#define THRUM_TEST_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Runs a few virtual threads through every interleaving (or through many random ones) of a piece
 * of the library's real source, under a weak memory model. engine.c has the essay, hooks.h says
 * how a source comes under test.
 */
enum { EXPLORE_THREADS = 4 };

struct explore_scenario {
	const char *name;
	unsigned threads;
	void *world; /* zeroed before each execution */
	size_t size;
	void (*setup)(void *world); /* before the threads; its stores are visible to all */
	void (*body)(void *world, unsigned self);
	void (*check)(void *world); /* after the last thread ended; may be NULL */
	bool every_path;            /* do not skip states that are known: slow */
};

struct explore_result {
	bool found;    /* an execution broke something: why, and the choices that led there */
	bool complete; /* no choice was left untried */
	uint64_t executions, states;
	char why[256];
	char schedule[1024];
};

/* Depth first until nothing is left, something is found, or `most` executions have been made. */
struct explore_result explore_all(const struct explore_scenario *scenario, uint64_t most);

/* `executions` random ones (fewer if something is found). */
struct explore_result explore_random(
	const struct explore_scenario *scenario, uint64_t seed, uint64_t executions);

/* Once more what a result's schedule says; every step goes to `trace` (NULL: nowhere). */
struct explore_result explore_replay(
	const struct explore_scenario *scenario, const char *schedule, FILE *trace);

/*
 * The usual test of a scenario: depth first within `most`, then random; prints what was done, and
 * the whole story if something was found. The seed is THRUM_SEED or the clock; THRUM_EXPLORE=n in
 * the environment does n times as much (with CK_DEFAULT_TIMEOUT in seconds to match).
 */
struct explore_result explore(
	const struct explore_scenario *scenario, uint64_t most, uint64_t random);

/*
 * Under ASan everything is several times slower, and only the explorer's own memory is looked at:
 * explore() then does a part of what it is asked for.
 */
bool explore_is_partial(void);

/* ---------------------------------------------------------------- for setup, body and check */

/* Ends the execution with a finding. Does not return inside a body. */
void explore_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The virtual thread that runs, or EXPLORE_THREADS outside of them. */
unsigned explore_self(void);

/* One of 0..count-1: each is tried. */
unsigned explore_choose(unsigned count);

/* A plain access, told to the race detector; sources under test are instrumented instead. */
void explore_plain_read(const void *address);
void explore_plain_write(const void *address);

/* A name for traces. */
void explore_name(const void *address, const char *name);

#endif
