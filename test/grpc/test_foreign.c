/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "pair.h"

/* Our core against a bare HTTP/2 session that says what no gRPC library would. */

#define NV(name, value)                                                                    \
	{                                                                                  \
		(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), \
			strlen(value), NGHTTP2_NV_FLAG_NONE                                \
	}

struct body {
	const char *bytes;
	size_t len;
	bool open; /* never ends */
};

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t cap,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct body *body = source->ptr;
	size_t n = body->len < cap ? body->len : cap;
	if (n == 0 && body->open)
		return NGHTTP2_ERR_DEFERRED;
	if (n > 0)
		memcpy(buf, body->bytes, n);
	body->bytes = n > 0 ? body->bytes + n : body->bytes;
	body->len -= n;
	if (body->len == 0 && !body->open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* ---------------------------------------------------------------- a bare client */

struct request {
	const char *method, *type, *extra_name, *extra_value;
	struct body body;
};

static void ask(struct pair *pair, struct request *request)
{
	nghttp2_nv nv[7] = {
		NV(":method", request->method != NULL ? request->method : "POST"),
		NV(":scheme", "http"),
		NV(":path", "/test.S/M"),
		NV(":authority", "localhost"),
		NV("te", "trailers"),
		NV("content-type", request->type != NULL ? request->type : "application/grpc"),
	};
	size_t n = 6;
	if (request->extra_name != NULL)
		nv[n++] = (nghttp2_nv)NV(request->extra_name, request->extra_value);
	nghttp2_data_provider provider = {.source.ptr = &request->body, .read_callback = read_body};
	ck_assert_int_ge(
		nghttp2_submit_request(pair->raw.session, NULL, nv, n, &provider, NULL), 0);
	pair_pump(pair);
}

static void start_server(struct pair *pair)
{
	*pair = (struct pair){.seed = test_seed()};
	core_start(&pair->server, true, NULL);
	raw_start(&pair->raw, false);
}

START_TEST(only_post_is_answered)
{
	struct pair pair;
	start_server(&pair);
	struct request request = {.method = "GET", .body.open = true};
	ask(&pair, &request);
	ck_assert_str_eq(pair.raw.http_status, "405");
	ck_assert(pair.raw.closed);
	ck_assert_uint_eq(pair.server.count, 0);
	pair_end(&pair);
}
END_TEST

START_TEST(only_grpc_content_types_are_answered)
{
	static const char *const bad[] = {
		"text/plain", "application/grpcx", "application/json", "application/grp"};
	static const char *const good[] = {
		"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"};
	for (size_t i = 0; i < thrum__countof(bad); i++) {
		struct pair pair;
		start_server(&pair);
		struct request request = {.type = bad[i]};
		ask(&pair, &request);
		ck_assert_str_eq(pair.raw.http_status, "415");
		ck_assert_uint_eq(pair.server.count, 0);
		pair_end(&pair);
	}
	for (size_t i = 0; i < thrum__countof(good); i++) {
		struct pair pair;
		start_server(&pair);
		struct request request = {.type = good[i]};
		ask(&pair, &request);
		ck_assert_uint_eq(pair.server.count, 1);
		pair_end(&pair);
	}
}
END_TEST

START_TEST(a_status_without_messages_is_one_header_block)
{
	struct pair pair;
	start_server(&pair);
	struct request request = {.body = {"\0\0\0\0\0", 5, false}};
	ask(&pair, &request);
	grpc_call_finish(pair.server.calls[0], GRPC_UNIMPLEMENTED, "no such method: 100%");
	pair_pump(&pair);
	ck_assert_str_eq(pair.raw.http_status, "200");
	ck_assert_str_eq(pair.raw.grpc_status, "12");
	ck_assert_str_eq(pair.raw.grpc_message, "no such method: 100%25");
	ck_assert(pair.raw.end_on_first);
	ck_assert_uint_eq(pair.raw.header_blocks, 1);
	ck_assert(!pair.raw.reset);
	pair_end(&pair);
}
END_TEST

START_TEST(ok_has_a_status_trailer_too)
{
	struct pair pair;
	start_server(&pair);
	struct request request = {.body = {"\0\0\0\0\0", 5, false}};
	ask(&pair, &request);
	ck_assert_int_eq(send_pattern(pair.server.calls[0], 3, 0), 0);
	grpc_call_finish(pair.server.calls[0], GRPC_OK, NULL);
	pair_pump(&pair);
	ck_assert_str_eq(pair.raw.grpc_status, "0");
	ck_assert_str_eq(pair.raw.grpc_message, "");
	ck_assert_uint_eq(pair.raw.header_blocks, 2);
	ck_assert_uint_eq(pair.raw.data, 8);
	ck_assert(pair.raw.closed && !pair.raw.reset);
	pair_end(&pair);
}
END_TEST

START_TEST(an_early_end_resets_with_no_error_after_the_trailers)
{
	for (int with_message = 0; with_message < 2; with_message++) {
		struct pair pair;
		start_server(&pair);
		struct request request = {.body.open = true};
		ask(&pair, &request);
		if (with_message)
			ck_assert_int_eq(send_pattern(pair.server.calls[0], 3, 0), 0);
		grpc_call_finish(pair.server.calls[0], GRPC_OK, NULL);
		pair_pump(&pair);
		ck_assert_str_eq(pair.raw.grpc_status, "0");
		ck_assert(pair.raw.reset);
		ck_assert_uint_eq(pair.raw.reset_code, NGHTTP2_NO_ERROR);
		pair_end(&pair);
	}
}
END_TEST

START_TEST(an_unknown_encoding_is_unimplemented_and_told_what_is)
{
	struct pair pair;
	start_server(&pair);
	struct request request = {.extra_name = "grpc-encoding", .extra_value = "br"};
	ask(&pair, &request);
	ck_assert_str_eq(pair.raw.grpc_status, "12");
	ck_assert_str_eq(pair.raw.accept_encoding, "identity");
	ck_assert_uint_eq(pair.server.count, 0);
	pair_end(&pair);
	start_server(&pair);
	request = (struct request){.extra_name = "grpc-encoding", .extra_value = "identity"};
	ask(&pair, &request);
	ck_assert_uint_eq(pair.server.count, 1);
	pair_end(&pair);
}
END_TEST

START_TEST(a_compressed_flag_without_an_encoding_is_internal)
{
	struct pair pair;
	start_server(&pair);
	struct request request = {.body = {"\1\0\0\0\0", 5, false}};
	ask(&pair, &request);
	ck_assert_str_eq(pair.raw.grpc_status, "13");
	ck_assert(grpc_call_ended(pair.server.calls[0]));
	pair_end(&pair);
}
END_TEST

START_TEST(a_cut_message_is_internal)
{
	static const struct body bodies[] = {{"\0\0", 2, false}, {"\0\0\0\0\5abc", 8, false}};
	for (size_t i = 0; i < thrum__countof(bodies); i++) {
		struct pair pair;
		start_server(&pair);
		struct request request = {.body = bodies[i]};
		ask(&pair, &request);
		ck_assert_str_eq(pair.raw.grpc_status, "13");
		ck_assert_int_eq(take_pattern(pair.server.calls[0], 0, 0), -EIO);
		pair_end(&pair);
	}
}
END_TEST

START_TEST(a_claimed_length_costs_no_memory)
{
	struct pair pair;
	start_server(&pair);
	struct request request = {.body = {"\0\377\377\377\377x", 6, true}}; /* 4 GiB announced */
	ask(&pair, &request);
	ck_assert_str_eq(pair.raw.grpc_status, "8");
	pair_end(&pair);
}
END_TEST

START_TEST(a_malformed_timeout_is_refused)
{
	struct pair pair;
	start_server(&pair);
	struct request request = {.extra_name = "grpc-timeout", .extra_value = "123456789n"};
	ask(&pair, &request);
	ck_assert_str_eq(pair.raw.grpc_status, "13");
	pair_end(&pair);
}
END_TEST

START_TEST(joined_and_unpadded_binary_metadata_is_taken_apart)
{
	struct pair pair;
	start_server(&pair);
	struct request request = {.extra_name = "x-bin", .extra_value = "AP8, Zg==,*"};
	ask(&pair, &request);
	const struct grpc_metadata *meta = grpc_call_metadata(pair.server.calls[0], "x-bin");
	ck_assert_uint_eq(meta->len, 2);
	ck_assert_mem_eq(meta->value, "\0\xff", 2);
	pair_end(&pair);
}
END_TEST

START_TEST(a_huge_header_list_is_refused)
{
	struct pair pair;
	start_server(&pair);
	char *value = calloc(1, 20001);
	memset(value, 'a', 20000);
	struct request request = {.extra_name = "x-huge", .extra_value = value};
	ask(&pair, &request);
	ck_assert_str_eq(pair.raw.grpc_status, "8");
	ck_assert_uint_eq(pair.server.count, 0);
	free(value);
	pair_end(&pair);
}
END_TEST

START_TEST(many_binary_values_in_one_do_not_multiply_their_name)
{
	enum { NAME = 6000, VALUES = 6000 };
	struct pair pair;
	start_server(&pair);
	static char name[NAME + 5], value[VALUES + 1];
	memset(name, 'x', NAME);
	memcpy(name + NAME, "-bin", 5);
	memset(value, ',', VALUES);
	struct request request = {.extra_name = name, .extra_value = value};
	ask(&pair, &request);
	ck_assert_str_eq(pair.raw.grpc_status, "8");
	ck_assert_uint_eq(pair.server.count, 0);
	pair_end(&pair);
}
END_TEST

/* ---------------------------------------------------------------- a bare server */

static void start_client(struct pair *pair)
{
	*pair = (struct pair){.seed = test_seed()};
	core_start(&pair->client, false, NULL);
	raw_start(&pair->raw, true);
	ck_assert_int_eq(grpc_call_open(pair->client.conn, "/test.S/M", NULL, 2999540001, NULL, 0,
				 &pair->client.calls[0]),
		0);
	pair->client.count = 1;
	pair_pump(pair);
}

START_TEST(a_request_looks_as_the_specification_says)
{
	struct pair pair;
	start_client(&pair);
	ck_assert_str_eq(pair.raw.te, "trailers");
	ck_assert_str_eq(pair.raw.timeout, "2999541u"); /* rounded up: never shorter than asked */
	pair_end(&pair);
}
END_TEST

START_TEST(a_reset_becomes_its_status)
{
	static const struct {
		uint32_t reset;
		enum grpc_status status;
	} table[] = {{NGHTTP2_NO_ERROR, GRPC_INTERNAL}, {NGHTTP2_INTERNAL_ERROR, GRPC_INTERNAL},
		{NGHTTP2_PROTOCOL_ERROR, GRPC_INTERNAL}, {NGHTTP2_REFUSED_STREAM, GRPC_UNAVAILABLE},
		{NGHTTP2_CANCEL, GRPC_CANCELLED},
		{NGHTTP2_ENHANCE_YOUR_CALM, GRPC_RESOURCE_EXHAUSTED}};
	for (size_t i = 0; i < thrum__countof(table); i++) {
		struct pair pair;
		start_client(&pair);
		ck_assert_int_eq(nghttp2_submit_rst_stream(
					 pair.raw.session, 0, pair.raw.stream, table[i].reset),
			0);
		pair_pump(&pair);
		ck_assert(grpc_call_ended(pair.client.calls[0]));
		ck_assert_int_eq(grpc_call_status(pair.client.calls[0], NULL), table[i].status);
		pair_end(&pair);
	}
}
END_TEST

/* Answers with these fields and this body; expects the call to end so. */
static void expect(nghttp2_nv *nv, size_t n, struct body *body, enum grpc_status status)
{
	struct pair pair;
	start_client(&pair);
	nghttp2_data_provider provider = {.source.ptr = body, .read_callback = read_body};
	ck_assert_int_eq(nghttp2_submit_response(
				 pair.raw.session, pair.raw.stream, nv, n, body ? &provider : NULL),
		0);
	pair_pump(&pair);
	ck_assert(grpc_call_ended(pair.client.calls[0]));
	ck_assert_int_eq(grpc_call_status(pair.client.calls[0], NULL), status);
	ck_assert(!grpc_conn_finished(pair.client.conn));
	pair_end(&pair);
}

START_TEST(answers_that_are_not_grpc_end_with_a_fitting_status)
{
	nghttp2_nv unavailable[] = {NV(":status", "503"), NV("content-type", "text/html")};
	expect(unavailable, 2, &(struct body){"<html>", 6, false}, GRPC_UNAVAILABLE);
	nghttp2_nv not_found[] = {NV(":status", "404")};
	expect(not_found, 1, NULL, GRPC_UNIMPLEMENTED);
	nghttp2_nv html[] = {NV(":status", "200"), NV("content-type", "text/html")};
	expect(html, 2, &(struct body){"<html>", 6, true}, GRPC_UNKNOWN);
	nghttp2_nv encoded[] = {NV(":status", "200"), NV("content-type", "application/grpc"),
		NV("grpc-encoding", "gzip")};
	expect(encoded, 3, &(struct body){"", 0, true}, GRPC_INTERNAL);
	nghttp2_nv fine[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
	expect(fine, 2, &(struct body){"\0\0\0\0\0", 5, false}, GRPC_INTERNAL); /* no trailers */
	expect(fine, 2, NULL, GRPC_UNKNOWN);                                    /* no grpc-status */
	expect(fine, 2, &(struct body){"\1\0\0\0\0", 5, true}, GRPC_INTERNAL); /* compressed flag */
	nghttp2_nv odd[] = {NV(":status", "200"), NV("content-type", "application/grpc"),
		NV("grpc-status", "77")};
	expect(odd, 3, NULL, GRPC_UNKNOWN);
}
END_TEST

START_TEST(a_client_whose_server_goes_away_takes_no_new_calls)
{
	struct pair pair;
	start_client(&pair);
	ck_assert_int_eq(
		nghttp2_submit_goaway(pair.raw.session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
	pair_pump(&pair);
	/* Not processed, says the server: safe to try elsewhere. */
	ck_assert_int_eq(grpc_call_status(pair.client.calls[0], NULL), GRPC_UNAVAILABLE);
	struct grpc_call *other;
	ck_assert_int_eq(
		grpc_call_open(pair.client.conn, "/a/b", NULL, 0, NULL, 0, &other), -ECONNRESET);
	ck_assert(grpc_conn_finished(pair.client.conn));
	pair_end(&pair);
}
END_TEST

START_TEST(random_bytes_after_a_good_start_never_crash)
{
	uint64_t seed = test_seed();
	for (int round = 0; round < 300; round++) {
		struct pair pair = {.seed = seed};
		core_start(&pair.server, true, NULL);
		raw_start(&pair.raw, false);
		struct request request = {.body = {"\0\0\0\0\3abc", 8, true}};
		ask(&pair, &request);
		uint8_t noise[512];
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (uint8_t)(thrum__splitmix64(&seed) % (round % 2 ? 256 : 10));
		noise[0] = noise[1] = 0; /* a short frame, so that it is read */
		(void)grpc_conn_feed(pair.server.conn, noise, sizeof(noise));
		struct thrum__buf out = {0};
		(void)grpc_conn_pull(pair.server.conn, &out, 100000);
		ck_assert_uint_lt(thrum__buf_len(&out), 100000);
		thrum__buf_fini(&out);
		pair_end(&pair);
	}
}
END_TEST

Suite *suite_foreign(void)
{
	Suite *suite = suite_create("grpc/foreign");
	TCase *server = tcase_create("server");
	tcase_add_test(server, only_post_is_answered);
	tcase_add_test(server, only_grpc_content_types_are_answered);
	tcase_add_test(server, a_status_without_messages_is_one_header_block);
	tcase_add_test(server, ok_has_a_status_trailer_too);
	tcase_add_test(server, an_early_end_resets_with_no_error_after_the_trailers);
	tcase_add_test(server, an_unknown_encoding_is_unimplemented_and_told_what_is);
	tcase_add_test(server, a_compressed_flag_without_an_encoding_is_internal);
	tcase_add_test(server, a_cut_message_is_internal);
	tcase_add_test(server, a_claimed_length_costs_no_memory);
	tcase_add_test(server, a_malformed_timeout_is_refused);
	tcase_add_test(server, joined_and_unpadded_binary_metadata_is_taken_apart);
	tcase_add_test(server, a_huge_header_list_is_refused);
	tcase_add_test(server, many_binary_values_in_one_do_not_multiply_their_name);
	tcase_add_test(server, random_bytes_after_a_good_start_never_crash);
	suite_add_tcase(suite, server);
	TCase *client = tcase_create("client");
	tcase_add_test(client, a_request_looks_as_the_specification_says);
	tcase_add_test(client, a_reset_becomes_its_status);
	tcase_add_test(client, answers_that_are_not_grpc_end_with_a_fitting_status);
	tcase_add_test(client, a_client_whose_server_goes_away_takes_no_new_calls);
	suite_add_tcase(suite, client);
	return suite;
}
