/* SPDX-License-Identifier: MIT */
#include "replica/watch_internal.h"

#include <errno.h>
#include <unistd.h>

#include "replica/path.h"

/*
 * Two green threads.
 *
 *   reader   waits for inotify, turns events into marks
 *   scanner  waits for marks, lets them settle, scans them as one batch
 *
 * A mark is *soon* (a change that seems finished) or *later* (a file that is open for writing, or
 * that changed while it was scanned). Soon: scanned when nothing has come for a few milliseconds
 * (QUIET_…), at most 200 ms after the first. Later: half a second after the first. A failed batch
 * is marked again, as the whole share, for a second later.
 */

enum {
	PATIENCE_MS = 200,
	LATER_MS = 500,
	RETRY_MS = 1000,
	MARKS_MAX = 65536, /* paths; more at once are cheaper to find by scanning all */
	COMPACT_MIN = 4096,
};

/* ---------------------------------------------------------------- marks */

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct replica_scan_item *)a)->path,
		((const struct replica_scan_item *)b)->path);
}

void replica_marks_clear(struct marks *marks)
{
	for (size_t i = 0; i < marks->count; i++)
		free((char *)marks->items[i].path);
	free(marks->items);
	*marks = (struct marks){0};
}

void replica_marks_settle(struct marks *marks)
{
	size_t kept = 0;
	if (marks->count > 1)
		qsort(marks->items, marks->count, sizeof(*marks->items), by_path);
	/* A path's equals follow it at once; what lies below it may come after others ("a", "a!",
	 * "a/b"): that is only scanned twice, which is no harm. */
	for (size_t i = 0; i < marks->count; i++) {
		struct replica_scan_item *item = &marks->items[i];
		struct replica_scan_item *last = kept > 0 ? &marks->items[kept - 1] : NULL;
		if (last != NULL &&
			(strcmp(last->path, item->path) == 0 ||
				(last->deep && replica_path_within(item->path, last->path)))) {
			last->deep |= item->deep && strcmp(last->path, item->path) == 0;
			free((char *)item->path);
			continue;
		}
		marks->items[kept++] = *item;
	}
	marks->count = kept;
}

static bool marks_grow(struct marks *marks)
{
	if (marks->count >= COMPACT_MIN)
		replica_marks_settle(marks);
	if (marks->count < marks->cap - marks->cap / 4)
		return true;
	size_t cap = marks->cap ? 2 * marks->cap : 64;
	struct replica_scan_item *grown =
		cap > MARKS_MAX ? NULL : realloc(marks->items, cap * sizeof(*grown));
	if (grown == NULL)
		return false;
	marks->items = grown;
	marks->cap = cap;
	return true;
}

void replica_marks_add(struct marks *marks, const char *path, bool deep, int quiet_ms)
{
	int64_t now = thrum_now();
	if (marks->first_ns == 0)
		marks->first_ns = now;
	if (now + quiet_ms * THRUM_MS > marks->quiet_ns)
		marks->quiet_ns = now + quiet_ms * THRUM_MS;
	if (marks->all || (deep && path[0] == '\0')) {
		marks->all = true;
		return;
	}
	/* Bursts on one name are the common case. */
	struct replica_scan_item *last = marks->count > 0 ? &marks->items[marks->count - 1] : NULL;
	if (last != NULL && last->deep == deep && strcmp(last->path, path) == 0)
		return;
	char *copy = strdup(path);
	if (copy == NULL || (marks->count == marks->cap && !marks_grow(marks))) {
		free(copy);
		struct marks all = {
			.all = true, .first_ns = marks->first_ns, .quiet_ns = marks->quiet_ns};
		replica_marks_clear(marks);
		*marks = all;
		return;
	}
	marks->items[marks->count++] = (struct replica_scan_item){.path = copy, .deep = deep};
}

