/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_join(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__JoinRequest request = REPLICAD__V1__JOIN_REQUEST__INIT;
	Replicad__V1__JoinReply *reply;
	char dir[CLI_PATH];
	int code = cli_directory(argv[2], true, dir);
	if (code != CLI_DONE)
		return code;
	request.ticket = argv[1];
	request.dir = (ProtobufCBinaryData){strlen(dir), (uint8_t *)dir};
	code = cli_call(cli, "Join", &request.base, &replicad__v1__join_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *out = json_object();
		cli_json_text(out, "share", reply->share);
		cli_json_name(out, "dir", &request.dir);
		code = cli_json(out);
	} else {
		printf("joined '%s' in %s; 'replica sync %s' waits until all of it is here\n",
			cli_words(reply->share), cli_path(&request.dir), cli_words(reply->share));
	}
	rpc_message_free(&reply->base);
	return code;
}
