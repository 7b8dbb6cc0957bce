/* SPDX-License-Identifier: MIT */
#include "cli.h"

static json_t *peer_json(const Replicad__V1__PeerInfo *peer)
{
	json_t *out = json_object();
	cli_json_text(out, "name", peer->name);
	cli_json_hex(out, "public_key", &peer->public_key);
	cli_json_text(out, "address", peer->address);
	cli_json_bool(out, "connected", peer->connected);
	cli_json_time(out, "since", peer->since_us);
	cli_json_time(out, "last_sync", peer->last_sync_us);
	json_object_set_new(out, "shares", cli_json_list(peer->shares, peer->n_shares));
	cli_json_count(out, "bytes_in", peer->bytes_in);
	cli_json_count(out, "bytes_out", peer->bytes_out);
	cli_json_maybe(out, "error", peer->error);
	return out;
}

static void print_peer(const Replicad__V1__PeerInfo *peer)
{
	printf("%s  %s\n", cli_words(peer->name), cli_words(peer->address));
	if (peer->since_us == 0)
		printf("  %s", peer->connected ? "connected" : "never connected");
	else
		printf("  %s since %s", peer->connected ? "connected" : "away",
			cli_time(peer->since_us));
	if (peer->last_sync_us == 0)
		printf(", never synced");
	else
		printf(", last sync %s", cli_time(peer->last_sync_us));
	printf("\n  %s in, %s out", cli_bytes(peer->bytes_in), cli_bytes(peer->bytes_out));
	for (size_t i = 0; i < peer->n_shares; i++)
		printf("%s%s", i == 0 ? "; shares " : ", ", cli_words(peer->shares[i]));
	putchar('\n');
	if (peer->error[0] != '\0')
		printf("  %s\n", cli_words(peer->error));
}

int cmd_peers(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	Replicad__V1__PeersReply *reply;
	int code =
		cli_call(cli, "Peers", &empty.base, &replicad__v1__peers_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	if (cli->json) {
		json_t *list = json_array();
		for (size_t i = 0; i < reply->n_peers; i++)
			json_array_append_new(list, peer_json(reply->peers[i]));
		code = cli_json(json_pack("{so}", "peers", list));
	} else {
		for (size_t i = 0; i < reply->n_peers; i++)
			print_peer(reply->peers[i]);
		if (reply->n_peers == 0)
			puts("no peers yet; 'replica invite' prints a ticket for one");
	}
	rpc_message_free(&reply->base);
	return code;
}
