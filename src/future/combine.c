/* SPDX-License-Identifier: MIT */
/*
 * Combinators. Each drops a future of its own as soon as that one is ready, and what is left when
 * it is dropped itself; none polls a future again that was ready. All futures of one combinator
 * get the same waker: one wake is one poll of each that is still pending.
 */
#include <thrum/future.h>

#include "base/base.h"

#include <errno.h>

static int map_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_map *map = thrum__container_of(self, struct thrum_future_map, future);
	int result = thrum_future_poll(map->inner_, context, map->value_);

	if (result == THRUM_PENDING)
		return result;
	thrum_future_drop(map->inner_);
	map->inner_ = NULL;
	return result < 0 ? result : map->fn_(map->arg_, map->value_, output);
}

static void map_drop(struct thrum_future *self)
{
	thrum_future_drop(thrum__container_of(self, struct thrum_future_map, future)->inner_);
}

static const struct thrum_future_vtable map_vtable = {map_poll, map_drop};

struct thrum_future *thrum_future_map_init(struct thrum_future_map *map, struct thrum_future *inner,
	int (*fn)(void *arg, void *value, void *output), void *arg, void *value)
{
	*map = (struct thrum_future_map){
		.future = {&map_vtable},
		.inner_ = inner,
		.fn_ = fn,
		.arg_ = arg,
		.value_ = value,
	};
	return &map->future;
}

/* fn_ is NULL once the second future runs. */
static int then_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_then *then =
		thrum__container_of(self, struct thrum_future_then, future);

	if (then->fn_ != NULL) {
		int result = thrum_future_poll(then->now_, context, then->value_);
		if (result == THRUM_PENDING)
			return result;
		thrum_future_drop(then->now_);
		then->now_ = result < 0 ? NULL : then->fn_(then->arg_, then->value_);
		then->fn_ = NULL;
		if (then->now_ == NULL)
			return result < 0 ? result : -ENOMEM;
	}
	return thrum_future_poll(then->now_, context, output);
}

static void then_drop(struct thrum_future *self)
{
	thrum_future_drop(thrum__container_of(self, struct thrum_future_then, future)->now_);
}

static const struct thrum_future_vtable then_vtable = {then_poll, then_drop};

struct thrum_future *thrum_future_then_init(struct thrum_future_then *then,
	struct thrum_future *first, struct thrum_future *(*fn)(void *arg, void *value), void *arg,
	void *value)
{
	*then = (struct thrum_future_then){
		.future = {&then_vtable},
		.now_ = first,
		.fn_ = fn,
		.arg_ = arg,
		.value_ = value,
	};
	return &then->future;
}

static int join2_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_join2 *join =
		thrum__container_of(self, struct thrum_future_join2, future);

	for (int i = 0; i < 2; i++) {
		if (join->result[i] != THRUM_PENDING)
			continue;
		join->result[i] = thrum_future_poll(join->each_[i], context, join->output_[i]);
		if (join->result[i] != THRUM_PENDING)
			thrum_future_drop(join->each_[i]);
	}
	if (join->result[0] == THRUM_PENDING || join->result[1] == THRUM_PENDING)
		return THRUM_PENDING;
	return join->result[0] < 0 ? join->result[0] : join->result[1];
}

static void join2_drop(struct thrum_future *self)
{
	struct thrum_future_join2 *join =
		thrum__container_of(self, struct thrum_future_join2, future);

	for (int i = 0; i < 2; i++)
		if (join->result[i] == THRUM_PENDING)
			thrum_future_drop(join->each_[i]);
}

static const struct thrum_future_vtable join2_vtable = {join2_poll, join2_drop};

struct thrum_future *thrum_future_join2_init(struct thrum_future_join2 *join,
	struct thrum_future *a, void *output_a, struct thrum_future *b, void *output_b)
{
	*join = (struct thrum_future_join2){
		.future = {&join2_vtable},
		.result = {THRUM_PENDING, THRUM_PENDING},
		.each_ = {a, b},
		.output_ = {output_a, output_b},
	};
	return &join->future;
}

static void select2_drop(struct thrum_future *self)
{
	struct thrum_future_select2 *select =
		thrum__container_of(self, struct thrum_future_select2, future);

	if (select->winner >= 0)
		return;
	thrum_future_drop(select->each_[0]);
	thrum_future_drop(select->each_[1]);
}

static int select2_poll(struct thrum_future *self, struct thrum_context *context, void *output)
{
	struct thrum_future_select2 *select =
		thrum__container_of(self, struct thrum_future_select2, future);

	for (int i = 0; i < 2; i++) {
		int result = thrum_future_poll(select->each_[i], context, select->output_[i]);
		if (result != THRUM_PENDING) {
			select2_drop(self);
			select->winner = i;
			return result;
		}
	}
	return THRUM_PENDING;
}

static const struct thrum_future_vtable select2_vtable = {select2_poll, select2_drop};

struct thrum_future *thrum_future_select2_init(struct thrum_future_select2 *select,
	struct thrum_future *a, void *output_a, struct thrum_future *b, void *output_b)
{
	*select = (struct thrum_future_select2){
		.future = {&select2_vtable},
		.winner = -1,
		.each_ = {a, b},
		.output_ = {output_a, output_b},
	};
	return &select->future;
}
