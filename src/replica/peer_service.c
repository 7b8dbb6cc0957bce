/* SPDX-License-Identifier: MIT */
#include "replica/source.h"

#include <errno.h>

#include "replica/peer.pb-c.h"

/*
 * What peers may ask. Every handler finds its share by uuid and only if the peer is a member of it:
 * to others it does not exist. A name or path that cannot be a peer's honest one closes the
 * connection.
 */

#define REQUEST_TIME (30 * THRUM_S)
#define BACK_TIME    (3 * THRUM_S) /* for a connection back that is just being made */
#define LOOK_TIME    (3600 * THRUM_S)
#define CHUNK_IDLE   (60 * THRUM_S)
#define SETTLE       (5 * THRUM_MS) /* changes that come together are told together */

/* The peer broke the rules: nothing more is said on this connection. */
static int hang_up(struct rpc_call *call, const char *what)
{
	struct replica_link *link = rpc_call_peer(call);
	thrum__log(THRUM__LOG_ERROR, "%s sent %s: closing its connection", replica_link_name(link),
		what);
	replica_events_publish(&link->daemon->events, REPLICA_EVENT_ERROR, NULL, NULL,
		replica_link_name(link), "sent %s: connection closed", what);
	rpc_call_hang_up(call);
	return rpc_call_fail(call, GRPC_INVALID_ARGUMENT, "%s", what);
}

/* Enters the folder a peer names, until leave(), or fails the call with NOT_FOUND. */
static int enter(struct rpc_call *call, const ProtobufCBinaryData *uuid,
	struct replica_visitor *visitor, struct replica_folder **out)
{
	struct replica_link *link = rpc_call_peer(call);
	struct replica_daemon *daemon = link->daemon;
	bool entered = false, scanning = false;
	replica_lock(daemon);
	thrum__list_foreach (node, &daemon->folders) {
		struct replica_folder *folder =
			thrum__container_of(node, struct replica_folder, node);
		if (uuid->len != sizeof(folder->uuid) ||
			memcmp(uuid->data, folder->uuid, uuid->len) != 0)
			continue;
		if (replica_index_is_member(daemon->index, folder->id, link->peer) == 1) {
			entered = replica_folder_enter(folder);
			scanning = folder->state == REPLICA_FOLDER_SCANNING;
		}
		*out = folder;
		break;
	}
	replica_unlock(daemon);
	if (!entered && scanning)
		return rpc_call_fail(call, GRPC_FAILED_PRECONDITION, "the first scan is under way");
	if (!entered)
		return rpc_call_fail(call, GRPC_NOT_FOUND, "no such share here now");
	replica_visitor_begin(visitor, *out);
	return 0;
}

static void leave(struct replica_visitor *visitor)
{
	struct replica_folder *folder = visitor->folder;
	replica_visitor_end(visitor);
	replica_folder_leave(folder);
}

/* Copies a path of the wire and checks it. 0, or fails the call and hangs up. */
static int take_path(
	struct rpc_call *call, const ProtobufCBinaryData *bytes, char out[REPLICA_PATH_MAX + 1])
{
	if (bytes->len > REPLICA_PATH_MAX ||
		replica_path_check(bytes->len ? (const char *)bytes->data : "", bytes->len) < 0)
		return hang_up(call, "a path that leaves the tree or is none");
	if (bytes->len > 0)
		memcpy(out, bytes->data, bytes->len);
	out[bytes->len] = '\0';
	return 0;
}

/* ---------------------------------------------------------------- Hello */

/*
 * The peer tells how much it knows of us: a database set back to an older state must get a new
 * identity before it tells anything.
 */
static int note_known(struct replica_daemon *daemon, const ProtobufCBinaryData *bytes)
{
	struct replica_vt known = {0};
	int r = replica_vt_decode(&known, bytes->data, bytes->len);
	if (r < 0)
		return r;
	replica_lock(daemon);
	struct thrum__list *first = thrum__list_first(&daemon->folders);
	r = first != NULL ? replica_index_begin(daemon->index) : 0;
	if (first != NULL && r == 0) {
		struct replica_folder *folder =
			thrum__container_of(first, struct replica_folder, node);
		r = replica_tree_restored(folder->tree, &known);
		if (r == 1)
			thrum__log(THRUM__LOG_WARN,
				"this replica was restored from an older state; it goes on under a "
				"new id");
		r = replica_end(daemon, r);
		if (r == 1)
			thrum__list_foreach (node, &daemon->folders)
				replica_folder_touch(
					thrum__container_of(node, struct replica_folder, node));
	}
	replica_unlock(daemon);
	replica_vt_fini(&known);
	return r < 0 ? r : 0;
}

