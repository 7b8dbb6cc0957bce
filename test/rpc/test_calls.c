/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "rpc/health.pb-c.h"

/* Calls of every kind over every wire. */

static void each(void (*fn)(void *))
{
	static const unsigned workers[] = {1, 2, 8};
	for (size_t w = 0; w < thrum__countof(workers); w++)
		for (enum wire wire = 0; wire < WIRES; wire++)
			run_green(workers[w], fn, &wire);
}

static struct rpc_call *open_call(struct link *link, const char *path, thrum_deadline deadline)
{
	struct rpc_call *call = NULL;
	CHECK(rpc_client_open(link->client, path, NULL, 0, deadline, &call) == 0);
	return call;
}

/* ---------------------------------------------------------------- kinds */

static void check_health(struct link *link, const char *service, int want)
{
	Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	request.service = (char *)(uintptr_t)service;
	ProtobufCMessage *reply;
	struct rpc_status status;
	int r = rpc_client_unary(link->client, "/grpc.health.v1.Health/Check", &request.base,
		&grpc__health__v1__health_check_response__descriptor, &reply,
		thrum_after(10 * THRUM_S), &status);
	EXPECT_EQ(r, want);
	EXPECT_EQ(status.code, grpc_status_from_error(want));
	if (r == 0)
		EXPECT_EQ(((Grpc__Health__V1__HealthCheckResponse *)reply)->status, 1);
	rpc_message_free(reply);
}

static void unary_call(void *arg)
{
	struct link link;
	link_open(&link, *(enum wire *)arg, NULL);
	check_health(&link, "", 0);
	check_health(&link, "test.T", 0);
	check_health(&link, "test.Unknown", -ENOENT);
	EXPECT(rpc_client_alive(link.client));
	struct rpc_traffic traffic = rpc_client_traffic(link.client);
	EXPECT(traffic.in > 100 && traffic.out > 100);
	link_close(&link);
	EXPECT_EQ(link.served, 0);
}

START_TEST(a_unary_call_works_over_every_wire)
{
	each(unary_call);
}
END_TEST

static void streams(void *arg)
{
	struct link link;
	struct rpc_status status;
	void *bytes;
	size_t len;
	link_open(&link, *(enum wire *)arg, NULL);

	struct rpc_call *down = open_call(&link, "/test.T/Count", THRUM_FOREVER);
	uint32_t n = 1000;
	EXPECT_EQ(rpc_call_send_bytes(down, &n, sizeof(n), THRUM_FOREVER), 0);
	for (uint32_t i = 0; i < n; i++) {
		EXPECT_EQ(rpc_call_recv_bytes(down, &bytes, &len, THRUM_FOREVER), 0);
		EXPECT(len == 4 && memcmp(bytes, &i, 4) == 0);
		free(bytes);
	}
	EXPECT_EQ(rpc_call_recv_bytes(down, &bytes, &len, THRUM_FOREVER), THRUM_EEOF);
	EXPECT_EQ(rpc_call_finish(down, &status, THRUM_FOREVER), 0);
	EXPECT_EQ(status.code, GRPC_OK);
	rpc_call_destroy(down);

	struct rpc_call *up = open_call(&link, "/test.T/Sum", THRUM_FOREVER);
	static const uint8_t zeros[3000];
	for (int i = 0; i < 300; i++)
		EXPECT_EQ(rpc_call_send_bytes(up, zeros, sizeof(zeros), THRUM_FOREVER), 0);
	rpc_call_close_send(up);
	rpc_call_close_send(up);
	EXPECT_EQ(rpc_call_send_bytes(up, zeros, 1, THRUM_FOREVER), -EINVAL);
	EXPECT_EQ(rpc_call_recv_bytes(up, &bytes, &len, THRUM_FOREVER), 0);
	EXPECT_EQ(*(uint64_t *)bytes, 900000);
	free(bytes);
	EXPECT_EQ(rpc_call_finish(up, NULL, THRUM_FOREVER), 0);
	rpc_call_destroy(up);

	struct rpc_call *both = open_call(&link, "/test.T/Echo", THRUM_FOREVER);
	for (uint32_t i = 0; i < 100; i++) {
		EXPECT_EQ(rpc_call_send_bytes(both, &i, sizeof(i), THRUM_FOREVER), 0);
		EXPECT_EQ(rpc_call_recv_bytes(both, &bytes, &len, THRUM_FOREVER), 0);
		EXPECT(len == 4 && memcmp(bytes, &i, 4) == 0);
		free(bytes);
	}
	EXPECT_EQ(rpc_call_recv_bytes(both, &bytes, &len, THRUM_NOW), -ETIMEDOUT);
	EXPECT_EQ(rpc_call_finish(both, NULL, THRUM_FOREVER), 0);
	rpc_call_destroy(both);
	link_close(&link);
}

