/* SPDX-License-Identifier: MIT */
#include "replica/index_internal.h"

#include <errno.h>

void index_bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
	sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
}

void index_bind_blob(sqlite3_stmt *stmt, int at, const void *bytes, size_t len)
{
	/* A NULL pointer would bind NULL: an empty blob needs any other. */
	sqlite3_bind_blob64(stmt, at, len > 0 ? bytes : "", len, SQLITE_STATIC);
}

int index_bind_vt(sqlite3_stmt *stmt, int at, const struct replica_vt *vt)
{
	uint8_t small[8 * REPLICA_VT_ITEM_SIZE];
	size_t len = replica_vt_encoded_size(vt);
	if (len <= sizeof(small)) {
		replica_vt_encode(vt, small);
		sqlite3_bind_blob64(stmt, at, small, len, SQLITE_TRANSIENT);
		return 0;
	}
	uint8_t *bytes = sqlite3_malloc64(len);
	if (bytes == NULL)
		return -ENOMEM;
	replica_vt_encode(vt, bytes);
	sqlite3_bind_blob64(stmt, at, bytes, len, sqlite3_free);
	return 0;
}

void index_bind_id(sqlite3_stmt *stmt, int at, int64_t id)
{
	if (id == 0)
		sqlite3_bind_null(stmt, at);
	else
		sqlite3_bind_int64(stmt, at, id);
}

int index_column_vt(sqlite3_stmt *stmt, int at, struct replica_vt *out)
{
	const uint8_t *bytes = sqlite3_column_blob(stmt, at);
	return replica_vt_decode(out, bytes, (size_t)sqlite3_column_bytes(stmt, at));
}

int index_column_bytes(sqlite3_stmt *stmt, int at, void *out, size_t len)
{
	const void *bytes = sqlite3_column_blob(stmt, at);
	if ((size_t)sqlite3_column_bytes(stmt, at) != len || bytes == NULL)
		return THRUM_EFORMAT;
	memcpy(out, bytes, len);
	return 0;
}

const char *index_column_text(sqlite3_stmt *stmt, int at)
{
	const char *text = (const char *)sqlite3_column_text(stmt, at);
	return text != NULL ? text : "";
}

void index_bind_version(sqlite3_stmt *stmt, int at, const struct replica_version *version)
{
	sqlite3_bind_int(stmt, at, (int)version->state);
	sqlite3_bind_int64(stmt, at + 1, version->mode);
	sqlite3_bind_int64(stmt, at + 2, version->mtime_ns);
	sqlite3_bind_int64(stmt, at + 3, (int64_t)version->size);
	if (version->state == REPLICA_FILE)
		index_bind_blob(stmt, at + 4, version->hash, REPLICA_HASH_SIZE);
	if (version->target != NULL)
		index_bind_blob(stmt, at + 5, version->target, strlen(version->target));
}

int index_column_version(sqlite3_stmt *stmt, int at, struct replica_version *out)
{
	replica_version_fini(out);
	int64_t state = sqlite3_column_int64(stmt, at), mode = sqlite3_column_int64(stmt, at + 1);
	if (state < 0 || state > REPLICA_IGNORED || mode < 0 || mode > 07777)
		return THRUM_EFORMAT;
	out->state = (enum replica_state)state;
	out->mode = (uint32_t)mode;
	out->mtime_ns = sqlite3_column_int64(stmt, at + 2);
	out->size = (uint64_t)sqlite3_column_int64(stmt, at + 3);
	if (state == REPLICA_FILE) {
		int rc = index_column_bytes(stmt, at + 4, out->hash, REPLICA_HASH_SIZE);
		if (rc < 0)
			return rc;
	}
	if (sqlite3_column_type(stmt, at + 5) != SQLITE_NULL) {
		const void *target = sqlite3_column_blob(stmt, at + 5);
		size_t len = (size_t)sqlite3_column_bytes(stmt, at + 5);
		if (target == NULL || memchr(target, '\0', len) != NULL)
			return THRUM_EFORMAT;
		if ((out->target = strndup(target, len)) == NULL)
			return -ENOMEM;
	}
	return replica_version_check(out);
}

/* ---------------------------------------------------------------- SQL functions on vectors */

static int value_vt(sqlite3_value *value, struct replica_vt *out)
{
	const uint8_t *bytes = sqlite3_value_blob(value);
	return replica_vt_decode(out, bytes, (size_t)sqlite3_value_bytes(value));
}

/* vt_leq(a, b): 1 if everything in a is known in b. */
static void sql_vt_leq(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct replica_vt a = {0}, b = {0};
	if (value_vt(argv[0], &a) == 0 && value_vt(argv[1], &b) == 0)
		sqlite3_result_int(context, replica_vt_leq(&a, &b));
	else
		sqlite3_result_error_code(context, SQLITE_CORRUPT);
	replica_vt_fini(&a);
	replica_vt_fini(&b);
}

/* vt_time(vector, id): id's time, 0 if it is not named. */
static void sql_vt_time(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct replica_vt vt = {0};
	const struct replica_id *id = sqlite3_value_blob(argv[1]);
	if (sqlite3_value_bytes(argv[1]) == REPLICA_ID_SIZE && value_vt(argv[0], &vt) == 0)
		sqlite3_result_int64(context, (int64_t)replica_vt_get(&vt, id));
	else
		sqlite3_result_error_code(context, SQLITE_CORRUPT);
	replica_vt_fini(&vt);
}

int index_add_functions(struct replica_index *index)
{
	const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
	int code = sqlite3_create_function(
		index->db, "vt_leq", 2, flags, NULL, sql_vt_leq, NULL, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_create_function(
			index->db, "vt_time", 2, flags, NULL, sql_vt_time, NULL, NULL);
	return code == SQLITE_OK ? 0 : index_sqlite_error(index, code);
}
