/* SPDX-License-Identifier: MIT */
#include "hostile.h"

/*
 * What others send to a daemon before and after the handshake: strangers without a key or a ticket,
 * and a member of the share whose calls break the rules.
 */

/* ---------------------------------------------------------------- calls of a member */

struct bad_path {
	const char *path;
	size_t len; /* 0: strlen(path) */
};

static char path_4097[REPLICA_PATH_MAX + 2], name_256[REPLICA_NAME_MAX + 2];

static const struct bad_path bad_paths[] = {
	{"../x", 0},
	{"..", 0},
	{"/etc/passwd", 0},
	{"a//b", 0},
	{"a/", 0},
	{"a/./b", 0},
	{"a/../../b", 0},
	{"a\0b", 3},
	{path_4097, 0},
	{name_256, 0},
	{".replica", 0},
	{".replica/id", 0},
};

static ProtobufCBinaryData bytes_of(const struct bad_path *bad)
{
	return (ProtobufCBinaryData){bad->len ? bad->len : strlen(bad->path), (uint8_t *)bad->path};
}

static ProtobufCBinaryData share(void)
{
	return (ProtobufCBinaryData){sizeof(world.share), world.share};
}

/* Opens a call, sends one message and waits for the status. */
static int ask(struct stranger *stranger, const char *method, const ProtobufCMessage *request)
{
	struct rpc_call *call;
	char path[64];
	snprintf(path, sizeof(path), "/replicad.v1.Peer/%s", method);
	int r = rpc_client_open(stranger->client, path, NULL, 0, thrum_after(60 * THRUM_S), &call);
	if (r < 0)
		return r;
	r = rpc_call_send(call, request, THRUM_FOREVER);
	if (r == 0)
		r = rpc_call_finish(call, NULL, THRUM_FOREVER);
	rpc_call_destroy(call);
	return r;
}

static int ask_list(struct stranger *stranger, ProtobufCBinaryData uuid, ProtobufCBinaryData path,
	ProtobufCBinaryData name)
{
	Replicad__V1__ListRequest request = REPLICAD__V1__LIST_REQUEST__INIT;
	request.share = uuid;
	request.path = path;
	request.name = name;
	return ask(stranger, "List", &request.base);
}

static int ask_fetch(struct stranger *stranger, ProtobufCBinaryData path)
{
	Replicad__V1__FetchUp up = REPLICAD__V1__FETCH_UP__INIT;
	Replicad__V1__FetchRequest request = REPLICAD__V1__FETCH_REQUEST__INIT;
	request.share = share();
	request.path = path;
	up.request = &request;
	return ask(stranger, "Fetch", &up.base);
}

static int ask_pull(struct stranger *stranger, ProtobufCBinaryData path)
{
	Replicad__V1__PullRequest request = REPLICAD__V1__PULL_REQUEST__INIT;
	request.share = share();
	request.path = path;
	return ask(stranger, "Pull", &request.base);
}

/* The call must be refused for its argument and the connection closed. */
static void expect_hung_up(struct stranger *stranger, int r)
{
	EXPECT_EQ(r, -EINVAL);
	EXPECT(rpc_client_wait(stranger->client, thrum_after(20 * THRUM_S * slowness())) !=
		-ETIMEDOUT);
	stranger_leave(stranger);
	stranger_connect(stranger);
}

static void call_with_bad_paths(void *arg)
{
	struct stranger stranger = {.name = "stranger", .secret = {9}};
	static const ProtobufCBinaryData none;
	memset(path_4097, 'p', sizeof(path_4097) - 1);
	for (size_t i = 100; i < sizeof(path_4097) - 1; i += 101)
		path_4097[i] = '/';
	memset(name_256, 'n', sizeof(name_256) - 1);
	stranger_join(&stranger);
	stranger_connect(&stranger);
	for (size_t i = 0; i < thrum__countof(bad_paths); i++) {
		ProtobufCBinaryData path = bytes_of(&bad_paths[i]);
		expect_hung_up(&stranger, ask_list(&stranger, share(), path, none));
		expect_hung_up(&stranger, ask_fetch(&stranger, path));
		expect_hung_up(&stranger, ask_pull(&stranger, path));
	}
	/* Names for one entry of a listing: those that are none of a path. */
	expect_hung_up(&stranger,
		ask_list(&stranger, share(), none, bytes_of(&(struct bad_path){"..", 0})));
	expect_hung_up(&stranger,
		ask_list(&stranger, share(), none, bytes_of(&(struct bad_path){"a/b", 0})));
	EXPECT_EQ(log_count("closing its connection"), 3 * thrum__countof(bad_paths) + 2);
	stranger_leave(&stranger);
	expect_in_sync();
}

