"""What of an address may be shown."""

from __future__ import annotations

import pytest

from otel_redis_cache.cli.addresses import redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("rediss://user:secret@example.com/2", "rediss://***@example.com/2"),
        ("redis://:secret@[::1]:6380", "redis://***@[::1]:6380"),
        ("redis://localhost/0?password=secret", "redis://localhost/0"),
        ("redis://localhost/0?password=se@cret", "redis://***"),
        ("redis://:se/cret@localhost:6379", "redis://***"),
        ("redis://:se#cret@localhost:6379", "redis://***"),
        ("redis://:se?cret@localhost:6379", "redis://***"),
        ("redis://localhost:secret", "redis://***"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("user:secret@localhost", "***"),
        ("localhost:6379", "localhost:6379"),
        ("localhost:6379?password=secret", "localhost:6379"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert redact(url) == shown
