/* SPDX-License-Identifier: MIT */
#include "replica/control.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "replica/conflict.h"

/* The Control service: its table, and the calls that only look. Those that change things are in
 * control_*.c. */

enum { ERRORS_SHOWN = 100 };

int control_recv(struct rpc_call *call, const ProtobufCMessageDescriptor *type, void *out)
{
	return rpc_call_recv(call, type, (ProtobufCMessage **)out, thrum_after(CONTROL_TIME));
}

int control_done(struct rpc_call *call)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	return rpc_call_send(call, &empty.base, thrum_after(CONTROL_TIME));
}

/* Receives a request that says nothing. */
static int recv_empty(struct rpc_call *call)
{
	Replicad__V1__Empty *empty;
	int r = control_recv(call, &replicad__v1__empty__descriptor, &empty);
	if (r == 0)
		rpc_message_free(&empty->base);
	return r;
}

int control_enter(struct rpc_call *call, struct replica_daemon *daemon, const char *name,
	struct replica_folder **out)
{
	char message[REPLICA_TEXT];
	int status = GRPC_OK;
	replica_lock(daemon);
	struct replica_folder *folder = replica_folder_find(daemon, name);
	if (folder == NULL) {
		status = GRPC_NOT_FOUND;
	} else if (!replica_folder_enter(folder)) {
		status = GRPC_FAILED_PRECONDITION;
		snprintf(message, sizeof(message), "%s",
			folder->message[0] ? folder->message
					   : "the first scan is still under way; try again soon");
	}
	replica_unlock(daemon);
	if (status == GRPC_NOT_FOUND)
		return rpc_call_fail(
			call, status, "no share '%s'; 'replica status' lists them", name);
	if (status != GRPC_OK)
		return rpc_call_fail(call, status, "share %s: %s", name, message);
	*out = folder;
	return 0;
}

int control_path(
	struct rpc_call *call, const ProtobufCBinaryData *bytes, char out[REPLICA_PATH_MAX + 1])
{
	size_t len = bytes->len;
	while (len > 0 && bytes->data[len - 1] == '/')
		len--;
	if (len > REPLICA_PATH_MAX ||
		replica_path_check(len ? (const char *)bytes->data : "", len) < 0)
		return rpc_call_fail(call, GRPC_INVALID_ARGUMENT,
			"that is no path in a share: write NAME/PATH, without '.', '..' or empty "
			"parts");
	if (len > 0)
		memcpy(out, bytes->data, len);
	out[len] = '\0';
	return 0;
}

/* ---------------------------------------------------------------- id, stop, watch */

static int show_id(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__IdReply reply = REPLICAD__V1__ID_REPLY__INIT;
	int r = recv_empty(call);
	if (r < 0)
		return r;
	replica_lock(daemon);
	struct replica_id id = *replica_index_id(daemon->index);
	replica_unlock(daemon);
	reply.replica_id = control_bytes(id.bytes, sizeof(id.bytes));
	reply.public_key = control_bytes(daemon->dir.public_key, sizeof(daemon->dir.public_key));
	reply.listen = daemon->address;
	reply.version = (char *)THRUM_VERSION;
	reply.pid = (uint64_t)getpid();
	return rpc_call_send(call, &reply.base, thrum_after(CONTROL_TIME));
}

static int stop(struct rpc_call *call, void *ctx)
{
	int r = recv_empty(call);
	if (r == 0)
		r = control_done(call);
	if (r == 0) {
		thrum__log(THRUM__LOG_INFO, "stopping: asked to");
		replica_daemon_stop(ctx);
	}
	return r;
}

/* A string field must be UTF-8; a byte field may be anything. */
static int send_event(struct rpc_call *call, const struct replica_event *event)
{
	Replicad__V1__Event message = REPLICAD__V1__EVENT__INIT;
	char peer[REPLICA_TEXT], text[REPLICA_TEXT];
	message.time_us = event->time_us;
	message.kind = (char *)replica_event_kind_name(event->kind);
	message.share = event->share;
	message.path = control_bytes(event->path, strlen(event->path));
	message.peer = (char *)thrum__escape(peer, sizeof(peer), event->peer, strlen(event->peer));
	message.text = (char *)thrum__escape(text, sizeof(text), event->text, strlen(event->text));
	return rpc_call_send(call, &message.base, THRUM_FOREVER);
}

