#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# A server of other make for our client: prints its port, serves until its input ends.
import sys
import time
from concurrent import futures

import grpc


def echo(requests, context):
    for message in requests:
        yield message


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-seen", metadata.get("x-sent", "")),
                                   ("x-seen-bin", metadata.get("x-sent-bin", b""))))
    return request


def refuse(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 100%\n")


def hold(request, context):
    while context.is_active():
        time.sleep(0.01)
    return b""


def raw(data):
    return data


def main():
    methods = {
        "Echo": grpc.stream_stream_rpc_method_handler(echo, raw, raw),
        "Unary": grpc.unary_unary_rpc_method_handler(unary, raw, raw),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse, raw, raw),
        "Hold": grpc.unary_unary_rpc_method_handler(hold, raw, raw),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.T", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


main()
