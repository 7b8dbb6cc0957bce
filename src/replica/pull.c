/* SPDX-License-Identifier: MIT */
#include "replica/batch.h"
#include "replica/source.h"

#include <errno.h>
#include <stdio.h>

/*
 * A pull walks the source's tree where it is ahead of ours. One green thread visits a directory: it
 * lists it at the source, lets the tree decide every leaf (tree.h), starts one green thread per
 * leaf that needs content or the disk, visits the directories below, waits for all of them and
 * closes the visit. What a parent starts it waits for; a cancellation goes down, never past.
 *
 *   visit(dir) ── leaf ── fetch into staging ──┐
 *       │    └─── leaf ── fetch into staging ──┼──► batch: install, index, flush
 *       ├── visit(subdir) ── …                 │
 *       └── close(dir), when all are in ───────┘
 *
 * Bounds: LISTS calls and FETCHES transfers at once, LEAVES leaves between decision and commit,
 * DIRS green threads for directories (beyond it a directory is visited by its parent's, at most
 * INLINE deep: then on a stack of its own again, for which its parent waits).
 *
 * One leaf's failure is noted and the others go on. A failure of the connection, the index or the
 * root ends the pull; what was committed stays: each leaf is complete in itself.
 */

enum { LISTS = 8, FETCHES = 16, LEAVES = 2048, DIRS = 64, INLINE = 32 };

struct pull {
	struct replica_folder *folder;
	struct replica_link *link;
	struct replica_source source;
	const struct replica_pull_options *options;
	struct replica_batch batch;
	struct thrum_semaphore lists, fetches, leaves, dirs;

	/* atomic */
	int broken; /* the first code that ended the pull; 0 while it goes on */
	uint64_t files, errors, conflicts;
	uint32_t retry;
};

/* One task of a visit on its way, in a green thread or in the visiting one. */
struct work {
	struct pull *pull;
	struct replica_visit *visit;
	const struct replica_vt *their_s; /* the source's, of the visited directory */
	size_t task;
	struct replica_op *queued;   /* a directory's marker: it goes ahead of what is in it */
	unsigned depth;              /* visits on this stack above the one that this is of */
	struct thrum_thread *thread; /* NULL: not started, or joined */
	bool permit_leaf, permit_dir;
	bool own_stack; /* of a directory: it is visited by a green thread of its own */
	bool touched;   /* the disk changed in the visited directory */
};

static int visit_dir(struct pull *pull, const char *dir, struct replica_listing *listing,
	const struct replica_visit *parent, unsigned depth, bool *touched);

static int broken(struct pull *pull)
{
	return __atomic_load_n(&pull->broken, __ATOMIC_RELAXED);
}

