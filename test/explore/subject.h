/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_SUBJECT_H
#define THRUM_TEST_EXPLORE_SUBJECT_H

#include "explore.h"

/*
 * A subject is a source of the library compiled for the explorer: subject_<kind>.c once as it is
 * ("real"), and once for each mutants/<kind>.<name>.sed with that change. Each puts itself into a
 * list, so a mutant needs no mention anywhere else. The compiler is told the name, SUBJECT, and
 * finds a mutant's sources before the real ones; what they export stays inside the object.
 */
struct subject {
	const char *kind, *name;
	struct subject *next;
};

/* Adds to the list of all; called before main. */
void subject_add(struct subject *subject);

/* The source as it is. */
struct subject *subject_real(const char *kind);

/* The kind's mutants, by number; NULL past the last. */
struct subject *subject_mutant(const char *kind, int index);
int subject_mutants(const char *kind);

/*
 * Explores a scenario with a mutant: at most `most` executions depth first, then `random` ones at
 * random. True: it found what is wrong, and said so.
 */
bool subject_exposed(const struct subject *mutant, const struct explore_scenario *scenario,
	uint64_t most, uint64_t random);

/* No scenario has exposed it: fails the test. */
void subject_survives(const struct subject *mutant);

#define SUBJECT_TEXT_(a) #a
#define SUBJECT_TEXT(a)  SUBJECT_TEXT_(a)

#define SUBJECT_REGISTER(variable)                                                         \
	__attribute__((constructor)) static void register_subject(void)                    \
	{                                                                                  \
		(variable).subject =                                                       \
			(struct subject){SUBJECT_TEXT(KIND), SUBJECT_TEXT(SUBJECT), NULL}; \
		subject_add(&(variable).subject);                                          \
	}

#endif
