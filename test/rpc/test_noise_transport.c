/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdio.h>

/* Who gets in, who does not, and what each of them learns. */

struct listening {
	struct thrum_conn *conn;
	enum rpc_verdict verdict;
	const char *text;
	int64_t patience;
	/* Written: */
	int result;
	unsigned decisions;
	uint8_t key[RPC_KEY_SIZE];
	char payload[64];
	size_t payload_len;
	struct rpc_transport *transport;
};

static enum rpc_verdict decide(
	const uint8_t *key, const void *payload, size_t len, char *text, size_t cap, void *ctx)
{
	struct listening *listening = ctx;
	listening->decisions++;
	memcpy(listening->key, key, RPC_KEY_SIZE);
	listening->payload_len = len;
	memcpy(listening->payload, payload,
		len < sizeof(listening->payload) ? len : sizeof(listening->payload));
	thrum_yield(); /* it may suspend */
	snprintf(text, cap, "%s", listening->text);
	return listening->verdict;
}

static void *listen_once(void *arg)
{
	struct listening *listening = arg;
	struct rpc_noise_listen listen = {listener_secret, decide, listening};
	listening->result = rpc_noise_accept(&listening->transport, listening->conn, &listen,
		thrum_after(listening->patience ? listening->patience : 10 * THRUM_S));
	return NULL;
}

/* Dials a listener; both results are left in the arguments. Returns the dialler's transport or
 * NULL. */
static struct rpc_transport *handshake(
	struct listening *listening, struct rpc_noise_dial *dial, int *result)
{
	struct thrum_conn *conn[2];
	struct thrum_thread *thread;
	struct rpc_transport *transport = NULL;
	connect_pair(WIRE_NOISE_TCP, conn);
	listening->conn = conn[1];
	CHECK(thrum_spawn(&thread, listen_once, listening) == 0);
	*result = rpc_noise_connect(&transport, conn[0], dial, thrum_after(10 * THRUM_S));
	CHECK(thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	return transport;
}

static void verdicts(void *arg)
{
	uint8_t key[RPC_KEY_SIZE], own[RPC_KEY_SIZE];
	CHECK(rpc_noise_public_key(key, listener_secret) == 0);
	CHECK(rpc_noise_public_key(own, dialler_secret) == 0);
	struct rpc_noise_dial dial = {dialler_secret, key, "role=caller", 11, ""};
	int r;

	struct listening welcome = {.verdict = RPC_VERDICT_OK, .text = "hello there"};
	struct rpc_transport *transport = handshake(&welcome, &dial, &r);
	EXPECT_EQ(r, 0);
	EXPECT_EQ(welcome.result, 0);
	EXPECT_EQ(strcmp(dial.verdict, "hello there"), 0);
	EXPECT(memcmp(welcome.key, own, RPC_KEY_SIZE) == 0);
	EXPECT(welcome.payload_len == 11 && memcmp(welcome.payload, "role=caller", 11) == 0);
	EXPECT(memcmp(rpc_transport_peer_key(transport), key, RPC_KEY_SIZE) == 0);
	EXPECT(memcmp(rpc_transport_peer_key(welcome.transport), own, RPC_KEY_SIZE) == 0);
	struct rpc_traffic total = {0}, out = rpc_transport_traffic(transport);
	EXPECT_EQ(out.out, 2 + 32 + 2 + 64 + 11);
	EXPECT_EQ(out.in, 2 + 96 + 2 + 16 + 1 + 11);
	rpc_transport_account(transport, &total);
	EXPECT_EQ(rpc_traffic_read(&total).out, out.out);
	rpc_transport_destroy(transport);
	rpc_transport_destroy(welcome.transport);

	struct listening refuse = {.verdict = RPC_VERDICT_REFUSE, .text = "the ticket was used"};
	EXPECT(handshake(&refuse, &dial, &r) == NULL);
	EXPECT_EQ(r, -EACCES);
	EXPECT_EQ(refuse.result, THRUM_EAUTH);
	EXPECT_EQ(strcmp(dial.verdict, "the ticket was used"), 0);

	struct listening silent = {.verdict = RPC_VERDICT_SILENT, .text = "must not be seen"};
	EXPECT(handshake(&silent, &dial, &r) == NULL);
	EXPECT_EQ(r, THRUM_EAUTH);
	EXPECT_EQ(silent.result, THRUM_EAUTH);
	EXPECT_EQ(dial.verdict[0], 0);
}

START_TEST(a_listener_welcomes_refuses_or_says_nothing)
{
	for (unsigned workers = 1; workers <= 8; workers *= 2)
		run_green(workers, verdicts, NULL);
}
END_TEST

static void wrong_key(void *arg)
{
	uint8_t key[RPC_KEY_SIZE] = {9};
	struct listening listening = {.verdict = RPC_VERDICT_OK, .text = ""};
	struct rpc_noise_dial dial = {dialler_secret, key, "secret token", 12, ""};
	int r;
	EXPECT(handshake(&listening, &dial, &r) == NULL);
	EXPECT_EQ(r, THRUM_EAUTH);
	EXPECT_EQ(listening.decisions, 0); /* neither our key nor the payload went to it */
	EXPECT(listening.result < 0);
	char big[RPC_NOISE_PAYLOAD_MAX + 1] = {0};
	struct thrum_conn *conn[2];
	struct rpc_transport *transport;
	connect_pair(WIRE_UNIX, conn);
	dial.payload = big;
	dial.payload_len = sizeof(big);
	EXPECT_EQ(rpc_noise_connect(&transport, conn[0], &dial, THRUM_FOREVER), -EINVAL);
	thrum_conn_close(conn[1]);
}

START_TEST(a_dialler_tells_nothing_to_the_wrong_listener)
{
	run_green(2, wrong_key, NULL);
}
END_TEST

static void biggest_payload(void *arg)
{
	static char payload[RPC_NOISE_PAYLOAD_MAX];
	uint8_t key[RPC_KEY_SIZE];
	CHECK(rpc_noise_public_key(key, listener_secret) == 0);
	struct listening listening = {.verdict = RPC_VERDICT_OK, .text = ""};
	struct rpc_noise_dial dial = {dialler_secret, key, payload, sizeof(payload), ""};
	int r;
	struct rpc_transport *transport = handshake(&listening, &dial, &r);
	EXPECT_EQ(r, 0);
	EXPECT_EQ(listening.payload_len, sizeof(payload));
	rpc_transport_destroy(transport);
	rpc_transport_destroy(listening.transport);
}

START_TEST(the_biggest_payload_passes)
{
	run_green(2, biggest_payload, NULL);
}
END_TEST

/* Says these bytes to a listener and waits for it to end; what it answered comes back. */
static void say(const void *bytes, size_t len, bool hang_up, int want, size_t answer_max)
{
	struct thrum_conn *conn[2];
	struct thrum_thread *thread;
	struct listening listening = {.text = ""};
	if (want == -ETIMEDOUT)
		listening.patience = 50 * THRUM_MS;
	uint8_t answer[256];
	size_t got = 0;
	connect_pair(WIRE_UNIX, conn);
	listening.conn = conn[1];
	CHECK(thrum_spawn(&thread, listen_once, &listening) == 0);
	EXPECT_EQ(thrum_conn_write(conn[0], bytes, len, NULL, THRUM_FOREVER), 0);
	if (hang_up)
		EXPECT_EQ(thrum_conn_shutdown_write(conn[0]), 0);
	CHECK(thrum_join(thread, NULL, THRUM_FOREVER) == 0);
	EXPECT_EQ(listening.result, want);
	(void)!thrum_conn_read_exact(conn[0], answer, sizeof(answer), &got, thrum_after(THRUM_S));
	EXPECT(got <= answer_max);
	EXPECT_EQ(listening.decisions, 0);
	thrum_conn_close(conn[0]);
}

static void strangers(void *arg)
{
	static const uint8_t hello[2 + 32] = {0, 32, 9};
	uint8_t forged[sizeof(hello) + 2 + 64] = {0, 32, 9};
	forged[sizeof(hello) + 1] = 64;
	uint8_t small_order[sizeof(hello)] = {0, 32};
	say("GET / HTTP/1.1\r\n\r\n", 18, false, THRUM_EFORMAT, 0);
	say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, false, THRUM_EFORMAT, 0);
	say("\0\0", 2, false, THRUM_EFORMAT, 0);
	say("\0\x21", 2, false, THRUM_EFORMAT, 0);
	say("\xff\xff", 2, false, THRUM_EFORMAT, 0);
	say("", 0, true, -ECONNRESET, 0);                 /* leaves at once */
	say("", 0, false, -ETIMEDOUT, 0);                 /* says nothing for ever */
	say(hello, 20, true, -ECONNRESET, 0);             /* leaves in the middle */
	say(hello, sizeof(hello), false, -ETIMEDOUT, 98); /* stops after the first message */
	say(forged, sizeof(forged), false, THRUM_EAUTH, 98);
	say(small_order, sizeof(small_order), false, THRUM_EAUTH, 0);
}

