/* SPDX-License-Identifier: MIT */
#include "replica/intent.h"

#include <errno.h>
#include <stdio.h>

/*
 * A folder's life is its keeper's: it opens the root, starts the watcher (which makes the first
 * scan), looks now and then whether the root is still there, asks for the periodic full scan, and
 * when the root is gone (a drive unplugged, say) takes the folder out of service and tries again.
 * Absence of the root never counts as deletions.
 */

enum {
	RETRY_S = 2, /* between looks at a root that is missing */
	LOOK_S = 2,  /* between looks at one that is there */
};

void replica_expected_stat(const struct replica_entry *entry, struct replica_stat *out)
{
	const struct replica_version *version = &entry->version;
	*out = (struct replica_stat){0};
	if (version->state != REPLICA_FILE && version->state != REPLICA_SYMLINK)
		return;
	bool file = version->state == REPLICA_FILE;
	out->type = file ? REPLICA_DISK_FILE : REPLICA_DISK_SYMLINK;
	out->mode = file ? version->mode : 0777;
	out->size = file ? version->size : strlen(version->target);
	out->mtime_ns = version->mtime_ns;
	out->ctime_ns = entry->ident.ctime_ns;
	out->dev = entry->ident.dev;
	out->ino = entry->ident.ino;
}

bool replica_folder_enter(struct replica_folder *folder)
{
	if (folder->closing || folder->state != REPLICA_FOLDER_READY)
		return false;
	folder->users++;
	return true;
}

void replica_folder_leave(struct replica_folder *folder)
{
	struct replica_daemon *daemon = folder->daemon;
	replica_lock(daemon);
	if (--folder->users == 0)
		thrum_cond_broadcast(&folder->changed);
	replica_unlock(daemon);
}

void replica_visitor_begin(struct replica_visitor *visitor, struct replica_folder *folder)
{
	*visitor = (struct replica_visitor){.folder = folder, .thread = thrum_self()};
	replica_lock(folder->daemon);
	thrum__list_push_back(&folder->visitors, &visitor->node);
	if (folder->closing || folder->state != REPLICA_FOLDER_READY)
		thrum_cancel(visitor->thread); /* the others have been told already */
	replica_unlock(folder->daemon);
}

void replica_visitor_end(struct replica_visitor *visitor)
{
	struct replica_daemon *daemon = visitor->folder->daemon;
	replica_lock(daemon);
	thrum__list_remove(&visitor->node);
	replica_unlock(daemon);
}

void replica_folder_touch(struct replica_folder *folder)
{
	folder->version++;
	thrum_cond_broadcast(&folder->changed);
}

int replica_folder_vectors(
	struct replica_folder *folder, struct replica_vt *m, struct replica_vt *s)
{
	struct replica_listing listing = {0};
	/* The root has no marker, so this lists nothing: only the vectors are wanted. */
	int r = replica_tree_list(folder->tree, "", REPLICA_DIRMARK_NAME, &listing);
	if (r == 0)
		r = replica_vt_copy(m, &listing.m);
	if (r == 0)
		r = replica_vt_copy(s, &listing.s);
	replica_listing_fini(&listing);
	return r;
}

struct replica_folder *replica_folder_find(struct replica_daemon *daemon, const char *name)
{
	thrum__list_foreach (node, &daemon->folders) {
		struct replica_folder *folder =
			thrum__container_of(node, struct replica_folder, node);
		if (strcmp(folder->name, name) == 0)
			return folder;
	}
	return NULL;
}

/* ---------------------------------------------------------------- hooks of scan and watcher */

static void on_change(void *arg, const char *path, enum replica_change what, bool directory)
{
	static const char *const words[] = {"created", "modified", "metadata", "deleted"};
	struct replica_folder *folder = arg;
	replica_lock(folder->daemon);
	replica_folder_touch(folder);
	replica_unlock(folder->daemon);
	replica_events_publish(&folder->daemon->events, REPLICA_EVENT_CHANGED, folder->name, path,
		NULL, "%s%s", words[what], directory ? " directory" : "");
}

static void on_settled(void *arg, int result)
{
	struct replica_folder *folder = arg;
	/* Of a root that is gone the keeper tells. */
	if (result < 0 && result != -ECANCELED && result != -ENXIO) {
		thrum__log(THRUM__LOG_WARN, "share %s: scan: %s", folder->name,
			thrum_strerror(result));
		replica_events_publish(&folder->daemon->events, REPLICA_EVENT_ERROR, folder->name,
			NULL, NULL, "scan: %s", thrum_strerror(result));
	}
	replica_lock(folder->daemon);
	replica_folder_touch(folder); /* wakes the keeper, should the root be gone */
	replica_unlock(folder->daemon);
}

/* ---------------------------------------------------------------- the keeper */

static void set_state(
	struct replica_folder *folder, enum replica_folder_state state, const char *message)
{
	replica_lock(folder->daemon);
	bool news = folder->state != state || strcmp(folder->message, message) != 0;
	folder->state = state;
	snprintf(folder->message, sizeof(folder->message), "%s", message);
	replica_folder_touch(folder);
	replica_unlock(folder->daemon);
	if (news && message[0] != '\0') {
		thrum__log(THRUM__LOG_WARN, "share %s: %s", folder->name, message);
		replica_events_publish(&folder->daemon->events, REPLICA_EVENT_ERROR, folder->name,
			NULL, NULL, "%s", message);
	}
}

/* Sleeps until something changed in the folder, or for ns. False: it is time to end. */
static bool keeper_wait(struct replica_folder *folder, int64_t ns)
{
	struct replica_daemon *daemon = folder->daemon;
	thrum_deadline deadline = thrum_after(ns);
	replica_lock(daemon);
	thrum_shield_end();
	int r = 0;
	if (!folder->closing)
		r = thrum_cond_wait(&folder->changed, &daemon->lock, deadline);
	thrum_shield_begin();
	bool go_on = !folder->closing && r != -ECANCELED;
	replica_unlock(daemon);
	return go_on;
}

