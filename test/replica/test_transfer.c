/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "disk.h"
#include "replica/hash.h"
#include "replica/transfer.h"

/*
 * Both ends in one thread: the puller sends all it has to say before it reads, so the source runs
 * inside send_end. Source and puller have a share each; the source's file is "f" and the puller's
 * basis is "basis".
 */

enum { MB = 1 << 20, QUEUE_MAX = 4096 };

struct queue {
	struct replica_chunk chunks[QUEUE_MAX];
	unsigned count, next;
};

struct link {
	struct queue up, down;
	unsigned calls, calls_with_signature;
	int served; /* result of the source */
	struct replica_transfer_stats source;
	void (*spoil)(struct queue *down, unsigned call); /* what a bad peer does to the answer */
	void (*in_the_middle)(void);                      /* while the source reads */
};

static const uint8_t uuid[16] = {7};
static struct disk disk;
static struct replica_root *source, *puller;
static struct link wire;
static uint8_t *data; /* 20 MB of noise */
static struct replica_transfer_stats stats;
static struct replica_staged staged;
static uint64_t progressed;

static void queue_clear(struct queue *queue)
{
	for (unsigned i = 0; i < queue->count; i++)
		free((void *)queue->chunks[i].data);
	queue->count = queue->next = 0;
}

static int queue_put(struct queue *queue, const struct replica_chunk *chunk)
{
	ck_assert_uint_lt(queue->count, QUEUE_MAX);
	ck_assert_uint_le(chunk->len, REPLICA_CHUNK_MAX);
	uint8_t *copy = malloc(chunk->len ? chunk->len : 1);
	memcpy(copy, chunk->data, chunk->len);
	queue->chunks[queue->count] = *chunk;
	queue->chunks[queue->count++].data = copy;
	return 0;
}

static int queue_get(struct queue *queue, struct replica_chunk *chunk)
{
	if (queue->next == queue->count)
		return THRUM_EEOF;
	*chunk = queue->chunks[queue->next++];
	return 0;
}

static int source_send(void *ctx, const struct replica_chunk *chunk)
{
	(void)ctx;
	if (wire.in_the_middle != NULL)
		wire.in_the_middle();
	wire.in_the_middle = NULL;
	return queue_put(&wire.down, chunk);
}

static int source_recv(void *ctx, struct replica_chunk *chunk)
{
	(void)ctx;
	return queue_get(&wire.up, chunk);
}

static int puller_open(void *ctx, bool with_signature)
{
	(void)ctx;
	queue_clear(&wire.up);
	queue_clear(&wire.down);
	wire.calls++;
	wire.calls_with_signature += with_signature;
	return 0;
}

static int puller_send(void *ctx, const struct replica_chunk *chunk)
{
	(void)ctx;
	return queue_put(&wire.up, chunk);
}

static int puller_send_end(void *ctx)
{
	(void)ctx;
	struct replica_chunk_io io = {.send = source_send, .recv = source_recv};
	struct replica_stat st;
	ck_assert_int_eq(replica_root_stat(source, "f", &st), 0);
	wire.served = replica_serve_file(
		source, "f", &st, wire.calls_with_signature == wire.calls, &io, &wire.source);
	if (wire.spoil != NULL)
		wire.spoil(&wire.down, wire.calls);
	return 0;
}

static int puller_recv(void *ctx, struct replica_chunk *chunk)
{
	(void)ctx;
	int r = queue_get(&wire.down, chunk);
	return r == THRUM_EEOF && wire.served < 0 ? wire.served : r;
}

static void count_progress(void *arg, uint64_t bytes)
{
	(void)arg;
	progressed += bytes;
}

static void set_up(void)
{
	uint64_t seed = 20;
	disk_init(&disk);
	ck_assert_int_eq(mkdir("a", 0755), 0);
	ck_assert_int_eq(mkdir("b", 0755), 0);
	ck_assert_int_eq(replica_root_init("a", uuid, NULL), 0);
	ck_assert_int_eq(replica_root_init("b", uuid, NULL), 0);
	ck_assert_int_eq(replica_root_open(&source, "a", uuid), 0);
	ck_assert_int_eq(replica_root_open(&puller, "b", uuid), 0);
	data = malloc(20 * MB);
	for (size_t i = 0; i < 20 * MB; i += 8) {
		uint64_t word = thrum__splitmix64(&seed);
		memcpy(data + i, &word, 8);
	}
}