START_TEST(streams_run_up_down_and_both_ways_over_every_wire)
{
	each(streams);
}
END_TEST

static void statuses(void *arg)
{
	struct link link;
	struct rpc_status status;
	struct rpc_call *call;
	struct grpc_metadata meta = {"x-reason", "100% rain", 9};
	link_open(&link, WIRE_UNIX, NULL);
	CHECK(rpc_client_open(link.client, "/test.T/Fail", &meta, 1, THRUM_FOREVER, &call) == 0);
	EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER), -EBUSY);
	EXPECT_EQ(status.code, GRPC_FAILED_PRECONDITION);
	EXPECT_EQ(strcmp(status.message, "not today: 100% rain"), 0);
	rpc_call_destroy(call);
	static const struct {
		const char *path, *message;
		enum grpc_status code;
	} table[] = {
		{"/test.T/Code", "No space left on device", GRPC_RESOURCE_EXHAUSTED},
		{"/test.T/Mute", "the method sent no response", GRPC_INTERNAL},
		{"/test.T/Nope", "unknown method /test.T/Nope", GRPC_UNIMPLEMENTED},
	};
	for (size_t i = 0; i < thrum__countof(table); i++) {
		call = open_call(&link, table[i].path, THRUM_FOREVER);
		EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER),
			grpc_status_to_error(table[i].code));
		EXPECT_EQ(status.code, table[i].code);
		EXPECT_EQ(strcmp(status.message, table[i].message), 0);
		rpc_call_destroy(call);
	}
	link_close(&link);
}

START_TEST(a_handlers_return_becomes_the_status)
{
	run_green(2, statuses, NULL);
}
END_TEST

static void reversed(void *arg)
{
	struct link link;
	struct link_options options = {.reversed = true};
	link_open(&link, *(enum wire *)arg, &options);
	check_health(&link, "", 0);
	link_close(&link);
}

START_TEST(the_end_that_dialled_may_serve)
{
	for (enum wire wire = 0; wire < WIRES; wire++)
		run_green(2, reversed, &wire);
}
END_TEST

/* ---------------------------------------------------------------- size and number */

static void big(void *arg)
{
	struct link link;
	link_open(&link, *(enum wire *)arg, NULL);
	size_t size = 4 << 20, len;
	uint8_t *message = malloc(size + 1), *got;
	for (size_t i = 0; i < size; i++)
		message[i] = (uint8_t)(i * 13 >> 8);
	struct rpc_call *call = open_call(&link, "/test.T/Echo", THRUM_FOREVER);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(rpc_call_send_bytes(call, message, size, THRUM_FOREVER), 0);
		EXPECT_EQ(rpc_call_recv_bytes(call, (void **)&got, &len, THRUM_FOREVER), 0);
		EXPECT(len == size && memcmp(message, got, size) == 0);
		free(got);
	}
	EXPECT_EQ(rpc_call_send_bytes(call, message, size + 1, THRUM_FOREVER), 0);
	struct rpc_status status;
	EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER), -ENOBUFS);
	EXPECT_EQ(status.code, GRPC_RESOURCE_EXHAUSTED);
	rpc_call_destroy(call);
	free(message);
	check_health(&link, "", 0); /* the connection lives on */
	link_close(&link);
}

START_TEST(messages_up_to_the_limit_pass_and_beyond_it_are_refused)
{
	for (enum wire wire = 0; wire < WIRES; wire++)
		run_green(2, big, &wire);
}
END_TEST

struct many {
	struct link link;
	unsigned done;
};

