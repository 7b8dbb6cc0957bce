/* SPDX-License-Identifier: MIT */
#include "replica/hash.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/base.h"

struct replica_hash {
	crypto_generichash_state state;
};

/* Without sodium_init the library takes its slowest code. */
static void init_library(void)
{
	CHECK(sodium_init() >= 0);
}

struct replica_hash *replica_hash_create(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, init_library);
	struct replica_hash *hash =
		aligned_alloc(_Alignof(struct replica_hash), sizeof(struct replica_hash));
	if (hash != NULL)
		replica_hash_reset(hash);
	return hash;
}

void replica_hash_reset(struct replica_hash *hash)
{
	crypto_generichash_init(&hash->state, NULL, 0, REPLICA_HASH_SIZE);
}

void replica_hash_add(struct replica_hash *hash, const void *data, size_t len)
{
	crypto_generichash_update(&hash->state, data, len);
}

void replica_hash_get(struct replica_hash *hash, uint8_t out[REPLICA_HASH_SIZE])
{
	crypto_generichash_final(&hash->state, out, REPLICA_HASH_SIZE);
}

void replica_hash_destroy(struct replica_hash *hash)
{
	free(hash);
}
