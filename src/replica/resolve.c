/* SPDX-License-Identifier: MIT */
#include "replica/conflict.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "replica/root_internal.h"
#include "replica/source.h"

/*
 * Settling a conflict. Three things may happen, in this order, and each leaves nothing lost if the
 * next one fails:
 *
 *   1 on disk: a copy goes to a conflict name (both), or mine goes out of the way (a file against a
 *     directory); all of it is flushed
 *   2 scan: what step 1 did becomes events
 *   3 in the index: mine is declared the winner, or theirs wanted, and then pulled
 */

enum { TRIES = 20 };

#define SCAN_TIME (600 * THRUM_S)
#define TRY_AGAIN (200 * THRUM_MS)

enum keep { KEEP_MINE, KEEP_THEIRS, KEEP_BOTH };

struct resolving {
	struct replica_folder *folder;
	const char *path;
	char *text;
	struct replica_clashes clashes;
	const struct replica_clash
		*clash; /* the one at path; NULL: path is a directory with conflicts below */
	struct replica_link *links[16];
	size_t link_count;
};

static int __attribute__((format(printf, 3, 4)))
refuse(struct resolving *resolving, int code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(resolving->text, REPLICA_TEXT, format, args);
	va_end(args);
	return code;
}

/* ---------------------------------------------------------------- what is there */

static struct replica_link *find_link(struct replica_daemon *daemon, int64_t peer)
{
	thrum__list_foreach (node, &daemon->links) {
		struct replica_link *link = thrum__container_of(node, struct replica_link, node);
		if (link->peer == peer)
			return link;
	}
	return NULL;
}

/* Gathers conflicts and peers. [lock] held. */
static int look(struct resolving *resolving)
{
	struct replica_folder *folder = resolving->folder;
	int r = replica_clashes_list(folder, resolving->path, &resolving->clashes);
	if (r < 0)
		return refuse(resolving, r, "cannot read the conflicts: %s",
			replica_index_error(folder->daemon->index));
	if (resolving->clashes.count == 0)
		return refuse(resolving, -ENOENT,
			"no conflict at %s/%s; 'replica conflicts' lists them", folder->name,
			resolving->path);
	for (size_t i = 0; i < resolving->clashes.count; i++) {
		const struct replica_clash *clash = &resolving->clashes.items[i];
		struct replica_link *link = find_link(folder->daemon, clash->peer);
		size_t k = 0;
		while (k < resolving->link_count && resolving->links[k] != link)
			k++;
		if (k == thrum__countof(resolving->links))
			return refuse(resolving, -E2BIG,
				"too many peers are part of it; settle it path by path");
		if (k == resolving->link_count && link != NULL)
			resolving->links[resolving->link_count++] = link;
		if (strcmp(clash->path, resolving->path) == 0)
			resolving->clash = clash;
	}
	return 0;
}

/* What forbids keep, if anything. [lock] held. */
static int judge(struct resolving *resolving, enum keep keep)
{
	const struct replica_clashes *clashes = &resolving->clashes;
	if (keep == KEEP_MINE)
		return 0;
	for (size_t i = 0; i < resolving->link_count; i++)
		if (resolving->links[i]->channel == NULL)
			return refuse(resolving, -ENOTCONN,
				"%s is not connected and its version is needed: connect it, or "
				"keep mine",
				replica_link_name(resolving->links[i]));
	if (keep == KEEP_BOTH && (resolving->clash == NULL || clashes->paths > 1))
		return refuse(resolving, -EINVAL,
			"there are several conflicts below %s/%s; keep both one file at a time",
			resolving->folder->name, resolving->path);
	for (size_t i = 1; i < clashes->count; i++)
		if (strcmp(clashes->items[i].path, clashes->items[i - 1].path) == 0 &&
			!replica_version_equal(
				&clashes->items[i].theirs, &clashes->items[i - 1].theirs))
			return refuse(resolving, -EINVAL,
				"several peers have different versions of %s; settle it on one of "
				"them first, or keep mine",
				clashes->items[i].path);
	return 0;
}

/* ---------------------------------------------------------------- on disk */

/* Copies my file beside itself, under a conflict name. */
static int copy_aside(struct resolving *resolving)
{
	struct replica_root *root = resolving->folder->root;
	struct replica_staged staged = {.fd = -1};
	struct replica_stat st, out;
	char name[256];
	int fd = replica_root_open_file(root, resolving->path, &st);
	if (fd < 0)
		return fd;
	int r = replica_stage_file(root, &staged);
	for (ssize_t n = 1; r == 0 && n > 0;) {
		n = copy_file_range(fd, NULL, staged.fd, NULL, 1 << 20, 0);
		r = n < 0 ? replica_last_error() : 0;
		thrum_yield();
	}
	if (r == 0)
		r = replica_staged_finish(root, &staged, st.mode, st.mtime_ns);
	if (r == 0)
		r = replica_root_install_aside(root, &staged, resolving->path,
			resolving->folder->daemon->name, name, &out);
	replica_staged_discard(root, &staged);
	thrum_file_close(fd);
	return r;
}

