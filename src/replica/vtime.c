/* SPDX-License-Identifier: MIT */
#include "replica/vtime.h"

#include <errno.h>

#include "base/base.h"

static int id_cmp(const struct replica_id *a, const struct replica_id *b)
{
	return memcmp(a->bytes, b->bytes, REPLICA_ID_SIZE);
}

static struct replica_vt_item *items_of(struct replica_vt *vt)
{
	return vt->cap == 0 ? &vt->u.one : vt->u.many;
}

void replica_vt_fini(struct replica_vt *vt)
{
	if (vt->cap > 0)
		free(vt->u.many);
	*vt = (struct replica_vt){0};
}

/* Index of the first item whose id is not below id. */
static uint32_t lower_bound(const struct replica_vt *vt, const struct replica_id *id)
{
	const struct replica_vt_item *items = replica_vt_items(vt);
	uint32_t low = 0, high = vt->count;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (id_cmp(&items[mid].id, id) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t replica_vt_get(const struct replica_vt *vt, const struct replica_id *id)
{
	uint32_t i = lower_bound(vt, id);
	if (i == vt->count)
		return 0;
	const struct replica_vt_item *item = &replica_vt_items(vt)[i];
	return id_cmp(&item->id, id) == 0 ? item->time : 0;
}

bool replica_vt_leq(const struct replica_vt *a, const struct replica_vt *b)
{
	const struct replica_vt_item *x = replica_vt_items(a), *y = replica_vt_items(b);
	uint32_t j = 0;
	for (uint32_t i = 0; i < a->count; i++) {
		while (j < b->count && id_cmp(&y[j].id, &x[i].id) < 0)
			j++;
		if (j == b->count || id_cmp(&y[j].id, &x[i].id) != 0 || y[j].time < x[i].time)
			return false;
	}
	return true;
}

bool replica_vt_equal(const struct replica_vt *a, const struct replica_vt *b)
{
	if (a->count != b->count)
		return false;
	const struct replica_vt_item *x = replica_vt_items(a), *y = replica_vt_items(b);
	for (uint32_t i = 0; i < a->count; i++)
		if (x[i].time != y[i].time || id_cmp(&x[i].id, &y[i].id) != 0)
			return false;
	return true;
}

bool replica_vt_some_known(const struct replica_vt *a, const struct replica_vt *b)
{
	const struct replica_vt_item *x = replica_vt_items(a);
	for (uint32_t i = 0; i < a->count; i++)
		if (replica_vt_get(b, &x[i].id) >= x[i].time)
			return true;
	return false;
}

void replica_vt_single(struct replica_vt *vt, const struct replica_id *id, uint64_t time)
{
	replica_vt_fini(vt);
	if (time == 0)
		return;
	vt->u.one = (struct replica_vt_item){*id, time};
	vt->count = 1;
}

/* Makes room for count items in all. */
static int reserve(struct replica_vt *vt, uint32_t count)
{
	if (count > REPLICA_VT_MAX)
		return -E2BIG;
	if (count <= 1 || count <= vt->cap)
		return 0;
	uint32_t cap = count < 4 ? 4 : count + count / 2;
	struct replica_vt_item *many = malloc(cap * sizeof(*many));
	if (many == NULL)
		return -ENOMEM;
	if (vt->count > 0)
		memcpy(many, replica_vt_items(vt), vt->count * sizeof(*many));
	if (vt->cap > 0)
		free(vt->u.many);
	vt->u.many = many;
	vt->cap = cap;
	return 0;
}

int replica_vt_raise(struct replica_vt *vt, const struct replica_id *id, uint64_t time)
{
	if (time == 0)
		return 0;
	uint32_t i = lower_bound(vt, id);
	struct replica_vt_item *items = items_of(vt);
	if (i < vt->count && id_cmp(&items[i].id, id) == 0) {
		if (items[i].time < time)
			items[i].time = time;
		return 0;
	}
	int rc = reserve(vt, vt->count + 1);
	if (rc < 0)
		return rc;
	items = items_of(vt);
	memmove(&items[i + 1], &items[i], (vt->count - i) * sizeof(*items));
	items[i] = (struct replica_vt_item){*id, time};
	vt->count++;
	return 0;
}

/* How many ids of `from` are not in `into`. */
static uint32_t count_new(const struct replica_vt *into, const struct replica_vt *from)
{
	const struct replica_vt_item *items = replica_vt_items(from);
	uint32_t n = 0;
	for (uint32_t i = 0; i < from->count; i++)
		if (replica_vt_get(into, &items[i].id) == 0)
			n++;
	return n;
}

int replica_vt_join(struct replica_vt *into, const struct replica_vt *from)
{
	if (into == from || replica_vt_leq(from, into))
		return 0;
	uint32_t total = into->count + count_new(into, from);
	int rc = reserve(into, total);
	if (rc < 0)
		return rc;
	/* Merge from the end, in place: the result is never shorter than what is still unread. */
	struct replica_vt_item *x = items_of(into);
	const struct replica_vt_item *y = replica_vt_items(from);
	uint32_t i = into->count, j = from->count, k = total;
	while (j > 0) {
		int cmp = i > 0 ? id_cmp(&x[i - 1].id, &y[j - 1].id) : -1;
		if (cmp > 0) {
			x[--k] = x[--i];
		} else if (cmp < 0) {
			x[--k] = y[--j];
		} else {
			i--, j--;
			if (x[i].time < y[j].time)
				x[i].time = y[j].time;
			x[--k] = x[i];
		}
	}
	into->count = total;
	return 0;
}

int replica_vt_copy(struct replica_vt *to, const struct replica_vt *from)
{
	if (to == from)
		return 0;
	int rc = reserve(to, from->count);
	if (rc < 0)
		return rc;
	if (from->count > 0)
		memcpy(items_of(to), replica_vt_items(from),
			from->count * sizeof(struct replica_vt_item));
	to->count = from->count;
	return 0;
}

size_t replica_vt_encoded_size(const struct replica_vt *vt)
{
	return (size_t)vt->count * REPLICA_VT_ITEM_SIZE;
}

void replica_vt_encode(const struct replica_vt *vt, uint8_t *out)
{
	const struct replica_vt_item *items = replica_vt_items(vt);
	for (uint32_t i = 0; i < vt->count; i++, out += REPLICA_VT_ITEM_SIZE) {
		memcpy(out, items[i].id.bytes, REPLICA_ID_SIZE);
		for (int b = 0; b < 8; b++)
			out[REPLICA_ID_SIZE + b] = (uint8_t)(items[i].time >> (56 - 8 * b));
	}
}

int replica_vt_decode(struct replica_vt *vt, const uint8_t *bytes, size_t len)
{
	size_t count = len / REPLICA_VT_ITEM_SIZE;
	if (len % REPLICA_VT_ITEM_SIZE != 0 || count > REPLICA_VT_MAX)
		return THRUM_EFORMAT;
	struct replica_vt fresh = {0};
	int rc = reserve(&fresh, (uint32_t)count);
	if (rc < 0)
		return rc;
	struct replica_vt_item *items = items_of(&fresh);
	for (size_t i = 0; i < count; i++, bytes += REPLICA_VT_ITEM_SIZE) {
		memcpy(items[i].id.bytes, bytes, REPLICA_ID_SIZE);
		items[i].time = 0;
		for (int b = 0; b < 8; b++)
			items[i].time = items[i].time << 8 | bytes[REPLICA_ID_SIZE + b];
		if (items[i].time == 0 || (i > 0 && id_cmp(&items[i - 1].id, &items[i].id) >= 0)) {
			replica_vt_fini(&fresh);
			return THRUM_EFORMAT;
		}
	}
	fresh.count = (uint32_t)count;
	replica_vt_fini(vt);
	*vt = fresh;
	return 0;
}
