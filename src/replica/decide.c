/* SPDX-License-Identifier: MIT */
#include "replica/decide.h"

#include <errno.h>

#include "base/base.h"

/*
 * One leaf, pulled from A ("theirs") into B ("mine"). m is the last event of a version, s what a
 * side knows of this path, c the creations it stems from. Tested in this order:
 *
 *   A       B       test                              verdict
 *   ignored or ignored                                ignored
 *   absent  absent                                    both absent
 *   live    live    m_A <= s_B, but not m_B <= s_A    skip: B has seen it and gone on
 *                   m_A <= s_B and m_B <= s_A, same   skip
 *                   m_B <= s_A, but not m_A <= s_B    copy: A has seen B's and gone on
 *                   equal to a person                 equal
 *                   same content                      the greater (mtime, mode) wins
 *                   else                              update/update conflict
 *   absent  live    no item of c_B in s_A             independent: A never heard of it
 *                   some items of c_B in s_A          re-create mine
 *                   m_B <= s_A                        delete
 *                   else                              delete/update conflict
 *   live    absent  no item of c_A in s_B             create
 *                   some items of c_A in s_B          re-create theirs
 *                   m_A <= s_B                        skip
 *                   else                              update/delete conflict
 *
 * Why "some" is a case of its own: c is a vector (two files created apart and then resolved into
 * one have two creations). A side that knew and deleted one of them, but not the other, must
 * neither drop the survivor nor take it as it is: third replicas would later see a conflict that
 * was settled here. The survivor becomes a new file (new c and m), and everybody agrees. The
 * survivor of a resolved delete/update conflict is re-created for the same reason.
 *
 * Why both sides may know each other's version and yet hold different ones: two people resolved one
 * conflict in opposite ways; or two files of one name, created apart, were each deleted where the
 * other then arrived. To skip would leave the two apart for ever, in silence. For the same reason
 * every resolution is a new event (see visit_commit.c): were it only knowledge, resolving such a
 * conflict would change nothing.
 */

static bool known(const struct replica_vt *events, const struct replica_vt *s)
{
	return events == NULL || replica_vt_leq(events, s);
}

static bool some_known(const struct replica_vt *events, const struct replica_vt *s)
{
	return events != NULL && replica_vt_some_known(events, s);
}

static bool live(const struct replica_side *side)
{
	return side->version != NULL && side->version->state != REPLICA_ABSENT;
}

static bool ignored(const struct replica_side *side)
{
	return side->version != NULL && side->version->state == REPLICA_IGNORED;
}

/* The same event, or equal to a person. */
static bool same(const struct replica_side *a, const struct replica_side *b)
{
	return (a->m != NULL && b->m != NULL && replica_vt_equal(a->m, b->m)) ||
	       replica_version_equal(a->version, b->version);
}

static enum replica_verdict by_policy(enum replica_policy policy, enum replica_verdict none,
	enum replica_verdict mine, enum replica_verdict theirs, enum replica_verdict merge)
{
	switch (policy) {
	case REPLICA_POLICY_MINE:
		return mine;
	case REPLICA_POLICY_THEIRS:
		return theirs;
	case REPLICA_POLICY_MERGE:
		return merge;
	default:
		return none;
	}
}

/* Both changed since they last knew of each other. */
static enum replica_verdict concurrent(const struct replica_version *a,
	const struct replica_version *b, bool dirmark, enum replica_policy policy)
{
	if (replica_version_equal(a, b))
		return REPLICA_VERDICT_EQUAL;
	if (replica_version_same_content(a, b)) {
		bool time_differs = !dirmark && a->mtime_ns != b->mtime_ns;
		bool mine = time_differs ? b->mtime_ns > a->mtime_ns : b->mode > a->mode;
		return mine ? REPLICA_VERDICT_MERGE_MINE : REPLICA_VERDICT_MERGE_THEIRS;
	}
	return by_policy(policy, REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE, REPLICA_VERDICT_KEEP,
		REPLICA_VERDICT_TAKE, REPLICA_VERDICT_MERGED);
}

