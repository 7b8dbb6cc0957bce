/* SPDX-License-Identifier: MIT */
#include "replica/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "replica/path.h"
#include "replica/root_internal.h"

enum {
	UUID_SIZE = 16,
	MARKER_SIZE = 2 * UUID_SIZE + 1, /* hex digits and a newline */
};

int replica_last_error(void)
{
	__asm__ volatile("");
	return -errno;
}

/* ---------------------------------------------------------------- paths */

static int open_beneath(int dirfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};
	for (;;) {
		long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		/* EAGAIN: the kernel saw a rename race and could not prove "beneath". */
		if (replica_last_error() != -EINTR && replica_last_error() != -EAGAIN)
			return replica_last_error();
	}
}

int replica_root_beneath(const struct replica_root *root, const char *path, int flags)
{
	int r = replica_path_check(path, strlen(path));
	if (r < 0)
		return r;
	return open_beneath(root->fd, path[0] ? path : ".", flags);
}

/* A parent that is no directory: the tree is not what the caller thinks. */
static int not_a_directory(int code)
{
	return code == -ELOOP || code == -ENOTDIR ? THRUM_ECHANGED : code;
}

int replica_root_parent(const struct replica_root *root, const char *path, const char **base)
{
	char parent[REPLICA_PATH_MAX + 1];
	int r = replica_path_check(path, strlen(path));
	if (r < 0)
		return r;
	if (path[0] == '\0')
		return -EINVAL;
	size_t len;
	*base = replica_path_last(path, &len);
	memcpy(parent, path, len);
	parent[len] = '\0';
	return not_a_directory(open_beneath(root->fd, len ? parent : ".", O_PATH | O_DIRECTORY));
}

/* ---------------------------------------------------------------- identities */

static int64_t nanoseconds(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct timespec replica_timespec(int64_t ns)
{
	int64_t sec = ns / 1000000000, rest = ns % 1000000000;
	if (rest < 0) {
		rest += 1000000000;
		sec--;
	}
	return (struct timespec){.tv_sec = sec, .tv_nsec = rest};
}

void replica_stat_from(struct replica_stat *out, const struct stat *st)
{
	*out = (struct replica_stat){
		.type = REPLICA_DISK_OTHER,
		.mtime_ns = nanoseconds(st->st_mtim),
		.ctime_ns = nanoseconds(st->st_ctim),
		.dev = st->st_dev,
		.ino = st->st_ino,
	};
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		out->type = REPLICA_DISK_FILE;
		out->mode = st->st_mode & 0777;
		out->size = (uint64_t)st->st_size;
		break;
	case S_IFLNK:
		out->type = REPLICA_DISK_SYMLINK;
		out->mode = 0777;
		out->size = (uint64_t)st->st_size;
		break;
	case S_IFDIR:
		out->type = REPLICA_DISK_DIR;
		out->mode = st->st_mode & 03777;
		break;
	}
}

bool replica_stat_same(const struct replica_stat *a, const struct replica_stat *b)
{
	return a->type == b->type && a->mode == b->mode && a->size == b->size &&
	       a->mtime_ns == b->mtime_ns && a->dev == b->dev && a->ino == b->ino;
}

bool replica_stat_equal(const struct replica_stat *a, const struct replica_stat *b)
{
	return replica_stat_same(a, b) && a->ctime_ns == b->ctime_ns;
}

int replica_stat_at(int dirfd, const char *name, struct replica_stat *out)
{
	struct stat st;
	*out = (struct replica_stat){0};
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return replica_last_error() == -ENOENT ? 0 : replica_last_error();
	replica_stat_from(out, &st);
	return 0;
}

int replica_root_stat(const struct replica_root *root, const char *path, struct replica_stat *out)
{
	*out = (struct replica_stat){0};
	if (path[0] == '\0') {
		struct stat st;
		if (fstat(root->fd, &st) < 0)
			return replica_last_error();
		replica_stat_from(out, &st);
		return 0;
	}
	const char *base;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd == -ENOENT || dirfd == THRUM_ECHANGED)
		return 0;
	if (dirfd < 0)
		return dirfd;
	int r = replica_stat_at(dirfd, base, out);
	close(dirfd);
	return r;
}

