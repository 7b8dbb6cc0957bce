/* SPDX-License-Identifier: MIT */
#include <thrum/fs.h>

#include "io/io.h"
#include <thrum/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

_Static_assert(THRUM_CWD == AT_FDCWD, "THRUM_CWD is the kernel's number");

/* A system call's result, or what errno said; repeated when a signal interrupted it. */
#define RESULT(call)                                                  \
	({                                                            \
		__typeof__(call) result_;                             \
		do                                                    \
			result_ = (call);                             \
		while (result_ < 0 && thrum__last_error() == -EINTR); \
		result_ < 0 ? thrum__last_error() : result_;          \
	})

int thrum_file_open(int dirfd, const char *path, int flags, unsigned mode)
{
	return RESULT(openat(dirfd, path, flags | O_CLOEXEC, (mode_t)mode));
}

int thrum_file_close(int fd)
{
	/* Linux has given the number back even when it says EINTR: never repeat it. */
	int r = close(fd) < 0 ? thrum__last_error() : 0;
	return r == -EINTR ? 0 : r;
}

ssize_t thrum_file_read(int fd, void *buf, size_t len)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = RESULT(read(fd, (char *)buf + done, len - done));
		if (n < 0 && done == 0)
			return n;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t thrum_file_pread(int fd, void *buf, size_t len, int64_t offset)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n =
			RESULT(pread(fd, (char *)buf + done, len - done, offset + (int64_t)done));
		if (n < 0 && done == 0)
			return n;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Writes at offset, or at the file's position if it is < 0. */
static int write_all(int fd, const char *buf, size_t len, int64_t offset, size_t *done)
{
	size_t written = 0;
	int r = 0;
	while (written < len && r == 0) {
		ssize_t n;
		if (offset < 0)
			n = RESULT(write(fd, buf + written, len - written));
		else
			n = RESULT(pwrite(
				fd, buf + written, len - written, offset + (int64_t)written));
		if (n > 0)
			written += (size_t)n;
		else
			r = n < 0 ? (int)n : -EIO; /* 0 for len > 0: no regular file does it */
	}
	if (done != NULL)
		*done = written;
	return r;
}

int thrum_file_write(int fd, const void *buf, size_t len, size_t *done)
{
	return write_all(fd, buf, len, -1, done);
}

int thrum_file_pwrite(int fd, const void *buf, size_t len, int64_t offset, size_t *done)
{
	if (offset < 0) {
		if (done != NULL)
			*done = 0;
		return -EINVAL;
	}
	return write_all(fd, buf, len, offset, done);
}

struct flush {
	int (*call)(int fd);
	int fd;
	int result;
};

static void *run_flush(void *arg)
{
	struct flush *flush = arg;
	flush->result = RESULT(flush->call(flush->fd));
	return NULL;
}

/* Where no OS thread is to be had the flush is made in place: slow for the worker, but made. */
static int flush_with(int (*call)(int fd), int fd)
{
	struct flush flush = {.call = call, .fd = fd};
	if (thrum_blocking(run_flush, &flush, NULL) < 0)
		run_flush(&flush);
	return flush.result;
}

int thrum_file_sync(int fd)
{
	return flush_with(fsync, fd);
}

int thrum_file_datasync(int fd)
{
	return flush_with(fdatasync, fd);
}

int thrum_file_syncfs(int fd)
{
	return flush_with(syncfs, fd);
}

int thrum_file_truncate(int fd, int64_t size)
{
	return RESULT(ftruncate(fd, size));
}

int thrum_file_stat(int fd, struct stat *out)
{
	return RESULT(fstat(fd, out));
}

int thrum_fs_stat(int dirfd, const char *path, struct stat *out)
{
	return RESULT(fstatat(dirfd, path, out, 0));
}

int thrum_fs_lstat(int dirfd, const char *path, struct stat *out)
{
	return RESULT(fstatat(dirfd, path, out, AT_SYMLINK_NOFOLLOW));
}

int thrum_fs_mkdir(int dirfd, const char *path, unsigned mode)
{
	return RESULT(mkdirat(dirfd, path, (mode_t)mode));
}

int thrum_fs_unlink(int dirfd, const char *path)
{
	return RESULT(unlinkat(dirfd, path, 0));
}

int thrum_fs_rmdir(int dirfd, const char *path)
{
	return RESULT(unlinkat(dirfd, path, AT_REMOVEDIR));
}

int thrum_fs_rename(int old_dirfd, const char *old_path, int new_dirfd, const char *new_path)
{
	return RESULT(renameat(old_dirfd, old_path, new_dirfd, new_path));
}

int thrum_fs_symlink(const char *target, int dirfd, const char *path)
{
	return RESULT(symlinkat(target, dirfd, path));
}

ssize_t thrum_fs_readlink(int dirfd, const char *path, char *out, size_t cap)
{
	ssize_t n = RESULT(readlinkat(dirfd, path, out, cap));
	if (n < 0)
		return n;
	if ((size_t)n >= cap)
		return -ERANGE; /* cut short, or no room for the NUL */
	out[n] = '\0';
	return n;
}
