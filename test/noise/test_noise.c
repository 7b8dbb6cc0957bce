/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "noise/noise.h"

enum { MAX_MESSAGES = 8, MAX_BYTES = 256 };

struct bytes {
	uint8_t data[MAX_BYTES];
	size_t len;
};

struct vector {
	char name[64];
	struct bytes prologue, init_static, init_ephemeral, resp_static, resp_ephemeral;
	struct {
		struct bytes payload, ciphertext;
	} messages[MAX_MESSAGES];
	unsigned message_count;
};

static struct bytes from_hex(const char *hex)
{
	struct bytes out = {.len = strlen(hex) / 2};
	ck_assert_uint_le(out.len, MAX_BYTES);
	for (size_t i = 0; i < out.len; i++) {
		unsigned byte;
		ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
		out.data[i] = (uint8_t)byte;
	}
	return out;
}

/* Reads the golden entries; returns how many. */
static unsigned load_vectors(struct vector *out, unsigned max)
{
	FILE *file = fopen("test/golden/noise/vectors.txt", "r");
	ck_assert_ptr_nonnull(file);
	char line[2048], key[32], first[1024], second[1024];
	unsigned count = 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (line[0] == '#')
			continue;
		int fields = sscanf(line, "%31s %1023s %1023s", key, first, second);
		ck_assert_int_ge(fields, 2);
		if (strcmp(key, "name") == 0) {
			ck_assert_uint_lt(count, max);
			out[count] = (struct vector){0};
			snprintf(out[count++].name, sizeof(out->name), "%.63s", first);
			continue;
		}
		ck_assert_uint_gt(count, 0);
		struct vector *v = &out[count - 1];
		if (strcmp(key, "message") == 0) {
			ck_assert_int_eq(fields, 3);
			ck_assert_uint_lt(v->message_count, MAX_MESSAGES);
			v->messages[v->message_count].payload = from_hex(first);
			v->messages[v->message_count++].ciphertext = from_hex(second);
			continue;
		}
		struct bytes *to = strcmp(key, "prologue") == 0         ? &v->prologue
				   : strcmp(key, "init_static") == 0    ? &v->init_static
				   : strcmp(key, "init_ephemeral") == 0 ? &v->init_ephemeral
				   : strcmp(key, "resp_static") == 0    ? &v->resp_static
				   : strcmp(key, "resp_ephemeral") == 0 ? &v->resp_ephemeral
									: NULL;
		ck_assert_ptr_nonnull(to);
		*to = from_hex(first);
	}
	fclose(file);
	return count;
}

/* [0] is the initiator, [1] the responder. */
static void start(struct noise_handshake hs[2], const struct vector *v)
{
	enum noise_pattern pattern = strstr(v->name, "_IK_") ? NOISE_IK : NOISE_XX;
	uint8_t resp_public[NOISE_KEY_SIZE];
	ck_assert_int_eq(noise_public_key(resp_public, v->resp_static.data), 0);
	struct noise_setup setup = {
		.pattern = pattern,
		.initiator = true,
		.prologue = v->prologue.data,
		.prologue_len = v->prologue.len,
		.static_secret = v->init_static.data,
		.ephemeral_secret = v->init_ephemeral.data,
		.remote_static = pattern == NOISE_IK ? resp_public : NULL,
	};
	ck_assert_int_eq(noise_handshake_init(&hs[0], &setup), 0);
	setup.initiator = false;
	setup.static_secret = v->resp_static.data;
	setup.ephemeral_secret = v->resp_ephemeral.data;
	setup.remote_static = NULL;
	ck_assert_int_eq(noise_handshake_init(&hs[1], &setup), 0);
}

