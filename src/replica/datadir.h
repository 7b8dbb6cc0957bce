/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_DATADIR_H
#define REPLICA_DATADIR_H

#include <stddef.h>
#include <stdint.h>

#include <thrum/error.h>

/*
 * The daemon's own directory, mode 0700, held by one daemon at a time:
 *
 *   key       the static secret key (32 bytes, mode 0600): who this replica is
 *   index.db  what it knows (index.h)
 *   socket    where replica(1) talks to it
 *   lock      held with flock(2) while a daemon runs
 *   listen    the address last bound, so that "port 0" stays the same port
 */
struct replica_datadir {
	char path[4096];
	int lock_fd;
	uint8_t secret_key[32];
	uint8_t public_key[32];
};

/*
 * Creates what is missing, takes the lock and loads the key. why receives one line on failure.
 * Returns 0, -EBUSY (another daemon runs on it), THRUM_EFORMAT (a damaged key), or an errno code.
 * Blocks the OS thread for a moment. The caller closes what it opened.
 */
THRUM_NODISCARD int replica_datadir_open(
	struct replica_datadir *dir, const char *path, char *why, size_t why_cap);

/* Wipes the key and gives the lock up. */
void replica_datadir_close(struct replica_datadir *dir);

/* Joins the directory and a file's name. Returns out, or NULL if it does not fit. */
const char *replica_datadir_file(
	const struct replica_datadir *dir, const char *name, char *out, size_t cap);

/* The remembered listen address into out ("" if none), and remembering it. Failing to remember is
 * not an error. */
void replica_datadir_load_listen(const struct replica_datadir *dir, char *out, size_t cap);
void replica_datadir_save_listen(const struct replica_datadir *dir, const char *address);

#endif
