/* SPDX-License-Identifier: MIT */
#include "explore_internal.h"

#include <inttypes.h>
#include <stdarg.h>

/* What a person sees of an exploration: its size, and the story of what was found. */

enum { MAX_NAMES = 32, PART = 50 };

static struct {
	struct {
		const char *address, *name;
	} names[MAX_NAMES];
	unsigned name_count;
	FILE *trace;
} report;

void report_begin(FILE *trace)
{
	report.trace = trace;
}

void report_forget_names(void)
{
	report.name_count = 0;
}

void explore_name(const void *address, const char *name)
{
	CHECK(report.name_count < MAX_NAMES);
	report.names[report.name_count].address = address;
	report.names[report.name_count++].name = name;
}

const char *report_name(const void *address)
{
	static char text[64];
	const char *at = address, *best = NULL, *name = NULL;
	for (unsigned i = 0; i < report.name_count; i++) {
		const char *start = report.names[i].address;
		if (start <= at && start > best && at - start < 4096) {
			best = start;
			name = report.names[i].name;
		}
	}
	if (name == NULL)
		snprintf(text, sizeof(text), "%p", address);
	else if (best == at)
		snprintf(text, sizeof(text), "%s", name);
	else
		snprintf(text, sizeof(text), "%s+%td", name, at - best);
	return text;
}

bool report_tracing(void)
{
	return report.trace != NULL;
}

void report_line(const char *format, ...)
{
	if (report.trace == NULL)
		return;
	va_list args;
	va_start(args, format);
	if (engine_current() != NULL)
		fprintf(report.trace, "  %*s%u ", (int)explore_self() * 4, "", explore_self());
	else
		fprintf(report.trace, "  - ");
	vfprintf(report.trace, format, args);
	fputc('\n', report.trace);
	va_end(args);
}

bool explore_is_partial(void)
{
#if defined(THRUM__ASAN)
	return true;
#else
	return false;
#endif
}

struct explore_result explore(
	const struct explore_scenario *scenario, uint64_t most, uint64_t random)
{
	const char *given = getenv("THRUM_SEED"), *schedule = getenv("THRUM_SCHEDULE");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)thrum_now();
	if (schedule != NULL)
		return explore_replay(scenario, schedule, stdout);
	const char *times = getenv("THRUM_EXPLORE");
	if (times != NULL) {
		most *= strtoull(times, NULL, 0);
		random *= strtoull(times, NULL, 0);
	} else if (explore_is_partial()) {
		most = (most + PART - 1) / PART;
		random = (random + PART - 1) / PART;
	}
	struct explore_result result = explore_all(scenario, most);
	printf("%s: %" PRIu64 " executions, %" PRIu64 " states%s\n", scenario->name,
		result.executions, result.states, result.complete ? ", all there are" : "");
	if (!result.found && !result.complete && random > 0) {
		uint64_t states = result.states;
		result = explore_random(scenario, seed, random);
		result.states = states;
		printf("%s: %" PRIu64 " random executions; rerun with THRUM_SEED=%" PRIu64 "\n",
			scenario->name, result.executions, seed);
	}
	if (result.found) {
		printf("%s: %s\nrerun with THRUM_SCHEDULE=%s\n", scenario->name, result.why,
			result.schedule);
		explore_replay(scenario, result.schedule, stdout);
	}
	fflush(stdout);
	return result;
}