static int hello(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__HelloRequest *request;
	Replicad__V1__HelloReply reply = REPLICAD__V1__HELLO_REPLY__INIT;
	struct replica_id id;
	int r = rpc_call_recv(call, &replicad__v1__hello_request__descriptor,
		(ProtobufCMessage **)&request, thrum_after(REQUEST_TIME));
	if (r < 0)
		return r;
	r = note_known(daemon, &request->known);
	rpc_message_free(&request->base);
	if (r < 0)
		return r;
	replica_lock(daemon);
	id = *replica_index_id(daemon->index);
	replica_unlock(daemon);
	reply.version = 1;
	reply.replica_id = (ProtobufCBinaryData){sizeof(id.bytes), id.bytes};
	reply.name = daemon->name;
	return rpc_call_send(call, &reply.base, thrum_after(REQUEST_TIME));
}

/* ---------------------------------------------------------------- Watch */

static int send_vectors(
	struct rpc_call *call, const struct replica_vt *m, const struct replica_vt *s)
{
	Replicad__V1__WatchEvent event = REPLICAD__V1__WATCH_EVENT__INIT;
	size_t m_len = replica_vt_encoded_size(m), s_len = replica_vt_encoded_size(s);
	uint8_t *bytes = malloc(m_len + s_len + 1);
	if (bytes == NULL)
		return -ENOMEM;
	replica_vt_encode(m, bytes);
	replica_vt_encode(s, bytes + m_len);
	event.m = (ProtobufCBinaryData){m_len, bytes};
	event.s = (ProtobufCBinaryData){s_len, bytes + m_len};
	int r = rpc_call_send(call, &event.base, THRUM_FOREVER);
	free(bytes);
	return r;
}

/* Waits until the folder's version is another than *version, which it updates. */
static int wait_change(struct replica_folder *folder, uint64_t *version)
{
	struct replica_daemon *daemon = folder->daemon;
	int r = 0;
	replica_lock(daemon);
	thrum_shield_end(); /* the client may leave meanwhile */
	while (r == 0 && folder->version == *version && !folder->closing &&
		folder->state == REPLICA_FOLDER_READY)
		r = thrum_cond_wait(&folder->changed, &daemon->lock, THRUM_FOREVER);
	thrum_shield_begin();
	*version = folder->version;
	if (r == 0 && (folder->closing || folder->state != REPLICA_FOLDER_READY))
		r = THRUM_ECLOSED;
	replica_unlock(daemon);
	return r;
}

static int watch_folder(struct rpc_call *call, struct replica_folder *folder)
{
	struct replica_vt m = {0}, s = {0}, sent_m = {0}, sent_s = {0};
	uint64_t version;
	int r = 0;
	for (bool first = true; r == 0; first = false) {
		replica_lock(folder->daemon);
		version = folder->version;
		r = replica_folder_vectors(folder, &m, &s);
		replica_unlock(folder->daemon);
		if (r == 0 && (first || !replica_vt_equal(&m, &sent_m) ||
				      !replica_vt_equal(&s, &sent_s))) {
			r = send_vectors(call, &m, &s);
			if (r == 0)
				r = replica_vt_copy(&sent_m, &m);
			if (r == 0)
				r = replica_vt_copy(&sent_s, &s);
		}
		if (r == 0)
			r = wait_change(folder, &version);
		if (r == 0)
			r = thrum_sleep(SETTLE);
	}
	replica_vt_fini(&m);
	replica_vt_fini(&s);
	replica_vt_fini(&sent_m);
	replica_vt_fini(&sent_s);
	return r == THRUM_ECLOSED ? rpc_call_fail(call, GRPC_NOT_FOUND, "no such share here now")
				  : r;
}

