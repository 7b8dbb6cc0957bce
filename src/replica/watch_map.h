/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_WATCH_MAP_H
#define REPLICA_WATCH_MAP_H

#include <stddef.h>

/* Which directory a watch descriptor stands for. Pure; all-zero is empty. */
struct replica_watch_map {
	struct replica_watch_slot
		*slots;          /* open addressing, linear; wd 0: free, wd -1: was removed */
	size_t count, used, cap; /* live; live and removed; a power of two */
};

struct replica_watch_slot {
	int wd; /* > 0: live */
	char *path;
};

/* Notes or changes a directory's path (copied). 0 or -ENOMEM. */
int replica_watch_map_put(struct replica_watch_map *map, int wd, const char *path);

/* The path, borrowed until the next change, or NULL. */
const char *replica_watch_map_get(const struct replica_watch_map *map, int wd);

void replica_watch_map_remove(struct replica_watch_map *map, int wd);
void replica_watch_map_fini(struct replica_watch_map *map);

#endif
