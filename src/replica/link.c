/* SPDX-License-Identifier: MIT */
#include "replica/daemon.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>

#include "replica/peer.pb-c.h"
#include "replica/ticket.h"

/*
 * Reaching peers. Of two replicas the one that joined dials; so one of them may well sit behind a
 * router. Each wants to call the other, so the dialler opens two connections: on one it is the
 * caller, on the other it serves. What a connection is for stands in the encrypted payload of the
 * third handshake message:
 *
 *   offset  bytes
 *        0      1  version of this protocol: 1
 *        1      1  role of the dialler: 1 caller, 2 server, 3 it wants to join
 *        2      1  length n of its name
 *        3      n  name, for people
 *      3+n     16  token of a ticket (role 3 only)
 *
 * Who is let in: a key on the list of peers; or, to join, a token that is good, whose holder's key
 * is put on the list before the verdict is sent. To everybody else the connection just closes.
 *
 * Life of a channel: run_channel creates the client, offers it as link->channel, starts sessions,
 * waits for its end, takes it off, waits for its users and frees it. A newer connection of the same
 * peer replaces an older one.
 */

enum {
	PROTOCOL = 1,
	ROLE_CALLER = 1,
	ROLE_SERVER = 2,
	ROLE_JOIN = 3,
	CONNECTIONS_MAX = 16, /* of one peer to us; an honest one has two, and two dying ones */
	PAYLOAD_MAX = 3 + REPLICA_SHARE_NAME_MAX + REPLICA_TOKEN_SIZE,
};

#define HANDSHAKE_TIME (10 * THRUM_S)
#define DIAL_TIME      (15 * THRUM_S)
#define HELLO_TIME     (15 * THRUM_S)
#define BACKOFF_MIN    (100 * THRUM_MS)
#define BACKOFF_MAX    (10 * THRUM_S)

static size_t write_payload(
	uint8_t payload[PAYLOAD_MAX], int role, const char *name, const uint8_t *token)
{
	size_t n = strlen(name); /* at most REPLICA_SHARE_NAME_MAX */
	uint8_t *p = payload;
	*p++ = PROTOCOL;
	*p++ = (uint8_t)role;
	*p++ = (uint8_t)n;
	p = mempcpy(p, name, n);
	if (token != NULL)
		p = mempcpy(p, token, REPLICA_TOKEN_SIZE);
	return (size_t)(p - payload);
}

/*
 * A name as a peer gives it, made fit for logs and terminals: what would have to be escaped becomes
 * a question mark.
 */
static void take_name(char out[REPLICA_SHARE_NAME_MAX + 1], const char *name, size_t len)
{
	char escaped[4 * REPLICA_SHARE_NAME_MAX + 1], plain[sizeof(escaped)];
	size_t o = 0;
	thrum__escape(escaped, sizeof(escaped), name, len);
	for (const char *at = escaped; *at != '\0'; at++) {
		plain[o++] = *at == '\\' ? '?' : *at;
		at += *at == '\\' ? strlen("x00") : 0;
	}
	thrum__escape(out, REPLICA_SHARE_NAME_MAX + 1, plain, o); /* cuts whole characters */
}

struct payload {
	int role;
	char name[REPLICA_SHARE_NAME_MAX + 1];
	const uint8_t *token; /* NULL unless role is JOIN */
};

static bool read_payload(struct payload *out, const uint8_t *bytes, size_t len)
{
	if (len < 3 || bytes[0] != PROTOCOL || bytes[1] < ROLE_CALLER || bytes[1] > ROLE_JOIN)
		return false;
	size_t n = bytes[2], rest = len - 3;
	out->role = bytes[1];
	if (rest < n || rest - n != (out->role == ROLE_JOIN ? REPLICA_TOKEN_SIZE : 0))
		return false;
	take_name(out->name, (const char *)bytes + 3, n);
	out->token = out->role == ROLE_JOIN ? bytes + 3 + n : NULL;
	return true;
}

/* ---------------------------------------------------------------- the list of links */

static struct replica_link *find_by_key(struct replica_daemon *daemon, const uint8_t key[32])
{
	thrum__list_foreach (node, &daemon->links) {
		struct replica_link *link = thrum__container_of(node, struct replica_link, node);
		if (memcmp(link->key, key, sizeof(link->key)) == 0)
			return link;
	}
	return NULL;
}

