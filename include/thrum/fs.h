/* SPDX-License-Identifier: MIT */
#ifndef THRUM_FS_H
#define THRUM_FS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <thrum/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Regular files and directories. A file is a plain descriptor, so it may be given to any
 * library.
 *
 * The kernel offers no readiness for regular files: these calls are made in place, return when
 * they are done, take no deadline, and are not cancellation points. Only the calls that wait for
 * the disk (thrum_file_sync and its kin) go to an OS thread kept for that, so that other green
 * threads run meanwhile.
 *
 * Everywhere: interrupted calls are repeated, results are >= 0 or a negative errno, new
 * descriptors are close-on-exec. dirfd: the directory a relative path starts from; THRUM_CWD for
 * the working directory. Unless it says otherwise, a call is for any thread, never suspends, and
 * is there since 0.1.
 */
#define THRUM_CWD (-100) /* AT_FDCWD */

/*
 * Opens a file; flags and mode as open(2) has them. Returns a descriptor the caller closes, or
 * -errno.
 */
THRUM_NODISCARD THRUM_API int thrum_file_open(
	int dirfd, const char *path, int flags, unsigned mode);

/*
 * Closes a descriptor; it is gone also on error. Returns 0 or -errno (-EIO, -EDQUOT: late write
 * error).
 */
THRUM_API int thrum_file_close(int fd);

/*
 * Reads up to len bytes at the file's position, or at offset. Fewer than len only at the end of
 * the file, or where an error follows (the next call gives it). Returns the number of bytes, 0
 * at the end, or -errno.
 */
THRUM_NODISCARD THRUM_API ssize_t thrum_file_read(int fd, void *buf, size_t len);
THRUM_NODISCARD THRUM_API ssize_t thrum_file_pread(int fd, void *buf, size_t len, int64_t offset);

/*
 * Writes all len bytes at the file's position, or at offset. done: NULL, or how many bytes were
 * written, exact whatever the result. Returns 0 (all of them) or -errno (-ENOSPC, -EDQUOT,
 * -EFBIG, -EIO).
 */
THRUM_NODISCARD THRUM_API int thrum_file_write(int fd, const void *buf, size_t len, size_t *done);
THRUM_NODISCARD THRUM_API int thrum_file_pwrite(
	int fd, const void *buf, size_t len, int64_t offset, size_t *done);

/*
 * Waits until the file's data and metadata (sync), its data (datasync), or everything of its
 * file system (syncfs) are on the disk. Directories too. Returns 0 or -errno; after -EIO the
 * data may be lost.
 * Context: green thread or OS thread. Suspends: always in a green thread. Not a cancellation
 * point.
 */
THRUM_NODISCARD THRUM_API int thrum_file_sync(int fd);
THRUM_NODISCARD THRUM_API int thrum_file_datasync(int fd);
THRUM_NODISCARD THRUM_API int thrum_file_syncfs(int fd);

/* Cuts or extends the file to size bytes. Returns 0 or -errno. */
THRUM_NODISCARD THRUM_API int thrum_file_truncate(int fd, int64_t size);

/* What stat(2) tells of an open file. Returns 0 or -errno. */
THRUM_NODISCARD THRUM_API int thrum_file_stat(int fd, struct stat *out);

/* What stat(2) tells of a name; of a symbolic link, what it points to (stat) or itself (lstat). */
THRUM_NODISCARD THRUM_API int thrum_fs_stat(int dirfd, const char *path, struct stat *out);
THRUM_NODISCARD THRUM_API int thrum_fs_lstat(int dirfd, const char *path, struct stat *out);

/* Makes a directory. Returns 0, -EEXIST, or another -errno. */
THRUM_NODISCARD THRUM_API int thrum_fs_mkdir(int dirfd, const char *path, unsigned mode);

/* Removes a file (unlink) or an empty directory (rmdir). Returns 0 or -errno. */
THRUM_NODISCARD THRUM_API int thrum_fs_unlink(int dirfd, const char *path);
THRUM_NODISCARD THRUM_API int thrum_fs_rmdir(int dirfd, const char *path);

/* Renames, replacing what the new name named in one step. Returns 0 or -errno. */
THRUM_NODISCARD THRUM_API int thrum_fs_rename(
	int old_dirfd, const char *old_path, int new_dirfd, const char *new_path);

/* Makes a symbolic link at path. Returns 0 or -errno. */
THRUM_NODISCARD THRUM_API int thrum_fs_symlink(const char *target, int dirfd, const char *path);

/*
 * The target of a symbolic link, NUL-terminated. Returns its length, -ERANGE (cap bytes do not
 * hold it and its NUL), -EINVAL (not a link), or another -errno.
 */
THRUM_NODISCARD THRUM_API ssize_t thrum_fs_readlink(
	int dirfd, const char *path, char *out, size_t cap);

/*
 * Reads a whole file.
 * limit: the most bytes to take. data: gives a malloc'd block, a NUL behind its end; the caller
 * frees it.
 * len: NULL or where the length goes. Returns 0, -EFBIG (longer than limit), -ENOMEM, -EISDIR,
 * or another -errno; data and len are untouched then.
 */
THRUM_NODISCARD THRUM_API int thrum_fs_read_file(
	int dirfd, const char *path, size_t limit, void **data, size_t *len);

/*
 * Puts a file in place whole: writes beside it, syncs, renames, syncs the directory. A crash
 * leaves the old content or the new, never a mixture. mode: its permission bits, exactly.
 * Returns 0 or -errno; the old content stands then (unless only the last sync failed).
 * Context: green thread or OS thread. Suspends: always in a green thread. Not a cancellation
 * point.
 */
THRUM_NODISCARD THRUM_API int thrum_fs_replace_file(
	int dirfd, const char *path, const void *data, size_t len, unsigned mode);

/* Walking one directory. */
struct thrum_dir;

struct thrum_dir_entry {
	const char *name; /* borrowed until the next call on this directory */
	uint64_t inode;
	unsigned char
		type; /* DT_REG, DT_DIR, DT_LNK …; DT_UNKNOWN where the file system does not say */
};

/*
 * Opens a directory; a symbolic link as the last part of path is not followed. out: gives the
 * handle.
 * Returns 0, -ENOENT, -ENOTDIR, -ELOOP (a link), -EACCES, -ENOMEM, -EMFILE.
 */
THRUM_NODISCARD THRUM_API int thrum_dir_open(struct thrum_dir **out, int dirfd, const char *path);

/*
 * The next entry, in no order, without "." and "..". Returns 1 (out is filled), 0 (no more), or
 * -errno. One thread at a time.
 */
THRUM_NODISCARD THRUM_API int thrum_dir_next(struct thrum_dir *dir, struct thrum_dir_entry *out);

/* The directory's descriptor, borrowed, as the dirfd of other calls. */
THRUM_API int thrum_dir_fd(const struct thrum_dir *dir);

/* Takes the handle. NULL is fine. */
THRUM_API void thrum_dir_close(struct thrum_dir *dir);

#ifdef __cplusplus
}
#endif
#endif
