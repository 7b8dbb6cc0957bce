/* SPDX-License-Identifier: MIT */
#include "replica/index.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/index_internal.h"
#include "replica/path.h"

static struct replica_index *idx;
static int64_t share_id;
static char dir[64], path[96];

static void setup(void)
{
	struct replica_share share = {.name = "photos", .dir = "/home/x/photos", .added_us = 5};
	strcpy(dir, "/tmp/thrum-index-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/index.db", dir);
	ck_assert_int_eq(replica_index_open(&idx, path, NULL), 0);
	ck_assert_int_eq(replica_index_share_add(idx, &share, &share_id), 0);
}

static void teardown(void)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char name[128];
	replica_index_close(idx);
	for (size_t i = 0; i < thrum__countof(suffixes); i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		unlink(name);
	}
	rmdir(dir);
}

static void reopen(void)
{
	replica_index_close(idx);
	ck_assert_int_eq(replica_index_open(&idx, path, NULL), 0);
}

static void sql(const char *text)
{
	ck_assert_int_eq(
		sqlite3_exec(replica_index_sqlite(idx), text, NULL, NULL, NULL), SQLITE_OK);
}

/* ---------------------------------------------------------------- opening */

START_TEST(an_index_keeps_its_identity_and_clock)
{
	struct replica_id id = *replica_index_id(idx);
	ck_assert_int_eq(replica_index_begin(idx), 0);
	ck_assert_uint_eq(replica_index_tick(idx), 1);
	ck_assert_uint_eq(replica_index_tick(idx), 2);
	ck_assert_int_eq(replica_index_commit(idx), 0);
	ck_assert_int_eq(replica_index_begin(idx), 0);
	ck_assert_uint_eq(replica_index_tick(idx), 3);
	replica_index_rollback(idx);
	ck_assert_uint_eq(replica_index_now(idx), 2);
	reopen();
	ck_assert_uint_eq(replica_index_now(idx), 2);
	ck_assert_mem_eq(replica_index_id(idx), &id, sizeof(id));
}
END_TEST

START_TEST(every_commit_is_flushed_to_the_disk)
{
	sqlite3_stmt *stmt;
	static const char *const pragmas[] = {
		"PRAGMA synchronous", "PRAGMA foreign_keys", "PRAGMA user_version"};
	static const int values[] = {2, 1, 1};
	for (size_t i = 0; i < thrum__countof(pragmas); i++) {
		ck_assert_int_eq(
			sqlite3_prepare_v2(replica_index_sqlite(idx), pragmas[i], -1, &stmt, NULL),
			0);
		ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
		ck_assert_int_eq(sqlite3_column_int(stmt, 0), values[i]);
		sqlite3_finalize(stmt);
	}
}
END_TEST

START_TEST(a_newer_format_is_refused_with_a_reason)
{
	char error[REPLICA_ERROR_TEXT_MAX] = "";
	struct replica_index *other;
	sql("PRAGMA user_version = 2");
	ck_assert_int_eq(replica_index_open(&other, path, error), THRUM_EFORMAT);
	ck_assert_ptr_null(other);
	ck_assert_ptr_nonnull(strstr(error, "format 2"));
}
END_TEST

START_TEST(somebody_elses_file_is_refused_with_a_reason)
{
	char error[REPLICA_ERROR_TEXT_MAX] = "";
	struct replica_index *other;
	sql("PRAGMA application_id = 42");
	ck_assert_int_eq(replica_index_open(&other, path, error), THRUM_EFORMAT);
	ck_assert_ptr_nonnull(strstr(error, "not a database of replicad"));
	char name[128];
	snprintf(name, sizeof(name), "%s/text", dir);
	FILE *file = fopen(name, "w");
	for (int i = 0; i < 1000; i++)
		fputs("this is no database\n", file);
	fclose(file);
	ck_assert_int_eq(replica_index_open(&other, name, error), THRUM_EFORMAT);
	unlink(name);
	snprintf(name, sizeof(name), "%s/no/such/dir", dir);
	ck_assert_int_eq(replica_index_open(&other, name, error), -ENOENT);
}
END_TEST

