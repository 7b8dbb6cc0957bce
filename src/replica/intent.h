/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_INTENT_H
#define REPLICA_INTENT_H

#include "replica/daemon.h"

/*
 * Intents: what a batch is about to put in place, noted durably before the first rename and
 * forgotten with its commit.
 *
 * Without them a crash between rename and commit would leave a file that the index does not know.
 * The scan would take it for an edit made here: harmless while the source's version stays the same,
 * a false conflict once it changes. A directory would count as made here, and come back after the
 * source has removed it. After such a crash each intent that the disk bears out is committed as the
 * pull would have done: the same decision, from the same listing, only the disk's part is done
 * already.
 *
 * Deletions need none. A file that a crash left deleted is, to the scan, deleted here: one more
 * deletion beside the source's, which agree whatever happens next. Should the source create the
 * name again, that is a new creation, which no deletion of an older one speaks against.
 *
 * They exist only while a batch holds the daemon's lock, and between a crash (or a commit that
 * failed) and the next opening of the root; so they never meet a later change of the same name.
 */

/* Notes one install. task: of visit, decided to install; their_s: the source's effective s of the
 * directory. [lock] and a transaction held. */
THRUM_NODISCARD int replica_intent_put(struct replica_folder *folder, int64_t peer,
	const struct replica_task *task, const struct replica_vt *their_s);

/* Forgets all of a folder. [lock] and a transaction held. */
THRUM_NODISCARD int replica_intents_clear(struct replica_folder *folder);

/*
 * Carries out what a crash left, before the first scan: commits what is in place and forgets the
 * rest. The root is open. 0 or an error of the index. Suspends (it hashes the files in question).
 */
THRUM_NODISCARD int replica_intents_replay(struct replica_folder *folder);

#endif
