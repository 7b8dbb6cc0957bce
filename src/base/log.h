/* SPDX-License-Identifier: MIT */
#ifndef THRUM_BASE_LOG_H
#define THRUM_BASE_LOG_H

#include <stddef.h>

/*
 * One line per event on standard error, written with one write(2). Control characters and bytes
 * that are not valid UTF-8 are escaped: names from peers cannot paint on a terminal. Under systemd
 * (JOURNAL_STREAM set) lines carry the "<6>" level prefix; else a time stamp.
 */

enum thrum__log_level {
	THRUM__LOG_ERROR,
	THRUM__LOG_WARN,
	THRUM__LOG_INFO,
	THRUM__LOG_DEBUG,
};

/* Lines above this level are dropped. Default THRUM__LOG_INFO. */
void thrum__log_set_level(enum thrum__log_level level);

void thrum__log(enum thrum__log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Copies text to out (cap > 0) with control characters, DEL, backslash and invalid UTF-8 as \xNN;
 * truncates whole characters; always terminates. Returns out.
 */
const char *thrum__escape(char *out, size_t cap, const char *text, size_t len);

#endif
