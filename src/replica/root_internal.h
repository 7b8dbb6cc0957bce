/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_ROOT_INTERNAL_H
#define REPLICA_ROOT_INTERNAL_H

/* What root.c and stage.c share. */

#include <time.h>

#include "base/base.h"
#include "replica/root.h"

/*
 * The negated errno of the system call just made. Never inlined: to the compiler errno's address is
 * a constant, and a caller that suspended may go on on another OS thread.
 */
THRUM__NOINLINE int replica_last_error(void);

/* Opens path beneath the root: no symlink, no mount point, no "..". flags: as open(2). A descriptor
 * or -errno. */
int replica_root_beneath(const struct replica_root *root, const char *path, int flags);

/*
 * Opens the directory that holds path's last component (O_PATH) and points *base at it. A
 * descriptor, -EINVAL (no path, or the root itself), THRUM_ECHANGED (a parent is a file or a
 * symlink), -ENOENT, -EXDEV, -EACCES …
 */
int replica_root_parent(const struct replica_root *root, const char *path, const char **base);

/* Equal but for ctime, which a rename changes. */
bool replica_stat_same(const struct replica_stat *a, const struct replica_stat *b);

/* Empties the staging directory; see root.h on what goes to lost. */
int replica_staging_clean(struct replica_root *root);

/* utimensat with the access time left alone. */
int replica_set_mtime_at(int dirfd, const char *name, int flags, int64_t mtime_ns);

/* A file or a symlink. */
bool replica_stat_is_leaf(const struct replica_stat *st);

/* What stands under a name now, if it is still what we put there (was); else was, which no longer
 * matches the disk. */
void replica_root_settle(struct replica_root *root, int dirfd, const char *base,
	const struct replica_stat *was, struct replica_stat *out);

/* Renames without replacing. 0, THRUM_ECHANGED (the new name is taken), or -errno. */
int replica_rename_new(int from_fd, const char *from, int to_fd, const char *to);

/* Moves what is under from to a free conflict name for base in dirfd. */
int replica_rename_aside(int from_fd, const char *from, int dirfd, const char *base,
	const char *who, char out_name[256]);

/* The tests' hook between a look and a change, and between a change and the next look. */
static inline void replica_root_gap(struct replica_root *root)
{
	if (thrum__unlikely(root->gap != NULL))
		root->gap(root->gap_arg);
}

struct timespec replica_timespec(int64_t ns);

#endif
