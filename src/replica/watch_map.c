/* SPDX-License-Identifier: MIT */
#include "replica/watch_map.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FREE = 0, REMOVED = -1, MIN_CAP = 64 };

/* Descriptors count up: spread them, so that runs of them do not cluster. */
static size_t home(const struct replica_watch_map *map, int wd)
{
	return (size_t)((uint32_t)wd * UINT32_C(2654435769)) & (map->cap - 1);
}

static struct replica_watch_slot *find(const struct replica_watch_map *map, int wd)
{
	if (map->cap == 0)
		return NULL;
	for (size_t i = home(map, wd); map->slots[i].wd != FREE; i = (i + 1) & (map->cap - 1))
		if (map->slots[i].wd == wd)
			return &map->slots[i];
	return NULL;
}

/* Moves the live slots to a table with room for as many again. */
static int rehash(struct replica_watch_map *map)
{
	struct replica_watch_map grown = {.cap = MIN_CAP, .count = map->count, .used = map->count};
	while (grown.cap < 4 * map->count)
		grown.cap *= 2;
	grown.slots = calloc(grown.cap, sizeof(*grown.slots));
	if (grown.slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < map->cap; i++) {
		if (map->slots[i].wd <= 0)
			continue;
		size_t j = home(&grown, map->slots[i].wd);
		while (grown.slots[j].wd != FREE)
			j = (j + 1) & (grown.cap - 1);
		grown.slots[j] = map->slots[i];
	}
	free(map->slots);
	*map = grown;
	return 0;
}

int replica_watch_map_put(struct replica_watch_map *map, int wd, const char *path)
{
	struct replica_watch_slot *slot = find(map, wd);
	if (slot != NULL && strcmp(slot->path, path) == 0)
		return 0;
	char *copy = strdup(path);
	if (copy == NULL)
		return -ENOMEM;
	if (slot != NULL) {
		free(slot->path);
		slot->path = copy;
		return 0;
	}
	if (4 * (map->used + 1) > 3 * map->cap && rehash(map) < 0) {
		free(copy);
		return -ENOMEM;
	}
	size_t i = home(map, wd);
	while (map->slots[i].wd != FREE)
		i = (i + 1) & (map->cap - 1);
	map->slots[i] = (struct replica_watch_slot){.wd = wd, .path = copy};
	map->count++;
	map->used++;
	return 0;
}

const char *replica_watch_map_get(const struct replica_watch_map *map, int wd)
{
	const struct replica_watch_slot *slot = find(map, wd);
	return slot != NULL ? slot->path : NULL;
}

void replica_watch_map_remove(struct replica_watch_map *map, int wd)
{
	struct replica_watch_slot *slot = find(map, wd);
	if (slot == NULL)
		return;
	free(slot->path);
	*slot = (struct replica_watch_slot){.wd = REMOVED};
	map->count--;
}

void replica_watch_map_fini(struct replica_watch_map *map)
{
	for (size_t i = 0; i < map->cap; i++)
		free(map->slots[i].path);
	free(map->slots);
	*map = (struct replica_watch_map){0};
}
