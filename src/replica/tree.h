/* SPDX-License-Identifier: MIT */
#ifndef THRUM_REPLICA_TREE_H
#define THRUM_REPLICA_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/decide.h"
#include "replica/index.h"
#include "replica/path.h"

/*
 * One share's tree of vector time pairs, over the index: local events, listings for those who pull
 * from us, and the decide and commit steps of a pull of ours.
 *
 * A directory is a container (vectors only) that always counts as existing, plus the leaf "." in it
 * for its own existence and mode; the share's root has no ".". Paths given here name leaves or
 * containers: the marker of directory d is the leaf "d/.".
 *
 * Same lock as the index; never suspends. Everything that changes needs replica_index_begin before
 * and replica_index_commit after; a rollback takes the tree back with it. Errors as in index.h, and
 * -EINVAL or -ENAMETOOLONG for a path that cannot be.
 */

struct replica_tree;

/* Opens the tree of a share. -ENOENT. One per share and index. Close before the index. */
int replica_tree_open(struct replica_tree **out, struct replica_index *index, int64_t share);
void replica_tree_close(struct replica_tree *tree);
struct replica_index *replica_tree_index(const struct replica_tree *tree);
int64_t replica_tree_share(const struct replica_tree *tree);

/* ---- local events: what a scan found ---- */

/*
 * Records that the leaf at path is now `version` (NULL or absent: deleted). ident: the file it is
 * (NULL for none). Bumps now, raises m in every ancestor, creates missing containers. Deleting what
 * is not there: 0, no event. Whether something changed is the caller's to know: the same version
 * again is a new event.
 */
int replica_tree_event(struct replica_tree *tree, const char *path,
	const struct replica_version *version, const struct replica_ident *ident);

/* Records the deletion of every live leaf at and below path. Gives how many. */
int replica_tree_event_delete_all(struct replica_tree *tree, const char *path, uint64_t *count);

/* Refreshes what identifies the file of a live leaf; no event. -ENOENT. */
int replica_tree_refresh(
	struct replica_tree *tree, const char *path, const struct replica_ident *ident);

/* Notes a directory's mtime, for listings; no event. Missing containers are created. */
int replica_tree_dir_mtime(struct replica_tree *tree, const char *path, int64_t mtime_ns);

/*
 * Calls fn for each row of the directory, ghosts included, sorted by name bytes (see
 * replica_index_entry_list). A directory nobody knows: 0, no call.
 */
int replica_tree_rows(struct replica_tree *tree, const char *dir,
	int (*fn)(void *arg, const struct replica_entry *entry), void *arg);

/* Reads the row of a leaf, ghosts included. -ENOENT. */
int replica_tree_leaf(struct replica_tree *tree, const char *path, struct replica_entry *out);

/* 1 if a leaf at or below path is live, else 0. */
int replica_tree_live(struct replica_tree *tree, const char *path);

struct replica_counts {
	uint64_t files, symlinks, dirs; /* live; without the root */
	uint64_t bytes;                 /* in files */
	uint64_t ghosts;
	uint64_t conflicts;
};
int replica_tree_count(struct replica_tree *tree, struct replica_counts *out);

/* Drops every ghost and empty container whose knowledge its directory has. Pulls do so where they
 * go. */
int replica_tree_reclaim(struct replica_tree *tree);

/* ---- listings: what we show to one who pulls from us ---- */

/* One leaf (ghosts included) or container of a listed directory. */
struct replica_child {
	enum replica_kind kind;
	char *name;
	struct replica_version version; /* leaf */
	struct replica_vt m, c;         /* c: leaf only */
	struct replica_vt s;            /* what is known beyond the directory's s */
};

struct replica_listing {
	bool exists; /* the container is known; else m and s are its deepest known ancestor's */
	char *only;  /* the one name whose rows were asked for; NULL: all */
	int64_t mtime_ns;               /* of the directory; 0: unknown */
	struct replica_vt m;            /* upper bound of every event below */
	struct replica_vt s;            /* effective */
	struct replica_child *children; /* sorted by name bytes, container before leaf */
	size_t count;
};

/*
 * Lists a directory at one instant. only: NULL, or the one name whose rows are wanted.
 * *out is all-zero before; ended by replica_listing_fini.
 */
int replica_tree_list(
	struct replica_tree *tree, const char *dir, const char *only, struct replica_listing *out);
void replica_listing_fini(struct replica_listing *listing);

/*
 * Checks a listing that came from a peer: names, order, versions. 0 or THRUM_EFORMAT.
 * (Vectors are checked as they are decoded.) root: it is of the share's root.
 */
int replica_listing_check(const struct replica_listing *listing, bool root);

/* The listing of a container that the source does not have in the directory `parent` lists. */
int replica_listing_absent(const struct replica_listing *parent, struct replica_listing *out);

/*
 * Has this replica's database been set back (restored from a backup)? Told what another replica
 * knows: the effective s of any listing, or just {my id: time}. If it knows events of ours that it
 * cannot know by what we remember, a new id is minted, and events since the last start that was
 * followed by a contact are stamped anew. Returns 1 if so, 0 if not, or an error. visit_open calls
 * it. Who *serves* must call it with what the other side knows of us (replica_index_known there; 0
 * counts as well), in a transaction that is committed before the first listing is answered: what is
 * shown afterwards may be known. Limit: a restored replica that first meets one who knows nothing
 * of its lost events gives their numbers out again before it can find out.
 */
