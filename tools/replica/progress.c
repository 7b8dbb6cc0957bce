/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <sys/ioctl.h>
#include <unistd.h>

/*
 * One line, written over: a carriage return and spaces are all it needs of a terminal. What does
 * not fit is cut, so that it never wraps.
 */

enum { BAR = 12, LINE = 512, WIDTH_UNKNOWN = 80 };

static unsigned shown; /* columns in use */

/* Where the pull that is shown began, for its speed. */
static struct {
	char what[160];
	int64_t at;
	uint64_t bytes;
} start;

/* Columns of the terminal on standard error; 0 if it is none. */
static unsigned columns(void)
{
	struct winsize size;
	if (!isatty(STDERR_FILENO))
		return 0;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return WIDTH_UNKNOWN;
	return size.ws_col;
}

/* Cuts a line of UTF-8 to fit. A character outside ASCII counts two columns: it may be that wide.
 */
static unsigned fit(char *line, unsigned width)
{
	unsigned used = 0;
	char *p = line;
	while (*p != '\0') {
		unsigned wide = (unsigned char)*p < 0x80 ? 1 : 2;
		if (used + wide > width)
			break;
		used += wide;
		p++;
		while (((unsigned char)*p & 0xc0) == 0x80)
			p++;
	}
	*p = '\0';
	return used;
}

static void show(char *line)
{
	unsigned width = columns();
	if (width == 0)
		return;
	/* The last column stays free: some terminals wrap there. */
	unsigned used = fit(line, width - 1);
	unsigned rest = shown > used && shown < width ? shown - used : 0;
	fprintf(stderr, "\r%s%*s", line, (int)rest, "");
	fflush(stderr);
	shown = used;
}

/* Bytes of content a second since this pull was first seen; 0: too early to say. */
static uint64_t speed(const Replicad__V1__SyncProgress *p)
{
	char what[sizeof(start.what)];
	int64_t now = thrum_now();
	snprintf(what, sizeof(what), "%.70s %.70s", p->share, p->peer);
	if (strcmp(what, start.what) != 0 || p->bytes_done < start.bytes) {
		memcpy(start.what, what, sizeof(what));
		start.at = now;
		start.bytes = p->bytes_done;
	}
	int64_t passed = now - start.at;
	if (passed < THRUM_S)
		return 0;
	return (uint64_t)((double)(p->bytes_done - start.bytes) * (double)THRUM_S / (double)passed);
}

static void show_pull(const Replicad__V1__SyncProgress *p)
{
	char line[LINE], bar[BAR + 1], rate[32] = "";
	/* Files count a little, so that many small ones move the bar too. */
	double done = (double)p->bytes_done + 4096.0 * (double)p->files_done;
	double total = (double)p->bytes_total + 4096.0 * (double)p->files_total;
	double part = done < total ? done / total : 1;
	size_t filled = (size_t)(part * BAR);
	memset(bar, '.', BAR);
	memset(bar, '#', filled);
	bar[BAR] = '\0';
	uint64_t bytes = speed(p);
	if (bytes > 0)
		snprintf(rate, sizeof(rate), "  %s/s", cli_bytes(bytes));
	snprintf(line, sizeof(line), "%s [%s] %3d%%  %llu/%llu entries  %s/%s%s  from %s",
		cli_words(p->share), bar, (int)(part * 100), (unsigned long long)p->files_done,
		(unsigned long long)p->files_total, cli_bytes(p->bytes_done),
		cli_bytes(p->bytes_total), rate, cli_words(p->peer));
	show(line);
}

void cli_progress(const Replicad__V1__SyncProgress *p)
{
	char line[LINE];
	if (strcmp(p->phase, "pull") == 0 && p->files_total + p->bytes_total > 0) {
		show_pull(p);
		return;
	}
	const char *doing = strcmp(p->phase, "scan") == 0   ? "looking for changes"
			    : strcmp(p->phase, "pull") == 0 ? "comparing with"
			    : strcmp(p->phase, "push") == 0 ? "waiting for"
							    : NULL;
	if (doing == NULL)
		return;
	snprintf(line, sizeof(line), "%s: %s %s", cli_words(p->share), doing, cli_words(p->peer));
	show(line);
}

void cli_progress_end(void)
{
	if (shown > 0)
		fprintf(stderr, "\r%*s\r", (int)shown, "");
	shown = 0;
}