static void tear_down(void)
{
	queue_clear(&wire.up);
	queue_clear(&wire.down);
	ck_assert_uint_eq(disk_count("b/.replica/tmp"), 0);
	replica_root_close(source);
	replica_root_close(puller);
	free(data);
	disk_fini(&disk);
}

/* Fetches a/f whose content is want[0..len) and leaves the outcome in staged and stats. */
static int fetch(const void *want, size_t len, const char *basis)
{
	uint8_t hash[REPLICA_HASH_SIZE];
	struct replica_hash *state = replica_hash_create();
	replica_hash_add(state, want, len);
	replica_hash_get(state, hash);
	replica_hash_destroy(state);
	struct replica_fetch request = {
		.basis = basis, .size = len, .hash = hash, .progress = count_progress};
	struct replica_chunk_io io = {.open = puller_open,
		.send = puller_send,
		.send_end = puller_send_end,
		.recv = puller_recv};
	staged.name[0] = '\0';
	return replica_fetch_file(puller, &request, &io, &staged, &stats);
}

/* The staged file holds exactly want; it is discarded. */
static void staged_is(const void *want, size_t len)
{
	uint8_t *got = malloc(len + 1);
	ck_assert_int_ge(staged.fd, 0);
	ck_assert_int_eq(pread(staged.fd, got, len + 1, 0), (ssize_t)len);
	ck_assert(memcmp(got, want, len) == 0);
	free(got);
	replica_staged_discard(puller, &staged);
}

/* ---------------------------------------------------------------- round trips */

static const size_t sizes[] = {0, 1, 127, 8191, 8192, 100000, 256 * 1024, 256 * 1024 + 1, 3 * MB};

START_TEST(a_file_without_a_basis_arrives_whole)
{
	size_t len = sizes[_i];
	disk_write("a/f", data, len);
	ck_assert_int_eq(fetch(data, len, NULL), 0);
	staged_is(data, len);
	ck_assert_uint_eq(stats.literal, len);
	ck_assert_uint_eq(stats.received, len); /* noise does not shrink, and chunks add nothing */
	ck_assert_uint_eq(progressed, len);
	ck_assert_uint_eq(wire.calls, len > 0);
	ck_assert_uint_eq(wire.calls_with_signature, 0);
}
END_TEST

START_TEST(text_travels_compressed)
{
	for (size_t i = 0; i < MB; i++)
		data[i] = (uint8_t) "the same words over and over\n"[i % 29];
	disk_write("a/f", data, MB);
	ck_assert_int_eq(fetch(data, MB, NULL), 0);
	staged_is(data, MB);
	ck_assert_uint_lt(stats.received, MB / 50);
	ck_assert_uint_eq(stats.received, wire.source.sent);
}
END_TEST

START_TEST(small_files_and_bases_go_without_a_signature)
{
	disk_write("a/f", data, REPLICA_DELTA_MIN - 1);
	disk_write("b/basis", data, MB);
	ck_assert_int_eq(fetch(data, REPLICA_DELTA_MIN - 1, "basis"), 0);
	staged_is(data, REPLICA_DELTA_MIN - 1);
	disk_write("a/f", data, MB);
	disk_write("b/basis", data, REPLICA_DELTA_MIN - 1);
	ck_assert_int_eq(fetch(data, MB, "basis"), 0);
	staged_is(data, MB);
	ck_assert_int_eq(fetch(data, MB, "missing"), 0);
	staged_is(data, MB);
	ck_assert_int_eq(fetch(data, MB, "."), 0);
	staged_is(data, MB);
	ck_assert_uint_eq(wire.calls, 4);
	ck_assert_uint_eq(wire.calls_with_signature, 0);
}
END_TEST

