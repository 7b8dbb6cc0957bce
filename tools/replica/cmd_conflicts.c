/* SPDX-License-Identifier: MIT */
#include "cli.h"

static json_t *version_json(const Replicad__V1__Version *version)
{
	json_t *out = json_object();
	char mode[8];
	json_object_set_new(out, "type", json_string(version->type));
	if (strcmp(version->type, "absent") == 0)
		return out;
	snprintf(mode, sizeof(mode), "%04o", version->mode & 07777);
	json_object_set_new(out, "size", json_integer((json_int_t)version->size));
	json_object_set_new(out, "mtime", cli_json_time(version->mtime_ns / 1000));
	json_object_set_new(out, "mode", json_string(mode));
	json_object_set_new(out, "hash", cli_json_hex(&version->hash));
	return out;
}

static json_t *conflict_json(const Replicad__V1__Conflict *conflict)
{
	json_t *out = json_object();
	json_object_set_new(out, "share", json_string(conflict->share));
	cli_json_path(out, &conflict->path);
	json_object_set_new(out, "kind", json_string(conflict->kind));
	json_object_set_new(out, "peer", cli_json_text(conflict->peer, strlen(conflict->peer)));
	json_object_set_new(out, "mine", version_json(conflict->mine));
	json_object_set_new(out, "theirs", version_json(conflict->theirs));
	json_object_set_new(out, "since", cli_json_time(conflict->since_us));
	return out;
}

static void print_version(const char *whose, const Replicad__V1__Version *version)
{
	if (strcmp(version->type, "absent") == 0)
		printf("  %-7s deleted\n", whose);
	else
		printf("  %-7s %s, %s, changed %s\n", whose, version->type, cli_bytes(version->size),
			cli_time(version->mtime_ns / 1000));
}

static void print_conflict(const Replicad__V1__Conflict *conflict)
{
	printf("%s/%s  %s, with %s, since %s\n", conflict->share,
		cli_text(conflict->path.data, conflict->path.len), conflict->kind,
		cli_text(conflict->peer, strlen(conflict->peer)), cli_time(conflict->since_us));
	print_version("mine:", conflict->mine);
	print_version("theirs:", conflict->theirs);
}

int cmd_conflicts(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__NameRequest request = REPLICAD__V1__NAME_REQUEST__INIT;
	Replicad__V1__ConflictsReply *reply;
	request.name = argc > 1 ? argv[1] : (char *)"";
	int code = cli_call(
		cli, "Conflicts", &request.base, &replicad__v1__conflicts_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	json_t *list = json_array();
	bool any = reply->n_conflicts > 0;
	for (size_t i = 0; i < reply->n_conflicts; i++) {
		if (cli->json)
			json_array_append_new(list, conflict_json(reply->conflicts[i]));
		else
			print_conflict(reply->conflicts[i]);
	}
	if (cli->json)
		code = cli_json(json_pack("{so}", "conflicts", list));
	else
		json_decref(list);
	if (!cli->json && any)
		puts("settle each with 'replica resolve NAME/PATH --keep mine|theirs|both'");
	rpc_message_free(&reply->base);
	return code == CLI_DONE && any ? CLI_CONFLICTS : code;
}
