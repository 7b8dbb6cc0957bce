/* SPDX-License-Identifier: MIT */
#include "hostile.h"

#include <zstd.h>

#include "replica/hash.h"

/*
 * A member of the share that breaks the rules as a source: what it lists and what it sends.
 * Whatever it does, the victim's tree stays as it was, no staged file stays behind, and the honest
 * peer is served as before.
 */

#define OWN_FILES "from-honest,from-victim" /* what expect_in_sync leaves in the root */

/* ---------------------------------------------------------------- listings */

/* One rule to break, starting from a listing that is right. */
struct broken_listing {
	const char *what;
	const char *name; /* of the entry */
	size_t name_len;  /* 0: strlen(name) */
	/* Or: changes the entry, or makes up the whole answer. */
	void (*spoil)(Replicad__V1__Entry *entry);
	int (*answer)(struct rpc_call *call, struct stranger *stranger);
};

static uint8_t vectors[2000 * REPLICA_VT_ITEM_SIZE];

/* count items, sorted, with times of 1. */
static ProtobufCBinaryData many_items(size_t count)
{
	memset(vectors, 0, sizeof(vectors));
	for (size_t i = 0; i < count; i++) {
		vectors[i * REPLICA_VT_ITEM_SIZE] = (uint8_t)(i >> 8);
		vectors[i * REPLICA_VT_ITEM_SIZE + 1] = (uint8_t)i;
		vectors[i * REPLICA_VT_ITEM_SIZE + 23] = 1;
	}
	return (ProtobufCBinaryData){count * REPLICA_VT_ITEM_SIZE, vectors};
}

static void unsorted_vector(Replicad__V1__Entry *entry)
{
	entry->m = many_items(2);
	vectors[0] = 0xff;
}
static void zero_time(Replicad__V1__Entry *entry)
{
	entry->m = many_items(1);
	vectors[23] = 0;
}
static void too_many_items(Replicad__V1__Entry *entry)
{
	entry->s = many_items(REPLICA_VT_MAX + 1);
}
static void odd_vector(Replicad__V1__Entry *entry)
{
	entry->c = (ProtobufCBinaryData){23, vectors};
}
static void unknown_state(Replicad__V1__Entry *entry)
{
	entry->state = 7;
}
static void huge_state(Replicad__V1__Entry *entry)
{
	entry->state = UINT32_MAX;
}
static void marker_state(Replicad__V1__Entry *entry)
{
	entry->state = REPLICA_DIRMARK;
}
static void huge_size(Replicad__V1__Entry *entry)
{
	entry->size = UINT64_MAX;
}
static void wild_mode(Replicad__V1__Entry *entry)
{
	entry->mode = 0100644;
}
static void short_hash(Replicad__V1__Entry *entry)
{
	entry->hash.len = 31;
}
static void no_hash(Replicad__V1__Entry *entry)
{
	entry->hash.len = 0;
}
static void link_to_nowhere(Replicad__V1__Entry *entry)
{
	entry->state = REPLICA_SYMLINK;
}
static void link_with_nul(Replicad__V1__Entry *entry)
{
	entry->state = REPLICA_SYMLINK;
	entry->target = (ProtobufCBinaryData){3, (uint8_t *)"a\0b"};
}
static void link_too_long(Replicad__V1__Entry *entry)
{
	static char target[REPLICA_PATH_MAX + 1];
	memset(target, 'x', sizeof(target));
	entry->state = REPLICA_SYMLINK;
	entry->target = (ProtobufCBinaryData){sizeof(target), (uint8_t *)target};
}
static void live_without_event(Replicad__V1__Entry *entry)
{
	entry->m.len = 0;
}
static void live_without_creation(Replicad__V1__Entry *entry)
{
	entry->c.len = 0;
}

static int unsorted_names(struct rpc_call *call, struct stranger *stranger)
{
	struct listed a, b;
	listed_file(&a, stranger, "a", "1");
	listed_file(&b, stranger, "b", "2");
	return send_entries(call, stranger, (Replicad__V1__Entry *[]){&b.entry, &a.entry}, 2);
}

static int name_twice(struct rpc_call *call, struct stranger *stranger)
{
	struct listed a;
	listed_file(&a, stranger, "a", "1");
	return send_entries(call, stranger, (Replicad__V1__Entry *[]){&a.entry, &a.entry}, 2);
}

