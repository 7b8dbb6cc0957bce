/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_resolve(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__ResolveRequest request = REPLICAD__V1__RESOLVE_REQUEST__INIT;
	char name[CLI_NAME];
	if (cli->keep == NULL)
		return cli_fail(CLI_USAGE, "resolve: which version is kept? say --keep mine, "
					   "--keep theirs or --keep both");
	if (!cli_split(argv[1], name, &request.path))
		return CLI_USAGE;
	request.share = name;
	request.keep = (char *)cli->keep;
	/* It may have to fetch a large file. */
	int code = cli_call_long(
		cli, "Resolve", &request.base, &replicad__v1__empty__descriptor, NULL);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *out = json_object();
		cli_json_text(out, "share", name);
		cli_json_name(out, "path", &request.path);
		cli_json_text(out, "kept", cli->keep);
		return cli_json(out);
	}
	printf("resolved: kept %s\n", cli->keep);
	return CLI_DONE;
}
