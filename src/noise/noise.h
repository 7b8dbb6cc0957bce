/* SPDX-License-Identifier: MIT */
#ifndef THRUM_NOISE_H
#define THRUM_NOISE_H

/*
 * Noise_{XX,IK}_25519_ChaChaPoly_BLAKE2b after the Noise Protocol Framework, revision 34. Pure:
 * bytes in, bytes out; the one random number a handshake needs is an argument, so that published
 * vectors can be replayed. Every primitive is libsodium's.
 */

#include "base/base.h"

enum {
	NOISE_KEY_SIZE = 32,
	NOISE_TAG_SIZE = 16,
	NOISE_HASH_SIZE = 64,
	NOISE_MESSAGE_MAX = 65535,
	NOISE_PLAIN_MAX = NOISE_MESSAGE_MAX - NOISE_TAG_SIZE, /* plaintext of a transport message */
};

enum noise_pattern {
	NOISE_XX, /* e / e, ee, s, es / s, se: both keys hidden and proved */
	NOISE_IK, /* <- s before; e, es, s, ss / e, ee, se: its first payload can be replayed */
};

/* One direction's key. */
struct noise_cipher {
	uint8_t key[NOISE_KEY_SIZE];
	uint64_t nonce; /* of the next message; 2^64 - 1 is reserved: the cipher is then used up */
	bool keyed;
};

struct noise_setup {
	enum noise_pattern pattern;
	bool initiator;
	const void *prologue;
	size_t prologue_len;
	const uint8_t *static_secret;    /* NOISE_KEY_SIZE bytes */
	const uint8_t *ephemeral_secret; /* NOISE_KEY_SIZE fresh random bytes; never used twice */
	const uint8_t
		*remote_static; /* NOISE_IK's initiator: the responder's public key; else NULL */
};

/* Private but complete, so that callers can embed it. Holds secrets: end it with
 * noise_handshake_fini. */
struct noise_handshake {
	uint8_t chaining[NOISE_HASH_SIZE], hash[NOISE_HASH_SIZE];
	struct noise_cipher cipher;
	uint8_t static_secret[NOISE_KEY_SIZE], static_public[NOISE_KEY_SIZE];
	uint8_t ephemeral_secret[NOISE_KEY_SIZE], ephemeral_public[NOISE_KEY_SIZE];
	uint8_t remote_static[NOISE_KEY_SIZE], remote_ephemeral[NOISE_KEY_SIZE];
	bool has_remote_static, initiator, failed;
	enum noise_pattern pattern;
	unsigned step; /* messages written and read so far */
};

/* Derives the public key of a secret. 0, or THRUM_EAUTH for a secret that is not one. */
int noise_public_key(uint8_t public_key[NOISE_KEY_SIZE], const uint8_t secret[NOISE_KEY_SIZE]);

/* Starts a handshake; copies what it needs of setup. 0, -EINVAL (a key missing), THRUM_EAUTH (a bad
 * key) or -EIO (no libsodium). */
int noise_handshake_init(struct noise_handshake *hs, const struct noise_setup *setup);

/* Wipes every secret. All-zero and twice are fine. */
void noise_handshake_fini(struct noise_handshake *hs);

/* Whose turn it is. Both false once the handshake is done or has failed. */
bool noise_handshake_may_write(const struct noise_handshake *hs);
bool noise_handshake_may_read(const struct noise_handshake *hs);
bool noise_handshake_done(const struct noise_handshake *hs);

/*
 * Writes the next message, with a payload, to out. *out_len is set. 0, -EINVAL (not our turn),
 * -EMSGSIZE (beyond cap or NOISE_MESSAGE_MAX; the handshake is unharmed), THRUM_EAUTH (an unusable
 * remote key; it has failed).
 */
int noise_handshake_write(struct noise_handshake *hs, const void *payload, size_t payload_len,
	uint8_t *out, size_t cap, size_t *out_len);

/*
 * Reads the next message; its payload (never longer than the message) goes to payload.
 * 0, -EINVAL (not their turn), -EMSGSIZE (cap too small), or THRUM_EAUTH: tampered or malformed;
 * the handshake has failed for good and its secrets are wiped.
 */
int noise_handshake_read(struct noise_handshake *hs, const uint8_t *message, size_t len,
	uint8_t *payload, size_t cap, size_t *payload_len);

/* The other end's static public key, once it has been proved; else NULL. */
const uint8_t *noise_handshake_remote_static(const struct noise_handshake *hs);

/* NOISE_HASH_SIZE bytes that name this session alone, once the handshake is done; else NULL. */
const uint8_t *noise_handshake_hash(const struct noise_handshake *hs);

/* Derives both directions' ciphers from a handshake that is done, then wipes it. 0 or -EINVAL. */
int noise_handshake_split(
	struct noise_handshake *hs, struct noise_cipher *sending, struct noise_cipher *receiving);

/* out takes len + NOISE_TAG_SIZE bytes; may overlap plain only if equal. 0, -EMSGSIZE,
 * THRUM_ECLOSED (used up). */
int noise_cipher_seal(struct noise_cipher *cipher, const void *plain, size_t len, uint8_t *out);

/*
 * out takes len - NOISE_TAG_SIZE bytes; may equal sealed. 0, THRUM_EAUTH (tampered, replayed, out
 * of order, or too short; the cipher stays as it was) or THRUM_ECLOSED (used up).
 */
int noise_cipher_open(struct noise_cipher *cipher, const void *sealed, size_t len, uint8_t *out);

/* Wipes the key. */
void noise_cipher_fini(struct noise_cipher *cipher);

#endif