static int watch(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	int r = recv_empty(call);
	uint64_t at = replica_events_now(&daemon->events);
	while (r == 0) {
		struct replica_event event;
		r = replica_events_next(&daemon->events, &at, &event, THRUM_FOREVER);
		if (r == -ENOMEM)
			r = 0;
		else if (r == 0)
			r = send_event(call, &event);
		replica_event_fini(&event);
	}
	return r == THRUM_ECLOSED ? 0 : r;
}

/* ---------------------------------------------------------------- peers */

/* What a PeerInfo borrows. */
struct peer_row {
	Replicad__V1__PeerInfo info;
	char name[REPLICA_SHARE_NAME_MAX + 1], address[THRUM_ADDRESS_MAX], error[REPLICA_TEXT];
	char **shares;
	size_t share_count;
};

static void free_rows(struct peer_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < rows[i].share_count; k++)
			free(rows[i].shares[k]);
		free(rows[i].shares);
	}
	free(rows);
}

/* Copies what is shown of a link. [lock] held. */
static int fill_row(struct replica_link *link, struct peer_row *row)
{
	struct replica_daemon *daemon = link->daemon;
	Replicad__V1__PeerInfo *info = &row->info;
	replicad__v1__peer_info__init(info);
	snprintf(row->name, sizeof(row->name), "%s", replica_link_name(link));
	memcpy(row->address, link->address[0] ? link->address : link->remote, sizeof(row->address));
	memcpy(row->error, link->error, sizeof(row->error));
	info->name = row->name;
	info->address = row->address;
	info->error = row->error;
	info->public_key = control_bytes(link->key, sizeof(link->key));
	info->connected = link->channel != NULL;
	info->since_us = link->since_us;
	info->last_sync_us = link->last_sync_us;
	info->bytes_in = __atomic_load_n(&link->traffic.in, __ATOMIC_RELAXED);
	info->bytes_out = __atomic_load_n(&link->traffic.out, __ATOMIC_RELAXED);

	size_t folders = 0;
	thrum__list_foreach (node, &daemon->folders)
		folders++;
	row->shares = calloc(folders + 1, sizeof(*row->shares));
	if (row->shares == NULL)
		return -ENOMEM;
	thrum__list_foreach (node, &daemon->folders) {
		struct replica_folder *folder =
			thrum__container_of(node, struct replica_folder, node);
		if (replica_index_is_member(daemon->index, folder->id, link->peer) != 1)
			continue;
		if ((row->shares[row->share_count] = strdup(folder->name)) == NULL)
			return -ENOMEM;
		row->share_count++;
	}
	info->shares = row->shares;
	info->n_shares = row->share_count;
	return 0;
}

static int peers(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__PeersReply reply = REPLICAD__V1__PEERS_REPLY__INIT;
	int r = recv_empty(call);
	if (r < 0)
		return r;
	size_t count = 0, filled = 0;
	replica_lock(daemon);
	thrum__list_foreach (node, &daemon->links)
		count++;
	struct peer_row *rows = calloc(count + 1, sizeof(*rows));
	Replicad__V1__PeerInfo **infos = calloc(count + 1, sizeof(*infos));
	r = rows == NULL || infos == NULL ? -ENOMEM : 0;
	thrum__list_foreach (node, &daemon->links) {
		if (r < 0)
			break;
		infos[filled] = &rows[filled].info;
		r = fill_row(thrum__container_of(node, struct replica_link, node), &rows[filled]);
		filled++;
	}
	replica_unlock(daemon);
	reply.peers = infos;
	reply.n_peers = filled;
	if (r == 0)
		r = rpc_call_send(call, &reply.base, thrum_after(CONTROL_TIME));
	if (rows != NULL)
		free_rows(rows, filled);
	free(infos);
	return r;
}

/* ---------------------------------------------------------------- status */

struct error_list {
	Replicad__V1__PathError *errors[ERRORS_SHOWN];
	size_t shown;
	uint64_t count;
};

struct status_row {
	Replicad__V1__ShareStatus status;
	Replicad__V1__SyncProgress progress;
	struct error_list errors;
	char *name, *dir, message[REPLICA_TEXT];
};

static int add_error(void *arg, const char *path, const char *text)
{
	struct error_list *list = arg;
	list->count++;
	if (list->shown == ERRORS_SHOWN)
		return 0;
	Replicad__V1__PathError *error = malloc(sizeof(*error));
	char escaped[REPLICA_ERROR_TEXT_MAX * 4];
	if (error == NULL)
		return -ENOMEM;
	replicad__v1__path_error__init(error);
	error->path = control_bytes(strdup(path), strlen(path));
	error->text = strdup(thrum__escape(escaped, sizeof(escaped), text, strlen(text)));
	list->errors[list->shown++] = error;
	return error->path.data == NULL || error->text == NULL ? -ENOMEM : 0;
}

