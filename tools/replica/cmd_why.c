/* SPDX-License-Identifier: MIT */
#include "cli.h"

int cmd_why(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__PathRequest request = REPLICAD__V1__PATH_REQUEST__INIT;
	Replicad__V1__WhyReply *reply;
	char name[65];
	if (!cli_split(argv[1], name, &request.path))
		return CLI_USAGE;
	request.share = name;
	int code = cli_call(cli, "Why", &request.base, &replicad__v1__why_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *out = json_object();
		json_object_set_new(out, "share", json_string(name));
		cli_json_path(out, &request.path);
		json_object_set_new(out, "known", json_boolean(reply->known));
		json_object_set_new(out, "verdict", reply->known ? json_string(reply->verdict) : json_null());
		json_object_set_new(out, "reason", reply->known ? json_string(reply->reason) : json_null());
		json_object_set_new(out, "peer",
			reply->known ? cli_json_text(reply->peer, strlen(reply->peer)) : json_null());
		json_object_set_new(out, "time", cli_json_time(reply->time_us));
		code = cli_json(out);
	} else if (reply->known) {
		printf("%s: %s (%s, from %s at %s)\n", cli_text(argv[1], strlen(argv[1])), reply->reason,
			reply->verdict, cli_text(reply->peer, strlen(reply->peer)), cli_time(reply->time_us));
	} else {
		printf("%s: no verdict on record: no peer had anything new about it\n",
			cli_text(argv[1], strlen(argv[1])));
	}
	rpc_message_free(&reply->base);
	return code;
}
