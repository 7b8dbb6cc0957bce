/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_HASH_H
#define REPLICA_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "replica/decide.h"

/* BLAKE2b-256 of a stream of bytes, on the heap: its state wants an alignment that malloc does not
 * give. */
struct replica_hash;

/* A fresh hash, or NULL (no memory). */
struct replica_hash *replica_hash_create(void);
void replica_hash_reset(struct replica_hash *hash);
void replica_hash_add(struct replica_hash *hash, const void *data, size_t len);

/* The hash of what was added; reset it before it is used again. */
void replica_hash_get(struct replica_hash *hash, uint8_t out[REPLICA_HASH_SIZE]);

/* NULL is fine. */
void replica_hash_destroy(struct replica_hash *hash);

#endif
