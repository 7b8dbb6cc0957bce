/* SPDX-License-Identifier: MIT */
#include "replica/control.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/ticket.h"

/* Shares: starting, ending, inviting, joining. */

enum { TICKET_SECONDS = 24 * 3600 };

/* ---------------------------------------------------------------- checks */

static bool within(const char *path, const char *dir)
{
	size_t len = strlen(dir);
	if (strcmp(dir, "/") == 0)
		return true;
	return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/*
 * Resolves the directory of a request to its one true name. 0, or fails the call. made: NULL (it
 * must exist), or it is made if need be and *made tells whether it was.
 */
static int take_dir(
	struct rpc_call *call, const ProtobufCBinaryData *bytes, bool *made, char out[PATH_MAX])
{
	char path[PATH_MAX];
	struct stat st;
	if (bytes->len == 0 || bytes->len >= sizeof(path) || bytes->data[0] != '/' ||
		memchr(bytes->data, 0, bytes->len) != NULL)
		return rpc_call_fail(
			call, GRPC_INVALID_ARGUMENT, "the directory must be an absolute path");
	memcpy(path, bytes->data, bytes->len);
	path[bytes->len] = '\0';
	if (made != NULL && !(*made = mkdir(path, 0755) == 0) && errno != EEXIST)
		return rpc_call_fail(call, GRPC_FAILED_PRECONDITION, "cannot make %s: %s", path,
			strerror(errno));
	if (realpath(path, out) == NULL)
		return rpc_call_fail(
			call, GRPC_FAILED_PRECONDITION, "cannot use %s: %s", path, strerror(errno));
	if (stat(out, &st) < 0 || !S_ISDIR(st.st_mode))
		return rpc_call_fail(
			call, GRPC_FAILED_PRECONDITION, "%s is not a directory; name one", path);
	return 0;
}

/* A share's name and directory must be free, and no two trees inside each other. [lock] held. Text
 * says why not. */
static bool is_free(
	struct replica_daemon *daemon, const char *name, const char *dir, char text[REPLICA_TEXT])
{
	char data[PATH_MAX];
	if (replica_folder_find(daemon, name) != NULL) {
		snprintf(text, REPLICA_TEXT,
			"there is a share '%s' already; end it with "
			"'replica unshare %s'",
			name, name);
		return false;
	}
	if (realpath(daemon->dir.path, data) != NULL && (within(data, dir) || within(dir, data))) {
		snprintf(text, REPLICA_TEXT,
			"%.200s and replicad's own data in %.200s may not lie inside each other; "
			"choose another directory",
			dir, data);
		return false;
	}
	thrum__list_foreach (node, &daemon->folders) {
		struct replica_folder *folder =
			thrum__container_of(node, struct replica_folder, node);
		const char *how = strcmp(dir, folder->dir) == 0 ? "is shared already, as"
				  : within(dir, folder->dir)    ? "lies inside the share"
				  : within(folder->dir, dir)    ? "holds the directory of the share"
								: NULL;
		if (how == NULL)
			continue;
		snprintf(text, REPLICA_TEXT, "%.300s %s '%s'; choose another directory", dir, how,
			folder->name);
		return false;
	}
	return true;
}

/* ---------------------------------------------------------------- starting and ending a share */

/* A new peer to be added with a share. */
struct inviter {
	const uint8_t *key;
	const char *address;
};

/* What an inviter is called: its address, unless it is a peer already. [lock] held. */
static const char *known_name(struct replica_daemon *daemon, const struct inviter *inviter)
{
	thrum__list_foreach (node, &daemon->links) {
		struct replica_link *link = thrum__container_of(node, struct replica_link, node);
		if (memcmp(link->key, inviter->key, sizeof(link->key)) == 0)
			return replica_link_name(link);
	}
	return inviter->address;
}

/* Puts the share (and who invited us to it) into the index and brings it to life. [lock] held. */
static int add_share(struct replica_daemon *daemon, const char *name, const char *dir,
	const uint8_t uuid[16], const struct inviter *inviter, struct replica_link **link)
{
	struct replica_share share = {.name = name, .dir = dir, .added_us = thrum__wall_us()};
	struct replica_peer peer = {.name = "", .added_us = share.added_us};
	struct replica_folder *folder;
	memcpy(share.uuid, uuid, sizeof(share.uuid));
	int r = replica_index_begin(daemon->index);
	if (r < 0)
		return r;
	r = replica_index_share_add(daemon->index, &share, &share.id);
	if (r == 0 && inviter != NULL) {
		memcpy(peer.key, inviter->key, sizeof(peer.key));
		peer.address = inviter->address;
		peer.name = known_name(daemon, inviter); /* until it says its own */
		r = replica_index_peer_put(daemon->index, &peer, &peer.id);
		if (r == 0)
			r = replica_index_member_add(daemon->index, share.id, peer.id);
	}
	r = replica_end(daemon, r);
	if (r < 0)
		return r;
	if (inviter != NULL && (*link = replica_link_get(daemon, &peer)) == NULL)
		return -ENOMEM;
	return replica_folder_start(daemon, &share, &folder);
}

/* Removes what marks a directory as a share's. Best effort: the files themselves are the person's.
 */
static void unmark(const char *dir)
{
	static const char *const files[] = {".replica/id"};
	static const char *const dirs[] = {".replica/tmp", ".replica"};
	int fd = thrum_file_open(THRUM_CWD, dir, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return;
	for (size_t i = 0; i < thrum__countof(files); i++)
		if (thrum_fs_unlink(fd, files[i]) < 0)
			thrum__log(THRUM__LOG_DEBUG, "cannot remove %s/%s", dir, files[i]);
	for (size_t i = 0; i < thrum__countof(dirs); i++)
		if (thrum_fs_rmdir(fd, dirs[i]) < 0)
			thrum__log(THRUM__LOG_DEBUG, "cannot remove %s/%s", dir, dirs[i]);
	thrum_file_close(fd);
}

/* Marks the directory as the share's; *fresh: it was not before. 0, or a status with text. */
static int mark(struct rpc_call *call, const char *dir, const uint8_t uuid[16], bool *fresh)
{
	char marker[PATH_MAX + sizeof("/.replica/id")];
	snprintf(marker, sizeof(marker), "%s/.replica/id", dir);
	*fresh = access(marker, F_OK) < 0;
	int r = replica_root_init(dir, uuid, NULL);
	if (r == -EEXIST)
		return rpc_call_fail(call, GRPC_FAILED_PRECONDITION,
			"%s belongs to another share; if no replicad uses it any more, remove "
			"%s/.replica",
			dir, dir);
	if (r < 0)
		return rpc_call_fail(call, GRPC_FAILED_PRECONDITION, "cannot use %s: %s", dir,
			thrum_strerror(r));
	return 0;
}

/* Adds a share whose directory is marked. 0, or a status with text. */
static int found_share(struct rpc_call *call, struct replica_daemon *daemon, const char *name,
	const char *dir, const uint8_t uuid[16], const struct inviter *inviter)
{
	struct replica_link *link = NULL;
	char text[REPLICA_TEXT];
	int r = 0;
	replica_lock(daemon);
	bool taken = !is_free(daemon, name, dir, text);
	if (!taken)
		r = add_share(daemon, name, dir, uuid, inviter, &link);
	replica_unlock(daemon);
	if (taken)
		return rpc_call_fail(call, GRPC_ALREADY_EXISTS, "%s", text);
	if (r < 0)
		return rpc_call_fail(
			call, GRPC_INTERNAL, "cannot add the share: %s", thrum_strerror(r));
	if (link != NULL)
		replica_link_refresh(link);
	thrum__log(THRUM__LOG_INFO, "share %s: %s", name, dir);
	replica_events_publish(&daemon->events, REPLICA_EVENT_SHARE, name, NULL, NULL, "%s", dir);
	return 0;
}

/* A name that any terminal shows as it is, too. */
static bool is_share_name(const char *name)
{
	char escaped[4 * REPLICA_SHARE_NAME_MAX + 1];
	return replica_share_name_valid(name, strlen(name)) &&
	       strcmp(thrum__escape(escaped, sizeof(escaped), name, strlen(name)), name) == 0;
}

int control_share(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__ShareRequest *request;
	char dir[PATH_MAX], text[REPLICA_TEXT];
	uint8_t uuid[16];
	bool fresh = false;
	int r = control_recv(call, &replicad__v1__share_request__descriptor, &request);
	if (r < 0)
		return r;
	if (!is_share_name(request->name))
		r = rpc_call_fail(call, GRPC_INVALID_ARGUMENT,
			"'%.80s' cannot be a share's name: use up to %d letters, digits, '.', '_' "
			"and '-', no slash, and begin with a letter or digit",
			request->name, REPLICA_SHARE_NAME_MAX);
	else
		r = take_dir(call, &request->dir, NULL, dir);
	if (r == 0) {
		replica_lock(daemon);
		bool ok = is_free(daemon, request->name, dir, text);
		replica_unlock(daemon);
		if (!ok)
			r = rpc_call_fail(call, GRPC_ALREADY_EXISTS, "%s", text);
	}
	if (r == 0) {
		thrum__random_bytes(uuid, sizeof(uuid));
		r = mark(call, dir, uuid, &fresh);
	}
	if (r == 0) {
		r = found_share(call, daemon, request->name, dir, uuid, NULL);
		if (r != 0 && fresh)
			unmark(dir);
	}
	if (r == 0)
		r = control_done(call);
	rpc_message_free(&request->base);
	return r;
}

int control_unshare(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__NameRequest *request;
	int r = control_recv(call, &replicad__v1__name_request__descriptor, &request);
	if (r < 0)
		return r;
	replica_lock(daemon);
	struct replica_folder *folder = replica_folder_find(daemon, request->name);
	int64_t id = folder != NULL ? folder->id : 0;
	char *dir = folder != NULL ? strdup(folder->dir) : NULL;
	if (folder != NULL)
		thrum__list_remove(&folder->node); /* nobody else ends it, too */
	replica_unlock(daemon);
	if (folder == NULL) {
		r = rpc_call_fail(call, GRPC_NOT_FOUND,
			"no share '%s'; 'replica status' lists them", request->name);
	} else {
		replica_folder_stop(folder);
		replica_lock(daemon);
		r = replica_index_begin(daemon->index);
		if (r == 0)
			r = replica_end(daemon, replica_index_share_remove(daemon->index, id));
		replica_unlock(daemon);
		if (r == 0 && dir != NULL)
			unmark(dir);
		if (r == 0)
			thrum__log(THRUM__LOG_INFO, "share %s: ended", request->name);
		replica_events_publish(&daemon->events, REPLICA_EVENT_UNSHARE, request->name, NULL,
			NULL, "%s", "");
		if (r == 0)
			r = control_done(call);
	}
	free(dir);
	rpc_message_free(&request->base);
	return r;
}

/* ---------------------------------------------------------------- tickets */

/* The first address of this machine that others may reach; "" if there is none but loopback. */
static void own_address(char *out, socklen_t cap)
{
	struct ifaddrs *list;
	out[0] = '\0';
	if (getifaddrs(&list) < 0)
		return;
	for (struct ifaddrs *at = list; at != NULL && out[0] == '\0'; at = at->ifa_next) {
		if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_INET ||
			(at->ifa_flags & (IFF_LOOPBACK | IFF_UP)) != IFF_UP)
			continue;
		if (getnameinfo(at->ifa_addr, sizeof(struct sockaddr_in), out, cap, NULL, 0,
			    NI_NUMERICHOST) != 0)
			out[0] = '\0';
	}
	freeifaddrs(list);
}

/* Where a ticket's holder shall dial: the listen address, with "all addresses" replaced by one. */
static void public_address(const struct replica_daemon *daemon, char *out, size_t cap)
{
	static const char *const any[] = {"0.0.0.0:", "[::]:"};
	char host[64];
	snprintf(out, cap, "%s", daemon->address);
	for (size_t i = 0; i < thrum__countof(any); i++) {
		size_t len = strlen(any[i]);
		if (strncmp(daemon->address, any[i], len) != 0)
			continue;
		own_address(host, sizeof(host));
		snprintf(out, cap, "%s:%s", host[0] ? host : "127.0.0.1", daemon->address + len);
	}
}

/* How long tickets hold; tests shorten it. */
static int64_t ticket_seconds(void)
{
	const char *text = getenv("REPLICAD_TICKET_SECONDS");
	long seconds = text != NULL ? strtol(text, NULL, 10) : 0;
	return seconds > 0 && seconds < 365 * 86400 ? seconds : TICKET_SECONDS;
}

/* Picks the share to invite to. [lock] held. NULL, with text, if that is not clear. */
static struct replica_folder *pick_share(
	struct replica_daemon *daemon, const char *name, char text[REPLICA_TEXT])
{
	if (name[0] != '\0') {
		struct replica_folder *folder = replica_folder_find(daemon, name);
		if (folder == NULL)
			snprintf(text, REPLICA_TEXT, "no share '%s'; 'replica status' lists them",
				name);
		return folder;
	}
	struct thrum__list *first = thrum__list_first(&daemon->folders);
	if (first == NULL)
		snprintf(text, REPLICA_TEXT,
			"there is nothing to invite to yet; begin with 'replica share NAME DIR'");
	else if (first->next != &daemon->folders)
		snprintf(text, REPLICA_TEXT,
			"there are several shares; say which: 'replica invite NAME'");
	else
		return thrum__container_of(first, struct replica_folder, node);
	return NULL;
}

int control_invite(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__NameRequest *request;
	Replicad__V1__InviteReply reply = REPLICAD__V1__INVITE_REPLY__INIT;
	struct replica_ticket ticket = {0};
	char ticket_text[REPLICA_TICKET_MAX], text[REPLICA_TEXT] = "";
	uint8_t hash[REPLICA_TOKEN_HASH_SIZE];
	int r = control_recv(call, &replicad__v1__name_request__descriptor, &request);
	if (r < 0)
		return r;
	thrum__random_bytes(ticket.token, sizeof(ticket.token));
	crypto_generichash(hash, sizeof(hash), ticket.token, sizeof(ticket.token), NULL, 0);
	memcpy(ticket.public_key, daemon->dir.public_key, sizeof(ticket.public_key));
	public_address(daemon, ticket.address, sizeof(ticket.address));
	ticket.expires_s = thrum__wall_us() / 1000000 + ticket_seconds();

	replica_lock(daemon);
	struct replica_folder *folder = pick_share(daemon, request->name, text);
	if (folder != NULL) {
		snprintf(ticket.name, sizeof(ticket.name), "%s", folder->name);
		memcpy(ticket.share, folder->uuid, sizeof(ticket.share));
		r = replica_index_begin(daemon->index);
		if (r == 0)
			r = replica_end(daemon, replica_index_ticket_add(daemon->index, hash,
							folder->id, ticket.expires_s * 1000000));
	}
	replica_unlock(daemon);
	if (folder == NULL)
		r = rpc_call_fail(call, GRPC_FAILED_PRECONDITION, "%s", text);
	else if (r == 0)
		r = replica_ticket_format(ticket_text, &ticket);
	if (r == 0) {
		reply.ticket = ticket_text;
		reply.share = ticket.name;
		reply.expires_us = ticket.expires_s * 1000000;
		r = rpc_call_send(call, &reply.base, thrum_after(CONTROL_TIME));
	}
	sodium_memzero(&ticket, sizeof(ticket));
	sodium_memzero(ticket_text, sizeof(ticket_text));
	rpc_message_free(&request->base);
	return r;
}

/* "3 days", "2 hours", "5 minutes" or "20 seconds". */
static const char *duration(int64_t seconds, char *out, size_t cap)
{
	static const struct {
		int64_t seconds;
		const char *word;
	} units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
	for (size_t i = 0; i < thrum__countof(units); i++) {
		long long n = seconds / units[i].seconds;
		if (n == 0 && i + 1 < thrum__countof(units))
			continue;
		snprintf(out, cap, "%lld %s%s", n, units[i].word, n == 1 ? "" : "s");
		break;
	}
	return out;
}

/* What can be said about a ticket without asking anybody. */
static int judge_ticket(struct rpc_call *call, struct replica_daemon *daemon, const char *text,
	struct replica_ticket *ticket)
{
	char ago[32];
	if (replica_ticket_parse(ticket, text) < 0)
		return rpc_call_fail(call, GRPC_INVALID_ARGUMENT,
			"cannot join: that is no ticket, or some of it is missing; copy all of "
			"what 'replica invite' printed");
	int64_t late = thrum__wall_us() / 1000000 - ticket->expires_s;
	if (late >= 0)
		return rpc_call_fail(call, GRPC_FAILED_PRECONDITION,
			"cannot join: ticket expired %s ago; ask for a new one with 'replica "
			"invite'",
			duration(late, ago, sizeof(ago)));
	if (memcmp(ticket->public_key, daemon->dir.public_key, sizeof(ticket->public_key)) == 0)
		return rpc_call_fail(call, GRPC_FAILED_PRECONDITION,
			"cannot join: this replica made that ticket itself; use it on another one");
	return 0;
}

int control_join(struct rpc_call *call, void *ctx)
{
	struct replica_daemon *daemon = ctx;
	Replicad__V1__JoinRequest *request;
	Replicad__V1__JoinReply reply = REPLICAD__V1__JOIN_REPLY__INIT;
	struct replica_ticket ticket;
	char dir[PATH_MAX], text[REPLICA_TEXT];
	bool made = false, fresh = false;
	int r = control_recv(call, &replicad__v1__join_request__descriptor, &request);
	if (r < 0)
		return r;
	r = judge_ticket(call, daemon, request->ticket, &ticket);
	if (r == 0)
		r = take_dir(call, &request->dir, &made, dir);
	if (r == 0) {
		replica_lock(daemon);
		bool ok = is_free(daemon, ticket.name, dir, text);
		replica_unlock(daemon);
		if (!ok)
			r = rpc_call_fail(call, GRPC_ALREADY_EXISTS, "%s", text);
	}
	/* All that can fail here does so before the ticket is used up. */
	if (r == 0)
		r = mark(call, dir, ticket.share, &fresh);
	if (r == 0 && replica_link_join(
			      daemon, ticket.address, ticket.public_key, ticket.token, text) < 0)
		r = rpc_call_fail(call, GRPC_FAILED_PRECONDITION, "cannot join: %s", text);
	if (r == 0)
		r = found_share(call, daemon, ticket.name, dir, ticket.share,
			&(struct inviter){ticket.public_key, ticket.address});
	if (r != 0 && fresh)
		unmark(dir);
	if (r != 0 && made && rmdir(dir) < 0)
		thrum__log(THRUM__LOG_DEBUG, "cannot remove %s again", dir);
	if (r == 0) {
		reply.share = ticket.name;
		r = rpc_call_send(call, &reply.base, thrum_after(CONTROL_TIME));
	}
	sodium_memzero(&ticket, sizeof(ticket));
	rpc_message_free(&request->base);
	return r;
}
