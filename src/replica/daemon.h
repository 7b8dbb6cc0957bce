/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_DAEMON_H
#define REPLICA_DAEMON_H

/*
 * The daemon's parts, as its files see each other.
 *
 * Words.
 *
 *  - folder: a share as it lives here: root, tree, watcher; one green thread keeps it, the *keeper*
 *  - link: a peer and how it is reached; stays until the daemon ends
 *  - channel: one live connection to a peer on which we are the caller; a link has at most one
 *  - session: one green thread per (channel, folder): hears of the peer's changes and pulls them
 *
 *     peer ◄── dials or accepts ──► link ── channel ── sessions ──► pull ──► folder
 *                                     └── serves the peer's calls (peer_service.c) ──► folder
 *
 * One mutex, `lock`, guards the index, every tree and all fields marked [lock]. It is taken with
 * replica_lock(), which shields from cancellation until replica_unlock(): what is begun under it is
 * finished. It is held across SQLite's commits and a batch's flush, never across the network.
 * Order: folder->pulling before lock; lock before an event's.
 *
 * Ending. When replica_daemon_serve returns, the runtime cancels every green thread; each cleans up
 * after itself, and replica_daemon_destroy frees what is left once the runtime has ended.
 */

#include "base/base.h"
#include <thrum.h>

#include "replica/datadir.h"
#include "replica/event.h"
#include "replica/gate.h"
#include "replica/index.h"
#include "replica/replica.h"
#include "replica/root.h"
#include "replica/scan.h"
#include "replica/tree.h"
#include "replica/watch.h"
#include "rpc/rpc.h"

enum { REPLICA_TEXT = 512 }; /* a line for people */

struct replica_daemon {
	struct replica_datadir dir;
	char name[REPLICA_SHARE_NAME_MAX + 1];
	char address[THRUM_ADDRESS_MAX];
	int64_t rescan_ns, stall_ns;

	struct thrum_mutex lock;
	struct replica_index *index; /* [lock] */
	struct thrum__list folders;  /* [lock] */
	struct thrum__list links;    /* [lock] */
	bool stopping;               /* [lock] */
	struct thrum_cond stop;      /* [lock] */

	struct replica_events events;
	struct thrum_listener *peer_listener, *control_listener;
	struct rpc_server *peer_server, *control_server;
	struct thrum_waitgroup control_connections;
	struct replica_gate gate; /* of strangers */
};

void replica_lock(struct replica_daemon *daemon);
void replica_unlock(struct replica_daemon *daemon);

/* Ends the open transaction: commits if r >= 0, else rolls back. Returns r, or the commit's error.
 * [lock] held. */
int replica_end(struct replica_daemon *daemon, int r);

/* Accepts on listener for ever; each connection goes to serve() on a green thread of its own. */
int replica_accept_loop(struct replica_daemon *daemon, struct thrum_listener *listener,
	void (*serve)(struct replica_daemon *daemon, struct thrum_conn *conn));

/* ---------------------------------------------------------------- folder.c */

enum replica_folder_state {
	REPLICA_FOLDER_SCANNING, /* the first scan is under way */
	REPLICA_FOLDER_READY,
	REPLICA_FOLDER_MISSING, /* the root is not there */
	REPLICA_FOLDER_FAILED,  /* something else is wrong; tried again now and then */
};

struct replica_progress {
	uint64_t files_done, files_total, bytes_done, bytes_total; /* atomic */
};

struct replica_folder {
	struct thrum__list node; /* in daemon->folders */
	struct replica_daemon *daemon;
	int64_t id;
	uint8_t uuid[16];
	char *name, *dir;

	enum replica_folder_state state; /* [lock] */
	char message[REPLICA_TEXT];      /* [lock] why it is not ready */
	bool closing;                    /* [lock] */
	unsigned users;                  /* [lock] who is between enter and leave */
	struct thrum__list visitors;     /* [lock] of struct replica_visitor */
	uint64_t version;                /* [lock] counts changes of the root's vectors */
	struct thrum_cond changed;       /* [lock] version, state, users or closing changed */

	struct replica_tree *tree; /* [lock] */
	struct replica_root *root; /* while ready */
	struct replica_scan scan;
	struct replica_watch *watch; /* while ready */
	struct thrum_thread *keeper;

	struct thrum_mutex pulling; /* one pull at a time */
	bool busy;                  /* [lock] a pull is under way */
	struct replica_progress progress;
	uint64_t applied; /* atomic: leaves that pulls changed here, ever */
};

/* Brings a share of the index to life: opens its tree, starts its keeper. */
int replica_folder_start(struct replica_daemon *daemon, const struct replica_share *share,
	struct replica_folder **out);

/* Ends it: keeper, sessions and users leave; it is freed. Suspends. */
void replica_folder_stop(struct replica_folder *folder);

/* Frees it after the runtime has ended. */
void replica_folder_free(struct replica_folder *folder);

/* The folder called name, or NULL. [lock] held. */
struct replica_folder *replica_folder_find(struct replica_daemon *daemon, const char *name);

/* Uses a ready folder: true, and its root and watch stay until leave. [lock] held for enter only.
 */
bool replica_folder_enter(struct replica_folder *folder);
void replica_folder_leave(struct replica_folder *folder);

/*
 * Who stays for long in a folder that it entered says so: its green thread is cancelled when the
 * folder goes out of service. Between enter and leave.
 */
struct replica_visitor {
	struct thrum__list node; /* in folder->visitors */
	struct replica_folder *folder;
	struct thrum_thread *thread;
};
void replica_visitor_begin(struct replica_visitor *visitor, struct replica_folder *folder);
void replica_visitor_end(struct replica_visitor *visitor);