static int nothing(struct rpc_call *call, struct stranger *stranger)
{
	return 0;
}

static int no_head(struct rpc_call *call, struct stranger *stranger)
{
	Replicad__V1__ListPart part = REPLICAD__V1__LIST_PART__INIT;
	return rpc_call_send(call, &part.base, THRUM_FOREVER);
}

static int children_of_nothing(struct rpc_call *call, struct stranger *stranger)
{
	Replicad__V1__ListPart part = REPLICAD__V1__LIST_PART__INIT;
	Replicad__V1__ListHead head = REPLICAD__V1__LIST_HEAD__INIT;
	struct listed a;
	listed_file(&a, stranger, "a", "1");
	part.head = &head;
	part.entries = (Replicad__V1__Entry *[]){&a.entry};
	part.n_entries = 1;
	return rpc_call_send(call, &part.base, THRUM_FOREVER);
}

static int bad_head_vector(struct rpc_call *call, struct stranger *stranger)
{
	Replicad__V1__ListPart part = REPLICAD__V1__LIST_PART__INIT;
	Replicad__V1__ListHead head = REPLICAD__V1__LIST_HEAD__INIT;
	head.exists = true;
	head.m = many_items(REPLICA_VT_MAX + 1);
	part.head = &head;
	return rpc_call_send(call, &part.base, THRUM_FOREVER);
}

static int no_protobuf(struct rpc_call *call, struct stranger *stranger)
{
	return rpc_call_send_bytes(call, "\xff\xff\xff\xff\xff", 5, THRUM_FOREVER);
}

/* Far more memory than bytes: entries of two bytes each. */
static int packed_entries(struct rpc_call *call, struct stranger *stranger)
{
	enum { N = 500 * 1000 };
	uint8_t *bytes = malloc(2 * N);
	for (size_t i = 0; i < N; i++) {
		bytes[2 * i] = 0x12; /* field 2, of length 0 */
		bytes[2 * i + 1] = 0;
	}
	int r = rpc_call_send_bytes(call, bytes, 2 * N, THRUM_FOREVER);
	free(bytes);
	return r;
}

static char name_256[257];

static const struct broken_listing broken_listings[] = {
	{.what = "a name above the tree", .name = "../x"},
	{.what = "an absolute name", .name = "/abs"},
	{.what = "a name with a slash", .name = "a/b"},
	{.what = "an empty name", .name = ""},
	{.what = "the marker as a file", .name = "."},
	{.what = "the parent as a name", .name = ".."},
	{.what = "a name with a NUL", .name = "a\0b", .name_len = 3},
	{.what = "a name of 256 bytes", .name = name_256},
	{.what = "the reserved name", .name = ".replica"},
	{.what = "a vector out of order", .name = "f", .spoil = unsorted_vector},
	{.what = "a zero time", .name = "f", .spoil = zero_time},
	{.what = "a vector too long", .name = "f", .spoil = too_many_items},
	{.what = "a vector cut short", .name = "f", .spoil = odd_vector},
	{.what = "an unknown state", .name = "f", .spoil = unknown_state},
	{.what = "a state out of range", .name = "f", .spoil = huge_state},
	{.what = "a marker under a name", .name = "f", .spoil = marker_state},
	{.what = "a size no file has", .name = "f", .spoil = huge_size},
	{.what = "a mode with a type", .name = "f", .spoil = wild_mode},
	{.what = "a hash cut short", .name = "f", .spoil = short_hash},
	{.what = "a file without a hash", .name = "f", .spoil = no_hash},
	{.what = "a symlink without a target", .name = "f", .spoil = link_to_nowhere},
	{.what = "a target with a NUL", .name = "f", .spoil = link_with_nul},
	{.what = "a target too long", .name = "f", .spoil = link_too_long},
	{.what = "a file without an event", .name = "f", .spoil = live_without_event},
	{.what = "a file without a creation", .name = "f", .spoil = live_without_creation},
	{.what = "names out of order", .answer = unsorted_names},
	{.what = "a name twice", .answer = name_twice},
	{.what = "no listing at all", .answer = nothing},
	{.what = "a listing without a head", .answer = no_head},
	{.what = "children of what does not exist", .answer = children_of_nothing},
	{.what = "a head with a bad vector", .answer = bad_head_vector},
	{.what = "bytes that are no message", .answer = no_protobuf},
	{.what = "a message that unpacks to very much", .answer = packed_entries},
};

