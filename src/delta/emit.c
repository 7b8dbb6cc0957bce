/* SPDX-License-Identifier: MIT */
#include "delta/delta_internal.h"

/*
 * Commands of a delta; lengths and offsets are big-endian integers of 1, 2, 4 or 8 bytes.
 *
 *   00            end
 *   01 .. 40      literal of that many bytes, which follow
 *   41 .. 44      literal; its length follows (1, 2, 4, 8 bytes), then the bytes
 *   45 .. 54      copy; 45 + 4 * (offset's size index) + (length's size index); then both
 */

enum {
	OP_END = 0x00,
	INLINE_LITERAL_MAX = 0x40,
	OP_LITERAL = 0x41,
	OP_COPY = 0x45,
	OP_MAX_LEN = 1 + 8 + 8,
};

/* 0, 1, 2, 3 for a value that needs 1, 2, 4, 8 bytes. */
static unsigned size_index(uint64_t value)
{
	return value <= UINT8_MAX ? 0 : value <= UINT16_MAX ? 1 : value <= UINT32_MAX ? 2 : 3;
}

static int flush_copy(struct delta__emit *emit, struct delta_stats *stats, struct thrum__buf *out)
{
	if (emit->copy_len == 0)
		return 0;
	uint8_t op[OP_MAX_LEN];
	unsigned from_size = size_index(emit->copy_from), len_size = size_index(emit->copy_len);
	op[0] = (uint8_t)(OP_COPY + 4 * from_size + len_size);
	delta__put_be(op + 1, emit->copy_from, 1u << from_size);
	delta__put_be(op + 1 + (1u << from_size), emit->copy_len, 1u << len_size);
	stats->copies++;
	stats->copy_bytes += emit->copy_len;
	emit->copy_len = 0;
	return thrum__buf_append(out, op, 1 + (1u << from_size) + (1u << len_size));
}

int delta__emit_magic(struct thrum__buf *out)
{
	uint8_t magic[4];
	delta__put_be(magic, DELTA_MAGIC_DELTA, 4);
	return thrum__buf_append(out, magic, sizeof(magic));
}

int delta__emit_copy(struct delta__emit *emit, struct delta_stats *stats, uint64_t from,
	uint64_t len, struct thrum__buf *out)
{
	if (emit->copy_len > 0 && emit->copy_from + emit->copy_len == from) {
		emit->copy_len += len;
		return 0;
	}
	int result = flush_copy(emit, stats, out);
	emit->copy_from = from;
	emit->copy_len = len;
	return result;
}

int delta__emit_literal(struct delta__emit *emit, struct delta_stats *stats, const uint8_t *bytes,
	size_t len, struct thrum__buf *out)
{
	if (len == 0)
		return 0;
	int result = flush_copy(emit, stats, out);
	if (result < 0)
		return result;
	uint8_t op[OP_MAX_LEN];
	size_t op_len = 1;
	if (len <= INLINE_LITERAL_MAX) {
		op[0] = (uint8_t)len;
	} else {
		unsigned size = size_index(len);
		op[0] = (uint8_t)(OP_LITERAL + size);
		delta__put_be(op + 1, len, 1u << size);
		op_len += 1u << size;
	}
	stats->literals++;
	stats->literal_bytes += len;
	result = thrum__buf_append(out, op, op_len);
	return result < 0 ? result : thrum__buf_append(out, bytes, len);
}

int delta__emit_end(struct delta__emit *emit, struct delta_stats *stats, struct thrum__buf *out)
{
	static const uint8_t end = OP_END;
	int result = flush_copy(emit, stats, out);
	return result < 0 ? result : thrum__buf_append(out, &end, 1);
}
