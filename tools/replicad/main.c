/* SPDX-License-Identifier: MIT */
/*
 * replicad(8): reads options and the configuration, runs the daemon in the foreground, tells the
 * service manager when it is ready, and stops in order at SIGTERM or SIGINT.
 */
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <thrum.h>

#include "base/base.h"
#include "replica/replica.h"

enum { EXIT_USAGE = 2, EXIT_FAILED = 4, LINE = 1024 };

struct settings {
	char data[4096];
	char listen[256];
	char name[65];
	unsigned rescan_s;
	char error[LINE];
};

static const char usage[] =
	"usage: replicad [--data DIR] [--config FILE] [--listen HOST:PORT]\n"
	"\n"
	"  --data DIR           keep keys, index and socket in DIR\n"
	"  --config FILE        read settings from FILE (INI)\n"
	"  --listen HOST:PORT   wait for peers there; port 0: any free one\n"
	"  --help, --version\n"
	"\n"
	"Runs in the foreground. 'replica' talks to it; see replica(1) and replicad(8).\n";

static bool copy(char *to, size_t cap, const char *from)
{
	size_t len = strlen(from);
	if (len == 0 || len >= cap)
		return false;
	memcpy(to, from, len + 1);
	return true;
}

static bool set_log_level(const char *name)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	for (unsigned i = 0; i < thrum__countof(names); i++)
		if (strcmp(name, names[i]) == 0) {
			thrum__log_set_level((enum thrum__log_level)i);
			return true;
		}
	return false;
}

static bool set_rescan(struct settings *settings, const char *value)
{
	char *end;
	errno = 0;
	unsigned long seconds = strtoul(value, &end, 10);
	if (errno != 0 || *end != '\0' || end == value || seconds < 1 || seconds > 86400)
		return false;
	settings->rescan_s = (unsigned)seconds;
	return true;
}

/* One line of the configuration; inih stops at the first 0. */
static int on_setting(void *ctx, const char *section, const char *key, const char *value)
{
	struct settings *settings = ctx;
	bool ok = false;
	if (section[0] == '\0' && strcmp(key, "listen") == 0)
		ok = copy(settings->listen, sizeof(settings->listen), value);
	else if (section[0] == '\0' && strcmp(key, "name") == 0)
		ok = copy(settings->name, sizeof(settings->name), value);
	else if (section[0] == '\0' && strcmp(key, "rescan") == 0)
		ok = set_rescan(settings, value);
	else if (section[0] == '\0' && strcmp(key, "log") == 0)
		ok = set_log_level(value);
	else
		snprintf(settings->error, sizeof(settings->error),
			"unknown setting '%s%s%s'; replicad(8) lists them", section,
			section[0] ? "." : "", key);
	if (!ok && settings->error[0] == '\0')
		snprintf(settings->error, sizeof(settings->error), "bad value '%s' for '%s'", value,
			key);
	return ok;
}

/* 0, or EXIT_USAGE after saying why. */
static int read_config(struct settings *settings, const char *path)
{
	int line = ini_parse(path, on_setting, settings);
	if (line == 0)
		return 0;
	if (line < 0)
		fprintf(stderr, "replicad: cannot read %s: %s\n", path, strerror(errno));
	else
		fprintf(stderr, "replicad: %s:%d: %s\n", path, line,
			settings->error[0] ? settings->error : "not a 'key = value' line");
	return EXIT_USAGE;
}

static bool default_data(struct settings *settings)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char path[4096];
	if (geteuid() == 0)
		return copy(settings->data, sizeof(settings->data), "/var/lib/replicad");
	if (state != NULL && state[0] == '/')
		snprintf(path, sizeof(path), "%s/replicad", state);
	else if (home != NULL && home[0] == '/')
		snprintf(path, sizeof(path), "%s/.local/state/replicad", home);
	else
		return false;
	return copy(settings->data, sizeof(settings->data), path);
}

/* word: the last one that getopt has left. It may be in a word of short options still. */
static int bad_option(bool no_value, const char *word)
{
	char letter[] = {'-', (char)optopt, '\0'};
	fprintf(stderr, "replicad: %s '%s'; try 'replicad --help'\n",
		no_value ? "a value is missing after" : "bad option",
		strncmp(word, "--", 2) == 0 ? word : letter);
	return EXIT_USAGE;
}

