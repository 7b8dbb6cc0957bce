/* SPDX-License-Identifier: MIT */
#include "replica/control.h"

#include <errno.h>
#include <stdio.h>

#include "replica/conflict.h"
#include "replica/peer.pb-c.h"

/*
 * "Sync now and wait": scan what is asked for; have every peer look for what changed there, and
 * pull it; then ask every peer to pull it from us, so that what came from one reaches the others.
 * And the resolution of conflicts, which may need a pull too.
 */

enum { TRIES = 20, MESSAGES = 64 };

#define SCAN_TIME     (3600 * THRUM_S)
#define PUSH_TIME     (3600 * THRUM_S)
#define PATIENCE      (3 * THRUM_S)
#define SCAN_LOOK     (50 * THRUM_MS)
#define TRY_AGAIN     (200 * THRUM_MS)
#define PROGRESS_TICK (100 * THRUM_MS)

struct sync_job {
	struct replica_daemon *daemon;
	struct rpc_call *call;
	const char *share; /* "": all */
	char path[REPLICA_PATH_MAX + 1];
	bool dry;

	struct thrum_mutex lock; /* of what follows */
	struct thrum_cond changed;
	bool done;
	int r;
	const char *phase;
	char now_share[REPLICA_SHARE_NAME_MAX + 1], now_peer[REPLICA_SHARE_NAME_MAX + 1];
	struct replica_folder *now_folder; /* for its progress; valid while entered */
	uint64_t conflicts, errors, files, peers;
	bool incomplete;
	thrum_deadline patience; /* until then, peers that are just being dialled are waited for */
	char *messages[MESSAGES];
	size_t message_count;
	int send_error; /* dry run */
};

/* The job's lock is held for moments, and is not where a job ends. */
static void lock_job(struct sync_job *job)
{
	thrum_shield_begin();
	CHECK(thrum_mutex_lock(&job->lock, THRUM_FOREVER) == 0);
}

static void unlock_job(struct sync_job *job)
{
	thrum_mutex_unlock(&job->lock);
	thrum_shield_end();
}

/* Adds a line to the result; the first MESSAGES are kept. */
static void __attribute__((format(printf, 2, 3))) say(struct sync_job *job, const char *format, ...)
{
	char text[REPLICA_TEXT], escaped[REPLICA_TEXT * 2];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (job->message_count < MESSAGES)
		job->messages[job->message_count] =
			strdup(thrum__escape(escaped, sizeof(escaped), text, strlen(text)));
	if (job->message_count < MESSAGES && job->messages[job->message_count] != NULL)
		job->message_count++;
}

static void show(
	struct sync_job *job, const char *phase, struct replica_folder *folder, const char *peer)
{
	lock_job(job);
	job->phase = phase;
	job->now_folder = folder;
	snprintf(job->now_share, sizeof(job->now_share), "%s", folder != NULL ? folder->name : "");
	snprintf(job->now_peer, sizeof(job->now_peer), "%s", peer);
	unlock_job(job);
}

/* ---------------------------------------------------------------- one folder */

/* A dry run tells what it would do as it finds it. */
static void send_plan(void *arg, const char *path, enum replica_verdict verdict)
{
	struct sync_job *job = arg;
	Replicad__V1__SyncEvent event = REPLICAD__V1__SYNC_EVENT__INIT;
	Replicad__V1__SyncPlan plan = REPLICAD__V1__SYNC_PLAN__INIT;
	/* Visits run at once; a call has one sender at a time. */
	lock_job(job);
	plan.share = job->now_share;
	plan.peer = job->now_peer;
	/* A directory's own marker is a name of the index only. */
	size_t len = strlen(path);
	if (len >= 2 && strcmp(path + len - 2, "/" REPLICA_DIRMARK_NAME) == 0)
		len -= 2;
	plan.path = control_bytes(path, len);
	plan.verdict = (char *)replica_verdict_name(verdict);
	plan.reason = (char *)replica_verdict_reason(verdict);
	event.plan = &plan;
	if (job->send_error == 0)
		job->send_error = rpc_call_send(job->call, &event.base, thrum_after(CONTROL_TIME));
	unlock_job(job);
}

