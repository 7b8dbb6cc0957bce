/* SPDX-License-Identifier: MIT */
#include "cli.h"

static int print_event(const struct cli *cli, const Replicad__V1__Event *event)
{
	if (cli->json) {
		json_t *out = json_object();
		cli_json_time(out, "time", event->time_us);
		cli_json_text(out, "kind", event->kind);
		cli_json_maybe(out, "share", event->share);
		if (event->path.len > 0)
			cli_json_name(out, "path", &event->path);
		else
			json_object_set_new(out, "path", json_null());
		cli_json_maybe(out, "peer", event->peer);
		cli_json_maybe(out, "text", event->text);
		return cli_json(out);
	}
	printf("%s  %-12s", cli_time(event->time_us), cli_words(event->kind));
	if (event->share[0] != '\0')
		printf(" %s%s%s", cli_words(event->share), event->path.len > 0 ? "/" : "",
			cli_path(&event->path));
	if (event->peer[0] != '\0')
		printf("  %s", cli_words(event->peer));
	if (event->text[0] != '\0')
		printf("  %s", cli_words(event->text));
	putchar('\n');
	return fflush(stdout) == 0 ? CLI_DONE : CLI_FAILED; /* main says why */
}

int cmd_watch(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	Replicad__V1__Event *event;
	struct rpc_call *call;
	int code = cli_open(cli, "Watch", &empty.base, &call);
	if (code != CLI_DONE)
		return code;
	while (code == CLI_DONE &&
		cli_next(cli, call, &replicad__v1__event__descriptor, &event, &code)) {
		code = print_event(cli, event);
		rpc_message_free(&event->base);
	}
	rpc_call_destroy(call);
	return code;
}
