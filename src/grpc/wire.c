/* SPDX-License-Identifier: MIT */
#include "grpc/wire.h"

#include <stdio.h>

static const struct {
	char unit;
	int64_t ns;
} units[] = {
	{'n', 1},
	{'u', 1000},
	{'m', 1000 * 1000},
	{'S', INT64_C(1000000000)},
	{'M', INT64_C(60) * 1000000000},
	{'H', INT64_C(3600) * 1000000000},
};

enum { TIMEOUT_DIGITS = 8, TIMEOUT_VALUE_MAX = 99999999 };

int grpc_timeout_parse(const char *text, size_t len, int64_t *ns)
{
	if (len < 2 || len > TIMEOUT_DIGITS + 1)
		return THRUM_EFORMAT;
	int64_t value = 0;
	for (size_t i = 0; i < len - 1; i++) {
		if (text[i] < '0' || text[i] > '9')
			return THRUM_EFORMAT;
		value = value * 10 + (text[i] - '0');
	}
	for (size_t i = 0; i < thrum__countof(units); i++) {
		if (units[i].unit != text[len - 1])
			continue;
		if (__builtin_mul_overflow(value, units[i].ns, ns))
			*ns = INT64_MAX;
		return 0;
	}
	return THRUM_EFORMAT;
}

void grpc_timeout_format(int64_t ns, char out[GRPC_TIMEOUT_MAX])
{
	size_t i = 0;
	/* The coarsest unit holds every int64_t: 2^63 ns are 2.6 million hours. */
	while (ns / units[i].ns + (ns % units[i].ns != 0) > TIMEOUT_VALUE_MAX)
		i++;
	int value = (int)(ns / units[i].ns + (ns % units[i].ns != 0));
	snprintf(out, GRPC_TIMEOUT_MAX, "%d%c", value, units[i].unit);
}

size_t grpc_percent_encode(const char *text, char *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;
	for (const uint8_t *p = (const uint8_t *)text; *p != 0; p++) {
		if (*p >= 0x20 && *p <= 0x7e && *p != '%') {
			out[n++] = (char)*p;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[*p >> 4];
		out[n++] = hex[*p & 15];
	}
	out[n] = 0;
	return n;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void grpc_percent_decode(const uint8_t *text, size_t len, char *out, size_t cap)
{
	size_t n = 0;
	for (size_t i = 0; i < len && n + 1 < cap; i++) {
		uint8_t byte = text[i];
		if (byte == '%' && len - i > 2 && hex_digit(text[i + 1]) >= 0 &&
			hex_digit(text[i + 2]) >= 0) {
			byte = (uint8_t)(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
			i += 2;
		}
		out[n++] = byte != 0 ? (char)byte : '?';
	}
	out[n] = 0;
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t grpc_base64_encode(const uint8_t *bytes, size_t len, char *out)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i += 3) {
		size_t rest = len - i;
		uint32_t group = (uint32_t)bytes[i] << 16 |
				 (rest > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
				 (rest > 2 ? bytes[i + 2] : 0);
		out[n++] = digits[group >> 18];
		out[n++] = digits[group >> 12 & 63];
		out[n++] = rest > 1 ? digits[group >> 6 & 63] : '=';
		out[n++] = rest > 2 ? digits[group & 63] : '=';
	}
	return n;
}

static int base64_digit(char c)
{
	const char *p = c != 0 ? strchr(digits, c) : NULL;
	return p != NULL ? (int)(p - digits) : -1;
}

ssize_t grpc_base64_decode(const char *text, size_t len, uint8_t *out)
{
	while (len > 0 && text[len - 1] == '=')
		len--;
	if (len % 4 == 1)
		return THRUM_EFORMAT;
	size_t n = 0;
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < len; i++) {
		int digit = base64_digit(text[i]);
		if (digit < 0)
			return THRUM_EFORMAT;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (uint8_t)(bits >> have);
		}
	}
	return (ssize_t)n;
}
