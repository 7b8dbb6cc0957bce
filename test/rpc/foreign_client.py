#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# A client of other make against the test server: foreign_client.py TARGET. Says "ok" if all held.
import sys

import grpc


def main(target):
    def raw(data):
        return data

    with grpc.insecure_channel(target) as channel:
        unary = channel.unary_unary("/test.T/Unary", raw, raw)
        assert unary(b"hello", timeout=20) == b"hello"
        assert unary(b"", timeout=20) == b""
        for future in [unary.future(b"%d" % i, timeout=20) for i in range(100)]:
            assert future.exception() is None

        count = channel.unary_stream("/test.T/Count", raw, raw)
        got = [int.from_bytes(m, "little") for m in count((500).to_bytes(4, "little"), timeout=20)]
        assert got == list(range(500))

        total = channel.stream_unary("/test.T/Sum", raw, raw)
        assert int.from_bytes(total((b"x" * 1000 for _ in range(300)), timeout=20), "little") == 300000

        echo = channel.stream_stream("/test.T/Echo", raw, raw)
        messages = [bytes([i]) * (i * 997) for i in range(100)] + [b"y" * (4 << 20)]
        assert list(echo(iter(messages), timeout=20)) == messages

        def status(method, request=b"", **kwargs):
            try:
                channel.unary_unary(method, raw, raw)(request, **kwargs)
            except grpc.RpcError as error:
                return error.code(), error.details()
            return None

        code = grpc.StatusCode
        assert status("/test.T/Nope", timeout=20) == (
            code.UNIMPLEMENTED, "unknown method /test.T/Nope")
        assert status("/test.T/Fail", timeout=20, metadata=[("x-reason", "50% rain")]) == (
            code.FAILED_PRECONDITION, "not today: 50% rain")
        assert status("/test.T/Hold", timeout=0.1)[0] == code.DEADLINE_EXCEEDED
        assert status("/test.T/Unary", b"z" * ((4 << 20) + 1), timeout=20)[0] == code.RESOURCE_EXHAUSTED
        assert status("/test.T/Unary", b"abc" * 1000, timeout=20, compression=grpc.Compression.Gzip) == (
            code.UNIMPLEMENTED, "message encoding not supported")
        held = echo(iter([b"a"]), timeout=20)
        assert next(held) == b"a"
        held.cancel()
        assert unary(b"still here", timeout=20) == b"still here"
    print("ok")


main(sys.argv[1])