enum replica_verdict replica_decide(const struct replica_side *theirs,
	const struct replica_side *mine, bool dirmark, enum replica_policy policy)
{
	if (ignored(theirs) || ignored(mine))
		return REPLICA_VERDICT_IGNORED;
	/* A directory survives a concurrent deletion without asking: somebody put something in it.
	 */
	if (dirmark)
		policy = REPLICA_POLICY_MERGE;

	if (!live(theirs) && !live(mine))
		return REPLICA_VERDICT_BOTH_ABSENT;
	if (!live(theirs)) {
		if (!known(mine->c, theirs->s))
			return some_known(mine->c, theirs->s) ? REPLICA_VERDICT_RECREATE_MINE
							      : REPLICA_VERDICT_INDEPENDENT;
		if (known(mine->m, theirs->s))
			return REPLICA_VERDICT_DELETE;
		return by_policy(policy, REPLICA_VERDICT_CONFLICT_DELETE_UPDATE,
			REPLICA_VERDICT_RECREATE_MINE, REPLICA_VERDICT_TAKE_DELETED,
			REPLICA_VERDICT_RECREATE_MINE);
	}
	if (!live(mine)) {
		if (!known(theirs->c, mine->s))
			return some_known(theirs->c, mine->s) ? REPLICA_VERDICT_RECREATE_THEIRS
							      : REPLICA_VERDICT_CREATE;
		if (known(theirs->m, mine->s))
			return REPLICA_VERDICT_SKIP;
		return by_policy(policy, REPLICA_VERDICT_CONFLICT_UPDATE_DELETE,
			REPLICA_VERDICT_KEEP_DELETED, REPLICA_VERDICT_RECREATE_THEIRS,
			REPLICA_VERDICT_RECREATE_THEIRS);
	}
	bool mine_newer = known(theirs->m, mine->s), theirs_newer = known(mine->m, theirs->s);
	if (mine_newer && (!theirs_newer || same(theirs, mine)))
		return REPLICA_VERDICT_SKIP;
	if (theirs_newer && !mine_newer)
		return REPLICA_VERDICT_COPY;
	return concurrent(theirs->version, mine->version, dirmark, policy);
}

struct verdict_facts {
	enum replica_action action;
	bool complete;
	const char *name, *reason;
};

static const struct verdict_facts *facts(enum replica_verdict verdict)
{
	static const struct verdict_facts table[] = {
#define FACTS(name, action, complete, reason) {REPLICA_DO_##action, complete, #name, reason},
		REPLICA_VERDICTS(FACTS)
#undef FACTS
	};
	static const struct verdict_facts unknown = {
		REPLICA_DO_IGNORE, false, "UNKNOWN", "unknown"};
	return (unsigned)verdict < thrum__countof(table) ? &table[verdict] : &unknown;
}

enum replica_action replica_verdict_action(enum replica_verdict verdict)
{
	return facts(verdict)->action;
}

bool replica_verdict_completes(enum replica_verdict verdict)
{
	return facts(verdict)->complete;
}

const char *replica_verdict_reason(enum replica_verdict verdict)
{
	return facts(verdict)->reason;
}

const char *replica_verdict_name(enum replica_verdict verdict)
{
	return facts(verdict)->name;
}

static bool same_target(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool replica_version_same_content(const struct replica_version *a, const struct replica_version *b)
{
	if (a->state != b->state)
		return false;
	if (a->state == REPLICA_FILE)
		return a->size == b->size && memcmp(a->hash, b->hash, REPLICA_HASH_SIZE) == 0;
	if (a->state == REPLICA_SYMLINK)
		return same_target(a->target, b->target);
	return true;
}

bool replica_version_equal(const struct replica_version *a, const struct replica_version *b)
{
	if (!replica_version_same_content(a, b))
		return false;
	switch (a->state) {
	case REPLICA_FILE:
	case REPLICA_SYMLINK:
		return a->mode == b->mode && a->mtime_ns == b->mtime_ns;
	case REPLICA_DIRMARK:
		return a->mode == b->mode;
	default:
		return true;
	}
}

int replica_version_copy(struct replica_version *to, const struct replica_version *from)
{
	if (to == from)
		return 0;
	char *target = NULL;
	if (from->target != NULL && (target = strdup(from->target)) == NULL)
		return -ENOMEM;
	free(to->target);
	*to = *from;
	to->target = target;
	return 0;
}

void replica_version_fini(struct replica_version *version)
{
	free(version->target);
	*version = (struct replica_version){0};
}

int replica_version_check(const struct replica_version *version)
{
	if ((unsigned)version->state > REPLICA_IGNORED || version->mode > 07777)
		return THRUM_EFORMAT;
	if (version->state == REPLICA_SYMLINK) {
		size_t len = version->target != NULL ? strlen(version->target) : 0;
		if (len == 0 || len > 4096)
			return THRUM_EFORMAT;
	} else if (version->target != NULL) {
		return THRUM_EFORMAT;
	}
	if (version->state == REPLICA_FILE && version->size > INT64_MAX)
		return THRUM_EFORMAT;
	return 0;
}