static void free_status(struct status_row *row)
{
	for (size_t i = 0; i < row->errors.shown; i++) {
		free(row->errors.errors[i]->path.data);
		free(row->errors.errors[i]->text);
		free(row->errors.errors[i]);
	}
	free(row->name);
	free(row->dir);
}

/* Counts the peers of a folder, and whether all of them and we know all of each other. [lock] held.
 */
static void fill_peers(struct replica_folder *folder, Replicad__V1__ShareStatus *status)
{
	struct replica_daemon *daemon = folder->daemon;
	uint64_t in_sync = 0;
	thrum__list_foreach (node, &daemon->links) {
		struct replica_link *link = thrum__container_of(node, struct replica_link, node);
		if (replica_index_is_member(daemon->index, folder->id, link->peer) != 1)
			continue;
		status->peers++;
		status->peers_connected += link->channel != NULL;
		thrum__list_foreach (s, &link->sessions) {
			struct replica_session *session =
				thrum__container_of(s, struct replica_session, node);
			if (session->folder == folder && session->channel == link->channel)
				in_sync += replica_session_in_sync(session);
		}
	}
	status->in_sync =
		in_sync == status->peers && folder->state == REPLICA_FOLDER_READY && !folder->busy;
}

static const char *state_name(const struct replica_folder *folder)
{
	switch (folder->state) {
	case REPLICA_FOLDER_SCANNING:
		return "scanning";
	case REPLICA_FOLDER_MISSING:
		return "missing";
	case REPLICA_FOLDER_FAILED:
		return "error";
	default:
		return folder->busy ? "syncing" : "idle";
	}
}

/* [lock] held. */
static int fill_status(struct replica_folder *folder, struct status_row *row)
{
	struct replica_counts counts = {0};
	Replicad__V1__ShareStatus *status = &row->status;
	replicad__v1__share_status__init(status);
	replicad__v1__sync_progress__init(&row->progress);
	row->name = strdup(folder->name);
	row->dir = strdup(folder->dir);
	memcpy(row->message, folder->message, sizeof(row->message));
	int r = row->name == NULL || row->dir == NULL ? -ENOMEM
						      : replica_tree_count(folder->tree, &counts);
	if (r == 0)
		r = replica_index_errors(
			folder->daemon->index, folder->id, add_error, &row->errors);
	if (r < 0)
		return r;
	status->name = row->name;
	status->dir = control_bytes(row->dir, strlen(row->dir));
	status->message = row->message;
	status->state = (char *)state_name(folder);
	status->files = counts.files + counts.symlinks;
	status->bytes = counts.bytes;
	status->conflicts = replica_clashes_count(folder, "");
	status->errors = row->errors.count;
	status->error_list = row->errors.errors;
	status->n_error_list = row->errors.shown;
	fill_peers(folder, status);
	if (folder->busy) {
		row->progress.files_done =
			__atomic_load_n(&folder->progress.files_done, __ATOMIC_RELAXED);
		row->progress.files_total =
			__atomic_load_n(&folder->progress.files_total, __ATOMIC_RELAXED);
		row->progress.bytes_done =
			__atomic_load_n(&folder->progress.bytes_done, __ATOMIC_RELAXED);
		row->progress.bytes_total =
			__atomic_load_n(&folder->progress.bytes_total, __ATOMIC_RELAXED);
		status->progress = &row->progress;
	}
	return 0;
}

static int status(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__StatusReply reply = REPLICAD__V1__STATUS_REPLY__INIT;
	int r = recv_empty(call);
	if (r < 0)
		return r;
	size_t count = 0, filled = 0;
	replica_lock(daemon);
	thrum__list_foreach (node, &daemon->folders)
		count++;
	struct status_row *rows = calloc(count + 1, sizeof(*rows));
	Replicad__V1__ShareStatus **shares = calloc(count + 1, sizeof(*shares));
	r = rows == NULL || shares == NULL ? -ENOMEM : 0;
	thrum__list_foreach (node, &daemon->folders) {
		if (r < 0)
			break;
		shares[filled] = &rows[filled].status;
		r = fill_status(
			thrum__container_of(node, struct replica_folder, node), &rows[filled]);
		filled++;
	}
	replica_unlock(daemon);
	reply.shares = shares;
	reply.n_shares = filled;
	if (r == 0)
		r = rpc_call_send(call, &reply.base, thrum_after(CONTROL_TIME));
	for (size_t i = 0; i < filled; i++)
		free_status(&rows[i]);
	free(rows);
	free(shares);
	return r;
}

