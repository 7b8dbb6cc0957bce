/* SPDX-License-Identifier: MIT */
#include "replica/root.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include <thrum/fs.h>

#include "replica/path.h"
#include "replica/root_internal.h"

/*
 * Replacing a file without ever losing an edit.
 *
 * Problem.  Between the last look at a target and the system call that replaces it, somebody may
 * edit it. A plain rename would destroy that edit, and so would a crash that leaves us not knowing
 * what we hold.
 *
 * Protocol (replace).
 *   1 look: the target is the expected one, else THRUM_ECHANGED
 *   2 give the staged file a *taken name*, which says whose place it takes
 *   3 RENAME_EXCHANGE: target and taken name swap in one step
 *   4 look at what we took out: the expected one is deleted; another is exchanged back
 * Delete is the same with a plain rename into staging; put back with RENAME_NOREPLACE.
 *
 * Taken names:  t<sequence>-<our inode>-<expected inode>-<expected mtime>-<expected size>, all
 * hexadecimal. Invariant [I1]: at every instant a file under a taken name is ours (our inode), or
 * the expected one (old: both may be deleted), or unknown. So after a crash the next open can tell,
 * and keeps the unknown in .replica/lost. Staged files not yet under a taken name are called
 * n<sequence>: always ours.
 *
 * What remains: a program that holds the old file open and goes on writing to it after step 4
 * writes to a deleted file, as with every editor and package manager that replaces by rename.
 */

enum { TAKEN_BYTES = 96, PUT_BACK_TRIES = 8 };

static void staged_name(struct replica_root *root, char out[24])
{
	snprintf(
		out, 24, "n%016" PRIx64, __atomic_fetch_add(&root->next_name, 1, __ATOMIC_RELAXED));
}

static void taken_name(struct replica_root *root, char out[TAKEN_BYTES], uint64_t our_ino,
	const struct replica_stat *expect)
{
	snprintf(out, TAKEN_BYTES, "t%016" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%" PRIx64,
		__atomic_fetch_add(&root->next_name, 1, __ATOMIC_RELAXED), our_ino, expect->ino,
		(uint64_t)expect->mtime_ns, expect->size);
}

/* ---------------------------------------------------------------- staging */

int replica_stage_file(struct replica_root *root, struct replica_staged *out)
{
	staged_name(root, out->name);
	out->fd = openat(root->staging_fd, out->name,
		O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out->fd >= 0)
		return 0;
	int r = replica_last_error();
	out->name[0] = '\0';
	return r;
}

int replica_set_mtime_at(int dirfd, const char *name, int flags, int64_t mtime_ns)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, replica_timespec(mtime_ns)};
	return utimensat(dirfd, name, times, flags) < 0 ? replica_last_error() : 0;
}

int replica_stage_symlink(
	struct replica_root *root, const char *target, int64_t mtime_ns, struct replica_staged *out)
{
	staged_name(root, out->name);
	out->fd = -1;
	int r = symlinkat(target, root->staging_fd, out->name) < 0 ? replica_last_error() : 0;
	if (r < 0) {
		out->name[0] = '\0';
		return r;
	}
	r = replica_set_mtime_at(root->staging_fd, out->name, AT_SYMLINK_NOFOLLOW, mtime_ns);
	if (r < 0)
		replica_staged_discard(root, out);
	return r;
}

int replica_staged_finish(
	struct replica_root *root, struct replica_staged *staged, uint32_t mode, int64_t mtime_ns)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, replica_timespec(mtime_ns)};
	int r = fchmod(staged->fd, mode & 0777) < 0 || futimens(staged->fd, times) < 0
			? replica_last_error()
			: 0;
	if (close(staged->fd) < 0 && r == 0 && replica_last_error() != -EINTR)
		r = replica_last_error();
	staged->fd = -1;
	return r;
}

void replica_staged_discard(struct replica_root *root, struct replica_staged *staged)
{
	if (staged->name[0] == '\0')
		return;
	if (staged->fd >= 0)
		close(staged->fd);
	unlinkat(root->staging_fd, staged->name, 0);
	staged->fd = -1;
	staged->name[0] = '\0';
}

int replica_root_sync(const struct replica_root *root)
{
	return thrum_file_syncfs(root->fd);
}

