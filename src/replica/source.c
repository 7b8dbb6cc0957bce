/* SPDX-License-Identifier: MIT */
#include "replica/source.h"

#include <errno.h>

#include "replica/peer.pb-c.h"

enum {
	PART_ENTRIES = 256,
	CHILDREN_MAX = 10 * 1000 * 1000, /* of one directory: a bound, not a limit anybody meets */
};

#define LIST_IDLE (60 * THRUM_S) /* without room for a part */

/* ---------------------------------------------------------------- patience */

/* Bytes that must move on a connection while we wait for stall_ns; PINGs alone are fewer. */
enum { STALL_BYTES = 1024 };

/*
 * How long a peer is waited for. Slow is not stalled: what counts is what moves on the whole
 * connection, and calls share it. A peer that has stalled loses its connection, so that a pull from
 * it does not hold up all others.
 */
struct patience {
	const struct replica_source *source;
	struct rpc_traffic before;
	thrum_deadline deadline;
};

static void begin_wait(struct patience *patience, const struct replica_source *source)
{
	patience->source = source;
	patience->before = rpc_client_traffic(source->channel->client);
	patience->deadline = thrum_after(source->folder->daemon->stall_ns);
}

/* Judges the result of a wait until the deadline: true to wait again, with the next one. */
static bool wait_again(struct patience *patience, int r)
{
	const struct replica_source *source = patience->source;
	if (r != -ETIMEDOUT || thrum_now() < patience->deadline)
		return false;
	struct rpc_traffic before = patience->before;
	begin_wait(patience, source);
	if (patience->before.in - before.in + patience->before.out - before.out >= STALL_BYTES)
		return true;
	thrum__log(THRUM__LOG_WARN, "%s stalled for %lld s: closing its connection",
		replica_link_name(source->channel->link),
		(long long)(source->folder->daemon->stall_ns / THRUM_S));
	rpc_client_close(source->channel->client);
	return false;
}

/* What a peer's answer means here: it cannot cancel us; what unpacks to far more is malformed. */
static int judge(int r)
{
	if (r == -ECANCELED && !thrum_canceled())
		return -ECONNABORTED;
	return r == -EMSGSIZE ? THRUM_EFORMAT : r;
}

static int patient_recv(const struct replica_source *source, struct rpc_call *call,
	const ProtobufCMessageDescriptor *type, ProtobufCMessage **out)
{
	struct patience patience;
	int r;
	begin_wait(&patience, source);
	do
		r = rpc_call_recv(call, type, out, patience.deadline);
	while (wait_again(&patience, r));
	return judge(r);
}

static int patient_send(
	const struct replica_source *source, struct rpc_call *call, const ProtobufCMessage *message)
{
	struct patience patience;
	int r;
	begin_wait(&patience, source);
	do
		r = rpc_call_send(call, message, patience.deadline);
	while (wait_again(&patience, r));
	return judge(r);
}

/* ---------------------------------------------------------------- listings, receiving */

/* Copies bytes of the wire into a new NUL-terminated string; NULL if they hold a NUL or memory ran
 * out. */
static char *take_string(const ProtobufCBinaryData *bytes)
{
	if (bytes->len > 0 && memchr(bytes->data, 0, bytes->len) != NULL)
		return NULL;
	return strndup(bytes->len ? (const char *)bytes->data : "", bytes->len);
}

/* Takes one entry. The name and version are checked with the whole listing; here only what the copy
 * needs. */