START_TEST(a_damaged_identity_is_refused)
{
	char error[REPLICA_ERROR_TEXT_MAX] = "";
	struct replica_index *other;
	sql("UPDATE meta SET id = x'0102'");
	ck_assert_int_eq(replica_index_open(&other, path, error), THRUM_EFORMAT);
	ck_assert_ptr_nonnull(strstr(error, "identity"));
}
END_TEST

/* ---------------------------------------------------------------- shares, peers, tickets */

static int count_share(void *arg, const struct replica_share *share)
{
	++*(int *)arg;
	ck_assert_str_eq(share->name, "photos");
	ck_assert_str_eq(share->dir, "/home/x/photos");
	ck_assert_int_eq(share->added_us, 5);
	return 0;
}

START_TEST(a_share_is_found_by_its_name_and_goes_with_all_it_has)
{
	int64_t id;
	int count = 0;
	struct replica_share again = {.name = "photos", .dir = "/other"};
	ck_assert_int_eq(replica_index_share_find(idx, "photos", &id), 0);
	ck_assert_int_eq(id, share_id);
	ck_assert_int_eq(replica_index_shares(idx, count_share, &count), 0);
	ck_assert_int_eq(count, 1);
	ck_assert_int_eq(replica_index_share_add(idx, &again, &id), -EEXIST);
	again = (struct replica_share){.name = "other", .dir = "/home/x/photos"};
	ck_assert_int_eq(replica_index_share_add(idx, &again, &id), -EEXIST);
	again.name = "a/b";
	ck_assert_int_eq(replica_index_share_add(idx, &again, &id), -EINVAL);
	ck_assert(!replica_index_in_transaction(idx));
	ck_assert_int_eq(replica_index_share_remove(idx, share_id), 0);
	ck_assert_int_eq(replica_index_share_remove(idx, share_id), -ENOENT);
	ck_assert_int_eq(replica_index_share_find(idx, "photos", &id), -ENOENT);
}
END_TEST

START_TEST(share_names_cannot_be_taken_for_paths_or_options)
{
	static const char *const wrong[] = {"", ".", ".x", "-x", "a/b", "a\nb", "\x7f"};
	for (size_t i = 0; i < thrum__countof(wrong); i++)
		ck_assert(!replica_share_name_valid(wrong[i], strlen(wrong[i])));
	ck_assert(replica_share_name_valid("Üb er", 6));
	char name[REPLICA_SHARE_NAME_MAX + 1];
	memset(name, 'n', sizeof(name));
	ck_assert(replica_share_name_valid(name, REPLICA_SHARE_NAME_MAX));
	ck_assert(!replica_share_name_valid(name, sizeof(name)));
}
END_TEST

static int see_peer(void *arg, const struct replica_peer *peer)
{
	++*(int *)arg;
	ck_assert_str_eq(peer->address, "b:1");
	ck_assert_int_eq(peer->last_sync_us, 77);
	ck_assert_int_eq(peer->added_us, 1);
	return 0;
}