/* True if the file under a taken name is ours or the expected one [I1]. */
static bool taken_is_known(const char *name, const struct replica_stat *st)
{
	uint64_t sequence, ours, ino, mtime, size;
	if (sscanf(name, "t%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64,
		    &sequence, &ours, &ino, &mtime, &size) != 5)
		return false;
	return st->ino == ours ||
	       (st->ino == ino && (uint64_t)st->mtime_ns == mtime && st->size == size);
}

static int keep_lost(struct replica_root *root, const char *name)
{
	if (mkdirat(root->meta_fd, "lost", 0700) < 0 && replica_last_error() != -EEXIST)
		return replica_last_error();
	int lost = openat(root->meta_fd, "lost", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (lost < 0)
		return replica_last_error();
	int r = renameat2(root->staging_fd, name, lost, name, RENAME_NOREPLACE) < 0
			? replica_last_error()
			: 0;
	close(lost);
	if (r == 0)
		thrum__log(THRUM__LOG_WARN,
			"%s: a crash interrupted the replacement of a file that had just been "
			"edited; the edit is "
			"kept as " REPLICA_RESERVED "/lost/%s",
			root->dir, name);
	return r;
}

int replica_staging_clean(struct replica_root *root)
{
	struct thrum_dir *dir;
	struct thrum_dir_entry entry;
	int r = thrum_dir_open(&dir, root->staging_fd, ".");
	if (r < 0)
		return r;
	while ((r = thrum_dir_next(dir, &entry)) > 0) {
		const char *name = entry.name;
		struct replica_stat st;
		if (name[0] == 't' && replica_stat_at(root->staging_fd, name, &st) == 0 &&
			!taken_is_known(name, &st))
			r = keep_lost(root, name);
		else if ((name[0] == 'n' || name[0] == 't') &&
			 unlinkat(root->staging_fd, name, 0) < 0)
			r = replica_last_error();
		if (r < 0)
			break;
	}
	thrum_dir_close(dir);
	return r;
}

/* ---------------------------------------------------------------- install and delete */

void replica_root_settle(struct replica_root *root, int dirfd, const char *base,
	const struct replica_stat *was, struct replica_stat *out)
{
	replica_root_gap(root);
	if (replica_stat_at(dirfd, base, out) < 0 || !replica_stat_same(out, was))
		*out = *was;
}

/* Keeps an edit that has no name to go back to, because yet another file took it. */
static void rescue(struct replica_root *root, const char *taken, int dirfd, const char *base)
{
	char name[256];
	int r = replica_rename_aside(root->staging_fd, taken, dirfd, base, "local", name);
	if (r == 0)
		thrum__log(THRUM__LOG_WARN,
			"%s: kept an edit of %s made during a replacement as %s", root->dir, base,
			name);
	else
		thrum__log(THRUM__LOG_ERROR, "%s: an edit of %s is left as %s/tmp/%s: %s",
			root->dir, base, REPLICA_RESERVED, taken, thrum_strerror(r));
}

/*
 * Undoes an exchange that took out an unexpected file. Each turn puts the unexpected one back; if
 * somebody replaced our new file in between, his is what comes out, and goes back in turn as the
 * later edit; the earlier one is kept aside.
 */
static void put_back(
	struct replica_root *root, const char *taken, uint64_t our_ino, int dirfd, const char *base)
{
	struct replica_stat st;
	for (int i = 0; i < PUT_BACK_TRIES; i++) {
		if (renameat2(root->staging_fd, taken, dirfd, base, RENAME_EXCHANGE) == 0) {
			if (replica_stat_at(root->staging_fd, taken, &st) < 0 || st.ino == our_ino)
				return;
			/* Later than what we just put back: let it have the name. */
			if (renameat2(root->staging_fd, taken, dirfd, base, RENAME_EXCHANGE) == 0)
				break;
		} else if (replica_rename_new(root->staging_fd, taken, dirfd, base) == 0) {
			return;
		}
	}
	rescue(root, taken, dirfd, base);
}

/* New content keeps the owner of the file it replaces, where the daemon may give files away. */
static void keep_owner(struct replica_root *root, const char *name, int dirfd, const char *base)
{
	struct stat st;
	if (geteuid() != 0 || fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if ((st.st_uid | st.st_gid) != 0 &&
		fchownat(root->staging_fd, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		thrum__log(THRUM__LOG_WARN, "%s: cannot keep the owner of %s", root->dir, base);
}

static int replace(struct replica_root *root, const char *name, uint64_t our_ino, int dirfd,
	const char *base, const struct replica_stat *expect)
{
	char taken[TAKEN_BYTES];
	struct replica_stat st;
	taken_name(root, taken, our_ino, expect);
	if (renameat(root->staging_fd, name, root->staging_fd, taken) < 0)
		return replica_last_error();
	replica_root_gap(root);
	int r = 0;
	if (renameat2(root->staging_fd, taken, dirfd, base, RENAME_EXCHANGE) < 0) {
		r = replica_last_error() == -ENOENT ? THRUM_ECHANGED : replica_last_error();
	} else {
		r = replica_stat_at(root->staging_fd, taken, &st);
		if (r == 0 && replica_stat_same(&st, expect)) {
			unlinkat(root->staging_fd, taken, 0);
			return 0;
		}
		put_back(root, taken, our_ino, dirfd, base);
		r = THRUM_ECHANGED;
	}
	/* Ours again, unless somebody replaced it while it was installed for a moment. */
	if (replica_stat_at(root->staging_fd, taken, &st) == 0 && st.ino == our_ino)
		renameat(root->staging_fd, taken, root->staging_fd, name);
	return r;
}

bool replica_stat_is_leaf(const struct replica_stat *st)
{
	return st->type == REPLICA_DISK_FILE || st->type == REPLICA_DISK_SYMLINK;
}

static int install_at(struct replica_root *root, struct replica_staged *staged, int dirfd,
	const char *base, const struct replica_stat *expect, struct replica_stat *out)
{
	struct replica_stat was, now;
	int r = replica_stat_at(dirfd, base, &now);
	if (r < 0)
		return r;
	if (!replica_stat_equal(&now, expect))
		return THRUM_ECHANGED;
	if (expect->type != REPLICA_DISK_ABSENT)
		keep_owner(root, staged->name, dirfd, base);
	r = replica_stat_at(root->staging_fd, staged->name, &was);
	if (r < 0)
		return r;
	if (expect->type == REPLICA_DISK_ABSENT) {
		replica_root_gap(root);
		r = replica_rename_new(root->staging_fd, staged->name, dirfd, base);
	} else {
		r = replace(root, staged->name, was.ino, dirfd, base, expect);
	}
	if (r == 0) {
		staged->name[0] = '\0';
		replica_root_settle(root, dirfd, base, &was, out);
	}
	return r;
}

int replica_root_install(struct replica_root *root, struct replica_staged *staged, const char *path,
	const struct replica_stat *expect, struct replica_stat *out)
{
	const char *base;
	if (staged->name[0] == '\0' ||
		(expect->type != REPLICA_DISK_ABSENT && !replica_stat_is_leaf(expect)))
		return -EINVAL;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd < 0)
		return dirfd;
	int r = install_at(root, staged, dirfd, base, expect, out);
	close(dirfd);
	return r;
}

static int delete_at(
	struct replica_root *root, int dirfd, const char *base, const struct replica_stat *expect)
{
	char taken[TAKEN_BYTES];
	struct replica_stat st;
	int r = replica_stat_at(dirfd, base, &st);
	if (r < 0 || st.type == REPLICA_DISK_ABSENT)
		return r;
	if (!replica_stat_equal(&st, expect))
		return THRUM_ECHANGED;
	taken_name(root, taken, 0, expect);
	replica_root_gap(root);
	if (renameat2(dirfd, base, root->staging_fd, taken, RENAME_NOREPLACE) < 0)
		return replica_last_error() == -ENOENT ? 0 : replica_last_error();
	r = replica_stat_at(root->staging_fd, taken, &st);
	if (r == 0 && replica_stat_same(&st, expect))
		return unlinkat(root->staging_fd, taken, 0) < 0 ? replica_last_error() : 0;
	if (replica_rename_new(root->staging_fd, taken, dirfd, base) < 0)
		rescue(root, taken, dirfd, base);
	return THRUM_ECHANGED;
}

int replica_root_delete(
	struct replica_root *root, const char *path, const struct replica_stat *expect)
{
	const char *base;
	if (!replica_stat_is_leaf(expect))
		return -EINVAL;
	int dirfd = replica_root_parent(root, path, &base);
	if (dirfd < 0)
		return dirfd == -ENOENT ? 0 : dirfd;
	int r = delete_at(root, dirfd, base, expect);
	close(dirfd);
	return r;
}