/* The peer's first scan is still under way: worth waiting for. */
static bool not_ready_yet(int r, thrum_deadline patience)
{
	return r == -EBUSY && thrum_now() < patience;
}

/* Waits until what changed at the peer before now is in its index: until then a pull misses it. */
static int have_looked(struct sync_job *job, struct replica_folder *folder,
	struct replica_link *link, struct replica_channel *channel)
{
	Replicad__V1__LookRequest request = REPLICAD__V1__LOOK_REQUEST__INIT;
	Replicad__V1__LookReply *reply;
	struct rpc_status status;
	request.share = control_bytes(folder->uuid, sizeof(folder->uuid));
	thrum_deadline patience = thrum_after(SCAN_TIME);
	int r;
	while ((r = rpc_client_unary(channel->client, "/replicad.v1.Peer/Look", &request.base,
			&replicad__v1__look_reply__descriptor, (ProtobufCMessage **)&reply,
			thrum_after(SCAN_TIME), &status)) < 0) {
		if (!not_ready_yet(r, patience))
			break;
		if ((r = thrum_sleep(TRY_AGAIN)) < 0)
			return r;
	}
	if (r == 0)
		rpc_message_free(&reply->base);
	else if (r != -ECANCELED)
		say(job, "share %s: %s could not look for changes: %s", folder->name,
			replica_link_name(link),
			r == -ECONNRESET ? "the connection was lost" : status.message);
	return r;
}

static int pull_from(struct sync_job *job, struct replica_folder *folder, struct replica_link *link,
	struct replica_channel *channel)
{
	struct replica_pull_options options = {.path = job->path};
	struct replica_pull_result result = {0};
	if (job->dry) {
		options.plan = send_plan;
		options.plan_arg = job;
	}
	int r = have_looked(job, folder, link, channel);
	if (r < 0)
		return r;
	thrum_deadline patience = thrum_after(SCAN_TIME);
	for (int i = 0; i < TRIES; i++) {
		r = replica_pull(folder, link, channel, &options, &result);
		if (not_ready_yet(r, patience))
			i = -1; /* as often as it takes */
		else if (r < 0 || !result.retry || job->dry)
			break;
		if ((r = thrum_sleep(TRY_AGAIN)) < 0)
			break;
	}
	job->errors += result.errors;
	job->incomplete |= !result.complete;
	if (r < 0)
		say(job, "share %s: cannot pull from %s: %s", folder->name, replica_link_name(link),
			thrum_strerror(r));
	else if (result.retry)
		say(job, "share %s: files kept changing while they were synced; try again",
			folder->name);
	return r;
}

static int push_to(struct sync_job *job, struct replica_folder *folder, struct replica_link *link,
	struct replica_channel *channel)
{
	Replicad__V1__PullRequest request = REPLICAD__V1__PULL_REQUEST__INIT;
	Replicad__V1__PullReply *reply;
	struct rpc_status status;
	request.share = control_bytes(folder->uuid, sizeof(folder->uuid));
	request.path = control_bytes(job->path, strlen(job->path));
	thrum_deadline patience = thrum_after(SCAN_TIME);
	int r = 0;
	for (int i = 0; i < TRIES; i++) {
		r = rpc_client_unary(channel->client, "/replicad.v1.Peer/Pull", &request.base,
			&replicad__v1__pull_reply__descriptor, (ProtobufCMessage **)&reply,
			thrum_after(PUSH_TIME), &status);
		if (not_ready_yet(r, patience)) {
			i = -1;
			if ((r = thrum_sleep(TRY_AGAIN)) < 0)
				break;
			continue;
		}
		if (r < 0)
			break;
		bool again = !reply->complete && reply->conflicts == 0 && reply->errors == 0;
		job->incomplete |= !reply->complete && i + 1 == TRIES;
		if (!again) {
			job->errors += reply->errors;
			job->incomplete |= !reply->complete;
		}
		if (reply->errors > 0)
			say(job,
				"share %s: %s could not take %llu files; see 'replica status' "
				"there",
				folder->name, replica_link_name(link),
				(unsigned long long)reply->errors);
		rpc_message_free(&reply->base);
		if (!again)
			break;
		if ((r = thrum_sleep(TRY_AGAIN)) < 0)
			break;
	}
	if (r < 0) {
		job->incomplete = true;
		say(job, "share %s: %s could not pull from here: %s", folder->name,
			replica_link_name(link),
			r == -ECONNRESET ? "the connection was lost" : status.message);
	}
	return r;
}