static void fetch_over_basis(const void *want, size_t len, uint64_t limit)
{
	disk_write("a/f", want, len);
	ck_assert_int_eq(fetch(want, len, "basis"), 0);
	staged_is(want, len);
	ck_assert_uint_eq(wire.calls_with_signature, wire.calls);
	ck_assert_uint_eq(stats.refetched, 0);
	ck_assert_uint_eq(stats.literal + stats.copied, len);
	ck_assert_msg(stats.sent + stats.received < limit, "%lu bytes up, %lu bytes down",
		(unsigned long)stats.sent, (unsigned long)stats.received);
	ck_assert_uint_eq(stats.received, wire.source.sent);
	ck_assert_uint_eq(stats.sent, wire.source.received);
}

START_TEST(an_identical_basis_costs_only_its_signature)
{
	/* Long enough for a signature of several chunks. */
	uint8_t *twice = malloc(40 * MB);
	memcpy(twice, data, 20 * MB);
	for (size_t i = 0; i < 20 * MB; i++)
		twice[20 * MB + i] = (uint8_t)~data[i];
	disk_write("b/basis", twice, 40 * MB);
	fetch_over_basis(twice, 40 * MB, 120 * 1024);
	ck_assert_uint_eq(stats.literal, 0);
	ck_assert_uint_gt(wire.up.count, 1);
	free(twice);
}
END_TEST

START_TEST(appending_to_20_mb_costs_what_was_appended)
{
	disk_write("b/basis", data, 19 * MB);
	fetch_over_basis(data, 19 * MB + 50000, 50000 + 80 * 1024);
	ck_assert_uint_lt(stats.literal, 60000);
}
END_TEST

START_TEST(scattered_edits_of_20_mb_cost_a_block_each)
{
	uint64_t seed = 3;
	disk_write("b/basis", data, 20 * MB);
	for (int i = 0; i < 20; i++)
		data[thrum__splitmix64(&seed) % (20 * MB)] ^= 0x55;
	fetch_over_basis(data, 20 * MB, 80 * 1024 + 20 * 6000);
}
END_TEST

START_TEST(an_insertion_shifts_nothing_else)
{
	disk_write("b/basis", data + 777, 20 * MB - 777);
	fetch_over_basis(data, 20 * MB, 80 * 1024 + 10000);
}
END_TEST

START_TEST(an_unrelated_basis_is_no_harm)
{
	disk_write("b/basis", data + 10 * MB, 5 * MB);
	fetch_over_basis(data, 5 * MB, 5 * MB + 100 * 1024);
	ck_assert_uint_eq(stats.copied, 0);
}
END_TEST

/* ---------------------------------------------------------------- bad peers, bad disks */

static void flip_a_byte(struct queue *down, unsigned call)
{
	(void)call;
	struct replica_chunk *chunk = &down->chunks[down->count / 2];
	((uint8_t *)chunk->data)[chunk->len / 2] ^= 1;
}

static void flip_a_byte_once(struct queue *down, unsigned call)
{
	if (call == 1)
		flip_a_byte(down, call);
}

static void drop_the_last(struct queue *down, unsigned call)
{
	(void)call;
	free((void *)down->chunks[--down->count].data);
}

static void repeat_the_first(struct queue *down, unsigned call)
{
	(void)call;
	queue_put(down, &down->chunks[0]);
}

static void send_an_empty_chunk(struct queue *down, unsigned call)
{
	(void)call;
	queue_put(down, &(struct replica_chunk){.data = data});
}

static void lie_about_the_length(struct queue *down, unsigned call)
{
	(void)call;
	down->chunks[0].raw_len = (uint32_t)down->chunks[0].len;
}

static void promise_a_giant(struct queue *down, unsigned call)
{
	(void)call;
	down->chunks[0].raw_len = 1u << 31;
}

static void (*const spoilers[])(struct queue *, unsigned) = {flip_a_byte, drop_the_last,
	repeat_the_first, send_an_empty_chunk, lie_about_the_length, promise_a_giant};

START_TEST(a_spoilt_stream_is_refused)
{
	wire.spoil = spoilers[_i];
	disk_write("a/f", data, MB);
	ck_assert_int_eq(fetch(data, MB, NULL), THRUM_EFORMAT);
	ck_assert_str_eq(staged.name, "");
	ck_assert_uint_eq(wire.calls, 1);
	disk_write("b/basis", data + 5000, MB);
	ck_assert_int_eq(fetch(data, MB, "basis"), THRUM_EFORMAT);
	ck_assert_str_eq(staged.name, "");
	ck_assert_uint_eq(wire.calls, 3); /* as a delta, then once whole */
}
END_TEST

