/* SPDX-License-Identifier: MIT */
#include "replica/batch.h"

#include <errno.h>
#include <fcntl.h>

#include "replica/intent.h"

/*
 * Order, for a whole batch (a crash of the machine at any point leaves each file old or new, and
 * the index not ahead of the disk):
 *
 *   1 flush: the staged contents are durable
 *   2 lock; note durably what is about to be installed (intent.h)
 *   3 decide each leaf anew; put it in place with its guards (root.h); note it in the index
 *   4 flush: the names, modes and times are durable
 *   5 commit what 3 noted, which forgets the intents too; unlock
 *
 * The lock is held from 2 to 5, so the scan sees file and row change together. After a crash
 * between 3 and 5 the intents tell which files are not edits of this replica's. After a failure
 * there (the index's disk is full, say) they do so too: the root is given up before the lock is, so
 * that neither a scan nor a pull looks at it until the keeper has opened it anew, intents first.
 *
 * While one batch is flushed the next one gathers, so it grows by itself to what the disk can take.
 */

enum {
	BATCH_MAX = 1024,
	BATCH_FULL = 256, /* enough not to wait for more */
};

#define LINGER (5 * THRUM_MS)

/* ---------------------------------------------------------------- one leaf */

static void ident_from(struct replica_ident *ident, const struct replica_stat *st)
{
	*ident = (struct replica_ident){.dev = st->dev, .ino = st->ino, .ctime_ns = st->ctime_ns};
}

/* The directory's own marker: make it, or set its mode. */
static int install_marker(
	struct replica_root *root, struct replica_op *op, uint32_t mode, struct replica_stat *out)
{
	const char *dir = op->visit->path;
	int made = replica_root_make_dir(root, dir, mode, out);
	if (made < 0)
		return made;
	op->made = (unsigned)made;
	return made > 0 ? 0 : replica_root_set_dir_mode(root, dir, mode, out);
}

/* A file or symlink: content if it is staged, else only mode and mtime. */
static int install_leaf(struct replica_root *root, struct replica_op *op,
	const struct replica_task *task, struct replica_stat *out)
{
	const struct replica_version *theirs = &task->theirs->version;
	struct replica_stat expect;
	replica_expected_stat(&task->mine, &expect);
	if (op->staged == NULL)
		return replica_root_set_meta(
			root, task->path, &expect, theirs->mode, theirs->mtime_ns, out);
	int r = replica_root_install(root, op->staged, task->path, &expect, out);
	if (r == -ENOENT) {
		/* Its directory went away, or was never made: its marker is somebody else's matter.
		 */
		r = replica_root_make_dir(root, op->visit->path, 0755, NULL);
		if (r >= 0) {
			op->made = (unsigned)r;
			r = replica_root_install(root, op->staged, task->path, &expect, out);
		}
	}
	return r;
}

static int delete_leaf(struct replica_folder *folder, const struct replica_visit *visit,
	const struct replica_task *task, bool marker)
{
	struct replica_stat expect;
	if (marker) {
		int r = replica_root_remove_dir(folder->root, visit->path);
		if (r != -ENOTEMPTY)
			return r;
		/* What is still in it is wanted or unknown: a scan marks the directory anew. */
		replica_watch_mark(folder->watch, visit->path, false);
		return 0;
	}
	replica_expected_stat(&task->mine, &expect);
	return replica_root_delete(folder->root, task->path, &expect);
}

/* The disk's part of a leaf. st: the identity of what is in place then; unset for a deletion. */
static int act(struct replica_folder *folder, struct replica_op *op,
	const struct replica_task *task, bool marker, struct replica_stat *st)
{
	if (task->action == REPLICA_DO_DELETE)
		return delete_leaf(folder, op->visit, task, marker);
	return marker ? install_marker(folder->root, op, task->theirs->version.mode, st)
		      : install_leaf(folder->root, op, task, st);
}

/*
 * The same in a directory that forbids even its owner to write: it is lent the bits for the moment.
 * The lock is held, so no scan sees them; a crash right here leaves them, as a change of mode.
 */
static int act_anyway(struct replica_folder *folder, struct replica_op *op,
	const struct replica_task *task, bool marker, struct replica_stat *st)
{
	enum { OWNER = 0700 };
	struct replica_root *root = folder->root;
	int r = act(folder, op, task, marker, st);
	if (r != -EACCES)
		return r;
	/* What is changed is the directory's content; for its marker, the content of the one above.
	 */
	size_t len = strlen(op->visit->path);
	if (marker)
		replica_path_last(op->visit->path, &len);
	char *dir = strndup(op->visit->path, len);
	struct replica_stat was;
	if (dir != NULL && replica_root_stat(root, dir, &was) == 0 &&
		was.type == REPLICA_DISK_DIR && (was.mode & OWNER) != OWNER &&
		replica_root_set_dir_mode(root, dir, was.mode | OWNER, NULL) == 0) {
		r = act(folder, op, task, marker, st);
		int back = replica_root_set_dir_mode(root, dir, was.mode, NULL);
		r = r == 0 ? back : r;
	}
	free(dir);
	return r;
}

