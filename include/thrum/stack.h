/* SPDX-License-Identifier: MIT */
#ifndef THRUM_STACK_H
#define THRUM_STACK_H

#include <stddef.h>
#include <stdint.h>
#include <thrum/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How deep the green threads of one spawn site and one stack size have used their stacks. */
struct thrum_stack_use {
	const char *site;  /* "file:line" of the spawn; constant */
	size_t stack_size; /* usable bytes of each one's stack */
	uint64_t threads;  /* that have begun to run */
	uint64_t measured; /* of these: ended, and measured */
	size_t high_water; /* bytes, of the deepest one measured; 0: none was */
};

typedef void (*thrum_stack_census_fn)(const struct thrum_stack_use *use, void *arg);

/*
 * Calls fn for each spawn site of the process so far, the deepest first. `threads` is exact; of
 * their stacks a sample is measured: of each site, on each worker, the first, second, fourth,
 * eighth ... thread that runs there, and from the 4096th on every 4096th. THRUM_STACK_CENSUS=N in
 * the environment makes it every Nth from the Nth on (1: all of them; 0: the census is off), and
 * has the table printed on standard error when the process exits.
 *
 * A mark is exact to 8 bytes for what was written: it counts from the end of the stack to the
 * deepest word that is not zero, with up to 2 KiB by which the runtime shifts where stacks begin.
 * What a function only reserved is not seen, nor are pages that were swapped out: give a stack
 * a good margin above its mark. Past 256 sites a worker counts the others as one, "(other sites)".
 * The site handed to thrum_spawn_at is kept: it must stay valid as long as the process.
 *
 * use: borrowed for the call of fn. Returns the number of sites, or -ENOMEM (fn was not called).
 * Context: any thread. Suspends: never, unless fn does. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_stack_census(thrum_stack_census_fn fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
