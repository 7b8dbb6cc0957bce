/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_SOURCE_H
#define REPLICA_SOURCE_H

#include "replica/daemon.h"
#include "replica/transfer.h"

/*
 * A peer as the source of a pull: listings and contents over its Peer service. What it sends is
 * checked here, so that what comes out is well-formed. A peer that breaks the rules (THRUM_EFORMAT)
 * loses its connection.
 */
struct replica_source {
	struct replica_folder *folder;
	struct replica_channel *channel;
};

/* Lists a directory, or only one name in it (NULL: all). *out is all-zero before. */
THRUM_NODISCARD int replica_source_list(const struct replica_source *source, const char *dir,
	const char *only, struct replica_listing *out);

/* Fetches one file's content into a staged file: see replica_fetch_file. */
THRUM_NODISCARD int replica_source_fetch(const struct replica_source *source, const char *path,
	const struct replica_fetch *want, struct replica_staged *staged,
	struct replica_transfer_stats *stats);

/* Lists for a peer: the other end of replica_source_list. */
int replica_serve_list(
	struct rpc_call *call, struct replica_folder *folder, const char *dir, const char *only);

#endif
