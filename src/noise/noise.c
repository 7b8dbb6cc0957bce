/* SPDX-License-Identifier: MIT */
#include "noise/noise.h"

#include <errno.h>
#include <sodium.h>

/*
 * Names follow the framework's text: MixHash, MixKey, EncryptAndHash and so on are here mix_hash,
 * mix_key, encrypt_and_hash, and do exactly what its chapters 4 and 5 say.
 *
 * Invariants
 *  [I1] A handshake that met an error is dead: failed is set, secrets are gone, nothing more is
 * written or read. [I2] A nonce is used at most once per key; 2^64 - 1 never. [I3] remote_static is
 * shown to the caller only when a message that proves it was read: in both patterns that is the
 * message with the token that mixes the key (es, se or ss) and whose payload then decrypted.
 */

enum { BLOCK_SIZE = 128, MAX_TOKENS = 4, MAX_MESSAGES = 3 };

enum token { END, E, S, EE, ES, SE, SS };

struct pattern {
	const char *name;
	bool responder_known; /* pre-message "<- s" */
	unsigned message_count;
	uint8_t messages[MAX_MESSAGES][MAX_TOKENS + 1];
};

static const struct pattern patterns[] = {
	[NOISE_XX] = {"Noise_XX_25519_ChaChaPoly_BLAKE2b", false, 3,
		{{E}, {E, EE, S, ES}, {S, SE}}},
	[NOISE_IK] = {"Noise_IK_25519_ChaChaPoly_BLAKE2b", true, 2, {{E, ES, S, SS}, {E, EE, SE}}},
};

/* ---------------------------------------------------------------- hash and key derivation */

static void hash2(
	uint8_t out[NOISE_HASH_SIZE], const void *a, size_t a_len, const void *b, size_t b_len)
{
	crypto_generichash_blake2b_state state;
	crypto_generichash_blake2b_init(&state, NULL, 0, NOISE_HASH_SIZE);
	crypto_generichash_blake2b_update(&state, a, a_len);
	crypto_generichash_blake2b_update(&state, b, b_len);
	crypto_generichash_blake2b_final(&state, out, NOISE_HASH_SIZE);
	sodium_memzero(&state, sizeof(state));
}

/* HMAC (RFC 2104) over BLAKE2b; key_len is at most BLOCK_SIZE. */
static void hmac(uint8_t out[NOISE_HASH_SIZE], const uint8_t *key, size_t key_len, const void *data,
	size_t len)
{
	uint8_t pad[BLOCK_SIZE], inner[NOISE_HASH_SIZE];
	memset(pad, 0x36, sizeof(pad));
	for (size_t i = 0; i < key_len; i++)
		pad[i] ^= key[i];
	hash2(inner, pad, sizeof(pad), data, len);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	hash2(out, pad, sizeof(pad), inner, sizeof(inner));
	sodium_memzero(pad, sizeof(pad));
	sodium_memzero(inner, sizeof(inner));
}

/* HKDF with two outputs. out1 may be the chaining key itself. */
static void hkdf2(uint8_t out1[NOISE_HASH_SIZE], uint8_t out2[NOISE_HASH_SIZE],
	const uint8_t chaining[NOISE_HASH_SIZE], const void *input, size_t len)
{
	uint8_t temp[NOISE_HASH_SIZE], block[NOISE_HASH_SIZE + 1];
	hmac(temp, chaining, NOISE_HASH_SIZE, input, len);
	hmac(out1, temp, sizeof(temp), "\x01", 1);
	memcpy(block, out1, NOISE_HASH_SIZE);
	block[NOISE_HASH_SIZE] = 2;
	hmac(out2, temp, sizeof(temp), block, sizeof(block));
	sodium_memzero(temp, sizeof(temp));
	sodium_memzero(block, sizeof(block));
}

static void mix_hash(struct noise_handshake *hs, const void *data, size_t len)
{
	hash2(hs->hash, hs->hash, NOISE_HASH_SIZE, data, len);
}

