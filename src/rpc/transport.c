/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_internal.h"

#include <errno.h>

/*
 * A sealed stream is a sequence of records:
 *
 *   offset  size
 *        0     2  n, big-endian: bytes that follow, 16 .. 65,535
 *        2     n  a Noise transport message: n - 16 bytes of the stream, sealed
 *
 * The end of the stream within a record is an error. Records are opened where they lie.
 *
 * The end between two records proves nothing: whoever sits on the wire can cut there. It needs no
 * record of its own, because no reader takes it for the end of anything: the end of each direction
 * of each call is an END_STREAM inside the records, and a call that has not seen its own fails
 * (GRPC_UNAVAILABLE) when the stream ends.
 */

enum {
	HEADER = 2,
	FIRST_CHUNK = 4 * 1024, /* asked of the kernel at a time; grows while reads fill it */
	MAX_CHUNK = 256 * 1024,
};

int rpc__transport_create(struct rpc_transport **out, struct thrum_conn *conn)
{
	struct rpc_transport *transport = calloc(1, sizeof(*transport));
	if (transport == NULL) {
		thrum_conn_close(conn);
		return -ENOMEM;
	}
	transport->conn = conn;
	transport->chunk = FIRST_CHUNK;
	*out = transport;
	return 0;
}

int rpc_transport_plain(struct rpc_transport **out, struct thrum_conn *conn)
{
	return rpc__transport_create(out, conn);
}

void rpc_transport_destroy(struct rpc_transport *transport)
{
	if (transport == NULL)
		return;
	thrum_conn_close(transport->conn);
	noise_cipher_fini(&transport->sending);
	noise_cipher_fini(&transport->receiving);
	thrum__buf_fini(&transport->in);
	thrum__buf_fini(&transport->out);
	free(transport);
}

const uint8_t *rpc_transport_peer_key(const struct rpc_transport *transport)
{
	return transport->sealed ? transport->peer_key : NULL;
}

/* ---------------------------------------------------------------- accounts */

static void add(struct rpc_traffic *traffic, uint64_t in, uint64_t out)
{
	__atomic_fetch_add(&traffic->in, in, __ATOMIC_RELAXED);
	__atomic_fetch_add(&traffic->out, out, __ATOMIC_RELAXED);
}

struct rpc_traffic rpc_traffic_read(const struct rpc_traffic *total)
{
	return (struct rpc_traffic){
		.in = __atomic_load_n(&total->in, __ATOMIC_RELAXED),
		.out = __atomic_load_n(&total->out, __ATOMIC_RELAXED),
	};
}

struct rpc_traffic rpc_transport_traffic(const struct rpc_transport *transport)
{
	return rpc_traffic_read(&transport->traffic);
}

void rpc_transport_account(struct rpc_transport *transport, struct rpc_traffic *total)
{
	struct rpc_traffic so_far = rpc_transport_traffic(transport);
	add(total, so_far.in, so_far.out);
	transport->account = total;
}

void rpc__transport_count(struct rpc_transport *transport, size_t in, size_t out)
{
	add(&transport->traffic, in, out);
	if (transport->account != NULL)
		add(transport->account, in, out);
}

/* ---------------------------------------------------------------- reading */

/* Appends what the kernel has. Returns as thrum_conn_read. */
static ssize_t fill(struct rpc_transport *transport, thrum_deadline deadline)
{
	if (thrum__buf_len(&transport->in) == 0 && transport->in.cap > 4 * transport->chunk)
		thrum__buf_fini(
			&transport->in); /* a burst is over: an idle connection stays small */
	uint8_t *to = thrum__buf_reserve(&transport->in, transport->chunk);
	if (to == NULL)
		return -ENOMEM;
	ssize_t n = thrum_conn_read(transport->conn, to, transport->chunk, deadline);
	if (n <= 0)
		return n;
	thrum__buf_commit(&transport->in, (size_t)n);
	rpc__transport_count(transport, (size_t)n, 0);
	if ((size_t)n == transport->chunk && transport->chunk < MAX_CHUNK)
		transport->chunk *= 2;
	else if ((size_t)n < transport->chunk / 8 && transport->chunk > FIRST_CHUNK)
		transport->chunk /= 2;
	return n;
}

/* Opens the first record if it is complete: its length, 0 if more bytes are needed, or an error. */
static ssize_t open_record(struct rpc_transport *transport, const uint8_t **plain)
{
	uint8_t *head = thrum__buf_head(&transport->in);
	size_t have = thrum__buf_len(&transport->in);
	if (have < HEADER)
		return 0;
	size_t len = (size_t)head[0] << 8 | head[1];
	if (len <= NOISE_TAG_SIZE)
		return THRUM_EFORMAT; /* an empty record carries nothing: nobody sends one */
	if (have < HEADER + len)
		return 0;
	int r = noise_cipher_open(&transport->receiving, head + HEADER, len, head + HEADER);
	if (r < 0)
		return r;
	transport->given = HEADER + len;
	*plain = head + HEADER;
	return (ssize_t)(len - NOISE_TAG_SIZE);
}

ssize_t rpc__transport_read(
	struct rpc_transport *transport, const uint8_t **bytes, thrum_deadline deadline)
{
	thrum__buf_consume(&transport->in, transport->given);
	transport->given = 0;
	for (;;) {
		ssize_t n = transport->sealed ? open_record(transport, bytes) : 0;
		if (n != 0)
			return n;
		n = fill(transport, deadline);
		if (n == 0 && thrum__buf_len(&transport->in) > 0)
			return -ECONNRESET; /* cut within a record */
		if (n <= 0)
			return n;
		if (!transport->sealed) {
			*bytes = thrum__buf_head(&transport->in);
			transport->given = thrum__buf_len(&transport->in);
			return (ssize_t)transport->given;
		}
	}
}

/* ---------------------------------------------------------------- writing */

/* Seals bytes into records behind what `out` holds. 0 or an error. */
static int seal_records(struct rpc_transport *transport, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		size_t n = len < NOISE_PLAIN_MAX ? len : NOISE_PLAIN_MAX,
		       sealed = n + NOISE_TAG_SIZE;
		uint8_t *to = thrum__buf_reserve(&transport->out, HEADER + sealed);
		if (to == NULL)
			return -ENOMEM;
		to[0] = (uint8_t)(sealed >> 8);
		to[1] = (uint8_t)sealed;
		int r = noise_cipher_seal(&transport->sending, bytes, n, to + HEADER);
		if (r < 0)
			return r;
		thrum__buf_commit(&transport->out, HEADER + sealed);
		bytes += n;
		len -= n;
	}
	return 0;
}

int rpc__transport_write(struct rpc_transport *transport, const void *bytes, size_t len,
	int64_t patience, thrum_deadline deadline)
{
	if (transport->sealed) {
		thrum__buf_clear(&transport->out);
		int r = seal_records(transport, bytes, len);
		if (r < 0)
			return r;
		bytes = thrum__buf_head(&transport->out);
		len = thrum__buf_len(&transport->out);
	}
	const uint8_t *at = bytes;
	size_t done;
	int r;
	do {
		thrum_deadline stall = patience < 0 ? THRUM_FOREVER : thrum_after(patience);
		r = thrum_conn_write(
			transport->conn, at, len, &done, stall < deadline ? stall : deadline);
		rpc__transport_count(transport, 0, done);
		at += done;
		len -= done;
	} while (r == -ETIMEDOUT && done > 0 && thrum_now() < deadline);
	return r;
}
