/* SPDX-License-Identifier: MIT */
#include "replica/watch_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <thrum/fs.h>

#include "replica/path.h"
#include "replica/root_internal.h"

/*
 * inotify. A watch sticks to a directory, not to its path, so a rename leaves the map's path behind
 * the truth. That is mended by scanning: the new name is scanned deep, which enters every directory
 * below it and gets the same descriptors with the new paths. Until then an event may name the old
 * path: a scan of it finds what is there, that is nothing, and does no harm.
 */

enum {
	EVENTS = IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM |
		 IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF,
	READ_BYTES = 64 * 1024,
};

int replica_notify_open(struct replica_watch *watch)
{
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd < 0)
		return replica_last_error();
	return thrum_poll_open(&watch->poll, watch->fd);
}

/* ---------------------------------------------------------------- placing watches */

static void tell_limit(struct replica_watch *watch, const char *path)
{
	watch->stats.limited = true;
	if (watch->told_limit)
		return;
	watch->told_limit = true;
	thrum__log(THRUM__LOG_WARN,
		"%s: cannot watch %s: the limit of inotify watches is reached; changes there are "
		"found by the "
		"periodic scan only (raise sysctl fs.inotify.max_user_watches)",
		watch->scan->root->dir, path[0] ? path : "the root");
}

void replica_notify_enter_dir(void *arg, const char *path, int dirfd)
{
	struct replica_watch *watch = arg;
	char link[40];
	/* By descriptor: the directory that is about to be listed, whatever its name names by now.
	 */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	replica_watch_lock(watch);
	int wd = inotify_add_watch(watch->fd, link, EVENTS | IN_ONLYDIR | IN_EXCL_UNLINK);
	int r = wd < 0 ? replica_last_error() : replica_watch_map_put(&watch->map, wd, path);
	watch->stats.watches = watch->map.count;
	if (r == -ENOSPC)
		tell_limit(watch, path);
	else if (r < 0 && r != -ENOENT) {
		watch->stats.limited = true;
		thrum__log(THRUM__LOG_WARN, "%s: cannot watch %s: %s", watch->scan->root->dir, path,
			thrum_strerror(r));
	}
	thrum_mutex_unlock(&watch->lock);
}

void replica_notify_dirty(void *arg, const char *path)
{
	struct replica_watch *watch = arg;
	replica_watch_lock(watch);
	replica_marks_add(&watch->later, path, false, 0);
	thrum_cond_broadcast(&watch->changed);
	thrum_mutex_unlock(&watch->lock);
}

void replica_notify_prune(struct replica_watch *watch, struct marks *moved)
{
	for (size_t m = 0; m < moved->count; m++) {
		struct replica_stat st;
		/* A directory stands there again: what is watched there was just entered anew. */
		if (replica_root_stat(watch->scan->root, moved->items[m].path, &st) < 0 ||
			st.type == REPLICA_DISK_DIR)
			continue;
		for (size_t i = 0; i < watch->map.cap; i++) {
			struct replica_watch_slot *slot = &watch->map.slots[i];
			if (slot->wd <= 0 || !replica_path_within(slot->path, moved->items[m].path))
				continue;
			inotify_rm_watch(watch->fd, slot->wd);
			replica_watch_map_remove(&watch->map, slot->wd);
		}
	}
	watch->stats.watches = watch->map.count;
}

/* ---------------------------------------------------------------- events [lock held] */

static void root_event(struct replica_watch *watch, uint32_t mask)
{
	if (mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
		watch->stats.gone = true;
	if (mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_ATTRIB))
		replica_marks_add(&watch->soon, "", false, QUIET_DONE);
}

/*
 * A file that is open for writing will be closed, or go on for hours; what is created without being
 * opened (a symlink, say) is finished.
 */
static bool still_written(struct replica_watch *watch, const char *path, uint32_t mask)
{
	struct replica_stat st;
	if (mask & IN_MODIFY)
		return true;
	return (mask & IN_CREATE) && replica_root_stat(watch->scan->root, path, &st) == 0 &&
	       st.type == REPLICA_DISK_FILE;
}

static void named_event(
	struct replica_watch *watch, const char *dir, const char *name, uint32_t mask)
{
	char path[REPLICA_PATH_MAX + 1];
	bool gone = mask & (IN_DELETE | IN_MOVED_FROM);
	if (dir[0] == '\0' && strcmp(name, REPLICA_RESERVED) == 0) {
		/* Its marker may have gone with it. */
		if (gone)
			replica_marks_add(&watch->soon, "", false, QUIET_DONE);
		return;
	}
	if (replica_path_join(path, sizeof(path), dir, name) < 0)
		return; /* beyond what the index holds */
	bool directory = mask & IN_ISDIR;
	if (directory && (mask & IN_MOVED_FROM))
		replica_marks_add(&watch->moved, path, false, 0);
	if (!directory && still_written(watch, path, mask))
		replica_marks_add(&watch->later, path, false, 0);
	else
		replica_marks_add(&watch->soon, path,
			directory && (mask & (IN_CREATE | IN_MOVED_TO)),
			gone ? QUIET_GONE : QUIET_DONE);
}

static void digest(struct replica_watch *watch, const struct inotify_event *event)
{
	watch->stats.events++;
	if (event->mask & IN_Q_OVERFLOW) {
		watch->stats.overflows++;
		replica_marks_add(&watch->soon, "", true, QUIET_DONE);
		thrum__log(THRUM__LOG_WARN,
			"%s: more changes at once than inotify's queue holds; scanning the whole "
			"share (raise sysctl "
			"fs.inotify.max_queued_events if this happens often)",
			watch->scan->root->dir);
		return;
	}
	const char *dir = replica_watch_map_get(&watch->map, event->wd);
	if (dir == NULL)
		return; /* of a watch that was removed meanwhile */
	if (event->len > 0)
		named_event(watch, dir, event->name, event->mask);
	else if (dir[0] == '\0')
		root_event(watch, event->mask);
	if (event->mask & IN_IGNORED) {
		replica_watch_map_remove(&watch->map, event->wd);
		watch->stats.watches = watch->map.count;
	}
}

static void digest_all(struct replica_watch *watch, const char *bytes, size_t len)
{
	/* The kernel hands out whole events. */
	for (size_t at = 0; at + sizeof(struct inotify_event) <= len;) {
		struct inotify_event event;
		memcpy(&event, bytes + at, sizeof(event));
		digest(watch, (const struct inotify_event *)(const void *)(bytes + at));
		at += sizeof(event) + event.len;
	}
}

int replica_notify_read(struct replica_watch *watch)
{
	char *buf = aligned_alloc(_Alignof(struct inotify_event), READ_BYTES);
	if (buf == NULL)
		return -ENOMEM;
	int r = thrum_mutex_lock(&watch->reading, THRUM_FOREVER);
	if (r < 0) {
		free(buf);
		return r;
	}
	for (;;) {
		ssize_t n = read(watch->fd, buf, READ_BYTES);
		r = n < 0 ? replica_last_error() : 0;
		if (r == -EINTR)
			continue;
		if (n <= 0)
			break;
		replica_watch_lock(watch);
		digest_all(watch, buf, (size_t)n);
		thrum_cond_broadcast(&watch->changed);
		thrum_mutex_unlock(&watch->lock);
	}
	thrum_mutex_unlock(&watch->reading);
	free(buf);
	return r == -EAGAIN ? 0 : r;
}
