/* SPDX-License-Identifier: MIT */
#include "replica/vtime.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "base/base.h"

static struct replica_id id_of(unsigned n)
{
	struct replica_id id = {{0}};
	id.bytes[0] = (uint8_t)(n * 37); /* neither in order nor out of it */
	id.bytes[14] = (uint8_t)(n >> 8);
	id.bytes[15] = (uint8_t)n;
	return id;
}

static uint64_t seed_from_env(void)
{
	const char *text = getenv("THRUM_SEED");
	return text != NULL ? strtoull(text, NULL, 0) : (uint64_t)thrum__wall_us();
}

/* The same vector as a plain array of times. */
enum { IDS = 24 };
struct naive {
	uint64_t times[IDS];
};

static void random_vector(uint64_t *random, struct replica_vt *vt, struct naive *naive)
{
	*naive = (struct naive){{0}};
	replica_vt_fini(vt);
	for (unsigned n = (unsigned)(thrum__splitmix64(random) % 8); n > 0; n--) {
		unsigned who = (unsigned)(thrum__splitmix64(random) % IDS);
		uint64_t time = thrum__splitmix64(random) % 4;
		struct replica_id id = id_of(who);
		ck_assert_int_eq(replica_vt_raise(vt, &id, time), 0);
		if (naive->times[who] < time)
			naive->times[who] = time;
	}
}

static void assert_same(const struct replica_vt *vt, const struct naive *naive)
{
	unsigned named = 0;
	for (unsigned i = 0; i < IDS; i++) {
		struct replica_id id = id_of(i);
		ck_assert_uint_eq(replica_vt_get(vt, &id), naive->times[i]);
		named += naive->times[i] > 0;
	}
	ck_assert_uint_eq(vt->count, named);
}

START_TEST(vectors_agree_with_plain_arrays_of_times)
{
	uint64_t seed = seed_from_env(), random = seed;
	printf("vtime: THRUM_SEED=%llu\n", (unsigned long long)seed);
	struct replica_vt a = {0}, b = {0}, copy = {0};
	struct naive x, y;
	for (int round = 0; round < 5000; round++) {
		bool leq = true, some = false, equal = true;
		random_vector(&random, &a, &x);
		random_vector(&random, &b, &y);
		for (unsigned i = 0; i < IDS; i++) {
			leq &= x.times[i] <= y.times[i];
			some |= x.times[i] > 0 && x.times[i] <= y.times[i];
			equal &= x.times[i] == y.times[i];
		}
		ck_assert_int_eq(replica_vt_leq(&a, &b), leq);
		ck_assert_int_eq(replica_vt_some_known(&a, &b), some);
		ck_assert_int_eq(replica_vt_equal(&a, &b), equal);
		ck_assert_int_eq(replica_vt_copy(&copy, &a), 0);
		ck_assert(replica_vt_equal(&copy, &a));
		ck_assert_int_eq(replica_vt_join(&a, &b), 0);
		assert_same(&copy, &x);
		for (unsigned i = 0; i < IDS; i++)
			x.times[i] = x.times[i] > y.times[i] ? x.times[i] : y.times[i];
		assert_same(&a, &x);
		assert_same(&b, &y);
	}
	replica_vt_fini(&a);
	replica_vt_fini(&b);
	replica_vt_fini(&copy);
}
END_TEST

START_TEST(a_vector_reads_back_as_it_was_encoded)
{
	uint64_t random = 7;
	struct replica_vt a = {0}, b = {0};
	struct naive x;
	for (int round = 0; round < 500; round++) {
		uint8_t bytes[IDS * REPLICA_VT_ITEM_SIZE];
		random_vector(&random, &a, &x);
		size_t len = replica_vt_encoded_size(&a);
		replica_vt_encode(&a, bytes);
		ck_assert_int_eq(replica_vt_decode(&b, bytes, len), 0);
		ck_assert(replica_vt_equal(&a, &b));
	}
	replica_vt_fini(&a);
	replica_vt_fini(&b);
}
END_TEST

