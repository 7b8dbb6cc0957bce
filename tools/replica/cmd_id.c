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
		json_object_set_new(out, "replica_id", cli_json_hex(&reply->replica_id));
		json_object_set_new(out, "public_key", cli_json_hex(&reply->public_key));
		json_object_set_new(out, "listen", json_string(reply->listen));
		json_object_set_new(out, "version", json_string(reply->version));
		json_object_set_new(out, "pid", json_integer((json_int_t)reply->pid));
		code = cli_json(out);
	} else {
		printf("replica id  %s\n", cli_hex(&reply->replica_id));
		printf("public key  %s\n", cli_hex(&reply->public_key));
		printf("listens on  %s\n", reply->listen);
		printf("replicad    %s, process %llu\n", reply->version, (unsigned long long)reply->pid);
	}
	rpc_message_free(&reply->base);
	return code;
}
