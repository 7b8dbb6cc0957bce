/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_internal.h"

#include <errno.h>
#include <sodium.h>

/*
 * Opening a Noise channel. The wire: every message of the handshake and every record after it is
 * preceded by its length, two bytes, big-endian. Prologue "thrum/1".
 *
 *   dialler                                          listener
 *      e                              32 bytes  ->
 *                                     96 bytes  <-   e, ee, s, es
 *      s, se, the dialler's payload  64+n bytes ->
 *                                                    decides
 *                                      record   <-   verdict: 0 (welcome) or 1 (refused), text
 *                             records both ways ...
 *
 * Who learns what. The dialler checks the listener's key after the second message and sends neither
 * its own key nor its payload to anybody else. The listener has said nothing but the second
 * message, which holds nothing a stranger could use, before the dialler has proved its own key; to
 * a key it does not know it says nothing at all.
 */

static const char prologue[] = "thrum/1";

enum {
	HEADER = 2,
	FIRST_SIZE = NOISE_KEY_SIZE,
	SECOND_SIZE = 2 * NOISE_KEY_SIZE + 2 * NOISE_TAG_SIZE,
	THIRD_FIXED = NOISE_KEY_SIZE + 2 * NOISE_TAG_SIZE,
	THIRD_MAX = THIRD_FIXED + RPC_NOISE_PAYLOAD_MAX,
	WELCOME = 0,
	REFUSED = 1,
};

/* What the opening of one channel needs; too big for a small stack, and wiped when done. */
struct opening {
	struct noise_handshake hs;
	uint8_t ephemeral[NOISE_KEY_SIZE];
	uint8_t message[HEADER + THIRD_MAX];
	uint8_t payload[THIRD_MAX];
	size_t payload_len;
	struct rpc_transport *transport;
	thrum_deadline deadline;
};

static int begin(struct opening **out, struct thrum_conn *conn, bool dialling,
	const uint8_t *static_key, thrum_deadline deadline)
{
	struct rpc_transport *transport;
	int r = rpc__transport_create(&transport, conn);
	if (r < 0)
		return r;
	struct opening *opening = calloc(1, sizeof(*opening));
	if (opening == NULL) {
		rpc_transport_destroy(transport);
		return -ENOMEM;
	}
	opening->transport = transport;
	opening->deadline = deadline;
	thrum__random_bytes(opening->ephemeral, sizeof(opening->ephemeral));
	struct noise_setup setup = {
		.pattern = NOISE_XX,
		.initiator = dialling,
		.prologue = prologue,
		.prologue_len = strlen(prologue),
		.static_secret = static_key,
		.ephemeral_secret = opening->ephemeral,
	};
	*out = opening;
	return noise_handshake_init(&opening->hs, &setup);
}

/* Wipes and frees; gives the transport if r is 0, else closes it. Returns r. */
static int end(struct opening *opening, int r, struct rpc_transport **out)
{
	if (r == 0)
		*out = opening->transport;
	else
		rpc_transport_destroy(opening->transport);
	noise_handshake_fini(&opening->hs);
	sodium_memzero(opening, sizeof(*opening));
	free(opening);
	return r;
}

static int send_message(struct opening *opening, const void *payload, size_t payload_len)
{
	size_t len, done = 0;
	int r = noise_handshake_write(&opening->hs, payload, payload_len, opening->message + HEADER,
		sizeof(opening->message) - HEADER, &len);
	if (r < 0)
		return r;
	opening->message[0] = (uint8_t)(len >> 8);
	opening->message[1] = (uint8_t)len;
	r = thrum_conn_write(
		opening->transport->conn, opening->message, HEADER + len, &done, opening->deadline);
	rpc__transport_count(opening->transport, 0, done);
	return r;
}

static int read_exact(struct opening *opening, uint8_t *to, size_t len)
{
	size_t done = 0;
	int r = thrum_conn_read_exact(opening->transport->conn, to, len, &done, opening->deadline);
	rpc__transport_count(opening->transport, done, 0);
	return r == THRUM_EEOF ? -ECONNRESET : r;
}

/* Reads a message of at least min and at most max bytes; its payload goes to opening->payload. */
static int receive_message(struct opening *opening, size_t min, size_t max)
{
	int r = read_exact(opening, opening->message, HEADER);
	if (r < 0)
		return r;
	size_t len = (size_t)opening->message[0] << 8 | opening->message[1];
	if (len < min || len > max)
		return THRUM_EFORMAT;
	r = read_exact(opening, opening->message, len);
	if (r < 0)
		return r;
	return noise_handshake_read(&opening->hs, opening->message, len, opening->payload,
		sizeof(opening->payload), &opening->payload_len);
}