START_TEST(a_wrong_delta_falls_back_to_the_whole_file)
{
	wire.spoil = flip_a_byte_once;
	disk_write("a/f", data, MB);
	disk_write("b/basis", data + 5000, MB);
	ck_assert_int_eq(fetch(data, MB, "basis"), 0);
	staged_is(data, MB);
	ck_assert_uint_eq(wire.calls, 2);
	ck_assert_uint_eq(wire.calls_with_signature, 1);
	ck_assert_uint_eq(stats.refetched, 1);
}
END_TEST

static void edit_the_basis(void)
{
	disk_write("b/basis", data + 9 * MB, MB / 2);
}

START_TEST(a_basis_that_changes_underneath_falls_back_to_the_whole_file)
{
	disk_write("a/f", data, MB);
	disk_write("b/basis", data, MB);
	wire.in_the_middle = edit_the_basis;
	ck_assert_int_eq(fetch(data, MB, "basis"), 0);
	staged_is(data, MB);
	ck_assert_uint_eq(stats.refetched, 1);
}
END_TEST

static void edit_the_source(void)
{
	int fd = open("a/f", O_WRONLY);
	ck_assert_int_eq(pwrite(fd, "x", 1, 10), 1);
	close(fd);
}

static void truncate_the_source(void)
{
	ck_assert_int_eq(truncate("a/f", 10), 0);
}

static void extend_the_source(void)
{
	ck_assert_int_eq(truncate("a/f", 5 * MB), 0);
}

static void (*const source_edits[])(void) = {
	edit_the_source, truncate_the_source, extend_the_source};

START_TEST(a_source_that_changes_meanwhile_says_so)
{
	wire.in_the_middle = source_edits[_i];
	disk_write("a/f", data, 3 * MB);
	ck_assert_int_eq(fetch(data, 3 * MB, NULL), THRUM_ECHANGED);
	ck_assert_int_eq(wire.served, THRUM_ECHANGED);
	ck_assert_str_eq(staged.name, "");
}
END_TEST

START_TEST(a_file_that_is_not_the_expected_one_is_not_served)
{
	struct replica_chunk_io io = {.send = source_send, .recv = source_recv};
	struct replica_stat st;
	disk_write("a/f", data, 100);
	ck_assert_int_eq(replica_root_stat(source, "f", &st), 0);
	disk_write("a/f", data, 101);
	ck_assert_int_eq(replica_serve_file(source, "f", &st, false, &io, &stats), THRUM_ECHANGED);
	ck_assert_int_eq(replica_serve_file(source, "g", &st, false, &io, &stats), -ENOENT);
	ck_assert_int_lt(replica_serve_file(source, "../b/f", &st, false, &io, &stats), 0);
	ck_assert_uint_eq(wire.down.count, 0);
}
END_TEST

START_TEST(a_hostile_signature_is_refused)
{
	struct replica_chunk_io io = {.send = source_send, .recv = source_recv};
	/* Magic, blocks of one byte, sums of one byte: a small file cannot have this many blocks.
	 */
	uint8_t *chunk = calloc(1, REPLICA_CHUNK_MAX);
	struct replica_stat st;
	memcpy(chunk, (uint8_t[]){0x72, 0x73, 0x01, 0x47, 0, 0, 0, 1, 0, 0, 0, 1}, 12);
	disk_write("a/f", data, 9000);
	ck_assert_int_eq(replica_root_stat(source, "f", &st), 0);
	for (int i = 0; i < 200; i++)
		queue_put(
			&wire.up, &(struct replica_chunk){.data = chunk, .len = REPLICA_CHUNK_MAX});
	ck_assert_int_eq(replica_serve_file(source, "f", &st, true, &io, &stats), THRUM_EFORMAT);
	ck_assert_uint_lt(wire.up.next, 5); /* it did not read on */
	queue_clear(&wire.up);
	queue_put(&wire.up, &(struct replica_chunk){.data = data, .len = 5000});
	ck_assert_int_eq(replica_serve_file(source, "f", &st, true, &io, &stats), THRUM_EFORMAT);
	queue_clear(&wire.up);
	ck_assert_int_eq(replica_serve_file(source, "f", &st, true, &io, &stats), THRUM_EFORMAT);
	ck_assert_uint_eq(wire.down.count, 0);
	free(chunk);
}
END_TEST

