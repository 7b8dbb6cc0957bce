/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_stop(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	int code = cli_call(cli, "Stop", &empty.base, &replicad__v1__empty__descriptor, NULL);
	if (code == CLI_DONE && cli->json)
		code = cli_json(json_pack("{sb}", "stopped", 1));
	return code;
}
