/* SPDX-License-Identifier: MIT */
#include "replica/daemon.h"

#include <errno.h>

#include "replica/peer.pb-c.h"

/*
 * A session listens to one peer about one folder: the peer sends its root vectors whenever they
 * change, and what is not known here yet is pulled. A pull that met something changing is repeated
 * a moment later, one that met errors after a while; ever later while that changes nothing.
 */

#define RETRY_SOON (200 * THRUM_MS)
#define RETRY_LATE (1 * THRUM_S)
#define REOPEN     (1 * THRUM_S)

enum { DOUBLINGS = 6 }; /* of the time to a retry, while retries change nothing */

bool replica_session_in_sync(const struct replica_session *session)
{
	struct replica_vt m = {0}, s = {0};
	bool in_sync = session->heard && replica_folder_vectors(session->folder, &m, &s) == 0 &&
		       replica_vt_leq(&session->m, &s) && replica_vt_leq(&m, &session->s);
	replica_vt_fini(&m);
	replica_vt_fini(&s);
	return in_sync;
}

/* Takes an event in. 1: there is something to pull; 0: nothing; or an error. */
static int hear(struct replica_session *session, const Replicad__V1__WatchEvent *event)
{
	struct replica_vt m = {0}, s = {0}, mine_m = {0}, mine_s = {0};
	replica_lock(session->folder->daemon);
	int r = replica_vt_decode(&m, event->m.data, event->m.len);
	if (r == 0)
		r = replica_vt_decode(&s, event->s.data, event->s.len);
	if (r == 0)
		r = replica_folder_vectors(session->folder, &mine_m, &mine_s);
	if (r == 0) {
		r = !replica_vt_leq(&m, &mine_s);
		replica_vt_fini(&session->m);
		replica_vt_fini(&session->s);
		session->m = m;
		session->s = s;
		if (!session->heard)
			thrum_cond_broadcast(&session->link->idle);
		session->heard = true;
		session->scanning = false;
		m = s = (struct replica_vt){0};
	}
	replica_unlock(session->folder->daemon);
	replica_vt_fini(&m);
	replica_vt_fini(&s);
	replica_vt_fini(&mine_m);
	replica_vt_fini(&mine_s);
	return r;
}

/*
 * Pulls everything. Gives when to try again: THRUM_FOREVER if only news is worth it.
 * vain: how many of the last tries changed nothing.
 */
static int pull_all(struct replica_session *session, unsigned *vain, thrum_deadline *again)
{
	struct replica_pull_result result = {0};
	struct replica_pull_options options = {.path = ""};
	unsigned doublings = *vain;
	*again = THRUM_FOREVER;
	int r = replica_pull(session->folder, session->link, session->channel, &options, &result);
	if (r >= 0 && ((!result.retry && result.errors == 0) || result.files > 0))
		*vain = 0;
	else if (*vain < DOUBLINGS)
		++*vain;
	if (r < 0) {
		if (r != -ECANCELED)
			thrum__log(THRUM__LOG_WARN, "share %s from %s: %s", session->folder->name,
				replica_link_name(session->link), thrum_strerror(r));
		*again = thrum_after(RETRY_LATE << doublings);
		return r;
	}
	if (result.retry)
		*again = thrum_after(RETRY_SOON << doublings);
	else if (result.errors > 0)
		*again = thrum_after(RETRY_LATE << doublings);
	replica_lock(session->folder->daemon);
	session->errors = result.errors;
	replica_unlock(session->folder->daemon);
	return 0;
}

/* Starts the Watch call. */
static int open_watch(struct replica_session *session, struct rpc_call **out)
{
	Replicad__V1__WatchRequest request = REPLICAD__V1__WATCH_REQUEST__INIT;
	request.share = (ProtobufCBinaryData){sizeof(session->folder->uuid), session->folder->uuid};
	int r = rpc_client_open(
		session->channel->client, "/replicad.v1.Peer/Watch", NULL, 0, THRUM_FOREVER, out);
	if (r < 0)
		return r;
	r = rpc_call_send(*out, &request.base, THRUM_FOREVER);
	if (r < 0)
		rpc_call_destroy(*out);
	else
		rpc_call_close_send(*out);
	return r;
}