static int answer_broken(struct rpc_call *call, struct stranger *stranger, const char *dir)
{
	const struct broken_listing *broken = stranger->script;
	struct listed listed;
	if (broken->answer != NULL)
		return broken->answer(call, stranger);
	listed_file(&listed, stranger, "f", "text");
	size_t len = broken->name_len ? broken->name_len : strlen(broken->name);
	listed.entry.name = (ProtobufCBinaryData){len, (uint8_t *)broken->name};
	if (broken->spoil != NULL)
		broken->spoil(&listed.entry);
	return send_entries(call, stranger, (Replicad__V1__Entry *[]){&listed.entry}, 1);
}

static void break_listings(void *arg)
{
	struct stranger stranger = {
		.name = "st\033[2Jranger", .secret = {9}, .list = answer_broken};
	memset(name_256, 'n', sizeof(name_256) - 1);
	stranger_join(&stranger);
	for (size_t i = 0; i < thrum__countof(broken_listings); i++) {
		stranger.script = &broken_listings[i];
		stranger.time++;
		stranger.lists = 0;
		stranger_connect(&stranger);
		bool closed = WAIT(__atomic_load_n(&stranger.ended, __ATOMIC_ACQUIRE));
		stranger_leave(&stranger);
		if (!closed || stranger.lists == 0) {
			record_failure(
				__FILE__, __LINE__, broken_listings[i].what, stranger.lists, 1);
			return;
		}
		EXPECT_EQ(log_count("closing its connection"), i + 1);
	}
	EXPECT_EQ(log_count("\033"), 0); /* its name cannot paint on a terminal */
	EXPECT(log_count("st?[2Jranger") > 0);
	EXPECT(root_holds(VICTIM, OWN_FILES));
	expect_in_sync();
}

START_TEST(a_malformed_listing_closes_the_connection_and_changes_nothing)
{
	world_run_paired(break_listings, NULL);
}
END_TEST

/* The tests above could pass for the wrong reason: a right listing must be followed. */
static int answer_one_file(struct rpc_call *call, struct stranger *stranger, const char *dir)
{
	struct listed listed;
	listed_file(&listed, stranger, "f", "text");
	return send_entries(call, stranger, (Replicad__V1__Entry *[]){&listed.entry}, 1);
}

static int send_text(
	struct rpc_call *call, struct stranger *stranger, const Replicad__V1__FetchRequest *request)
{
	return send_chunk(call, "text", 4, 0);
}

static void follow_rules(void *arg)
{
	struct stranger stranger = {.name = "stranger",
		.secret = {9},
		.time = 1,
		.list = answer_one_file,
		.fetch = send_text};
	stranger_join(&stranger);
	stranger_connect(&stranger);
	WAIT(disk_exists(in_root(HONEST, "f")));
	EXPECT_EQ(stranger.ended, 0);
	stranger_leave(&stranger);
	expect_in_sync();
	EXPECT(root_holds(VICTIM, "f," OWN_FILES));
}

START_TEST(a_right_listing_is_followed)
{
	world_run_paired(follow_rules, NULL);
}
END_TEST

/* Every directory holds one more, without end. */
static int answer_one_more(struct rpc_call *call, struct stranger *stranger, const char *dir)
{
	struct listed below;
	listed_file(&below, stranger, "d", "");
	below.entry.state = 0;
	below.entry.size = 0;
	below.entry.mode = 0;
	below.entry.mtime_ns = 0;
	below.entry.hash.len = below.entry.c.len = 0;
	below.entry.container = true;
	return send_entries(call, stranger, (Replicad__V1__Entry *[]){&below.entry}, 1);
}

static void lead_down(void *arg)
{
	struct stranger stranger = {
		.name = "stranger", .secret = {9}, .time = 1, .list = answer_one_more};
	stranger_join(&stranger);
	stranger_connect(&stranger);
	WAIT(__atomic_load_n(&stranger.lists, __ATOMIC_ACQUIRE) >= REPLICA_DEPTH_MAX ||
		__atomic_load_n(&stranger.ended, __ATOMIC_ACQUIRE));
	expect_in_sync();
	stranger_leave(&stranger);
	EXPECT(root_holds(VICTIM, OWN_FILES));
	expect_in_sync();
}

