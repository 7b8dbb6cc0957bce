/* SPDX-License-Identifier: MIT */
#ifndef DELTA_INTERNAL_H
#define DELTA_INTERNAL_H

#include "delta/delta.h"

/* ---- jobs: each kind embeds this first ---- */
struct delta_job {
	int (*step)(struct delta_job *job, struct delta_io *io);
	void (*fini)(struct delta_job *job); /* frees what the job owns, not the job */
	int result; /* sticky: DELTA_NEED while at work, then DELTA_DONE or an error */
	struct delta_stats stats;
	struct delta_fault fault;
};

/* Allocates a job of size bytes (all zero but the common part). NULL: out of memory. */
void *delta__job_create(size_t size, int (*step)(struct delta_job *, struct delta_io *),
	void (*fini)(struct delta_job *));

/* Notes a fault that shows at input offset `offset`; returns THRUM_EFORMAT. */
int delta__fault(struct delta_job *job, enum delta_cause cause, uint64_t offset, const char *text);

/* Counts and skips n consumed bytes of input. */
static inline void delta__take(struct delta_job *job, struct delta_io *io, size_t n)
{
	io->in += n;
	io->in_len -= n;
	job->stats.in_bytes += n;
}

/* Moves input to to[*have..want). True once all `want` bytes are there. */
bool delta__gather(
	struct delta_job *job, struct delta_io *io, uint8_t *to, size_t *have, size_t want);

/* ---- big-endian integers ---- */
static inline void delta__put_be(uint8_t *to, uint64_t value, unsigned bytes)
{
	while (bytes-- > 0) {
		to[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

static inline uint64_t delta__get_be(const uint8_t *from, unsigned bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | from[i];
	return value;
}

/* ---- formats ---- */
enum { DELTA__MD4_LEN = 16 };

/* Bytes of the magic's whole strong sum; 0 if it is no signature's magic. */
unsigned delta__strong_max(uint32_t magic);

/* The whole strong sum of bytes: DELTA_STRONG_MAX bytes at to, those behind its length are zero. */
void delta__strong_sum(uint32_t magic, const uint8_t *bytes, size_t len, uint8_t *to);

void delta__md4(const uint8_t *bytes, size_t len, uint8_t to[DELTA__MD4_LEN]);

/* ---- weak sums: the 32-bit digest is also the whole rolling state, for both kinds ---- */
struct delta__weak {
	bool rabinkarp;
	uint32_t len;       /* of the window */
	uint32_t power;     /* RabinKarp: multiplier^len */
	uint32_t drop[256]; /* RabinKarp: what leaves the sum with each byte value */
};

#define DELTA__RK_MULT UINT32_C(0x08104225)

static inline bool delta__is_rabinkarp(uint32_t magic)
{
	return magic == DELTA_MAGIC_RK_MD4 || magic == DELTA_MAGIC_RK_BLAKE2;
}

/* multiplier^exponent. */
uint32_t delta__rk_power(uint32_t exponent);

uint32_t delta__weak_sum(bool rabinkarp, const uint8_t *bytes, size_t len);
void delta__weak_init(struct delta__weak *weak, bool rabinkarp, uint32_t len);

/* Takes the first of a window's len bytes away. power: multiplier^len, kept up to date. */
uint32_t delta__weak_shrink(
	bool rabinkarp, uint32_t sum, uint8_t first, uint32_t len, uint32_t *power);

/* ---- index ---- */
#define DELTA__NO_BLOCK UINT32_MAX

struct delta__slot {
	uint32_t weak;
	uint32_t block; /* DELTA__NO_BLOCK: free */
};

struct delta_index {
	uint32_t magic, block_len, strong_len, count;
	uint32_t *weak;            /* [count] */
	uint8_t *strong;           /* [count * strong_len] */
	struct delta__slot *table; /* power of two, at most half full */
	unsigned table_shift;      /* 32 - log2 of the slots */
	uint64_t *filter;          /* blocked Bloom filter over the weak sums, see index.c */
	unsigned filter_shift;
	uint32_t built; /* blocks entered so far */
};

/* Sizes the table for index->count blocks. 0 or -ENOMEM. */
int delta__index_prepare(struct delta_index *index);

/* Enters up to `most` more blocks. True when all are in. */
bool delta__index_build(struct delta_index *index, uint32_t most);

/* The lowest block of these sums, or DELTA__NO_BLOCK. */
uint32_t delta__index_find(const struct delta_index *index, uint32_t weak, const uint8_t *strong);

/* Whether any block has this weak sum. */
bool delta__index_has_weak(const struct delta_index *index, uint32_t weak);

static inline bool delta__index_is(
	const struct delta_index *index, uint32_t block, const uint8_t *strong)
{
	const uint8_t *have = index->strong + (size_t)block * index->strong_len;
	return memcmp(have, strong, index->strong_len) == 0;
}

/*
 * The filter's word and mask of a weak sum: the word by its high bits, two bits in it by the middle
 * ones (the lowest bits of a RabinKarp sum see only the lowest bits of the bytes). Rollsum's bits
 * cluster, so they are multiplied out first.
 */
static inline uint32_t delta__filter_key(bool rabinkarp, uint32_t weak)
{
	return rabinkarp ? weak : weak * UINT32_C(0x9e3779b1);
}

static inline bool delta__filter_may_have(const uint64_t *filter, unsigned shift, uint32_t key)
{
	uint64_t word = filter[key >> shift];
	return (word >> (key >> 10 & 63)) & (word >> (key >> 4 & 63)) & 1;
}

/* ---- delta commands ---- */
struct delta__emit {
	/* A copy not yet written, for neighbours to be joined to it; copy_len 0: none. */
	uint64_t copy_from, copy_len;
};

int delta__emit_magic(struct thrum__buf *out);
int delta__emit_copy(struct delta__emit *emit, struct delta_stats *stats, uint64_t from,
	uint64_t len, struct thrum__buf *out);
int delta__emit_literal(struct delta__emit *emit, struct delta_stats *stats, const uint8_t *bytes,
	size_t len, struct thrum__buf *out);
int delta__emit_end(struct delta__emit *emit, struct delta_stats *stats, struct thrum__buf *out);

#endif