static void replay(const struct vector *v)
{
	struct noise_handshake hs[2];
	start(hs, v);
	uint8_t sealed[MAX_BYTES], plain[MAX_BYTES];
	size_t sealed_len, plain_len;
	unsigned i = 0;
	for (; !noise_handshake_done(&hs[0]) || !noise_handshake_done(&hs[1]); i++) {
		const struct bytes *payload = &v->messages[i].payload,
				   *want = &v->messages[i].ciphertext;
		ck_assert(noise_handshake_may_write(&hs[i % 2]));
		ck_assert(noise_handshake_may_read(&hs[!(i % 2)]));
		ck_assert_int_eq(noise_handshake_write(&hs[i % 2], payload->data, payload->len,
					 sealed, sizeof(sealed), &sealed_len),
			0);
		ck_assert_uint_eq(sealed_len, want->len);
		ck_assert_mem_eq(sealed, want->data, want->len);
		ck_assert_int_eq(noise_handshake_read(&hs[!(i % 2)], sealed, sealed_len, plain,
					 sizeof(plain), &plain_len),
			0);
		ck_assert_uint_eq(plain_len, payload->len);
		ck_assert_mem_eq(plain, payload->data, plain_len);
	}
	uint8_t key[NOISE_KEY_SIZE];
	ck_assert_int_eq(noise_public_key(key, v->init_static.data), 0);
	ck_assert_mem_eq(noise_handshake_remote_static(&hs[1]), key, sizeof(key));
	ck_assert_int_eq(noise_public_key(key, v->resp_static.data), 0);
	ck_assert_mem_eq(noise_handshake_remote_static(&hs[0]), key, sizeof(key));
	ck_assert_mem_eq(
		noise_handshake_hash(&hs[0]), noise_handshake_hash(&hs[1]), NOISE_HASH_SIZE);
	struct noise_cipher tx[2], rx[2];
	ck_assert_int_eq(noise_handshake_split(&hs[0], &tx[0], &rx[0]), 0);
	ck_assert_int_eq(noise_handshake_split(&hs[1], &tx[1], &rx[1]), 0);
	unsigned transported = 0;
	for (; i < v->message_count; i++, transported++) {
		const struct bytes *payload = &v->messages[i].payload,
				   *want = &v->messages[i].ciphertext;
		ck_assert_int_eq(
			noise_cipher_seal(&tx[i % 2], payload->data, payload->len, sealed), 0);
		ck_assert_uint_eq(payload->len + NOISE_TAG_SIZE, want->len);
		ck_assert_mem_eq(sealed, want->data, want->len);
		ck_assert_int_eq(noise_cipher_open(&rx[!(i % 2)], sealed, want->len, plain), 0);
		ck_assert_mem_eq(plain, payload->data, payload->len);
	}
	ck_assert_uint_ge(transported, 2);
}

START_TEST(published_vectors_come_out_byte_for_byte)
{
	struct vector vectors[4];
	unsigned count = load_vectors(vectors, 4);
	ck_assert_uint_eq(count, 2);
	for (unsigned i = 0; i < count; i++)
		replay(&vectors[i]);
}
END_TEST

/* Runs a handshake in which byte `at` of message `which` has one bit flipped. True if both ends
 * finished. */
static bool survives(const struct vector *v, unsigned which, size_t at, uint8_t bit)
{
	struct noise_handshake hs[2];
	start(hs, v);
	uint8_t sealed[MAX_BYTES], plain[MAX_BYTES];
	size_t len, plain_len;
	bool fine = true;
	for (unsigned i = 0;
		fine && !(noise_handshake_done(&hs[0]) && noise_handshake_done(&hs[1])); i++) {
		const struct bytes *payload = &v->messages[i].payload;
		fine = noise_handshake_write(&hs[i % 2], payload->data, payload->len, sealed,
			       sizeof(sealed), &len) == 0;
		if (i == which)
			sealed[at] ^= bit;
		fine = fine && noise_handshake_read(&hs[!(i % 2)], sealed, len, plain,
				       sizeof(plain), &plain_len) == 0;
	}
	if (!fine) { /* a dead handshake stays dead and has forgotten its secrets */
		struct noise_handshake *dead = hs[0].failed ? &hs[0] : &hs[1];
		static const uint8_t zero[NOISE_HASH_SIZE];
		ck_assert(dead->failed);
		ck_assert_mem_eq(dead->static_secret, zero, NOISE_KEY_SIZE);
		ck_assert_mem_eq(dead->ephemeral_secret, zero, NOISE_KEY_SIZE);
		ck_assert_mem_eq(dead->chaining, zero, NOISE_HASH_SIZE);
		ck_assert_int_eq(noise_handshake_write(dead, NULL, 0, sealed, sizeof(sealed), &len),
			-EINVAL);
		ck_assert_ptr_null(noise_handshake_remote_static(dead));
	}
	noise_handshake_fini(&hs[0]);
	noise_handshake_fini(&hs[1]);
	return fine;
}