/* True if an error says that the index may hold half of a change. */
static bool doubtful(int r)
{
	return r < 0 && r != THRUM_ECHANGED && r != -EEXIST;
}

/* Decides anew, acts on the disk, notes it in the index. [lock] and transaction held. */
static int commit_leaf(struct replica_batch *batch, struct replica_op *op)
{
	struct replica_visit *visit = op->visit;
	struct replica_task *task = &visit->tasks[op->task];
	enum replica_action was = task->action;
	bool marker = strcmp(task->name, REPLICA_DIRMARK_NAME) == 0;

	int r = replica_visit_redecide(visit, op->task);
	op->doubt = doubtful(r);
	if (r < 0)
		return r;
	if (task->action == REPLICA_DO_NONE || task->action == REPLICA_DO_CONFLICT)
		return 0; /* the close sees to it */
	if (task->action != was)
		return THRUM_ECHANGED;

	struct replica_stat st = {0};
	struct replica_ident ident;
	if (task->action == REPLICA_DO_DELETE) {
		r = act_anyway(batch->folder, op, task, marker, &st);
		if (r < 0)
			return r;
		r = replica_visit_commit(visit, op->task, NULL, NULL);
		op->doubt = doubtful(r);
		op->applied = r == 0;
		return r;
	}
	const struct replica_version *theirs = &task->theirs->version;
	if (!marker && op->staged == NULL &&
		!replica_version_same_content(theirs, &task->mine.version))
		return THRUM_ECHANGED; /* it was the same when there was nothing to fetch */
	r = act_anyway(batch->folder, op, task, marker, &st);
	if (r < 0)
		return r;
	ident_from(&ident, &st);
	struct replica_version placed = *theirs; /* borrows the target */
	if (placed.state != REPLICA_SYMLINK)
		placed.mode = st.mode;
	r = replica_visit_commit(
		visit, op->task, &ident, placed.mode == theirs->mode ? NULL : &placed);
	op->doubt = doubtful(r);
	op->applied = r == 0;
	return r;
}

/* ---------------------------------------------------------------- one directory */

struct seen {
	int64_t peer;
	bool known;
};

static int see_conflict(void *arg, const struct replica_conflict *conflict)
{
	struct seen *seen = arg;
	seen->known |= conflict->peer == seen->peer;
	return 0;
}

/* Tells of conflicts that were not on record before. */
static void announce_conflicts(struct replica_batch *batch, const struct replica_visit *visit)
{
	struct replica_folder *folder = batch->folder;
	struct replica_index *index = folder->daemon->index;
	for (size_t i = 0; i < visit->count; i++) {
		const struct replica_task *task = &visit->tasks[i];
		struct seen seen = {.peer = batch->link->peer};
		if (task->action != REPLICA_DO_CONFLICT ||
			replica_index_conflicts(
				index, folder->id, task->path, see_conflict, &seen) < 0 ||
			seen.known)
			continue;
		replica_events_publish(&folder->daemon->events, REPLICA_EVENT_CONFLICT,
			folder->name, task->path, replica_link_name(batch->link), "%s",
			replica_verdict_reason(task->verdict));
	}
}

/* [lock] and transaction held. */
static int close_visit(struct replica_batch *batch, struct replica_op *op)
{
	struct replica_folder *folder = batch->folder;
	struct replica_visit *visit = op->visit;
	announce_conflicts(batch, visit);
	int complete = replica_visit_close(visit);
	op->doubt = complete < 0;
	if (complete < 0 || !op->touched)
		return complete;
	if (visit->path[0] != '\0' && replica_tree_live(folder->tree, visit->path) == 0) {
		/* Nothing in it is left. Should the disk disagree, the scan will find what it is.
		 */
		int r = replica_root_remove_dir(folder->root, visit->path);
		return r < 0 && r != -ENOTEMPTY && r != THRUM_ECHANGED ? r : complete;
	}
	if (complete == 1 && visit->mtime_ns != 0 &&
		replica_root_set_dir_mtime(folder->root, visit->path, visit->mtime_ns) == 0) {
		int r = replica_tree_dir_mtime(folder->tree, visit->path, visit->mtime_ns);
		op->doubt = r < 0;
		return r < 0 ? r : complete;
	}
	return complete;
}

/* ---------------------------------------------------------------- flushing */

