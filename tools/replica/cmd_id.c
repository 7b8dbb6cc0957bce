/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_id(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	Replicad__V1__IdReply *reply;
	int code = cli_call(cli, "Id", &empty.base, &replicad__v1__id_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *out = json_object();
		cli_json_hex(out, "replica_id", &reply->replica_id);
		cli_json_hex(out, "public_key", &reply->public_key);
		cli_json_text(out, "listen", reply->listen);
		cli_json_text(out, "version", reply->version);
		cli_json_count(out, "pid", reply->pid);
		code = cli_json(out);
	} else {
		printf("replica id  %s\n", cli_hex(&reply->replica_id));
		printf("public key  %s\n", cli_hex(&reply->public_key));
		printf("listens on  %s\n", cli_words(reply->listen));
		printf("replicad    %s, process %llu\n", cli_words(reply->version),
			(unsigned long long)reply->pid);
	}
	rpc_message_free(&reply->base);
	return code;
}