static void mix_key(struct noise_handshake *hs, const uint8_t input[NOISE_KEY_SIZE])
{
	uint8_t key[NOISE_HASH_SIZE];
	hkdf2(hs->chaining, key, hs->chaining, input, NOISE_KEY_SIZE);
	memcpy(hs->cipher.key, key, NOISE_KEY_SIZE);
	hs->cipher.nonce = 0;
	hs->cipher.keyed = true;
	sodium_memzero(key, sizeof(key));
}

/* ---------------------------------------------------------------- cipher */

static int seal(struct noise_cipher *cipher, const void *ad, size_t ad_len, const void *plain,
	size_t len, uint8_t *out)
{
	if (!cipher->keyed || cipher->nonce == UINT64_MAX)
		return THRUM_ECLOSED; /* [I2] */
	uint8_t nonce[12] = {0};
	for (int i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(cipher->nonce >> (8 * i));
	crypto_aead_chacha20poly1305_ietf_encrypt(
		out, NULL, plain, len, ad, ad_len, NULL, nonce, cipher->key);
	cipher->nonce++;
	return 0;
}

static int open_sealed(struct noise_cipher *cipher, const void *ad, size_t ad_len,
	const void *sealed, size_t len, uint8_t *out)
{
	if (!cipher->keyed || cipher->nonce == UINT64_MAX)
		return THRUM_ECLOSED;
	uint8_t nonce[12] = {0};
	for (int i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(cipher->nonce >> (8 * i));
	if (len < NOISE_TAG_SIZE || crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL,
					    sealed, len, ad, ad_len, nonce, cipher->key) != 0)
		return THRUM_EAUTH;
	cipher->nonce++;
	return 0;
}

int noise_cipher_seal(struct noise_cipher *cipher, const void *plain, size_t len, uint8_t *out)
{
	if (len > NOISE_PLAIN_MAX)
		return -EMSGSIZE;
	return seal(cipher, NULL, 0, plain, len, out);
}

int noise_cipher_open(struct noise_cipher *cipher, const void *sealed, size_t len, uint8_t *out)
{
	if (len > NOISE_MESSAGE_MAX)
		return THRUM_EAUTH;
	return open_sealed(cipher, NULL, 0, sealed, len, out);
}

void noise_cipher_fini(struct noise_cipher *cipher)
{
	sodium_memzero(cipher, sizeof(*cipher));
}

/* ---------------------------------------------------------------- handshake */

int noise_public_key(uint8_t public_key[NOISE_KEY_SIZE], const uint8_t secret[NOISE_KEY_SIZE])
{
	return crypto_scalarmult_base(public_key, secret) == 0 ? 0 : THRUM_EAUTH;
}

/* Ends a handshake that met an error [I1]. Returns the error. */
static int fail(struct noise_handshake *hs, int error)
{
	noise_handshake_fini(hs);
	hs->failed = true;
	return error;
}

int noise_handshake_init(struct noise_handshake *hs, const struct noise_setup *setup)
{
	const struct pattern *pattern = &patterns[setup->pattern];
	*hs = (struct noise_handshake){.pattern = setup->pattern, .initiator = setup->initiator};
	bool needs_remote = pattern->responder_known && setup->initiator;
	if (setup->static_secret == NULL || setup->ephemeral_secret == NULL ||
		needs_remote != (setup->remote_static != NULL))
		return fail(hs, -EINVAL);
	if (sodium_init() < 0) /* picks the fast implementations; idempotent */
		return fail(hs, -EIO);
	memcpy(hs->static_secret, setup->static_secret, NOISE_KEY_SIZE);
	memcpy(hs->ephemeral_secret, setup->ephemeral_secret, NOISE_KEY_SIZE);
	if (noise_public_key(hs->static_public, hs->static_secret) < 0 ||
		noise_public_key(hs->ephemeral_public, hs->ephemeral_secret) < 0)
		return fail(hs, THRUM_EAUTH);
	if (needs_remote) {
		memcpy(hs->remote_static, setup->remote_static, NOISE_KEY_SIZE);
		hs->has_remote_static = true;
	}
	/* Both names are shorter than the hash: they are its zero-padded beginning. */
	memcpy(hs->hash, pattern->name, strlen(pattern->name));
	memcpy(hs->chaining, hs->hash, NOISE_HASH_SIZE);
	mix_hash(hs, setup->prologue, setup->prologue_len);
	if (pattern->responder_known)
		mix_hash(hs, setup->initiator ? hs->remote_static : hs->static_public,
			NOISE_KEY_SIZE);
	return 0;
}

void noise_handshake_fini(struct noise_handshake *hs)
{
	sodium_memzero(hs, sizeof(*hs));
}

bool noise_handshake_done(const struct noise_handshake *hs)
{
	return !hs->failed && hs->step == patterns[hs->pattern].message_count;
}

bool noise_handshake_may_write(const struct noise_handshake *hs)
{
	return !hs->failed && !noise_handshake_done(hs) && (hs->step % 2 == 0) == hs->initiator;
}

bool noise_handshake_may_read(const struct noise_handshake *hs)
{
	return !hs->failed && !noise_handshake_done(hs) && (hs->step % 2 == 0) != hs->initiator;
}

const uint8_t *noise_handshake_remote_static(const struct noise_handshake *hs)
{
	return hs->has_remote_static ? hs->remote_static : NULL;
}

const uint8_t *noise_handshake_hash(const struct noise_handshake *hs)
{
	return noise_handshake_done(hs) ? hs->hash : NULL;
}

/* Mixes one Diffie-Hellman result. An all-zero one (a public key of small order) is an error. */
static int mix_dh(struct noise_handshake *hs, enum token token)
{
	/* The first letter is the initiator's key, the second the responder's. */
	bool own_static = token == SS || token == (hs->initiator ? SE : ES);
	bool remote_static = token == SS || token == (hs->initiator ? ES : SE);
	uint8_t shared[NOISE_KEY_SIZE];
	if (crypto_scalarmult(shared, own_static ? hs->static_secret : hs->ephemeral_secret,
		    remote_static ? hs->remote_static : hs->remote_ephemeral) != 0)
		return THRUM_EAUTH;
	mix_key(hs, shared);
	sodium_memzero(shared, sizeof(shared));
	return 0;
}

/* Bytes that sealing adds at this point of the handshake. */
static size_t overhead(const struct noise_handshake *hs)
{
	return hs->cipher.keyed ? NOISE_TAG_SIZE : 0;
}

/* Returns the bytes written. */
static size_t encrypt_and_hash(
	struct noise_handshake *hs, const void *plain, size_t len, uint8_t *out)
{
	size_t total = len + overhead(hs);
	if (hs->cipher.keyed) {
		int r = seal(&hs->cipher, hs->hash, NOISE_HASH_SIZE, plain, len, out);
		CHECK(r == 0); /* a handshake key seals at most two messages */
	} else if (len > 0) {
		memcpy(out, plain, len);
	}
	mix_hash(hs, out, total);
	return total;
}

/* len counts the sealed bytes and is at least overhead(hs). */
static int decrypt_and_hash(
	struct noise_handshake *hs, const uint8_t *sealed, size_t len, uint8_t *out)
{
	uint8_t before[NOISE_HASH_SIZE];
	memcpy(before, hs->hash, NOISE_HASH_SIZE);
	mix_hash(hs, sealed, len);
	if (hs->cipher.keyed)
		return open_sealed(&hs->cipher, before, NOISE_HASH_SIZE, sealed, len, out);
	if (len > 0)
		memmove(out, sealed, len);
	return 0;
}

/* Length of a message of this step with an empty payload. */
static size_t message_overhead(const struct noise_handshake *hs)
{
	const uint8_t *tokens = patterns[hs->pattern].messages[hs->step];
	bool keyed = hs->cipher.keyed;
	size_t len = 0;
	for (; *tokens != END; tokens++) {
		if (*tokens == E)
			len += NOISE_KEY_SIZE;
		else if (*tokens == S)
			len += NOISE_KEY_SIZE + (keyed ? NOISE_TAG_SIZE : 0);
		else
			keyed = true;
	}
	return len + (keyed ? NOISE_TAG_SIZE : 0);
}

int noise_handshake_write(struct noise_handshake *hs, const void *payload, size_t payload_len,
	uint8_t *out, size_t cap, size_t *out_len)
{
	if (!noise_handshake_may_write(hs))
		return -EINVAL;
	size_t fixed = message_overhead(hs);
	if (payload_len > NOISE_MESSAGE_MAX - fixed || payload_len + fixed > cap)
		return -EMSGSIZE;
	uint8_t *p = out;
	for (const uint8_t *t = patterns[hs->pattern].messages[hs->step]; *t != END; t++) {
		if (*t == E) {
			memcpy(p, hs->ephemeral_public, NOISE_KEY_SIZE);
			mix_hash(hs, p, NOISE_KEY_SIZE);
			p += NOISE_KEY_SIZE;
		} else if (*t == S) {
			p += encrypt_and_hash(hs, hs->static_public, NOISE_KEY_SIZE, p);
		} else if (mix_dh(hs, *t) < 0) {
			return fail(hs, THRUM_EAUTH);
		}
	}
	p += encrypt_and_hash(hs, payload, payload_len, p);
	*out_len = (size_t)(p - out);
	hs->step++;
	return 0;
}

/* Reads one token; advances *p. The caller has checked that the whole message is long enough. */
static int read_token(struct noise_handshake *hs, enum token token, const uint8_t **p)
{
	size_t len = NOISE_KEY_SIZE;
	int r = 0;
	if (token == E) {
		memcpy(hs->remote_ephemeral, *p, len);
		mix_hash(hs, *p, len);
	} else if (token == S) {
		len += overhead(hs);
		r = decrypt_and_hash(hs, *p, len, hs->remote_static);
	} else {
		return mix_dh(hs, token);
	}
	*p += len;
	return r;
}

int noise_handshake_read(struct noise_handshake *hs, const uint8_t *message, size_t len,
	uint8_t *payload, size_t cap, size_t *payload_len)
{
	if (!noise_handshake_may_read(hs))
		return -EINVAL;
	size_t fixed = message_overhead(hs);
	if (len > NOISE_MESSAGE_MAX || len < fixed)
		return fail(hs, THRUM_EAUTH);
	if (len - fixed > cap)
		return -EMSGSIZE;
	const uint8_t *p = message;
	bool has_static = hs->has_remote_static;
	for (const uint8_t *t = patterns[hs->pattern].messages[hs->step]; *t != END; t++) {
		if (read_token(hs, *t, &p) < 0)
			return fail(hs, THRUM_EAUTH);
		has_static |= *t == S;
	}
	if (decrypt_and_hash(hs, p, (size_t)(message + len - p), payload) < 0)
		return fail(hs, THRUM_EAUTH);
	*payload_len = len - fixed;
	hs->has_remote_static = has_static; /* [I3] */
	hs->step++;
	return 0;
}

int noise_handshake_split(
	struct noise_handshake *hs, struct noise_cipher *sending, struct noise_cipher *receiving)
{
	if (!noise_handshake_done(hs))
		return -EINVAL;
	uint8_t first[NOISE_HASH_SIZE], second[NOISE_HASH_SIZE];
	hkdf2(first, second, hs->chaining, NULL, 0);
	*sending = *receiving = (struct noise_cipher){.keyed = true};
	memcpy(sending->key, hs->initiator ? first : second, NOISE_KEY_SIZE);
	memcpy(receiving->key, hs->initiator ? second : first, NOISE_KEY_SIZE);
	sodium_memzero(first, sizeof(first));
	sodium_memzero(second, sizeof(second));
	noise_handshake_fini(hs);
	hs->failed = true;
	return 0;
}
