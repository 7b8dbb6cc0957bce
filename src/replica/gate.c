/* SPDX-License-Identifier: MIT */
#include "replica/gate.h"

#include <errno.h>

#include "base/base.h"

static void lock_gate(struct replica_gate *gate)
{
	thrum_shield_begin();
	CHECK(thrum_mutex_lock(&gate->lock, THRUM_FOREVER) == 0);
	thrum_shield_end();
}

/* Takes a passage off the list. The lock is held. */
static void take_off(struct replica_gate *gate, struct replica_passage *passage)
{
	thrum__list_remove(&passage->node);
	gate->count--;
	thrum_cond_signal(&gate->left);
}

/* Waits for a place, or makes one. The lock is held. */
static int wait_for_place(struct replica_gate *gate, thrum_deadline deadline)
{
	while (gate->count >= REPLICA_GATE_PLACES) {
		struct replica_passage *oldest = thrum__container_of(
			thrum__list_first(&gate->inside), struct replica_passage, node);
		if (thrum_now() >= oldest->due) {
			oldest->sent_off = true;
			thrum_cancel(oldest->thread); /* its thread lives until it has left */
			take_off(gate, oldest);
			break;
		}
		thrum_deadline first = oldest->due < deadline ? oldest->due : deadline;
		int r = thrum_cond_wait(&gate->left, &gate->lock, first);
		if (r == -ECANCELED || (r == -ETIMEDOUT && thrum_now() >= deadline))
			return r;
	}
	return 0;
}

int replica_gate_enter(
	struct replica_gate *gate, struct replica_passage *passage, thrum_deadline deadline)
{
	lock_gate(gate);
	int r = gate->waiting >= REPLICA_GATE_WAITING ? -ENOBUFS : 0;
	if (r == 0) {
		gate->waiting++;
		r = wait_for_place(gate, deadline);
		gate->waiting--;
	}
	if (r == 0) {
		*passage = (struct replica_passage){
			.thread = thrum_self(), .due = thrum_after(REPLICA_GATE_FAIR)};
		thrum__list_push_back(&gate->inside, &passage->node);
		gate->count++;
	}
	thrum_mutex_unlock(&gate->lock);
	return r;
}

bool replica_gate_leave(struct replica_gate *gate, struct replica_passage *passage)
{
	lock_gate(gate);
	bool stayed = !passage->sent_off;
	if (stayed)
		take_off(gate, passage);
	thrum_mutex_unlock(&gate->lock);
	return stayed;
}