static void break_off(struct pull *pull, int code)
{
	int none = 0;
	__atomic_compare_exchange_n(
		&pull->broken, &none, code, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* ---------------------------------------------------------------- what goes wrong */

/* Notes a leaf's failure: something changed, the pull is over, or an error to show. */
static void leaf_failed(struct pull *pull, const struct replica_task *task, int r)
{
	struct replica_folder *folder = pull->folder;
	struct replica_daemon *daemon = folder->daemon;
	char text[REPLICA_ERROR_TEXT_MAX];
	if (r == THRUM_ECHANGED || r == -EEXIST) {
		__atomic_store_n(&pull->retry, 1, __ATOMIC_RELAXED);
		replica_watch_mark(folder->watch, task->path, false);
		return;
	}
	if (r == -ECANCELED || r == -ENXIO || r == -ENOMEM ||
		!rpc_client_alive(pull->source.channel->client)) {
		break_off(pull, r);
		return;
	}
	if (r == -ENOSPC || r == -EDQUOT)
		snprintf(text, sizeof(text), "no room for the version of %s: %s; free some space",
			replica_link_name(pull->link), thrum_strerror(r));
	else
		snprintf(text, sizeof(text), "cannot take the version of %s: %s",
			replica_link_name(pull->link), thrum_strerror(r));
	__atomic_fetch_add(&pull->errors, 1, __ATOMIC_RELAXED);
	replica_lock(daemon);
	int noted = replica_index_begin(daemon->index);
	if (noted == 0) {
		noted = replica_index_error_set(daemon->index, folder->id, task->path, text);
		noted = replica_end(daemon, noted);
	}
	replica_unlock(daemon);
	thrum__log(THRUM__LOG_WARN, "share %s: %s: %s", folder->name, task->path, text);
	replica_events_publish(&daemon->events, REPLICA_EVENT_ERROR, folder->name, task->path,
		replica_link_name(pull->link), "%s", text);
}

/* ---------------------------------------------------------------- leaves */

static bool is_marker(const struct replica_task *task)
{
	return strcmp(task->name, REPLICA_DIRMARK_NAME) == 0;
}

static void count_bytes(void *arg, uint64_t bytes)
{
	struct pull *pull = arg;
	__atomic_fetch_add(&pull->folder->progress.bytes_done, bytes, __ATOMIC_RELAXED);
}

/* Gets the content of a leaf into staging. */
static int stage(struct pull *pull, const struct replica_task *task, struct replica_staged *staged)
{
	struct replica_root *root = pull->folder->root;
	const struct replica_version *theirs = &task->theirs->version;
	if (theirs->state == REPLICA_SYMLINK)
		return replica_stage_symlink(root, theirs->target, theirs->mtime_ns, staged);

	struct replica_fetch want = {
		.basis = task->mine.version.state == REPLICA_FILE ? task->path : NULL,
		.size = theirs->size,
		.hash = theirs->hash,
		.progress = count_bytes,
		.progress_arg = pull,
	};
	struct replica_transfer_stats stats = {0};
	int r = thrum_semaphore_acquire(&pull->fetches, THRUM_FOREVER);
	if (r < 0)
		return r;
	r = replica_source_fetch(&pull->source, task->path, &want, staged, &stats);
	thrum_semaphore_release(&pull->fetches, 1);
	if (r < 0)
		return r;
	r = replica_staged_finish(root, staged, theirs->mode, theirs->mtime_ns);
	if (r < 0)
		replica_staged_discard(root, staged);
	return r;
}

/* Stages what a leaf needs and commits it. op is filled. */
static int stage_and_commit(struct work *work, struct replica_op *op)
{
	struct pull *pull = work->pull;
	const struct replica_task *task = &work->visit->tasks[work->task];
	struct replica_staged staged = {.fd = -1};
	int r = broken(pull);
	if (r < 0)
		return r;
	replica_batch_announce(&pull->batch, 1);
	if (task->action == REPLICA_DO_INSTALL && !is_marker(task) &&
		!replica_version_same_content(&task->theirs->version, &task->mine.version)) {
		r = stage(pull, task, &staged);
		op->staged = &staged;
	}
	replica_batch_announce(&pull->batch, -1);
	if (r == 0)
		r = replica_batch_commit(&pull->batch, op);
	if (op->staged != NULL)
		replica_staged_discard(pull->folder->root, &staged);
	return r;
}

static void pull_leaf(struct work *work)
{
	struct pull *pull = work->pull;
	struct replica_folder *folder = pull->folder;
	struct replica_task *task = &work->visit->tasks[work->task];
	struct replica_op op = {.visit = work->visit, .task = work->task, .their_s = work->their_s};
	int r;
	if (work->queued != NULL) {
		r = replica_batch_wait(work->queued);
		op = *work->queued;
		free(work->queued);
	} else {
		r = stage_and_commit(work, &op);
	}
	__atomic_fetch_add(&folder->progress.files_done, 1, __ATOMIC_RELAXED);
	if (r < 0) {
		if (broken(pull) == 0)
			leaf_failed(pull, task, r);
		return;
	}
	if (!op.applied)
		return;
	/* The batch may have decided anew, so this is read only now. */
	bool install = task->action == REPLICA_DO_INSTALL;
	work->touched = true;
	__atomic_fetch_add(&pull->files, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&folder->applied, 1, __ATOMIC_RELAXED);
	replica_events_publish(&folder->daemon->events,
		install ? REPLICA_EVENT_APPLIED : REPLICA_EVENT_DELETED, folder->name,
		is_marker(task) ? work->visit->path : task->path, replica_link_name(pull->link),
		"%s", replica_verdict_reason(task->verdict));
}

/* Queues the making of a directory, so that it comes before whatever of its content is queued
 * later. */
static void queue_marker(struct work *work)
{
	work->queued = malloc(sizeof(*work->queued));
	if (work->queued == NULL)
		return; /* then it is made when its turn comes, or by a file in it */
	*work->queued = (struct replica_op){
		.visit = work->visit, .task = work->task, .their_s = work->their_s};
	replica_batch_put(&work->pull->batch, work->queued);
}

/* ---------------------------------------------------------------- directories below */

static void pull_container(struct work *work)
{
	struct pull *pull = work->pull;
	struct replica_listing listing = {0};
	replica_lock(pull->folder->daemon);
	int r = replica_visit_child_listing(work->visit, work->task, &listing);
	replica_unlock(pull->folder->daemon);
	bool touched = false;
	if (r >= 0)
		r = visit_dir(pull, work->visit->tasks[work->task].path, r == 1 ? &listing : NULL,
			work->visit, work->own_stack ? 0 : work->depth + 1, &touched);
	if (r < 0)
		break_off(pull, r);
	work->touched = touched;
	if (pull->options->plan != NULL)
		return;
	replica_lock(pull->folder->daemon);
	replica_visit_child(work->visit, work->task, r == 1);
	replica_unlock(pull->folder->daemon);
}

static void *do_work(void *arg)
{
	struct work *work = arg;
	if (work->visit->tasks[work->task].kind == REPLICA_CONTAINER)
		pull_container(work);
	else
		pull_leaf(work);
	if (work->permit_leaf)
		thrum_semaphore_release(&work->pull->leaves, 1);
	if (work->permit_dir)
		thrum_semaphore_release(&work->pull->dirs, 1);
	return NULL;
}

/* Waits for everything started so far. A cancellation is handed down first. */
static void join_all(struct pull *pull, struct work *works, size_t count)
{
	bool canceled = false;
	for (size_t i = 0; i < count; i++) {
		if (works[i].thread == NULL)
			continue;
		int r = canceled ? -ECANCELED : thrum_join(works[i].thread, NULL, THRUM_FOREVER);
		if (r < 0) {
			if (!canceled) {
				canceled = true;
				break_off(pull, -ECANCELED);
				for (size_t k = i; k < count; k++)
					if (works[k].thread != NULL)
						thrum_cancel(works[k].thread);
			}
			thrum_shield_begin();
			CHECK(thrum_join(works[i].thread, NULL, THRUM_FOREVER) == 0);
			thrum_shield_end();
		}
		works[i].thread = NULL;
	}
}

/* A directory: beside this one; or here; or, where this stack has come far, on another meanwhile.
 */
static void start_container(struct work *work)
{
	struct pull *pull = work->pull;
	work->permit_dir = thrum_semaphore_acquire(&pull->dirs, THRUM_NOW) == 0;
	if (!work->permit_dir && work->depth < INLINE) {
		do_work(work);
		return;
	}
	work->own_stack = true;
	int r = thrum_spawn(&work->thread, do_work, work);
	if (r < 0)
		break_off(pull, r);
	else if (!work->permit_dir)
		join_all(pull, work, 1);
}

/* Starts one task, or does it here if no more green threads are wanted. */
static void start(struct work *work)
{
	struct pull *pull = work->pull;
	if (work->visit->tasks[work->task].kind == REPLICA_CONTAINER) {
		start_container(work);
		return;
	}
	int r = thrum_semaphore_acquire(&pull->leaves, THRUM_FOREVER);
	if (r < 0) {
		break_off(pull, r);
		if (work->queued != NULL)
			(void)replica_batch_wait(work->queued); /* it is of a visit that ends now */
		free(work->queued);
		return;
	}
	work->permit_leaf = true;
	if (thrum_spawn(&work->thread, do_work, work) < 0)
		do_work(work);
}

/* ---------------------------------------------------------------- visits */

static void plan_task(struct pull *pull, const struct replica_task *task)
{
	if (task->action != REPLICA_DO_NONE && task->action != REPLICA_DO_IGNORE)
		pull->options->plan(pull->options->plan_arg, task->path, task->verdict);
}

/* True if a task is something to start. */
static bool wanted(const struct replica_task *task)
{
	if (task->kind == REPLICA_CONTAINER)
		return !task->pruned;
	return task->action == REPLICA_DO_INSTALL || task->action == REPLICA_DO_DELETE;
}

static void count_ahead(struct pull *pull, const struct replica_visit *visit)
{
	struct replica_progress *progress = &pull->folder->progress;
	for (size_t i = 0; i < visit->count; i++) {
		const struct replica_task *task = &visit->tasks[i];
		if (task->kind == REPLICA_CONTAINER || !wanted(task))
			continue;
		__atomic_fetch_add(&progress->files_total, 1, __ATOMIC_RELAXED);
		if (task->action == REPLICA_DO_INSTALL &&
			task->theirs->version.state == REPLICA_FILE &&
			!replica_version_same_content(&task->theirs->version, &task->mine.version))
			__atomic_fetch_add(&progress->bytes_total, task->theirs->version.size,
				__ATOMIC_RELAXED);
	}
}

/* Does every task of a visit, in its order where that matters. */
static void run_tasks(struct pull *pull, struct replica_visit *visit,
	const struct replica_vt *their_s, unsigned depth, struct work *works)
{
	bool dry = pull->options->plan != NULL;
	size_t last = SIZE_MAX; /* the removal of the directory itself */
	size_t joined = 0;      /* everything before is done */
	count_ahead(pull, visit);
	for (size_t i = 0; i < visit->count && broken(pull) == 0; i++) {
		struct replica_task *task = &visit->tasks[i];
		bool marker = is_marker(task);
		works[i] = (struct work){.pull = pull,
			.visit = visit,
			.their_s = their_s,
			.depth = depth,
			.task = i};
		if (task->kind == REPLICA_LEAF && dry) {
			plan_task(pull, task);
			continue;
		}
		if (task->waits && !dry) {
			join_all(pull, works + joined, i - joined);
			joined = i;
			replica_lock(pull->folder->daemon);
			int r = replica_visit_redecide(visit, i);
			replica_unlock(pull->folder->daemon);
			if (r < 0)
				break_off(pull, r);
		}
		if (!wanted(task))
			continue;
		if (marker && task->action == REPLICA_DO_DELETE) {
			last = i;
		} else {
			if (marker && task->action == REPLICA_DO_INSTALL)
				queue_marker(&works[i]);
			start(&works[i]);
		}
	}
	join_all(pull, works + joined, visit->count - joined);
	if (last != SIZE_MAX && broken(pull) == 0)
		do_work(&works[last]);
}

/* Closes a visit through the batch. 1, 0 or an error. */
static int close_visit(struct pull *pull, struct replica_visit *visit, bool touched)
{
	struct replica_op op = {.visit = visit, .task = REPLICA_OP_CLOSE, .touched = touched};
	for (size_t i = 0; i < visit->count; i++)
		if (visit->tasks[i].action == REPLICA_DO_CONFLICT)
			__atomic_fetch_add(&pull->conflicts, 1, __ATOMIC_RELAXED);
	return replica_batch_commit(&pull->batch, &op);
}

static int list_at_source(
	struct pull *pull, const char *dir, const char *only, struct replica_listing *out)
{
	int r = thrum_semaphore_acquire(&pull->lists, THRUM_FOREVER);
	if (r < 0)
		return r;
	r = replica_source_list(&pull->source, dir, only, out);
	thrum_semaphore_release(&pull->lists, 1);
	return r;
}

static int open_visit(struct pull *pull, struct replica_visit *visit, const char *dir,
	struct replica_listing *listing, const struct replica_visit *parent)
{
	struct replica_daemon *daemon = pull->folder->daemon;
	replica_lock(daemon);
	int r = replica_index_begin(daemon->index);
	if (r == 0) {
		r = replica_visit_open(visit, pull->folder->tree, dir, listing, pull->link->peer,
			REPLICA_POLICY_NONE, parent);
		r = replica_end(daemon, r);
	} else {
		replica_listing_fini(listing);
	}
	replica_unlock(daemon);
	return r;
}

/*
 * Visits one directory and all below. listing: NULL, or what the source has of it (taken).
 * Returns 1 (complete), 0 (not), or what ended the pull. touched: the parent's entry of it changed.
 */
static int visit_dir(struct pull *pull, const char *dir, struct replica_listing *listing,
	const struct replica_visit *parent, unsigned depth, bool *touched)
{
	struct replica_listing listed = {0};
	struct replica_visit visit = {0};
	int r = broken(pull);
	if (r == 0 && listing == NULL)
		r = list_at_source(pull, dir, NULL, listing = &listed);
	if (r < 0) {
		if (listing != NULL)
			replica_listing_fini(listing);
		return r;
	}
	struct replica_vt their_s = {0};
	r = replica_vt_copy(&their_s, &listing->s);
	if (r < 0)
		replica_listing_fini(listing);
	else
		r = open_visit(pull, &visit, dir, listing, parent);
	if (r < 0) {
		replica_vt_fini(&their_s);
		return r;
	}

	struct work *works = calloc(visit.count + 1, sizeof(*works));
	bool changed = false;
	if (works == NULL) {
		r = -ENOMEM;
		goto fini;
	}
	if (!visit.pruned)
		run_tasks(pull, &visit, &their_s, depth, works);
	for (size_t i = 0; i < visit.count; i++) {
		changed |= works[i].touched;
		/* A directory that was made or removed changed its parent too. */
		*touched |=
			works[i].touched && strcmp(visit.tasks[i].name, REPLICA_DIRMARK_NAME) == 0;
	}
	r = broken(pull);
	if (r == 0 && pull->options->plan == NULL)
		r = close_visit(pull, &visit, changed);
fini:
	free(works);
	replica_visit_fini(&visit);
	replica_vt_fini(&their_s);
	return r;
}

/* Visits what stands at a path that is not the root: the one name in its directory. */
static int visit_path(struct pull *pull, const char *path)
{
	struct replica_listing listing = {0};
	bool touched = false;
	size_t parent_len;
	const char *name = replica_path_last(path, &parent_len);
	char *parent = strndup(path, parent_len);
	if (parent == NULL)
		return -ENOMEM;
	int r = list_at_source(pull, parent, name, &listing);
	if (r == 0)
		r = visit_dir(pull, parent, &listing, NULL, 0, &touched);
	free(parent);
	return r;
}

/* ---------------------------------------------------------------- the pull */

static int note_error(void *arg, const char *path, const char *text)
{
	*(bool *)arg = true;
	return 1;
}

/* Those who show it do not hold the lock. */
static void clear_progress(struct replica_progress *progress)
{
	__atomic_store_n(&progress->files_done, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&progress->files_total, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&progress->bytes_done, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&progress->bytes_total, 0, __ATOMIC_RELAXED);
}

/* Shows that a pull is under way; counts its progress from zero. */
static void begin(struct pull *pull)
{
	struct replica_folder *folder = pull->folder;
	replica_lock(folder->daemon);
	folder->busy = true;
	clear_progress(&folder->progress);
	(void)replica_index_errors(
		folder->daemon->index, folder->id, note_error, &pull->batch.clear_errors);
	replica_unlock(folder->daemon);
}

/* Errors of earlier pulls, by path, each with its NUL. */
struct stale {
	char from[REPLICA_SHARE_NAME_MAX + 32];
	struct thrum__buf paths;
};

static int take_stale(void *arg, const char *path, const char *text)
{
	struct stale *stale = arg;
	return strstr(text, stale->from) == NULL
		       ? 0
		       : thrum__buf_append(&stale->paths, path, strlen(path) + 1);
}

/*
 * Forgets the errors of earlier pulls from this peer: one that was complete has proved them gone,
 * also where nothing was left to do. [lock] held.
 */
static void forget_errors(struct pull *pull)
{
	struct replica_folder *folder = pull->folder;
	struct replica_index *index = folder->daemon->index;
	struct stale stale = {0};
	snprintf(stale.from, sizeof(stale.from),
		" the version of %s: ", replica_link_name(pull->link));
	int r = replica_index_errors(index, folder->id, take_stale, &stale);
	if (r == 0)
		r = replica_index_begin(index);
	if (r == 0) {
		const char *at = (const char *)thrum__buf_head(&stale.paths);
		const char *stop = at + thrum__buf_len(&stale.paths);
		for (; r == 0 && at != stop; at += strlen(at) + 1)
			r = replica_index_error_set(index, folder->id, at, NULL);
		(void)replica_end(folder->daemon, r);
	}
	thrum__buf_fini(&stale.paths);
}

static void end(struct pull *pull, int r)
{
	struct replica_folder *folder = pull->folder;
	struct replica_daemon *daemon = folder->daemon;
	bool whole = pull->options->path[0] == '\0' && pull->options->plan == NULL;
	replica_lock(daemon);
	folder->busy = false;
	if (r == 1 && whole) {
		if (pull->batch.clear_errors)
			forget_errors(pull);
		pull->link->last_sync_us = thrum__wall_us();
		if (pull->files > 0 && replica_index_begin(daemon->index) == 0)
			(void)replica_end(
				daemon, replica_index_peer_synced(daemon->index, pull->link->peer,
						pull->link->last_sync_us));
	}
	replica_folder_touch(folder);
	replica_unlock(daemon);
	if (r >= 0 && pull->options->plan == NULL)
		replica_events_publish(&daemon->events, REPLICA_EVENT_SYNCED, folder->name,
			pull->options->path, replica_link_name(pull->link),
			"%llu changed, %llu conflicts, %llu errors%s",
			(unsigned long long)pull->files, (unsigned long long)pull->conflicts,
			(unsigned long long)pull->errors, r == 1 ? "" : ", not complete");
}

int replica_pull(struct replica_folder *folder, struct replica_link *link,
	struct replica_channel *channel, const struct replica_pull_options *options,
	struct replica_pull_result *result)
{
	bool touched = false;
	struct pull pull = {
		.folder = folder,
		.link = link,
		.source = {folder, channel},
		.options = options,
	};
	*result = (struct replica_pull_result){0};
	thrum_semaphore_release(&pull.lists, LISTS);
	thrum_semaphore_release(&pull.fetches, FETCHES);
	thrum_semaphore_release(&pull.leaves, LEAVES);
	thrum_semaphore_release(&pull.dirs, DIRS);

	int r = thrum_mutex_lock(&folder->pulling, THRUM_FOREVER);
	if (r < 0)
		return r;
	/* What changed here is decided upon as it is, not as it was. A busy tree need not hold us
	 * up. */
	r = replica_watch_drain(folder->watch, thrum_after(2 * THRUM_S));
	if (r == 0 || r == -ETIMEDOUT)
		r = replica_root_check(folder->root);
	if (r == 0)
		r = replica_batch_start(&pull.batch, folder, link);
	if (r < 0)
		goto unlock;
	begin(&pull);
	r = options->path[0] == '\0' ? visit_dir(&pull, "", NULL, NULL, 0, &touched)
				     : visit_path(&pull, options->path);
	replica_batch_stop(&pull.batch);
	end(&pull, r);
	*result = (struct replica_pull_result){
		.complete = r == 1,
		.retry = pull.retry != 0,
		.conflicts = pull.conflicts,
		.errors = pull.errors,
		.files = pull.files,
	};
unlock:
	thrum_mutex_unlock(&folder->pulling);
	if (r == THRUM_EFORMAT) {
		/* It sent what no honest peer sends. */
		thrum__log(THRUM__LOG_ERROR, "%s sent malformed data: closing its connection",
			replica_link_name(link));
		replica_events_publish(&folder->daemon->events, REPLICA_EVENT_ERROR, folder->name,
			NULL, replica_link_name(link), "sent malformed data: connection closed");
		rpc_client_close(channel->client);
	}
	return r < 0 ? r : 0;
}
