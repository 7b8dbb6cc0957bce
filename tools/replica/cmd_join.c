/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_join(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__JoinRequest request = REPLICAD__V1__JOIN_REQUEST__INIT;
	Replicad__V1__JoinReply *reply;
	char dir[4096];
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
		json_object_set_new(out, "share", json_string(reply->share));
		json_object_set_new(out, "dir", cli_json_text(dir, strlen(dir)));
		code = cli_json(out);
	} else {
		printf("joined '%s' in %s; 'replica sync %s' waits until it is here\n",
			cli_text(reply->share, strlen(reply->share)), cli_text(dir, strlen(dir)),
			cli_text(reply->share, strlen(reply->share)));
	}
	rpc_message_free(&reply->base);
	return code;
}
