/* SPDX-License-Identifier: MIT */
#include "sched/sched_internal.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/*
 * How many workers make sense: the processors this process may run on, and no more than its
 * cgroups (version 2) grant it time for. A quota of 1.5 processors makes 2 workers: with one it
 * could not be used up.
 */

static unsigned allowed_cpus(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);
	long online = sysconf(_SC_NPROCESSORS_ONLN); /* more than 1,024 in this machine */
	return online < 1 ? 1 : (unsigned)online;
}

/* The quota of one cgroup directory in whole processors, rounded up; UINT_MAX if it has none. */
static unsigned quota_of(const char *group)
{
	char path[4200];
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group);
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return UINT32_MAX;
	long long quota = 0, period = 0;
	int fields = fscanf(file, "%lld %lld", &quota, &period);
	fclose(file);
	if (fields != 2 || quota <= 0 || period <= 0)
		return UINT32_MAX;
	long long cpus = (quota + period - 1) / period;
	return cpus < UINT32_MAX ? (unsigned)cpus : UINT32_MAX;
}

/* The path of this process's cgroup. False: none, or not version 2. */
static bool own_group(char *group, size_t cap)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	if (file == NULL)
		return false;
	bool found = false;
	char line[4096];
	while (!found && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		found = strlen(line + 3) < cap;
		if (found)
			strcpy(group, line + 3);
	}
	fclose(file);
	return found;
}

unsigned thrum__cpu_count(void)
{
	unsigned cpus = allowed_cpus();
	char group[4096];
	if (own_group(group, sizeof(group))) {
		/* From the own group up to "", the root: a container's has a quota, too. */
		for (char *end = group + strlen(group); end != NULL; end = strrchr(group, '/')) {
			*end = '\0';
			unsigned quota = quota_of(group);
			cpus = quota < cpus ? quota : cpus;
		}
	}
	return cpus < 1 ? 1 : cpus;
}
