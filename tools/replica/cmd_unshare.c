/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_unshare(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__NameRequest request = REPLICAD__V1__NAME_REQUEST__INIT;
	request.name = argv[1];
	int code = cli_call(cli, "Unshare", &request.base, &replicad__v1__empty__descriptor, NULL);
	if (code != CLI_DONE)
		return code;
	if (cli->json)
		return cli_json(json_pack("{ss}", "unshared", argv[1]));
	printf("'%s' is no longer replicated here; its files stay\n", argv[1]);
	return CLI_DONE;
}
