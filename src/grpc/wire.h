/* SPDX-License-Identifier: MIT */
#ifndef THRUM_GRPC_WIRE_H
#define THRUM_GRPC_WIRE_H

/* The small encodings of "gRPC over HTTP2": timeouts, status messages, binary metadata. */

#include "base/base.h"

enum { GRPC_TIMEOUT_MAX = 16 };

/* Parses a grpc-timeout ("20m", "1n"; at most 8 digits) to ns, saturating. 0 or THRUM_EFORMAT. */
int grpc_timeout_parse(const char *text, size_t len, int64_t *ns);

/* Writes ns > 0 as the finest grpc-timeout that holds it, rounded up, NUL-terminated. */
void grpc_timeout_format(int64_t ns, char out[GRPC_TIMEOUT_MAX]);

/*
 * Percent-encodes a status message: bytes outside 0x20-0x7E, and '%'. out takes 3 * strlen(text) +
 * 1 bytes. Returns the length.
 */
size_t grpc_percent_encode(const char *text, char *out);

/*
 * Decodes one, as leniently as the specification asks: what is no valid escape stays as it is. NUL
 * bytes become '?'. At most cap - 1 bytes, NUL-terminated.
 */
void grpc_percent_decode(const uint8_t *text, size_t len, char *out, size_t cap);

/* Base64 with padding. out takes 4 * ((len + 2) / 3) bytes. Returns the length. */
size_t grpc_base64_encode(const uint8_t *bytes, size_t len, char *out);

/* Base64, padded or not. out takes 3 * len / 4 + 1 bytes. Returns the length or THRUM_EFORMAT. */
ssize_t grpc_base64_decode(const char *text, size_t len, uint8_t *out);

#endif