/* The handshake is done: records from now on. */
static int seal_transport(struct opening *opening)
{
	struct rpc_transport *transport = opening->transport;
	transport->sealed = true;
	memcpy(transport->peer_key, noise_handshake_remote_static(&opening->hs), RPC_KEY_SIZE);
	return noise_handshake_split(&opening->hs, &transport->sending, &transport->receiving);
}

/* ---------------------------------------------------------------- dialling */

static int receive_verdict(struct opening *opening, char *text)
{
	const uint8_t *record;
	ssize_t n = rpc__transport_read(opening->transport, &record, opening->deadline);
	if (n == 0 || n == -ECONNRESET || n == -EPIPE)
		return THRUM_EAUTH; /* closed without a word: it does not know us */
	if (n < 0)
		return (int)n;
	if (n > 1 + RPC_NOISE_VERDICT_MAX || record[0] > REFUSED)
		return THRUM_EFORMAT;
	memcpy(text, record + 1, (size_t)n - 1);
	text[n - 1] = 0;
	return record[0] == WELCOME ? 0 : -EACCES;
}

static int run_dialler(struct opening *opening, struct rpc_noise_dial *dial)
{
	int r = send_message(opening, NULL, 0);
	if (r < 0)
		return r;
	r = receive_message(opening, SECOND_SIZE, SECOND_SIZE);
	if (r < 0)
		return r;
	if (sodium_memcmp(noise_handshake_remote_static(&opening->hs), dial->remote_key,
		    RPC_KEY_SIZE) != 0)
		return THRUM_EAUTH;
	r = send_message(opening, dial->payload, dial->payload_len);
	if (r < 0)
		return r;
	r = seal_transport(opening);
	return r < 0 ? r : receive_verdict(opening, dial->verdict);
}

int rpc_noise_connect(struct rpc_transport **out, struct thrum_conn *conn,
	struct rpc_noise_dial *dial, thrum_deadline deadline)
{
	dial->verdict[0] = 0;
	if (dial->payload_len > RPC_NOISE_PAYLOAD_MAX) {
		thrum_conn_close(conn);
		return -EINVAL;
	}
	struct opening *opening = NULL;
	int r = begin(&opening, conn, true, dial->static_key, deadline);
	if (opening == NULL)
		return r;
	return end(opening, r < 0 ? r : run_dialler(opening, dial), out);
}

/* ---------------------------------------------------------------- accepting */

static int send_verdict(struct opening *opening, uint8_t verdict, const char *text)
{
	uint8_t record[1 + RPC_NOISE_VERDICT_MAX];
	size_t len = strnlen(text, RPC_NOISE_VERDICT_MAX);
	record[0] = verdict;
	memcpy(record + 1, text, len);
	return rpc__transport_write(opening->transport, record, 1 + len, -1, opening->deadline);
}

static int judge(struct opening *opening, const struct rpc_noise_listen *listen)
{
	char text[RPC_NOISE_VERDICT_MAX + 1] = "";
	enum rpc_verdict verdict = listen->decide(opening->transport->peer_key, opening->payload,
		opening->payload_len, text, sizeof(text), listen->ctx);
	if (verdict == RPC_VERDICT_OK)
		return send_verdict(opening, WELCOME, text);
	if (verdict == RPC_VERDICT_REFUSE) {
		int r = send_verdict(opening, REFUSED, text);
		return r < 0 ? r : THRUM_EAUTH;
	}
	return THRUM_EAUTH;
}

static int run_listener(struct opening *opening, const struct rpc_noise_listen *listen)
{
	int r = receive_message(opening, FIRST_SIZE, FIRST_SIZE);
	if (r < 0)
		return r;
	r = send_message(opening, NULL, 0);
	if (r < 0)
		return r;
	r = receive_message(opening, THIRD_FIXED, THIRD_MAX);
	if (r < 0)
		return r;
	r = seal_transport(opening);
	return r < 0 ? r : judge(opening, listen);
}

int rpc_noise_accept(struct rpc_transport **out, struct thrum_conn *conn,
	const struct rpc_noise_listen *listen, thrum_deadline deadline)
{
	struct opening *opening = NULL;
	int r = begin(&opening, conn, false, listen->static_key, deadline);
	if (opening == NULL)
		return r;
	return end(opening, r < 0 ? r : run_listener(opening, listen), out);
}

int rpc_noise_public_key(uint8_t public_key[RPC_KEY_SIZE], const uint8_t secret_key[RPC_KEY_SIZE])
{
	return noise_public_key(public_key, secret_key);
}
