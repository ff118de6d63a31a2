"""What only Sentry does: its wrappers are there to stay, and to collect errors too."""

from __future__ import annotations

from tests.real.servers import RedisServer

from .processes import run

BEFORE = """
import sys
import redis
from tests.coexistence.packages import Sentry
from tests.recording import Recording

recording = Recording()
client = redis.Redis.from_url(sys.argv[1])
"""

ERRORS_ALONE = """
Sentry(traces_sample_rate=None).switch_on()
recording.instrument()
client.get("user:1")
print(recording.operations())
Sentry().switch_on()
client.get("user:1")
print(recording.operations(), recording.lookups())
"""

WITHOUT_ITS_INTEGRATION = """
Sentry().switch_on()
recording.instrument()
other = Sentry(integrations=[])
other.switch_on()
with other.trace():
    client.get("user:1")
print(recording.operations(), other.spans())
"""

MANY_CLIENTS = """
from otel_redis_cache import RedisCacheInstrumentor
from otel_redis_cache.neighbours import layers

recording.instrument()
Sentry().switch_on()
for _ in range(10):
    one = redis.Redis.from_url(sys.argv[1])
    RedisCacheInstrumentor.instrument_client(one, **recording.providers)
print(len([layer for layer in layers(redis.Redis.execute_command)]))
"""


def after(program: str, server: RedisServer) -> list[str]:
    server.flush()
    return run("-c", BEFORE + program, server.url).splitlines()


def test_where_it_collects_errors_alone_the_spans_are_ours(valkey_server: RedisServer) -> None:
    assert after(ERRORS_ALONE, valkey_server) == ["['GET']", "['GET'] {('user', 'miss'): 2}"]


def test_where_its_integration_is_disabled_the_spans_are_ours(valkey_server: RedisServer) -> None:
    assert after(WITHOUT_ITS_INTEGRATION, valkey_server) == ["['GET'] []"]


def test_wrappers_do_not_pile_up_around_it(valkey_server: RedisServer) -> None:
    """Sentry, ours and redis-py's own method."""
    assert after(MANY_CLIENTS, valkey_server) == ["3"]
