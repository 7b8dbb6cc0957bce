/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <unistd.h>

int cmd_invite(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__NameRequest request = REPLICAD__V1__NAME_REQUEST__INIT;
	Replicad__V1__InviteReply *reply;
	request.name = argc > 1 ? argv[1] : (char *)"";
	int code = cli_call(
		cli, "Invite", &request.base, &replicad__v1__invite_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *out = json_object();
		cli_json_text(out, "ticket", reply->ticket);
		cli_json_text(out, "share", reply->share);
		cli_json_time(out, "expires", reply->expires_us);
		code = cli_json(out);
	} else {
		/* The ticket alone on standard output, so that it can be captured. */
		printf("%s\n", cli_words(reply->ticket));
		fflush(stdout);
		if (isatty(STDOUT_FILENO))
			fprintf(stderr,
				"good for one replica, until %s; there: replica join TICKET DIR\n",
				cli_time(reply->expires_us));
	}
	rpc_message_free(&reply->base);
	return code;
}