START_TEST(a_peer_is_one_row_per_key)
{
	struct replica_peer peer = {.key = {1, 2, 3}, .address = "a:1", .added_us = 1};
	int64_t id, again;
	int count = 0;
	ck_assert_int_eq(replica_index_peer_put(idx, &peer, &id), 0);
	ck_assert_int_eq(replica_index_peer_synced(idx, id, 77), 0);
	peer.address = "b:1";
	peer.added_us = 9;
	ck_assert_int_eq(replica_index_peer_put(idx, &peer, &again), 0);
	ck_assert_int_eq(id, again);
	ck_assert_int_eq(replica_index_peers(idx, see_peer, &count), 0);
	ck_assert_int_eq(count, 1);
	ck_assert_int_eq(replica_index_is_member(idx, share_id, id), 0);
	ck_assert_int_eq(replica_index_member_add(idx, share_id, id), 0);
	ck_assert_int_eq(replica_index_member_add(idx, share_id, id), 0);
	ck_assert_int_eq(replica_index_is_member(idx, share_id, id), 1);
	ck_assert_int_eq(replica_index_member_add(idx, share_id, 999), -EEXIST);
	ck_assert_int_eq(replica_index_peer_remove(idx, id), 0);
	ck_assert_int_eq(replica_index_is_member(idx, share_id, id), 0);
	ck_assert_int_eq(replica_index_peer_find(idx, peer.key, &id), -ENOENT);
}
END_TEST

START_TEST(a_ticket_is_used_once_by_one_key)
{
	const uint8_t hash[REPLICA_TOKEN_HASH_SIZE] = {1}, other[REPLICA_TOKEN_HASH_SIZE] = {2};
	const uint8_t key[REPLICA_KEY_SIZE] = {3}, thief[REPLICA_KEY_SIZE] = {4};
	int64_t share = -1;
	ck_assert_int_eq(replica_index_ticket_add(idx, hash, share_id, 1000), 0);
	ck_assert_int_eq(replica_index_ticket_use(idx, other, key, 500, &share), -ENOENT);
	ck_assert_int_eq(replica_index_ticket_use(idx, hash, key, 1001, &share), -ETIME);
	ck_assert_int_eq(replica_index_ticket_use(idx, hash, key, 500, &share), 0);
	ck_assert_int_eq(share, share_id);
	ck_assert_int_eq(replica_index_ticket_use(idx, hash, key, 600, &share), 0);
	ck_assert_int_eq(replica_index_ticket_use(idx, hash, thief, 600, &share), -EALREADY);
}
END_TEST

/* ---------------------------------------------------------------- entries */

static struct replica_entry leaf(int64_t parent, const char *name, enum replica_state state)
{
	struct replica_entry entry = {.share = share_id,
		.parent = parent,
		.kind = REPLICA_LEAF,
		.name = strdup(name),
		.version = {.state = state, .mode = 0640, .mtime_ns = -5, .size = 7},
		.ident = {.dev = 1, .ino = UINT64_MAX, .ctime_ns = 9}};
	replica_vt_single(&entry.m, replica_index_id(idx), 3);
	if (state == REPLICA_SYMLINK)
		entry.version.target = strdup("to/\xff");
	if (state == REPLICA_FILE)
		memset(entry.version.hash, 0xab, REPLICA_HASH_SIZE);
	return entry;
}

static int64_t root_id(void)
{
	struct replica_entry root = {0};
	ck_assert_int_eq(replica_index_entry_root(idx, share_id, &root), 0);
	int64_t id = root.id;
	replica_entry_fini(&root);
	return id;
}

START_TEST(a_row_reads_back_as_it_was_written)
{
	static const enum replica_state states[] = {
		REPLICA_FILE, REPLICA_SYMLINK, REPLICA_ABSENT, REPLICA_IGNORED};
	int64_t root = root_id();
	ck_assert_int_eq(replica_index_begin(idx), 0);
	for (size_t i = 0; i < thrum__countof(states); i++) {
		struct replica_entry in =
			leaf(root, (char[]){'\xff', (char)('a' + i), 0}, states[i]);
		struct replica_entry out = {0};
		ck_assert_int_eq(replica_index_entry_put(idx, &in), 0);
		ck_assert_int_gt(in.id, 0);
		ck_assert_int_eq(
			replica_index_entry_get(idx, root, in.name, REPLICA_LEAF, &out), 0);
		ck_assert(replica_version_equal(&in.version, &out.version));
		ck_assert_int_eq(out.version.mtime_ns, -5);
		ck_assert_mem_eq(&out.ident, &in.ident, sizeof(in.ident));
		ck_assert(replica_vt_equal(&out.m, &in.m));
		ck_assert_str_eq(out.name, in.name);
		/* and again, changed */
		out.version.mtime_ns = 6;
		ck_assert_int_eq(replica_index_entry_put(idx, &out), 0);
		ck_assert_int_eq(replica_index_entry_get(idx, root, in.name, REPLICA_LEAF, &in), 0);
		ck_assert_int_eq(in.version.mtime_ns, 6);
		ck_assert_int_eq(in.id, out.id);
		ck_assert_int_eq(replica_index_entry_delete(idx, in.id), 0);
		ck_assert_int_eq(
			replica_index_entry_get(idx, root, out.name, REPLICA_LEAF, &in), -ENOENT);
		replica_entry_fini(&in);
		replica_entry_fini(&out);
	}
}
END_TEST

