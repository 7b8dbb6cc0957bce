/* SPDX-License-Identifier: MIT */
#include "hostile.h"

#include "replica/hash.h"

/* ---------------------------------------------------------------- its Peer service */

static int hello(struct rpc_call *call, void *ctx)
{
	const struct stranger *stranger = ctx;
	Replicad__V1__HelloRequest *request;
	Replicad__V1__HelloReply reply = REPLICAD__V1__HELLO_REPLY__INIT;
	int r = rpc_call_recv(call, &replicad__v1__hello_request__descriptor,
		(ProtobufCMessage **)&request, THRUM_FOREVER);
	if (r < 0)
		return r;
	rpc_message_free(&request->base);
	reply.version = 1;
	reply.replica_id =
		(ProtobufCBinaryData){sizeof(stranger_id.bytes), (uint8_t *)stranger_id.bytes};
	reply.name = (char *)stranger->name;
	return rpc_call_send(call, &reply.base, THRUM_FOREVER);
}

/* The stranger's vector: {its id: its time}; a buffer of 24 bytes. */
static ProtobufCBinaryData own_vector(const struct stranger *stranger, uint8_t bytes[24])
{
	struct replica_vt vt = {0};
	replica_vt_single(&vt, &stranger_id, __atomic_load_n(&stranger->time, __ATOMIC_ACQUIRE));
	replica_vt_encode(&vt, bytes);
	return (ProtobufCBinaryData){replica_vt_encoded_size(&vt), bytes};
}

/* Tells of its vector whenever its time has moved. */
static int tell(struct rpc_call *call, struct stranger *stranger)
{
	int r = 0;
	for (uint64_t told = UINT64_MAX; r == 0; r = r < 0 ? r : thrum_sleep(2 * THRUM_MS)) {
		Replicad__V1__WatchEvent event = REPLICAD__V1__WATCH_EVENT__INIT;
		uint8_t bytes[24];
		uint64_t now = __atomic_load_n(&stranger->time, __ATOMIC_ACQUIRE);
		if (now == told)
			continue;
		told = now;
		event.m = event.s = own_vector(stranger, bytes);
		r = rpc_call_send(call, &event.base, THRUM_FOREVER);
	}
	return r;
}

static int watch(struct rpc_call *call, void *ctx)
{
	struct stranger *stranger = ctx;
	Replicad__V1__WatchRequest *request;
	int r = rpc_call_recv(call, &replicad__v1__watch_request__descriptor,
		(ProtobufCMessage **)&request, THRUM_FOREVER);
	if (r < 0)
		return r;
	rpc_message_free(&request->base);
	return stranger->watch != NULL ? stranger->watch(call, stranger) : tell(call, stranger);
}

static int list(struct rpc_call *call, void *ctx)
{
	struct stranger *stranger = ctx;
	Replicad__V1__ListRequest *request;
	char dir[512];
	int r = rpc_call_recv(call, &replicad__v1__list_request__descriptor,
		(ProtobufCMessage **)&request, THRUM_FOREVER);
	if (r < 0)
		return r;
	snprintf(dir, sizeof(dir), "%.*s", (int)request->path.len, (char *)request->path.data);
	rpc_message_free(&request->base);
	__atomic_fetch_add(&stranger->lists, 1, __ATOMIC_RELEASE);
	return stranger->list != NULL ? stranger->list(call, stranger, dir)
				      : send_entries(call, stranger, NULL, 0);
}

static int fetch(struct rpc_call *call, void *ctx)
{
	struct stranger *stranger = ctx;
	Replicad__V1__FetchUp *up;
	int r = rpc_call_recv(
		call, &replicad__v1__fetch_up__descriptor, (ProtobufCMessage **)&up, THRUM_FOREVER);
	if (r < 0)
		return r;
	__atomic_fetch_add(&stranger->fetches, 1, __ATOMIC_RELEASE);
	r = stranger->fetch != NULL && up->request != NULL
		    ? stranger->fetch(call, stranger, up->request)
		    : GRPC_NOT_FOUND;
	rpc_message_free(&up->base);
	return r;
}

static const struct rpc_method methods[] = {
	{"/replicad.v1.Peer/Hello", RPC_UNARY, hello},
	{"/replicad.v1.Peer/Watch", RPC_SERVER_STREAM, watch},
	{"/replicad.v1.Peer/List", RPC_SERVER_STREAM, list},
	{"/replicad.v1.Peer/Fetch", RPC_BIDI, fetch},
};

/* ---------------------------------------------------------------- connecting */