const char *replica_link_name(const struct replica_link *link)
{
	const struct replica_link_name *name = __atomic_load_n(&link->name_, __ATOMIC_ACQUIRE);
	return name != NULL ? name->text : "a peer";
}

/* [lock] held. Without memory the old name stays. */
static void set_name(struct replica_link *link, const char *text)
{
	if (link->name_ != NULL && strcmp(link->name_->text, text) == 0)
		return;
	struct replica_link_name *name = calloc(1, sizeof(*name));
	if (name == NULL)
		return;
	snprintf(name->text, sizeof(name->text), "%s", text);
	name->older = link->name_;
	__atomic_store_n(&link->name_, name, __ATOMIC_RELEASE);
}

struct replica_link *replica_link_get(
	struct replica_daemon *daemon, const struct replica_peer *peer)
{
	struct replica_link *link = find_by_key(daemon, peer->key);
	if (link == NULL) {
		link = calloc(1, sizeof(*link));
		if (link == NULL)
			return NULL;
		link->daemon = daemon;
		link->peer = peer->id;
		memcpy(link->key, peer->key, sizeof(link->key));
		link->last_sync_us = peer->last_sync_us;
		link->replica = peer->replica;
		thrum__list_push_back(&daemon->links, &link->node);
	}
	set_name(link, peer->name);
	if (peer->address[0] != '\0')
		snprintf(link->address, sizeof(link->address), "%s", peer->address);
	return link;
}

void replica_link_free(struct replica_link *link)
{
	while (link->name_ != NULL) {
		struct replica_link_name *older = link->name_->older;
		free(link->name_);
		link->name_ = older;
	}
	free(link);
}

/* The session of the live channel with a folder, or NULL. [lock] held. */
static struct replica_session *find_session(
	struct replica_link *link, const struct replica_folder *folder)
{
	thrum__list_foreach (node, &link->sessions) {
		struct replica_session *session =
			thrum__container_of(node, struct replica_session, node);
		if (session->folder == folder && session->channel == link->channel)
			return session;
	}
	return NULL;
}

struct replica_channel *replica_channel_use(
	struct replica_link *link, const struct replica_folder *folder)
{
	const struct replica_session *session = find_session(link, folder);
	if (session == NULL || !session->heard)
		return NULL;
	link->channel->users++;
	return link->channel;
}

struct replica_channel *replica_channel_await(struct replica_link *link,
	const struct replica_folder *folder, thrum_deadline deadline, thrum_deadline scanned)
{
	struct replica_daemon *daemon = link->daemon;
	struct replica_channel *channel;
	int r = 0;
	replica_lock(daemon);
	thrum_shield_end(); /* this wait may be cancelled */
	while ((channel = replica_channel_use(link, folder)) == NULL && r == 0 &&
		(link->channel != NULL || link->error[0] == '\0')) {
		const struct replica_session *session = find_session(link, folder);
		bool scanning = session != NULL && session->scanning;
		r = thrum_cond_wait(&link->idle, &daemon->lock, scanning ? scanned : deadline);
	}
	thrum_shield_begin();
	replica_unlock(daemon);
	return channel;
}

void replica_channel_release(struct replica_link *link, struct replica_channel *channel)
{
	replica_lock(link->daemon);
	channel->users--;
	thrum_cond_broadcast(&link->idle);
	replica_unlock(link->daemon);
}

/* ---------------------------------------------------------------- channels */

/* One Hello call, telling what we know of the replica `known_id`. Gives whom it reached. */
static int hello_once(struct replica_link *link, struct rpc_client *client,
	const struct replica_id *known_id, struct replica_id *who,
	char name[REPLICA_SHARE_NAME_MAX + 1])
{
	struct replica_daemon *daemon = link->daemon;
	Replicad__V1__HelloRequest request = REPLICAD__V1__HELLO_REQUEST__INIT;
	Replicad__V1__HelloReply *reply;
	struct replica_vt known = {0};
	uint8_t bytes[REPLICA_VT_ITEM_SIZE];
	uint64_t time = 0;

	replica_lock(daemon);
	struct replica_id id = *replica_index_id(daemon->index);
	int r = replica_index_known(daemon->index, known_id, &time);
	replica_unlock(daemon);
	if (r < 0)
		return r;
	replica_vt_single(&known, known_id, time);
	replica_vt_encode(&known, bytes);
	request.version = PROTOCOL;
	request.replica_id = (ProtobufCBinaryData){sizeof(id.bytes), id.bytes};
	request.name = daemon->name;
	request.known = (ProtobufCBinaryData){replica_vt_encoded_size(&known), bytes};
	r = rpc_client_unary(client, "/replicad.v1.Peer/Hello", &request.base,
		&replicad__v1__hello_reply__descriptor, (ProtobufCMessage **)&reply,
		thrum_after(HELLO_TIME), NULL);
	if (r < 0)
		return r;
	if (reply->version == PROTOCOL && reply->replica_id.len == REPLICA_ID_SIZE) {
		memcpy(who->bytes, reply->replica_id.data, REPLICA_ID_SIZE);
		take_name(name, reply->name, strlen(reply->name));
	} else {
		r = THRUM_EFORMAT;
	}
	rpc_message_free(&reply->base);
	return r;
}