struct listed {
	char names[8][8];
	int count;
};

static int note_name(void *arg, const struct replica_entry *entry)
{
	struct listed *listed = arg;
	snprintf(listed->names[listed->count++], 8, "%s%s", entry->name,
		entry->kind == REPLICA_CONTAINER ? "/" : "");
	return 0;
}

static int list_again(void *arg, const struct replica_entry *entry)
{
	struct listed inner = {.count = 0};
	ck_assert_int_eq(replica_index_entry_list(idx, entry->parent, note_name, &inner), 0);
	ck_assert_int_eq(inner.count, 5);
	return 0;
}

static int stop_at_once(void *arg, const struct replica_entry *entry)
{
	return 42;
}

START_TEST(a_directory_is_listed_in_the_order_of_name_bytes)
{
	static const char *const names[] = {"b", "\xff", "B", "ab"}, *const sorted[] = {"B", "ab",
									     "b/", "b", "\xff"};
	int64_t root = root_id();
	struct listed listed = {.count = 0};
	ck_assert_int_eq(replica_index_begin(idx), 0);
	for (size_t i = 0; i < thrum__countof(names); i++) {
		struct replica_entry entry = leaf(root, names[i], REPLICA_FILE);
		ck_assert_int_eq(replica_index_entry_put(idx, &entry), 0);
		replica_entry_fini(&entry);
	}
	struct replica_entry container = {
		.share = share_id, .parent = root, .kind = REPLICA_CONTAINER, .name = strdup("b")};
	ck_assert_int_eq(replica_index_entry_put(idx, &container), 0);
	replica_entry_fini(&container);
	ck_assert_int_eq(replica_index_entry_list(idx, root, note_name, &listed), 0);
	ck_assert_int_eq(listed.count, 5);
	for (int i = 0; i < listed.count; i++)
		ck_assert_str_eq(listed.names[i], sorted[i]);
	ck_assert_int_eq(replica_index_entry_list(idx, root, list_again, NULL), 0);
	ck_assert_int_eq(replica_index_entry_list(idx, root, stop_at_once, NULL), 42);
}
END_TEST

/* Every column that could hold nonsense does so in turn. */
static const char *const damages[] = {"m = x'01'", "s = zeroblob(24)", "c = x'00'", "kind = 9",
	"state = 77", "state = -1", "mode = 99999", "hash = x'00'", "hash = NULL",
	"target = x'6100'", "target = x'6162'", "name = x'2e2e'", "name = x'612f62'", "name = x''",
	"name = x'610062'", "size = -5", "name = zeroblob(300)"};

START_TEST(a_damaged_row_is_an_error_with_words_and_no_crash)
{
	char text[128];
	struct replica_entry entry = leaf(root_id(), "x", REPLICA_FILE);
	struct listed listed = {.count = 0};
	ck_assert_int_eq(replica_index_entry_put(idx, &entry), 0);
	replica_entry_fini(&entry);
	snprintf(text, sizeof(text), "UPDATE entries SET %s WHERE parent IS NOT NULL", damages[_i]);
	sql(text);
	ck_assert_int_eq(
		replica_index_entry_list(idx, root_id(), note_name, &listed), THRUM_EFORMAT);
	ck_assert_int_eq(listed.count, 0);
	ck_assert_ptr_nonnull(strstr(replica_index_error(idx), "damaged"));
}
END_TEST