START_TEST(a_flipped_bit_anywhere_in_a_handshake_is_refused)
{
	struct vector vectors[4];
	unsigned count = load_vectors(vectors, 4);
	for (unsigned i = 0; i < count; i++) {
		unsigned handshake_messages = strstr(vectors[i].name, "_IK_") ? 2 : 3;
		for (unsigned m = 0; m < handshake_messages; m++)
			for (size_t at = 0; at < vectors[i].messages[m].ciphertext.len; at++)
				ck_assert_msg(
					!survives(&vectors[i], m, at, (uint8_t)(1 << (at % 8))),
					"%s message %u byte %zu", vectors[i].name, m, at);
		ck_assert(survives(
			&vectors[i], 99, 0, 0)); /* the harness itself lets a clean one through */
	}
}
END_TEST

START_TEST(truncated_and_padded_handshake_messages_are_refused)
{
	struct vector vectors[4];
	load_vectors(vectors, 4);
	uint8_t sealed[MAX_BYTES], plain[MAX_BYTES];
	size_t len, plain_len;
	for (size_t cut = 0; cut <= 111; cut++) {
		struct noise_handshake hs[2];
		start(hs, &vectors[0]);
		ck_assert_int_eq(
			noise_handshake_write(&hs[0], NULL, 0, sealed, sizeof(sealed), &len), 0);
		ck_assert_int_eq(
			noise_handshake_read(&hs[1], sealed, len, plain, sizeof(plain), &plain_len),
			0);
		ck_assert_int_eq(noise_handshake_write(&hs[1], "payload 15 long", 15, sealed,
					 sizeof(sealed), &len),
			0);
		ck_assert_uint_eq(len, 111);
		size_t wrong = cut == len ? len + 1 : cut;
		ck_assert_int_eq(noise_handshake_read(
					 &hs[0], sealed, wrong, plain, sizeof(plain), &plain_len),
			THRUM_EAUTH);
		noise_handshake_fini(&hs[1]);
	}
}
END_TEST

START_TEST(messages_out_of_turn_are_refused)
{
	struct vector vectors[4];
	load_vectors(vectors, 4);
	struct noise_handshake hs[2];
	start(hs, &vectors[0]);
	uint8_t sealed[MAX_BYTES], plain[MAX_BYTES];
	size_t len;
	struct noise_cipher a, b;
	ck_assert_int_eq(
		noise_handshake_write(&hs[1], NULL, 0, sealed, sizeof(sealed), &len), -EINVAL);
	ck_assert_int_eq(
		noise_handshake_read(&hs[0], sealed, 32, plain, sizeof(plain), &len), -EINVAL);
	ck_assert_int_eq(noise_handshake_split(&hs[0], &a, &b), -EINVAL);
	ck_assert_ptr_null(noise_handshake_hash(&hs[0]));
	ck_assert_ptr_null(noise_handshake_remote_static(&hs[1]));
	noise_handshake_fini(&hs[0]);
	noise_handshake_fini(&hs[1]);
}
END_TEST

START_TEST(a_key_of_small_order_is_refused)
{
	struct vector vectors[4];
	load_vectors(vectors, 4);
	struct noise_handshake hs[2];
	start(hs, &vectors[0]);
	uint8_t zero_key[NOISE_KEY_SIZE] = {0}, out[MAX_BYTES];
	size_t len;
	/* The responder learns e = 0, and its own message needs e with it: the shared secret would
	 * be all-zero. */
	ck_assert_int_eq(
		noise_handshake_read(&hs[1], zero_key, sizeof(zero_key), out, sizeof(out), &len),
		0);
	ck_assert_int_eq(
		noise_handshake_write(&hs[1], NULL, 0, out, sizeof(out), &len), THRUM_EAUTH);
	ck_assert(hs[1].failed);
	noise_handshake_fini(&hs[0]);
}
END_TEST

START_TEST(a_different_prologue_is_refused)
{
	struct vector vectors[4];
	load_vectors(vectors, 4);
	struct noise_handshake hs[2], other[2];
	start(hs, &vectors[0]);
	vectors[0].prologue.data[0] ^= 1;
	start(other, &vectors[0]);
	uint8_t sealed[MAX_BYTES], plain[MAX_BYTES];
	size_t len;
	ck_assert_int_eq(noise_handshake_write(&hs[0], NULL, 0, sealed, sizeof(sealed), &len), 0);
	ck_assert_int_eq(
		noise_handshake_read(&other[1], sealed, len, plain, sizeof(plain), &len), 0);
	ck_assert_int_eq(
		noise_handshake_write(&other[1], NULL, 0, sealed, sizeof(sealed), &len), 0);
	ck_assert_int_eq(
		noise_handshake_read(&hs[0], sealed, len, plain, sizeof(plain), &len), THRUM_EAUTH);
}
END_TEST

