/* SPDX-License-Identifier: MIT */
/* replica(1): a person's tool for replicad(8). One file per subcommand; this one finds and runs them. */
#include "cli.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command commands[] = {
	{"id", "", "this replica's id, public key and listen address", 0, 0, cmd_id},
	{"share", "NAME DIR", "start replicating DIR under NAME", 2, 2, cmd_share},
	{"unshare", "NAME", "stop replicating it; the files stay", 1, 1, cmd_unshare},
	{"invite", "[NAME]", "print a one-time ticket", 0, 1, cmd_invite},
	{"join", "TICKET DIR", "replicate what the ticket is for into DIR", 2, 2, cmd_join},
	{"peers", "", "who is connected, since when, last sync", 0, 0, cmd_peers},
	{"sync", "[NAME[/PATH]] [--dry-run]", "sync now with every peer and wait", 0, 1, cmd_sync},
	{"status", "", "per share: state, files, bytes, conflicts, in sync or not", 0, 0, cmd_status},
	{"conflicts", "[NAME]", "list conflicts", 0, 1, cmd_conflicts},
	{"resolve", "NAME/PATH --keep mine|theirs|both", "settle a conflict", 1, 1, cmd_resolve},
	{"why", "NAME/PATH", "the last verdict on this path and its reason", 1, 1, cmd_why},
	{"watch", "", "events as they happen", 0, 0, cmd_watch},
	{"stop", "", "stop replicad", 0, 0, cmd_stop},
};

static void usage(FILE *to)
{
	fputs("usage: replica [--data DIR | --socket PATH] [--json] COMMAND\n\n", to);
	for (size_t i = 0; i < thrum__countof(commands); i++) {
		char head[64];
		snprintf(head, sizeof(head), "%s %s", commands[i].name, commands[i].arguments);
		if (strlen(head) > 26)
			fprintf(to, "  %s\n  %-26s  %s\n", head, "", commands[i].summary);
		else
			fprintf(to, "  %-26s  %s\n", head, commands[i].summary);
	}
	fputs("\n  --data DIR      the daemon's data directory\n"
	      "  --socket PATH   its control socket, if elsewhere\n"
	      "  --json          one JSON document (watch: one a line)\n"
	      "  --help, --version\n"
	      "\nExit codes: 0 done and in sync, 1 conflicts remain, 2 usage, 3 no daemon, 4 failed.\n"
	      "See replica(1).\n",
		to);
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < thrum__countof(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* Where the daemon is if nobody says. */
static bool default_data(struct cli *cli)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n;
	if (geteuid() == 0)
		n = snprintf(cli->data, sizeof(cli->data), "/var/lib/replicad");
	else if (state != NULL && state[0] == '/')
		n = snprintf(cli->data, sizeof(cli->data), "%s/replicad", state);
	else if (home != NULL && home[0] == '/')
		n = snprintf(cli->data, sizeof(cli->data), "%s/.local/state/replicad", home);
	else
		return false;
	return n < (int)sizeof(cli->data);
}

struct run {
	struct cli cli;
	const struct cli_command *command;
	int argc;
	char **argv;
};

static void *run_command(void *arg)
{
	struct run *run = arg;
	int code = cli_connect(&run->cli);
	if (code == CLI_DONE)
		code = run->command->run(&run->cli, run->argc, run->argv);
	rpc_client_destroy(run->cli.client);
	return (void *)(intptr_t)code;
}

/* Reads the options before the command. -1: go on; else the exit code. */
static int read_options(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"data", required_argument, NULL, 'd'},
		{"socket", required_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int opt;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+hV", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			snprintf(cli->data, sizeof(cli->data), "%s", optarg);
			break;
		case 's':
			snprintf(cli->socket, sizeof(cli->socket), "%s", optarg);
			break;
		case 'j':
			cli->json = true;
			break;
		case 'h':
			usage(stdout);
			return CLI_DONE;
		case 'V':
			puts("replica " THRUM_VERSION);
			return CLI_DONE;
		default:
			return cli_fail(CLI_USAGE, "bad option '%s'; try 'replica --help'", argv[optind - 1]);
		}
	}
	if (cli->data[0] != '\0' && cli->socket[0] != '\0')
		return cli_fail(CLI_USAGE, "--data and --socket exclude each other");
	if (cli->socket[0] == '\0') {
		if (cli->data[0] == '\0' && !default_data(cli))
			return cli_fail(CLI_USAGE, "no home directory is known; name a data directory with --data");
		if (snprintf(cli->socket, sizeof(cli->socket), "%s/socket", cli->data) >=
			(int)sizeof(cli->socket))
			return cli_fail(CLI_USAGE, "--data: the name is too long");
	}
	return -1;
}

/* Counts what is not an option. */
static int count_arguments(int argc, char **argv)
{
	int n = 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--keep") == 0)
			i++;
		else if (strncmp(argv[i], "--", 2) != 0)
			n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	static struct run run;
	int code = read_options(&run.cli, argc, argv);
	if (code >= 0)
		return code;
	if (optind == argc) {
		usage(stderr);
		return CLI_USAGE;
	}
	run.argc = argc - optind;
	run.argv = argv + optind;
	run.command = find_command(run.argv[0]);
	if (run.command == NULL)
		return cli_fail(CLI_USAGE, "no command '%s'; try 'replica --help'", run.argv[0]);
	int n = count_arguments(run.argc, run.argv);
	if (n < run.command->min || n > run.command->max)
		return cli_fail(CLI_USAGE, "usage: replica %s %s", run.command->name, run.command->arguments);

	struct thrum_config config = {.workers = 1};
	void *result = NULL;
	int r = thrum_run(&config, run_command, &run, &result);
	if (r < 0)
		return cli_fail(CLI_FAILED, "cannot start: %s", thrum_strerror(r));
	return (int)(intptr_t)result;
}
