/* SPDX-License-Identifier: MIT */
#include "cli.h"

static json_t *errors_json(const Replicad__V1__ShareStatus *share)
{
	json_t *list = json_array();
	for (size_t i = 0; i < share->n_error_list; i++) {
		json_t *row = json_object();
		cli_json_name(row, "path", &share->error_list[i]->path);
		cli_json_text(row, "text", share->error_list[i]->text);
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *progress_json(const Replicad__V1__SyncProgress *progress)
{
	if (progress == NULL)
		return json_null();
	json_t *out = json_object();
	cli_json_count(out, "files_done", progress->files_done);
	cli_json_count(out, "files_total", progress->files_total);
	cli_json_count(out, "bytes_done", progress->bytes_done);
	cli_json_count(out, "bytes_total", progress->bytes_total);
	return out;
}

static json_t *share_json(const Replicad__V1__ShareStatus *share)
{
	json_t *out = json_object();
	cli_json_text(out, "share", share->name);
	cli_json_name(out, "dir", &share->dir);
	cli_json_text(out, "state", share->state);
	cli_json_maybe(out, "message", share->message);
	cli_json_bool(out, "in_sync", share->in_sync);
	cli_json_count(out, "files", share->files);
	cli_json_count(out, "bytes", share->bytes);
	cli_json_count(out, "conflicts", share->conflicts);
	cli_json_count(out, "peers", share->peers);
	cli_json_count(out, "peers_connected", share->peers_connected);
	cli_json_count(out, "errors", share->errors);
	json_object_set_new(out, "error_list", errors_json(share));
	json_object_set_new(out, "progress", progress_json(share->progress));
	return out;
}

static void print_errors(const Replicad__V1__ShareStatus *share)
{
	for (size_t i = 0; i < share->n_error_list; i++)
		printf("  %s: %s\n", cli_path(&share->error_list[i]->path),
			cli_words(share->error_list[i]->text));
	if (share->errors > share->n_error_list)
		printf("  and %s more\n", cli_count(share->errors - share->n_error_list, "error"));
}

static void print_share(const Replicad__V1__ShareStatus *share)
{
	const Replicad__V1__SyncProgress *progress = share->progress;
	printf("%s  %s\n", cli_words(share->name), cli_path(&share->dir));
	printf("  %s, %s; %s, %s; ", cli_words(share->state),
		share->in_sync ? "in sync" : "not in sync", cli_count(share->files, "file"),
		cli_bytes(share->bytes));
	if (share->peers == 0)
		printf("no peers yet\n");
	else
		printf("%llu of %s connected\n", (unsigned long long)share->peers_connected,
			cli_count(share->peers, "peer"));
	if (share->conflicts > 0)
		printf("  %s; 'replica conflicts %s' lists them\n",
			cli_count(share->conflicts, "conflict"), cli_words(share->name));
	if (progress != NULL && progress->files_total > 0)
		printf("  %llu of %llu entries, %s of %s\n",
			(unsigned long long)progress->files_done,
			(unsigned long long)progress->files_total, cli_bytes(progress->bytes_done),
			cli_bytes(progress->bytes_total));
	if (share->message[0] != '\0')
		printf("  %s\n", cli_words(share->message));
	print_errors(share);
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	Replicad__V1__StatusReply *reply;
	int code = cli_call(
		cli, "Status", &empty.base, &replicad__v1__status_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *list = json_array();
		for (size_t i = 0; i < reply->n_shares; i++)
			json_array_append_new(list, share_json(reply->shares[i]));
		code = cli_json(json_pack("{so}", "shares", list));
	} else {
		for (size_t i = 0; i < reply->n_shares; i++)
			print_share(reply->shares[i]);
		if (reply->n_shares == 0)
			puts("nothing is shared yet; begin with 'replica share NAME DIR' or "
			     "'replica join TICKET DIR'");
	}
	for (size_t i = 0; i < reply->n_shares; i++)
		if (code == CLI_DONE && reply->shares[i]->conflicts > 0)
			code = CLI_CONFLICTS;
	rpc_message_free(&reply->base);
	return code;
}
