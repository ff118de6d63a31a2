"""What only ddtrace does."""

from __future__ import annotations

import pytest

from tests.real.servers import RedisServer

from .processes import run

BEFORE = """
import sys
import redis
from tests.coexistence.packages import Ddtrace
from tests.recording import Recording

other, recording = Ddtrace(), Recording()
client = redis.Redis.from_url(sys.argv[1])
"""

SWITCHED_OFF = """
other.switch_on()
recording.instrument()
other.tracer.enabled = False
client.get("user:1")
print(recording.operations(), other.spans())
other.tracer.enabled = True
client.get("user:1")
print(recording.operations(), len(other.spans()))
"""

LEAVES_FROM_UNDERNEATH = """
other.switch_on()
instrumentor = recording.instrument()
other.switch_off()
client.pipeline().get("user:1").execute()
print(len(other.spans()), recording.operations())
instrumentor.uninstrument()
recording.instrument()
client.pipeline().get("user:1").execute()
print(len(other.spans()), recording.operations(), recording.lookups())
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        pytest.param(SWITCHED_OFF, ["['GET'] []", "['GET'] 1"], id="its tracer is disabled"),
        pytest.param(
            LEAVES_FROM_UNDERNEATH,
            # unpatch() takes off whatever is on top, which is ours, and its own goes on.
            ["1 []", "1 [] {('user', 'miss'): 1}"],
            id="it leaves from underneath",
        ),
    ],
)
def test_one_span_is_made_also_where(
    valkey_server: RedisServer, program: str, printed: list[str]
) -> None:
    valkey_server.flush()
    assert run("-c", BEFORE + program, valkey_server.url).splitlines() == printed
