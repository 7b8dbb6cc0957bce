/* SPDX-License-Identifier: MIT */
#ifndef DELTA_H
#define DELTA_H

#include "base/base.h"

/*
 * The rolling-hash algorithm in librsync's file formats, as jobs that take bytes and give bytes: no
 * file, no clock, no thread. Four jobs have one shape:
 *
 *   sign   basis bytes                     -> signature bytes
 *   load   signature bytes                 -> an index in memory (delta_load_take)
 *   diff   index + new file's bytes        -> delta bytes
 *   patch  delta bytes + basis, read at    -> new file's bytes
 *          offsets through a callback
 *
 * Create a job, call delta_step until it says DELTA_DONE, destroy it. The output does not depend on
 * how the input was cut. Memory: a few hundred KiB and two blocks per job, whatever the file's
 * size; an index holds the signature and 20 to 40 bytes per block besides.
 * A job belongs to one thread at a time; a finished index may be shared by any number of diff jobs.
 */

/* First four bytes of a file, big-endian. */
#define DELTA_MAGIC_MD4       UINT32_C(0x72730136) /* rollsum + MD4 */
#define DELTA_MAGIC_BLAKE2    UINT32_C(0x72730137) /* rollsum + BLAKE2b */
#define DELTA_MAGIC_RK_MD4    UINT32_C(0x72730146) /* RabinKarp + MD4 */
#define DELTA_MAGIC_RK_BLAKE2 UINT32_C(0x72730147) /* RabinKarp + BLAKE2b; the default */
#define DELTA_MAGIC_DELTA     UINT32_C(0x72730236)

enum {
	DELTA_STRONG_MAX = 32,       /* bytes of the longest strong sum */
	DELTA_BLOCK_MAX = 64 << 20,  /* bytes of the longest block that is made or read */
	DELTA_STEP_MAX = 256 * 1024, /* a step takes and gives about this many bytes at most */
};

enum delta_status {
	DELTA_DONE = 0, /* complete; input behind the end was left in io */
	DELTA_NEED = 1, /* all input is consumed: feed more, or say eof */
	DELTA_AGAIN = 2 /* a slice of work is done, more is at hand: drain out, call again */
};

/* One step's input and output. */
struct delta_io {
	const uint8_t *in;      /* a step advances it past what it consumed */
	size_t in_len;          /* ... and shrinks this */
	bool eof;               /* nothing will follow in[0..in_len) */
	struct thrum__buf *out; /* a step appends to it; may be NULL for a load job */
};

enum delta_cause {
	DELTA_CAUSE_NONE,
	DELTA_CAUSE_MAGIC,     /* not this kind of file */
	DELTA_CAUSE_TRUNCATED, /* ends too early */
	DELTA_CAUSE_CORRUPT,   /* anything else that cannot be */
	DELTA_CAUSE_BASIS,     /* a copy reaches beyond the basis: damaged, or the wrong basis */
};

/* Why a step returned THRUM_EFORMAT: a constant text, and the input's offset where it shows. */
struct delta_fault {
	enum delta_cause cause;
	uint64_t offset;
	const char *text;
};

struct delta_stats {
	uint64_t in_bytes, out_bytes;
	uint64_t blocks;                  /* of the signature made or loaded */
	uint64_t literals, literal_bytes; /* commands and bytes of diff and patch */
	uint64_t copies, copy_bytes;
	uint64_t false_hits; /* diff: the weak sum matched, the strong one did not */
};

struct delta_job;
struct delta_index;

/* How a signature is made. */
struct delta_sign_options {
	int64_t size;       /* of the basis in bytes; < 0: unknown */
	uint32_t magic;     /* 0: DELTA_MAGIC_RK_BLAKE2 */
	uint32_t block_len; /* bytes; 0: by size (delta_recommend) */
	int strong_len;     /* bytes; 0: the hash's whole length; -1: the shortest safe for size */
};

/*
 * Fills in what options leave open, as librsync does: blocks of 256 bytes up to 64 KiB, then the
 * square root of the size rounded down to 128; 2048 for an unknown size.
 * Returns 0 or -EINVAL (unknown magic, a length that cannot be).
 */
THRUM_NODISCARD int delta_recommend(struct delta_sign_options *options);

/* options: NULL for defaults at unknown size; copied. Returns 0, -EINVAL, -ENOMEM. */
THRUM_NODISCARD int delta_sign_create(
	struct delta_job **out, const struct delta_sign_options *options);

/*
 * max_blocks: refuse (-EFBIG) a signature of more blocks, a bound on memory where a peer sends it;
 * 0: 2^32 - 2. Returns 0 or -ENOMEM.
 */
THRUM_NODISCARD int delta_load_create(struct delta_job **out, uint32_t max_blocks);

/* Gives the index of a load job that is DELTA_DONE; to be ended by delta_index_destroy. */
THRUM_NODISCARD struct delta_index *delta_load_take(struct delta_job *load);
void delta_index_destroy(struct delta_index *index);

uint32_t delta_index_block_len(const struct delta_index *index);
uint32_t delta_index_blocks(const struct delta_index *index);

/*
 * index: borrowed for the job's life; NULL: there is no basis, all is literal.
 * Returns 0 or -ENOMEM.
 */
THRUM_NODISCARD int delta_diff_create(struct delta_job **out, const struct delta_index *index);

/*
 * Reads up to len basis bytes at offset, as pread does: a count, 0 at the end, or a negative code,
 * which delta_step returns. May suspend; then so may delta_step.
 */
typedef ssize_t (*delta_read_fn)(void *arg, void *to, size_t len, uint64_t offset);

/*
 * limit: refuse (-EFBIG) to make more bytes than that; checked before a command's first byte is
 * made. UINT64_MAX: none. Returns 0 or -ENOMEM.
 */
THRUM_NODISCARD int delta_patch_create(
	struct delta_job **out, delta_read_fn read, void *arg, uint64_t limit);

/*
 * Does one slice of work. Returns a delta_status, THRUM_EFORMAT (see delta_job_fault), -ENOMEM,
 * -EFBIG (a limit was reached), or what the read callback returned. An error is final: later steps
 * return it again. Suspends: only within the patch job's callback.
 */
THRUM_NODISCARD int delta_step(struct delta_job *job, struct delta_io *io);

/*
 * Steps until the job is done, with in as its whole input. Returns 0 or an error; THRUM_EFORMAT too
 * if input was left over.
 */
THRUM_NODISCARD int delta_run(
	struct delta_job *job, const void *in, size_t in_len, struct thrum__buf *out);

const struct delta_stats *delta_job_stats(const struct delta_job *job);
const struct delta_fault *delta_job_fault(const struct delta_job *job);

/* NULL is fine. */
void delta_job_destroy(struct delta_job *job);

#endif
