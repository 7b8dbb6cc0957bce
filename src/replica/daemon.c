/* SPDX-License-Identifier: MIT */
#include "replica/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
	RESCAN_S = 600,
	STALL_S = 60,
	BACKLOG = 128,
};

#define DRAIN_TIME THRUM_S

void replica_lock(struct replica_daemon *daemon)
{
	thrum_shield_begin();
	CHECK(thrum_mutex_lock(&daemon->lock, THRUM_FOREVER) == 0);
}

void replica_unlock(struct replica_daemon *daemon)
{
	thrum_mutex_unlock(&daemon->lock);
	thrum_shield_end();
}

int replica_end(struct replica_daemon *daemon, int r)
{
	if (r >= 0) {
		int commit = replica_index_commit(daemon->index);
		if (commit >= 0)
			return r;
		r = commit;
		thrum__log(THRUM__LOG_ERROR, "cannot write the index: %s",
			replica_index_error(daemon->index));
	}
	replica_index_rollback(daemon->index);
	return r;
}

/* ---------------------------------------------------------------- accepting */

struct accepted {
	struct replica_daemon *daemon;
	struct thrum_conn *conn;
	void (*serve)(struct replica_daemon *daemon, struct thrum_conn *conn);
};

static void *serve_accepted(void *arg)
{
	struct accepted accepted = *(struct accepted *)arg;
	free(arg);
	accepted.serve(accepted.daemon, accepted.conn);
	return NULL;
}

int replica_accept_loop(struct replica_daemon *daemon, struct thrum_listener *listener,
	void (*serve)(struct replica_daemon *daemon, struct thrum_conn *conn))
{
	for (;;) {
		struct accepted *accepted = malloc(sizeof(*accepted));
		struct thrum_conn *conn;
		int r = accepted == NULL ? -ENOMEM
					 : thrum_listener_accept(listener, &conn, THRUM_FOREVER);
		if (r == 0) {
			*accepted = (struct accepted){daemon, conn, serve};
			r = thrum_spawn(NULL, serve_accepted, accepted);
			if (r == 0)
				continue;
			thrum_conn_close(conn);
		}
		free(accepted);
		if (r == -ECANCELED || r == THRUM_ECLOSED)
			return r;
		/* No descriptors or memory now: what is running will give some back. */
		thrum__log(THRUM__LOG_WARN, "cannot take a connection: %s", thrum_strerror(r));
		if ((r = thrum_sleep(100 * THRUM_MS)) < 0)
			return r;
	}
}

static void serve_control(struct replica_daemon *daemon, struct thrum_conn *conn)
{
	struct thrum_credentials who;
	struct rpc_transport *transport;
	/* The socket's directory is closed to others already; this says so a second time. */
	if (thrum_conn_peer_credentials(conn, &who) < 0 || (who.uid != geteuid() && who.uid != 0)) {
		thrum_conn_close(conn);
		return;
	}
	if (rpc_transport_plain(&transport, conn) < 0)
		return;
	thrum_waitgroup_add(&daemon->control_connections, 1);
	int r = rpc_server_serve(daemon->control_server, transport, NULL);
	thrum_waitgroup_done(&daemon->control_connections);
	if (r < 0 && r != -ECANCELED && r != -ECONNRESET && r != -EPIPE)
		thrum__log(THRUM__LOG_DEBUG, "control connection: %s", thrum_strerror(r));
}

static void *accept_control(void *arg)
{
	struct replica_daemon *daemon = arg;
	replica_accept_loop(daemon, daemon->control_listener, serve_control);
	return NULL;
}

static void *accept_peers(void *arg)
{
	struct replica_daemon *daemon = arg;
	replica_accept_loop(daemon, daemon->peer_listener, replica_link_accept);
	return NULL;
}

/* ---------------------------------------------------------------- starting */

