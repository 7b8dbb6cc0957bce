/* SPDX-License-Identifier: MIT */
#ifndef TEST_FAILING_H
#define TEST_FAILING_H

/*
 * A sweep in which each allocation fails in turn. For one file of a test binary that is linked with
 * $(WRAP_ALLOC), which leads every allocation of our code here; what libraries allocate for
 * themselves is not seen, unless they are handed these functions.
 *
 *	for (unsigned long at = 1;; at++) {
 *		failing_begin(at);
 *		... the scenario ...
 *		bool failed = failing_end();
 *		... -ENOMEM or done; failing.live is 0 ...
 *		if (!failed)
 *			break;
 *	}
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);

static struct {
	unsigned long at;    /* the allocation that fails; 0: none */
	unsigned long count; /* allocations so far */
	long live;           /* blocks allocated since the beginning, and not freed */
} failing;

/* The at-th allocation from here on fails. */
static inline void failing_begin(unsigned long at)
{
	failing.at = at;
	failing.count = 0;
	failing.live = 0;
}

/* Nothing fails any more. True if something has: there is more to sweep. */
static inline bool failing_end(void)
{
	bool failed = failing.count >= failing.at;
	failing.at = 0;
	return failed;
}

static inline bool failing_now(void)
{
	return ++failing.count == failing.at;
}

void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	void *block = failing_now() ? NULL : __real_malloc(size);
	failing.live += block != NULL;
	return block;
}

void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	void *block = failing_now() ? NULL : __real_calloc(count, size);
	failing.live += block != NULL;
	return block;
}

void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
	void *block = failing_now() ? NULL : __real_realloc(old, size);
	failing.live += block != NULL && old == NULL;
	return block;
}

void __wrap_free(void *block);
void __wrap_free(void *block)
{
	failing.live -= block != NULL;
	__real_free(block);
}

char *__wrap_strndup(const char *text, size_t most);
char *__wrap_strndup(const char *text, size_t most)
{
	size_t len = strnlen(text, most);
	char *copy = __wrap_malloc(len + 1);
	if (copy != NULL) {
		memcpy(copy, text, len);
		copy[len] = 0;
	}
	return copy;
}

char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
	return __wrap_strndup(text, strlen(text));
}

#endif
