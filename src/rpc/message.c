/* SPDX-License-Identifier: MIT */
#include "rpc/rpc_internal.h"

#include <errno.h>
#include <stdalign.h>

/*
 * Messages of protobuf-c in bounded memory. A hostile message can make protobuf-c allocate about 50
 * times its size; here every allocation comes from one arena per message, which refuses to grow
 * beyond a budget that honest messages do not come near. Freeing a message is freeing its blocks.
 *
 * A message is the first thing protobuf-c allocates for it, so it lies at the beginning of the
 * arena's first block, and rpc_message_free finds the arena from it.
 *
 * The budget does not bound recursion: no schema of ours is recursive.
 */

enum {
	BUDGET_BASE = 64 * 1024,
	BUDGET_FACTOR = 12, /* a field costs 40 bytes while it is scanned, a repeated message some
			       100 for ever */
	FIRST_BLOCK = 1024,
	MAX_BLOCK = 256 * 1024,
	ALIGN = alignof(max_align_t),
};

struct block {
	struct block *next;
	size_t used, cap;
	alignas(max_align_t) uint8_t data[];
};

struct arena {
	struct block *blocks; /* newest first */
	size_t left;          /* of the budget */
	bool over_budget, no_memory;
	size_t next_size;
	alignas(max_align_t) uint8_t first[FIRST_BLOCK]; /* used like a block */
	size_t first_used;
};

static void *from_new_block(struct arena *arena, size_t size)
{
	size_t cap = arena->next_size > size ? arena->next_size : size;
	struct block *block = malloc(sizeof(*block) + cap);
	if (block == NULL) {
		arena->no_memory = true;
		return NULL;
	}
	if (arena->next_size < MAX_BLOCK)
		arena->next_size *= 2;
	*block = (struct block){.next = arena->blocks, .used = size, .cap = cap};
	arena->blocks = block;
	return block->data;
}

static void *arena_alloc(void *data, size_t size)
{
	struct arena *arena = data;
	size = (size + ALIGN - 1) / ALIGN * ALIGN;
	if (size > arena->left) {
		arena->over_budget = true;
		return NULL;
	}
	arena->left -= size;
	if (size <= FIRST_BLOCK - arena->first_used) {
		arena->first_used += size;
		return arena->first + arena->first_used - size;
	}
	struct block *block = arena->blocks;
	if (block != NULL && block->cap - block->used >= size) {
		block->used += size;
		return block->data + block->used - size;
	}
	return from_new_block(arena, size);
}

static void arena_free(void *data, void *pointer)
{
	/* With the arena. */
}

static void arena_destroy(struct arena *arena)
{
	struct block *block = arena->blocks;
	while (block != NULL) {
		struct block *next = block->next;
		free(block);
		block = next;
	}
	free(arena);
}

int rpc__message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	ProtobufCMessage **out)
{
	struct arena *arena = malloc(sizeof(*arena));
	if (arena == NULL)
		return -ENOMEM;
	arena->blocks = NULL;
	arena->left = BUDGET_BASE + BUDGET_FACTOR * len;
	arena->over_budget = arena->no_memory = false;
	arena->next_size = 4 * FIRST_BLOCK;
	arena->first_used = 0;
	ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
	*out = protobuf_c_message_unpack(type, &allocator, len, bytes);
	if (*out == NULL) {
		int r = arena->over_budget ? -EMSGSIZE : arena->no_memory ? -ENOMEM : THRUM_EFORMAT;
		arena_destroy(arena);
		return r;
	}
	CHECK((uint8_t *)*out == arena->first); /* a message type is smaller than the first block */
	return 0;
}

void rpc_message_free(ProtobufCMessage *message)
{
	if (message != NULL)
		arena_destroy(thrum__container_of(message, struct arena, first));
}
