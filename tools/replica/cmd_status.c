/* SPDX-License-Identifier: MIT */
#include "cli.h"

static json_t *share_json(const Replicad__V1__ShareStatus *share)
{
	json_t *out = json_object(), *errors = json_array();
	for (size_t i = 0; i < share->n_error_list; i++) {
		json_t *row = json_object();
		cli_json_path(row, &share->error_list[i]->path);
		json_object_set_new(row, "text", json_string(share->error_list[i]->text));
		json_array_append_new(errors, row);
	}
	json_object_set_new(out, "name", json_string(share->name));
	json_object_set_new(out, "dir", cli_json_text(share->dir.data, share->dir.len));
	json_object_set_new(out, "state", json_string(share->state));
	json_object_set_new(out, "message", cli_json_text(share->message, strlen(share->message)));
	json_object_set_new(out, "in_sync", json_boolean(share->in_sync));
	json_object_set_new(out, "files", json_integer((json_int_t)share->files));
	json_object_set_new(out, "bytes", json_integer((json_int_t)share->bytes));
	json_object_set_new(out, "conflicts", json_integer((json_int_t)share->conflicts));
	json_object_set_new(out, "peers", json_integer((json_int_t)share->peers));
	json_object_set_new(out, "peers_connected", json_integer((json_int_t)share->peers_connected));
	json_object_set_new(out, "errors", json_integer((json_int_t)share->errors));
	json_object_set_new(out, "error_list", errors);
	return out;
}

static void print_share(const Replicad__V1__ShareStatus *share)
{
	printf("%s  %s\n", share->name, cli_text(share->dir.data, share->dir.len));
	printf("  %s, %s; %llu files, %s; %llu conflicts; %llu of %llu peers connected\n", share->state,
		share->in_sync ? "in sync" : "not in sync", (unsigned long long)share->files,
		cli_bytes(share->bytes), (unsigned long long)share->conflicts,
		(unsigned long long)share->peers_connected, (unsigned long long)share->peers);
	if (share->progress != NULL)
		printf("  %llu of %llu files, %s of %s\n", (unsigned long long)share->progress->files_done,
			(unsigned long long)share->progress->files_total,
			cli_bytes(share->progress->bytes_done), cli_bytes(share->progress->bytes_total));
	if (share->message[0] != '\0')
		printf("  %s\n", cli_text(share->message, strlen(share->message)));
	for (size_t i = 0; i < share->n_error_list; i++) {
		const Replicad__V1__PathError *error = share->error_list[i];
		printf("  error: %s: %s\n", cli_text(error->path.data, error->path.len),
			cli_text(error->text, strlen(error->text)));
	}
	if (share->errors > share->n_error_list)
		printf("  and %llu more errors\n", (unsigned long long)(share->errors - share->n_error_list));
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	Replicad__V1__StatusReply *reply;
	int code = cli_call(cli, "Status", &empty.base, &replicad__v1__status_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	json_t *list = json_array();
	bool conflicts = false;
	for (size_t i = 0; i < reply->n_shares; i++) {
		conflicts |= reply->shares[i]->conflicts > 0;
		if (cli->json)
			json_array_append_new(list, share_json(reply->shares[i]));
		else
			print_share(reply->shares[i]);
	}
	if (cli->json)
		code = cli_json(json_pack("{so}", "shares", list));
	else
		json_decref(list);
	if (!cli->json && reply->n_shares == 0)
		puts("nothing is shared yet; begin with 'replica share NAME DIR' or 'replica join TICKET DIR'");
	rpc_message_free(&reply->base);
	return code == CLI_DONE && conflicts ? CLI_CONFLICTS : code;
}