/* ---------------------------------------------------------------- conflicts */

/* One folder's part of the answer; messages borrow from its clashes and names. */
struct conflict_page {
	char *share;
	struct replica_clashes clashes;
	struct conflict_row {
		Replicad__V1__Conflict message;
		Replicad__V1__Version mine, theirs;
		char peer[REPLICA_SHARE_NAME_MAX + 1];
	} * rows;
};

static void fill_version(Replicad__V1__Version *out, const struct replica_version *version)
{
	static const char *const types[] = {"absent", "file", "symlink", "directory", "ignored"};
	replicad__v1__version__init(out);
	out->type = (char *)types[version->state];
	out->size = version->size;
	out->mtime_ns = version->mtime_ns;
	out->mode = version->mode;
	if (version->state == REPLICA_FILE)
		out->hash = control_bytes(version->hash, REPLICA_HASH_SIZE);
}

static const char *peer_name(struct replica_daemon *daemon, int64_t peer)
{
	thrum__list_foreach (node, &daemon->links) {
		struct replica_link *link = thrum__container_of(node, struct replica_link, node);
		if (link->peer == peer)
			return replica_link_name(link);
	}
	return "";
}

static const char *conflict_kind(enum replica_verdict verdict)
{
	switch (verdict) {
	case REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE:
		return "update/update";
	case REPLICA_VERDICT_CONFLICT_DELETE_UPDATE:
		return "delete/update";
	case REPLICA_VERDICT_CONFLICT_UPDATE_DELETE:
		return "update/delete";
	default:
		return "type";
	}
}

/* [lock] held. */
static int fill_page(struct replica_folder *folder, struct conflict_page *page)
{
	page->share = strdup(folder->name);
	int r = page->share == NULL ? -ENOMEM : replica_clashes_list(folder, "", &page->clashes);
	if (r < 0)
		return r;
	page->rows = calloc(page->clashes.count + 1, sizeof(*page->rows));
	if (page->rows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < page->clashes.count; i++) {
		const struct replica_clash *clash = &page->clashes.items[i];
		struct conflict_row *row = &page->rows[i];
		replicad__v1__conflict__init(&row->message);
		fill_version(&row->mine, &clash->mine);
		fill_version(&row->theirs, &clash->theirs);
		snprintf(
			row->peer, sizeof(row->peer), "%s", peer_name(folder->daemon, clash->peer));
		row->message.share = page->share;
		row->message.path = control_bytes(clash->path, strlen(clash->path));
		row->message.peer = row->peer;
		row->message.kind = (char *)conflict_kind(clash->verdict);
		row->message.mine = &row->mine;
		row->message.theirs = &row->theirs;
		row->message.since_us = clash->since_us;
	}
	return 0;
}

/* Fills a page for the share called name, or for each. [lock] held. Returns how many pages, or an
 * error. */
static int fill_pages(struct replica_daemon *daemon, const char *name, struct conflict_page *pages)
{
	int count = 0, r = 0;
	thrum__list_foreach (node, &daemon->folders) {
		struct replica_folder *folder =
			thrum__container_of(node, struct replica_folder, node);
		if (r == 0 && (name[0] == '\0' || strcmp(folder->name, name) == 0))
			r = fill_page(folder, &pages[count++]);
	}
	return r < 0 ? r : count == 0 && name[0] != '\0' ? -ENOENT : count;
}

static int send_conflicts(
	struct rpc_call *call, const struct conflict_page *pages, size_t page_count)
{
	Replicad__V1__ConflictsReply reply = REPLICAD__V1__CONFLICTS_REPLY__INIT;
	size_t total = 0;
	for (size_t i = 0; i < page_count; i++)
		total += pages[i].clashes.count;
	reply.conflicts = calloc(total + 1, sizeof(*reply.conflicts));
	if (reply.conflicts == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < page_count; i++)
		for (size_t k = 0; k < pages[i].clashes.count; k++)
			reply.conflicts[reply.n_conflicts++] = &pages[i].rows[k].message;
	int r = rpc_call_send(call, &reply.base, thrum_after(CONTROL_TIME));
	free(reply.conflicts);
	return r;
}