START_TEST(strangers_are_dropped_in_bounded_time)
{
	run_green(2, strangers, NULL);
}
END_TEST

static void dial_garbage(void *arg)
{
	static const char *const answers[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", ""};
	for (size_t i = 0; i < thrum__countof(answers); i++) {
		struct thrum_conn *conn[2];
		struct rpc_transport *transport;
		uint8_t key[RPC_KEY_SIZE] = {9};
		struct rpc_noise_dial dial = {dialler_secret, key, NULL, 0, ""};
		connect_pair(WIRE_UNIX, conn);
		EXPECT_EQ(thrum_conn_write(
				  conn[1], answers[i], strlen(answers[i]), NULL, THRUM_FOREVER),
			0);
		EXPECT_EQ(rpc_noise_connect(&transport, conn[0], &dial,
				  thrum_after(i == 0 ? 10 * THRUM_S : 30 * THRUM_MS)),
			i == 0 ? THRUM_EFORMAT : -ETIMEDOUT);
		thrum_conn_close(conn[1]);
	}
}

START_TEST(a_dialler_notices_a_peer_that_is_none)
{
	run_green(2, dial_garbage, NULL);
}
END_TEST

Suite *suite_noise_transport(void)
{
	Suite *suite = suite_create("rpc/noise_transport");
	TCase *handshakes = tcase_create("handshakes");
	tcase_set_timeout(handshakes, 20);
	tcase_add_test(handshakes, a_listener_welcomes_refuses_or_says_nothing);
	tcase_add_test(handshakes, a_dialler_tells_nothing_to_the_wrong_listener);
	tcase_add_test(handshakes, the_biggest_payload_passes);
	tcase_add_test(handshakes, strangers_are_dropped_in_bounded_time);
	tcase_add_test(handshakes, a_dialler_notices_a_peer_that_is_none);
	suite_add_tcase(suite, handshakes);
	return suite;
}
