/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_TICKET_H
#define REPLICA_TICKET_H

#include <stddef.h>
#include <stdint.h>

#include <thrum/error.h>

/*
 * A ticket: what `replica invite` prints and `replica join` takes. It names the inviting replica
 * (key and address), the share, and carries a token that is good once. Text: "thrum-" and base64url
 * of
 *
 *   offset  bytes
 *        0      1  version: 1
 *        1     32  public key of the inviting replica
 *       33     16  token
 *       49     16  share uuid
 *       65      8  expiry, seconds since 1970, big-endian
 *       73      1  length a of the address
 *       74      a  "HOST:PORT"
 *     74+a      1  length n of the share's name
 *     75+a      n  name
 *   75+a+n      4  BLAKE2b checksum of all before
 *
 * The checksum is against typing errors, not forgery: the token is the secret.
 */
enum {
	REPLICA_TOKEN_SIZE = 16,
	REPLICA_UUID_SIZE = 16,
	REPLICA_TICKET_NAME_MAX = 64, /* of a share */
	REPLICA_ADDRESS_MAX = 255,    /* "HOST:PORT" */
	REPLICA_TICKET_MAX = 640,     /* text, NUL included */
};

struct replica_ticket {
	uint8_t public_key[32];
	uint8_t token[REPLICA_TOKEN_SIZE];
	uint8_t share[REPLICA_UUID_SIZE];
	int64_t expires_s; /* seconds since 1970 */
	char address[REPLICA_ADDRESS_MAX + 1];
	char name[REPLICA_TICKET_NAME_MAX + 1];
};

/* Writes the text. 0, or -EINVAL (empty or overlong address or name). */
THRUM_NODISCARD int replica_ticket_format(
	char text[REPLICA_TICKET_MAX], const struct replica_ticket *ticket);

/* Reads text, with white space around it allowed. 0, or THRUM_EFORMAT. The expiry is the caller's
 * to judge. */
THRUM_NODISCARD int replica_ticket_parse(struct replica_ticket *ticket, const char *text);

#endif
