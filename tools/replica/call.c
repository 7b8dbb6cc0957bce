/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "replica/replica.h"

#define CALL_TIME    (120 * THRUM_S)
#define CONNECT_TIME (10 * THRUM_S)

int cli_fail(int code, const char *format, ...)
{
	char text[2048], escaped[4096];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	thrum__escape(escaped, sizeof(escaped), text, strlen(text));
	fprintf(stderr, "replica: %s\n", escaped);
	return code;
}

static int unreachable(const struct cli *cli)
{
	if (cli->data[0] != '\0')
		return cli_fail(CLI_UNREACHABLE, "no replicad at %s; start it with 'replicad --data %s'",
			cli->socket, cli->data);
	return cli_fail(CLI_UNREACHABLE,
		"no replicad at %s; start it with 'replicad --data DIR', whose socket is DIR/socket", cli->socket);
}

int cli_connect(struct cli *cli)
{
	char address[sizeof(cli->socket) + 8];
	struct thrum_conn *conn;
	struct rpc_transport *transport;
	struct rpc_limits limits = {.keepalive = -1};
	snprintf(address, sizeof(address), "unix:%s", cli->socket);
	int r = thrum_conn_open(&conn, address, thrum_after(CONNECT_TIME));
	if (r == -ENOENT || r == -ECONNREFUSED)
		return unreachable(cli);
	if (r == 0)
		r = rpc_transport_plain(&transport, conn);
	if (r == 0)
		r = rpc_client_create(&cli->client, transport, &limits);
	if (r < 0)
		return cli_fail(CLI_UNREACHABLE, "cannot reach replicad at %s: %s", cli->socket, thrum_strerror(r));
	return CLI_DONE;
}

int cli_failed(struct cli *cli, int error, const struct rpc_status *status)
{
	if (error == -ECONNRESET || error == -EPIPE)
		return cli_fail(CLI_UNREACHABLE, "the connection to replicad at %s was lost; is it still running?",
			cli->socket);
	if (status->message[0] != '\0')
		return cli_fail(CLI_FAILED, "%s", status->message);
	return cli_fail(CLI_FAILED, "replicad: %s", thrum_strerror(error));
}

int cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *out)
{
	char path[128];
	ProtobufCMessage *answer;
	struct rpc_status status = {0};
	snprintf(path, sizeof(path), REPLICA_CONTROL_SERVICE "%s", method);
	int r = rpc_client_unary(
		cli->client, path, request, type, &answer, thrum_after(CALL_TIME), &status);
	if (r < 0)
		return cli_failed(cli, r, &status);
	if (out != NULL)
		*(ProtobufCMessage **)out = answer;
	else
		rpc_message_free(answer);
	return CLI_DONE;
}

int cli_open(struct cli *cli, const char *method, const ProtobufCMessage *request, struct rpc_call **out)
{
	char path[128];
	struct rpc_status status = {0};
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

int cli_directory(const char *dir, bool create, char out[4096])
{
	char path[PATH_MAX], real[PATH_MAX];
	size_t len = strlen(dir);
	if (realpath(dir, real) != NULL) {
		snprintf(out, 4096, "%s", real);
		return CLI_DONE;
	}
	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (errno != ENOENT || !create || len == 0 || len >= sizeof(path))
		return cli_fail(CLI_FAILED, "%s: %s", dir, strerror(errno));
	/* It will be made: its parent must be there. */
	memcpy(path, dir, len);
	path[len] = '\0';
	char *slash = strrchr(path, '/');
	const char *parent = slash == NULL ? "." : slash == path ? "/" : path;
	const char *name = slash == NULL ? path : slash + 1;
	if (slash != NULL && slash != path)
		*slash = '\0';
	if (realpath(parent, real) == NULL)
		return cli_fail(CLI_FAILED, "%s: %s", parent, strerror(errno));
	if (snprintf(out, 4096, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name) >= 4096)
		return cli_fail(CLI_FAILED, "%s: %s", dir, strerror(ENAMETOOLONG));
	return CLI_DONE;
}

bool cli_split(const char *target, char name[65], ProtobufCBinaryData *path)
{
	size_t len = strcspn(target, "/");
	if (len == 0 || len > 64) {
		cli_fail(CLI_USAGE, "'%s' names no share: write NAME or NAME/PATH", target);
		return false;
	}
	memcpy(name, target, len);
	name[len] = '\0';
	const char *rest = target[len] == '/' ? target + len + 1 : "";
	*path = (ProtobufCBinaryData){strlen(rest), (uint8_t *)rest};
	return true;
}