START_TEST(a_call_with_a_path_that_leaves_the_tree_is_refused_and_the_connection_closed)
{
	world_run_paired(call_with_bad_paths, NULL);
}
END_TEST

/* Another share of the victim's, of which the stranger is no member. */
static void share_another(uint8_t uuid[16])
{
	Replicad__V1__ShareRequest request = REPLICAD__V1__SHARE_REQUEST__INIT;
	struct replica_daemon *daemon = world.places[VICTIM].daemon;
	char dir[96];
	snprintf(dir, sizeof(dir), "%s/another", world.disk.dir);
	EXPECT_EQ(mkdir(dir, 0755), 0);
	request.name = (char *)"another";
	request.dir = (ProtobufCBinaryData){strlen(dir), (uint8_t *)dir};
	EXPECT_EQ(control(VICTIM, "Share", &request.base, &replicad__v1__empty__descriptor, NULL,
			  NULL),
		0);
	replica_lock(daemon);
	memcpy(uuid, replica_folder_find(daemon, "another")->uuid, 16);
	replica_unlock(daemon);
}

/* True if the victim's index has a file of that name; its row. */
static bool known(const char *name, struct replica_entry *entry)
{
	struct replica_daemon *daemon = world.places[VICTIM].daemon;
	replica_lock(daemon);
	int r = replica_tree_leaf(replica_folder_find(daemon, "s")->tree, name, entry);
	replica_unlock(daemon);
	return r == 0 && entry->version.state == REPLICA_FILE;
}

/* Asks for a file that is there. */
static struct rpc_call *open_fetch(struct stranger *stranger, const char *name, bool basis)
{
	Replicad__V1__FetchUp up = REPLICAD__V1__FETCH_UP__INIT;
	Replicad__V1__FetchRequest request = REPLICAD__V1__FETCH_REQUEST__INIT;
	struct replica_entry entry = {0};
	struct rpc_call *call;
	WAIT(known(name, &entry));
	request.share = share();
	request.path = (ProtobufCBinaryData){strlen(name), (uint8_t *)name};
	request.hash = (ProtobufCBinaryData){REPLICA_HASH_SIZE, entry.version.hash};
	request.size = entry.version.size;
	request.basis = basis;
	up.request = &request;
	CHECK(rpc_client_open(stranger->client, "/replicad.v1.Peer/Fetch", NULL, 0,
		      thrum_after(60 * THRUM_S), &call) == 0);
	EXPECT_EQ(rpc_call_send(call, &up.base, THRUM_FOREVER), 0);
	replica_entry_fini(&entry);
	return call;
}

/* Announces a signature for a file that is there, and sends something else. */
static int ask_with_bad_signature(struct stranger *stranger)
{
	Replicad__V1__FetchUp garbage = REPLICAD__V1__FETCH_UP__INIT;
	Replicad__V1__Chunk chunk = REPLICAD__V1__CHUNK__INIT;
	struct rpc_call *call = open_fetch(stranger, "from-victim", true);
	chunk.data = (ProtobufCBinaryData){7, (uint8_t *)"garbage"};
	garbage.chunk = &chunk;
	int r = rpc_call_send(call, &garbage.base, THRUM_FOREVER);
	if (r == 0)
		r = rpc_call_finish(call, NULL, THRUM_FOREVER);
	rpc_call_destroy(call);
	return r;
}

