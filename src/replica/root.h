/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_ROOT_H
#define REPLICA_ROOT_H

/*
 * The directory of a share on disk, and every operation the replicator does in it.
 *
 * Words.  A *path* is relative to the root, "a/b/c", without "." or ".." components; "" is the root
 * itself. A *staged* file (or symlink) is complete or being written in `.replica/tmp`, on the same
 * file system, and in nobody's way. *Identity* is what stat(2) says of a name: two equal identities
 * mean the same unchanged content.
 *
 * Whatever a path says, no operation leaves the tree: parents are resolved by the kernel beneath
 * the root, without following a symlink and without crossing a mount point; the last component is
 * never followed either. A path that is no path gives -EINVAL or -ENAMETOOLONG, one that lies
 * in `.replica` -EPERM (path.h). A parent that turned out to be a symlink or a file gives
 * THRUM_ECHANGED: the tree is not what the caller thinks.
 *
 * Special bits: files never get set-uid, set-gid or sticky from a peer, directories never set-uid.
 * Identities do not show these bits either, so they stay a local matter: a new mode leaves them,
 * new content drops them.
 *
 * Calls are made in place and never suspend, unless said. All are safe to call at the same time
 * from several threads. Results: 0 or a negative code.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <thrum/error.h>

enum replica_disk_type {
	REPLICA_DISK_ABSENT,
	REPLICA_DISK_FILE,
	REPLICA_DISK_SYMLINK,
	REPLICA_DISK_DIR,
	REPLICA_DISK_OTHER, /* socket, fifo, device: not replicated */
};

/* Identity. All-zero: absent. */
struct replica_stat {
	enum replica_disk_type type;
	uint32_t mode; /* files: & 0777, directories: & 03777, symlinks: 0777 */
	uint64_t size; /* files and symlinks; else 0 */
	int64_t mtime_ns, ctime_ns;
	uint64_t dev, ino;
};

struct replica_root {
	int fd;         /* the root directory (O_PATH is not enough: it is listed and synced) */
	int meta_fd;    /* .replica */
	int staging_fd; /* .replica/tmp */
	int lock_fd;    /* .replica/id, locked while open */
	uint64_t dev, ino;
	uint64_t next_name; /* atomic: of a staged file */
	bool given_up;      /* atomic */
	uint8_t uuid[16];
	char *dir; /* as given; for messages and for the check */
	/*
	 * Tests only: called in the gaps where another process may act, before a target is changed
	 * and before it is looked at again.
	 */
	void (*gap)(void *arg);
	void *gap_arg;
};

struct replica_staged {
	int fd;        /* open for writing, or -1 once closed (and for symlinks) */
	char name[24]; /* in the staging directory; "" once installed or discarded */
};

/*
 * Makes dir a share root: creates `.replica/id` holding uuid, and `.replica/tmp`. Fine if it
 * already holds the same uuid. -EEXIST: it holds another (out_uuid, unless NULL, tells which),
 * -ENOTDIR, -ENOENT, -EACCES, -EROFS …
 */
THRUM_NODISCARD int replica_root_init(
	const char *dir, const uint8_t uuid[16], uint8_t out_uuid[16]);

/*
 * Opens a share root, locks it against other daemons, empties the staging directory. What a crash
 * left there half-way through replacing a file whose state was unknown goes to `.replica/lost` with
 * a warning; nothing unknown is deleted. uuid: what `.replica/id` must hold, or NULL. out: gives
 * the root. Errors: -ENXIO the share is missing (no directory, no marker, another marker:
 * unmounted, moved away or restored from elsewhere: do not scan it, believe no absence), -EBUSY
 * another daemon has it open, -EACCES, -ENOMEM …
 */
THRUM_NODISCARD int replica_root_open(
	struct replica_root **out, const char *dir, const uint8_t uuid[16]);

/* Takes the root. NULL is fine. */
void replica_root_close(struct replica_root *root);

/* 0 while the directory the root was opened by is still this one, its marker stands and it was not
 * given up; else -ENXIO. */
THRUM_NODISCARD int replica_root_check(const struct replica_root *root);

/* From now on replica_root_check says -ENXIO: what was done in it must be gone through anew. */
void replica_root_give_up(struct replica_root *root);

/* One line for a person about -ENXIO, -EBUSY and others from open and check: the thing, the cause,
 * the remedy. */
const char *replica_root_explain(char *out, size_t cap, const char *dir, int code);

/* ---- looking */

/* Identity of what stands at path; type ABSENT if nothing does (or a parent is none). Else -EACCES,
 * -EIO, -EINVAL, -EXDEV. */
THRUM_NODISCARD int replica_root_stat(
	const struct replica_root *root, const char *path, struct replica_stat *out);

/* Identity of one name in an open directory of the tree. 0 also if absent. name: one component. */
THRUM_NODISCARD int replica_stat_at(int dirfd, const char *name, struct replica_stat *out);

void replica_stat_from(struct replica_stat *out, const struct stat *st);

/* Same type, size, times, inode and device (and mode). */
bool replica_stat_equal(const struct replica_stat *a, const struct replica_stat *b);

/* Opens a directory for listing. Returns a descriptor, the caller's to close, or -ENOENT,
 * THRUM_ECHANGED (no directory) … */
THRUM_NODISCARD int replica_root_open_dir(const struct replica_root *root, const char *path);

/* Opens a regular file for reading, without waiting for fifos. out: its identity. Returns a
 * descriptor, or -ENOENT, THRUM_ECHANGED (no regular file), -EACCES … */
