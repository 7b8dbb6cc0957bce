/* SPDX-License-Identifier: MIT */
#include "cli.h"

static json_t *peer_json(const Replicad__V1__PeerInfo *peer)
{
	json_t *out = json_object(), *shares = json_array();
	for (size_t i = 0; i < peer->n_shares; i++)
		json_array_append_new(shares, json_string(peer->shares[i]));
	json_object_set_new(out, "name", cli_json_text(peer->name, strlen(peer->name)));
	json_object_set_new(out, "public_key", cli_json_hex(&peer->public_key));
	json_object_set_new(out, "address", json_string(peer->address));
	json_object_set_new(out, "connected", json_boolean(peer->connected));
	json_object_set_new(out, "since", cli_json_time(peer->since_us));
	json_object_set_new(out, "last_sync", cli_json_time(peer->last_sync_us));
	json_object_set_new(out, "shares", shares);
	json_object_set_new(out, "bytes_in", json_integer((json_int_t)peer->bytes_in));
	json_object_set_new(out, "bytes_out", json_integer((json_int_t)peer->bytes_out));
	json_object_set_new(out, "error", json_string(peer->error));
	return out;
}

static void print_peer(const Replicad__V1__PeerInfo *peer)
{
	printf("%s (%s) %s since %s, last sync %s, in %s, out %s\n",
		cli_text(peer->name, strlen(peer->name)), cli_text(peer->address, strlen(peer->address)),
		peer->connected ? "connected" : "away", cli_time(peer->since_us),
		cli_time(peer->last_sync_us), cli_bytes(peer->bytes_in), cli_bytes(peer->bytes_out));
	if (peer->error[0] != '\0')
		printf("  %s\n", cli_text(peer->error, strlen(peer->error)));
}

int cmd_peers(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	Replicad__V1__PeersReply *reply;
	int code = cli_call(cli, "Peers", &empty.base, &replicad__v1__peers_reply__descriptor, &reply);
	if (code != CLI_DONE)
		return code;
	json_t *list = json_array();
	for (size_t i = 0; i < reply->n_peers; i++) {
		if (cli->json)
			json_array_append_new(list, peer_json(reply->peers[i]));
		else
			print_peer(reply->peers[i]);
	}
	if (cli->json)
		code = cli_json(json_pack("{so}", "peers", list));
	else
		json_decref(list);
	if (!cli->json && reply->n_peers == 0)
		puts("no peers yet; 'replica invite' prints a ticket for one");
	rpc_message_free(&reply->base);
	return code;
}