static void call_wrongly(void *arg)
{
	struct stranger stranger = {.name = "stranger", .secret = {9}};
	static const ProtobufCBinaryData none;
	Replicad__V1__FetchUp up = REPLICAD__V1__FETCH_UP__INIT;
	uint8_t unknown[16] = "no such share", another[16];
	stranger_join(&stranger);
	stranger_connect(&stranger);
	share_another(another);
	EXPECT_EQ(ask_list(&stranger, (ProtobufCBinaryData){16, unknown}, none, none), -ENOENT);
	EXPECT_EQ(ask_list(&stranger, (ProtobufCBinaryData){16, another}, none, none), -ENOENT);
	EXPECT_EQ(ask_list(&stranger, (ProtobufCBinaryData){15, another}, none, none), -ENOENT);
	EXPECT_EQ(ask_list(&stranger, none, none, none), -ENOENT);
	EXPECT_EQ(ask_list(&stranger, share(), none, none), 0);
	EXPECT_EQ(
		ask_fetch(&stranger, (ProtobufCBinaryData){4, (uint8_t *)"none"}), THRUM_ECHANGED);
	EXPECT_EQ(ask_with_bad_signature(&stranger), -EIO);
	EXPECT_EQ(ask(&stranger, "NoSuchMethod", &up.base), -ENOSYS);
	EXPECT(rpc_client_alive(stranger.client));
	expect_hung_up(&stranger, ask(&stranger, "Fetch", &up.base)); /* content for no request */
	stranger_leave(&stranger);
	expect_in_sync();
}

START_TEST(wrong_calls_get_an_error_and_nothing_of_other_shares)
{
	world_run_paired(call_wrongly, NULL);
}
END_TEST

/* Asks for more than fits into any buffer, and reads nothing of it. */
static void fetch_and_stall(void *arg)
{
	static const uint64_t size = 16 * 1000 * 1000;
	Replicad__V1__NameRequest request = REPLICAD__V1__NAME_REQUEST__INIT;
	struct stranger stranger = {.name = "stranger", .secret = {9}};
	uint64_t *random = malloc(size), seed = 1;
	for (size_t i = 0; i < size / sizeof(*random); i++)
		random[i] = thrum__splitmix64(&seed);
	EXPECT_EQ(thrum_fs_replace_file(THRUM_CWD, in_root(VICTIM, "big"), random, size, 0644), 0);
	free(random);
	stranger_join(&stranger);
	stranger_connect(&stranger);
	struct rpc_call *call = open_fetch(&stranger, "big", false);
	Replicad__V1__FetchDown *down;
	EXPECT_EQ(rpc_call_recv(call, &replicad__v1__fetch_down__descriptor,
			  (ProtobufCMessage **)&down, THRUM_FOREVER),
		0);
	rpc_message_free(&down->base);
	int64_t began = thrum_now();
	request.name = (char *)"s";
	EXPECT_EQ(control(VICTIM, "Unshare", &request.base, &replicad__v1__empty__descriptor, NULL,
			  NULL),
		0);
	EXPECT(thrum_now() - began < 10 * THRUM_S * slowness());
	rpc_call_destroy(call);
	stranger_leave(&stranger);
}

START_TEST(a_caller_that_does_not_read_does_not_keep_a_share_from_ending)
{
	world_run_paired(fetch_and_stall, NULL);
}
END_TEST

static void call_much(void *arg)
{
	enum { CALLS = 1000 };
	static struct rpc_call *calls[CALLS];
	struct stranger stranger = {.name = "stranger", .secret = {9}};
	Replicad__V1__ListRequest request = REPLICAD__V1__LIST_REQUEST__INIT;
	unsigned good = 0;
	stranger_join(&stranger);
	stranger_connect(&stranger);
	request.share = share();
	for (int i = 0; i < CALLS; i++) {
		CHECK(rpc_client_open(stranger.client, "/replicad.v1.Peer/List", NULL, 0,
			      thrum_after(60 * THRUM_S), &calls[i]) == 0);
		EXPECT_EQ(rpc_call_send(calls[i], &request.base, THRUM_FOREVER), 0);
	}
	for (int i = 0; i < CALLS; i++) {
		good += rpc_call_finish(calls[i], NULL, THRUM_FOREVER) == 0;
		rpc_call_destroy(calls[i]);
	}
	EXPECT_EQ(good, CALLS);
	stranger_leave(&stranger);
	expect_in_sync();
}

START_TEST(a_thousand_calls_at_once_are_answered)
{
	world_run_paired(call_much, NULL);
}
END_TEST