/* Learns who the peer says it is, and tells it what is known of it here. */
static int hello(struct replica_link *link, struct rpc_client *client)
{
	struct replica_daemon *daemon = link->daemon;
	struct replica_peer peer = {.address = link->address};
	struct replica_id expected;
	char name[REPLICA_SHARE_NAME_MAX + 1];
	replica_lock(daemon);
	expected = link->replica;
	replica_unlock(daemon);
	int r = hello_once(link, client, &expected, &peer.replica, name);
	/* Twice at most: a replica that changes its id between two calls is told the next time. */
	if (r == 0 && memcmp(&expected, &peer.replica, sizeof(expected)) != 0) {
		expected = peer.replica;
		r = hello_once(link, client, &expected, &peer.replica, name);
	}
	if (r < 0)
		return r;
	replica_lock(daemon);
	link->replica = peer.replica;
	if (name[0] != '\0')
		set_name(link, name);
	memcpy(peer.key, link->key, sizeof(peer.key));
	peer.name = replica_link_name(link);
	int64_t row;
	r = replica_index_begin(daemon->index);
	if (r == 0)
		r = replica_end(daemon, replica_index_peer_put(daemon->index, &peer, &row));
	replica_unlock(daemon);
	return r;
}

/* Waits until nobody uses the channel; it is no longer on offer. [lock] held. */
static void wait_idle(struct replica_link *link, struct replica_channel *channel)
{
	thrum__list_foreach (node, &link->sessions) {
		struct replica_session *session =
			thrum__container_of(node, struct replica_session, node);
		if (session->channel == channel)
			thrum_cancel(session->thread);
	}
	while (channel->users > 0)
		CHECK(thrum_cond_wait(&link->idle, &link->daemon->lock, THRUM_FOREVER) == 0);
}

/* Offers a transport on which we call, until it ends. Takes it. Returns why it ended. */
static int run_channel(struct replica_link *link, struct rpc_transport *transport)
{
	struct replica_daemon *daemon = link->daemon;
	struct replica_channel channel = {.link = link};
	char remote[THRUM_ADDRESS_MAX];
	int r = rpc_client_create(&channel.client, transport, NULL);
	if (r < 0)
		return r;
	if ((r = hello(link, channel.client)) < 0)
		goto destroy;

	replica_lock(daemon);
	if (link->channel != NULL)
		rpc_client_close(link->channel->client);
	link->channel = &channel;
	link->since_us = thrum__wall_us();
	link->error[0] = '\0';
	memcpy(remote, link->remote, sizeof(remote));
	thrum_cond_broadcast(&link->idle);
	replica_unlock(daemon);
	thrum__log(THRUM__LOG_INFO, "connected to %s (%s)", replica_link_name(link), remote);
	replica_events_publish(&daemon->events, REPLICA_EVENT_CONNECTED, NULL, NULL,
		replica_link_name(link), "%s", remote);
	replica_link_refresh(link);

	r = rpc_client_wait(channel.client, THRUM_FOREVER);

	replica_lock(daemon);
	bool current = link->channel == &channel;
	if (current) {
		link->channel = NULL;
		link->since_us = thrum__wall_us();
	}
	rpc_client_close(channel.client);
	wait_idle(link, &channel);
	replica_unlock(daemon);
	if (current) {
		const char *end = r == 0            ? "it closed"
				  : r == -ECANCELED ? "closed here"
						    : thrum_strerror(r);
		thrum__log(
			THRUM__LOG_INFO, "disconnected from %s: %s", replica_link_name(link), end);
		replica_events_publish(&daemon->events, REPLICA_EVENT_DISCONNECTED, NULL, NULL,
			replica_link_name(link), "%s", end);
	}
destroy:
	rpc_client_destroy(channel.client);
	return r;
}