/* The links of a folder's members. [lock] held; links live as long as the daemon. NULL-terminated,
 * or NULL. */
static struct replica_link **members(struct replica_folder *folder)
{
	struct replica_daemon *daemon = folder->daemon;
	size_t count = 0;
	thrum__list_foreach (node, &daemon->links)
		count++;
	struct replica_link **links = calloc(count + 1, sizeof(struct replica_link *));
	size_t n = 0;
	thrum__list_foreach (node, &daemon->links) {
		struct replica_link *link = thrum__container_of(node, struct replica_link, node);
		if (links != NULL &&
			replica_index_is_member(daemon->index, folder->id, link->peer) == 1)
			links[n++] = link;
	}
	return links;
}

/* Says why a member cannot be asked. */
static void say_absent(
	struct sync_job *job, struct replica_folder *folder, struct replica_link *link)
{
	replica_lock(job->daemon);
	bool connected = link->channel != NULL;
	if (connected)
		say(job, "share %s: %s does not have the share open yet; try again", folder->name,
			replica_link_name(link));
	else
		say(job, "share %s: %s is not connected%s%s", folder->name, replica_link_name(link),
			link->error[0] ? ": " : "", link->error);
	replica_unlock(job->daemon);
}

/* Does one direction with every connected member. */
static int with_members(
	struct sync_job *job, struct replica_folder *folder, struct replica_link **links, bool push)
{
	for (size_t i = 0; links[i] != NULL; i++) {
		/* One that is just being connected gets a moment; a first scan gets its time. */
		struct replica_channel *channel = replica_channel_await(
			links[i], folder, job->patience, thrum_after(SCAN_TIME));
		if (channel == NULL) {
			job->incomplete = true;
			if (!push)
				say_absent(job, folder, links[i]);
			continue;
		}
		job->peers += !push;
		show(job, push ? "push" : "pull", folder, replica_link_name(links[i]));
		int r = push ? push_to(job, folder, links[i], channel)
			     : pull_from(job, folder, links[i], channel);
		replica_channel_release(links[i], channel);
		if (r == -ECANCELED)
			return r;
		job->incomplete |= r < 0;
	}
	return 0;
}

/* Syncs one entered folder with all its peers. */
static int sync_folder(struct sync_job *job, struct replica_folder *folder)
{
	/* Whoever pulls it: a session may be at it already. */
	uint64_t before = __atomic_load_n(&folder->applied, __ATOMIC_RELAXED);
	show(job, "scan", folder, "");
	if (!job->dry)
		replica_watch_mark(folder->watch, job->path, true);
	int r = replica_watch_drain(folder->watch, thrum_after(SCAN_TIME));
	if (r < 0) {
		say(job, "share %s: cannot scan: %s", folder->name, thrum_strerror(r));
		job->incomplete = true;
		return r == -ECANCELED ? r : 0;
	}
	replica_lock(job->daemon);
	struct replica_link **links = members(folder);
	replica_unlock(job->daemon);
	if (links == NULL)
		return -ENOMEM;
	r = with_members(job, folder, links, false);
	if (r == 0 && !job->dry)
		r = with_members(job, folder, links, true);
	free(links);
	job->files += __atomic_load_n(&folder->applied, __ATOMIC_RELAXED) - before;
	replica_lock(job->daemon);
	job->conflicts += replica_clashes_count(folder, job->path);
	replica_unlock(job->daemon);
	return r;
}

/* Waits while a folder's first scan is under way. "": any folder's. */
static int wait_scanned(struct replica_daemon *daemon, const char *name)
{
	for (bool scanning = true; scanning;) {
		scanning = false;
		replica_lock(daemon);
		thrum__list_foreach (node, &daemon->folders) {
			const struct replica_folder *folder =
				thrum__container_of(node, struct replica_folder, node);
			if (name[0] == '\0' || strcmp(folder->name, name) == 0)
				scanning |= folder->state == REPLICA_FOLDER_SCANNING;
		}
		replica_unlock(daemon);
		/* The folder may go while we wait, so it is looked up again rather than waited on.
		 */
		if (scanning && thrum_sleep(SCAN_LOOK) < 0)
			return -ECANCELED;
	}
	return 0;
}