START_TEST(the_encoding_is_id_then_big_endian_time)
{
	struct replica_id id = {{0xaa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
	const uint8_t time[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
	uint8_t bytes[REPLICA_VT_ITEM_SIZE];
	struct replica_vt vt = {0};
	replica_vt_single(&vt, &id, 0x0102030405060708);
	replica_vt_encode(&vt, bytes);
	ck_assert_mem_eq(bytes, id.bytes, REPLICA_ID_SIZE);
	ck_assert_mem_eq(bytes + REPLICA_ID_SIZE, time, sizeof(time));
}
END_TEST

START_TEST(a_malformed_encoding_is_refused_and_changes_nothing)
{
	uint8_t bytes[3 * REPLICA_VT_ITEM_SIZE] = {0};
	struct replica_id one = id_of(1);
	struct replica_vt vt = {0};
	replica_vt_single(&vt, &one, 9);
	for (int i = 0; i < 3; i++) {
		bytes[i * REPLICA_VT_ITEM_SIZE] = (uint8_t)i;
		bytes[i * REPLICA_VT_ITEM_SIZE + REPLICA_VT_ITEM_SIZE - 1] = 1;
	}
	for (size_t len = 1; len < sizeof(bytes); len++)
		if (len % REPLICA_VT_ITEM_SIZE != 0)
			ck_assert_int_eq(replica_vt_decode(&vt, bytes, len), THRUM_EFORMAT);
	bytes[REPLICA_VT_ITEM_SIZE - 1] = 0; /* a zero time */
	ck_assert_int_eq(replica_vt_decode(&vt, bytes, sizeof(bytes)), THRUM_EFORMAT);
	bytes[REPLICA_VT_ITEM_SIZE - 1] = 1;
	bytes[REPLICA_VT_ITEM_SIZE] = 2; /* the same id twice */
	ck_assert_int_eq(replica_vt_decode(&vt, bytes, sizeof(bytes)), THRUM_EFORMAT);
	bytes[REPLICA_VT_ITEM_SIZE] = 3; /* out of order */
	ck_assert_int_eq(replica_vt_decode(&vt, bytes, sizeof(bytes)), THRUM_EFORMAT);
	ck_assert_uint_eq(replica_vt_get(&vt, &one), 9);
	bytes[REPLICA_VT_ITEM_SIZE] = 1;
	ck_assert_int_eq(replica_vt_decode(&vt, bytes, sizeof(bytes)), 0);
	ck_assert_uint_eq(vt.count, 3);
	replica_vt_fini(&vt);
}
END_TEST

START_TEST(more_replicas_than_the_limit_are_refused)
{
	static uint8_t bytes[(REPLICA_VT_MAX + 1) * REPLICA_VT_ITEM_SIZE];
	struct replica_vt vt = {0}, other = {0};
	for (unsigned i = 0; i <= REPLICA_VT_MAX; i++) {
		uint8_t *item = bytes + i * REPLICA_VT_ITEM_SIZE;
		item[0] = (uint8_t)(i >> 8);
		item[1] = (uint8_t)i;
		item[REPLICA_VT_ITEM_SIZE - 1] = 1;
	}
	ck_assert_int_eq(replica_vt_decode(&vt, bytes, sizeof(bytes)), THRUM_EFORMAT);
	ck_assert_int_eq(replica_vt_decode(&vt, bytes, sizeof(bytes) - REPLICA_VT_ITEM_SIZE), 0);
	ck_assert_uint_eq(vt.count, REPLICA_VT_MAX);
	struct replica_id id = {{0xff, 0xff}};
	ck_assert_int_eq(replica_vt_raise(&vt, &id, 1), -E2BIG);
	replica_vt_single(&other, &id, 1);
	ck_assert_int_eq(replica_vt_join(&vt, &other), -E2BIG);
	ck_assert_uint_eq(vt.count, REPLICA_VT_MAX);
	ck_assert_uint_eq(replica_vt_get(&vt, &id), 0);
	replica_vt_fini(&vt);
}
END_TEST

Suite *suite_vtime(void)
{
	Suite *suite = suite_create("replica/vtime");
	TCase *basic = tcase_create("basic");
	tcase_add_test(basic, vectors_agree_with_plain_arrays_of_times);
	tcase_add_test(basic, a_vector_reads_back_as_it_was_encoded);
	tcase_add_test(basic, the_encoding_is_id_then_big_endian_time);
	tcase_add_test(basic, a_malformed_encoding_is_refused_and_changes_nothing);
	tcase_add_test(basic, more_replicas_than_the_limit_are_refused);
	suite_add_tcase(suite, basic);
	return suite;
}