/* Hears one Watch call out. Returns why it ended. */
static int listen_to(struct replica_session *session, struct rpc_call *call)
{
	thrum_deadline again = THRUM_FOREVER;
	unsigned vain = 0;
	for (;;) {
		Replicad__V1__WatchEvent *event;
		int r = rpc_call_recv(call, &replicad__v1__watch_event__descriptor,
			(ProtobufCMessage **)&event, again);
		bool due = r == -ETIMEDOUT && thrum_now() >= again;
		if (r == 0) {
			r = hear(session, event);
			rpc_message_free(&event->base);
			due = r == 1;
		}
		if (r < 0 && !due)
			return r;
		if (!due)
			continue;
		r = pull_all(session, &vain, &again);
		if (r < 0 && (thrum_canceled() || !rpc_client_alive(session->channel->client)))
			return r;
	}
}

/* The peer broke the rules: nothing more is asked on this connection. */
static void hang_up(struct replica_session *session)
{
	struct replica_link *link = session->link;
	thrum__log(THRUM__LOG_ERROR, "%s sent malformed vectors: closing its connection",
		replica_link_name(link));
	replica_events_publish(&link->daemon->events, REPLICA_EVENT_ERROR, session->folder->name,
		NULL, replica_link_name(link), "sent malformed vectors: connection closed");
	rpc_client_close(session->channel->client);
}

/* Who waits for the peer's news learns why there are none. */
static void note_end(struct replica_session *session, int r)
{
	struct replica_link *link = session->link;
	replica_lock(link->daemon);
	session->scanning = r == -EBUSY;
	thrum_cond_broadcast(&link->idle);
	replica_unlock(link->daemon);
}

static void *session_main(void *arg)
{
	struct replica_session *session = arg;
	struct replica_link *link = session->link;
	struct replica_daemon *daemon = link->daemon;
	int r = 0;
	/* A peer that has not opened the share yet says so: ask again. */
	while (!thrum_canceled() && rpc_client_alive(session->channel->client)) {
		struct rpc_call *call;
		r = open_watch(session, &call);
		if (r == 0) {
			r = listen_to(session, call);
			rpc_call_destroy(call);
			note_end(session, r);
			if ((r == THRUM_EFORMAT || r == -EMSGSIZE) &&
				rpc_client_alive(session->channel->client))
				hang_up(session);
		}
		if (thrum_canceled() || thrum_sleep(REOPEN) < 0)
			break;
	}
	replica_lock(daemon);
	thrum__list_remove(&session->node);
	thrum_detach(session->thread);
	replica_unlock(daemon);
	replica_folder_leave(session->folder);
	replica_channel_release(link, session->channel);
	replica_vt_fini(&session->m);
	replica_vt_fini(&session->s);
	free(session);
	return NULL;
}

int replica_session_start(
	struct replica_link *link, struct replica_channel *channel, struct replica_folder *folder)
{
	thrum__list_foreach (node, &link->sessions) {
		struct replica_session *session =
			thrum__container_of(node, struct replica_session, node);
		if (session->folder == folder && session->channel == channel)
			return 0;
	}
	if (!replica_folder_enter(folder))
		return 0; /* it refreshes the links when it is ready */
	struct replica_session *session = calloc(1, sizeof(*session));
	int r = -ENOMEM;
	if (session == NULL)
		goto leave;
	*session = (struct replica_session){.link = link, .folder = folder, .channel = channel};
	r = thrum_spawn(&session->thread, session_main, session);
	if (r < 0)
		goto leave;
	channel->users++;
	thrum__list_push_back(&link->sessions, &session->node);
	return 0;
leave:
	free(session);
	folder->users--;
	return r;
}