/* ---------------------------------------------------------------- dialling */

/* Connects for one role. text: NULL or where a refusal goes (REPLICA_TEXT bytes). */
static int dial(struct replica_daemon *daemon, const char *address, const uint8_t key[32], int role,
	const uint8_t *token, struct rpc_transport **out, char *text)
{
	uint8_t payload[PAYLOAD_MAX];
	struct thrum_conn *conn;
	thrum_deadline deadline = thrum_after(DIAL_TIME);
	int r = thrum_conn_open(&conn, address, deadline);
	if (r < 0)
		return r;
	struct rpc_noise_dial dialled = {
		.static_key = daemon->dir.secret_key,
		.remote_key = key,
		.payload = payload,
		.payload_len = write_payload(payload, role, daemon->name, token),
	};
	r = rpc_noise_connect(out, conn, &dialled, deadline);
	sodium_memzero(payload, sizeof(payload));
	if (r == -EACCES && text != NULL)
		thrum__escape(text, REPLICA_TEXT, dialled.verdict, strlen(dialled.verdict));
	return r;
}

struct served {
	struct replica_link *link;
	struct rpc_transport *transport;
};

/* The half of a dialled pair on which we serve: when it ends, the other half shall end too. */
static void *serve_dialled(void *arg)
{
	struct served *served = arg;
	int r = rpc_server_serve(
		served->link->daemon->peer_server, served->transport, served->link);
	if (r < 0 && r != -ECANCELED)
		thrum__log(THRUM__LOG_DEBUG, "serving %s: %s", replica_link_name(served->link),
			thrum_strerror(r));
	replica_lock(served->link->daemon);
	if (served->link->channel != NULL)
		rpc_client_close(served->link->channel->client);
	replica_unlock(served->link->daemon);
	return NULL;
}

/* One connected time of a link that we dial. Returns why it ended or did not begin. */
static int dial_once(struct replica_link *link, bool *connected)
{
	struct replica_daemon *daemon = link->daemon;
	struct rpc_transport *call, *serve;
	struct thrum_thread *server;
	char address[THRUM_ADDRESS_MAX];

	replica_lock(daemon);
	memcpy(address, link->address, sizeof(address));
	memcpy(link->remote, link->address, sizeof(link->remote));
	replica_unlock(daemon);

	int r = dial(daemon, address, link->key, ROLE_CALLER, NULL, &call, NULL);
	if (r < 0)
		return r;
	r = dial(daemon, address, link->key, ROLE_SERVER, NULL, &serve, NULL);
	if (r < 0)
		goto destroy_call;
	rpc_transport_account(call, &link->traffic);
	rpc_transport_account(serve, &link->traffic);
	struct served served = {.link = link, .transport = serve};
	r = thrum_spawn(&server, serve_dialled, &served);
	if (r < 0)
		goto destroy_serve;
	*connected = true;
	r = run_channel(link, call);
	thrum_shield_begin();
	thrum_cancel(server);
	CHECK(thrum_join(server, NULL, THRUM_FOREVER) == 0);
	thrum_shield_end();
	return r;
destroy_serve:
	rpc_transport_destroy(serve);
destroy_call:
	rpc_transport_destroy(call);
	return r;
}

static void *dialler(void *arg)
{
	struct replica_link *link = arg;
	int64_t backoff = BACKOFF_MIN;
	uint64_t seed = (uint64_t)(uintptr_t)link ^ (uint64_t)thrum_now();
	while (!thrum_canceled()) {
		bool connected = false;
		int64_t began = thrum_now();
		int r = dial_once(link, &connected);
		if (connected && thrum_now() - began > BACKOFF_MAX)
			backoff = BACKOFF_MIN;
		replica_lock(link->daemon);
		if (!connected && r != -ECANCELED)
			snprintf(link->error, sizeof(link->error), "cannot reach %s: %s",
				link->address,
				r == THRUM_EAUTH
					? "it does not know this replica, or is not who it was"
					: thrum_strerror(r));
		thrum_cond_broadcast(&link->idle);
		replica_unlock(link->daemon);
		/* Half fixed, half random: replicas that lost one peer together do not come back
		 * together. */
		int64_t wait =
			backoff / 2 + (int64_t)(thrum__splitmix64(&seed) % (uint64_t)(backoff / 2));
		if (thrum_sleep(wait) < 0)
			break;
		backoff = backoff * 2 < BACKOFF_MAX ? backoff * 2 : BACKOFF_MAX;
	}
	return NULL;
}