/* Enters the next folder to sync after the one with id `after`; NULL: no more. */
static struct replica_folder *next_folder(struct sync_job *job, int64_t after)
{
	struct replica_folder *next = NULL;
	replica_lock(job->daemon);
	thrum__list_foreach (node, &job->daemon->folders) {
		struct replica_folder *folder =
			thrum__container_of(node, struct replica_folder, node);
		if (folder->id > after && (next == NULL || folder->id < next->id))
			next = folder;
	}
	if (next != NULL && !replica_folder_enter(next)) {
		say(job, "share %s: %s", next->name,
			next->message[0] ? next->message : "the first scan is still under way");
		job->incomplete = true;
		int64_t id = next->id;
		replica_unlock(job->daemon);
		return next_folder(job, id);
	}
	replica_unlock(job->daemon);
	return next;
}

/* Syncs a folder and leaves it. */
static int visit_folder(struct sync_job *job, struct replica_folder *folder)
{
	struct replica_visitor visitor;
	replica_visitor_begin(&visitor, folder);
	int r = sync_folder(job, folder);
	show(job, "", NULL, "");
	replica_visitor_end(&visitor);
	replica_folder_leave(folder);
	return r;
}

static void *run_sync(void *arg)
{
	struct sync_job *job = arg;
	struct replica_folder *folder;
	int64_t after = 0;
	int r = 0;
	if (job->share[0] != '\0') {
		r = visit_folder(job, job->now_folder); /* entered by the caller */
	} else {
		while (r == 0 && (folder = next_folder(job, after)) != NULL) {
			after = folder->id;
			r = visit_folder(job, folder);
		}
	}
	lock_job(job);
	job->done = true;
	job->r = r;
	thrum_cond_broadcast(&job->changed);
	unlock_job(job);
	return NULL;
}

/* ---------------------------------------------------------------- the call */

/* Bytes of all links, both ways. [daemon lock] held. */
static uint64_t wire_bytes(struct replica_daemon *daemon)
{
	uint64_t sum = 0;
	thrum__list_foreach (node, &daemon->links) {
		struct replica_link *link = thrum__container_of(node, struct replica_link, node);
		sum += __atomic_load_n(&link->traffic.in, __ATOMIC_RELAXED) +
		       __atomic_load_n(&link->traffic.out, __ATOMIC_RELAXED);
	}
	return sum;
}

static uint64_t wire(struct replica_daemon *daemon)
{
	replica_lock(daemon);
	uint64_t sum = wire_bytes(daemon);
	replica_unlock(daemon);
	return sum;
}

/* Sends progress until the job is done. */
static int report(struct sync_job *job, uint64_t wire_before)
{
	int r = 0;
	for (bool done = false; !done && r == 0;) {
		Replicad__V1__SyncEvent event = REPLICAD__V1__SYNC_EVENT__INIT;
		Replicad__V1__SyncProgress progress = REPLICAD__V1__SYNC_PROGRESS__INIT;
		char share[REPLICA_SHARE_NAME_MAX + 1], peer[REPLICA_SHARE_NAME_MAX + 1];
		thrum_deadline tick = thrum_after(PROGRESS_TICK);
		r = thrum_mutex_lock(&job->lock, THRUM_FOREVER);
		if (r < 0)
			return r;
		while (!job->done && r == 0)
			r = thrum_cond_wait(&job->changed, &job->lock, tick);
		r = r == -ETIMEDOUT ? 0 : r;
		done = job->done;
		memcpy(share, job->now_share, sizeof(share));
		memcpy(peer, job->now_peer, sizeof(peer));
		if (job->now_folder != NULL) {
			const struct replica_progress *p = &job->now_folder->progress;
			progress.files_done = __atomic_load_n(&p->files_done, __ATOMIC_RELAXED);
			progress.files_total = __atomic_load_n(&p->files_total, __ATOMIC_RELAXED);
			progress.bytes_done = __atomic_load_n(&p->bytes_done, __ATOMIC_RELAXED);
			progress.bytes_total = __atomic_load_n(&p->bytes_total, __ATOMIC_RELAXED);
		}
		progress.phase = (char *)job->phase;
		thrum_mutex_unlock(&job->lock);
		if (r < 0 || done)
			break;
		progress.share = share;
		progress.peer = peer;
		progress.wire_bytes = wire(job->daemon) - wire_before;
		event.progress = &progress;
		r = rpc_call_send(job->call, &event.base, thrum_after(CONTROL_TIME));
	}
	return r;
}