/* The root's vectors may have changed: tells those who watch. [lock] held. */
void replica_folder_touch(struct replica_folder *folder);

/* The root's m and effective s; valid vectors before. [lock] held. */
int replica_folder_vectors(
	struct replica_folder *folder, struct replica_vt *m, struct replica_vt *s);

/* What stat(2) must say of the file an index row describes. */
void replica_expected_stat(const struct replica_entry *entry, struct replica_stat *out);

/* ---------------------------------------------------------------- link.c */

struct replica_channel {
	struct replica_link *link;
	struct rpc_client *client;
	unsigned users; /* [lock] */
};

/* A name the peer has or had: they live as long as the link, so that a log line needs no lock. */
struct replica_link_name {
	struct replica_link_name *older;
	char text[REPLICA_SHARE_NAME_MAX + 1];
};

struct replica_link {
	struct thrum__list node; /* in daemon->links */
	struct replica_daemon *daemon;
	int64_t peer; /* row */
	uint8_t key[32];
	struct replica_id replica;       /* [lock] who it last said it is */
	struct replica_link_name *name_; /* atomic: replica_link_name */
	char address[THRUM_ADDRESS_MAX]; /* [lock] where it is dialled; "" if it dials us */
	char remote[THRUM_ADDRESS_MAX];  /* [lock] whence the last connection came */
	char error[REPLICA_TEXT];        /* [lock] why it cannot be reached */
	struct replica_channel *channel; /* [lock] NULL: not connected */
	int64_t since_us, last_sync_us;  /* [lock] */
	struct rpc_traffic traffic;      /* atomic; all its connections ever */
	struct thrum__list sessions;     /* [lock] */
	struct thrum_cond idle; /* [lock] a channel or a folder's first news came, or a user left;
				 * or dialling failed */
	unsigned connections;   /* [lock] that it opened to us and are served */
	bool dialling;          /* [lock] it has a dialler */
};

/* Makes the link of a peer row, or finds it. [lock] held. NULL: out of memory. */
struct replica_link *replica_link_get(
	struct replica_daemon *daemon, const struct replica_peer *peer);

/* The peer's name for people; borrowed for the link's life. Any time. */
const char *replica_link_name(const struct replica_link *link);

/* Starts what is missing: the dialler if it has an address, a session per folder both have. Any
 * time. */
void replica_link_refresh(struct replica_link *link);
void replica_links_refresh(struct replica_daemon *daemon);

/*
 * Borrows the live channel to ask about a folder, or NULL: there is none, or the peer has not said
 * yet that it has the folder open. [lock] held for use only.
 */
struct replica_channel *replica_channel_use(
	struct replica_link *link, const struct replica_folder *folder);

/*
 * The same, waiting for it until the deadline, unless dialling has failed; and until `scanned`
 * while the peer says that its first scan of the folder is under way. Suspends.
 */
struct replica_channel *replica_channel_await(struct replica_link *link,
	const struct replica_folder *folder, thrum_deadline deadline, thrum_deadline scanned);
void replica_channel_release(struct replica_link *link, struct replica_channel *channel);

/* Serves one connection from outside: handshake, then what the dialler asked for. Takes conn. */
void replica_link_accept(struct replica_daemon *daemon, struct thrum_conn *conn);

/*
 * Uses a ticket at the replica it names. 0, or a negative code with text (REPLICA_TEXT bytes)
 * saying why.
 */
int replica_link_join(struct replica_daemon *daemon, const char *address, const uint8_t key[32],
	const uint8_t token[16], char *text);

/* What is left of sessions when the runtime has ended. */
void replica_link_free(struct replica_link *link);

/* ---------------------------------------------------------------- session.c */

struct replica_session {
	struct thrum__list node; /* in link->sessions */
	struct replica_link *link;
	struct replica_folder *folder;
	struct replica_channel *channel;
	struct thrum_thread *thread;
	struct replica_vt m, s; /* [lock] the peer's root vectors, as last heard */
	bool heard;             /* [lock] */
	bool scanning;          /* [lock] its first scan of the folder is under way, it says */
	uint64_t errors;        /* [lock] of the last pull */
};

/* Starts the session of a channel with a folder unless there is one. [lock] held. */
int replica_session_start(
	struct replica_link *link, struct replica_channel *channel, struct replica_folder *folder);

/* True if both replicas know all of each other. [lock] held. */
bool replica_session_in_sync(const struct replica_session *session);

/* ---------------------------------------------------------------- pull.c */

struct replica_pull_result {
	bool complete;
	bool retry; /* something changed meanwhile: worth trying again soon */
	uint64_t conflicts, errors;
	uint64_t files; /* leaves changed here */
};

struct replica_pull_options {
	const char *path; /* "": everything */
	/* Dry run, if set: told of each leaf that would change; nothing is done. */
	void (*plan)(void *arg, const char *path, enum replica_verdict verdict);
	void *plan_arg;
};

/*
 * Pulls from the peer on the channel. The caller has entered the folder and uses the channel.
 * Returns 0 (see result), or what broke it off: a connection error, -ECANCELED, -ENXIO …
 * Suspends.
 */
int replica_pull(struct replica_folder *folder, struct replica_link *link,
	struct replica_channel *channel, const struct replica_pull_options *options,
	struct replica_pull_result *result);

/* ---------------------------------------------------------------- peer_service.c,
 * control_service.c */

extern const struct rpc_method replica_peer_methods[];
extern const size_t replica_peer_method_count;
extern const struct rpc_method replica_control_methods[];
extern const size_t replica_control_method_count;

#endif
