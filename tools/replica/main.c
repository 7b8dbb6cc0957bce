/* SPDX-License-Identifier: MIT */
/*
 * replica(1): a person's tool for replicad(8). One file per subcommand; this one finds and runs
 * them.
 *
 * The command runs on one green thread; a second one waits for SIGINT and SIGTERM and cancels it,
 * so that the daemon hears that nobody waits any more, and the progress line goes away. The process
 * then ends by that signal, as a shell expects; a second signal ends it at once.
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const struct cli_command commands[] = {
	{"id", "", "this replica's id, public key and address", 0, 0, NULL, cmd_id},
	{"share", "NAME DIR", "start replicating DIR under NAME", 2, 2, NULL, cmd_share},
	{"unshare", "NAME", "stop replicating it; its files stay", 1, 1, NULL, cmd_unshare},
	{"invite", "[NAME]", "print a ticket for one other replica", 0, 1, NULL, cmd_invite},
	{"join", "TICKET DIR", "replicate what the ticket is for into DIR", 2, 2, NULL, cmd_join},
	{"peers", "", "who is connected, since when, last sync", 0, 0, NULL, cmd_peers},
	{"sync", "[NAME[/PATH]] [--dry-run]", "sync now with every peer and wait", 0, 1, "dry-run",
		cmd_sync},
	{"status", "", "each share: state, files, conflicts, in sync?", 0, 0, NULL, cmd_status},
	{"conflicts", "[NAME]", "list conflicts", 0, 1, NULL, cmd_conflicts},
	{"resolve", "NAME/PATH --keep mine|theirs|both", "settle a conflict", 1, 1, "keep",
		cmd_resolve},
	{"why", "NAME/PATH", "the last verdict on a path, and its reason", 1, 1, NULL, cmd_why},
	{"watch", "", "events as they happen", 0, 0, NULL, cmd_watch},
	{"stop", "", "stop replicad, and wait until it has", 0, 0, NULL, cmd_stop},
};

static void usage(FILE *to)
{
	fputs("usage: replica [--data DIR | --socket PATH] [--json] COMMAND\n\n", to);
	for (size_t i = 0; i < thrum__countof(commands); i++) {
		char head[64];
		snprintf(head, sizeof(head), "%s %s", commands[i].name, commands[i].arguments);
		if (strlen(head) > 30)
			fprintf(to, "  %s\n  %-30s  %s\n", head, "", commands[i].summary);
		else
			fprintf(to, "  %-30s  %s\n", head, commands[i].summary);
	}
	fputs("\n  --data DIR      replicad's data directory\n"
	      "  --socket PATH   its control socket, if elsewhere than DIR/socket\n"
	      "  --json          print one JSON document (watch: one a line)\n"
	      "  --help, --version\n"
	      "\nExit codes: 0 done and in sync, 1 conflicts remain, 2 usage, 3 no replicad,\n"
	      "4 failed. See replica(1).\n",
		to);
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < thrum__countof(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

struct run {
	struct cli cli;
	const struct cli_command *command;
	int argc;
	char **argv;
	struct thrum_thread *runner;
	sigset_t signals;
	int signal; /* that interrupted the command; 0: none */
};

/* Cancels the command at a signal. Ends by cancellation, if none comes. */
static void *wait_for_signal(void *arg)
{
	struct run *run = arg;
	struct signalfd_siginfo info;
	int fd = signalfd(-1, &run->signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (thrum_fd_wait(fd, THRUM_READABLE, THRUM_FOREVER) == 0 &&
		read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		run->signal = (int)info.ssi_signo;
		pthread_sigmask(SIG_UNBLOCK, &run->signals, NULL);
		thrum_cancel(run->runner);
	}
	close(fd);
	return NULL;
}

static void *run_command(void *arg)
{
	struct run *run = arg;
	struct thrum_thread *waiter;
	run->runner = thrum_self();
	int r = thrum_spawn(&waiter, wait_for_signal, run);
	if (r < 0)
		return (void *)(intptr_t)cli_fail(
			CLI_FAILED, "cannot start: %s", thrum_strerror(r));
	int code = run->command->run(&run->cli, run->argc, run->argv);
	thrum_shield_begin();
	rpc_client_destroy(run->cli.client);
	thrum_cancel(waiter);
	CHECK(thrum_join(waiter, NULL, THRUM_FOREVER) == 0);
	thrum_shield_end();
	return (void *)(intptr_t)code;
}

/* Ends as if the signal had not been caught; only `watch` has no other end. */
static int end_by_signal(const struct run *run)
{
	if (run->command->run == cmd_watch)
		return CLI_DONE;
	signal(run->signal, SIG_DFL);
	raise(run->signal);
	return 128 + run->signal;
}

static int run_all(struct run *run)
{
	struct thrum_config config = {.workers = 1};
	void *result = NULL;
	sigemptyset(&run->signals);
	sigaddset(&run->signals, SIGINT);
	sigaddset(&run->signals, SIGTERM);
	/* Blocked before any other OS thread exists, so that only the signalfd gets them. */
	pthread_sigmask(SIG_BLOCK, &run->signals, NULL);
	int r = thrum_run(&config, run_command, run, &result);
	if (r < 0)
		return cli_fail(CLI_FAILED, "cannot start: %s", thrum_strerror(r));
	int code = (int)(intptr_t)result;
	if ((fflush(stdout) != 0 || ferror(stdout)) && code != CLI_FAILED)
		code = cli_fail(
			CLI_FAILED, "cannot write to standard output: %s", thrum_strerror(-errno));
	return run->signal != 0 ? end_by_signal(run) : code;
}

int main(int argc, char **argv)
{
	static struct run run;
	int code = cli_options(&run.cli, &argc, argv);
	if (code != CLI_DONE)
		return code;
	if (run.cli.version) {
		puts("replica " THRUM_VERSION);
		return CLI_DONE;
	}
	if (argc == 0) {
		usage(run.cli.help ? stdout : stderr);
		return run.cli.help ? CLI_DONE : CLI_USAGE;
	}
	run.command = find_command(argv[0]);
	if (run.command == NULL)
		return cli_fail(CLI_USAGE, "no command '%s'; try 'replica --help'", argv[0]);
	if (run.cli.help) {
		printf("usage: replica %s%s%s\n%s; see replica(1)\n", run.command->name,
			run.command->arguments[0] != '\0' ? " " : "", run.command->arguments,
			run.command->summary);
		return CLI_DONE;
	}
	if (argc - 1 < run.command->min || argc - 1 > run.command->max)
		return cli_fail(CLI_USAGE, "%s: too %s arguments; usage: replica %s%s%s", argv[0],
			argc - 1 < run.command->min ? "few" : "many", argv[0],
			run.command->arguments[0] != '\0' ? " " : "", run.command->arguments);
	code = cli_check_options(&run.cli, run.command);
	if (code == CLI_DONE)
		code = cli_locate(&run.cli);
	run.argc = argc;
	run.argv = argv;
	return code == CLI_DONE ? run_all(&run) : code;
}
