/* SPDX-License-Identifier: MIT */
#ifndef TEST_REPLICA_DISK_H
#define TEST_REPLICA_DISK_H

/* Small things that tests on a real directory do over and over. Relative paths are below the test's
 * directory. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

struct disk {
	char dir[64];  /* holds all; removed by disk_fini */
	char root[80]; /* dir/root, the share */
};

static inline int disk_remove_one(
	const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static inline void disk_remove(const char *path)
{
	nftw(path, disk_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static inline void disk_init(struct disk *disk)
{
	strcpy(disk->dir, "/tmp/thrum-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(disk->dir));
	snprintf(disk->root, sizeof(disk->root), "%s/root", disk->dir);
	ck_assert_int_eq(mkdir(disk->root, 0755), 0);
	ck_assert_int_eq(chdir(disk->root), 0);
}

static inline void disk_fini(struct disk *disk)
{
	ck_assert_int_eq(chdir("/"), 0);
	disk_remove(disk->dir);
}

static inline void disk_write(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		ck_assert_int_gt(n, 0);
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	close(fd);
}

static inline void disk_puts(const char *path, const char *text)
{
	disk_write(path, text, strlen(text));
}

/* The file's text (static buffer), or NULL if there is no such file. */
static inline const char *disk_gets(const char *path)
{
	static char text[4096];
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	if (fd < 0)
		return NULL;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static inline bool disk_exists(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

/* Entries of a directory without "." and "..". */
static inline unsigned disk_count(const char *path)
{
	struct stat st;
	char command[256];
	ck_assert_int_eq(stat(path, &st), 0);
	snprintf(command, sizeof(command), "ls -A '%s' | wc -l", path);
	FILE *pipe = popen(command, "r");
	unsigned count = ~0u;
	ck_assert_int_eq(fscanf(pipe, "%u", &count), 1);
	pclose(pipe);
	return count;
}

#endif