static int send_result(struct sync_job *job, uint64_t wire_before)
{
	Replicad__V1__SyncEvent event = REPLICAD__V1__SYNC_EVENT__INIT;
	Replicad__V1__SyncResult result = REPLICAD__V1__SYNC_RESULT__INIT;
	result.in_sync = !job->incomplete && job->conflicts == 0 && job->errors == 0 && !job->dry;
	result.conflicts = job->conflicts;
	result.errors = job->errors;
	result.files = job->files;
	result.peers = job->peers;
	result.wire_bytes = wire(job->daemon) - wire_before;
	result.messages = job->messages;
	result.n_messages = job->message_count;
	event.result = &result;
	return rpc_call_send(job->call, &event.base, thrum_after(CONTROL_TIME));
}

/* Runs the job: beside this thread with progress, or, for a dry run, in it. */
static int run_job(struct sync_job *job)
{
	uint64_t before = wire(job->daemon);
	job->patience = thrum_after(PATIENCE);
	struct thrum_thread *worker;
	if (job->dry) {
		run_sync(job);
		return job->send_error < 0 ? job->send_error
		       : job->r < 0        ? job->r
					   : send_result(job, before);
	}
	int r = thrum_spawn(&worker, run_sync, job);
	if (r < 0) {
		if (job->now_folder != NULL)
			replica_folder_leave(job->now_folder);
		return r;
	}
	r = report(job, before);
	thrum_shield_begin();
	if (r < 0)
		thrum_cancel(worker);
	CHECK(thrum_join(worker, NULL, THRUM_FOREVER) == 0);
	thrum_shield_end();
	if (r == 0 && job->r == -ECANCELED)
		return rpc_call_fail(job->call, GRPC_ABORTED,
			"the share went out of service meanwhile; 'replica status' tells more");
	r = r < 0 ? r : job->r;
	return r < 0 ? r : send_result(job, before);
}

int control_sync(struct rpc_call *call, void *ctx)
{
	Replicad__V1__SyncRequest *request;
	struct sync_job *job = calloc(1, sizeof(*job));
	if (job == NULL)
		return -ENOMEM;
	int r = control_recv(call, &replicad__v1__sync_request__descriptor, &request);
	if (r < 0)
		goto free_job;
	job->daemon = ctx;
	job->call = call;
	job->share = request->share;
	job->dry = request->dry_run;
	job->phase = "";
	r = control_path(call, &request->path, job->path);
	if (r == 0)
		r = wait_scanned(ctx, job->share);
	if (r == 0 && job->share[0] != '\0')
		r = control_enter(call, ctx, job->share, &job->now_folder);
	if (r == 0)
		r = run_job(job);
	for (size_t i = 0; i < job->message_count; i++)
		free(job->messages[i]);
	rpc_message_free(&request->base);
free_job:
	free(job);
	return r;
}

/* ---------------------------------------------------------------- resolving */

int control_resolve(struct rpc_call *call, void *ctx)
{
	Replicad__V1__ResolveRequest *request;
	struct replica_folder *folder;
	char path[REPLICA_PATH_MAX + 1], text[REPLICA_TEXT];
	int r = control_recv(call, &replicad__v1__resolve_request__descriptor, &request);
	if (r < 0)
		return r;
	r = control_path(call, &request->path, path);
	if (r == 0)
		r = control_enter(call, ctx, request->share, &folder);
	if (r == 0) {
		r = replica_conflict_resolve(folder, path, request->keep, text);
		replica_folder_leave(folder);
		if (r < 0 && text[0] != '\0')
			r = rpc_call_fail(call, grpc_status_from_error(r), "%s", text);
	}
	if (r == 0)
		r = control_done(call);
	rpc_message_free(&request->base);
	return r;
}