START_TEST(a_file_size_limit_leaves_the_target_and_no_temporary)
{
	/* Above a MiB the file is preallocated first. */
	size_t len = (size_t[]){3 * MB, 800000}[_i];
	struct rlimit limit = {.rlim_cur = MB / 2, .rlim_max = RLIM_INFINITY};
	signal(SIGXFSZ, SIG_IGN);
	disk_write("a/f", data, len);
	disk_puts("b/basis", "as it was");
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(fetch(data, len, NULL), -EFBIG);
	ck_assert_str_eq(disk_gets("b/basis"), "as it was");
}
END_TEST

START_TEST(a_full_disk_leaves_the_target_and_no_temporary)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return; /* not permitted here; the size limit above shows the same path */
	replica_root_close(puller);
	ck_assert_int_eq(mount("tmpfs", "b", "tmpfs", 0, "size=640k"), 0);
	ck_assert_int_eq(replica_root_init("b", uuid, NULL), 0);
	ck_assert_int_eq(replica_root_open(&puller, "b", uuid), 0);
	disk_puts("b/basis", "as it was");
	/* Below a MiB nothing is preallocated: the disk fills in the middle. */
	disk_write("a/f", data, 800000);
	ck_assert_int_eq(fetch(data, 800000, NULL), -ENOSPC);
	ck_assert_uint_eq(wire.calls, 1);
	disk_write("a/f", data, 3 * MB);
	ck_assert_int_eq(fetch(data, 3 * MB, NULL), -ENOSPC);
	ck_assert_uint_eq(wire.calls, 1); /* known before asking */
	disk_write("a/f", data, 300000);
	ck_assert_int_eq(fetch(data, 300000, NULL), 0);
	staged_is(data, 300000);
	ck_assert_str_eq(disk_gets("b/basis"), "as it was");
	ck_assert_uint_eq(disk_count("b/.replica/tmp"), 0);
	replica_root_close(puller);
	puller = NULL;
	ck_assert_int_eq(umount2("b", MNT_DETACH), 0);
}
END_TEST

Suite *suite_transfer(void)
{
	Suite *suite = suite_create("replica/transfer");
	TCase *tc = tcase_create("transfer");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, a_file_without_a_basis_arrives_whole, 0, thrum__countof(sizes));
	tcase_add_test(tc, text_travels_compressed);
	tcase_add_test(tc, small_files_and_bases_go_without_a_signature);
	tcase_add_test(tc, an_identical_basis_costs_only_its_signature);
	tcase_add_test(tc, appending_to_20_mb_costs_what_was_appended);
	tcase_add_test(tc, scattered_edits_of_20_mb_cost_a_block_each);
	tcase_add_test(tc, an_insertion_shifts_nothing_else);
	tcase_add_test(tc, an_unrelated_basis_is_no_harm);
	tcase_add_loop_test(tc, a_spoilt_stream_is_refused, 0, thrum__countof(spoilers));
	tcase_add_test(tc, a_wrong_delta_falls_back_to_the_whole_file);
	tcase_add_test(tc, a_basis_that_changes_underneath_falls_back_to_the_whole_file);
	tcase_add_loop_test(
		tc, a_source_that_changes_meanwhile_says_so, 0, thrum__countof(source_edits));
	tcase_add_test(tc, a_file_that_is_not_the_expected_one_is_not_served);
	tcase_add_test(tc, a_hostile_signature_is_refused);
	tcase_add_loop_test(tc, a_file_size_limit_leaves_the_target_and_no_temporary, 0, 2);
	tcase_add_test(tc, a_full_disk_leaves_the_target_and_no_temporary);
	suite_add_tcase(suite, tc);
	return suite;
}
