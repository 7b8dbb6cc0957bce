/* SPDX-License-Identifier: MIT */
#include "cli.h"

static int print_json(const struct cli *cli, const Replicad__V1__PathRequest *request,
	const Replicad__V1__WhyReply *reply)
{
	json_t *out = json_object();
	cli_json_text(out, "share", request->share);
	cli_json_name(out, "path", &request->path);
	cli_json_bool(out, "known", reply->known);
	cli_json_maybe(out, "verdict", cli_lower(reply->verdict));
	cli_json_maybe(out, "reason", reply->reason);
	cli_json_maybe(out, "peer", reply->peer);
	cli_json_time(out, "time", reply->time_us);
	return cli_json(out);
}

int cmd_why(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__PathRequest request = REPLICAD__V1__PATH_REQUEST__INIT;
	Replicad__V1__WhyReply *reply;
	char name[CLI_NAME];
	if (!cli_split(argv[1], name, &request.path))
		return CLI_USAGE;
	request.share = name;
	int code =
		cli_call(cli, "Why", &request.base, &replicad__v1__why_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	const char *target = cli_text(argv[1], strlen(argv[1]));
	if (cli->json)
		code = print_json(cli, &request, reply);
	else if (reply->known)
		printf("%s: %s (%s, from %s at %s)\n", target, cli_words(reply->reason),
			cli_lower(cli_words(reply->verdict)), cli_words(reply->peer),
			cli_time(reply->time_us));
	else
		printf("%s: no verdict yet; no peer had anything new about it\n", target);
	rpc_message_free(&reply->base);
	return code;
}
