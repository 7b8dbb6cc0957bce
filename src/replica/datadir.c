/* SPDX-License-Identifier: MIT */
#include "replica/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thrum/fs.h>

#include "base/base.h"

enum { KEY_FILE_MAX = 4096 };

const char *replica_datadir_file(
	const struct replica_datadir *dir, const char *name, char *out, size_t cap)
{
	int len = snprintf(out, cap, "%s/%s", dir->path, name);
	return len > 0 && (size_t)len < cap ? out : NULL;
}

/* mkdir -p with mode 0700 for each directory made. 0 or a negative errno. */
static int make_dirs(char *path)
{
	for (char *slash = path + 1;; slash++) {
		if (*slash != '/' && *slash != '\0')
			continue;
		char was = *slash;
		*slash = '\0';
		int r = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
		*slash = was;
		if (r < 0 || was == '\0')
			return r;
	}
}

static int load_key(struct replica_datadir *dir, char *why, size_t cap)
{
	char path[4200];
	if (replica_datadir_file(dir, "key", path, sizeof(path)) == NULL)
		return -ENAMETOOLONG;
	void *bytes = NULL;
	size_t len = 0;
	int r = thrum_fs_read_file(THRUM_CWD, path, KEY_FILE_MAX, &bytes, &len);
	if (r == 0 && len == sizeof(dir->secret_key))
		memcpy(dir->secret_key, bytes, len);
	if (bytes != NULL)
		sodium_memzero(bytes, len);
	free(bytes);
	if (r == -EFBIG) {
		len = 0;
		r = 0;
	}
	if (r == -ENOENT) {
		len = sizeof(dir->secret_key);
		thrum__random_bytes(dir->secret_key, len);
		r = thrum_fs_replace_file(THRUM_CWD, path, dir->secret_key, len, 0600);
	}
	if (r < 0) {
		snprintf(why, cap, "cannot keep the key in %s: %s", path, thrum_strerror(r));
		return r;
	}
	/* A crash of the machine may have left zeros. */
	if (len != sizeof(dir->secret_key) || sodium_is_zero(dir->secret_key, len) ||
		crypto_scalarmult_base(dir->public_key, dir->secret_key) != 0) {
		snprintf(why, cap,
			"%s/key is damaged: 32 bytes expected; restore it, or remove it to become "
			"a new replica",
			dir->path);
		return THRUM_EFORMAT;
	}
	return 0;
}

static int take_lock(struct replica_datadir *dir, char *why, size_t cap)
{
	char path[4200];
	if (replica_datadir_file(dir, "lock", path, sizeof(path)) == NULL)
		return -ENAMETOOLONG;
	dir->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (dir->lock_fd < 0) {
		int r = -errno;
		snprintf(why, cap, "cannot open %s: %s", path, thrum_strerror(r));
		return r;
	}
	if (flock(dir->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		close(dir->lock_fd);
		dir->lock_fd = -1;
		snprintf(why, cap,
			"another replicad runs on %s; stop it with 'replica --data %s stop', or "
			"choose another --data",
			dir->path, dir->path);
		return -EBUSY;
	}
	return 0;
}

int replica_datadir_open(struct replica_datadir *dir, const char *path, char *why, size_t why_cap)
{
	*dir = (struct replica_datadir){.lock_fd = -1};
	if (sodium_init() < 0) {
		snprintf(why, why_cap, "libsodium found no source of randomness");
		return -EIO;
	}
	size_t len = strlen(path);
	if (len == 0 || len >= sizeof(dir->path)) {
		snprintf(why, why_cap, "the data directory's name is empty or too long");
		return -ENAMETOOLONG;
	}
	memcpy(dir->path, path, len + 1);
	int r = make_dirs(dir->path);
	struct stat st;
	if (r == 0 && stat(dir->path, &st) < 0)
		r = -errno;
	if (r < 0) {
		snprintf(why, why_cap, "cannot make the data directory %s: %s", path,
			thrum_strerror(r));
		return r;
	}
	if (!S_ISDIR(st.st_mode)) {
		snprintf(why, why_cap, "%s is not a directory; choose another --data", path);
		return -ENOTDIR;
	}
	if (st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
		snprintf(why, why_cap,
			"%s is not ours alone; make it so with 'chmod 700' and 'chown', or choose "
			"another --data",
			path);
		return -EPERM;
	}
	if ((r = take_lock(dir, why, why_cap)) < 0)
		return r;
	if ((r = load_key(dir, why, why_cap)) < 0)
		replica_datadir_close(dir);
	return r;
}

void replica_datadir_close(struct replica_datadir *dir)
{
	sodium_memzero(dir->secret_key, sizeof(dir->secret_key));
	if (dir->lock_fd >= 0)
		close(dir->lock_fd);
	dir->lock_fd = -1;
}

void replica_datadir_load_listen(const struct replica_datadir *dir, char *out, size_t cap)
{
	char path[4200];
	void *text = NULL;
	out[0] = '\0';
	if (replica_datadir_file(dir, "listen", path, sizeof(path)) == NULL ||
		thrum_fs_read_file(THRUM_CWD, path, cap - 1, &text, NULL) < 0)
		return;
	memcpy(out, text, strlen(text) + 1);
	out[strcspn(out, "\n")] = '\0';
	free(text);
}

void replica_datadir_save_listen(const struct replica_datadir *dir, const char *address)
{
	char path[4200];
	if (replica_datadir_file(dir, "listen", path, sizeof(path)) == NULL)
		return;
	int r = thrum_fs_replace_file(THRUM_CWD, path, address, strlen(address), 0600);
	if (r < 0)
		thrum__log(THRUM__LOG_WARN, "cannot remember the listen address: %s",
			thrum_strerror(r));
}