static int take_child(struct replica_child *child, const Replicad__V1__Entry *entry)
{
	struct replica_version *version = &child->version;
	if (entry->name.len == 0 || entry->name.len > REPLICA_NAME_MAX ||
		entry->target.len > REPLICA_PATH_MAX || entry->state > REPLICA_IGNORED)
		return THRUM_EFORMAT;
	child->kind = entry->container ? REPLICA_CONTAINER : REPLICA_LEAF;
	child->name = take_string(&entry->name);
	if (child->name == NULL)
		return THRUM_EFORMAT;
	int r = replica_vt_decode(&child->m, entry->m.data, entry->m.len);
	if (r == 0)
		r = replica_vt_decode(&child->s, entry->s.data, entry->s.len);
	if (r == 0)
		r = replica_vt_decode(&child->c, entry->c.data, entry->c.len);
	if (r < 0 || entry->container)
		return r;
	version->state = (enum replica_state)entry->state;
	version->mode = entry->mode;
	version->mtime_ns = entry->mtime_ns;
	version->size = entry->size;
	if (entry->hash.len != (version->state == REPLICA_FILE ? REPLICA_HASH_SIZE : 0))
		return THRUM_EFORMAT;
	if (version->state == REPLICA_FILE)
		memcpy(version->hash, entry->hash.data, REPLICA_HASH_SIZE);
	if (version->state == REPLICA_SYMLINK &&
		(version->target = take_string(&entry->target)) == NULL)
		return THRUM_EFORMAT;
	return 0;
}