static int load_share(void *arg, const struct replica_share *share)
{
	struct replica_folder *folder;
	int r = replica_folder_start(arg, share, &folder);
	if (r < 0)
		thrum__log(THRUM__LOG_ERROR, "share %s: cannot start: %s", share->name,
			thrum_strerror(r));
	return r;
}

static int load_peer(void *arg, const struct replica_peer *peer)
{
	return replica_link_get(arg, peer) == NULL ? -ENOMEM : 0;
}

static const char *port_of(const char *address)
{
	const char *colon = strrchr(address, ':');
	return colon != NULL ? colon + 1 : "";
}

/* Opens the peers' listener; port 0 tries the port used last time first. */
static int listen_for_peers(
	struct replica_daemon *daemon, const char *listen, char *why, size_t cap)
{
	struct thrum_listen_options options = {.backlog = BACKLOG};
	char remembered[THRUM_ADDRESS_MAX];
	int r = -EADDRNOTAVAIL;
	if (strcmp(port_of(listen), "0") == 0) {
		replica_datadir_load_listen(&daemon->dir, remembered, sizeof(remembered));
		size_t host = strlen(listen) - 1;
		if (strncmp(remembered, listen, host) == 0)
			r = thrum_listener_open(&daemon->peer_listener, remembered, &options);
	}
	if (r < 0)
		r = thrum_listener_open(&daemon->peer_listener, listen, &options);
	if (r == 0)
		r = thrum_listener_address(
			daemon->peer_listener, daemon->address, sizeof(daemon->address));
	if (r < 0) {
		snprintf(why, cap, "cannot listen on %s: %s; choose another address with --listen",
			listen, r == -EINVAL ? "this is no HOST:PORT" : thrum_strerror(r));
		return r;
	}
	replica_datadir_save_listen(&daemon->dir, daemon->address);
	return 0;
}

static int listen_for_control(struct replica_daemon *daemon, char *why, size_t cap)
{
	char address[THRUM_ADDRESS_MAX];
	int len = snprintf(address, sizeof(address), "unix:%s/socket", daemon->dir.path);
	int r = len >= (int)sizeof(address)
			? -ENAMETOOLONG
			: thrum_listener_open(&daemon->control_listener, address,
				  &(struct thrum_listen_options){.backlog = BACKLOG, .mode = 0600});
	if (r < 0)
		snprintf(why, cap, "cannot make the control socket %s/socket: %s%s",
			daemon->dir.path, thrum_strerror(r),
			r == -ENAMETOOLONG ? "; choose a --data with a shorter name" : "");
	return r;
}

static int create_servers(struct replica_daemon *daemon)
{
	struct rpc_server_config peers = {
		.methods = replica_peer_methods,
		.method_count = replica_peer_method_count,
		.ctx = daemon,
		.limits = {.max_calls = 256},
	};
	struct rpc_server_config control = {
		.methods = replica_control_methods,
		.method_count = replica_control_method_count,
		.ctx = daemon,
		.limits = {.keepalive = -1},
	};
	int r = rpc_server_create(&daemon->peer_server, &peers);
	return r < 0 ? r : rpc_server_create(&daemon->control_server, &control);
}

/* What can be done about an index that cannot be read. */
#define REMEDY "; restore it, or move it away and share and join anew"

/* Names of files are nobody else's business: SQLite gives its other files the same mode. */
static void make_private(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		close(fd);
}