static void connect_much(void *arg)
{
	enum { TRIES = 100 };
	struct stranger stranger = {.name = "stranger", .secret = {9}};
	struct rpc_client *clients[TRIES] = {0};
	unsigned alive = 0;
	stranger_join(&stranger);
	for (int i = 0; i < TRIES; i++) {
		struct rpc_transport *transport;
		if (stranger_dial(&stranger, AS_CALLER, NULL, &transport, NULL) == 0)
			CHECK(rpc_client_create(&clients[i], transport, NULL) == 0);
	}
	static const ProtobufCBinaryData none;
	for (int i = 0; i < TRIES; i++) {
		stranger.client = clients[i];
		alive += clients[i] != NULL && ask_list(&stranger, share(), none, none) == 0;
	}
	EXPECT(alive > 0);
	EXPECT(alive < TRIES / 2);
	for (int i = 0; i < TRIES; i++)
		rpc_client_destroy(clients[i]);
	expect_in_sync();
}

START_TEST(a_member_has_a_bounded_number_of_connections)
{
	world_run_paired(connect_much, NULL);
}
END_TEST

/* ---------------------------------------------------------------- handshakes */

static struct thrum_conn *connect_raw(void)
{
	struct thrum_conn *conn = NULL;
	CHECK(thrum_conn_open(&conn, replica_daemon_address(world.places[VICTIM].daemon),
		      thrum_after(10 * THRUM_S)) == 0);
	return conn;
}

/* Sends bytes and reads until the daemon closes. Gives how many bytes came. */
static size_t provoke(const void *bytes, size_t len)
{
	struct thrum_conn *conn = connect_raw();
	char buf[1024];
	size_t total = 0, done;
	ssize_t n = 1;
	EXPECT_EQ(thrum_conn_write(conn, bytes, len, &done, THRUM_FOREVER), 0);
	while (n > 0) {
		n = thrum_conn_read(conn, buf, sizeof(buf), thrum_after(60 * THRUM_S));
		total += n > 0 ? (size_t)n : 0;
	}
	EXPECT(n == 0 || n == -ECONNRESET);
	thrum_conn_close(conn);
	return total;
}

