/* SPDX-License-Identifier: MIT */
#include "cli.h"

/* What is heard of one sync. */
struct outcome {
	json_t *plan; /* of a dry run, for --json */
	uint64_t planned;
	Replicad__V1__SyncEvent *last; /* holds the result; NULL: none yet */
};

static void take_plan(struct cli *cli, struct outcome *outcome, const Replicad__V1__SyncPlan *plan)
{
	outcome->planned++;
	if (!cli->json) {
		printf("%s/%s: %s (from %s)\n", cli_words(plan->share), cli_path(&plan->path),
			cli_words(plan->reason), cli_words(plan->peer));
		return;
	}
	json_t *row = json_object();
	cli_json_text(row, "share", plan->share);
	cli_json_name(row, "path", &plan->path);
	cli_json_text(row, "peer", plan->peer);
	cli_json_text(row, "verdict", cli_lower(plan->verdict));
	cli_json_text(row, "reason", plan->reason);
	json_array_append_new(outcome->plan, row);
}

/* Hears the call out. CLI_DONE, or the exit code after saying why. */
static int listen_to(struct cli *cli, struct rpc_call *call, struct outcome *outcome)
{
	Replicad__V1__SyncEvent *event;
	int code;
	while (cli_next(cli, call, &replicad__v1__sync_event__descriptor, &event, &code)) {
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
	}
	cli_progress_end();
	if (code == CLI_DONE && outcome->last == NULL)
		code = cli_fail(CLI_FAILED, "replicad did not say how the sync ended; see its log");
	return code;
}

static int print_json(
	const struct cli *cli, struct outcome *outcome, const Replicad__V1__SyncResult *result)
{
	json_t *out = json_object();
	if (!cli->dry_run)
		cli_json_bool(out, "in_sync", result->in_sync);
	cli_json_count(out, "conflicts", result->conflicts);
	cli_json_count(out, "errors", result->errors);
	cli_json_count(out, "files", result->files);
	cli_json_count(out, "wire_bytes", result->wire_bytes);
	cli_json_count(out, "peers", result->peers);
	json_object_set_new(out, "messages", cli_json_list(result->messages, result->n_messages));
	if (cli->dry_run)
		json_object_set(out, "plan", outcome->plan);
	return cli_json(out);
}

static void print_text(const struct cli *cli, const struct outcome *outcome,
	const Replicad__V1__SyncResult *result)
{
	for (size_t i = 0; i < result->n_messages; i++)
		fprintf(stderr, "replica: %s\n", cli_words(result->messages[i]));
	if (cli->dry_run) {
		printf("%s would be made here\n", cli_count(outcome->planned, "change"));
		return;
	}
	printf("%s: ", result->in_sync ? "in sync" : "not in sync");
	if (result->peers == 0 && result->in_sync) {
		puts("there are no peers yet; 'replica invite' prints a ticket for one");
		return;
	}
	printf("%s here, %s on the wire", cli_count(result->files, "change"),
		cli_bytes(result->wire_bytes));
	if (result->conflicts > 0)
		printf(", %s ('replica conflicts' lists them)",
			cli_count(result->conflicts, "conflict"));
	if (result->errors > 0)
		printf(", %s ('replica status' lists them)", cli_count(result->errors, "error"));
	putchar('\n');
}

/* A peer that was not reached or a file that failed weighs more than conflicts. */
static int exit_code(const struct cli *cli, const Replicad__V1__SyncResult *result)
{
	if (result->errors > 0 || result->n_messages > 0)
		return CLI_FAILED;
	if (result->conflicts > 0)
		return CLI_CONFLICTS;
	return result->in_sync || cli->dry_run ? CLI_DONE : CLI_FAILED;
}

int cmd_sync(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__SyncRequest request = REPLICAD__V1__SYNC_REQUEST__INIT;
	struct outcome outcome = {0};
	struct rpc_call *call;
	char name[CLI_NAME] = "";
	request.share = name;
	request.dry_run = cli->dry_run;
	if (argc > 1 && !cli_split(argv[1], name, &request.path))
		return CLI_USAGE;
	int code = cli_open(cli, "Sync", &request.base, &call);
	if (code != CLI_DONE)
		return code;
	outcome.plan = json_array();
	code = listen_to(cli, call, &outcome);
	if (code == CLI_DONE) {
		const Replicad__V1__SyncResult *result = outcome.last->result;
		if (cli->json)
			code = print_json(cli, &outcome, result);
		else
			print_text(cli, &outcome, result);
		if (code == CLI_DONE)
			code = exit_code(cli, result);
	}
	if (outcome.last != NULL)
		rpc_message_free(&outcome.last->base);
	json_decref(outcome.plan);
	rpc_call_destroy(call);
	return code;
}