/* ---------------------------------------------------------------- conflicts, verdicts, errors */

static int count_conflict(void *arg, const struct replica_conflict *conflict)
{
	++*(int *)arg;
	ck_assert_int_eq(conflict->verdict, REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE);
	ck_assert_int_eq(conflict->theirs.state, REPLICA_SYMLINK);
	ck_assert_str_eq(conflict->theirs.target, "there");
	ck_assert_int_eq(conflict->mine.size, 12);
	ck_assert_int_eq(conflict->since_us, 99);
	return 0;
}

static int conflicts_within(const char *within)
{
	int count = 0;
	ck_assert_int_eq(replica_index_conflicts(idx, share_id, within, count_conflict, &count), 0);
	return count;
}

START_TEST(conflicts_are_found_at_and_below_a_path)
{
	static const char *const paths[] = {"d/x", "d/.", "d", "d0", "d-/y", "e"};
	struct replica_conflict conflict = {.share = share_id,
		.verdict = REPLICA_VERDICT_CONFLICT_UPDATE_UPDATE,
		.since_us = 99,
		.theirs = {.state = REPLICA_SYMLINK, .target = (char[]){"there"}},
		.mine = {.state = REPLICA_FILE, .size = 12}};
	uint64_t count;
	for (size_t i = 0; i < thrum__countof(paths); i++) {
		conflict.path = paths[i];
		ck_assert_int_eq(replica_index_conflict_put(idx, &conflict), 0);
		ck_assert_int_eq(replica_index_conflict_put(idx, &conflict), 0);
	}
	ck_assert_int_eq(conflicts_within(""), 6);
	ck_assert_int_eq(conflicts_within("d"), 3);
	ck_assert_int_eq(conflicts_within("d/x"), 1);
	ck_assert_int_eq(conflicts_within("nothing"), 0);
	ck_assert_int_eq(replica_index_conflict_remove(idx, share_id, "d", 0), 0);
	ck_assert_int_eq(conflicts_within("d"), 2);
	ck_assert_int_eq(replica_index_conflict_clear(idx, share_id, "d", 0), 0);
	ck_assert_int_eq(replica_index_conflict_count(idx, share_id, &count), 0);
	ck_assert_uint_eq(count, 3);
}
END_TEST

static int take_verdict(void *arg, const struct replica_verdict_row *row)
{
	*(struct replica_verdict_row *)arg = *row;
	return 0;
}

START_TEST(the_latest_verdicts_are_kept_and_the_oldest_go)
{
	struct replica_verdict_row row;
	char name[32];
	ck_assert_int_eq(replica_index_begin(idx), 0);
	for (int i = 0; i < REPLICA_VERDICTS_KEPT + 10; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		ck_assert_int_eq(
			replica_index_verdict_put(idx, share_id, name, REPLICA_VERDICT_COPY, 3, i),
			0);
	}
	ck_assert_int_eq(
		replica_index_verdict_get(idx, share_id, "f9", take_verdict, &row), -ENOENT);
	ck_assert_int_eq(replica_index_verdict_get(idx, share_id, "f10", take_verdict, &row), 0);
	ck_assert_int_eq(row.when_us, 10);
	ck_assert_int_eq(row.verdict, REPLICA_VERDICT_COPY);
	ck_assert_int_eq(row.peer, 3);
	ck_assert_int_eq(
		replica_index_verdict_put(idx, share_id, "f10", REPLICA_VERDICT_DELETE, 3, 50), 0);
	ck_assert_int_eq(replica_index_verdict_get(idx, share_id, "f10", take_verdict, &row), 0);
	ck_assert_int_eq(row.verdict, REPLICA_VERDICT_DELETE);
}
END_TEST

