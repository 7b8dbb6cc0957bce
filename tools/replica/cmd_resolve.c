/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_resolve(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__ResolveRequest request = REPLICAD__V1__RESOLVE_REQUEST__INIT;
	char name[65] = "";
	const char *keep = NULL, *target = NULL;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--keep") == 0 && i + 1 < argc)
			keep = argv[++i];
		else if (strncmp(argv[i], "--keep=", 7) == 0)
			keep = argv[i] + 7;
		else if (strncmp(argv[i], "--", 2) == 0)
			return cli_fail(CLI_USAGE, "resolve: bad option '%s'", argv[i]);
		else
			target = argv[i];
	}
	if (keep == NULL ||
		(strcmp(keep, "mine") != 0 && strcmp(keep, "theirs") != 0 && strcmp(keep, "both") != 0))
		return cli_fail(CLI_USAGE, "resolve: say what to keep: --keep mine, --keep theirs or --keep both");
	if (!cli_split(target, name, &request.path))
		return CLI_USAGE;
	request.share = name;
	request.keep = (char *)keep;
	int code = cli_call(cli, "Resolve", &request.base, &replicad__v1__empty__descriptor, NULL);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *out = json_object();
		json_object_set_new(out, "share", json_string(name));
		cli_json_path(out, &request.path);
		json_object_set_new(out, "kept", json_string(keep));
		return cli_json(out);
	}
	printf("resolved: kept %s\n", keep);
	return CLI_DONE;
}