/* Moves my file or symlink to a conflict name. */
static int move_aside(struct resolving *resolving)
{
	struct replica_root *root = resolving->folder->root;
	struct replica_stat st;
	char name[256];
	int r = replica_root_stat(root, resolving->path, &st);
	return r < 0 ? r
		     : replica_root_move_aside(root, resolving->path, &st,
			       resolving->folder->daemon->name, name, &st);
}

/* Puts their file or symlink beside my directory, under a conflict name. */
static int place_theirs_aside(struct resolving *resolving)
{
	struct replica_folder *folder = resolving->folder;
	struct replica_link *link = resolving->links[0];
	const struct replica_version *theirs = &resolving->clash->theirs;
	struct replica_source source = {.folder = folder};
	struct replica_staged staged = {.fd = -1};
	struct replica_transfer_stats stats = {0};
	struct replica_stat out;
	char name[256];
	int r = -ENOTCONN;

	if (theirs->state == REPLICA_SYMLINK) {
		r = replica_stage_symlink(folder->root, theirs->target, theirs->mtime_ns, &staged);
	} else {
		struct replica_fetch want = {.size = theirs->size, .hash = theirs->hash};
		replica_lock(folder->daemon);
		source.channel = replica_channel_use(link, folder);
		replica_unlock(folder->daemon);
		if (source.channel == NULL)
			return r;
		r = replica_source_fetch(&source, resolving->path, &want, &staged, &stats);
		replica_channel_release(link, source.channel);
		if (r == 0)
			r = replica_staged_finish(
				folder->root, &staged, theirs->mode, theirs->mtime_ns);
	}
	if (r == 0)
		r = replica_root_install_aside(folder->root, &staged, resolving->path,
			replica_link_name(link), name, &out);
	replica_staged_discard(folder->root, &staged);
	return r;
}

/* Reads the first name in a directory. 1, 0 if it is empty, or an error. */
static int first_name(struct replica_root *root, const char *path, char name[256])
{
	struct thrum_dir *dir;
	struct thrum_dir_entry entry;
	int fd = replica_root_open_dir(root, path);
	if (fd < 0)
		return fd;
	int r = thrum_dir_open(&dir, fd, ".");
	thrum_file_close(fd);
	if (r < 0)
		return r;
	r = thrum_dir_next(dir, &entry);
	if (r == 1)
		snprintf(name, 256, "%s", entry.name);
	thrum_dir_close(dir);
	return r;
}

/*
 * Removes a file, a symlink or a whole directory of mine: the person chose theirs. One thing at a
 * time from the bottom, so that depth costs neither stack nor descriptors.
 */
static int remove_mine(struct replica_root *root, const char *path)
{
	char *at = malloc(REPLICA_PATH_MAX + 1);
	size_t top = strlen(path);
	int r = at == NULL ? -ENOMEM : 0;
	if (r == 0)
		memcpy(at, path, top + 1);
	while (r == 0) {
		struct replica_stat st;
		char name[256];
		size_t len = strlen(at);
		r = replica_root_stat(root, at, &st);
		bool dir = r == 0 && st.type == REPLICA_DISK_DIR;
		if (dir && (r = first_name(root, at, name)) == 1) {
			r = len + 1 + strlen(name) > REPLICA_PATH_MAX ? -ENAMETOOLONG : 0;
			if (r == 0)
				snprintf(at + len, REPLICA_PATH_MAX + 1 - len, "/%s", name);
			continue;
		}
		if (r == 0 && st.type != REPLICA_DISK_ABSENT)
			r = dir ? replica_root_remove_dir(root, at)
				: replica_root_delete(root, at, &st);
		if (len == top)
			break;
		*strrchr(at, '/') = '\0';
	}
	free(at);
	return r;
}

/*
 * Step 1. Returns the policy that settles the rest, or an error. *pull: theirs must come even
 * though nothing is in conflict any more.
 */