static int conflicts(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__NameRequest *request;
	int r = control_recv(call, &replicad__v1__name_request__descriptor, &request);
	if (r < 0)
		return r;
	size_t folders = 0;
	replica_lock(daemon);
	thrum__list_foreach (node, &daemon->folders)
		folders++;
	struct conflict_page *pages = calloc(folders + 1, sizeof(*pages));
	r = pages == NULL ? -ENOMEM : fill_pages(daemon, request->name, pages);
	replica_unlock(daemon);
	if (r >= 0)
		r = send_conflicts(call, pages, (size_t)r);
	else if (r == -ENOENT)
		r = rpc_call_fail(call, GRPC_NOT_FOUND,
			"no share '%s'; 'replica status' lists them", request->name);
	for (size_t i = 0; pages != NULL && i < folders; i++) {
		replica_clashes_fini(&pages[i].clashes);
		free(pages[i].rows);
		free(pages[i].share);
	}
	free(pages);
	rpc_message_free(&request->base);
	return r;
}

/* ---------------------------------------------------------------- why */

struct why {
	struct replica_daemon *daemon;
	Replicad__V1__WhyReply reply;
	char peer[REPLICA_SHARE_NAME_MAX + 1];
};

static int take_verdict(void *arg, const struct replica_verdict_row *row)
{
	struct why *why = arg;
	if (why->reply.known && row->when_us < why->reply.time_us)
		return 0;
	snprintf(why->peer, sizeof(why->peer), "%s", peer_name(why->daemon, row->peer));
	why->reply.known = true;
	why->reply.verdict = (char *)replica_verdict_name(row->verdict);
	why->reply.reason = (char *)replica_verdict_reason(row->verdict);
	why->reply.peer = why->peer;
	why->reply.time_us = row->when_us;
	return 0;
}

/* The newest verdict on a name: on a file there, or on a directory's own marker. [lock] held. */
static int find_verdict(struct why *why, struct replica_folder *folder, const char *path)
{
	char marker[REPLICA_PATH_MAX + sizeof("/" REPLICA_DIRMARK_NAME)];
	struct replica_index *index = why->daemon->index;
	snprintf(marker, sizeof(marker), "%s/%s", path, REPLICA_DIRMARK_NAME);
	int r = replica_index_verdict_get(index, folder->id, path, take_verdict, why);
	if (r == 0 || r == -ENOENT)
		r = replica_index_verdict_get(index, folder->id, marker, take_verdict, why);
	return r == -ENOENT ? 0 : r;
}

static int why(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	struct why answer = {.daemon = daemon, .reply = REPLICAD__V1__WHY_REPLY__INIT};
	Replicad__V1__PathRequest *request;
	char path[REPLICA_PATH_MAX + 1];
	int r = control_recv(call, &replicad__v1__path_request__descriptor, &request);
	if (r < 0)
		return r;
	r = control_path(call, &request->path, path);
	if (r == 0) {
		replica_lock(daemon);
		struct replica_folder *folder = replica_folder_find(daemon, request->share);
		r = folder == NULL ? -ESRCH : find_verdict(&answer, folder, path);
		replica_unlock(daemon);
		if (r == -ESRCH)
			r = rpc_call_fail(call, GRPC_NOT_FOUND,
				"no share '%s'; 'replica status' lists them", request->share);
		else if (r == 0)
			r = rpc_call_send(call, &answer.reply.base, thrum_after(CONTROL_TIME));
	}
	rpc_message_free(&request->base);
	return r;
}

#define METHOD(name, kind, handler)                         \
	{                                                   \
		REPLICA_CONTROL_SERVICE name, kind, handler \
	}
const struct rpc_method replica_control_methods[] = {
	METHOD("Id", RPC_UNARY, show_id),
	METHOD("Share", RPC_UNARY, control_share),
	METHOD("Unshare", RPC_UNARY, control_unshare),
	METHOD("Invite", RPC_UNARY, control_invite),
	METHOD("Join", RPC_UNARY, control_join),
	METHOD("Peers", RPC_UNARY, peers),
	METHOD("Sync", RPC_SERVER_STREAM, control_sync),
	METHOD("Status", RPC_UNARY, status),
	METHOD("Conflicts", RPC_UNARY, conflicts),
	METHOD("Resolve", RPC_UNARY, control_resolve),
	METHOD("Why", RPC_UNARY, why),
	METHOD("Watch", RPC_SERVER_STREAM, watch),
	METHOD("Stop", RPC_UNARY, stop),
};
const size_t replica_control_method_count = thrum__countof(replica_control_methods);