START_TEST(a_tree_without_a_bottom_is_not_followed_for_ever)
{
	world_run_paired(lead_down, NULL);
}
END_TEST

/* ---------------------------------------------------------------- Watch */

static int watch_garbage(struct rpc_call *call, struct stranger *stranger)
{
	Replicad__V1__WatchEvent event = REPLICAD__V1__WATCH_EVENT__INIT;
	event.m = many_items(2);
	vectors[0] = 0xff;
	int r = rpc_call_send(call, &event.base, THRUM_FOREVER);
	return r < 0 ? r : thrum_sleep(60 * THRUM_S);
}

/* Knows of events of the victim that there never were: the victim must think it was restored, each
 * time. */
static int watch_prophet(struct rpc_call *call, struct stranger *stranger)
{
	Replicad__V1__WatchEvent event = REPLICAD__V1__WATCH_EVENT__INIT;
	struct replica_daemon *daemon = world.places[VICTIM].daemon;
	struct replica_vt vt = {0};
	uint8_t bytes[24];
	replica_lock(daemon);
	replica_vt_single(&vt, replica_index_id(daemon->index), UINT64_MAX);
	replica_unlock(daemon);
	replica_vt_encode(&vt, bytes);
	event.m = event.s = (ProtobufCBinaryData){sizeof(bytes), bytes};
	int r = rpc_call_send(call, &event.base, THRUM_FOREVER);
	return r < 0 ? r : thrum_sleep(60 * THRUM_S);
}

static void break_watch(void *arg)
{
	struct stranger stranger = {
		.name = "stranger", .secret = {9}, .time = 1, .watch = watch_garbage};
	stranger_join(&stranger);
	stranger_connect(&stranger);
	WAIT(__atomic_load_n(&stranger.ended, __ATOMIC_ACQUIRE));
	stranger_leave(&stranger);
	EXPECT_EQ(log_count("closing its connection"), 1);

	stranger.watch = watch_prophet;
	stranger_connect(&stranger);
	WAIT(__atomic_load_n(&stranger.lists, __ATOMIC_ACQUIRE) > 0);
	stranger_leave(&stranger);
	expect_in_sync();
}

START_TEST(malformed_vectors_close_the_connection_and_absurd_ones_do_no_harm)
{
	world_run_paired(break_watch, NULL);
}
END_TEST

/* ---------------------------------------------------------------- contents */

struct broken_content {
	const char *what;
	int (*send)(struct rpc_call *call);
};

#define TEXT_SIZE 100000 /* of the file that is promised */

static char promised[TEXT_SIZE + 1], other[TEXT_SIZE + 1];

static int send_other(struct rpc_call *call)
{
	return send_chunk(call, other, TEXT_SIZE, 0);
}
static int send_short(struct rpc_call *call)
{
	return send_chunk(call, promised, TEXT_SIZE - 1, 0);
}
static int send_long(struct rpc_call *call)
{
	int r = send_chunk(call, promised, TEXT_SIZE, 0);
	return r < 0 ? r : send_chunk(call, "x", 1, 0);
}
static int send_none(struct rpc_call *call)
{
	return 0;
}
static int send_empty_chunks(struct rpc_call *call)
{
	int r = 0;
	for (int i = 0; i < 1000 && r == 0; i++)
		r = send_chunk(call, "", 0, 0);
	return r;
}
static int send_no_chunk(struct rpc_call *call)
{
	Replicad__V1__FetchDown down = REPLICAD__V1__FETCH_DOWN__INIT;
	return rpc_call_send(call, &down.base, THRUM_FOREVER);
}
static int send_bad_frame(struct rpc_call *call)
{
	return send_chunk(call, "this is no zstd frame", 21, TEXT_SIZE);
}
/* A frame of zeros that unpacks to claimed times what it says. */
static int send_frame(struct rpc_call *call, size_t size, uint32_t claimed)
{
	size_t cap = ZSTD_compressBound(size);
	void *zeros = calloc(1, size), *frame = malloc(cap);
	size_t n = ZSTD_compress(frame, cap, zeros, size, 1);
	int r = ZSTD_isError(n) ? -EIO : send_chunk(call, frame, n, claimed);
	free(zeros);
	free(frame);
	return r;
}
static int send_bomb(struct rpc_call *call)
{
	return send_frame(call, 200 * 1000 * 1000, TEXT_SIZE);
}
static int send_huge_claim(struct rpc_call *call)
{
	return send_frame(call, 1000, UINT32_MAX);
}
static int send_status(struct rpc_call *call)
{
	return GRPC_PERMISSION_DENIED;
}

