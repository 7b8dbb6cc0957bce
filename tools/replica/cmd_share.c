/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_share(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__ShareRequest request = REPLICAD__V1__SHARE_REQUEST__INIT;
	char dir[CLI_PATH];
	int code = cli_directory(argv[2], false, dir);
	if (code != CLI_DONE)
		return code;
	request.name = argv[1];
	request.dir = (ProtobufCBinaryData){strlen(dir), (uint8_t *)dir};
	code = cli_call(cli, "Share", &request.base, &replicad__v1__empty__descriptor, NULL);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *out = json_object();
		cli_json_text(out, "share", argv[1]);
		cli_json_name(out, "dir", &request.dir);
		return cli_json(out);
	}
	printf("sharing %s as '%s'; 'replica invite %s' prints a ticket for another machine\n",
		cli_path(&request.dir), argv[1], argv[1]);
	return CLI_DONE;
}