int replica_daemon_create(struct replica_daemon **out, const struct replica_daemon_config *config,
	char *why, size_t why_cap)
{
	struct replica_daemon *daemon = calloc(1, sizeof(*daemon));
	if (daemon == NULL) {
		snprintf(why, why_cap, "out of memory");
		return -ENOMEM;
	}
	daemon->rescan_ns = (config->rescan_s ? config->rescan_s : RESCAN_S) * THRUM_S;
	daemon->stall_ns = (config->stall_s ? config->stall_s : STALL_S) * THRUM_S;
	if (config->name != NULL)
		snprintf(daemon->name, sizeof(daemon->name), "%s", config->name);
	else if (gethostname(daemon->name, sizeof(daemon->name) - 1) < 0)
		snprintf(daemon->name, sizeof(daemon->name), "replica");

	int r = replica_datadir_open(&daemon->dir, config->data_dir, why, why_cap);
	if (r < 0) {
		free(daemon);
		return r;
	}
	char path[4200], error[REPLICA_ERROR_TEXT_MAX];
	replica_datadir_file(&daemon->dir, "index.db", path, sizeof(path));
	make_private(path);
	r = replica_index_open(&daemon->index, path, error);
	if (r < 0) {
		snprintf(why, why_cap, "cannot open %s: %s%s", path, error,
			r == THRUM_EFORMAT ? REMEDY : "");
		goto destroy;
	}
	if ((r = create_servers(daemon)) < 0) {
		snprintf(why, why_cap, "cannot start: %s", thrum_strerror(r));
		goto destroy;
	}
	if ((r = listen_for_control(daemon, why, why_cap)) < 0 ||
		(r = listen_for_peers(daemon, config->listen, why, why_cap)) < 0)
		goto destroy;
	*out = daemon;
	return 0;
destroy:
	replica_daemon_destroy(daemon);
	return r;
}

const char *replica_daemon_address(const struct replica_daemon *daemon)
{
	return daemon->address;
}

int replica_daemon_serve(struct replica_daemon *daemon, void (*ready)(void *), void *arg)
{
	replica_lock(daemon);
	int r = replica_index_shares(daemon->index, load_share, daemon);
	if (r == 0)
		r = replica_index_peers(daemon->index, load_peer, daemon);
	if (r < 0)
		thrum__log(THRUM__LOG_ERROR, "cannot read index.db: %s%s",
			replica_index_error(daemon->index), r == THRUM_EFORMAT ? REMEDY : "");
	replica_unlock(daemon);
	if (r == 0)
		r = thrum_spawn(NULL, accept_peers, daemon);
	if (r == 0)
		r = thrum_spawn(NULL, accept_control, daemon);
	if (r == 0) {
		replica_links_refresh(daemon);
		ready(arg);
		replica_lock(daemon);
		thrum_shield_end(); /* this wait may be cancelled */
		while (!daemon->stopping && r == 0)
			r = thrum_cond_wait(&daemon->stop, &daemon->lock, THRUM_FOREVER);
		thrum_shield_begin();
		replica_unlock(daemon);
		r = r == -ECANCELED ? 0 : r;
	}
	thrum_listener_shutdown(daemon->peer_listener);
	thrum_listener_shutdown(daemon->control_listener);
	replica_events_close(&daemon->events);
	/* Answers under way still leave: "stopped" above all. Those that take long are cut off. */
	rpc_server_drain(daemon->control_server);
	if (thrum_waitgroup_wait(&daemon->control_connections, thrum_after(DRAIN_TIME)) < 0)
		thrum__log(THRUM__LOG_DEBUG, "a control connection was cut off");
	return r;
}

void replica_daemon_stop(struct replica_daemon *daemon)
{
	replica_lock(daemon);
	daemon->stopping = true;
	thrum_cond_broadcast(&daemon->stop);
	replica_unlock(daemon);
}

void replica_daemon_destroy(struct replica_daemon *daemon)
{
	if (daemon == NULL)
		return;
	struct thrum__list *node;
	while ((node = thrum__list_pop_front(&daemon->folders)) != NULL)
		replica_folder_free(thrum__container_of(node, struct replica_folder, node));
	while ((node = thrum__list_pop_front(&daemon->links)) != NULL)
		replica_link_free(thrum__container_of(node, struct replica_link, node));
	thrum_listener_close(daemon->peer_listener);
	thrum_listener_close(daemon->control_listener);
	rpc_server_destroy(daemon->peer_server);
	rpc_server_destroy(daemon->control_server);
	replica_index_close(daemon->index);
	replica_datadir_close(&daemon->dir);
	replica_events_fini(&daemon->events);
	free(daemon);
}
