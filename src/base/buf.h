/* SPDX-License-Identifier: MIT */
#ifndef THRUM_BASE_BUF_H
#define THRUM_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A growable byte queue: append at the end, consume at the front. All-zero is empty.
 *
 *   data ──► [ consumed | readable ............ | free ]
 *              0..start   start..end             ..cap
 */
struct thrum__buf {
	uint8_t *data;
	size_t start, end, cap;
};

void thrum__buf_fini(struct thrum__buf *buf);

/* Makes room for len more bytes and returns where they go, or NULL (out of memory; buf unchanged).
 */
uint8_t *thrum__buf_reserve(struct thrum__buf *buf, size_t len);

/* Copies len bytes to the end. 0 or -ENOMEM (buf unchanged). */
int thrum__buf_append(struct thrum__buf *buf, const void *bytes, size_t len);

static inline size_t thrum__buf_len(const struct thrum__buf *buf)
{
	return buf->end - buf->start;
}

static inline uint8_t *thrum__buf_head(const struct thrum__buf *buf)
{
	return buf->data + buf->start;
}

/* Counts len bytes, written behind the end after thrum__buf_reserve, as readable. */
static inline void thrum__buf_commit(struct thrum__buf *buf, size_t len)
{
	buf->end += len;
}

/* Drops len readable bytes from the front. */
static inline void thrum__buf_consume(struct thrum__buf *buf, size_t len)
{
	buf->start += len;
	if (buf->start == buf->end)
		buf->start = buf->end = 0;
}

static inline void thrum__buf_clear(struct thrum__buf *buf)
{
	buf->start = buf->end = 0;
}

#endif
