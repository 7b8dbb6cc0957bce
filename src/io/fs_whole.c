/* SPDX-License-Identifier: MIT */
#include <thrum/fs.h>

#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

/*
 * Whole files at a time. Reading trusts no size that stat told: files grow and shrink under a
 * reader, and those of /proc say 0. Replacing goes through a file beside the target (same file
 * system, so the rename is one step), which is synced before the rename; the directory is synced
 * after it.
 */

enum { FIRST_CHUNK = 4096, NAME_TRIES = 16 };

/*
 * How much to ask for next: what stat says is left, else as much again as there is; limit + 1 shows
 * excess.
 */
static size_t next_chunk(const struct thrum__buf *buf, const struct stat *st, size_t limit)
{
	size_t have = thrum__buf_len(buf);
	size_t want = have > FIRST_CHUNK ? have : FIRST_CHUNK;
	if (st->st_size > 0 && (uint64_t)st->st_size >= have)
		want = (size_t)st->st_size - have +
		       1; /* one more, to meet the end in the same read */
	size_t most = limit - have + (limit < SIZE_MAX);
	return want < most ? want : most;
}

static int read_open_file(int fd, size_t limit, struct thrum__buf *buf)
{
	struct stat st;
	int r = thrum_file_stat(fd, &st);
	if (r < 0)
		return r;
	for (;;) {
		size_t chunk = next_chunk(buf, &st, limit);
		uint8_t *to = thrum__buf_reserve(buf, chunk + 1); /* + 1: the NUL */
		if (to == NULL)
			return -ENOMEM;
		ssize_t n = thrum_file_read(fd, to, chunk);
		if (n < 0)
			return (int)n;
		thrum__buf_commit(buf, (size_t)n);
		if (thrum__buf_len(buf) > limit)
			return -EFBIG;
		if ((size_t)n < chunk)
			break;
	}
	*(thrum__buf_head(buf) + thrum__buf_len(buf)) = '\0';
	return 0;
}

int thrum_fs_read_file(int dirfd, const char *path, size_t limit, void **data, size_t *len)
{
	int fd = thrum_file_open(
		dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0); /* no FIFO holds us up */
	if (fd < 0)
		return fd;
	struct thrum__buf buf = {0};
	int r = read_open_file(fd, limit, &buf);
	thrum_file_close(fd);
	if (r < 0) {
		thrum__buf_fini(&buf);
		return r;
	}
	CHECK(buf.start == 0); /* nothing was consumed, so the block begins at the data */
	*data = buf.data;
	if (len != NULL)
		*len = thrum__buf_len(&buf);
	return 0;
}

/* Opens a fresh file beside path and writes its path to temp. A descriptor or -errno. */
static int open_beside(int dirfd, const char *path, unsigned mode, char *temp, size_t cap)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash != NULL ? (int)(slash - path) + 1 : 0;
	int fd = -EEXIST;
	for (int try = 0; try < NAME_TRIES && fd == -EEXIST; try++) {
		uint64_t random;
		thrum__random_bytes(&random, sizeof(random));
		int n = snprintf(
			temp, cap, "%.*s.thrum-%016llx", dir_len, path, (unsigned long long)random);
		if (n < 0 || (size_t)n >= cap)
			return -ENAMETOOLONG;
		fd = thrum_file_open(
			dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode & 0600);
	}
	return fd;
}

/* Syncs the directory that path lies in. */
static int sync_parent(int dirfd, const char *path)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int len = slash == NULL ? 0 : slash == path ? 1 : (int)(slash - path);
	snprintf(parent, sizeof(parent), "%.*s", len > 0 ? len : 1, len > 0 ? path : ".");
	int fd = thrum_file_open(dirfd, parent, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	int r = thrum_file_sync(fd);
	thrum_file_close(fd);
	return r;
}

int thrum_fs_replace_file(int dirfd, const char *path, const void *data, size_t len, unsigned mode)
{
	char temp[PATH_MAX];
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	int fd = open_beside(dirfd, path, mode, temp, sizeof(temp));
	if (fd < 0)
		return fd;
	int r = thrum_file_write(fd, data, len, NULL);
	if (r == 0)
		r = fchmod(fd, (mode_t)mode) < 0 ? thrum__last_error()
						 : 0; /* after writing: mode may forbid it */
	if (r == 0)
		r = thrum_file_sync(fd);
	int closed = thrum_file_close(fd);
	if (r == 0)
		r = closed;
	if (r == 0)
		r = thrum_fs_rename(dirfd, temp, dirfd, path);
	if (r < 0) {
		(void)!thrum_fs_unlink(dirfd, temp); /* the first error is the one to tell */
		return r;
	}
	return sync_parent(dirfd, path);
}
