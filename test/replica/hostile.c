/* SPDX-License-Identifier: MIT */
#include "hostile.h"

#include <sys/stat.h>

#include "replica/hash.h"

struct world world;

/* "stranger" and eight zeros */
const struct replica_id stranger_id = {"stranger"};

static struct {
	struct thrum__lock lock;
	char text[256];
} failure;

void record_failure(const char *file, int line, const char *text, long long got, long long want)
{
	thrum__lock(&failure.lock);
	if (failure.text[0] == '\0')
		snprintf(failure.text, sizeof(failure.text), "%s:%d: %s: got %lld, want %lld", file,
			line, text, got, want);
	thrum__unlock(&failure.lock);
}

bool short_rest(void)
{
	return thrum_sleep(2 * THRUM_MS) == 0;
}

int slowness(void)
{
	const char *factor = getenv("CK_TIMEOUT_MULTIPLIER");
	int n = factor != NULL ? atoi(factor) : 1;
	return n > 0 ? n : 1;
}

/* ---------------------------------------------------------------- the world */

static void make_place(int i, const char *name)
{
	struct place *place = &world.places[i];
	char dir[sizeof(world.disk.dir)];
	memcpy(dir, world.disk.dir, sizeof(dir));
	*place = (struct place){0};
	snprintf(place->data, sizeof(place->data), "%s/%s.data", dir, name);
	snprintf(place->root, sizeof(place->root), "%s/%s", dir, name);
	ck_assert_int_eq(mkdir(place->root, 0755), 0);
	place->config = (struct replica_daemon_config){
		.data_dir = place->data, .listen = "127.0.0.1:0", .name = name};
}

void world_init(void)
{
	char log[96];
	disk_init(&world.disk);
	make_place(VICTIM, "victim");
	make_place(HONEST, "honest");
	snprintf(log, sizeof(log), "%s/log", world.disk.dir);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	ck_assert_int_ge(fd, 0);
	/* Each test is a process of its own. */
	ck_assert_int_ge(world.stderr_fd = dup(STDERR_FILENO), 0);
	ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
	close(fd);
}

void world_fini(void)
{
	dup2(world.stderr_fd, STDERR_FILENO);
	close(world.stderr_fd);
	disk_fini(&world.disk);
}

static void place_ready(void *arg)
{
	struct place *place = arg;
	__atomic_store_n(&place->ready, 1, __ATOMIC_RELEASE);
}

static void *serve_place(void *arg)
{
	struct place *place = arg;
	EXPECT_EQ(replica_daemon_serve(place->daemon, place_ready, place), 0);
	return NULL;
}

static void open_control(struct place *place)
{
	char address[THRUM_ADDRESS_MAX];
	struct thrum_conn *conn;
	struct rpc_transport *transport;
	snprintf(address, sizeof(address), "unix:%s/socket", place->data);
	CHECK(thrum_conn_open(&conn, address, thrum_after(10 * THRUM_S)) == 0);
	CHECK(rpc_transport_plain(&transport, conn) == 0);
	CHECK(rpc_client_create(&place->control, transport, NULL) == 0);
}

struct job {
	void (*fn)(void *arg);
	void *arg;
};

static void *run_job(void *arg)
{
	const struct job *job = arg;
	struct thrum_thread *threads[DAEMONS];
	for (int i = 0; i < DAEMONS; i++) {
		struct place *place = &world.places[i];
		CHECK(thrum_spawn(&threads[i], serve_place, place) == 0);
		if (WAIT(__atomic_load_n(&place->ready, __ATOMIC_ACQUIRE)))
			open_control(place);
	}
	job->fn(job->arg);
	for (int i = 0; i < DAEMONS; i++) {
		rpc_client_destroy(world.places[i].control);
		replica_daemon_stop(world.places[i].daemon);
		EXPECT_EQ(thrum_join(threads[i], NULL, THRUM_FOREVER), 0);
	}
	return NULL;
}

void world_enter(void (*fn)(void *), void *arg)
{
	char why[512] = "";
	struct thrum_config config = {.workers = 2};
	struct job job = {fn, arg};
	for (int i = 0; i < DAEMONS; i++)
		ck_assert_msg(replica_daemon_create(&world.places[i].daemon,
				      &world.places[i].config, why, sizeof(why)) == 0,
			"%s", why);
	ck_assert_int_eq(thrum_run(&config, run_job, &job, NULL), 0);
	for (int i = 0; i < DAEMONS; i++)
		replica_daemon_destroy(world.places[i].daemon);
	ck_assert_msg(failure.text[0] == '\0', "%s", failure.text);
}

static void pair_and_run(void *arg)
{
	const struct job *job = arg;
	Replicad__V1__JoinRequest join = REPLICAD__V1__JOIN_REQUEST__INIT;
	struct replica_ticket ticket;
	char text[REPLICA_TICKET_MAX];
	const char *root = world.places[HONEST].root;
	take_ticket(&ticket);
	EXPECT_EQ(replica_ticket_format(text, &ticket), 0);
	join.ticket = text;
	join.dir = (ProtobufCBinaryData){strlen(root), (uint8_t *)root};
	EXPECT_EQ(control(HONEST, "Join", &join.base, &replicad__v1__join_reply__descriptor, NULL,
			  NULL),
		0);
	expect_in_sync();
	job->fn(job->arg);
}

