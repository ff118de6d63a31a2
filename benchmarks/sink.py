"""Where OTLP goes that nobody reads: a gRPC server in a process of its own, which takes all it gets."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

SERVICES = (
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
)
START_SECONDS = 30


@contextmanager
def open_sink() -> Generator[str]:
    """Listen on a free loopback port; gives the endpoint to send to."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_SECONDS):
            raise TimeoutError(f"the OTLP sink did not start within {START_SECONDS} s")
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        ours.close()
        process.join(5)
        if process.is_alive():
            process.kill()


def _serve(connection: Connection) -> None:
    """Take everything until the other end is closed."""
    import grpc

    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def take(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        return b""  # an answer without any field set: all was accepted

    server = grpc.server(ThreadPoolExecutor(2))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(take)
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, {"Export": handler}) for name in SERVICES)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    connection.send(port)
    try:
        connection.recv()
    except EOFError:
        server.stop(None).wait(5)