int replica_tree_restored(struct replica_tree *tree, const struct replica_vt *known);

/* ---- a pull's visit to one directory ----
 *
 *   list at the source ─► visit_open: pruned?  ─ yes ─► visit_close
 *                            │ no
 *        tasks, in order:  leaf: disk work by verdict's action, then visit_commit
 *                          container: pruned, or visited in turn (visit_child_listing
 *                          tells whether the source must be asked), then visit_child
 *                            │
 *                         visit_close: complete? (the answer for the parent's visit_child)
 *
 * Time may pass between the steps, without the lock and outside transactions: local events go on
 * meanwhile. Only ONE pull per share may be under way: a directory's completion rests on nobody
 * else's knowledge coming in (-EBUSY from visit_open at the root of a second pull).
 */

struct replica_task {
	enum replica_kind kind;
	const char *name;                   /* borrowed from the visit */
	char *path;                         /* name's whole path */
	const struct replica_child *theirs; /* NULL: the source has no row */
	struct replica_entry mine;          /* as decided upon: version and ident; id 0: no row */
	/* leaf */
	enum replica_verdict verdict;
	enum replica_action action;
	/* container */
	bool pruned; /* nothing below is new: no visit needed */
	/*
	 * Start this task (replica_visit_redecide, then its action) only after the earlier task of
	 * the same name has been committed or its child visited: a file becomes a directory or the
	 * other way round.
	 */
	bool waits;
	/* internal */
	bool complete_, committed_, failed_, contested_;
};

struct replica_visit {
	char *path;                 /* of the directory */
	bool pruned;                /* nothing is new: close at once */
	struct replica_task *tasks; /* in the order to work in */
	size_t count;
	int64_t mtime_ns; /* the source's; set it on disk after a complete close, 0: leave it */
	struct replica_visit_state *state_;
};

/*
 * Begins the visit to dir. theirs: the source's listing; takes it (zeroed), on failure too. peer:
 * row id of the source, 0 in tests. policy: for conflicts where no person has chosen yet (a chosen
 * policy of the conflict's row goes first, if their version is still the same). parent: NULL for
 * where the pull starts (the one place for a listing of one name), else the visit of the directory
 * above. Reads only, except that a detected restore mints an id (call inside a transaction).
 * -EBUSY: another pull of this share is under way. THRUM_EFORMAT: the listing is malformed.
 */
int replica_visit_open(struct replica_visit *visit, struct replica_tree *tree, const char *dir,
	struct replica_listing *theirs, int64_t peer, enum replica_policy policy,
	const struct replica_visit *parent);

/*
 * For a container task that is not pruned: 1 and *out filled if the source need not be asked
 * (it has no such container), 0 if it must list it.
 */
int replica_visit_child_listing(
	const struct replica_visit *visit, size_t task, struct replica_listing *out);

/*
 * Decides a leaf task anew from what is there now (verdict, action and mine may change). If the
 * action becomes NONE, CONFLICT or IGNORE, close does the rest. 0 or an error.
 */
int replica_visit_redecide(struct replica_visit *visit, size_t task);

/*
 * Commits a leaf task after its action succeeded on disk. Tasks with REPLICA_DO_NONE, CONFLICT and
 * IGNORE need no call: close does them. Call redecide right before the disk's action, under the
 * same lock. ident: the file now in place (NULL for a deletion). version: NULL, or what really is
 * in place: for REPLICA_DO_MERGE the merged version; for INSTALL where it had to differ from theirs
 * (a mode bit masked, say). THRUM_ECHANGED: the leaf is no longer what was decided on; nothing
 * changed, the task stays incomplete (rescan it, and pull again). -EEXIST: a live file and
 * directory would meet; now a CONFLICT_TYPE.
 */
int replica_visit_commit(struct replica_visit *visit, size_t task,
	const struct replica_ident *ident, const struct replica_version *version);

/* Says how the visit of a container task ended. */
void replica_visit_child(struct replica_visit *visit, size_t task, bool complete);

/*
 * Ends the visit: records conflicts and verdicts, joins s if everything in it is complete, raises
 * m, reclaims ghosts. Returns 1 (complete), 0 (not), or an error. Call replica_visit_fini after. An
 * uncommitted task counts as incomplete, and so does everything if a transaction was rolled back
 * meanwhile.
 */
int replica_visit_close(struct replica_visit *visit);

/* Frees the visit, closed or not (given up: nothing is learned but what was committed). */
void replica_visit_fini(struct replica_visit *visit);

/* ---- resolutions by a person ---- */

/*
 * Resolves the conflicts at and below path. MINE takes effect at once. THEIRS needs the source: it
 * is noted, and the next pull of the path does it (keep both = first copy mine aside on disk and
 * scan the copy, then THEIRS; for CONFLICT_TYPE: first move mine away, scan, and pull: nothing is
 * left to resolve). *count: how many there were. Returns 1 if a pull must follow, 0 if all is
 * settled, -ENOENT (none).
 */
int replica_tree_resolve(
	struct replica_tree *tree, const char *path, enum replica_policy how, uint64_t *count);

#endif