static void send_garbage(void *arg)
{
	static uint8_t bytes[4096];
	uint64_t seed;
	const char *given = getenv("THRUM_SEED");
	if (given != NULL)
		seed = strtoull(given, NULL, 0);
	else
		thrum__random_bytes(&seed, sizeof(seed));
	printf("THRUM_SEED=%llu\n", (unsigned long long)seed);
	for (int i = 0; i < 20; i++) {
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)thrum__splitmix64(&seed);
		provoke(bytes, 1 + thrum__splitmix64(&seed) % sizeof(bytes) / 2 * 2);
		/* The first message may be anything of 32 bytes; the rest has to be meant for us.
		 */
		memcpy(bytes, "\0\x20", 2);
		memcpy(bytes + 34, "\0\x50", 2);
		EXPECT_EQ(provoke(bytes, 2 + 32 + 2 + 80), 98);
	}
	EXPECT_EQ(provoke("GET / HTTP/1.1\r\n\r\n", 18), 0);
	EXPECT_EQ(provoke("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24), 0);
	expect_in_sync();
}

START_TEST(bytes_that_are_no_handshake_are_hung_up_on)
{
	world_run_paired(send_garbage, NULL);
}
END_TEST

static void come_without_invitation(void *arg)
{
	struct stranger stranger = {.name = "stranger", .secret = {9}};
	struct replica_ticket ticket;
	struct rpc_transport *transport;
	char verdict[RPC_NOISE_VERDICT_MAX + 1];
	uint8_t token[REPLICA_TOKEN_SIZE] = "not a token";
	EXPECT_EQ(stranger_dial(&stranger, AS_CALLER, NULL, &transport, verdict), THRUM_EAUTH);
	EXPECT_EQ(stranger_dial(&stranger, AS_SERVER, NULL, &transport, verdict), THRUM_EAUTH);
	EXPECT_EQ(stranger_dial(&stranger, TO_JOIN, token, &transport, verdict), THRUM_EAUTH);
	EXPECT_EQ(verdict[0], '\0'); /* it learns nothing */
	/* A payload that is none: a role without its token, a token without its role, no such role.
	 */
	EXPECT_EQ(stranger_dial(&stranger, TO_JOIN, NULL, &transport, verdict), THRUM_EAUTH);
	EXPECT_EQ(stranger_dial(&stranger, AS_CALLER, token, &transport, verdict), THRUM_EAUTH);
	EXPECT_EQ(stranger_dial(&stranger, 99, NULL, &transport, verdict), THRUM_EAUTH);

	/* A ticket works once; for the same key again, as its first answer may have been lost. */
	take_ticket(&ticket);
	EXPECT_EQ(stranger_dial(&stranger, TO_JOIN, ticket.token, &transport, verdict), 0);
	rpc_transport_destroy(transport);
	EXPECT_EQ(stranger_dial(&stranger, TO_JOIN, ticket.token, &transport, verdict), 0);
	rpc_transport_destroy(transport);
	struct stranger second = {.name = "second", .secret = {64}};
	EXPECT_EQ(stranger_dial(&second, TO_JOIN, ticket.token, &transport, verdict), -EACCES);
	EXPECT(strstr(verdict, "used already") != NULL);
	EXPECT_EQ(stranger_dial(&second, AS_CALLER, NULL, &transport, verdict), THRUM_EAUTH);
	expect_in_sync();
}

START_TEST(who_is_not_on_the_list_gets_in_by_a_fresh_ticket_only)
{
	world_run_paired(come_without_invitation, NULL);
}
END_TEST

static void expire(void *arg)
{
	struct stranger stranger = {.name = "stranger", .secret = {9}};
	struct replica_ticket ticket;
	struct rpc_transport *transport;
	char verdict[RPC_NOISE_VERDICT_MAX + 1];
	EXPECT_EQ(setenv("REPLICAD_TICKET_SECONDS", "1", 1), 0);
	take_ticket(&ticket);
	WAIT(thrum__wall_us() / 1000000 > ticket.expires_s);
	EXPECT_EQ(stranger_dial(&stranger, TO_JOIN, ticket.token, &transport, verdict), -EACCES);
	EXPECT(strstr(verdict, "expired") != NULL);
}

START_TEST(an_expired_ticket_is_refused_with_the_reason)
{
	world_run_paired(expire, NULL);
}
END_TEST

/* More connections that say nothing than handshakes may be under way. */
static void dawdle(void *arg)
{
	enum { SLOW = 200 };
	static struct thrum_conn *slow[SLOW];
	struct stranger stranger = {.name = "stranger", .secret = {9}};
	size_t done;
	for (int i = 0; i < SLOW; i++) {
		slow[i] = connect_raw();
		EXPECT_EQ(thrum_conn_write(slow[i], "\0\x20xyz", i % 5, &done, THRUM_FOREVER), 0);
	}
	int64_t began = thrum_now();
	stranger_join(&stranger);
	stranger_connect(&stranger);
	EXPECT(thrum_now() - began < 10 * THRUM_S * slowness()); /* the handshake's deadline */
	stranger_leave(&stranger);
	for (int i = 0; i < SLOW; i++)
		thrum_conn_close(slow[i]);
	expect_in_sync();
}

START_TEST(connections_that_say_nothing_lock_nobody_out)
{
	world_run_paired(dawdle, NULL);
}
END_TEST

Suite *suite_stranger(void)
{
	Suite *suite = suite_create("replica: strangers and callers");
	TCase *tcase = tcase_create("stranger");
	tcase_add_checked_fixture(tcase, world_init, world_fini);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase,
		a_call_with_a_path_that_leaves_the_tree_is_refused_and_the_connection_closed);
	tcase_add_test(tcase, wrong_calls_get_an_error_and_nothing_of_other_shares);
	tcase_add_test(tcase, a_caller_that_does_not_read_does_not_keep_a_share_from_ending);
	tcase_add_test(tcase, a_thousand_calls_at_once_are_answered);
	tcase_add_test(tcase, a_member_has_a_bounded_number_of_connections);
	tcase_add_test(tcase, bytes_that_are_no_handshake_are_hung_up_on);
	tcase_add_test(tcase, who_is_not_on_the_list_gets_in_by_a_fresh_ticket_only);
	tcase_add_test(tcase, an_expired_ticket_is_refused_with_the_reason);
	tcase_add_test(tcase, connections_that_say_nothing_lock_nobody_out);
	suite_add_tcase(suite, tcase);
	return suite;
}