static int prepare(struct resolving *resolving, enum keep keep, bool *pull)
{
	const struct replica_clash *clash = resolving->clash;
	bool type = clash != NULL && clash->verdict == REPLICA_VERDICT_CONFLICT_TYPE;
	int r = 0;
	if (keep == KEEP_MINE)
		return REPLICA_POLICY_MINE;
	if (type && keep == KEEP_BOTH && clash->mine.state == REPLICA_DIRMARK) {
		r = place_theirs_aside(resolving);
		return r < 0 ? r : REPLICA_POLICY_MINE;
	}
	if (type) {
		*pull = true;
		r = keep == KEEP_BOTH ? move_aside(resolving)
				      : remove_mine(resolving->folder->root, resolving->path);
		return r < 0 ? r : REPLICA_POLICY_THEIRS;
	}
	if (keep == KEEP_THEIRS)
		return REPLICA_POLICY_THEIRS;
	/* Both: where one side deleted it, keeping both is keeping what there is. */
	if (clash->verdict == REPLICA_VERDICT_CONFLICT_DELETE_UPDATE)
		return REPLICA_POLICY_MINE;
	if (clash->verdict == REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE) {
		*pull = true;
		r = clash->mine.state == REPLICA_FILE ? copy_aside(resolving)
						      : move_aside(resolving);
	}
	return r < 0 ? r : REPLICA_POLICY_THEIRS;
}

/* ---------------------------------------------------------------- in the index */

/* Step 3: each peer's version is pulled, now that it is known what shall win. */
static int pull_from(struct resolving *resolving, struct replica_link *link)
{
	struct replica_folder *folder = resolving->folder;
	struct replica_pull_options options = {.path = resolving->path};
	struct replica_pull_result result = {0};
	replica_lock(folder->daemon);
	struct replica_channel *channel = replica_channel_use(link, folder);
	replica_unlock(folder->daemon);
	int r = channel == NULL ? -ENOTCONN : 0;
	for (int i = 0; r == 0 && i < TRIES; i++) {
		r = replica_pull(folder, link, channel, &options, &result);
		if (r < 0 || !result.retry)
			break;
		r = thrum_sleep(TRY_AGAIN);
	}
	if (channel != NULL)
		replica_channel_release(link, channel);
	if (r < 0 && r != -ECANCELED)
		return refuse(resolving, r,
			"the choice is noted, but the version of %s could not be fetched now: %s; "
			"it comes when both are connected",
			replica_link_name(link), thrum_strerror(r));
	return r;
}

static int settle(struct resolving *resolving, enum replica_policy policy, bool pull)
{
	struct replica_folder *folder = resolving->folder;
	struct replica_daemon *daemon = folder->daemon;
	uint64_t count;
	replica_lock(daemon);
	int r = replica_index_begin(daemon->index);
	if (r == 0)
		r = replica_end(daemon,
			replica_tree_resolve(folder->tree, resolving->path, policy, &count));
	replica_folder_touch(folder);
	replica_unlock(daemon);
	if (r < 0 && !(r == -ENOENT && pull))
		return refuse(resolving, r, "cannot settle it: %s", thrum_strerror(r));
	pull |= r == 1;
	r = 0;
	for (size_t i = 0; r == 0 && pull && i < resolving->link_count; i++)
		r = pull_from(resolving, resolving->links[i]);
	return r;
}

static int resolve(struct resolving *resolving, enum keep keep)
{
	struct replica_daemon *daemon = resolving->folder->daemon;
	bool pull = false;
	replica_lock(daemon);
	int r = look(resolving);
	if (r == 0)
		r = judge(resolving, keep);
	replica_unlock(daemon);
	if (r < 0)
		return r;
	int policy = prepare(resolving, keep, &pull);
	/* What one side now rests on is not lost with the power, whatever becomes of the other. */
	if (policy >= 0 && keep != KEEP_MINE &&
		(r = replica_root_sync(resolving->folder->root)) < 0)
		policy = r;
	if (policy < 0)
		return refuse(resolving, policy, "cannot settle it: %s", thrum_strerror(policy));
	if (keep != KEEP_MINE) {
		replica_watch_mark(resolving->folder->watch, resolving->path, true);
		r = replica_watch_drain(resolving->folder->watch, thrum_after(SCAN_TIME));
		if (r < 0)
			return refuse(resolving, r, "cannot scan: %s", thrum_strerror(r));
	}
	return settle(resolving, (enum replica_policy)policy, pull);
}

int replica_conflict_resolve(
	struct replica_folder *folder, const char *path, const char *keep, char *text)
{
	static const char *const words[] = {"mine", "theirs", "both"};
	struct resolving resolving = {.folder = folder, .path = path, .text = text};
	text[0] = '\0';
	for (size_t i = 0; i < thrum__countof(words); i++) {
		if (strcmp(keep, words[i]) != 0)
			continue;
		int r = resolve(&resolving, (enum keep)i);
		replica_clashes_fini(&resolving.clashes);
		if (r == 0)
			replica_events_publish(&folder->daemon->events, REPLICA_EVENT_RESOLVED,
				folder->name, path, NULL, "kept %s", keep);
		return r;
	}
	return refuse(&resolving, -EINVAL, "keep what? mine, theirs or both");
}
