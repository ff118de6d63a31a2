"""Recordings: what is written is read again, at its own pace; and files that are none."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.proto import serialize_length_prefixed
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_redis_cache.cli.inbox import Arrival
from otel_redis_cache.cli.intake import Listening, listen, replay
from otel_redis_cache.cli.protocol import METRICS, SPANS, MetricsRequest, parse
from otel_redis_cache.cli.recordings import (
    HEADER,
    LAST_SECOND,
    Player,
    RecordingError,
    open_recorder,
    read,
)
from tests.cli.test_intake import heard, post, send_by_grpc, spans_request
from tests.real.processes import wait_until

NEXT = "; replay a whole file made with --record"


def arrivals(*times: float) -> Iterator[Arrival]:
    for number, at in enumerate(times):
        trace_id = number.to_bytes(16, "big")
        yield Arrival(at, parse(SPANS, spans_request("GET", trace_id=trace_id).SerializeToString()))
        yield Arrival(at, parse(METRICS, MetricsRequest().SerializeToString()))


def recording(path: Path, *times: float) -> Path:
    with open_recorder(path) as recorder:
        for arrival in arrivals(*times):
            recorder.record(arrival)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(RecordingError) as refused:
        list(read(path))
    return str(refused.value)


def outcome(path: Path) -> tuple[int, str | None]:
    """How many messages there are, and what is said of what is none."""
    count = 0
    try:
        for _ in read(path):
            count += 1
    except RecordingError as error:
        return count, str(error)
    return count, None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = recording(tmp_path / "file", 1_000.25, 1_001.5)
    assert list(read(path)) == list(arrivals(1_000.25, 1_001.5))


def test_what_is_received_is_recorded_and_played_again(tmp_path: Path) -> None:
    path, trace_id = tmp_path / "file", b"r" * 16
    with listen(grpc_port=0, http_port=0, record=path) as listening:
        body = spans_request("GET", "SET", trace_id=trace_id).SerializeToString()
        send_by_grpc(listening, SPANS, body)
        post(listening, "/v1/metrics", b"")
        assert heard(listening, trace_id.hex()) == ["GET", "SET"]
        arrived = listening.overview.view().slowest[0].time
    assert path.read_bytes().startswith(HEADER)
    with replay(path) as replaying:
        wait_until(lambda: replaying.overview.view().slowest, timeout=5, what="it is played")
        view = replaying.overview.view()
        assert [call.name for call in view.slowest] == ["SET", "GET"]
        assert view.slowest[0].time == pytest.approx(arrived)
        assert view.time == pytest.approx(arrived, abs=1)
        replaying.check()


def test_it_is_played_at_its_own_pace_and_its_clock_with_it(tmp_path: Path) -> None:
    path = recording(tmp_path / "file", 1_000, 1_001, 1_004)
    player = Player(path, speed=10)
    assert (player.seconds, player.clock()) == (4, 1_000)
    heard_at: list[tuple[float, float]] = []
    began = time.monotonic()
    player.play(lambda it: heard_at.append((it.time, time.monotonic() - began)))
    for at, moment in heard_at:
        assert (at - 1_000) / 10 <= moment < (at - 1_000) / 10 + 5
    time.sleep(0.05)
    assert player.clock() == 1_004


def test_playing_ends_when_nobody_looks_any_more(tmp_path: Path) -> None:
    path = recording(tmp_path / "file", 0, 1_000_000)
    with replay(path) as replaying:
        wait_until(lambda: replaying.overview.view().slowest, timeout=5, what="it begins")
        threads = threading.active_count()
    assert threading.active_count() < threads


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", " at byte 0: no recording: it begins with 'otel-redis-cache recording 1'"),
        (b"\x7fELF\0\0", " at byte 0: no recording: it begins with 'otel-redis-cache recording 1'"),
        (b"\n" * 99, " at byte 0: no recording: it begins with 'otel-redis-cache recording 1'"),
        (
            b"otel-redis-cache recording 7\n",
            " at byte 0: version 7 of recordings, and 1 is expected",
        ),
        (HEADER + b"\xff" * 20, " at byte 29: broken or cut off: a time is expected"),
        (HEADER + b"\x05\xff\xff", " at byte 29: broken or cut off: a time is expected"),
        (HEADER + b"\0", " at byte 30: cut off: a message is expected after its time"),
        (
            HEADER + b"\0\0",
            " at byte 30: a message of another kind: OTLP spans or metrics are expected",
        ),
    ],
)
def test_a_file_that_is_none_is_said_so(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert refusal(path) == f"{path}{expected}{NEXT}"


def test_a_message_that_is_no_otlp_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = BytesIO(HEADER)
    content.seek(0, SEEK_END)
    serialize_length_prefixed(Timestamp(), content)
    kind = f"type.googleapis.com/{MetricsRequest.DESCRIPTOR.full_name}"
    serialize_length_prefixed(Any(type_url=kind, value=b"\xff"), content)
    path.write_bytes(content.getvalue())
    assert refusal(path).startswith(f"{path} at byte 30: not an OTLP message: ")


@pytest.mark.parametrize(("seconds", "nanos"), [(2**62, 0), (-1, 0), (0, -1), (0, 1_000_000_000)])
def test_a_time_that_no_clock_shows_is_said_so(tmp_path: Path, seconds: int, nanos: int) -> None:
    path = tmp_path / "file"
    content = BytesIO(HEADER)
    content.seek(0, SEEK_END)
    serialize_length_prefixed(Timestamp(seconds=seconds, nanos=nanos), content)
    path.write_bytes(content.getvalue())
    assert refusal(path) == f"{path} at byte 29: a time that no clock shows{NEXT}"


def test_a_recording_of_thousands_of_years_is_played_until_somebody_ends_it(tmp_path: Path) -> None:
    with replay(recording(tmp_path / "file", 0, LAST_SECOND)) as replaying:
        wait_until(lambda: replaying.overview.view().slowest, timeout=5, what="it begins")
        time.sleep(0.1)
        replaying.check()
        assert not replaying.is_over()


def test_wherever_it_is_cut_off_it_is_whole_so_far_or_said_so(tmp_path: Path) -> None:
    path = recording(tmp_path / "file", 1_000, 1_001)
    whole, cut = path.read_bytes(), tmp_path / "cut"
    lengths: list[int] = []
    for size in range(len(HEADER), len(whole)):
        cut.write_bytes(whole[:size])
        length, refused = outcome(cut)
        if refused is None:
            lengths.append(length)
        else:
            assert refused.startswith(f"{cut} at byte ")
            assert refused.endswith(NEXT)
    assert lengths == [0, 1, 2, 3]


@given(st.binary(max_size=100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(HEADER + content)
    _, refused = outcome(path)
    assert refused is None or refused.startswith(f"{path} at byte ")


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(RecordingError, match=f"{path} is there already: remove it, or record"):
        open_recorder(path).__enter__()
    assert path.read_bytes() == b"precious"


def test_a_place_where_nothing_can_be_written_or_read_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "file"
    with pytest.raises(RecordingError, match=f"cannot record to {path}: No such file or directory"):
        open_recorder(path).__enter__()
    assert refusal(path).startswith(f"cannot read {path}: No such file or directory; ")
    assert refusal(tmp_path).startswith(f"cannot read {tmp_path}: Is a directory; ")


def test_a_recording_that_cannot_go_on_ends_the_listening_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    expected = f"cannot write to {path}: File too large; make room, or record elsewhere"
    with (
        pytest.raises(RecordingError, match=expected),
        listen(grpc_port=0, http_port=0, record=path) as listening,
        small_files(len(HEADER) + 10),
    ):
        record_one(listening)


def record_one(listening: Listening) -> None:
    """Until it is read, and so recorded."""
    send_by_grpc(listening, SPANS, spans_request("GET").SerializeToString())
    for _ in range(250):
        listening.check()
        time.sleep(0.02)


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """No file may become larger, as where a quota is used up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