/*
 * A flush of the whole file system waits for everybody's data, so a few files are flushed one by
 * one; many are cheaper together.
 */
enum { FLUSH_SINGLY = 16 };

/* Flushes what was opened and closes it; what cannot be opened (a symlink, a file that even its
 * owner may not read) is flushed with all the rest. */
static int sync_opened(struct replica_root *root, int fd)
{
	if (fd < 0)
		return replica_root_sync(root);
	int r = thrum_file_sync(fd);
	thrum_file_close(fd);
	return r;
}

/* Makes staged contents durable. */
static int flush_contents(struct replica_root *root, struct thrum__list *ops)
{
	size_t count = 0;
	thrum__list_foreach (node, ops)
		count += thrum__container_of(node, struct replica_op, node)->staged != NULL;
	if (count > FLUSH_SINGLY)
		return replica_root_sync(root);
	int r = 0;
	thrum__list_foreach (node, ops) {
		const struct replica_op *op = thrum__container_of(node, struct replica_op, node);
		/* A symlink is nothing but a name. */
		if (r == 0 && op->staged != NULL &&
			op->visit->tasks[op->task].theirs->version.state == REPLICA_FILE)
			r = sync_opened(root, thrum_file_open(root->staging_fd, op->staged->name,
						      O_RDONLY | O_NOFOLLOW, 0));
	}
	return r;
}

/* Flushes the directory of an op, or the deepest above it that is there, and the parent of each
 * that was made. */
static int sync_dirs(struct replica_root *root, const struct replica_op *op)
{
	unsigned above = op->made;
	char *dir = strdup(op->visit->path);
	int r = dir == NULL ? -ENOMEM : 0;
	while (r == 0) {
		int fd = replica_root_open_dir(root, dir);
		bool there = fd != -ENOENT && fd != THRUM_ECHANGED;
		if (there)
			r = sync_opened(root, fd);
		if (dir[0] == '\0' || (there && above-- == 0))
			break;
		char *slash = strrchr(dir, '/');
		*(slash != NULL ? slash : dir) = '\0';
	}
	free(dir);
	return r;
}

/* True if an op changed a file or symlink that stays where it is. */
static bool changed_in_place(const struct replica_op *op)
{
	return op->task != REPLICA_OP_CLOSE && op->applied && op->staged == NULL &&
	       op->visit->tasks[op->task].action == REPLICA_DO_INSTALL &&
	       strcmp(op->visit->tasks[op->task].name, REPLICA_DIRMARK_NAME) != 0;
}

/* Makes durable what was renamed, made, removed and changed. */
static int flush_changes(struct replica_root *root, struct thrum__list *ops)
{
	size_t count = 0;
	thrum__list_foreach (node, ops)
		count++;
	if (count > FLUSH_SINGLY)
		return replica_root_sync(root);
	const struct replica_visit *last = NULL;
	int r = 0;
	thrum__list_foreach (node, ops) {
		const struct replica_op *op = thrum__container_of(node, struct replica_op, node);
		struct replica_stat st;
		if (r == 0 && changed_in_place(op))
			r = sync_opened(root,
				replica_root_open_file(root, op->visit->tasks[op->task].path, &st));
		if (r == 0 && (op->visit != last || op->made > 0))
			r = sync_dirs(root, op);
		last = op->visit;
	}
	return r;
}

/* ---------------------------------------------------------------- the batch */

static bool installs(const struct replica_op *op)
{
	return op->task != REPLICA_OP_CLOSE &&
	       op->visit->tasks[op->task].action == REPLICA_DO_INSTALL;
}

/* Notes durably what is about to be installed. [lock] held. */
static int note_intents(struct replica_batch *batch, struct thrum__list *ops)
{
	struct replica_daemon *daemon = batch->folder->daemon;
	int r = replica_index_begin(daemon->index);
	if (r < 0)
		return r;
	thrum__list_foreach (node, ops) {
		const struct replica_op *op = thrum__container_of(node, struct replica_op, node);
		if (r == 0 && installs(op))
			r = replica_intent_put(batch->folder, batch->link->peer,
				&op->visit->tasks[op->task], op->their_s);
	}
	return replica_end(daemon, r);
}

