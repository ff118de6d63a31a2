"""A real server, and what an application that uses a library on it told about its keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.real.servers import RedisServer, binary_of
from tests.recording import Recording

WHO = "zoe7QzX"  # whoever it is that a key is about: an argument, an identifier, a part of a path

_HEXADECIMAL = re.compile(r"[0-9a-f]{32,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Told:
    """What was exported, and which keys are on the server that it was made from."""

    def __init__(self, recording: Recording, server: RedisServer) -> None:
        self._recording = recording
        self._server = server
        self.secrets = {WHO}

    @property
    def url(self) -> str:
        return self._server.url

    def on_server(self) -> set[str]:
        """The keys on the server, with what would identify somebody taken out."""
        keys = self._server.call("KEYS", "*")
        assert isinstance(keys, list)
        return {_HEXADECIMAL.sub("<hex>", str(key).replace(WHO, "<who>")) for key in keys}

    def lookups(self) -> dict[tuple[str, str], int]:
        return self._recording.lookups()

    def writes(self) -> dict[str, int]:
        """Keys stored, by cache."""
        return self._by_cache("cache.writes")

    def removals(self) -> dict[str, int]:
        """Requests to remove something, by cache."""
        return self._by_cache("cache.invalidation.requests")

    def names(self) -> set[str]:
        """Every cache that is named anywhere."""
        return set(re.findall(r'"cache.name": "([^"]*)"', self._recording.everything()))

    def hold_no_secret(self) -> None:
        exported = self._recording.everything()
        assert self.names()
        assert {secret for secret in self.secrets if secret in exported} == set()

    def _by_cache(self, metric: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for attributes, value in self._recording.points(metric):
            name = attributes["cache.name"]
            found[name] = found.get(name, 0) + value
        return found


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> RedisServer:
    """A real Valkey, or a real Redis where there is none: the keys are the same."""
    kind = "valkey" if binary_of("valkey") else "redis"
    running: RedisServer = request.getfixturevalue(f"{kind}_server")
    return running


@pytest.fixture
def told(recording: Recording, server: RedisServer) -> Iterator[Told]:
    """Instrumented from the start; whatever the test did, no secret of it was exported."""
    server.revive()
    server.flush()
    recording.instrument()
    told = Told(recording, server)
    yield told
    told.hold_no_secret()
