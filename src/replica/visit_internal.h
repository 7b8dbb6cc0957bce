/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REPLICA_VISIT_INTERNAL_H
#define THRUM_REPLICA_VISIT_INTERNAL_H

#include "replica/tree_internal.h"

/*
 * Shared by visit.c (opening and deciding; the protocol is told there), visit_commit.c (what a
 * verdict makes of a leaf), visit_close.c and visit_resolve.c. None of these calls tree_enter:
 * containers in memory stay where they are.
 */

struct replica_visit_state {
	struct replica_tree *tree;
	struct replica_listing theirs;
	int64_t peer;
	enum replica_policy policy;
	bool closed;
	uint64_t drops; /* the tree's, at open */
	size_t dir_len;
	int64_t when_us;
};

/* Decides a leaf by task->mine; `known`: our effective s of the directory. Clashes of type aside.
 */
int visit_judge(const struct replica_visit_state *state, struct replica_task *task,
	const struct replica_vt *known);

/* 1 if installing the task's leaf would put a file and a directory in one place. */
int visit_clashes(
	const struct replica_visit_state *state, const char *dir, const struct replica_task *task);

/* Reads our row of a task again, and our effective s of the directory. */
int visit_look(const struct replica_visit *visit, const struct replica_task *task,
	struct replica_entry *mine, struct replica_vt *known);

/* Reads our row again and decides anew, clashes included. */
int visit_redecide(struct replica_visit *visit, struct replica_task *task);

void visit_set_verdict(struct replica_task *task, enum replica_verdict verdict);

/* out := what the source knows at one of its rows (NULL: a name it has no row for). */
int visit_their_s(const struct replica_visit_state *state, const struct replica_child *child,
	struct replica_vt *out);

/* True if the leaf is still the one that was decided on. Gone is gone. */
bool visit_same_leaf(const struct replica_entry *a, const struct replica_entry *b);

/* True if both sides have the same version: their creations may still differ. */
bool visit_same_event(const struct replica_child *theirs, const struct replica_entry *mine);

/*
 * Applies the task's verdict to our row `leaf` in `dir` and stores it; marks the task. version,
 * ident: what is in place now, for verdicts that put something there.
 */
int visit_conclude(struct replica_visit_state *state, struct tree_node *dir,
	struct replica_task *task, struct replica_entry *leaf,
	const struct replica_version *version, const struct replica_ident *ident);

/* Remembers a verdict for `replica why`, if it is worth it. */
int visit_note(struct replica_visit_state *state, const char *path, enum replica_verdict verdict);

#endif