int stranger_dial(const struct stranger *stranger, int role, const uint8_t *token,
	struct rpc_transport **out, char *verdict)
{
	uint8_t payload[128] = {1, (uint8_t)role, (uint8_t)strlen(stranger->name)};
	size_t len = 3 + strlen(stranger->name);
	struct thrum_conn *conn;
	struct replica_daemon *victim = world.places[VICTIM].daemon;
	memcpy(payload + 3, stranger->name, len - 3);
	if (token != NULL)
		memcpy(payload + len, token, REPLICA_TOKEN_SIZE);
	struct rpc_noise_dial dial = {
		.static_key = stranger->secret,
		.remote_key = victim->dir.public_key,
		.payload = payload,
		.payload_len = len + (token != NULL ? REPLICA_TOKEN_SIZE : 0),
	};
	int r = thrum_conn_open(&conn, replica_daemon_address(victim), thrum_after(10 * THRUM_S));
	if (r == 0)
		r = rpc_noise_connect(out, conn, &dial, thrum_after(30 * THRUM_S * slowness()));
	if (verdict != NULL)
		snprintf(verdict, RPC_NOISE_VERDICT_MAX + 1, "%s", dial.verdict);
	return r;
}

void stranger_join(struct stranger *stranger)
{
	struct replica_ticket ticket;
	struct rpc_transport *transport;
	take_ticket(&ticket);
	CHECK(stranger_dial(stranger, TO_JOIN, ticket.token, &transport, NULL) == 0);
	rpc_transport_destroy(transport);
}

struct serving {
	struct stranger *stranger;
	struct rpc_transport *transport;
};

static void *serve(void *arg)
{
	struct serving serving = *(struct serving *)arg;
	free(arg);
	(void)!rpc_server_serve(serving.stranger->server, serving.transport, NULL);
	__atomic_store_n(&serving.stranger->ended, 1, __ATOMIC_RELEASE);
	return NULL;
}

void stranger_connect(struct stranger *stranger)
{
	struct rpc_server_config config = {
		.methods = methods, .method_count = thrum__countof(methods), .ctx = stranger};
	struct rpc_transport *transport;
	struct serving *serving = malloc(sizeof(*serving));
	CHECK(stranger_dial(stranger, AS_CALLER, NULL, &transport, NULL) == 0);
	CHECK(rpc_client_create(&stranger->client, transport, NULL) == 0);
	CHECK(rpc_server_create(&stranger->server, &config) == 0);
	CHECK(stranger_dial(stranger, AS_SERVER, NULL, &transport, NULL) == 0);
	*serving = (struct serving){stranger, transport};
	stranger->ended = 0;
	CHECK(thrum_spawn(&stranger->serving, serve, serving) == 0);
}

void stranger_leave(struct stranger *stranger)
{
	rpc_client_destroy(stranger->client);
	thrum_cancel(stranger->serving);
	CHECK(thrum_join(stranger->serving, NULL, THRUM_FOREVER) == 0);
	rpc_server_destroy(stranger->server);
	stranger->client = NULL;
	stranger->server = NULL;
	stranger->serving = NULL;
}

/* ---------------------------------------------------------------- what it sends */

void listed_file(
	struct listed *listed, const struct stranger *stranger, const char *name, const char *text)
{
	Replicad__V1__Entry *entry = &listed->entry;
	struct replica_hash *hash = replica_hash_create();
	CHECK(hash != NULL);
	replica_hash_add(hash, text, strlen(text));
	replica_hash_get(hash, listed->hash);
	replica_hash_destroy(hash);
	replicad__v1__entry__init(entry);
	entry->name = (ProtobufCBinaryData){strlen(name), (uint8_t *)name};
	entry->state = REPLICA_FILE;
	entry->m = entry->c = own_vector(stranger, listed->vector);
	entry->mode = 0644;
	entry->mtime_ns = 1700000000000000000;
	entry->size = strlen(text);
	entry->hash = (ProtobufCBinaryData){sizeof(listed->hash), listed->hash};
}

int send_entries(struct rpc_call *call, const struct stranger *stranger,
	Replicad__V1__Entry **entries, size_t count)
{
	Replicad__V1__ListPart part = REPLICAD__V1__LIST_PART__INIT;
	Replicad__V1__ListHead head = REPLICAD__V1__LIST_HEAD__INIT;
	uint8_t bytes[24];
	head.exists = true;
	head.m = head.s = own_vector(stranger, bytes);
	part.head = &head;
	part.entries = entries;
	part.n_entries = count;
	return rpc_call_send(call, &part.base, THRUM_FOREVER);
}

int send_chunk(struct rpc_call *call, const void *data, size_t len, uint32_t raw_len)
{
	Replicad__V1__FetchDown down = REPLICAD__V1__FETCH_DOWN__INIT;
	Replicad__V1__Chunk chunk = REPLICAD__V1__CHUNK__INIT;
	chunk.data = (ProtobufCBinaryData){len, (uint8_t *)data};
	chunk.raw_length = raw_len;
	down.chunk = &chunk;
	return rpc_call_send(call, &down.base, THRUM_FOREVER);
}