int replica_root_open_dir(const struct replica_root *root, const char *path)
{
	return not_a_directory(
		replica_root_beneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
}

int replica_root_open_file(
	const struct replica_root *root, const char *path, struct replica_stat *out)
{
	int fd = replica_root_beneath(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		/* ENXIO: a socket. */
		return fd == -ENXIO ? THRUM_ECHANGED : not_a_directory(fd);
	struct stat st;
	int r = fstat(fd, &st) < 0 ? replica_last_error() : 0;
	if (r == 0)
		replica_stat_from(out, &st);
	if (r == 0 && out->type != REPLICA_DISK_FILE)
		r = THRUM_ECHANGED;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

ssize_t replica_root_read_link(
	const struct replica_root *root, const char *path, char *out, size_t cap)
{
	const char *base;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd < 0)
		return dirfd;
	ssize_t n = readlinkat(dirfd, base, out, cap);
	if (n < 0)
		n = replica_last_error() == -EINVAL ? THRUM_ECHANGED : replica_last_error();
	close(dirfd);
	if (n >= 0 && (size_t)n >= cap)
		return -ERANGE;
	if (n >= 0)
		out[n] = '\0';
	return n;
}

/* ---------------------------------------------------------------- marker, open, close */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads the marker's uuid from an open file. 0, or -ENXIO if it is no marker. */
static int marker_read(int fd, uint8_t uuid[UUID_SIZE])
{
	char text[MARKER_SIZE + 1];
	if (pread(fd, text, sizeof(text), 0) != MARKER_SIZE || text[MARKER_SIZE - 1] != '\n')
		return -ENXIO;
	for (int i = 0; i < UUID_SIZE; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -ENXIO;
		uuid[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* Writes the marker whole: a crash leaves none or a good one. 0, or -EEXIST if there is one
 * already. */
static int marker_write(int meta_fd, const uint8_t uuid[UUID_SIZE])
{
	char text[MARKER_SIZE + 1];
	for (int i = 0; i < UUID_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", uuid[i]);
	text[MARKER_SIZE - 1] = '\n';

	int fd = openat(
		meta_fd, "id.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return replica_last_error();
	ssize_t n = write(fd, text, MARKER_SIZE);
	int r = n < 0             ? replica_last_error()
		: n < MARKER_SIZE ? -ENOSPC
		: fsync(fd) < 0   ? replica_last_error()
				  : 0;
	close(fd);
	if (r == 0 && renameat2(meta_fd, "id.new", meta_fd, "id", RENAME_NOREPLACE) < 0)
		r = replica_last_error();
	if (r < 0)
		unlinkat(meta_fd, "id.new", 0);
	else if (fsync(meta_fd) < 0)
		r = replica_last_error();
	return r;
}

static void close_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

static int make_dir_at(int dirfd, const char *name)
{
	if (mkdirat(dirfd, name, 0700) < 0 && replica_last_error() != -EEXIST)
		return replica_last_error();
	return open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

int replica_root_init(const char *dir, const uint8_t uuid[16], uint8_t out_uuid[16])
{
	uint8_t found[UUID_SIZE];
	int tmp = -1, id = -1, meta = -1;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return replica_last_error();
	int r = meta = make_dir_at(fd, REPLICA_RESERVED);
	if (r < 0)
		goto out;
	r = tmp = make_dir_at(meta, "tmp");
	if (r < 0)
		goto out;
	r = marker_write(meta, uuid);
	if (r == 0 && fsync(fd) < 0)
		r = replica_last_error();
	if (r != -EEXIST)
		goto out;
	r = id = open_beneath(meta, "id", O_RDONLY | O_NOFOLLOW);
	if (r < 0)
		goto out;
	r = marker_read(id, found);
	if (r == 0 && memcmp(found, uuid, UUID_SIZE) != 0)
		r = -EEXIST;
	if (r == -EEXIST && out_uuid != NULL)
		memcpy(out_uuid, found, UUID_SIZE);
out:
	close_open(id);
	close_open(tmp);
	close_open(meta);
	close_open(fd);
	return r;
}

/* Opens .replica/id, reads it and holds it against what it must be. A descriptor, or -ENXIO and
 * others. */
static int marker_open(int dirfd, uint8_t uuid[UUID_SIZE], const uint8_t *expected)
{
	int fd = open_beneath(dirfd, REPLICA_RESERVED "/id", O_RDONLY | O_NOFOLLOW);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV ? -ENXIO
										       : fd;
	int r = marker_read(fd, uuid);
	if (r == 0 && expected != NULL && memcmp(uuid, expected, UUID_SIZE) != 0)
		r = -ENXIO;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int root_open(struct replica_root *root, const uint8_t *uuid)
{
	struct stat st;
	int r = root->fd = open(root->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0)
		return replica_last_error() == -ENOENT || replica_last_error() == -ENOTDIR
			       ? -ENXIO
			       : replica_last_error();
	if (fstat(root->fd, &st) < 0)
		return replica_last_error();
	root->dev = st.st_dev;
	root->ino = st.st_ino;
	r = root->lock_fd = marker_open(root->fd, root->uuid, uuid);
	if (r < 0)
		return r;
	/* The lock goes with the process, so kill -9 frees it; it keeps a second daemon off our
	 * staging. */
	if (flock(root->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return replica_last_error() == -EWOULDBLOCK ? -EBUSY : replica_last_error();
	r = root->meta_fd = open_beneath(root->fd, REPLICA_RESERVED, O_RDONLY | O_DIRECTORY);
	if (r < 0)
		return r;
	r = root->staging_fd = make_dir_at(root->meta_fd, "tmp");
	if (r < 0)
		return r;
	return replica_staging_clean(root);
}

int replica_root_open(struct replica_root **out, const char *dir, const uint8_t uuid[16])
{
	struct replica_root *root = calloc(1, sizeof(*root));
	if (root == NULL)
		return -ENOMEM;
	root->fd = root->meta_fd = root->staging_fd = root->lock_fd = -1;
	root->dir = strdup(dir);
	/* Names never meet those of an earlier run that could not be removed. */
	thrum__random_bytes(&root->next_name, sizeof(root->next_name));
	int r = root->dir == NULL ? -ENOMEM : root_open(root, uuid);
	if (r < 0) {
		replica_root_close(root);
		return r;
	}
	*out = root;
	return 0;
}

void replica_root_close(struct replica_root *root)
{
	if (root == NULL)
		return;
	close_open(root->staging_fd);
	close_open(root->meta_fd);
	close_open(root->lock_fd);
	close_open(root->fd);
	free(root->dir);
	free(root);
}

void replica_root_give_up(struct replica_root *root)
{
	__atomic_store_n(&root->given_up, true, __ATOMIC_RELEASE);
}

int replica_root_check(const struct replica_root *root)
{
	struct stat st;
	uint8_t uuid[UUID_SIZE];
	if (__atomic_load_n(&root->given_up, __ATOMIC_ACQUIRE))
		return -ENXIO;
	if (stat(root->dir, &st) < 0)
		return replica_last_error() == -ENOENT || replica_last_error() == -ENOTDIR
			       ? -ENXIO
			       : replica_last_error();
	if (st.st_dev != root->dev || st.st_ino != root->ino)
		return -ENXIO;
	int fd = marker_open(root->fd, uuid, root->uuid);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

const char *replica_root_explain(char *out, size_t cap, const char *dir, int code)
{
	switch (code) {
	case -ENXIO:
		snprintf(out, cap,
			"%s: the share is missing here (no directory, or not the "
			"marker " REPLICA_RESERVED
			"/id it was shared with); mount or restore it, or unshare it",
			dir);
		break;
	case -EBUSY:
		snprintf(out, cap, "%s: another replicad has this share open; stop that one first",
			dir);
		break;
	case -EACCES:
	case -EPERM:
		snprintf(out, cap, "%s: no permission; the daemon must own the directory", dir);
		break;
	default:
		snprintf(out, cap, "%s: %s", dir, thrum_strerror(code));
	}
	return out;
}
