/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REPLICA_PATH_H
#define THRUM_REPLICA_PATH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Names and relative paths, as they come from peers, people and disks. A path is components joined
 * by single slashes, without one at either end; "" is the share's root. Bytes are bytes: no
 * character set is assumed. The directory marker leaf "." is a name of the index only and never a
 * path component here. Pure.
 */

enum {
	REPLICA_NAME_MAX = 255,
	REPLICA_PATH_MAX = 4096, /* bytes, without the NUL */
	REPLICA_DEPTH_MAX = 512,
};

/* The name in the share's root that holds the replicator's own files; never listed, never synced.
 */
#define REPLICA_RESERVED ".replica"

/* The name of the leaf that stands for a directory's own existence and mode. */
#define REPLICA_DIRMARK_NAME "."

/* True for 1..255 bytes without '/' and NUL that are neither "." nor "..". */
bool replica_name_valid(const char *name, size_t len);

/*
 * Checks a relative path. 0; -EINVAL (an empty, "." or ".." component, a NUL, a slash at an end);
 * -ENAMETOOLONG (a component, the whole, or the depth); -EPERM (lies in REPLICA_RESERVED).
 */
int replica_path_check(const char *path, size_t len);

/*
 * Walks the components of a checked path: *cursor starts at the path and moves on; name borrows
 * from it. Returns the component's length, 0 at the end.
 */
size_t replica_path_next(const char **cursor, const char **name);

/* Number of components of a checked path. */
unsigned replica_path_depth(const char *path);

/* The last component of a checked path; *parent_len: bytes of the path before its slash. "" gives
 * "". */
const char *replica_path_last(const char *path, size_t *parent_len);

/*
 * Writes dir/name (or name, if dir is "") to out. Returns its length, or -ENAMETOOLONG (over
 * REPLICA_PATH_MAX or cap).
 */
int replica_path_join(char *out, size_t cap, const char *dir, const char *name);

/* True if path is dir or lies below it. */
bool replica_path_within(const char *path, const char *dir);

#endif
