/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <time.h>

/* Takes value. Without memory there is no document: better none than one with a hole. */
static void set(json_t *object, const char *key, json_t *value)
{
	CHECK(object != NULL && value != NULL && json_object_set_new(object, key, value) == 0);
}

int cli_json(json_t *document)
{
	CHECK(document != NULL);
	int r = json_dumpf(document, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(document);
	if (r < 0 || putchar('\n') == EOF || fflush(stdout) == EOF)
		return cli_fail(
			CLI_FAILED, "cannot write to standard output: %s", thrum_strerror(-errno));
	return CLI_DONE;
}

/* What the daemon says is UTF-8; if it should not be, it is escaped. */
static json_t *text_value(const char *text)
{
	json_t *value = json_string(text);
	return value != NULL ? value : json_string(cli_words(text));
}

void cli_json_text(json_t *object, const char *key, const char *text)
{
	set(object, key, text_value(text));
}

void cli_json_maybe(json_t *object, const char *key, const char *text)
{
	set(object, key, text[0] != '\0' ? text_value(text) : json_null());
}

void cli_json_count(json_t *object, const char *key, uint64_t count)
{
	set(object, key, json_integer((json_int_t)count));
}

void cli_json_bool(json_t *object, const char *key, bool value)
{
	set(object, key, json_boolean(value));
}

void cli_json_hex(json_t *object, const char *key, const ProtobufCBinaryData *bytes)
{
	set(object, key, json_string(cli_hex(bytes)));
}

void cli_json_name(json_t *object, const char *key, const ProtobufCBinaryData *name)
{
	char key_hex[32];
	json_t *plain = json_stringn(name->len > 0 ? (const char *)name->data : "", name->len);
	if (plain != NULL) {
		set(object, key, plain);
		return;
	}
	snprintf(key_hex, sizeof(key_hex), "%s_hex", key);
	set(object, key, json_string(cli_path(name)));
	cli_json_hex(object, key_hex, name);
}

/* RFC 3339 in UTC, with as many digits of a fraction. */
static json_t *time_value(time_t seconds, long fraction, int digits)
{
	char text[64], end[32];
	struct tm tm;
	if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
		return json_null();
	snprintf(end, sizeof(end), ".%0*ldZ", digits, fraction);
	strftime(text, sizeof(text) - sizeof(end), "%Y-%m-%dT%H:%M:%S", &tm);
	strcat(text, end);
	return json_string(text);
}

void cli_json_time(json_t *object, const char *key, int64_t us)
{
	int64_t before = us % 1000000 < 0; /* 1970: the fraction counts up from the second below */
	set(object, key,
		us == 0 ? json_null()
			: time_value(us / 1000000 - before, us % 1000000 + before * 1000000, 6));
}

void cli_json_time_ns(json_t *object, const char *key, int64_t ns)
{
	int64_t before = ns % THRUM_S < 0;
	set(object, key, time_value(ns / THRUM_S - before, ns % THRUM_S + before * THRUM_S, 9));
}

json_t *cli_json_list(char *const *texts, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		CHECK(json_array_append_new(list, text_value(texts[i])) == 0);
	return list;
}
