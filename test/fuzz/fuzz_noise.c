/* SPDX-License-Identifier: MIT */
/*
 * Noise messages from a hostile peer. An input is one byte, which message of which pattern, and the
 * message. Keys are fixed, so that the corpus holds the true messages; from the second one on,
 * nothing but the true one may be taken.
 */
#include <errno.h>

#include "noise/noise.h"

#include "replay.h"

enum { PAYLOAD = 11, CAP = 512, RECORD_MAX = 128 * 1024 };

struct ends {
	struct noise_handshake hs[2];
	uint8_t message[CAP]; /* the true next one */
	size_t len;
};

/* Runs both ends up to message `stage`, which is written but not read. */
static void run_to(struct ends *ends, enum noise_pattern pattern, unsigned stage)
{
	static const uint8_t keys[4][NOISE_KEY_SIZE] = {{1}, {2}, {3}, {4}};
	uint8_t remote[NOISE_KEY_SIZE], plain[CAP];
	size_t plain_len;
	CHECK(noise_public_key(remote, keys[1]) == 0);
	for (int i = 0; i < 2; i++) {
		struct noise_setup setup = {pattern, i == 0, "fuzz", 4, keys[i], keys[2 + i],
			pattern == NOISE_IK && i == 0 ? remote : NULL};
		CHECK(noise_handshake_init(&ends->hs[i], &setup) == 0);
	}
	for (unsigned step = 0;; step++) {
		CHECK(noise_handshake_write(&ends->hs[step % 2], "the payload", PAYLOAD,
			      ends->message, CAP, &ends->len) == 0);
		if (step == stage)
			return;
		CHECK(noise_handshake_read(&ends->hs[!(step % 2)], ends->message, ends->len, plain,
			      CAP, &plain_len) == 0);
	}
}

static void try_handshake(
	enum noise_pattern pattern, unsigned stage, const uint8_t *data, size_t len)
{
	struct ends ends;
	uint8_t plain[CAP];
	size_t plain_len;
	run_to(&ends, pattern, stage);
	struct noise_handshake *reader = &ends.hs[!(stage % 2)];
	int r = noise_handshake_read(reader, data, len, plain, sizeof(plain), &plain_len);
	bool true_one = len == ends.len && memcmp(data, ends.message, len) == 0;
	bool open_message = pattern == NOISE_XX && stage == 0; /* nothing to prove yet */
	CHECK(r == 0 || r == THRUM_EAUTH || r == -EMSGSIZE);
	CHECK(!true_one ||
		(r == 0 && plain_len == PAYLOAD && memcmp(plain, "the payload", PAYLOAD) == 0));
	CHECK(true_one || open_message || r != 0);
	CHECK(r != THRUM_EAUTH || noise_handshake_remote_static(reader) == NULL);
	noise_handshake_fini(&ends.hs[0]);
	noise_handshake_fini(&ends.hs[1]);
}

static void try_record(const uint8_t *data, size_t len)
{
	struct noise_cipher cipher = {.key = {7}, .keyed = true}, sealer = cipher;
	uint8_t plain[RECORD_MAX], truth[PAYLOAD + NOISE_TAG_SIZE];
	CHECK(noise_cipher_seal(&sealer, "the payload", PAYLOAD, truth) == 0);
	int r = noise_cipher_open(&cipher, data, len, plain);
	CHECK((r == 0) == (len == sizeof(truth) && memcmp(data, truth, len) == 0));
	CHECK(cipher.nonce == (r == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	unsigned which = data[0] % 6;
	if (which < 3)
		try_handshake(NOISE_XX, which, data + 1, size - 1);
	else if (which < 5)
		try_handshake(NOISE_IK, which - 3, data + 1, size - 1);
	else
		try_record(data + 1, size - 1);
	return 0;
}