static int watch(struct rpc_call *call, void *ctx)
{
	Replicad__V1__WatchRequest *request;
	struct replica_folder *folder;
	struct replica_visitor visitor;
	int r = rpc_call_recv(call, &replicad__v1__watch_request__descriptor,
		(ProtobufCMessage **)&request, thrum_after(REQUEST_TIME));
	if (r < 0)
		return r;
	r = enter(call, &request->share, &visitor, &folder);
	if (r == 0) {
		r = watch_folder(call, folder);
		leave(&visitor);
	}
	rpc_message_free(&request->base);
	return r;
}

/* ---------------------------------------------------------------- List */

static int list(struct rpc_call *call, void *ctx)
{
	Replicad__V1__ListRequest *request;
	struct replica_folder *folder;
	struct replica_visitor visitor;
	char path[REPLICA_PATH_MAX + 1], name[REPLICA_NAME_MAX + 1];
	int r = rpc_call_recv(call, &replicad__v1__list_request__descriptor,
		(ProtobufCMessage **)&request, thrum_after(REQUEST_TIME));
	if (r < 0)
		return r;
	bool single = request->name.len > 0;
	r = take_path(call, &request->path, path);
	if (r == 0 && single) {
		if (replica_name_valid((const char *)request->name.data, request->name.len)) {
			memcpy(name, request->name.data, request->name.len);
			name[request->name.len] = '\0';
		} else {
			r = hang_up(call, "a name that is none");
		}
	}
	if (r == 0)
		r = enter(call, &request->share, &visitor, &folder);
	if (r == 0) {
		r = replica_serve_list(call, folder, path, single ? name : NULL);
		leave(&visitor);
	}
	rpc_message_free(&request->base);
	return r;
}

/* ---------------------------------------------------------------- Fetch */

struct serving {
	struct rpc_call *call;
	Replicad__V1__FetchUp *last; /* what recv lent */
};

static int serve_send(void *ctx, const struct replica_chunk *chunk)
{
	struct serving *serving = ctx;
	Replicad__V1__FetchDown down = REPLICAD__V1__FETCH_DOWN__INIT;
	Replicad__V1__Chunk message = REPLICAD__V1__CHUNK__INIT;
	message.data = (ProtobufCBinaryData){chunk->len, (uint8_t *)chunk->data};
	message.raw_length = chunk->raw_len;
	down.chunk = &message;
	return rpc_call_send(serving->call, &down.base, thrum_after(CHUNK_IDLE));
}

static int serve_recv(void *ctx, struct replica_chunk *chunk)
{
	struct serving *serving = ctx;
	if (serving->last != NULL)
		rpc_message_free(&serving->last->base);
	serving->last = NULL;
	int r = rpc_call_recv(serving->call, &replicad__v1__fetch_up__descriptor,
		(ProtobufCMessage **)&serving->last, thrum_after(CHUNK_IDLE));
	if (r < 0)
		return r;
	if (serving->last->chunk == NULL)
		return THRUM_EFORMAT;
	*chunk = (struct replica_chunk){serving->last->chunk->data.data,
		serving->last->chunk->data.len, serving->last->chunk->raw_length};
	return 0;
}

/* The identity of the file whose version the peer wants; THRUM_ECHANGED if that is not the one here
 * now. */
static int find_version(struct replica_folder *folder, const char *path,
	const Replicad__V1__FetchRequest *request, struct replica_stat *out)
{
	struct replica_entry entry = {0};
	replica_lock(folder->daemon);
	int r = replica_tree_leaf(folder->tree, path, &entry);
	replica_unlock(folder->daemon);
	if (r == 0 &&
		(entry.version.state != REPLICA_FILE || entry.version.size != request->size ||
			request->hash.len != REPLICA_HASH_SIZE ||
			memcmp(entry.version.hash, request->hash.data, REPLICA_HASH_SIZE) != 0))
		r = THRUM_ECHANGED;
	if (r == 0)
		replica_expected_stat(&entry, out);
	replica_entry_fini(&entry);
	return r == -ENOENT ? THRUM_ECHANGED : r;
}

static int serve_file(struct rpc_call *call, struct replica_folder *folder, const char *path,
	const Replicad__V1__FetchRequest *request)
{
	struct replica_stat expect;
	int r = find_version(folder, path, request, &expect);
	if (r < 0)
		return r;
	struct serving serving = {.call = call};
	struct replica_chunk_io io = {.ctx = &serving, .send = serve_send, .recv = serve_recv};
	struct replica_transfer_stats stats = {0};
	r = replica_serve_file(folder->root, path, &expect, request->basis, &io, &stats);
	if (serving.last != NULL)
		rpc_message_free(&serving.last->base);
	if (r == THRUM_ECHANGED || r == -ENOENT) {
		replica_watch_mark(folder->watch, path, false);
		return THRUM_ECHANGED;
	}
	return r;
}

