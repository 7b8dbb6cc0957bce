/* SPDX-License-Identifier: MIT */
#ifndef TEST_REPLICA_HOSTILE_H
#define TEST_REPLICA_HOSTILE_H

/*
 * A world of two real daemons in one runtime, "victim" and "honest", that share "s", and tools for
 * a third party that speaks the real protocol as far as a test wants it to.
 *
 * Green threads record the first thing that was wrong; the main stack asserts after the runtime has
 * ended. What the daemons log goes to the file "log" of the test's directory.
 */

#include "disk.h"

#include "replica/control.pb-c.h"
#include "replica/daemon.h"
#include "replica/peer.pb-c.h"
#include "replica/ticket.h"

void record_failure(const char *file, int line, const char *text, long long got, long long want);

#define EXPECT(expr) ((expr) ? (void)0 : record_failure(__FILE__, __LINE__, #expr, 0, 1))
#define EXPECT_EQ(got, want)                                                   \
	do {                                                                   \
		long long got_ = (long long)(got), want_ = (long long)(want);  \
		if (got_ != want_)                                             \
			record_failure(__FILE__, __LINE__, #got, got_, want_); \
	} while (0)

/* Waits until an expression is true: polls it, 20 s at most. Its value at the end. */
#define WAIT(expr)                                                                \
	({                                                                        \
		thrum_deadline until_ = thrum_after(20 * THRUM_S * slowness());   \
		bool true_;                                                       \
		while (!(true_ = (expr)) && thrum_now() < until_ && short_rest()) \
			;                                                         \
		if (!true_)                                                       \
			record_failure(__FILE__, __LINE__, #expr, 0, 1);          \
		true_;                                                            \
	})

/* Between two looks at a state. False: cancelled. */
bool short_rest(void);

/* How much longer than usual things may take under this compiler's instrumentation. */
int slowness(void);

enum { VICTIM, HONEST, DAEMONS };

struct place {
	struct replica_daemon *daemon;
	struct replica_daemon_config config;
	char data[96], root[96];
	unsigned ready; /* atomic */
	struct rpc_client *control;
};

struct world {
	struct disk disk;
	struct place places[DAEMONS];
	uint8_t share[16];
	int stderr_fd; /* the test's own, while the log goes to a file */
};

/* Where the tests' world is; one per test, made by the fixture. */
extern struct world world;
void world_init(void);
void world_fini(void);

/* Runs fn as a green thread beside the two running daemons; asserts that nothing was recorded. */
void world_enter(void (*fn)(void *arg), void *arg);

/* The same, with the two paired first. */
void world_run_paired(void (*fn)(void *arg), void *arg);

/* The path of a file in a place's root (static buffers, a few at a time). */
const char *in_root(int place, const char *name);

/* Times a text stands in the log so far. */
unsigned log_count(const char *text);

/* True if what the daemon has in the share's root is exactly these names, comma separated, sorted.
 */
bool root_holds(int place, const char *names);

/* A call of the Control service. Returns the code; reply may be NULL, status too. */
int control(int place, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *reply, struct rpc_status *status);

/* Errors that the daemon lists for the share, and whether it is in sync with everybody. */
uint64_t errors_at(int place);

/* True if a new file at each of the two daemons reaches the other. */
void expect_in_sync(void);

/* A ticket of the victim's. */
void take_ticket(struct replica_ticket *ticket);

/* ---------------------------------------------------------------- the third party */

enum { AS_CALLER = 1, AS_SERVER = 2, TO_JOIN = 3 };

struct stranger {
	uint8_t secret[32];
	const char *name;
	/* What it answers; NULL: like a peer whose share is empty. */
	int (*list)(struct rpc_call *call, struct stranger *stranger, const char *dir);
	int (*fetch)(struct rpc_call *call, struct stranger *stranger,
		const Replicad__V1__FetchRequest *request);
	int (*watch)(struct rpc_call *call, struct stranger *stranger);
	const void *script;
	uint64_t time; /* atomic: of its own counter, as Watch shows it */

	unsigned lists, fetches, ended; /* atomic */
	struct rpc_server *server;
	struct rpc_client *client;
	struct thrum_thread *serving;
};

extern const struct replica_id stranger_id;

/* Opens one connection to the victim. Returns the code; verdict: NULL or RPC_NOISE_VERDICT_MAX + 1
 * bytes. */
int stranger_dial(const struct stranger *stranger, int role, const uint8_t *token,
	struct rpc_transport **out, char *verdict);

/* Becomes a member of the share by a ticket. */
void stranger_join(struct stranger *stranger);

/* Connects in both roles; afterwards client calls the victim, and the victim calls us. */
void stranger_connect(struct stranger *stranger);

/* Ends both connections. */
void stranger_leave(struct stranger *stranger);

/* An entry for a listing: a new file called name holding text, as of the stranger's time. */
struct listed {
	Replicad__V1__Entry entry;
	uint8_t vector[24], hash[REPLICA_HASH_SIZE];
};
void listed_file(
	struct listed *listed, const struct stranger *stranger, const char *name, const char *text);

/* Sends a listing of the root with these entries as one part. */
int send_entries(struct rpc_call *call, const struct stranger *stranger,
	Replicad__V1__Entry **entries, size_t count);

/* Sends one chunk of content. */
int send_chunk(struct rpc_call *call, const void *data, size_t len, uint32_t raw_len);

#endif
