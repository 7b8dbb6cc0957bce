/* SPDX-License-Identifier: MIT */
#include "replica/root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/root_internal.h"

/* The changes of root.h that replace nothing: directories, metadata, conflict names. */

enum { NAME_BYTES = 255, WHO_BYTES = 32, EXT_BYTES = 16, ASIDE_TRIES = 10000 };

/* ---------------------------------------------------------------- metadata */

/* chmod of the very inode an O_PATH descriptor stands for. */
static int chmod_fd(int fd, mode_t mode)
{
	char link[40];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return chmod(link, mode) < 0 ? replica_last_error() : 0;
}

static int stat_fd(int fd, struct stat *st, struct replica_stat *out)
{
	if (fstat(fd, st) < 0)
		return replica_last_error();
	replica_stat_from(out, st);
	return 0;
}

static int open_path(const struct replica_root *root, const char *path)
{
	const char *base;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd < 0)
		return dirfd;
	int fd = openat(dirfd, base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? replica_last_error() : fd;
	close(dirfd);
	return r;
}

/*
 * A write between the look and the new mtime hides behind that mtime. So the identity given out
 * never matches the disk then (ctime 0): the next scan reads the content once more.
 */
static int set_meta_fd(struct replica_root *root, int fd, const struct replica_stat *expect,
	uint32_t mode, int64_t mtime_ns, struct replica_stat *out)
{
	struct stat st;
	struct replica_stat now;
	bool set_mtime = mtime_ns != expect->mtime_ns;
	int r = stat_fd(fd, &st, &now);
	if (r == 0 && !replica_stat_equal(&now, expect))
		r = THRUM_ECHANGED;
	replica_root_gap(root);
	if (r == 0 && now.type == REPLICA_DISK_FILE && (mode & 0777) != now.mode)
		r = chmod_fd(fd, (st.st_mode & 07000) | (mode & 0777));
	if (r == 0 && set_mtime)
		r = replica_set_mtime_at(fd, "", AT_EMPTY_PATH, mtime_ns);
	if (r == 0)
		r = stat_fd(fd, &st, out);
	if (r == 0 && (set_mtime || out->mtime_ns != expect->mtime_ns || out->size != expect->size))
		out->ctime_ns = 0;
	return r;
}

int replica_root_set_meta(struct replica_root *root, const char *path,
	const struct replica_stat *expect, uint32_t mode, int64_t mtime_ns,
	struct replica_stat *out)
{
	if (!replica_stat_is_leaf(expect))
		return -EINVAL;
	int fd = open_path(root, path);
	if (fd < 0)
		return fd == -ENOENT ? THRUM_ECHANGED : fd;
	int r = set_meta_fd(root, fd, expect, mode, mtime_ns, out);
	close(fd);
	return r;
}

/* ---------------------------------------------------------------- directories */

