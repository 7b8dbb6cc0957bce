/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_CAP = 256 };

void thrum__buf_fini(struct thrum__buf *buf)
{
	free(buf->data);
	*buf = (struct thrum__buf){0};
}

uint8_t *thrum__buf_reserve(struct thrum__buf *buf, size_t len)
{
	size_t used = thrum__buf_len(buf);
	if (buf->cap - buf->end >= len)
		return buf->data + buf->end;
	if (len > SIZE_MAX / 4 || used > SIZE_MAX / 4)
		return NULL;
	/* Sliding is worth it only while at least half the space comes free: amortised O(1). */
	if (buf->cap >= used + len && buf->start >= buf->cap / 2) {
		memmove(buf->data, buf->data + buf->start, used);
	} else {
		size_t cap = buf->cap ? buf->cap : MIN_CAP;
		while (cap < used + len)
			cap *= 2;
		uint8_t *data = malloc(cap);
		if (data == NULL)
			return NULL;
		if (used > 0)
			memcpy(data, buf->data + buf->start, used);
		free(buf->data);
		buf->data = data;
		buf->cap = cap;
	}
	buf->start = 0;
	buf->end = used;
	return buf->data + buf->end;
}

int thrum__buf_append(struct thrum__buf *buf, const void *bytes, size_t len)
{
	if (len == 0)
		return 0;
	uint8_t *to = thrum__buf_reserve(buf, len);
	if (to == NULL)
		return -ENOMEM;
	memcpy(to, bytes, len);
	thrum__buf_commit(buf, len);
	return 0;
}