/* Reads the command line. -1: go on; else the exit status. */
static int read_options(struct settings *settings, int argc, char **argv)
{
	static const struct option options[] = {
		{"data", required_argument, NULL, 'd'},
		{"config", required_argument, NULL, 'c'},
		{"listen", required_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	const char *listen = NULL, *config = NULL;
	bool data = false;
	int opt;
	opterr = 0; /* getopt's own words would be a second line */
	while ((opt = getopt_long(argc, argv, ":hV", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			if (!(data = copy(settings->data, sizeof(settings->data), optarg))) {
				fprintf(stderr,
					"replicad: --data: the name is empty or too long\n");
				return EXIT_USAGE;
			}
			break;
		case 'c':
			config = optarg;
			break;
		case 'l':
			listen = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		case 'V':
			puts("replicad " THRUM_VERSION);
			return EXIT_SUCCESS;
		default:
			return bad_option(opt == ':', argv[optind - 1]);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "replicad: unexpected argument '%s'; try 'replicad --help'\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	if (config != NULL && read_config(settings, config) != 0)
		return EXIT_USAGE;
	if (listen != NULL && !copy(settings->listen, sizeof(settings->listen), listen)) {
		fprintf(stderr, "replicad: --listen: the address is empty or too long\n");
		return EXIT_USAGE;
	}
	if (!data && !default_data(settings)) {
		fprintf(stderr, "replicad: no home directory is known; name a data directory with "
				"--data\n");
		return EXIT_USAGE;
	}
	return -1;
}

/* Tells a service manager that waits for it (sd_notify(3)'s protocol). */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
		strlen(path) >= sizeof(addr.sun_path))
		return;
	size_t len = strlen(path);
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr, addr_len) < 0)
		thrum__log(THRUM__LOG_WARN, "cannot notify the service manager");
	close(fd);
}

static void ready(void *arg)
{
	const struct replica_daemon *daemon = arg;
	/* For scripts: the one line on standard output, once clients can connect. */
	printf("replicad: ready on %s\n", replica_daemon_address(daemon));
	fflush(stdout);
	notify("READY=1");
}

static void *wait_for_signal(void *arg)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	struct thrum_poll *poll = NULL;
	if (fd < 0 || thrum_poll_open(&poll, fd) < 0) {
		thrum__log(THRUM__LOG_ERROR, "cannot wait for signals");
		goto close_fd;
	}
	if (thrum_poll_wait(poll, THRUM_READABLE, THRUM_FOREVER) == 0) {
		struct signalfd_siginfo info;
		if (read(fd, &info, sizeof(info)) == sizeof(info))
			thrum__log(THRUM__LOG_INFO, "stopping: %s",
				info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
		replica_daemon_stop(arg);
	}
	thrum_poll_close(poll);
close_fd:
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void *serve(void *arg)
{
	int r = thrum_spawn(NULL, wait_for_signal, arg);
	if (r == 0)
		r = replica_daemon_serve(arg, ready, arg);
	notify("STOPPING=1");
	return (void *)(intptr_t)r;
}

int main(int argc, char **argv)
{
	static struct settings settings = {.listen = REPLICA_DEFAULT_LISTEN};
	int status = read_options(&settings, argc, argv);
	if (status >= 0)
		return status;

	/* Blocked before any other OS thread exists, so that only the signalfd gets them. */
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	struct replica_daemon_config config = {
		.data_dir = settings.data,
		.listen = settings.listen,
		.name = settings.name[0] ? settings.name : NULL,
		.rescan_s = settings.rescan_s,
	};
	char why[LINE];
	struct replica_daemon *daemon;
	int r = replica_daemon_create(&daemon, &config, why, sizeof(why));
	if (r < 0) {
		fprintf(stderr, "replicad: %s\n", why);
		return EXIT_FAILED;
	}
	void *result = NULL;
	r = thrum_run(NULL, serve, daemon, &result);
	if (r == 0)
		r = (int)(intptr_t)result;
	replica_daemon_destroy(daemon);
	if (r < 0)
		fprintf(stderr, "replicad: stopped: %s\n", thrum_strerror(r));
	return r < 0 ? EXIT_FAILED : EXIT_SUCCESS;
}
