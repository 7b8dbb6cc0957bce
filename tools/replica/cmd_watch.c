/* SPDX-License-Identifier: MIT */
#include "cli.h"


static int print_event(const struct cli *cli, const Replicad__V1__Event *event)
{
	if (cli->json) {
		json_t *out = json_object();
		json_object_set_new(out, "time", cli_json_time(event->time_us));
		json_object_set_new(out, "kind", json_string(event->kind));
		json_object_set_new(out, "share", json_string(event->share));
		cli_json_path(out, &event->path);
		json_object_set_new(out, "peer", json_string(event->peer));
		json_object_set_new(out, "text", json_string(event->text));
		return cli_json(out);
	}
	printf("%s  %-12s %s%s%s", cli_time(event->time_us), event->kind, event->share,
		event->path.len ? "/" : "", cli_text(event->path.data, event->path.len));
	if (event->peer[0] != '\0')
		printf("  %s", event->peer);
	if (event->text[0] != '\0')
		printf("  %s", event->text);
	putchar('\n');
	return fflush(stdout) == 0 ? CLI_DONE : CLI_FAILED;
}

int cmd_watch(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	struct rpc_call *call;
	int code = cli_open(cli, "Watch", &empty.base, &call);
	while (code == CLI_DONE) {
		Replicad__V1__Event *event;
		int r = rpc_call_recv(call, &replicad__v1__event__descriptor, (ProtobufCMessage **)&event,
			THRUM_FOREVER);
		if (r == THRUM_EEOF)
			break; /* the daemon stops */
		if (r < 0) {
			struct rpc_status status = {0};
			code = cli_failed(cli, r, &status);
			break;
		}
		code = print_event(cli, event);
		rpc_message_free(&event->base);
	}
	rpc_call_destroy(call);
	return code;
}
