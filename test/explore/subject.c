/* SPDX-License-Identifier: MIT */
#include "subject.h"

#include <check.h>
#include <stddef.h>
#include <string.h>

#include "base/base.h"

static struct subject *subjects; /* in the order of their kinds and names */

static int compare(const struct subject *a, const struct subject *b)
{
	int order = strcmp(a->kind, b->kind);
	return order != 0 ? order : strcmp(a->name, b->name);
}

void subject_add(struct subject *subject)
{
	struct subject **at = &subjects;
	while (*at != NULL && compare(*at, subject) < 0)
		at = &(*at)->next;
	subject->next = *at;
	*at = subject;
}

struct subject *subject_real(const char *kind)
{
	for (struct subject *at = subjects; at != NULL; at = at->next)
		if (strcmp(at->kind, kind) == 0 && strcmp(at->name, "real") == 0)
			return at;
	CHECK(!"no such subject");
	return NULL;
}

struct subject *subject_mutant(const char *kind, int index)
{
	for (struct subject *at = subjects; at != NULL; at = at->next)
		if (strcmp(at->kind, kind) == 0 && strcmp(at->name, "real") != 0 && index-- == 0)
			return at;
	return NULL;
}

/* To find them takes long, and it is the engine and not the mutant that ASan would look at. */
int subject_mutants(const char *kind)
{
	int count = 0;
	if (explore_is_partial())
		return 0;
	while (subject_mutant(kind, count) != NULL)
		count++;
	return count;
}

bool subject_exposed(const struct subject *mutant, const struct explore_scenario *scenario,
	uint64_t most, uint64_t random)
{
	struct explore_result result = explore_all(scenario, most);
	if (!result.found && random > 0)
		result = explore_random(scenario, 1, random);
	if (!result.found)
		return false;
	printf("%s.%s: %s: %s (execution %llu)\n", mutant->kind, mutant->name, scenario->name,
		result.why, (unsigned long long)result.executions);
	fflush(stdout);
	return true;
}

void subject_survives(const struct subject *mutant)
{
	ck_abort_msg("nothing is wrong with the mutant %s", mutant->name);
}
