/* SPDX-License-Identifier: MIT */
#include "cli.h"

/* What the calls of one run add up to. */
struct outcome {
	json_t *plan; /* dry run, --json */
	Replicad__V1__SyncResult *result; /* borrows from last */
	Replicad__V1__SyncEvent *last;
	uint64_t planned;
};

static void take_plan(struct cli *cli, struct outcome *outcome, const Replicad__V1__SyncPlan *plan)
{
	outcome->planned++;
	if (!cli->json) {
		printf("%s/%s: %s (from %s)\n", plan->share, cli_text(plan->path.data, plan->path.len),
			plan->reason, cli_text(plan->peer, strlen(plan->peer)));
		return;
	}
	json_t *row = json_object();
	json_object_set_new(row, "share", json_string(plan->share));
	cli_json_path(row, &plan->path);
	json_object_set_new(row, "peer", cli_json_text(plan->peer, strlen(plan->peer)));
	json_object_set_new(row, "verdict", json_string(plan->verdict));
	json_object_set_new(row, "reason", json_string(plan->reason));
	json_array_append_new(outcome->plan, row);
}

/* Hears the call out. 0 or a negative code. */
static int listen_to(struct cli *cli, struct rpc_call *call, struct outcome *outcome)
{
	for (;;) {
		Replicad__V1__SyncEvent *event;
		int r = rpc_call_recv(call, &replicad__v1__sync_event__descriptor,
			(ProtobufCMessage **)&event, THRUM_FOREVER);
		if (r < 0)
			return r == THRUM_EEOF ? 0 : r;
		if (event->progress != NULL && !cli->json)
			cli_progress(event->progress);
		if (event->plan != NULL)
			take_plan(cli, outcome, event->plan);
		if (event->result == NULL) {
			rpc_message_free(&event->base);
			continue;
		}
		if (outcome->last != NULL)
			rpc_message_free(&outcome->last->base);
		outcome->last = event;
		outcome->result = event->result;
	}
}

static int print_json(const struct outcome *outcome, bool dry)
{
	const Replicad__V1__SyncResult *result = outcome->result;
	json_t *out = json_object(), *messages = json_array();
	for (size_t i = 0; i < result->n_messages; i++)
		json_array_append_new(messages, json_string(result->messages[i]));
	json_object_set_new(out, "in_sync", json_boolean(result->in_sync));
	json_object_set_new(out, "conflicts", json_integer((json_int_t)result->conflicts));
	json_object_set_new(out, "errors", json_integer((json_int_t)result->errors));
	json_object_set_new(out, "files", json_integer((json_int_t)result->files));
	json_object_set_new(out, "wire_bytes", json_integer((json_int_t)result->wire_bytes));
	json_object_set_new(out, "peers", json_integer((json_int_t)result->peers));
	json_object_set_new(out, "messages", messages);
	if (dry)
		json_object_set(out, "plan", outcome->plan);
	return cli_json(out);
}

static void print_text(const struct outcome *outcome, bool dry)
{
	const Replicad__V1__SyncResult *result = outcome->result;
	for (size_t i = 0; i < result->n_messages; i++)
		printf("%s\n", cli_text(result->messages[i], strlen(result->messages[i])));
	if (dry) {
		printf("%llu changes would be made here\n", (unsigned long long)outcome->planned);
		return;
	}
	printf("%s: %llu changed here, %s on the wire", result->in_sync ? "in sync" : "not in sync",
		(unsigned long long)result->files, cli_bytes(result->wire_bytes));
	if (result->conflicts > 0)
		printf(", %llu conflict%s ('replica conflicts' lists them)",
			(unsigned long long)result->conflicts, result->conflicts == 1 ? "" : "s");
	if (result->errors > 0)
		printf(", %llu errors ('replica status' lists them)", (unsigned long long)result->errors);
	putchar('\n');
}

int cmd_sync(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__SyncRequest request = REPLICAD__V1__SYNC_REQUEST__INIT;
	struct outcome outcome = {0};
	struct rpc_status status = {0};
	struct rpc_call *call;
	char name[65] = "";
	request.share = name;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--dry-run") == 0)
			request.dry_run = true;
		else if (strncmp(argv[i], "--", 2) == 0)
			return cli_fail(CLI_USAGE, "sync: bad option '%s'", argv[i]);
		else if (!cli_split(argv[i], name, &request.path))
			return CLI_USAGE;
	}
	int code = cli_open(cli, "Sync", &request.base, &call);
	if (code != CLI_DONE)
		return code;
	outcome.plan = json_array();
	int r = listen_to(cli, call, &outcome);
	cli_progress_end();
	if (r < 0 || outcome.result == NULL) {
		int finished = rpc_call_finish(call, &status, thrum_after(5 * THRUM_S));
		code = cli_failed(cli, r < 0 ? r : finished, &status);
	} else {
		const Replicad__V1__SyncResult *result = outcome.result;
		if (cli->json)
			code = print_json(&outcome, request.dry_run);
		else
			print_text(&outcome, request.dry_run);
		if (code == CLI_DONE && !request.dry_run)
			code = result->in_sync	       ? CLI_DONE
			       : result->conflicts > 0 ? CLI_CONFLICTS
						       : CLI_FAILED;
	}
	if (outcome.last != NULL)
		rpc_message_free(&outcome.last->base);
	json_decref(outcome.plan);
	rpc_call_destroy(call);
	return code;
}