static void share_and_run(void *arg)
{
	Replicad__V1__ShareRequest share = REPLICAD__V1__SHARE_REQUEST__INIT;
	struct replica_daemon *daemon = world.places[VICTIM].daemon;
	const char *root = world.places[VICTIM].root;
	share.name = (char *)"s";
	share.dir = (ProtobufCBinaryData){strlen(root), (uint8_t *)root};
	EXPECT_EQ(
		control(VICTIM, "Share", &share.base, &replicad__v1__empty__descriptor, NULL, NULL),
		0);
	replica_lock(daemon);
	struct replica_folder *folder = replica_folder_find(daemon, "s");
	memcpy(world.share, folder->uuid, sizeof(world.share));
	replica_unlock(daemon);
	pair_and_run(arg);
}

void world_run_paired(void (*fn)(void *), void *arg)
{
	struct job job = {fn, arg};
	world_enter(share_and_run, &job);
}

/* ---------------------------------------------------------------- looking */

const char *in_root(int place, const char *name)
{
	static char paths[4][512];
	static unsigned next;
	char *path = paths[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % 4];
	snprintf(path, sizeof(paths[0]), "%s/%s", world.places[place].root, name);
	return path;
}

/* What a command prints, cut to cap. */
static void output_of(const char *command, char *out, size_t cap)
{
	FILE *pipe = popen(command, "r");
	size_t n = pipe != NULL ? fread(out, 1, cap - 1, pipe) : 0;
	out[n] = '\0';
	if (pipe != NULL)
		pclose(pipe);
}

unsigned log_count(const char *text)
{
	char command[512], out[32];
	snprintf(command, sizeof(command), "grep -cF -e '%s' %s/log", text, world.disk.dir);
	output_of(command, out, sizeof(out));
	return (unsigned)atoi(out);
}

bool root_holds(int place, const char *names)
{
	char command[512], out[4096];
	snprintf(command, sizeof(command),
		"cd %s && { find . -mindepth 1 ! -path './.replica' ! -path './.replica/id' "
		"! -path './.replica/tmp' -printf '%%P\\n' | LC_ALL=C sort | paste -sd, | tr -d "
		"'\\n'; }",
		world.places[place].root);
	output_of(command, out, sizeof(out));
	return strcmp(out, names) == 0;
}

int control(int place, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, void *reply, struct rpc_status *status)
{
	char path[64];
	ProtobufCMessage *message;
	snprintf(path, sizeof(path), REPLICA_CONTROL_SERVICE "%s", method);
	int r = rpc_client_unary(world.places[place].control, path, request, type, &message,
		thrum_after(60 * THRUM_S), status);
	if (r == 0 && reply != NULL)
		*(ProtobufCMessage **)reply = message;
	else if (r == 0)
		rpc_message_free(message);
	return r;
}

uint64_t errors_at(int place)
{
	Replicad__V1__Empty empty = REPLICAD__V1__EMPTY__INIT;
	Replicad__V1__StatusReply *reply;
	if (control(place, "Status", &empty.base, &replicad__v1__status_reply__descriptor, &reply,
		    NULL) < 0)
		return UINT64_MAX;
	uint64_t errors = reply->n_shares == 1 ? reply->shares[0]->errors : UINT64_MAX;
	rpc_message_free(&reply->base);
	return errors;
}

/* Writes a file in a green thread; the main stack's helpers assert. */
static void write_text(const char *path, const char *text)
{
	EXPECT_EQ(thrum_fs_replace_file(THRUM_CWD, path, text, strlen(text), 0644), 0);
}

static bool holds(const char *path, const char *text)
{
	char have[64] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, have, sizeof(have) - 1);
	close(fd);
	return n == (ssize_t)strlen(text) && memcmp(have, text, (size_t)n) == 0;
}

void expect_in_sync(void)
{
	static unsigned round;
	char text[32];
	snprintf(text, sizeof(text), "round %u", ++round);
	write_text(in_root(VICTIM, "from-victim"), text);
	write_text(in_root(HONEST, "from-honest"), text);
	WAIT(holds(in_root(HONEST, "from-victim"), text));
	WAIT(holds(in_root(VICTIM, "from-honest"), text));
}

void take_ticket(struct replica_ticket *ticket)
{
	Replicad__V1__NameRequest request = REPLICAD__V1__NAME_REQUEST__INIT;
	Replicad__V1__InviteReply *reply;
	request.name = (char *)"s";
	CHECK(control(VICTIM, "Invite", &request.base, &replicad__v1__invite_reply__descriptor,
		      &reply, NULL) == 0);
	EXPECT_EQ(replica_ticket_parse(ticket, reply->ticket), 0);
	rpc_message_free(&reply->base);
}
