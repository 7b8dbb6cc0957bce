/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "delta/delta.h"

#include "../failing.h"

/* Each allocation fails in turn: every job ends with -ENOMEM or does its work, and leaks nothing.
 */

enum { BASIS = 300 * 1000 };

static uint8_t basis[BASIS], changed[BASIS];

static ssize_t read_basis(void *arg, void *to, size_t len, uint64_t offset)
{
	if (offset >= BASIS)
		return 0;
	len = len < BASIS - offset ? len : BASIS - (size_t)offset;
	memcpy(to, basis + offset, len);
	return (ssize_t)len;
}

static int sign(struct thrum__buf *signature)
{
	struct delta_sign_options options = {.size = -1, .block_len = 128};
	struct delta_job *job;
	int r = delta_sign_create(&job, &options);
	if (r < 0)
		return r;
	r = delta_run(job, basis, BASIS, signature);
	delta_job_destroy(job);
	return r;
}

static int load(struct thrum__buf *signature, struct delta_index **index)
{
	struct delta_job *job;
	int r = delta_load_create(&job, 0);
	if (r < 0)
		return r;
	r = delta_run(job, thrum__buf_head(signature), thrum__buf_len(signature), NULL);
	if (r == 0)
		*index = delta_load_take(job);
	delta_job_destroy(job);
	return r;
}

static int diff(const struct delta_index *index, struct thrum__buf *delta)
{
	struct delta_job *job;
	int r = delta_diff_create(&job, index);
	if (r < 0)
		return r;
	r = delta_run(job, changed, BASIS, delta);
	delta_job_destroy(job);
	return r;
}

static int patch(struct thrum__buf *delta, struct thrum__buf *out)
{
	struct delta_job *job;
	int r = delta_patch_create(&job, read_basis, NULL, UINT64_MAX);
	if (r < 0)
		return r;
	r = delta_run(job, thrum__buf_head(delta), thrum__buf_len(delta), out);
	delta_job_destroy(job);
	return r;
}

static int round_trip(void)
{
	struct thrum__buf signature = {0}, delta = {0}, out = {0};
	struct delta_index *index = NULL;
	int r = sign(&signature);
	if (r == 0)
		r = load(&signature, &index);
	if (r == 0)
		r = diff(index, &delta);
	if (r == 0)
		r = patch(&delta, &out);
	if (r == 0 && (thrum__buf_len(&out) != BASIS ||
			      memcmp(thrum__buf_head(&out), changed, BASIS) != 0))
		r = THRUM_EFORMAT;
	delta_index_destroy(index);
	thrum__buf_fini(&signature);
	thrum__buf_fini(&delta);
	thrum__buf_fini(&out);
	return r;
}

START_TEST(each_failed_allocation_is_enomem_and_leaks_nothing)
{
	uint64_t seed = 1;
	for (size_t i = 0; i < BASIS; i++)
		basis[i] = changed[i] = (uint8_t)thrum__splitmix64(&seed);
	for (size_t i = 0; i < BASIS; i += 1000)
		changed[i] ^= 1;
	unsigned long refused = 0;
	for (unsigned long at = 1;; at++) {
		failing_begin(at);
		int r = round_trip();
		bool failed = failing_end();
		ck_assert_msg(r == 0 || (failed && r == -ENOMEM), "allocation %lu: %s", at,
			thrum_strerror(r));
		ck_assert_msg(failing.live == 0, "allocation %lu: %ld leaked", at, failing.live);
		refused += r < 0;
		if (!failed)
			break;
	}
	ck_assert_uint_gt(refused, 20);
}
END_TEST

Suite *suite_memory(void)
{
	Suite *suite = suite_create("delta/memory");
	TCase *memory = tcase_create("memory");
	tcase_add_test(memory, each_failed_allocation_is_enomem_and_leaks_nothing);
	suite_add_tcase(suite, memory);
	return suite;
}