/* Moves all of from into to. */
static void marks_join(struct marks *to, struct marks *from)
{
	for (size_t i = 0; i < from->count; i++)
		replica_marks_add(to, from->items[i].path, from->items[i].deep, 0);
	to->all |= from->all;
	replica_marks_clear(from);
}

/* ---------------------------------------------------------------- the scanner [lock held unless
 * said] */

/* When there is something to do: THRUM_NOW, a time, or THRUM_FOREVER. */
static thrum_deadline due(const struct replica_watch *watch)
{
	const struct marks *soon = &watch->soon, *later = &watch->later;
	thrum_deadline when = THRUM_FOREVER;
	if (watch->asked != watch->served)
		return THRUM_NOW;
	if (soon->first_ns != 0) {
		int64_t patience = soon->first_ns + PATIENCE_MS * THRUM_MS;
		when = soon->quiet_ns < patience ? soon->quiet_ns : patience;
	}
	if (later->first_ns != 0 && later->first_ns + LATER_MS * THRUM_MS < when)
		when = later->first_ns + LATER_MS * THRUM_MS;
	return when;
}

/* Waits until a batch is due and takes it. 0, or -ECANCELED. */
static int take_batch(
	struct replica_watch *watch, struct marks *batch, struct marks *moved, uint64_t *asked)
{
	for (;;) {
		if (watch->stopping)
			return -ECANCELED;
		thrum_deadline when = due(watch);
		if (when <= thrum_now())
			break;
		int r = thrum_cond_wait(&watch->changed, &watch->lock, when);
		if (r < 0 && r != -ETIMEDOUT)
			return r;
	}
	*batch = watch->soon;
	*moved = watch->moved;
	*asked = watch->asked;
	watch->soon = watch->moved = (struct marks){0};
	/* A drain wants everything; else only what has waited long enough. */
	if (watch->asked != watch->served ||
		(watch->later.first_ns != 0 &&
			watch->later.first_ns + LATER_MS * THRUM_MS <= thrum_now()))
		marks_join(batch, &watch->later);
	return 0;
}

/* Scans a batch. Without the lock. */
static int scan_batch(struct replica_watch *watch, struct marks *batch)
{
	if (batch->all) {
		/* It tries every watch again: the limit may have been raised. */
		replica_watch_lock(watch);
		watch->stats.limited = false;
		thrum_mutex_unlock(&watch->lock);
		return replica_scan_all(watch->scan);
	}
	replica_marks_settle(batch);
	return replica_scan_items(watch->scan, batch->items, batch->count);
}

static void finish_batch(
	struct replica_watch *watch, struct marks *moved, uint64_t asked, int result)
{
	if (result == 0)
		replica_notify_prune(watch, moved);
	else if (result != -ECANCELED) {
		/* Nothing is forgotten: what this batch was about is found by a full scan, a while
		 * later. */
		replica_marks_add(&watch->later, "", true, 0);
		watch->later.first_ns = thrum_now() + (RETRY_MS - LATER_MS) * THRUM_MS;
	}
	watch->stats.scans++;
	watch->served = asked;
	watch->result = result;
	thrum_cond_broadcast(&watch->changed);
}

static void *scanner(void *arg)
{
	struct replica_watch *watch = arg;
	int result = 0;
	replica_watch_lock(watch);
	while (result != -ECANCELED) {
		struct marks batch, moved;
		uint64_t asked;
		if (take_batch(watch, &batch, &moved, &asked) < 0)
			break;
		thrum_mutex_unlock(&watch->lock);
		result = scan_batch(watch, &batch);
		replica_marks_clear(&batch);
		replica_watch_lock(watch);
		finish_batch(watch, &moved, asked, result);
		replica_marks_clear(&moved);
		if (watch->settled == NULL)
			continue;
		thrum_mutex_unlock(&watch->lock);
		watch->settled(watch->arg, result);
		replica_watch_lock(watch);
	}
	watch->ended = true;
	thrum_cond_broadcast(&watch->changed);
	thrum_mutex_unlock(&watch->lock);
	return NULL;
}