THRUM_NODISCARD int replica_root_open_file(
	const struct replica_root *root, const char *path, struct replica_stat *out);

/* Reads a symlink's target, NUL-terminated. Returns its length, -ERANGE, THRUM_ECHANGED (no
 * symlink), -ENOENT … */
THRUM_NODISCARD ssize_t replica_root_read_link(
	const struct replica_root *root, const char *path, char *out, size_t cap);

/* ---- staging */

/*
 * Starts a staged file, mode 0600, open for writing. Ends with replica_root_install (installed) or
 * replica_staged_discard. -ENOSPC, -EDQUOT, -EMFILE …
 */
THRUM_NODISCARD int replica_stage_file(struct replica_root *root, struct replica_staged *out);

/* Stages a symlink with its mtime. target: as it came, not interpreted. */
THRUM_NODISCARD int replica_stage_symlink(struct replica_root *root, const char *target,
	int64_t mtime_ns, struct replica_staged *out);

/*
 * Sets mode and mtime of a staged file and closes its descriptor, so that many can wait for one
 * sync. On error (late write errors: -EIO, -ENOSPC) the staged file remains to be discarded.
 */
THRUM_NODISCARD int replica_staged_finish(
	struct replica_root *root, struct replica_staged *staged, uint32_t mode, int64_t mtime_ns);

/* Removes a staged file. Does nothing if it was installed or discarded. */
void replica_staged_discard(struct replica_root *root, struct replica_staged *staged);

/* Everything written so far to the file system is on the disk after 0. Suspends: always (in a green
 * thread). */
THRUM_NODISCARD int replica_root_sync(const struct replica_root *root);

/* ---- changing; expect: the identity the caller's decision was made on */

/*
 * Puts a staged file or symlink at path, if what stands there is still `expect` (a file, a symlink,
 * or absent). The parent must exist (-ENOENT). out: the new identity, for the index. Should
 * somebody write to the file in the very moment it is installed, out is an identity that no longer
 * matches the disk, so that the next scan sees the change. THRUM_ECHANGED: something else stands
 * there; it still does, and nothing changed. On any error the staged file remains. A replaced file
 * is taken out by exchange, looked at again, and put back if it is not the expected one: an edit in
 * the last microsecond is kept. Needs RENAME_EXCHANGE and RENAME_NOREPLACE (ext4, xfs, btrfs, tmpfs
 * …), else -EINVAL.
 */
THRUM_NODISCARD int replica_root_install(struct replica_root *root, struct replica_staged *staged,
	const char *path, const struct replica_stat *expect, struct replica_stat *out);

/* Deletes the file or symlink at path, with the same guarantees. 0 also if it is absent already. */
THRUM_NODISCARD int replica_root_delete(
	struct replica_root *root, const char *path, const struct replica_stat *expect);

/*
 * Makes the directory path and what is missing above it. The last one gets `mode`, those above
 * 0755. out: NULL or its identity. Returns how many were created (the last so many components; 0:
 * it was there, its mode is left alone), THRUM_ECHANGED (something else than a directory is in the
 * way) …
 */
THRUM_NODISCARD int replica_root_make_dir(
	struct replica_root *root, const char *path, uint32_t mode, struct replica_stat *out);

/* Removes an empty directory. 0 also if absent; -ENOTEMPTY, THRUM_ECHANGED (no directory), -EINVAL
 * (the root) … */
THRUM_NODISCARD int replica_root_remove_dir(struct replica_root *root, const char *path);

/*
 * Sets mode and mtime of the file or symlink at path (a symlink has no mode). expect, out: as for
 * install. It acts on the inode it has checked, whatever happens to the name.
 */
THRUM_NODISCARD int replica_root_set_meta(struct replica_root *root, const char *path,
	const struct replica_stat *expect, uint32_t mode, int64_t mtime_ns,
	struct replica_stat *out);

/* Sets a directory's mode; its mtime. For the root itself too (path ""). out: NULL or the new
 * identity. */
THRUM_NODISCARD int replica_root_set_dir_mode(
	struct replica_root *root, const char *path, uint32_t mode, struct replica_stat *out);
THRUM_NODISCARD int replica_root_set_dir_mtime(
	struct replica_root *root, const char *path, int64_t mtime_ns);

/*
 * Renames the file or symlink at path to a free conflict name beside it. who: the peer's name for
 * people; bytes that do not belong into a file name are replaced. out_name: gives the new last
 * component; out: its identity.
 */
THRUM_NODISCARD int replica_root_move_aside(struct replica_root *root, const char *path,
	const struct replica_stat *expect, const char *who, char out_name[256],
	struct replica_stat *out);

/*
 * Installs a staged file beside path under a free conflict name, instead of at path. out_name, out:
 * as above.
 */
THRUM_NODISCARD int replica_root_install_aside(struct replica_root *root,
	struct replica_staged *staged, const char *path, const char *who, char out_name[256],
	struct replica_stat *out);

/*
 * The conflict name number `attempt` (0, 1, …) for a component: "report.txt" gives
 * "report.conflict-WHO-20250131-235959.txt", then "…-235959-2.txt". At most 255 bytes, cut at a
 * UTF-8 character. when_s: seconds since 1970, shown in UTC. Pure.
 */
void replica_conflict_name(
	char out[256], const char *name, const char *who, int64_t when_s, unsigned attempt);

#endif
