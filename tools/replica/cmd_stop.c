/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "replica/replica.h"

#define STOP_TIME (60 * THRUM_S)

/* Waits until the daemon's process is gone, so that a new one finds the data directory free. */
static int wait_for_end(struct cli *cli, int process)
{
	int r = process >= 0 ? thrum_fd_wait(process, THRUM_READABLE, thrum_after(STOP_TIME))
			     : rpc_client_wait(cli->client, thrum_after(STOP_TIME));
	if (r == -ECANCELED)
		return CLI_FAILED;
	if (r == -ETIMEDOUT)
		return cli_fail(CLI_FAILED,
			"replicad was asked to stop a minute ago and still runs; see its log");
	return CLI_DONE; /* however its connection ended: it ended */
}

int cmd_stop(struct cli *cli, int argc, char **argv)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	ProtobufCMessage *answer;
	struct rpc_status status = {0};
	int code = cli_connect(cli);
	if (code != CLI_DONE)
		return code;
	int process = cli->daemon > 0 ? pidfd_open(cli->daemon, 0) : -1;
	int r = rpc_client_unary(cli->client, REPLICA_CONTROL_SERVICE "Stop", &empty.base,
		&replicad__v1__empty__descriptor, &answer, thrum_after(STOP_TIME), &status);
	if (r == 0)
		rpc_message_free(answer);
	/* It may be gone before its answer has left; no answer at all is told by the wait. */
	if (r == 0 || r == -ECONNRESET || r == -EPIPE)
		code = wait_for_end(cli, process);
	else
		code = cli_failed(cli, r, &status);
	if (process >= 0)
		close(process);
	if (code == CLI_DONE && cli->json)
		code = cli_json(json_pack("{sb}", "stopped", 1));
	return code;
}
