/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_REPLICA_MODEL_H
#define THRUM_TEST_REPLICA_MODEL_H

#include "mutants.h"

#include "replica/index_internal.h"
#include "replica/tree_internal.h"

/*
 * A world of replicas, each a real index (in memory) and tree, beside an oracle that keeps, per
 * replica and leaf, whole sets of events: what a version stems from (h), what is known (K), the
 * creations (c). Every verdict of the tree is held against the oracle's. The first difference is
 * noted and ends the history.
 */

enum {
	REPLICAS_MAX = 4,
	LEAVES = 7,
	EVENTS_MAX = 1024,
};

extern const char *const model_leaf_paths[LEAVES];

struct set {
	uint64_t words[EVENTS_MAX / 64];
};

/* What the oracle knows of one leaf at one replica. */
struct fact {
	bool live;
	struct replica_version version; /* never a symlink: nothing to free */
	unsigned event;                 /* the last of h */
	struct set h, known, c;
	struct set outlived; /* deletions this version was kept against */
	unsigned stamp;      /* local events so far: has it changed since? */
};

struct snapshot {
	struct fact facts[LEAVES];
};

/* What the oracle knows of a replica. */
struct oracle {
	struct snapshot now;
	/* Their side, as of the conflict on record with that peer. */
	struct snapshot at_conflict[REPLICAS_MAX];
};

struct rep {
	struct replica_index *index;
	struct replica_tree *tree;
	int64_t share;
	int id; /* which of the ids so far it has */
	struct oracle oracle;
};

struct world {
	int count;
	uint64_t random;
	struct rep reps[REPLICAS_MAX];
	unsigned events;        /* so far */
	int owners[EVENTS_MAX]; /* the ids they bear */
	int ids;                /* so far */
	uint64_t versions;      /* so far */
	struct set deletions[LEAVES];
	unsigned depth;     /* of pulls within pulls */
	bool verbose;       /* tells what happens */
	bool quiet;         /* nothing else happens during a pull */
	unsigned changes;   /* verdicts that changed something, since last cleared */
	unsigned unsettled; /* conflicts met, since last cleared */
	struct {
		bool taken;
		int who;
		void *bytes;
		sqlite3_int64 size;
		struct oracle oracle;
		int id;
	} backup;
	bool bad;
	char why[300];
};

/* Once per process run: opens the indexes. */
void model_open(struct world *world, int count);
void model_close(struct world *world);

/* One random history. Returns false if the tree and the oracle differed (world->why). */
bool model_run(struct world *world, uint64_t seed);

#endif
