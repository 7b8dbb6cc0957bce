/* SPDX-License-Identifier: MIT */
#ifndef REPLICA_H
#define REPLICA_H

/* What the programs use of the replica layer: the daemon as one object, and its local API's names.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <thrum/error.h>

#define REPLICA_DEFAULT_LISTEN  "0.0.0.0:7463"
#define REPLICA_CONTROL_SERVICE "/replicad.v1.Control/"

struct replica_daemon;

/* How a daemon is set up. Strings are borrowed for the daemon's life. */
struct replica_daemon_config {
	const char *data_dir;
	const char *listen; /* "HOST:PORT"; port 0: the one used last time, or any free one */
	const char *name;   /* shown to peers' people; NULL: the host's name */
	unsigned rescan_s;  /* seconds between full scans; 0: 600 */
	unsigned stall_s;   /* seconds a peer may send nothing in the middle of a transfer; 0: 60 */
};

/*
 * Opens the data directory, the index, both listeners. why receives one line on failure.
 * Returns 0 or a negative code. Context: OS thread, before the runtime starts.
 */
THRUM_NODISCARD int replica_daemon_create(struct replica_daemon **out,
	const struct replica_daemon_config *config, char *why, size_t why_cap);

/*
 * Serves until replica_daemon_stop or a cancellation; ready is called once clients can connect.
 * The caller must return from the runtime's main function afterwards: the daemon's green threads
 * end by the cancellation this brings. Returns 0 or a negative code.
 * Context: green thread.
 */
THRUM_NODISCARD int replica_daemon_serve(
	struct replica_daemon *daemon, void (*ready)(void *), void *arg);

/* Makes replica_daemon_serve return. Context: green thread. */
void replica_daemon_stop(struct replica_daemon *daemon);

/* Where it listens, "HOST:PORT". Borrowed. */
const char *replica_daemon_address(const struct replica_daemon *daemon);

/* Frees it, after the runtime has ended. NULL is fine. */
void replica_daemon_destroy(struct replica_daemon *daemon);

#endif