static int take_entries(
	struct replica_listing *out, size_t *cap, const Replicad__V1__ListPart *part)
{
	if (part->n_entries > CHILDREN_MAX - out->count)
		return THRUM_EFORMAT;
	if (out->count + part->n_entries > *cap) {
		size_t want = *cap ? *cap * 2 : PART_ENTRIES;
		while (want < out->count + part->n_entries)
			want *= 2;
		struct replica_child *children =
			reallocarray(out->children, want, sizeof(*children));
		if (children == NULL)
			return -ENOMEM;
		out->children = children;
		*cap = want;
	}
	for (size_t i = 0; i < part->n_entries; i++) {
		struct replica_child *child = &out->children[out->count++];
		*child = (struct replica_child){0};
		int r = take_child(child, part->entries[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_head(struct replica_listing *out, const Replicad__V1__ListHead *head)
{
	if (head == NULL)
		return THRUM_EFORMAT;
	out->exists = head->exists;
	out->mtime_ns = head->mtime_ns;
	int r = replica_vt_decode(&out->m, head->m.data, head->m.len);
	return r < 0 ? r : replica_vt_decode(&out->s, head->s.data, head->s.len);
}

static int receive_parts(
	const struct replica_source *source, struct rpc_call *call, struct replica_listing *out)
{
	size_t cap = 0;
	for (bool first = true;; first = false) {
		Replicad__V1__ListPart *part;
		int r = patient_recv(source, call, &replicad__v1__list_part__descriptor,
			(ProtobufCMessage **)&part);
		if (r == THRUM_EEOF)
			return first ? THRUM_EFORMAT : 0;
		if (r < 0)
			return r;
		if (first)
			r = take_head(out, part->head);
		if (r == 0)
			r = take_entries(out, &cap, part);
		rpc_message_free(&part->base);
		if (r < 0)
			return r;
	}
}

int replica_source_list(const struct replica_source *source, const char *dir, const char *only,
	struct replica_listing *out)
{
	Replicad__V1__ListRequest request = REPLICAD__V1__LIST_REQUEST__INIT;
	struct rpc_call *call;
	request.share = (ProtobufCBinaryData){sizeof(source->folder->uuid), source->folder->uuid};
	request.path = (ProtobufCBinaryData){strlen(dir), (uint8_t *)dir};
	if (only != NULL)
		request.name = (ProtobufCBinaryData){strlen(only), (uint8_t *)only};
	int r = rpc_client_open(
		source->channel->client, "/replicad.v1.Peer/List", NULL, 0, THRUM_FOREVER, &call);
	if (r < 0)
		return r;
	r = patient_send(source, call, &request.base);
	if (r == 0) {
		rpc_call_close_send(call);
		r = receive_parts(source, call, out);
	}
	rpc_call_destroy(call);
	if (r == 0 && only != NULL && (out->only = strdup(only)) == NULL)
		r = -ENOMEM;
	if (r == 0)
		r = replica_listing_check(out, dir[0] == '\0');
	if (r < 0)
		replica_listing_fini(out);
	return r;
}

/* ---------------------------------------------------------------- listings, sending */

/* A part under construction: messages, and one buffer that holds their encoded vectors. */
struct part {
	Replicad__V1__ListPart message;
	Replicad__V1__ListHead head;
	Replicad__V1__Entry entries[PART_ENTRIES];
	Replicad__V1__Entry *pointers[PART_ENTRIES];
	struct thrum__buf vectors;
};

/* Encodes a vector into the part; `at` is an offset until the buffer stops moving. */
static int put_vector(struct part *part, const struct replica_vt *vt, ProtobufCBinaryData *out)
{
	size_t len = replica_vt_encoded_size(vt);
	uint8_t *to = thrum__buf_reserve(&part->vectors, len);
	if (to == NULL)
		return -ENOMEM;
	replica_vt_encode(vt, to);
	out->len = len;
	out->data = (uint8_t *)(thrum__buf_len(&part->vectors) + 1);
	thrum__buf_commit(&part->vectors, len);
	return 0;
}

static void fix_vector(const struct part *part, ProtobufCBinaryData *vector)
{
	if (vector->data != NULL)
		vector->data = thrum__buf_head(&part->vectors) + ((uintptr_t)vector->data - 1);
}

static int put_child(struct part *part, const struct replica_child *child)
{
	Replicad__V1__Entry *entry = &part->entries[part->message.n_entries];
	const struct replica_version *version = &child->version;
	replicad__v1__entry__init(entry);
	entry->name = (ProtobufCBinaryData){strlen(child->name), (uint8_t *)child->name};
	entry->container = child->kind == REPLICA_CONTAINER;
	int r = put_vector(part, &child->m, &entry->m);
	if (r == 0)
		r = put_vector(part, &child->s, &entry->s);
	if (r == 0)
		r = put_vector(part, &child->c, &entry->c);
	if (r < 0)
		return r;
	if (!entry->container) {
		entry->state = version->state;
		entry->mode = version->mode;
		entry->mtime_ns = version->mtime_ns;
		entry->size = version->size;
		if (version->state == REPLICA_FILE)
			entry->hash =
				(ProtobufCBinaryData){REPLICA_HASH_SIZE, (uint8_t *)version->hash};
		if (version->target != NULL)
			entry->target = (ProtobufCBinaryData){
				strlen(version->target), (uint8_t *)version->target};
	}
	part->message.n_entries++;
	return 0;
}

static int send_part(struct rpc_call *call, struct part *part)
{
	if (part->message.head != NULL) {
		fix_vector(part, &part->head.m);
		fix_vector(part, &part->head.s);
	}
	for (size_t i = 0; i < part->message.n_entries; i++) {
		part->pointers[i] = &part->entries[i];
		fix_vector(part, &part->entries[i].m);
		fix_vector(part, &part->entries[i].s);
		fix_vector(part, &part->entries[i].c);
	}
	part->message.entries = part->pointers;
	int r = rpc_call_send(call, &part->message.base, thrum_after(LIST_IDLE));
	replicad__v1__list_part__init(&part->message);
	thrum__buf_clear(&part->vectors);
	return r;
}

static int send_listing(
	struct rpc_call *call, struct part *part, const struct replica_listing *listing)
{
	replicad__v1__list_part__init(&part->message);
	replicad__v1__list_head__init(&part->head);
	part->message.head = &part->head;
	part->head.exists = listing->exists;
	part->head.mtime_ns = listing->mtime_ns;
	int r = put_vector(part, &listing->m, &part->head.m);
	if (r == 0)
		r = put_vector(part, &listing->s, &part->head.s);
	for (size_t i = 0; r == 0 && i < listing->count; i++) {
		r = put_child(part, &listing->children[i]);
		if (r == 0 && part->message.n_entries == PART_ENTRIES)
			r = send_part(call, part);
	}
	if (r == 0 && (part->message.n_entries > 0 || part->message.head != NULL))
		r = send_part(call, part);
	return r;
}

int replica_serve_list(
	struct rpc_call *call, struct replica_folder *folder, const char *dir, const char *only)
{
	struct replica_listing listing = {0};
	replica_lock(folder->daemon);
	int r = replica_tree_list(folder->tree, dir, only, &listing);
	replica_unlock(folder->daemon);
	if (r < 0)
		return r;
	struct part *part = calloc(1, sizeof(*part));
	r = part == NULL ? -ENOMEM : send_listing(call, part, &listing);
	if (part != NULL)
		thrum__buf_fini(&part->vectors);
	free(part);
	replica_listing_fini(&listing);
	return r;
}

/* ---------------------------------------------------------------- contents */

/* One fetch as transfer.h sees it: at most two calls, one after the other. */
struct fetch {
	const struct replica_source *source;
	const char *path;
	const struct replica_fetch *want;
	struct rpc_call *call;
	Replicad__V1__FetchDown *last; /* what recv lent */
};

static int fetch_open(void *ctx, bool with_signature)
{
	struct fetch *fetch = ctx;
	Replicad__V1__FetchUp up = REPLICAD__V1__FETCH_UP__INIT;
	Replicad__V1__FetchRequest request = REPLICAD__V1__FETCH_REQUEST__INIT;
	struct replica_folder *folder = fetch->source->folder;
	rpc_call_destroy(fetch->call);
	fetch->call = NULL;
	request.share = (ProtobufCBinaryData){sizeof(folder->uuid), folder->uuid};
	request.path = (ProtobufCBinaryData){strlen(fetch->path), (uint8_t *)fetch->path};
	request.hash = (ProtobufCBinaryData){REPLICA_HASH_SIZE, (uint8_t *)fetch->want->hash};
	request.size = fetch->want->size;
	request.basis = with_signature;
	up.request = &request;
	int r = rpc_client_open(fetch->source->channel->client, "/replicad.v1.Peer/Fetch", NULL, 0,
		THRUM_FOREVER, &fetch->call);
	return r < 0 ? r : patient_send(fetch->source, fetch->call, &up.base);
}

static int fetch_send(void *ctx, const struct replica_chunk *chunk)
{
	struct fetch *fetch = ctx;
	Replicad__V1__FetchUp up = REPLICAD__V1__FETCH_UP__INIT;
	Replicad__V1__Chunk message = REPLICAD__V1__CHUNK__INIT;
	message.data = (ProtobufCBinaryData){chunk->len, (uint8_t *)chunk->data};
	message.raw_length = chunk->raw_len;
	up.chunk = &message;
	return patient_send(fetch->source, fetch->call, &up.base);
}

static int fetch_send_end(void *ctx)
{
	struct fetch *fetch = ctx;
	rpc_call_close_send(fetch->call);
	return 0;
}

static int fetch_recv(void *ctx, struct replica_chunk *chunk)
{
	struct fetch *fetch = ctx;
	if (fetch->last != NULL)
		rpc_message_free(&fetch->last->base);
	fetch->last = NULL;
	int r = patient_recv(fetch->source, fetch->call, &replicad__v1__fetch_down__descriptor,
		(ProtobufCMessage **)&fetch->last);
	if (r < 0)
		return r;
	if (fetch->last->chunk == NULL)
		return THRUM_EFORMAT;
	*chunk = (struct replica_chunk){fetch->last->chunk->data.data, fetch->last->chunk->data.len,
		fetch->last->chunk->raw_length};
	return 0;
}

int replica_source_fetch(const struct replica_source *source, const char *path,
	const struct replica_fetch *want, struct replica_staged *staged,
	struct replica_transfer_stats *stats)
{
	struct fetch fetch = {.source = source, .path = path, .want = want};
	struct replica_chunk_io io = {&fetch, fetch_open, fetch_send, fetch_send_end, fetch_recv};
	int r = replica_fetch_file(source->folder->root, want, &io, staged, stats);
	if (fetch.last != NULL)
		rpc_message_free(&fetch.last->base);
	rpc_call_destroy(fetch.call);
	return r;
}