/* Does every op in one transaction. [lock] held. */
static int perform(struct replica_batch *batch, struct thrum__list *ops, bool intents)
{
	struct replica_folder *folder = batch->folder;
	struct replica_daemon *daemon = folder->daemon;
	bool disk = false;
	int r = replica_index_begin(daemon->index);
	if (r < 0)
		return r;
	thrum__list_foreach (node, ops) {
		struct replica_op *op = thrum__container_of(node, struct replica_op, node);
		bool close = op->task == REPLICA_OP_CLOSE;
		op->result = r < 0 ? r : close ? close_visit(batch, op) : commit_leaf(batch, op);
		disk |= !close || op->touched;
		if (op->result == 0 && !close && batch->clear_errors)
			(void)replica_index_error_set(
				daemon->index, folder->id, op->visit->tasks[op->task].path, NULL);
		if (op->doubt)
			r = op->result;
	}
	if (r == 0 && disk)
		r = flush_changes(folder->root, ops);
	if (r == 0 && intents)
		r = replica_intents_clear(folder);
	return replica_end(daemon, r);
}

static void commit_ops(struct replica_batch *batch, struct thrum__list *ops)
{
	struct replica_folder *folder = batch->folder;
	bool content = false, intents = false;
	int r = 0;
	thrum__list_foreach (node, ops) {
		const struct replica_op *op = thrum__container_of(node, struct replica_op, node);
		content |= op->staged != NULL;
		intents |= installs(op);
	}
	if (content)
		r = flush_contents(folder->root, ops);
	replica_lock(folder->daemon);
	if (r == 0)
		r = replica_root_check(folder->root);
	if (r == 0 && intents)
		r = note_intents(batch, ops);
	if (r == 0) {
		r = perform(batch, ops, intents);
		if (r < 0 && intents)
			replica_root_give_up(folder->root);
	}
	replica_folder_touch(folder);
	replica_unlock(folder->daemon);

	struct thrum__list *node;
	while ((node = thrum__list_pop_front(ops)) != NULL) {
		struct replica_op *op = thrum__container_of(node, struct replica_op, node);
		if (r < 0)
			op->result = r;
		thrum_semaphore_release(&op->done, 1);
	}
}

/* Waits for ops, and a moment longer while more are announced. False: it is time to end. */
static bool gather(struct replica_batch *batch, struct thrum__list *ops)
{
	CHECK(thrum_mutex_lock(&batch->lock, THRUM_FOREVER) == 0);
	while (batch->queued == 0 && !batch->closing)
		CHECK(thrum_cond_wait(&batch->more, &batch->lock, THRUM_FOREVER) == 0);
	thrum_deadline linger = thrum_after(LINGER);
	int r = 0;
	while (r == 0 && batch->queued < BATCH_FULL && !batch->closing &&
		__atomic_load_n(&batch->coming, __ATOMIC_RELAXED) > 0)
		r = thrum_cond_wait(&batch->more, &batch->lock, linger);
	for (int i = 0; i < BATCH_MAX && batch->queued > 0; i++, batch->queued--)
		thrum__list_push_back(ops, thrum__list_pop_front(&batch->queue));
	thrum_mutex_unlock(&batch->lock);
	return !thrum__list_empty(ops);
}

static void *committer(void *arg)
{
	struct replica_batch *batch = arg;
	struct thrum__list ops = {0};
	thrum_shield_begin(); /* it ends when it is told to: its submitters count on it */
	while (gather(batch, &ops))
		commit_ops(batch, &ops);
	thrum_shield_end();
	return NULL;
}

int replica_batch_start(
	struct replica_batch *batch, struct replica_folder *folder, struct replica_link *link)
{
	*batch = (struct replica_batch){.folder = folder, .link = link};
	return thrum_spawn(&batch->thread, committer, batch);
}

void replica_batch_stop(struct replica_batch *batch)
{
	thrum_shield_begin();
	CHECK(thrum_mutex_lock(&batch->lock, THRUM_FOREVER) == 0);
	batch->closing = true;
	thrum_cond_broadcast(&batch->more);
	thrum_mutex_unlock(&batch->lock);
	CHECK(thrum_join(batch->thread, NULL, THRUM_FOREVER) == 0);
	thrum_shield_end();
}

void replica_batch_announce(struct replica_batch *batch, int change)
{
	__atomic_fetch_add(&batch->coming, change, __ATOMIC_RELAXED);
}

void replica_batch_put(struct replica_batch *batch, struct replica_op *op)
{
	thrum_shield_begin();
	CHECK(thrum_mutex_lock(&batch->lock, THRUM_FOREVER) == 0);
	thrum__list_push_back(&batch->queue, &op->node);
	batch->queued++;
	thrum_cond_signal(&batch->more);
	thrum_mutex_unlock(&batch->lock);
	thrum_shield_end();
}

int replica_batch_wait(struct replica_op *op)
{
	thrum_shield_begin();
	CHECK(thrum_semaphore_acquire(&op->done, THRUM_FOREVER) == 0);
	thrum_shield_end();
	return op->result;
}

int replica_batch_commit(struct replica_batch *batch, struct replica_op *op)
{
	replica_batch_put(batch, op);
	return replica_batch_wait(op);
}