/* Opens root and watcher. 0, or a negative code after saying why in the folder's state. */
static int open_root(struct replica_folder *folder)
{
	char text[REPLICA_TEXT];
	int r = replica_root_open(&folder->root, folder->dir, folder->uuid);
	if (r < 0) {
		set_state(folder, r == -ENXIO ? REPLICA_FOLDER_MISSING : REPLICA_FOLDER_FAILED,
			replica_root_explain(text, sizeof(text), folder->dir, r));
		return r;
	}
	folder->scan = (struct replica_scan){
		.root = folder->root,
		.tree = folder->tree,
		.lock = &folder->daemon->lock,
		.arg = folder,
		.change = on_change,
	};
	r = replica_intents_replay(folder);
	if (r == 0)
		r = replica_watch_start(&folder->watch, &folder->scan, on_settled, folder);
	if (r < 0) {
		snprintf(text, sizeof(text), "cannot scan and watch %s: %s", folder->dir,
			thrum_strerror(r));
		if (r != -ECANCELED)
			set_state(folder, REPLICA_FOLDER_FAILED, text);
		replica_root_close(folder->root);
		folder->root = NULL;
	}
	return r;
}

/* Cancels who is in the folder: sessions and visitors. [lock] held. */
static void send_away(struct replica_folder *folder)
{
	struct replica_daemon *daemon = folder->daemon;
	thrum__list_foreach (node, &folder->visitors)
		thrum_cancel(thrum__container_of(node, struct replica_visitor, node)->thread);
	thrum__list_foreach (node, &daemon->links) {
		struct replica_link *link = thrum__container_of(node, struct replica_link, node);
		thrum__list_foreach (s, &link->sessions) {
			struct replica_session *session =
				thrum__container_of(s, struct replica_session, node);
			if (session->folder == folder)
				thrum_cancel(session->thread);
		}
	}
}

/* Takes the folder out of service, waits for its users, closes root and watcher. */
static void close_root(struct replica_folder *folder)
{
	struct replica_daemon *daemon = folder->daemon;
	replica_lock(daemon);
	folder->state = REPLICA_FOLDER_SCANNING;
	replica_folder_touch(folder);
	send_away(folder);
	while (folder->users > 0)
		CHECK(thrum_cond_wait(&folder->changed, &daemon->lock, THRUM_FOREVER) == 0);
	replica_unlock(daemon);
	replica_watch_stop(folder->watch);
	folder->watch = NULL;
	replica_root_close(folder->root);
	folder->root = NULL;
}

/* Keeps a ready folder until its root is gone or it is time to end. False: to end. */
static bool keep(struct replica_folder *folder)
{
	thrum_deadline rescan = thrum_after(folder->daemon->rescan_ns);
	while (keeper_wait(folder, LOOK_S * THRUM_S)) {
		int r = replica_root_check(folder->root);
		/* Being short of descriptors or memory says nothing about the root. */
		if (r < 0 && r != -EMFILE && r != -ENFILE && r != -ENOMEM)
			return true;
		if (thrum_now() >= rescan) {
			replica_watch_mark(folder->watch, "", true);
			rescan = thrum_after(folder->daemon->rescan_ns);
		}
	}
	return false;
}

static void *keeper(void *arg)
{
	struct replica_folder *folder = arg;
	bool go_on = true;
	while (go_on) {
		if (open_root(folder) < 0) {
			go_on = !thrum_canceled() && keeper_wait(folder, RETRY_S * THRUM_S);
			continue;
		}
		set_state(folder, REPLICA_FOLDER_READY, "");
		replica_links_refresh(folder->daemon);
		go_on = keep(folder);
		close_root(folder);
	}
	return NULL;
}

/* ---------------------------------------------------------------- start and stop */

int replica_folder_start(struct replica_daemon *daemon, const struct replica_share *share,
	struct replica_folder **out)
{
	struct replica_folder *folder = calloc(1, sizeof(*folder));
	if (folder == NULL)
		return -ENOMEM;
	folder->daemon = daemon;
	folder->id = share->id;
	memcpy(folder->uuid, share->uuid, sizeof(folder->uuid));
	folder->name = strdup(share->name);
	folder->dir = strdup(share->dir);
	int r = folder->name == NULL || folder->dir == NULL
			? -ENOMEM
			: replica_tree_open(&folder->tree, daemon->index, share->id);
	if (r == 0)
		r = thrum_spawn(&folder->keeper, keeper, folder);
	if (r < 0) {
		replica_folder_free(folder);
		return r;
	}
	thrum__list_push_back(&daemon->folders, &folder->node);
	*out = folder;
	return 0;
}

void replica_folder_stop(struct replica_folder *folder)
{
	struct replica_daemon *daemon = folder->daemon;
	replica_lock(daemon);
	folder->closing = true;
	thrum__list_remove(&folder->node);
	thrum_cond_broadcast(&folder->changed);
	struct thrum_thread *thread = folder->keeper;
	folder->keeper = NULL;
	replica_unlock(daemon);

	thrum_shield_begin();
	thrum_cancel(thread);
	CHECK(thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	replica_lock(daemon);
	/* The keeper waits for those who entered; one that fails to become ready has none. */
	CHECK(folder->users == 0);
	replica_folder_free(folder);
	replica_unlock(daemon);
	thrum_shield_end();
}

void replica_folder_free(struct replica_folder *folder)
{
	thrum_detach(folder->keeper);
	replica_tree_close(folder->tree);
	free(folder->name);
	free(folder->dir);
	free(folder);
}
