/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_EXPLORE_MEMORY_H
#define THRUM_TEST_EXPLORE_MEMORY_H

#include "explore_internal.h"

/* Between memory.c, which keeps the messages, and atomic.c, whose operations make and read them. */

struct message {
	uint64_t value;
	int16_t author, step; /* who stored it, at which of its steps; author < 0: the setup */
	int16_t head;         /* who began the release sequence it is in, or < 0 */
	struct view view;
};

struct location {
	const void *address;
	uint8_t size;
	bool plain;        /* a plain store was announced that is not yet a message */
	int16_t count;     /* of messages */
	int16_t strongest; /* the newest seq_cst store */
	uint16_t messages[MAX_MESSAGES];
};

static inline uint64_t memory_peek(const void *address, unsigned size)
{
	uint64_t value = 0;
	memcpy(&value, address, size);
	return value;
}

static inline void memory_poke(void *address, unsigned size, uint64_t value)
{
	memcpy(address, &value, size);
}

/* Made at the first access: what is there then is the first message. */
struct location *memory_locate(const void *address, unsigned size);

struct message *memory_message(const struct location *location, int index);
struct message *memory_newest(const struct location *location);
int memory_view_index(const struct location *location);

/* A message by the running thread; carried: what its reader learns besides. */
struct message *memory_publish(
	struct location *location, uint64_t value, const struct view *carried);

/* Memory that is reused on a stack changes unannounced. Anything else must not. */
void memory_reconcile(struct location *location);

/* The running thread has seen this message. */
void memory_glance(struct virtual *self, const struct location *location, int message);

/* atomic.c */
void fence_reset(void);

#endif
