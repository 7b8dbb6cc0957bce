/* SPDX-License-Identifier: MIT */
#include "sched/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "sched/sched_internal.h"

/*
 * How many workers make sense: the processors this process may run on, and no more than its
 * cgroups grant it time for. A quota of 1.5 processors makes 2 workers: with one it could not be
 * used up.
 *
 * A process is in one group of version 2 and, where the cpu controller is still of version 1, in
 * one of that. Each group on the way up may have a quota of its own, so all of them count, up to
 * the root: within a container that is the container's group. A path that is not visible from here
 * (a container's own view) has nothing to read until the way up has come to a directory that is.
 */

static unsigned allowed_cpus(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);
	long online = sysconf(_SC_NPROCESSORS_ONLN); /* more than 1,024 in this machine */
	return online < 1 ? 1 : (unsigned)online;
}

/* Reads up to two numbers from a file. Returns how many. */
static int read_numbers(const char *dir, const char *name, long long *a, long long *b)
{
	char path[8300];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return 0;
	int fields = fscanf(file, "%lld %lld", a, b);
	fclose(file);
	return fields;
}

/* The quota of one group's directory in whole processors, rounded up; UINT32_MAX if it has none. */
static unsigned quota_of(const char *dir)
{
	long long quota = 0, period = 0, unused = 0;
	if (read_numbers(dir, "cpu.max", &quota, &period) != 2 &&
		(read_numbers(dir, "cpu.cfs_quota_us", &quota, &unused) < 1 ||
			read_numbers(dir, "cpu.cfs_period_us", &period, &unused) < 1))
		return UINT32_MAX;
	if (quota <= 0 || period <= 0 || quota / period >= UINT32_MAX)
		return UINT32_MAX;
	return (unsigned)(quota / period + (quota % period != 0));
}

/* The least quota of a group and all above it. mount: the hierarchy's directory. */
static unsigned least_quota(const char *mount, const char *group)
{
	char dir[8200];
	size_t top = strlen(mount);
	if (top + strlen(group) >= sizeof(dir))
		return UINT32_MAX;
	strcpy(dir, mount);
	strcpy(dir + top, group);
	unsigned least = UINT32_MAX;
	for (char *end = dir + strlen(dir); end != NULL && end >= dir + top;
		end = strrchr(dir, '/')) {
		*end = '\0';
		unsigned quota = quota_of(dir);
		least = quota < least ? quota : least;
	}
	return least;
}

/* Where the hierarchy of a line "ID:CONTROLLERS:PATH" may be mounted; NULL: not of interest. */
static const char *const *mounts_of(const char *controllers)
{
	static const char *const two[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL};
	static const char *const one[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", NULL};
	if (controllers[0] == '\0')
		return two;
	char list[256];
	snprintf(list, sizeof(list), ",%s,", controllers);
	return strstr(list, ",cpu,") != NULL ? one : NULL;
}

static unsigned quota_of_line(const char *root, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	char *controllers = strchr(line, ':');
	char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
	if (group == NULL)
		return UINT32_MAX;
	controllers++;
	*group++ = '\0';
	unsigned least = UINT32_MAX;
	for (const char *const *at = mounts_of(controllers); at != NULL && *at != NULL; at++) {
		char mount[4096];
		if (snprintf(mount, sizeof(mount), "%s%s", root, *at) >= (int)sizeof(mount))
			continue;
		unsigned quota = least_quota(mount, group);
		least = quota < least ? quota : least;
	}
	return least;
}

unsigned thrum__quota_cpus(const char *root)
{
	char line[4096];
	snprintf(line, sizeof(line), "%s/proc/self/cgroup", root);
	FILE *file = fopen(line, "re");
	if (file == NULL)
		return UINT32_MAX;
	unsigned least = UINT32_MAX;
	while (fgets(line, sizeof(line), file) != NULL) {
		unsigned quota = quota_of_line(root, line);
		least = quota < least ? quota : least;
	}
	fclose(file);
	return least;
}

unsigned thrum__cpu_count(void)
{
	unsigned cpus = allowed_cpus(), quota = thrum__quota_cpus("");
	cpus = quota < cpus ? quota : cpus;
	return cpus < 1 ? 1 : cpus;
}
