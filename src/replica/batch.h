/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_BATCH_H
#define REPLICA_BATCH_H

#include "replica/daemon.h"

/*
 * Group commit of a pull: leaves whose content is staged and directories that are done are put in
 * place and into the index many at a time, with two flushes for all of them (see batch.c).
 */
struct replica_batch {
	struct replica_folder *folder;
	struct replica_link *link;
	bool clear_errors; /* the index held errors of the share when the pull began */

	struct thrum_mutex lock;
	struct thrum_cond more;
	struct thrum__list queue; /* of struct replica_op */
	size_t queued;
	int32_t coming; /* atomic: leaves announced and not queued yet */
	bool closing;
	struct thrum_thread *thread;
};

/* One thing to commit; lives on its submitter's stack. */
struct replica_op {
	struct thrum__list node;
	struct replica_visit *visit;
	size_t task;                   /* the leaf, or REPLICA_OP_CLOSE */
	struct replica_staged *staged; /* content to install; NULL: none */
	const struct replica_vt
		*their_s; /* leaf: what the source knows in the directory, effective */
	bool touched;     /* close: something in the directory changed on disk */
	int result;
	bool applied;  /* leaf: it was changed here; else there was nothing to do any more */
	bool doubt;    /* internal: the failure was the index's */
	unsigned made; /* internal: directories made on the way to the visited one, and it */
	struct thrum_semaphore done;
};

#define REPLICA_OP_CLOSE SIZE_MAX

int replica_batch_start(
	struct replica_batch *batch, struct replica_folder *folder, struct replica_link *link);

/* Commits what is queued and ends. */
void replica_batch_stop(struct replica_batch *batch);

/* Says that an op will come (1), or that it is here or will not (-1): a batch waits a moment for
 * those. */
void replica_batch_announce(struct replica_batch *batch, int change);

/* Queues an op, to be ended by replica_batch_wait; ops are done in the order they were queued. */
void replica_batch_put(struct replica_batch *batch, struct replica_op *op);

/*
 * Waits until the op is on the disk and in the index. Leaf: 0, THRUM_ECHANGED (not what was decided
 * on: pull again later), or the error of the disk. Close: 1 complete, 0 not, or an error. Not a
 * cancellation point.
 */
int replica_batch_wait(struct replica_op *op);

/* Both. */
int replica_batch_commit(struct replica_batch *batch, struct replica_op *op);

#endif