/* replica_link_refresh; [lock] held. */
static void refresh(struct replica_link *link)
{
	struct replica_daemon *daemon = link->daemon;
	if (link->address[0] != '\0' && !link->dialling)
		link->dialling = thrum_spawn(NULL, dialler, link) == 0;
	if (link->channel == NULL)
		return;
	thrum__list_foreach (node, &daemon->folders) {
		struct replica_folder *folder =
			thrum__container_of(node, struct replica_folder, node);
		int r = replica_index_is_member(daemon->index, folder->id, link->peer);
		if (r == 1)
			r = replica_session_start(link, link->channel, folder);
		if (r < 0)
			thrum__log(THRUM__LOG_ERROR, "share %s with %s: %s", folder->name,
				replica_link_name(link), thrum_strerror(r));
	}
}

void replica_link_refresh(struct replica_link *link)
{
	replica_lock(link->daemon);
	refresh(link);
	replica_unlock(link->daemon);
}

void replica_links_refresh(struct replica_daemon *daemon)
{
	replica_lock(daemon);
	thrum__list_foreach (node, &daemon->links)
		refresh(thrum__container_of(node, struct replica_link, node));
	replica_unlock(daemon);
}

/* ---------------------------------------------------------------- accepting */

struct stranger {
	struct replica_daemon *daemon;
	int role;
	struct replica_link *link; /* who it turned out to be */
};

/* Uses a token up and puts its holder on the list. [lock] held. */
static enum rpc_verdict admit(struct stranger *stranger, const uint8_t key[32],
	const struct payload *payload, char *text, size_t cap)
{
	struct replica_daemon *daemon = stranger->daemon;
	struct replica_peer peer = {
		.name = payload->name, .address = "", .added_us = thrum__wall_us()};
	uint8_t hash[REPLICA_TOKEN_HASH_SIZE];
	int64_t share, row = 0;
	crypto_generichash(hash, sizeof(hash), payload->token, REPLICA_TOKEN_SIZE, NULL, 0);
	memcpy(peer.key, key, sizeof(peer.key));

	int r = replica_index_begin(daemon->index);
	if (r < 0)
		return RPC_VERDICT_SILENT;
	r = replica_index_ticket_use(daemon->index, hash, key, thrum__wall_us(), &share);
	if (r == 0)
		r = replica_index_peer_put(daemon->index, &peer, &row);
	if (r == 0)
		r = replica_index_member_add(daemon->index, share, row);
	r = replica_end(daemon, r);
	switch (r) {
	case 0:
		peer.id = row;
		stranger->link = replica_link_get(daemon, &peer);
		if (stranger->link == NULL)
			return RPC_VERDICT_SILENT; /* it may come again with its ticket */
		thrum__log(THRUM__LOG_INFO, "%s joined with a ticket", payload->name);
		return RPC_VERDICT_OK;
	case -EALREADY:
		snprintf(text, cap,
			"the ticket was used already; ask for a new one with 'replica invite'");
		return RPC_VERDICT_REFUSE;
	case -ETIME:
		snprintf(text, cap,
			"the ticket has expired; ask for a new one with 'replica invite'");
		return RPC_VERDICT_REFUSE;
	case -ENOENT:
		thrum__log(
			THRUM__LOG_WARN, "somebody tried to join with a ticket that is not ours");
		return RPC_VERDICT_SILENT;
	default:
		snprintf(text, cap, "the other side cannot write its index: %s", thrum_strerror(r));
		return RPC_VERDICT_REFUSE;
	}
}