static const struct broken_content broken_contents[] = {
	{"other bytes", send_other},
	{"a byte too few", send_short},
	{"a byte too many", send_long},
	{"nothing", send_none},
	{"empty chunks", send_empty_chunks},
	{"a message without a chunk", send_no_chunk},
	{"a frame that is none", send_bad_frame},
	{"a frame that unpacks to 200 MB", send_bomb},
	{"a frame that claims 4 GiB", send_huge_claim},
	{"an error", send_status},
};

static int list_two_files(struct rpc_call *call, struct stranger *stranger, const char *dir)
{
	struct listed bad, good;
	listed_file(&bad, stranger, "bad", promised);
	listed_file(&good, stranger, "good", "text");
	return send_entries(call, stranger, (Replicad__V1__Entry *[]){&bad.entry, &good.entry}, 2);
}

static bool wants(const Replicad__V1__FetchRequest *request, const char *path)
{
	return request->path.len == strlen(path) &&
	       memcmp(request->path.data, path, strlen(path)) == 0;
}

static int send_broken(
	struct rpc_call *call, struct stranger *stranger, const Replicad__V1__FetchRequest *request)
{
	const struct broken_content *broken = stranger->script;
	if (wants(request, "good"))
		return send_chunk(call, "text", 4, 0);
	return broken != NULL ? broken->send(call) : send_chunk(call, promised, TEXT_SIZE, 0);
}

static void break_contents(void *arg)
{
	struct stranger stranger = {
		.name = "stranger", .secret = {9}, .list = list_two_files, .fetch = send_broken};
	memset(promised, 'p', TEXT_SIZE);
	memset(other, 'o', TEXT_SIZE);
	stranger_join(&stranger);
	for (size_t i = 0; i <= thrum__countof(broken_contents); i++) {
		bool last = i == thrum__countof(broken_contents);
		stranger.script = last ? NULL : &broken_contents[i];
		stranger.time++;
		stranger_connect(&stranger);
		if (last)
			break;
		bool told = WAIT(errors_at(VICTIM) == 1);
		WAIT(disk_exists(in_root(VICTIM, "good")));
		WAIT(root_holds(VICTIM, OWN_FILES ",good")); /* the staged file is gone too */
		EXPECT_EQ(stranger.ended, 0);
		stranger_leave(&stranger);
		if (!told) {
			record_failure(__FILE__, __LINE__, broken_contents[i].what, 0, 1);
			return;
		}
	}
	/* It mends its ways: the file comes, and the error is gone. */
	WAIT(root_holds(VICTIM, "bad," OWN_FILES ",good"));
	WAIT(errors_at(VICTIM) == 0);
	stranger_leave(&stranger);
	expect_in_sync();
}

START_TEST(content_that_is_not_what_was_promised_is_an_error_of_that_file_alone)
{
	world_run_paired(break_contents, NULL);
}
END_TEST

/* ---------------------------------------------------------------- deltas */

static int list_new_version(struct rpc_call *call, struct stranger *stranger, const char *dir)
{
	struct listed listed;
	listed_file(&listed, stranger, "bad", stranger->time == 1 ? promised : other);
	return send_entries(call, stranger, (Replicad__V1__Entry *[]){&listed.entry}, 1);
}

/* Answers a signature with a delta that copies from beyond the basis; plain requests with other
 * bytes. */
