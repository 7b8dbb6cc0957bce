/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_unshare(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__NameRequest request = REPLICAD__V1__NAME_REQUEST__INIT;
	request.name = argv[1];
	/* It waits for what is under way. */
	int code = cli_call_long(
		cli, "Unshare", &request.base, &replicad__v1__empty__descriptor, NULL);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *out = json_object();
		cli_json_text(out, "share", argv[1]);
		return cli_json(out);
	}
	printf("'%s' is no longer replicated here; its files stay\n", argv[1]);
	return CLI_DONE;
}