static int open_dir_path(const struct replica_root *root, const char *path)
{
	int fd = replica_root_beneath(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
	return fd == -ENOTDIR || fd == -ELOOP ? THRUM_ECHANGED : fd;
}

int replica_root_set_dir_mode(
	struct replica_root *root, const char *path, uint32_t mode, struct replica_stat *out)
{
	struct stat st;
	struct replica_stat now;
	int fd = open_dir_path(root, path);
	if (fd < 0)
		return fd;
	int r = stat_fd(fd, &st, &now);
	if (r == 0 && (mode & 03777) != now.mode)
		r = chmod_fd(fd, (st.st_mode & 04000) | (mode & 03777));
	if (r == 0 && out != NULL)
		r = stat_fd(fd, &st, out);
	close(fd);
	return r;
}

int replica_root_set_dir_mtime(struct replica_root *root, const char *path, int64_t mtime_ns)
{
	int fd = open_dir_path(root, path);
	if (fd < 0)
		return fd;
	int r = replica_set_mtime_at(fd, "", AT_EMPTY_PATH, mtime_ns);
	close(fd);
	return r;
}

/* Opens path's directory, making it if it is missing. *made: whether it was. */
static int open_or_make(struct replica_root *root, const char *path, uint32_t mode, bool *made)
{
	const char *base;
	*made = false;
	int fd = open_dir_path(root, path);
	if (fd != -ENOENT)
		return fd;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd < 0)
		return dirfd;
	/* Closed to others until it has its mode. */
	int r = mkdirat(dirfd, base, 0700) < 0 ? replica_last_error() : 0;
	close(dirfd);
	*made = r == 0;
	if (r < 0 && r != -EEXIST)
		return r;
	fd = open_dir_path(root, path);
	if (fd >= 0 && *made && (r = chmod_fd(fd, mode & 03777)) < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* Makes every directory on the way down to path. Returns how many. */
static int make_all(struct replica_root *root, const char *path, uint32_t mode)
{
	int count = 0;
	char *part = strdup(path);
	if (part == NULL)
		return -ENOMEM;
	for (char *end = part; end != NULL;) {
		bool made;
		end = strchr(end, '/');
		if (end != NULL)
			*end = '\0';
		int fd = open_or_make(root, part, end ? 0755 : mode, &made);
		if (fd < 0) {
			count = fd;
			break;
		}
		close(fd);
		count += made;
		if (end != NULL)
			*end++ = '/';
	}
	free(part);
	return count;
}

int replica_root_make_dir(
	struct replica_root *root, const char *path, uint32_t mode, struct replica_stat *out)
{
	int made = 0;
	int fd = open_dir_path(root, path);
	if (fd == -ENOENT) {
		made = make_all(root, path, mode);
		if (made < 0)
			return made;
		fd = open_dir_path(root, path);
	}
	if (fd < 0)
		return fd;
	struct stat st;
	int r = out == NULL ? 0 : stat_fd(fd, &st, out);
	close(fd);
	return r < 0 ? r : made;
}

int replica_root_remove_dir(struct replica_root *root, const char *path)
{
	const char *base;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd < 0)
		return dirfd == -ENOENT ? 0 : dirfd;
	int r = unlinkat(dirfd, base, AT_REMOVEDIR) < 0 ? replica_last_error() : 0;
	close(dirfd);
	return r == -ENOENT ? 0 : r == -ENOTDIR ? THRUM_ECHANGED : r == -EEXIST ? -ENOTEMPTY : r;
}

/* ---------------------------------------------------------------- conflict names */

/* Bytes of name[0..len) that fit into max without cutting a UTF-8 character. */
static size_t fit(const char *name, size_t len, size_t max)
{
	if (len <= max)
		return len;
	while (max > 0 && ((unsigned char)name[max] & 0xc0) == 0x80)
		max--;
	return max;
}

void replica_conflict_name(
	char out[256], const char *name, const char *who, int64_t when_s, unsigned attempt)
{
	char label[WHO_BYTES + 1], tail[96], date[32];
	size_t n = 0;
	for (; who[n] != '\0' && n < WHO_BYTES; n++) {
		char c = who[n];
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			     (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
		label[n] = plain ? c : '_';
	}
	label[n] = '\0';

	time_t when = (time_t)when_s;
	struct tm tm;
	if (gmtime_r(&when, &tm) == NULL || strftime(date, sizeof(date), "%Y%m%d-%H%M%S", &tm) == 0)
		memcpy(date, "unknown", sizeof("unknown"));
	int tail_len = attempt == 0 ? snprintf(tail, sizeof(tail), ".conflict-%s-%s", label, date)
				    : snprintf(tail, sizeof(tail), ".conflict-%s-%s-%u", label,
					      date, attempt + 1);

	/* The extension stays last, so that programs still know the file. A leading dot begins
	 * none. */
	size_t len = strlen(name);
	const char *dot = strrchr(name, '.');
	size_t ext = dot != NULL && dot != name ? len - (size_t)(dot - name) : 0;
	if (ext > EXT_BYTES)
		ext = 0;
	size_t stem = fit(name, len - ext, NAME_BYTES - (size_t)tail_len - ext);
	snprintf(out, 256, "%.*s%s%s", (int)stem, name, tail, name + len - ext);
}

int replica_rename_new(int from_fd, const char *from, int to_fd, const char *to)
{
	if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	return replica_last_error() == -EEXIST ? THRUM_ECHANGED : replica_last_error();
}

int replica_rename_aside(int from_fd, const char *from, int dirfd, const char *base,
	const char *who, char out_name[256])
{
	int64_t now_s = thrum__wall_us() / 1000000;
	int r = THRUM_ECHANGED;
	for (unsigned i = 0; r == THRUM_ECHANGED && i < ASIDE_TRIES; i++) {
		replica_conflict_name(out_name, base, who, now_s, i);
		r = replica_rename_new(from_fd, from, dirfd, out_name);
	}
	return r;
}

int replica_root_install_aside(struct replica_root *root, struct replica_staged *staged,
	const char *path, const char *who, char out_name[256], struct replica_stat *out)
{
	const char *base;
	struct replica_stat was;
	if (staged->name[0] == '\0')
		return -EINVAL;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd < 0)
		return dirfd;
	int r = replica_stat_at(root->staging_fd, staged->name, &was);
	if (r == 0)
		r = replica_rename_aside(
			root->staging_fd, staged->name, dirfd, base, who, out_name);
	if (r == 0) {
		staged->name[0] = '\0';
		replica_root_settle(root, dirfd, out_name, &was, out);
	}
	close(dirfd);
	return r;
}

static int move_aside_at(struct replica_root *root, int dirfd, const char *base,
	const struct replica_stat *expect, const char *who, char out_name[256],
	struct replica_stat *out)
{
	struct replica_stat now;
	int r = replica_stat_at(dirfd, base, &now);
	if (r < 0)
		return r;
	if (!replica_stat_equal(&now, expect))
		return THRUM_ECHANGED;
	replica_root_gap(root);
	r = replica_rename_aside(dirfd, base, dirfd, base, who, out_name);
	if (r < 0)
		return r == -ENOENT ? THRUM_ECHANGED : r;
	r = replica_stat_at(dirfd, out_name, out);
	if (r == 0 && replica_stat_same(out, expect))
		return 0;
	/* Another file was moved. If its name is taken again by now, it stays aside, where it is
	 * safe too. */
	(void)replica_rename_new(dirfd, out_name, dirfd, base);
	return r < 0 ? r : THRUM_ECHANGED;
}

int replica_root_move_aside(struct replica_root *root, const char *path,
	const struct replica_stat *expect, const char *who, char out_name[256],
	struct replica_stat *out)
{
	const char *base;
	if (!replica_stat_is_leaf(expect))
		return -EINVAL;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd < 0)
		return dirfd == -ENOENT ? THRUM_ECHANGED : dirfd;
	int r = move_aside_at(root, dirfd, base, expect, who, out_name, out);
	close(dirfd);
	return r;
}