static void *reader(void *arg)
{
	struct replica_watch *watch = arg;
	int r = 0;
	while (r == 0) {
		r = thrum_poll_wait(watch->poll, THRUM_READABLE, THRUM_FOREVER);
		if (r == 0)
			r = replica_notify_read(watch);
	}
	if (r != -ECANCELED)
		thrum__log(THRUM__LOG_ERROR,
			"%s: watching ended: %s; changes are found by the periodic scan only",
			watch->scan->root->dir, thrum_strerror(r));
	return NULL;
}

/* ---------------------------------------------------------------- life */

int replica_watch_start(struct replica_watch **out, struct replica_scan *scan,
	void (*settled)(void *arg, int result), void *arg)
{
	struct replica_watch *watch = calloc(1, sizeof(*watch));
	if (watch == NULL)
		return -ENOMEM;
	watch->scan = scan;
	watch->settled = settled;
	watch->arg = arg;
	int r = replica_notify_open(watch);
	if (r < 0)
		goto stop;
	scan->watch = watch;
	scan->enter_dir = replica_notify_enter_dir;
	scan->dirty = replica_notify_dirty;
	/* The reader runs from the beginning, lest the kernel's queue overflows during a long first
	 * scan. */
	r = thrum_spawn(&watch->reader, reader, watch);
	if (r == 0)
		r = replica_scan_all(scan);
	if (r == 0)
		r = thrum_spawn(&watch->scanner, scanner, watch);
	if (r < 0)
		goto stop;
	*out = watch;
	return 0;
stop:
	replica_watch_stop(watch);
	return r;
}

static void end_thread(struct thrum_thread *thread)
{
	if (thread == NULL)
		return;
	thrum_cancel(thread);
	int r = thrum_join(thread, NULL, THRUM_FOREVER);
	CHECK(r == 0);
}

void replica_watch_stop(struct replica_watch *watch)
{
	if (watch == NULL)
		return;
	replica_watch_lock(watch);
	watch->stopping = true;
	thrum_cond_broadcast(&watch->changed);
	thrum_mutex_unlock(&watch->lock);
	thrum_shield_begin();
	end_thread(watch->scanner);
	end_thread(watch->reader);
	thrum_shield_end();
	watch->scan->watch = NULL;
	watch->scan->enter_dir = NULL;
	watch->scan->dirty = NULL;
	thrum_poll_close(watch->poll);
	if (watch->fd >= 0)
		close(watch->fd);
	replica_marks_clear(&watch->soon);
	replica_marks_clear(&watch->later);
	replica_marks_clear(&watch->moved);
	replica_watch_map_fini(&watch->map);
	free(watch);
}

int replica_watch_drain(struct replica_watch *watch, thrum_deadline deadline)
{
	/* The kernel queues an event before the change's system call returns: what is to be known
	 * lies there by now. */
	int r = replica_notify_read(watch);
	if (r < 0)
		return r;
	replica_watch_lock(watch);
	uint64_t ticket = ++watch->asked;
	thrum_cond_broadcast(&watch->changed);
	while (r == 0 && watch->served < ticket && !watch->ended)
		r = thrum_cond_wait(&watch->changed, &watch->lock, deadline);
	if (watch->served >= ticket)
		r = watch->result;
	else if (r == 0)
		r = THRUM_ECLOSED;
	thrum_mutex_unlock(&watch->lock);
	return r;
}

void replica_watch_mark(struct replica_watch *watch, const char *path, bool all)
{
	replica_watch_lock(watch);
	replica_marks_add(&watch->soon, path, all, 0);
	thrum_cond_broadcast(&watch->changed);
	thrum_mutex_unlock(&watch->lock);
}

void replica_watch_stats(struct replica_watch *watch, struct replica_watch_stats *out)
{
	replica_watch_lock(watch);
	*out = watch->stats;
	thrum_mutex_unlock(&watch->lock);
}
