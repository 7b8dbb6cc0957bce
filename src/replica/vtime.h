/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REPLICA_VTIME_H
#define THRUM_REPLICA_VTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Vector times: how far each replica's event counter is known. A replica that is not named stands
 * for 0. Pure; nothing here suspends. Every function that can grow a vector returns 0, -ENOMEM or
 * -E2BIG (more than REPLICA_VT_MAX replicas) and leaves its target as it was on failure.
 */

enum {
	REPLICA_ID_SIZE = 16,
	REPLICA_VT_MAX = 1024,     /* replicas one vector may name */
	REPLICA_VT_ITEM_SIZE = 24, /* encoded: 16 bytes of id, u64 time, big-endian */
};

struct replica_id {
	uint8_t bytes[REPLICA_ID_SIZE];
};

struct replica_vt_item {
	struct replica_id id;
	uint64_t time; /* > 0 */
};

/*
 * Items are sorted by id, none twice. All-zero is the empty vector. One item (nearly every m and c
 * of a file) lives in place, so a plain move of the struct is allowed; a second owner needs
 * replica_vt_copy.
 */
struct replica_vt {
	uint32_t count;
	uint32_t cap; /* 0: in place */
	union {
		struct replica_vt_item one;
		struct replica_vt_item *many;
	} u;
};

static inline const struct replica_vt_item *replica_vt_items(const struct replica_vt *vt)
{
	return vt->cap == 0 ? &vt->u.one : vt->u.many;
}

static inline bool replica_vt_empty(const struct replica_vt *vt)
{
	return vt->count == 0;
}

/* Frees what vt holds and leaves it empty. */
void replica_vt_fini(struct replica_vt *vt);

/* The time of id in vt; 0 if it is not named. */
uint64_t replica_vt_get(const struct replica_vt *vt, const struct replica_id *id);

/* True if every time in a is known in b. */
bool replica_vt_leq(const struct replica_vt *a, const struct replica_vt *b);

bool replica_vt_equal(const struct replica_vt *a, const struct replica_vt *b);

/* True if at least one item of a is known in b. */
bool replica_vt_some_known(const struct replica_vt *a, const struct replica_vt *b);

/* Makes vt exactly {id: time}, or empty if time is 0. Never fails. */
void replica_vt_single(struct replica_vt *vt, const struct replica_id *id, uint64_t time);

/* vt := vt join {id: time}. */
int replica_vt_raise(struct replica_vt *vt, const struct replica_id *id, uint64_t time);

/* into := into join from. The two may be the same. */
int replica_vt_join(struct replica_vt *into, const struct replica_vt *from);

/* to := from. `to` is a valid vector before (all-zero, say). */
int replica_vt_copy(struct replica_vt *to, const struct replica_vt *from);

/* Bytes that replica_vt_encode writes. */
size_t replica_vt_encoded_size(const struct replica_vt *vt);

/* Writes vt to out, which has replica_vt_encoded_size(vt) bytes. */
void replica_vt_encode(const struct replica_vt *vt, uint8_t *out);

/*
 * vt := the decoded bytes (from a peer or a disk). THRUM_EFORMAT: not a multiple of 24, more than
 * REPLICA_VT_MAX items, not strictly sorted, or a zero time.
 */
int replica_vt_decode(struct replica_vt *vt, const uint8_t *bytes, size_t len);

#endif
