/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

/* Names are matched in full: an abbreviation would break once a longer name appears. */
enum option { DATA, SOCKET, JSON, DRY_RUN, KEEP, HELP, VERSION };

static const struct {
	const char *name;
	bool value;
} options[] = {
	[DATA] = {"data", true},
	[SOCKET] = {"socket", true},
	[JSON] = {"json", false},
	[DRY_RUN] = {"dry-run", false},
	[KEEP] = {"keep", true},
	[HELP] = {"help", false},
	[VERSION] = {"version", false},
};

/* Finds the option of a word "--name" or "--name=value". Its index, or -1. */
static int find_option(const char *word, const char **value)
{
	const char *equals = strchr(word, '=');
	size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
	*value = equals != NULL ? equals + 1 : NULL;
	if (strcmp(word, "-h") == 0)
		return HELP;
	if (strcmp(word, "-V") == 0)
		return VERSION;
	for (size_t i = 0; i < thrum__countof(options); i++)
		if (len == strlen(options[i].name) + 2 && strncmp(word, "--", 2) == 0 &&
			strncmp(word + 2, options[i].name, len - 2) == 0)
			return (int)i;
	return -1;
}

static bool copy(char out[CLI_PATH], const char *value)
{
	size_t len = strlen(value);
	if (len == 0 || len >= CLI_PATH)
		return false;
	memcpy(out, value, len + 1);
	return true;
}

/* False if the value makes no sense. */
static bool set_option(struct cli *cli, int option, const char *value)
{
	switch (option) {
	case DATA:
		return copy(cli->data, value);
	case SOCKET:
		return copy(cli->socket, value);
	case KEEP:
		cli->keep = value;
		return strcmp(value, "mine") == 0 || strcmp(value, "theirs") == 0 ||
		       strcmp(value, "both") == 0;
	case JSON:
		cli->json = true;
		break;
	case DRY_RUN:
		cli->dry_run = true;
		break;
	case HELP:
		cli->help = true;
		break;
	case VERSION:
		cli->version = true;
		break;
	}
	return true;
}

static int bad_value(int option, const char *value)
{
	if (option == KEEP)
		return cli_fail(
			CLI_USAGE, "'--keep' cannot be '%s'; say mine, theirs or both", value);
	return cli_fail(CLI_USAGE, "'--%s' needs a name of 1 to %d bytes", options[option].name,
		CLI_PATH - 1);
}

int cli_options(struct cli *cli, int *argc, char **argv)
{
	int words = 0, i = 1;
	for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
		const char *word = argv[i], *value;
		if (word[0] != '-' || word[1] == '\0') {
			argv[words++] = argv[i];
			continue;
		}
		int option = find_option(word, &value);
		if (option < 0)
			return cli_fail(
				CLI_USAGE, "unknown option '%s'; try 'replica --help'", word);
		if (value != NULL && !options[option].value)
			return cli_fail(CLI_USAGE, "'--%s' takes no value", options[option].name);
		if (value == NULL && options[option].value && i + 1 == *argc)
			return cli_fail(CLI_USAGE, "'--%s' needs a value; try 'replica --help'",
				options[option].name);
		if (value == NULL && options[option].value)
			value = argv[++i];
		if (!set_option(cli, option, value))
			return bad_value(option, value);
	}
	for (i++; i < *argc; i++)
		argv[words++] = argv[i];
	*argc = words;
	return CLI_DONE;
}

int cli_check_options(const struct cli *cli, const struct cli_command *command)
{
	const char *known = command->option != NULL ? command->option : "";
	const char *given = cli->dry_run && strcmp(known, "dry-run") != 0     ? "dry-run"
			    : cli->keep != NULL && strcmp(known, "keep") != 0 ? "keep"
									      : NULL;
	if (given == NULL)
		return CLI_DONE;
	return cli_fail(CLI_USAGE, "%s: there is no '--%s' here; try 'replica %s --help'",
		command->name, given, command->name);
}

int cli_locate(struct cli *cli)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n = 0;
	if (cli->data[0] != '\0' && cli->socket[0] != '\0')
		return cli_fail(CLI_USAGE, "--data and --socket exclude each other; give one");
	if (cli->socket[0] != '\0')
		return CLI_DONE;
	if (cli->data[0] != '\0')
		n = 0;
	else if (geteuid() == 0)
		n = snprintf(cli->data, sizeof(cli->data), "/var/lib/replicad");
	else if (state != NULL && state[0] == '/')
		n = snprintf(cli->data, sizeof(cli->data), "%s/replicad", state);
	else if (home != NULL && home[0] == '/')
		n = snprintf(cli->data, sizeof(cli->data), "%s/.local/state/replicad", home);
	else
		return cli_fail(CLI_USAGE, "no home directory is known; name a data directory "
					   "with --data");
	if (n >= (int)sizeof(cli->data) || snprintf(cli->socket, sizeof(cli->socket), "%s/socket",
						   cli->data) >= (int)sizeof(cli->socket))
		return cli_fail(CLI_USAGE, "the data directory's name is too long; name another "
					   "with --data");
	return CLI_DONE;
}

int cli_directory(const char *dir, bool create, char out[CLI_PATH])
{
	char path[PATH_MAX], real[PATH_MAX];
	size_t len = strlen(dir);
	if (realpath(dir, real) != NULL) {
		snprintf(out, CLI_PATH, "%s", real);
		return CLI_DONE;
	}
	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (errno != ENOENT || !create || len == 0 || len >= sizeof(path))
		return cli_fail(CLI_FAILED, "%s: %s; name a directory that is there", dir,
			thrum_strerror(-errno));
	/* It will be made: its parent must be there. */
	memcpy(path, dir, len);
	path[len] = '\0';
	char *slash = strrchr(path, '/');
	const char *parent = slash == NULL ? "." : slash == path ? "/" : path;
	const char *name = slash == NULL ? path : slash + 1;
	if (slash != NULL && slash != path)
		*slash = '\0';
	if (realpath(parent, real) == NULL)
		return cli_fail(
			CLI_FAILED, "%s: %s; make it first", parent, thrum_strerror(-errno));
	if (snprintf(out, CLI_PATH, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name) >= CLI_PATH)
		return cli_fail(CLI_FAILED, "%s: %s", dir, thrum_strerror(-ENAMETOOLONG));
	return CLI_DONE;
}

bool cli_split(const char *target, char name[CLI_NAME], ProtobufCBinaryData *path)
{
	size_t len = strcspn(target, "/");
	if (len == 0 || len >= CLI_NAME) {
		cli_fail(CLI_USAGE, "'%s' names no share; write NAME or NAME/PATH", target);
		return false;
	}
	memcpy(name, target, len);
	name[len] = '\0';
	const char *rest = target[len] == '/' ? target + len + 1 : "";
	*path = (ProtobufCBinaryData){strlen(rest), (uint8_t *)rest};
	return true;
}