static void make_pair(struct noise_cipher *tx, struct noise_cipher *rx)
{
	*tx = (struct noise_cipher){.key = {1, 2, 3}, .keyed = true};
	*rx = *tx;
}

START_TEST(transport_messages_are_tamper_proof_and_in_order)
{
	struct noise_cipher tx, rx;
	make_pair(&tx, &rx);
	uint8_t first[64 + NOISE_TAG_SIZE], second[64 + NOISE_TAG_SIZE], plain[64] = {42}, got[64];
	ck_assert_int_eq(noise_cipher_seal(&tx, plain, sizeof(plain), first), 0);
	ck_assert_int_eq(noise_cipher_seal(&tx, plain, sizeof(plain), second), 0);
	ck_assert_int_ne(memcmp(first, second, sizeof(first)), 0);
	ck_assert_int_eq(
		noise_cipher_open(&rx, second, sizeof(second), got), THRUM_EAUTH); /* order */
	for (size_t i = 0; i < sizeof(first); i++) {
		first[i] ^= 0x10;
		ck_assert_int_eq(noise_cipher_open(&rx, first, sizeof(first), got), THRUM_EAUTH);
		first[i] ^= 0x10;
		ck_assert_int_eq(
			noise_cipher_open(&rx, first, i, got), THRUM_EAUTH); /* truncation */
	}
	ck_assert_int_eq(noise_cipher_open(&rx, first, sizeof(first), got), 0);
	ck_assert_mem_eq(got, plain, sizeof(plain));
	ck_assert_int_eq(
		noise_cipher_open(&rx, first, sizeof(first), got), THRUM_EAUTH); /* replay */
	ck_assert_int_eq(noise_cipher_open(&rx, second, sizeof(second), got), 0);
}
END_TEST

START_TEST(messages_are_at_most_64_KiB_and_a_nonce_is_never_used_twice)
{
	struct noise_cipher tx, rx;
	make_pair(&tx, &rx);
	uint8_t *big = calloc(1, NOISE_MESSAGE_MAX + 1);
	ck_assert_int_eq(noise_cipher_seal(&tx, big, NOISE_PLAIN_MAX + 1, big), -EMSGSIZE);
	ck_assert_int_eq(noise_cipher_seal(&tx, big, NOISE_PLAIN_MAX, big), 0);
	ck_assert_int_eq(noise_cipher_open(&rx, big, NOISE_MESSAGE_MAX + 1, big), THRUM_EAUTH);
	ck_assert_int_eq(noise_cipher_open(&rx, big, NOISE_MESSAGE_MAX, big), 0);
	tx.nonce = rx.nonce = UINT64_MAX - 1;
	ck_assert_int_eq(noise_cipher_seal(&tx, "x", 1, big), 0);
	ck_assert_int_eq(noise_cipher_open(&rx, big, 1 + NOISE_TAG_SIZE, big), 0);
	ck_assert_int_eq(noise_cipher_seal(&tx, "x", 1, big), THRUM_ECLOSED);
	ck_assert_int_eq(noise_cipher_open(&rx, big, 1 + NOISE_TAG_SIZE, big), THRUM_ECLOSED);
	noise_cipher_fini(&tx);
	ck_assert(!tx.keyed);
	ck_assert_int_eq(noise_cipher_seal(&tx, "x", 1, big), THRUM_ECLOSED);
	free(big);
}
END_TEST

Suite *suite_noise(void)
{
	Suite *suite = suite_create("noise/noise");
	TCase *handshake = tcase_create("handshake");
	tcase_set_timeout(handshake, 30);
	tcase_add_test(handshake, published_vectors_come_out_byte_for_byte);
	tcase_add_test(handshake, a_flipped_bit_anywhere_in_a_handshake_is_refused);
	tcase_add_test(handshake, truncated_and_padded_handshake_messages_are_refused);
	tcase_add_test(handshake, messages_out_of_turn_are_refused);
	tcase_add_test(handshake, a_key_of_small_order_is_refused);
	tcase_add_test(handshake, a_different_prologue_is_refused);
	suite_add_tcase(suite, handshake);
	TCase *transport = tcase_create("transport");
	tcase_add_test(transport, transport_messages_are_tamper_proof_and_in_order);
	tcase_add_test(transport, messages_are_at_most_64_KiB_and_a_nonce_is_never_used_twice);
	suite_add_tcase(suite, transport);
	return suite;
}