static void *one_of_many(void *arg)
{
	struct many *many = arg;
	struct rpc_call *call = open_call(&many->link, "/test.T/Echo", THRUM_FOREVER);
	void *bytes;
	size_t len;
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(rpc_call_send_bytes(call, &call, sizeof(call), THRUM_FOREVER), 0);
		EXPECT_EQ(rpc_call_recv_bytes(call, &bytes, &len, THRUM_FOREVER), 0);
		EXPECT(len == sizeof(call) && memcmp(bytes, &call, len) == 0);
		free(bytes);
	}
	EXPECT_EQ(rpc_call_finish(call, NULL, THRUM_FOREVER), 0);
	rpc_call_destroy(call);
	__atomic_fetch_add(&many->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void many(void *arg)
{
	enum { CALLS = 100 };
	struct many state = {0};
	struct thrum_thread *threads[CALLS];
	link_open(&state.link, *(enum wire *)arg, NULL);
	for (int i = 0; i < CALLS; i++)
		CHECK(thrum_spawn(&threads[i], one_of_many, &state) == 0);
	for (int i = 0; i < CALLS; i++)
		CHECK(thrum_join(threads[i], NULL, THRUM_FOREVER) == 0);
	EXPECT_EQ(state.done, CALLS);
	link_close(&state.link);
}

START_TEST(a_hundred_calls_share_a_connection)
{
	each(many);
}
END_TEST

static void stalled(void *arg)
{
	struct link link;
	struct link_options options = {.server.send_buffer = 100000, .client.send_buffer = 100000};
	link_open(&link, WIRE_UNIX, &options);
	/* The handler does not read: the sender must come to a halt, and time out without harm. */
	struct rpc_call *call = open_call(&link, "/test.T/Hold", THRUM_FOREVER);
	static const uint8_t zeros[50000];
	int r = 0, sent = 0;
	while (r == 0 && sent < 1000) {
		r = rpc_call_send_bytes(call, zeros, sizeof(zeros), thrum_after(50 * THRUM_MS));
		sent += r == 0;
	}
	EXPECT_EQ(r, -ETIMEDOUT);
	EXPECT(sent < 30);          /* a window of 1 MiB and the buffers */
	check_health(&link, "", 0); /* other calls are not held up */
	rpc_call_destroy(call);
	link_close(&link);
}

START_TEST(a_reader_that_does_not_read_halts_its_sender_alone)
{
	run_green(2, stalled, NULL);
}
END_TEST

static void bomb(void *arg)
{
	/* Unknown fields of two bytes each: protobuf-c keeps some 80 bytes for every one. */
	struct link link;
	link_open(&link, WIRE_UNIX, NULL);
	size_t size = 1 << 20;
	uint8_t *hostile = malloc(size);
	for (size_t i = 0; i < size; i += 2) {
		hostile[i] = 5 << 3;
		hostile[i + 1] = 1;
	}
	struct rpc_call *call = open_call(&link, "/grpc.health.v1.Health/Check", THRUM_FOREVER);
	struct rpc_status status;
	EXPECT_EQ(rpc_call_send_bytes(call, hostile, size, THRUM_FOREVER), 0);
	EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER), -ENOBUFS);
	EXPECT_EQ(status.code, GRPC_RESOURCE_EXHAUSTED);
	rpc_call_destroy(call);
	call = open_call(&link, "/grpc.health.v1.Health/Check", THRUM_FOREVER);
	EXPECT_EQ(rpc_call_send_bytes(call, "\xff", 1, THRUM_FOREVER), 0);
	EXPECT_EQ(rpc_call_finish(call, &status, THRUM_FOREVER), -EIO);
	EXPECT_EQ(status.code, GRPC_INTERNAL);
	rpc_call_destroy(call);
	free(hostile);
	link_close(&link);
}

START_TEST(a_message_made_to_amplify_is_refused_within_its_budget)
{
	run_green(2, bomb, NULL);
}
END_TEST

Suite *suite_calls(void)
{
	Suite *suite = suite_create("rpc/calls");
	TCase *kinds = tcase_create("kinds");
	tcase_set_timeout(kinds, 30);
	tcase_add_test(kinds, a_unary_call_works_over_every_wire);
	tcase_add_test(kinds, streams_run_up_down_and_both_ways_over_every_wire);
	tcase_add_test(kinds, a_handlers_return_becomes_the_status);
	tcase_add_test(kinds, the_end_that_dialled_may_serve);
	suite_add_tcase(suite, kinds);
	TCase *size = tcase_create("size");
	tcase_set_timeout(size, 30);
	tcase_add_test(size, messages_up_to_the_limit_pass_and_beyond_it_are_refused);
	tcase_add_test(size, a_hundred_calls_share_a_connection);
	tcase_add_test(size, a_reader_that_does_not_read_halts_its_sender_alone);
	tcase_add_test(size, a_message_made_to_amplify_is_refused_within_its_budget);
	suite_add_tcase(suite, size);
	return suite;
}
