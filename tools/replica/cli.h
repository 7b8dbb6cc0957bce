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
	CLI_DONE = 0,      /* done, and in sync */
	CLI_CONFLICTS = 1, /* conflicts remain */
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3, /* no daemon */
	CLI_FAILED = 4,
};

enum { CLI_PATH = 4096, CLI_NAME = 65 };

struct cli {
	char data[CLI_PATH]; /* the daemon's data directory; "" if a socket was named instead */
	char socket[CLI_PATH];
	bool json;
	bool dry_run;     /* sync */
	const char *keep; /* resolve; NULL: not given */
	bool help, version;

	struct rpc_client *client; /* NULL until connected */
	pid_t daemon;              /* its process; 0: not known, or none yet */
};

/*
 * One subcommand: argv[0] is its name; options are taken out already. Runs on a green thread, which
 * a signal cancels. Returns an enum cli_exit.
 */
struct cli_command {
	const char *name, *arguments, *summary;
	int min, max;       /* arguments */
	const char *option; /* the one of --dry-run and --keep that it knows, or NULL */
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

/* ---- the command line (options.c) */

/*
 * Takes the options out of argv, wherever they stand; argc and argv keep the words, the command
 * first. `--` ends the options. CLI_DONE, or CLI_USAGE after saying why.
 */
int cli_options(struct cli *cli, int *argc, char **argv);

/* Says so if an option was given that the command does not know. CLI_DONE or CLI_USAGE. */
int cli_check_options(const struct cli *cli, const struct cli_command *command);

/* Fills in where the daemon is. CLI_DONE, or CLI_USAGE after saying why. */
int cli_locate(struct cli *cli);

/* The absolute form of a directory that exists, or (create) whose parent does. CLI_DONE, or
 * CLI_FAILED after saying why. */
int cli_directory(const char *dir, bool create, char out[CLI_PATH]);

/* Splits NAME[/PATH]; path borrows. False, after saying so, if there is no name. */
bool cli_split(const char *target, char name[CLI_NAME], ProtobufCBinaryData *path);

/* ---- calls (call.c) */

/* Prints "replica: …" as one line on standard error, escaped. Returns code. */
int cli_fail(int code, const char *format, ...) THRUM__PRINTF(2, 3);

/* Connects, if that was not done yet; every call does so. CLI_DONE, or CLI_UNREACHABLE after saying
 * how to start a daemon. */
int cli_connect(struct cli *cli);

/*
 * A unary call of the Control service. out: gives the answer, for rpc_message_free; NULL drops it.
 * CLI_DONE, or the exit code after printing the daemon's line.
 */
int cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *out);

/* The same for one that may take as long as it takes. */
int cli_call_long(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *out);

/* Says why a call failed. Returns the exit code. */
int cli_failed(struct cli *cli, int error, const struct rpc_status *status);

/* Starts a call with many answers; give it to rpc_call_destroy. As cli_call. */
int cli_open(struct cli *cli, const char *method, const ProtobufCMessage *request,
	struct rpc_call **out);

/* The next answer. True: *out is for rpc_message_free. False: the end; *code is CLI_DONE, or the
 * exit code after saying why. */
bool cli_next(struct cli *cli, struct rpc_call *call, const ProtobufCMessageDescriptor *type,
	void *out, int *code);

/* ---- text for people (text.c): results live until the sixteenth next call */

/* Bytes of any origin, such as a file's name, escaped. */
const char *cli_text(const void *bytes, size_t len);
const char *cli_path(const ProtobufCBinaryData *path);

/* Words of the daemon, in which it has escaped what came from elsewhere: backslashes stay. */
const char *cli_words(const char *words);

const char *cli_hex(const ProtobufCBinaryData *bytes);
const char *cli_bytes(uint64_t bytes);                   /* "12.3 MB" */
const char *cli_count(uint64_t count, const char *noun); /* "1 file", "2 files" */
const char *cli_time(int64_t us);                        /* local time */
const char *cli_lower(const char *word);

/* ---- JSON (json.c); the fields are documented in replica(1) */

/* Prints a document and a newline; takes it. CLI_DONE or CLI_FAILED. */
int cli_json(json_t *document);

/* Each adds a field to an object. */
void cli_json_text(json_t *object, const char *key, const char *text);
void cli_json_maybe(json_t *object, const char *key, const char *text); /* null if it is empty */
void cli_json_count(json_t *object, const char *key, uint64_t count);
void cli_json_bool(json_t *object, const char *key, bool value);
void cli_json_hex(json_t *object, const char *key, const ProtobufCBinaryData *bytes);
void cli_json_time(json_t *object, const char *key, int64_t us); /* null for 0 */
void cli_json_time_ns(json_t *object, const char *key, int64_t ns);

/* key: the name, escaped if it is no UTF-8; then key_hex, too: its bytes. */
void cli_json_name(json_t *object, const char *key, const ProtobufCBinaryData *name);

/* An array of texts. */
json_t *cli_json_list(char *const *texts, size_t count);

/* ---- progress (progress.c) */

/* A line on standard error, written over at each call; nothing if that is no terminal. */
void cli_progress(const Replicad__V1__SyncProgress *progress);

/* Takes the line away. */
void cli_progress_end(void);

#endif
