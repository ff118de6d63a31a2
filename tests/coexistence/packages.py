"""The packages that may watch the same clients, each with its spans kept in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from tests.recording import Recording

NOBODY = "127.0.0.1:1"


class Package(Protocol):
    """Another instrumentation of Redis clients."""

    name: str
    """As our line in the log says it."""
    libraries: Sequence[str]
    """The client libraries that it watches."""
    overlooks: Sequence[str]
    """Calls that it makes no spans of."""

    def switch_on(self) -> None: ...

    def switch_off(self) -> None: ...

    def trace(self) -> AbstractContextManager[object]:
        """Where calls have to happen for this package to make spans of them."""
        ...

    def spans(self) -> list[str]:
        """What it has made since it was asked last, in words that are the same each time."""
        ...


class Contrib:
    """opentelemetry-instrumentation-redis."""

    name = "opentelemetry-instrumentation-redis"
    libraries = ("redis",)
    overlooks = ()

    def __init__(self) -> None:
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        self._instrumentor: Any = RedisInstrumentor()
        self._recording = Recording()

    def switch_on(self) -> None:
        self._instrumentor.instrument(tracer_provider=self._recording.tracer_provider)

    def switch_off(self) -> None:
        self._instrumentor.uninstrument()

    def trace(self) -> AbstractContextManager[object]:
        return nullcontext()

    def spans(self) -> list[str]:
        return [f"{span.name} {dict(span.attributes or {})}" for span in self._recording.take()]


class Ddtrace:
    """ddtrace, whose traces are taken away before they are sent to an agent."""

    name = "ddtrace"
    libraries = ("redis", "valkey")
    overlooks = ()

    def __init__(self) -> None:
        os.environ |= {
            "DD_TRACE_AGENT_URL": f"http://{NOBODY}",
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            "DD_CRASHTRACKING_ENABLED": "false",
            "DD_TRACE_STARTUP_LOGS": "false",
        }
        from ddtrace.trace import TraceFilter, tracer

        taken: list[Any] = []

        class Takes(TraceFilter):
            def process_trace(self, trace: list[Any]) -> None:
                taken.extend(trace)

        self.tracer: Any = tracer
        self.tracer.configure(trace_processors=[Takes()])
        self._taken = taken

    def switch_on(self) -> None:
        import ddtrace.contrib.internal.redis.patch as redis
        import ddtrace.contrib.internal.valkey.patch as valkey

        redis.patch()
        valkey.patch()

    def switch_off(self) -> None:
        import ddtrace.contrib.internal.redis.patch as redis
        import ddtrace.contrib.internal.valkey.patch as valkey

        redis.unpatch()
        valkey.unpatch()

    def trace(self) -> AbstractContextManager[object]:
        return nullcontext()

    def spans(self) -> list[str]:
        taken, self._taken[:] = list(self._taken), []
        tags = ("out.host", "db.system", "redis.raw_command", "valkey.raw_command")
        return [
            f"{span.resource} { {tag: span.get_tag(tag) for tag in tags} }"
            for span in taken
            if span.name.endswith(".command")
        ]


class Sentry:
    """sentry-sdk, whose envelopes stay in the process."""

    name = "sentry-sdk"
    libraries = ("redis",)
    overlooks = ("watched",)

    def __init__(self, **options: Any) -> None:
        from sentry_sdk.integrations.redis import RedisIntegration

        # It would import every framework that is installed to see what it can watch.
        self._only_asked_for: dict[str, Any] = {"auto_enabling_integrations": False}
        self._options = {
            "traces_sample_rate": 1.0,
            "integrations": [RedisIntegration()],
            **self._only_asked_for,
            **options,
        }
        self._envelopes: list[Any] = []

    def switch_on(self) -> None:
        import sentry_sdk

        kept = self._envelopes

        class Keeps(sentry_sdk.Transport):
            def capture_envelope(self, envelope: Any) -> None:
                kept.append(envelope)

        sentry_sdk.init(dsn=f"http://key@{NOBODY}/1", transport=Keeps, **self._options)

    def switch_off(self) -> None:
        """Its wrappers stay for good; it makes no spans any more."""
        import sentry_sdk

        sentry_sdk.init(**self._only_asked_for)

    def trace(self) -> AbstractContextManager[object]:
        import sentry_sdk

        return sentry_sdk.start_transaction(name="work")

    def spans(self) -> list[str]:
        taken, self._envelopes[:] = list(self._envelopes), []
        events = [envelope.get_transaction_event() for envelope in taken]
        spans = [span for event in events if event is not None for span in event["spans"]]
        return [
            f"{span['description']} {span['data']['server.address']}"
            for span in spans
            if span["op"] == "db.redis"
        ]


PACKAGES = {"contrib": Contrib, "ddtrace": Ddtrace, "sentry": Sentry}
