/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* A ring of buffers, so that a few texts can stand in one printf. */
static char *ring(size_t *cap)
{
	static char buffers[8][4200];
	static unsigned next;
	*cap = sizeof(buffers[0]);
	return buffers[next++ % 8];
}

const char *cli_text(const void *bytes, size_t len)
{
	size_t cap;
	char *out = ring(&cap);
	return thrum__escape(out, cap, bytes != NULL ? bytes : "", len);
}

const char *cli_bytes(uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	size_t cap, unit = 0;
	char *out = ring(&cap);
	double value = (double)bytes;
	while (value >= 999.95 && unit + 1 < thrum__countof(units)) {
		value /= 1000;
		unit++;
	}
	snprintf(out, cap, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return out;
}

const char *cli_time(int64_t us)
{
	size_t cap;
	char *out = ring(&cap);
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	if (us == 0)
		return "never";
	localtime_r(&seconds, &tm);
	strftime(out, cap, "%Y-%m-%d %H:%M:%S", &tm);
	return out;
}

const char *cli_hex(const ProtobufCBinaryData *bytes)
{
	static const char digits[] = "0123456789abcdef";
	size_t cap;
	char *out = ring(&cap), *p = out;
	for (size_t i = 0; i < bytes->len && (size_t)(p - out) + 3 < cap; i++) {
		*p++ = digits[bytes->data[i] >> 4];
		*p++ = digits[bytes->data[i] & 15];
	}
	*p = '\0';
	return out;
}

/* ---------------------------------------------------------------- JSON */

int cli_json(json_t *value)
{
	int r = value == NULL ? -1 : json_dumpf(value, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(value);
	if (r < 0 || putchar('\n') == EOF || fflush(stdout) == EOF)
		return cli_fail(CLI_FAILED, "cannot write the JSON document");
	return CLI_DONE;
}

json_t *cli_json_text(const void *bytes, size_t len)
{
	json_t *plain = json_stringn(bytes != NULL ? bytes : "", len); /* NULL if it is no UTF-8 */
	return plain != NULL ? plain : json_string(cli_text(bytes, len));
}

json_t *cli_json_hex(const ProtobufCBinaryData *bytes)
{
	return json_string(cli_hex(bytes));
}

json_t *cli_json_time(int64_t us)
{
	char text[40], zone[16];
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	if (us == 0)
		return json_null();
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(zone, sizeof(zone), ".%06dZ", (int)(us % 1000000));
	strncat(text, zone, sizeof(text) - strlen(text) - 1);
	return json_string(text);
}

void cli_json_path(json_t *object, const ProtobufCBinaryData *path)
{
	json_t *plain = json_stringn((const char *)path->data, path->len);
	if (path->len > 0 && plain == NULL)
		json_object_set_new(object, "path_hex", cli_json_hex(path));
	json_decref(plain);
	json_object_set_new(object, "path", cli_json_text(path->data, path->len));
}

/* ---------------------------------------------------------------- progress */

static bool shown;

/* Columns of the terminal on standard error; 0 if it is none. */
static int columns(void)
{
	struct winsize size;
	if (!isatty(STDERR_FILENO))
		return 0;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
		return 80;
	return size.ws_col;
}

void cli_progress(const Replicad__V1__SyncProgress *p)
{
	char line[512], bar[64] = "";
	int width = columns();
	if (width == 0 || p->phase[0] == '\0')
		return;
	if (strcmp(p->phase, "pull") == 0 && p->bytes_total + p->files_total > 0) {
		/* Files count a little, so that many small ones move the bar too. */
		double done = (double)p->bytes_done + 4096.0 * (double)p->files_done;
		double total = (double)p->bytes_total + 4096.0 * (double)p->files_total;
		int filled = total > 0 ? (int)(done / total * 20) : 0;
		filled = filled > 20 ? 20 : filled;
		snprintf(bar, sizeof(bar), "[%.*s%.*s]", filled, "####################", 20 - filled,
			"....................");
		snprintf(line, sizeof(line), "%s %s %s  %llu/%llu files  %s of %s  wire %s", p->share, bar,
			cli_text(p->peer, strlen(p->peer)), (unsigned long long)p->files_done,
			(unsigned long long)p->files_total, cli_bytes(p->bytes_done),
			cli_bytes(p->bytes_total), cli_bytes(p->wire_bytes));
	} else {
		snprintf(line, sizeof(line), "%s %s %s  wire %s", p->share,
			strcmp(p->phase, "scan") == 0	? "scanning"
			: strcmp(p->phase, "push") == 0 ? "waiting for"
							: "comparing with",
			cli_text(p->peer, strlen(p->peer)), cli_bytes(p->wire_bytes));
	}
	fprintf(stderr, "\r\033[K%.*s", width - 1, line);
	fflush(stderr);
	shown = true;
}

void cli_progress_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = false;
}