static enum rpc_verdict decide(
	const uint8_t *remote_key, const void *bytes, size_t len, char *text, size_t cap, void *ctx)
{
	struct stranger *stranger = ctx;
	struct payload payload;
	if (!read_payload(&payload, bytes, len))
		return RPC_VERDICT_SILENT;
	enum rpc_verdict verdict = RPC_VERDICT_SILENT;
	replica_lock(stranger->daemon);
	stranger->role = payload.role;
	if (payload.role == ROLE_JOIN) {
		verdict = admit(stranger, remote_key, &payload, text, cap);
	} else {
		stranger->link = find_by_key(stranger->daemon, remote_key);
		if (stranger->link != NULL)
			verdict = RPC_VERDICT_OK;
		else
			thrum__log(THRUM__LOG_WARN,
				"refused a connection: its key is not on our list");
	}
	replica_unlock(stranger->daemon);
	return verdict;
}

/* Handshake. On success the transport is given and stranger says who it is and what it wants. */
static int greet(struct stranger *stranger, struct thrum_conn *conn, struct rpc_transport **out)
{
	struct replica_daemon *daemon = stranger->daemon;
	thrum_deadline deadline = thrum_after(HANDSHAKE_TIME);
	char remote[THRUM_ADDRESS_MAX] = "";
	struct replica_passage passage;
	int r = replica_gate_enter(&daemon->gate, &passage, deadline);
	if (r < 0) {
		thrum_conn_close(conn);
		return r;
	}
	if (thrum_conn_peer_address(conn, remote, sizeof(remote)) < 0)
		remote[0] = '\0';
	struct rpc_noise_listen listen = {daemon->dir.secret_key, decide, stranger};
	r = rpc_noise_accept(out, conn, &listen, deadline);
	if (!replica_gate_leave(&daemon->gate, &passage) && r == 0) {
		rpc_transport_destroy(*out);
		r = -ECANCELED;
	}
	if (r < 0) {
		if (r != -ECANCELED)
			thrum__log(THRUM__LOG_DEBUG, "handshake with %s: %s", remote,
				thrum_strerror(r));
		return r;
	}
	replica_lock(daemon);
	memcpy(stranger->link->remote, remote, sizeof(remote));
	replica_unlock(daemon);
	return 0;
}

/* Counts a connection of a peer; false if it has enough of them. */
static bool count_in(struct replica_link *link)
{
	replica_lock(link->daemon);
	bool room = link->connections < CONNECTIONS_MAX;
	link->connections += room;
	replica_unlock(link->daemon);
	return room;
}

static void count_out(struct replica_link *link)
{
	replica_lock(link->daemon);
	link->connections--;
	replica_unlock(link->daemon);
}

void replica_link_accept(struct replica_daemon *daemon, struct thrum_conn *conn)
{
	struct stranger stranger = {.daemon = daemon};
	struct rpc_transport *transport;
	if (greet(&stranger, conn, &transport) < 0)
		return;
	struct replica_link *link = stranger.link;
	int r = 0;
	if (!count_in(link)) {
		thrum__log(THRUM__LOG_WARN, "%s has %d connections to us: closing one more",
			replica_link_name(link), CONNECTIONS_MAX);
		rpc_transport_destroy(transport);
		return;
	}
	rpc_transport_account(transport, &link->traffic);
	switch (stranger.role) {
	case ROLE_CALLER:
		r = rpc_server_serve(daemon->peer_server, transport, link);
		break;
	case ROLE_SERVER:
		r = run_channel(link, transport);
		break;
	default:
		rpc_transport_destroy(transport);
		replica_link_refresh(link);
		break;
	}
	if (r < 0 && r != -ECANCELED)
		thrum__log(THRUM__LOG_DEBUG, "connection of %s: %s", replica_link_name(link),
			thrum_strerror(r));
	count_out(link);
}

/* ---------------------------------------------------------------- joining */

int replica_link_join(struct replica_daemon *daemon, const char *address, const uint8_t key[32],
	const uint8_t token[16], char *text)
{
	struct rpc_transport *transport;
	text[0] = '\0';
	int r = dial(daemon, address, key, ROLE_JOIN, token, &transport, text);
	switch (r) {
	case 0:
		rpc_transport_destroy(transport);
		return 0;
	case -EACCES:
		break; /* it said why */
	case THRUM_EAUTH:
		snprintf(text, REPLICA_TEXT,
			"%s did not accept the ticket: it is not the replica that made it, or "
			"knows no such ticket; "
			"ask for a new one with 'replica invite'",
			address);
		break;
	default:
		snprintf(text, REPLICA_TEXT,
			"cannot reach %s: %s; is replicad running there, and the address right for "
			"this network?",
			address, thrum_strerror(r));
	}
	return r;
}
