/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>

#include "replica/replica.h"

/* The daemon is on this machine: what takes longer hangs. Signals end a wait at any time. */
#define CONNECT_TIME (10 * THRUM_S)
#define CALL_TIME    (60 * THRUM_S)

int cli_fail(int code, const char *format, ...)
{
	char text[3 * CLI_PATH], escaped[4 * CLI_PATH];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	cli_progress_end();
	fflush(stdout);
	thrum__escape(escaped, sizeof(escaped), text, strlen(text));
	fprintf(stderr, "replica: %s\n", escaped);
	return code;
}

static int unreachable(const struct cli *cli, int error)
{
	if (error == -EACCES)
		return cli_fail(CLI_UNREACHABLE,
			"cannot reach replicad at %s: %s; be the user it runs as", cli->socket,
			thrum_strerror(error));
	if (error == -ECANCELED)
		return CLI_FAILED; /* by a signal */
	if (error == -ENAMETOOLONG)
		return cli_fail(CLI_UNREACHABLE,
			"%s is too long for a socket's name; use a data directory with a shorter "
			"one",
			cli->socket);
	if (error != -ENOENT && error != -ECONNREFUSED)
		return cli_fail(CLI_UNREACHABLE, "cannot reach replicad at %s: %s", cli->socket,
			thrum_strerror(error));
	if (cli->data[0] != '\0')
		return cli_fail(CLI_UNREACHABLE,
			"no replicad at %s; start it with 'replicad --data %s'", cli->socket,
			cli->data);
	return cli_fail(CLI_UNREACHABLE,
		"no replicad at %s; start it with 'replicad --data DIR' and use DIR/socket",
		cli->socket);
}

int cli_connect(struct cli *cli)
{
	char address[CLI_PATH + 8];
	struct thrum_conn *conn;
	struct thrum_credentials who;
	struct rpc_transport *transport;
	struct rpc_limits limits = {.keepalive = -1};
	if (cli->client != NULL)
		return CLI_DONE;
	snprintf(address, sizeof(address), "unix:%s", cli->socket);
	int r = thrum_conn_open(&conn, address, thrum_after(CONNECT_TIME));
	if (r == 0) {
		if (thrum_conn_peer_credentials(conn, &who) == 0)
			cli->daemon = who.pid;
		r = rpc_transport_plain(&transport, conn);
	}
	if (r == 0)
		r = rpc_client_create(&cli->client, transport, &limits);
	return r < 0 ? unreachable(cli, r) : CLI_DONE;
}

int cli_failed(struct cli *cli, int error, const struct rpc_status *status)
{
	if (error == -ECANCELED && thrum_canceled())
		return CLI_FAILED; /* by a signal, which says it all */
	if (error == -ECONNRESET || error == -EPIPE)
		return cli_fail(CLI_UNREACHABLE,
			"replicad at %s hung up; see its log, or start it again", cli->socket);
	if (error == THRUM_EFORMAT)
		return cli_fail(CLI_UNREACHABLE, "what answers at %s is no replicad", cli->socket);
	if (error == -ETIMEDOUT)
		return cli_fail(CLI_UNREACHABLE, "replicad at %s does not answer; see its log",
			cli->socket);
	if (status->message[0] != '\0')
		return cli_fail(CLI_FAILED, "%s", status->message);
	return cli_fail(CLI_FAILED, "replicad failed: %s; see its log", thrum_strerror(error));
}

static int call_until(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *out, thrum_deadline deadline)
{
	char path[128];
	ProtobufCMessage *answer;
	struct rpc_status status = {0};
	int code = cli_connect(cli);
	if (code != CLI_DONE)
		return code;
	snprintf(path, sizeof(path), REPLICA_CONTROL_SERVICE "%s", method);
	int r = rpc_client_unary(cli->client, path, request, type, &answer, deadline, &status);
	if (r < 0)
		return cli_failed(cli, r, &status);
	if (out != NULL)
		*(ProtobufCMessage **)out = answer;
	else
		rpc_message_free(answer);
	return CLI_DONE;
}

int cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *out)
{
	return call_until(cli, method, request, type, out, thrum_after(CALL_TIME));
}

int cli_call_long(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *out)
{
	return call_until(cli, method, request, type, out, THRUM_FOREVER);
}

int cli_open(
	struct cli *cli, const char *method, const ProtobufCMessage *request, struct rpc_call **out)
{
	char path[128];
	struct rpc_status status = {0};
	int code = cli_connect(cli);
	if (code != CLI_DONE)
		return code;
	snprintf(path, sizeof(path), REPLICA_CONTROL_SERVICE "%s", method);
	int r = rpc_client_open(cli->client, path, NULL, 0, THRUM_FOREVER, out);
	if (r < 0)
		return cli_failed(cli, r, &status);
	r = rpc_call_send(*out, request, thrum_after(CALL_TIME));
	if (r < 0) {
		rpc_call_destroy(*out);
		return cli_failed(cli, r, &status);
	}
	rpc_call_close_send(*out);
	return CLI_DONE;
}

bool cli_next(struct cli *cli, struct rpc_call *call, const ProtobufCMessageDescriptor *type,
	void *out, int *code)
{
	struct rpc_status status = {0};
	int r = rpc_call_recv(call, type, out, THRUM_FOREVER);
	*code = CLI_DONE;
	if (r == 0)
		return true;
	if (r == THRUM_EEOF)
		return false;
	/* Its status holds the daemon's words. */
	if (!thrum_canceled())
		(void)!rpc_call_finish(call, &status, thrum_after(CALL_TIME));
	*code = cli_failed(cli, r, &status);
	return false;
}