static int note_error(void *arg, const char *at, const char *text)
{
	snprintf(arg, 64, "%s: %s", at, text);
	return 0;
}

START_TEST(an_error_stays_until_it_is_cleared)
{
	char seen[64] = "";
	ck_assert_int_eq(replica_index_error_set(idx, share_id, "a/b", "permission denied"), 0);
	ck_assert_int_eq(replica_index_errors(idx, share_id, note_error, seen), 0);
	ck_assert_str_eq(seen, "a/b: permission denied");
	seen[0] = '\0';
	ck_assert_int_eq(replica_index_error_set(idx, share_id, "a/b", NULL), 0);
	ck_assert_int_eq(replica_index_errors(idx, share_id, note_error, seen), 0);
	ck_assert_str_eq(seen, "");
}
END_TEST

START_TEST(a_full_disk_is_an_error_that_a_rollback_mends)
{
	int64_t root = root_id();
	sql("PRAGMA max_page_count = 60");
	ck_assert_int_eq(replica_index_begin(idx), 0);
	int rc = 0;
	for (int i = 0; i < 5000 && rc == 0; i++) {
		char name[32];
		snprintf(name, sizeof(name), "file%d", i);
		struct replica_entry entry = leaf(root, name, REPLICA_FILE);
		rc = replica_index_entry_put(idx, &entry);
		replica_entry_fini(&entry);
	}
	ck_assert_int_eq(rc, -ENOSPC);
	replica_index_rollback(idx);
	sql("PRAGMA max_page_count = 100000");
	struct listed listed = {.count = 0};
	ck_assert_int_eq(replica_index_entry_list(idx, root, note_name, &listed), 0);
	ck_assert_int_eq(listed.count, 0);
	ck_assert_int_eq(replica_index_begin(idx), 0);
	struct replica_entry entry = leaf(root, "x", REPLICA_FILE);
	ck_assert_int_eq(replica_index_entry_put(idx, &entry), 0);
	replica_entry_fini(&entry);
	ck_assert_int_eq(replica_index_commit(idx), 0);
}
END_TEST

Suite *suite_index(void)
{
	Suite *suite = suite_create("replica/index");
	TCase *basic = tcase_create("basic");
	tcase_add_checked_fixture(basic, setup, teardown);
	tcase_set_timeout(basic, 30);
	tcase_add_test(basic, an_index_keeps_its_identity_and_clock);
	tcase_add_test(basic, every_commit_is_flushed_to_the_disk);
	tcase_add_test(basic, a_newer_format_is_refused_with_a_reason);
	tcase_add_test(basic, somebody_elses_file_is_refused_with_a_reason);
	tcase_add_test(basic, a_damaged_identity_is_refused);
	tcase_add_test(basic, a_share_is_found_by_its_name_and_goes_with_all_it_has);
	tcase_add_test(basic, share_names_cannot_be_taken_for_paths_or_options);
	tcase_add_test(basic, a_peer_is_one_row_per_key);
	tcase_add_test(basic, a_ticket_is_used_once_by_one_key);
	tcase_add_test(basic, a_row_reads_back_as_it_was_written);
	tcase_add_test(basic, a_directory_is_listed_in_the_order_of_name_bytes);
	tcase_add_loop_test(basic, a_damaged_row_is_an_error_with_words_and_no_crash, 0,
		thrum__countof(damages));
	tcase_add_test(basic, conflicts_are_found_at_and_below_a_path);
	tcase_add_test(basic, the_latest_verdicts_are_kept_and_the_oldest_go);
	tcase_add_test(basic, an_error_stays_until_it_is_cleared);
	tcase_add_test(basic, a_full_disk_is_an_error_that_a_rollback_mends);
	suite_add_tcase(suite, basic);
	return suite;
}
