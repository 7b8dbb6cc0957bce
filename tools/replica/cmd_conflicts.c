/* SPDX-License-Identifier: MIT */
#include "cli.h"

static bool absent(const Replicad__V1__Version *version)
{
	return version == NULL || strcmp(version->type, "absent") == 0;
}

/* Of a directory that stands where the other side has a file nothing else is known. */
static bool is_directory(const Replicad__V1__Version *version)
{
	return strcmp(version->type, "directory") == 0;
}

static json_t *version_json(const Replicad__V1__Version *version)
{
	json_t *out = json_object();
	char mode[8];
	if (absent(version)) {
		cli_json_text(out, "type", "absent");
		return out;
	}
	snprintf(mode, sizeof(mode), "%04o", version->mode & 07777);
	cli_json_text(out, "type", version->type);
	if (is_directory(version)) {
		cli_json_maybe(out, "size", "");
		cli_json_maybe(out, "mtime", "");
	} else {
		cli_json_count(out, "size", version->size);
		cli_json_time_ns(out, "mtime", version->mtime_ns);
	}
	cli_json_maybe(out, "mode", is_directory(version) && version->mode == 0 ? "" : mode);
	if (version->hash.len > 0)
		cli_json_hex(out, "hash", &version->hash);
	return out;
}

static json_t *conflict_json(const Replicad__V1__Conflict *conflict)
{
	json_t *out = json_object();
	cli_json_text(out, "share", conflict->share);
	cli_json_name(out, "path", &conflict->path);
	cli_json_text(out, "kind", conflict->kind);
	cli_json_text(out, "peer", conflict->peer);
	json_object_set_new(out, "mine", version_json(conflict->mine));
	json_object_set_new(out, "theirs", version_json(conflict->theirs));
	cli_json_time(out, "since", conflict->since_us);
	return out;
}

static void print_version(const char *whose, const Replicad__V1__Version *version)
{
	if (absent(version))
		printf("  %-7s deleted\n", whose);
	else if (is_directory(version) && version->mode == 0)
		printf("  %-7s directory\n", whose);
	else if (is_directory(version))
		printf("  %-7s directory, mode %04o\n", whose, version->mode & 07777);
	else
		printf("  %-7s %s, %s, changed %s\n", whose, cli_words(version->type),
			cli_bytes(version->size), cli_time(version->mtime_ns / 1000));
}

static void print_conflict(const Replicad__V1__Conflict *conflict)
{
	printf("%s/%s: %s, with %s, since %s\n", cli_words(conflict->share),
		cli_path(&conflict->path), cli_words(conflict->kind), cli_words(conflict->peer),
		cli_time(conflict->since_us));
	print_version("mine:", conflict->mine);
	print_version("theirs:", conflict->theirs);
}

int cmd_conflicts(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__NameRequest request = REPLICAD__V1__NAME_REQUEST__INIT;
	Replicad__V1__ConflictsReply *reply;
	request.name = argc > 1 ? argv[1] : (char *)"";
	int code = cli_call(cli, "Conflicts", &request.base,
		&replicad__v1__conflicts_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *list = json_array();
		for (size_t i = 0; i < reply->n_conflicts; i++)
			json_array_append_new(list, conflict_json(reply->conflicts[i]));
		code = cli_json(json_pack("{so}", "conflicts", list));
	} else {
		for (size_t i = 0; i < reply->n_conflicts; i++)
			print_conflict(reply->conflicts[i]);
		puts(reply->n_conflicts == 0 ? "no conflicts"
					     : "settle each with 'replica resolve NAME/PATH --keep "
					       "mine|theirs|both'");
	}
	if (code == CLI_DONE && reply->n_conflicts > 0)
		code = CLI_CONFLICTS;
	rpc_message_free(&reply->base);
	return code;
}
