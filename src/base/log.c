/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048 };

static int max_level = THRUM__LOG_INFO;

void thrum__log_set_level(enum thrum__log_level level)
{
	__atomic_store_n(&max_level, (int)level, __ATOMIC_RELAXED);
}

/* Length of the valid UTF-8 sequence at s (1 to 4), or 0. Overlong forms and surrogates are
 * invalid. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80       ? 1
		   : s[0] >> 5 == 6  ? 2
		   : s[0] >> 4 == 14 ? 3
		   : s[0] >> 3 == 30 ? 4
				     : 0;
	if (n == 0 || n > left)
		return 0;
	if (n == 1)
		return 1;
	uint32_t code = s[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	/* C1 controls (U+0080-9F) act as controls; U+2028-E and U+2066-9 rearrange lines and
	 * direction. */
	if (code < 0xa0 || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
		return 0;
	return n;
}

const char *thrum__escape(char *out, size_t cap, const char *text, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)text;
	size_t o = 0;
	for (size_t i = 0; i < len;) {
		size_t n = utf8_len(s + i, len - i);
		bool plain = n > 1 || (n == 1 && s[i] >= 0x20 && s[i] != 0x7f && s[i] != '\\');
		size_t need = plain ? n : 4;
		if (o + need >= cap)
			break;
		if (plain) {
			memcpy(out + o, s + i, n);
		} else {
			n = 1;
			memcpy(out + o, (char[]){'\\', 'x', hex[s[i] >> 4], hex[s[i] & 15]}, 4);
		}
		o += need;
		i += n;
	}
	out[o] = '\0';
	return out;
}

void thrum__log(enum thrum__log_level level, const char *format, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	static const int syslog_level[] = {3, 4, 6, 7};
	if ((int)level > __atomic_load_n(&max_level, __ATOMIC_RELAXED))
		return;

	char text[LINE_MAX_BYTES], escaped[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 64];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0)
		return;
	thrum__escape(escaped, sizeof(escaped), text, strnlen(text, sizeof(text)));

	if (getenv("JOURNAL_STREAM") != NULL) {
		len = snprintf(line, sizeof(line), "<%d>%s\n", syslog_level[level], escaped);
	} else {
		struct timespec now;
		struct tm tm;
		char stamp[32];
		clock_gettime(CLOCK_REALTIME, &now);
		localtime_r(&now.tv_sec, &tm);
		strftime(stamp, sizeof(stamp), "%H:%M:%S", &tm);
		len = snprintf(line, sizeof(line), "%s.%03ld %s: %s\n", stamp,
			now.tv_nsec / 1000000, names[level], escaped);
	}
	/* A log that cannot be written has nowhere to complain. */
	if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
		return;
}
