/* SPDX-License-Identifier: MIT */
#include "replica/ticket.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/base.h"
#include "replica/index.h"

static const char prefix[] = "thrum-";

enum {
	VERSION = 1,
	FIXED = 1 + 32 + REPLICA_TOKEN_SIZE + REPLICA_UUID_SIZE + 8,
	SUM = 4,
	BYTES_MAX = FIXED + 1 + REPLICA_ADDRESS_MAX + 1 + REPLICA_TICKET_NAME_MAX + SUM,
};

static void checksum(uint8_t sum[SUM], const uint8_t *bytes, size_t len)
{
	uint8_t full[crypto_generichash_BYTES_MIN];
	crypto_generichash(full, sizeof(full), bytes, len, NULL, 0);
	memcpy(sum, full, SUM);
}

int replica_ticket_format(char text[REPLICA_TICKET_MAX], const struct replica_ticket *ticket)
{
	size_t alen = strlen(ticket->address), nlen = strlen(ticket->name);
	if (alen == 0 || alen > REPLICA_ADDRESS_MAX ||
		!replica_share_name_valid(ticket->name, nlen))
		return -EINVAL;

	uint8_t bytes[BYTES_MAX], *p = bytes;
	*p++ = VERSION;
	p = mempcpy(p, ticket->public_key, 32);
	p = mempcpy(p, ticket->token, REPLICA_TOKEN_SIZE);
	p = mempcpy(p, ticket->share, REPLICA_UUID_SIZE);
	for (int shift = 56; shift >= 0; shift -= 8)
		*p++ = (uint8_t)((uint64_t)ticket->expires_s >> shift);
	*p++ = (uint8_t)alen;
	p = mempcpy(p, ticket->address, alen);
	*p++ = (uint8_t)nlen;
	p = mempcpy(p, ticket->name, nlen);
	checksum(p, bytes, (size_t)(p - bytes));
	p += SUM;

	memcpy(text, prefix, sizeof(prefix));
	sodium_bin2base64(text + strlen(prefix), REPLICA_TICKET_MAX - strlen(prefix), bytes,
		(size_t)(p - bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	return 0;
}

/* Takes a counted string of at most max bytes without NULs from *p; false if it does not fit. */
static bool take_string(const uint8_t **p, const uint8_t *end, char *out, size_t max)
{
	if (*p == end)
		return false;
	size_t len = *(*p)++;
	if (len > max || (size_t)(end - *p) < len || memchr(*p, 0, len) != NULL)
		return false;
	memcpy(out, *p, len);
	out[len] = '\0';
	*p += len;
	return len > 0;
}

int replica_ticket_parse(struct replica_ticket *ticket, const char *text)
{
	uint8_t bytes[BYTES_MAX], sum[SUM];
	size_t len;

	text += strspn(text, " \t\r\n");
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return THRUM_EFORMAT;
	text += strlen(prefix);
	if (sodium_base642bin(bytes, sizeof(bytes), text, strlen(text), " \t\r\n", &len, NULL,
		    sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
		return THRUM_EFORMAT;
	if (len < FIXED + SUM || bytes[0] != VERSION)
		return THRUM_EFORMAT;
	checksum(sum, bytes, len - SUM);
	if (memcmp(sum, bytes + len - SUM, SUM) != 0)
		return THRUM_EFORMAT;

	const uint8_t *p = bytes + 1, *end = bytes + len - SUM;
	memcpy(ticket->public_key, p, 32);
	memcpy(ticket->token, p + 32, REPLICA_TOKEN_SIZE);
	memcpy(ticket->share, p + 48, REPLICA_UUID_SIZE);
	p += 64;
	uint64_t expires = 0;
	for (int i = 0; i < 8; i++)
		expires = expires << 8 | *p++;
	ticket->expires_s = (int64_t)expires;
	if (!take_string(&p, end, ticket->address, REPLICA_ADDRESS_MAX) ||
		!take_string(&p, end, ticket->name, REPLICA_TICKET_NAME_MAX) || p != end ||
		!replica_share_name_valid(ticket->name, strlen(ticket->name)))
		return THRUM_EFORMAT;
	return 0;
}
