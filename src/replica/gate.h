/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_GATE_H
#define REPLICA_GATE_H

#include <stdbool.h>

#include <thrum.h>

#include "base/list.h"

/*
 * How many handshakes may be under way at once. To a daemon with room a handshake may take its
 * time; once all places are taken, who has had REPLICA_GATE_FAIR makes room for the next one. So
 * connections that say nothing cost others a wait of REPLICA_GATE_FAIR at most per
 * REPLICA_GATE_PLACES of them, not a deadline.
 */
enum {
	REPLICA_GATE_PLACES = 64,
	REPLICA_GATE_WAITING = 512, /* who comes on top of these is turned away */
};

#define REPLICA_GATE_FAIR (1 * THRUM_S) /* many round trips of any network */

/* All-zero is ready for use. */
struct replica_gate {
	struct thrum_mutex lock;
	struct thrum_cond left;
	struct thrum__list inside; /* of struct replica_passage, oldest first */
	unsigned count, waiting;
};

/* One handshake; on its green thread's stack. */
struct replica_passage {
	struct thrum__list node;
	struct thrum_thread *thread;
	thrum_deadline due; /* when it must make room, if asked */
	bool sent_off;
};

/* Enters, on the calling green thread. 0, -ETIMEDOUT, -ECANCELED or -ENOBUFS (too many wait). */
THRUM_NODISCARD int replica_gate_enter(
	struct replica_gate *gate, struct replica_passage *passage, thrum_deadline deadline);

/* Leaves. False: it was sent off meanwhile, that is cancelled. */
bool replica_gate_leave(struct replica_gate *gate, struct replica_passage *passage);

#endif