static int send_bad_delta(
	struct rpc_call *call, struct stranger *stranger, const Replicad__V1__FetchRequest *request)
{
	static const uint8_t delta[] = {0x72, 0x73, 0x02, 0x36, 0x54, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	Replicad__V1__FetchUp *up;
	if (stranger->time == 1)
		return send_chunk(call, promised, TEXT_SIZE, 0);
	while (request->basis && rpc_call_recv(call, &replicad__v1__fetch_up__descriptor,
					 (ProtobufCMessage **)&up, THRUM_FOREVER) == 0)
		rpc_message_free(&up->base);
	return request->basis ? send_chunk(call, delta, sizeof(delta), 0)
			      : send_chunk(call, "zzz", 3, 0);
}

static void break_delta(void *arg)
{
	struct stranger stranger = {.name = "stranger",
		.secret = {9},
		.time = 1,
		.list = list_new_version,
		.fetch = send_bad_delta};
	memset(promised, 'p', TEXT_SIZE);
	memset(other, 'o', TEXT_SIZE);
	stranger_join(&stranger);
	stranger_connect(&stranger);
	WAIT(root_holds(VICTIM, "bad," OWN_FILES));
	EXPECT_EQ(errors_at(VICTIM), 0);
	__atomic_store_n(&stranger.time, 2, __ATOMIC_RELEASE);
	WAIT(errors_at(VICTIM) == 1);
	EXPECT_EQ(stranger.fetches, 3); /* the first version, the delta, and the plain bytes */
	WAIT(root_holds(VICTIM, "bad," OWN_FILES));
	stranger_leave(&stranger);
	char first = 0;
	int fd = open(in_root(VICTIM, "bad"), O_RDONLY);
	EXPECT_EQ(read(fd, &first, 1), 1);
	close(fd);
	EXPECT_EQ(first, 'p'); /* the version it had */
	expect_in_sync();
}

START_TEST(a_malformed_delta_leaves_the_file_as_it_was)
{
	world_run_paired(break_delta, NULL);
}
END_TEST

/* ---------------------------------------------------------------- stalling */

static int stall_fetch(
	struct rpc_call *call, struct stranger *stranger, const Replicad__V1__FetchRequest *request)
{
	int r = send_chunk(call, promised, 1, 0);
	return r < 0 ? r : thrum_sleep(600 * THRUM_S);
}

static int stall_list(struct rpc_call *call, struct stranger *stranger, const char *dir)
{
	return thrum_sleep(600 * THRUM_S);
}

static void stall(void *arg)
{
	struct stranger stranger = {.name = "stranger",
		.secret = {9},
		.time = 1,
		.list = list_two_files,
		.fetch = stall_fetch};
	memset(promised, 'p', TEXT_SIZE);
	stranger_join(&stranger);
	stranger_connect(&stranger);
	WAIT(__atomic_load_n(&stranger.fetches, __ATOMIC_ACQUIRE) > 0);
	expect_in_sync();
	WAIT(__atomic_load_n(&stranger.ended, __ATOMIC_ACQUIRE));
	stranger_leave(&stranger);
	EXPECT(log_count("stalled") > 0);

	stranger.list = stall_list;
	stranger.lists = 0;
	stranger_connect(&stranger);
	WAIT(__atomic_load_n(&stranger.lists, __ATOMIC_ACQUIRE) > 0);
	expect_in_sync();
	WAIT(__atomic_load_n(&stranger.ended, __ATOMIC_ACQUIRE));
	stranger_leave(&stranger);
	EXPECT(root_holds(VICTIM, OWN_FILES));
}

START_TEST(a_peer_that_stalls_loses_its_connection_and_holds_nobody_up)
{
	world.places[VICTIM].config.stall_s = 1 + (unsigned)slowness();
	world_run_paired(stall, NULL);
}
END_TEST

Suite *suite_hostile(void)
{
	Suite *suite = suite_create("replica: hostile sources");
	TCase *tcase = tcase_create("source");
	tcase_add_checked_fixture(tcase, world_init, world_fini);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_right_listing_is_followed);
	tcase_add_test(tcase, a_malformed_listing_closes_the_connection_and_changes_nothing);
	tcase_add_test(tcase, a_tree_without_a_bottom_is_not_followed_for_ever);
	tcase_add_test(tcase, malformed_vectors_close_the_connection_and_absurd_ones_do_no_harm);
	tcase_add_test(tcase, content_that_is_not_what_was_promised_is_an_error_of_that_file_alone);
	tcase_add_test(tcase, a_malformed_delta_leaves_the_file_as_it_was);
	tcase_add_test(tcase, a_peer_that_stalls_loses_its_connection_and_holds_nobody_up);
	suite_add_tcase(suite, tcase);
	return suite;
}