static int fetch(struct rpc_call *call, void *ctx)
{
	Replicad__V1__FetchUp *up;
	struct replica_folder *folder;
	struct replica_visitor visitor;
	char path[REPLICA_PATH_MAX + 1];
	int r = rpc_call_recv(call, &replicad__v1__fetch_up__descriptor, (ProtobufCMessage **)&up,
		thrum_after(REQUEST_TIME));
	if (r < 0)
		return r;
	r = up->request == NULL ? hang_up(call, "content for no request")
				: take_path(call, &up->request->path, path);
	if (r == 0)
		r = enter(call, &up->request->share, &visitor, &folder);
	if (r == 0) {
		r = serve_file(call, folder, path, up->request);
		leave(&visitor);
	}
	rpc_message_free(&up->base);
	return r;
}

/* ---------------------------------------------------------------- Look */

static int look(struct rpc_call *call, void *ctx)
{
	Replicad__V1__LookRequest *request;
	Replicad__V1__LookReply reply = REPLICAD__V1__LOOK_REPLY__INIT;
	struct replica_folder *folder;
	struct replica_visitor visitor;
	int r = rpc_call_recv(call, &replicad__v1__look_request__descriptor,
		(ProtobufCMessage **)&request, thrum_after(REQUEST_TIME));
	if (r < 0)
		return r;
	r = enter(call, &request->share, &visitor, &folder);
	rpc_message_free(&request->base);
	if (r != 0)
		return r;
	r = replica_watch_drain(folder->watch, thrum_after(LOOK_TIME));
	leave(&visitor);
	return r < 0 ? rpc_call_fail(call, grpc_status_from_error(r), "cannot scan: %s",
			       thrum_strerror(r))
		     : rpc_call_send(call, &reply.base, thrum_after(REQUEST_TIME));
}

/* ---------------------------------------------------------------- Pull */

static int pull(struct rpc_call *call, void *ctx)
{
	struct replica_link *link = rpc_call_peer(call);
	Replicad__V1__PullRequest *request;
	Replicad__V1__PullReply reply = REPLICAD__V1__PULL_REPLY__INIT;
	struct replica_folder *folder;
	struct replica_visitor visitor;
	char path[REPLICA_PATH_MAX + 1];
	int r = rpc_call_recv(call, &replicad__v1__pull_request__descriptor,
		(ProtobufCMessage **)&request, thrum_after(REQUEST_TIME));
	if (r < 0)
		return r;
	r = take_path(call, &request->path, path);
	if (r == 0)
		r = enter(call, &request->share, &visitor, &folder);
	rpc_message_free(&request->base);
	if (r != 0)
		return r;

	thrum_deadline back = thrum_after(BACK_TIME);
	struct replica_channel *channel = replica_channel_await(link, folder, back, back);
	if (channel == NULL) {
		r = rpc_call_fail(call, GRPC_UNAVAILABLE, "not connected back");
	} else {
		struct replica_pull_result result = {0};
		struct replica_pull_options options = {.path = path};
		r = replica_pull(folder, link, channel, &options, &result);
		replica_channel_release(link, channel);
		reply.complete = result.complete;
		reply.conflicts = result.conflicts;
		reply.errors = result.errors;
		if (r == 0)
			r = rpc_call_send(call, &reply.base, thrum_after(REQUEST_TIME));
	}
	leave(&visitor);
	return r;
}

const struct rpc_method replica_peer_methods[] = {
	{"/replicad.v1.Peer/Hello", RPC_UNARY, hello},
	{"/replicad.v1.Peer/Watch", RPC_SERVER_STREAM, watch},
	{"/replicad.v1.Peer/List", RPC_SERVER_STREAM, list},
	{"/replicad.v1.Peer/Fetch", RPC_BIDI, fetch},
	{"/replicad.v1.Peer/Look", RPC_UNARY, look},
	{"/replicad.v1.Peer/Pull", RPC_UNARY, pull},
};
const size_t replica_peer_method_count = thrum__countof(replica_peer_methods);
