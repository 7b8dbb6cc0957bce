/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <time.h>

/* A ring, so that several texts can stand in one printf. */
static char *ring(size_t cap)
{
	static char *texts[16];
	static unsigned next;
	char **slot = &texts[next++ % thrum__countof(texts)];
	free(*slot);
	*slot = malloc(cap);
	CHECK(*slot != NULL);
	return *slot;
}

const char *cli_text(const void *bytes, size_t len)
{
	size_t cap = 4 * len + 1;
	return thrum__escape(ring(cap), cap, len > 0 ? bytes : "", len);
}

const char *cli_path(const ProtobufCBinaryData *path)
{
	return cli_text(path->data, path->len);
}

const char *cli_words(const char *words)
{
	size_t cap = 4 * strlen(words) + 1;
	char *out = ring(cap), *p = out;
	while (*words != '\0') {
		size_t len = strcspn(words, "\\");
		thrum__escape(p, cap - (size_t)(p - out), words, len);
		p += strlen(p);
		words += len;
		while (*words == '\\')
			*p++ = *words++;
	}
	*p = '\0';
	return out;
}

const char *cli_hex(const ProtobufCBinaryData *bytes)
{
	static const char digits[] = "0123456789abcdef";
	char *out = ring(2 * bytes->len + 1), *p = out;
	for (size_t i = 0; i < bytes->len; i++) {
		*p++ = digits[bytes->data[i] >> 4];
		*p++ = digits[bytes->data[i] & 15];
	}
	*p = '\0';
	return out;
}

const char *cli_bytes(uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	size_t unit = 0;
	char *out = ring(32);
	double value = (double)bytes;
	while (value >= (unit == 0 ? 1000 : 999.95)) {
		value /= 1000;
		unit++;
	}
	snprintf(out, 32, "%.*f %s", unit == 0 ? 0 : 1, value, units[unit]);
	return out;
}

const char *cli_count(uint64_t count, const char *noun)
{
	size_t cap = strlen(noun) + 32;
	char *out = ring(cap);
	snprintf(out, cap, "%llu %s%s", (unsigned long long)count, noun, count == 1 ? "" : "s");
	return out;
}

const char *cli_time(int64_t us)
{
	char *out = ring(64);
	time_t seconds = (time_t)(us / 1000000 - (us % 1000000 < 0));
	struct tm tm;
	if (localtime_r(&seconds, &tm) == NULL || strftime(out, 64, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, 64, "an unknown time");
	return out;
}

const char *cli_lower(const char *word)
{
	char *out = ring(strlen(word) + 1), *p = out;
	for (; *word != '\0'; word++)
		*p++ = *word >= 'A' && *word <= 'Z' ? (char)(*word + 'a' - 'A') : *word;
	*p = '\0';
	return out;
}
