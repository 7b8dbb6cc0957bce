/* SPDX-License-Identifier: MIT */
#include "replica/scan_internal.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <thrum/fs.h>
#include <thrum/thread.h>

#include "replica/root_internal.h"

/*
 * Reading content so that the identity kept with it proves it unchanged later.
 *
 * Problem.  Linux stamps files with a clock that ticks every few milliseconds. A file written,
 * hashed and written again within one tick keeps its identity (if its size does), and the second
 * write would never be seen. So: content is read only once the clock has moved past the file's
 * ctime. Every later write then gets another ctime.
 */

enum {
	TRIES = 3,
	HASH_PIECE = 256 * 1024,
	TARGET_MAX = 4096, /* of a symlink, NUL included */
};

/* Waits until the file system's clock is past ctime. A ctime from the future proves nothing and is
 * not waited for. */
static int wait_for_tick(int64_t ctime_ns)
{
	for (;;) {
		struct timespec ts;
		clock_gettime(CLOCK_REALTIME_COARSE, &ts);
		int64_t ahead = ctime_ns - ((int64_t)ts.tv_sec * THRUM_S + ts.tv_nsec);
		if (ahead < 0 || ahead > THRUM_S)
			return 0;
		int r = thrum_sleep(ahead + 2 * THRUM_MS);
		if (r < 0)
			return r;
	}
}

static int hash_open_file(struct scan_walk *walk, int fd, const struct replica_stat *seen,
	struct replica_version *version)
{
	uint64_t offset = 0;
	if (walk->buf == NULL && (walk->buf = malloc(HASH_PIECE)) == NULL)
		return -ENOMEM;
	if (walk->hash == NULL && (walk->hash = replica_hash_create()) == NULL)
		return -ENOMEM;
	replica_hash_reset(walk->hash);
	for (;;) {
		ssize_t n = thrum_file_pread(fd, walk->buf, HASH_PIECE, (int64_t)offset);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		replica_hash_add(walk->hash, walk->buf, (size_t)n);
		offset += (uint64_t)n;
		scan_count(&walk->scan->stats.hashed_bytes, (uint64_t)n);
		/* A file that grows as fast as it is read would keep us here for ever. */
		if (offset > seen->size)
			return THRUM_ECHANGED;
		if (thrum_canceled())
			return -ECANCELED;
		thrum_yield();
	}
	replica_hash_get(walk->hash, version->hash);
	scan_count(&walk->scan->stats.hashed_files, 1);
	return offset == seen->size ? 0 : THRUM_ECHANGED;
}

static int read_file(struct scan_walk *walk, const char *path, struct replica_stat *seen,
	struct replica_version *version)
{
	struct stat st;
	struct replica_stat after;
	int fd = replica_root_open_file(walk->scan->root, path, seen);
	if (fd < 0)
		return fd;
	int r = wait_for_tick(seen->ctime_ns);
	if (r == 0)
		r = hash_open_file(walk, fd, seen, version);
	if (r == 0 && fstat(fd, &st) < 0)
		r = replica_last_error();
	close(fd);
	if (r < 0)
		return r;
	replica_stat_from(&after, &st);
	if (!replica_stat_equal(&after, seen))
		return THRUM_ECHANGED;
	version->state = REPLICA_FILE;
	version->mode = seen->mode;
	version->size = seen->size;
	version->mtime_ns = seen->mtime_ns;
	return 0;
}

static int read_symlink(struct scan_walk *walk, const char *path, struct replica_stat *seen,
	struct replica_version *version)
{
	struct replica_stat after;
	char *target = malloc(TARGET_MAX);
	if (target == NULL)
		return -ENOMEM;
	ssize_t n = replica_root_read_link(walk->scan->root, path, target, TARGET_MAX);
	int r = n < 0 ? (int)n : replica_root_stat(walk->scan->root, path, &after);
	if (r == 0 && !replica_stat_equal(&after, seen))
		r = THRUM_ECHANGED;
	if (r < 0) {
		free(target);
		return r;
	}
	version->state = REPLICA_SYMLINK;
	version->mtime_ns = seen->mtime_ns;
	version->target = target;
	return 0;
}

int replica_scan_content(struct scan_walk *walk, const char *path, struct replica_stat *seen,
	struct replica_version *version)
{
	int r = THRUM_ECHANGED;
	for (int i = 0; i < TRIES && r == THRUM_ECHANGED; i++) {
		r = replica_root_stat(walk->scan->root, path, seen);
		if (r < 0)
			return r;
		if (seen->type == REPLICA_DISK_FILE)
			r = read_file(walk, path, seen, version);
		else if (seen->type == REPLICA_DISK_SYMLINK)
			r = read_symlink(walk, path, seen, version);
		else
			return THRUM_ECHANGED;
	}
	return r;
}
