"""OTLP over HTTP: one path for each signal, messages in protobuf or JSON, packed with gzip or not.

What is answered is what `the specification <https://opentelemetry.io/docs/specs/otlp/#otlphttp>`_
asks for.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http import HTTPStatus

import grpc
from aiohttp import ClientError, web
from google.protobuf import json_format
from google.protobuf.message import Message

from otel_redis_cache.cli.protocol import (
    LARGEST_MESSAGE,
    METRICS,
    SPANS,
    NotOtlpError,
    Status,
    parse,
    parse_json,
)
from otel_redis_cache.cli.receiver import Take, occupied

PATHS = {"/v1/traces": SPANS, "/v1/metrics": METRICS}
PROTOBUF, JSON = "application/x-protobuf", "application/json"
PARSERS = {PROTOBUF: parse, JSON: parse_json}
FRAMES = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""How content is packed -> what zlib calls that."""
ENCODINGS = ("identity", *FRAMES)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Who sends what is no HTTP has an answer, and would write across the screen otherwise.
_NOBODY = logging.getLogger(__name__)
_NOBODY.propagate = False
_NOBODY.addHandler(logging.NullHandler())

_EXPLANATIONS = {
    HTTPStatus.NOT_FOUND: f"not found: OTLP is taken at {' and '.join(PATHS)}",
    HTTPStatus.METHOD_NOT_ALLOWED: "method not allowed: OTLP is sent with POST",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"too large: at most {LARGEST_MESSAGE} bytes are taken",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: f"unsupported content: {PROTOBUF} or {JSON} is expected, "
    f"and of encodings {', '.join(ENCODINGS)}",
    HTTPStatus.BAD_REQUEST: "bad request: the content is not what its headers say",
}


@contextmanager
def listen_for_http(
    take: Take, note_refused: Callable[[], None], host: str, port: int
) -> Generator[int]:
    """Take messages by HTTP, in a thread of its own; gives the port, which is a free one for 0.

    What is refused before it is parsed is noted; the rest is known to `take`.

    Raises:
        OccupiedError: there is no listening there.
    """
    runner = web.AppRunner(
        _application(take, note_refused),
        auto_decompress=False,  # it would take its time over a bomb, and has words of its own
        access_log=None,
        logger=_NOBODY,
        shutdown_timeout=1,
    )
    with (
        closing(asyncio.new_event_loop()) as loop,
        ThreadPoolExecutor(1, thread_name_prefix="otlp-http") as thread,
    ):
        thread.submit(loop.run_forever)
        try:
            yield asyncio.run_coroutine_threadsafe(_start(runner, host, port), loop).result()
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
            loop.call_soon_threadsafe(loop.stop)


async def _start(runner: web.AppRunner, host: str, port: int) -> int:
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except (OSError, UnicodeError) as error:
        raise occupied(host, port, error) from None
    return int(runner.addresses[0][1])


def _application(take: Take, note_refused: Callable[[], None]) -> web.Application:
    async def export(request: web.Request) -> web.Response:
        content = request.content_type
        try:
            body = await _body(request)
        except web.HTTPException:
            note_refused()
            raise
        try:
            answer = take(PARSERS[content], PATHS[request.path], body)
        except NotOtlpError as error:
            raise web.HTTPBadRequest(reason=str(error)) from None
        return _answer(HTTPStatus.OK, answer, content)

    application = web.Application(client_max_size=LARGEST_MESSAGE, middlewares=[_explain])
    for path in PATHS:
        application.router.add_post(path, export)
    return application


async def _body(request: web.Request) -> bytes:
    """What was sent, unpacked."""
    encoding = request.headers.get("Content-Encoding", ENCODINGS[0]).lower()
    if request.content_type not in PARSERS or encoding not in ENCODINGS:
        raise web.HTTPUnsupportedMediaType
    body = await request.read()
    return _unpack(body, FRAMES[encoding]) if encoding in FRAMES else body


def _unpack(packed: bytes, frame: int) -> bytes:
    unpacking = zlib.decompressobj(frame)
    try:
        body = unpacking.decompress(packed, LARGEST_MESSAGE + 1)
    except zlib.error:
        raise web.HTTPBadRequest(reason=_EXPLANATIONS[HTTPStatus.BAD_REQUEST]) from None
    if len(body) > LARGEST_MESSAGE:
        raise web.HTTPRequestEntityTooLarge(LARGEST_MESSAGE, len(body))
    if not unpacking.eof or unpacking.unused_data:
        raise web.HTTPBadRequest(reason=_EXPLANATIONS[HTTPStatus.BAD_REQUEST])
    return body


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A refusal in the sender's own encoding."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        code, allowed = HTTPStatus(refusal.status), refusal.headers.get("Allow")
        text = refusal.reason if isinstance(refusal, web.HTTPBadRequest) else _EXPLANATIONS[code]
    except (ClientError, web.RequestPayloadError, ValueError):
        code, text, allowed = HTTPStatus.BAD_REQUEST, _EXPLANATIONS[HTTPStatus.BAD_REQUEST], None
    answer = _refuse(code, text, request.content_type)
    if allowed:
        answer.headers["Allow"] = allowed
    return answer


def _refuse(code: HTTPStatus, text: str, content: str) -> web.Response:
    if content not in PARSERS:
        return web.Response(status=code, text=f"{text}\n")
    return _answer(
        code, Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=text), content
    )


def _answer(code: HTTPStatus, message: Message, content: str) -> web.Response:
    as_json = content == JSON
    body = json_format.MessageToJson(message).encode() if as_json else message.SerializeToString()
    return web.Response(status=code, body=body, content_type=content)
