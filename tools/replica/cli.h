/* SPDX-License-Identifier: MIT */
#ifndef CLI_H
#define CLI_H

/* What the subcommands of replica(1) share. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <thrum.h>

#include "base/base.h"
#include "replica/control.pb-c.h"
#include "rpc/rpc.h"

enum cli_exit {
	CLI_DONE = 0,	     /* done, and in sync */
	CLI_CONFLICTS = 1,   /* conflicts remain */
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3, /* no daemon */
	CLI_FAILED = 4,
};

struct cli {
	char data[4096];   /* the daemon's data directory; "" if only a socket was named */
	char socket[4096];
	bool json;
	struct rpc_client *client;
};

/* One subcommand: argv[0] is its name. Runs on a green thread, connected. Returns an enum cli_exit. */
struct cli_command {
	const char *name, *arguments, *summary;
	int min, max; /* arguments, options not counted */
	int (*run)(struct cli *cli, int argc, char **argv);
};

int cmd_conflicts(struct cli *cli, int argc, char **argv);
int cmd_id(struct cli *cli, int argc, char **argv);
int cmd_invite(struct cli *cli, int argc, char **argv);
int cmd_join(struct cli *cli, int argc, char **argv);
int cmd_peers(struct cli *cli, int argc, char **argv);
int cmd_resolve(struct cli *cli, int argc, char **argv);
int cmd_share(struct cli *cli, int argc, char **argv);
int cmd_status(struct cli *cli, int argc, char **argv);
int cmd_stop(struct cli *cli, int argc, char **argv);
int cmd_sync(struct cli *cli, int argc, char **argv);
int cmd_unshare(struct cli *cli, int argc, char **argv);
int cmd_watch(struct cli *cli, int argc, char **argv);
int cmd_why(struct cli *cli, int argc, char **argv);

/* ---- calls (call.c) */

/* Prints "replica: …" as one line on standard error, control characters escaped. Returns code. */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Connects to the daemon. CLI_DONE, or CLI_UNREACHABLE after saying how to start one. */
int cli_connect(struct cli *cli);

/*
 * A unary call of the Control service. out: gives the answer, for rpc_message_free; NULL drops it.
 * CLI_DONE, or the exit code after printing the daemon's line.
 */
int cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *out);

/* Starts a call with many answers; give it to rpc_call_destroy. As cli_call. */
int cli_open(struct cli *cli, const char *method, const ProtobufCMessage *request, struct rpc_call **out);

/* Says why a call failed. Returns the exit code. */
int cli_failed(struct cli *cli, int error, const struct rpc_status *status);

/* The absolute form of a directory that exists, or (create) whose parent does. CLI_DONE or CLI_FAILED after saying why. */
int cli_directory(const char *dir, bool create, char out[4096]);

/* Splits NAME[/PATH]. The name goes to name (65 bytes); the path borrows. False, after saying so, if there is no name. */
bool cli_split(const char *target, char name[65], ProtobufCBinaryData *path);

/* ---- output (out.c) */

/* Prints a JSON document and a newline; takes it. Returns CLI_DONE, or CLI_FAILED if it cannot be written. */
int cli_json(json_t *value);

/* Values of JSON. Bytes that are no UTF-8 appear escaped (\xNN) in text. */
json_t *cli_json_text(const void *bytes, size_t len);
json_t *cli_json_hex(const ProtobufCBinaryData *bytes);
json_t *cli_json_time(int64_t us); /* RFC 3339, UTC, or null for 0 */

/* Adds "path", and "path_hex" where path alone does not say it exactly. */
void cli_json_path(json_t *object, const ProtobufCBinaryData *path);

/* Text for a terminal: escaped; the result lives until the eighth next call. */
const char *cli_text(const void *bytes, size_t len);
const char *cli_bytes(uint64_t bytes);  /* "12.3 MB" */
const char *cli_time(int64_t us);	/* local time, or "never" */
const char *cli_hex(const ProtobufCBinaryData *bytes);

/* A progress line on standard error, if that is a terminal: written over at each call; end clears it. */
void cli_progress(const Replicad__V1__SyncProgress *progress);
void cli_progress_end(void);

#endif
