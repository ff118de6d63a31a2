"""`make top-load` for a moment: what is carried is not dropped, and what is not is said."""

from __future__ import annotations

import pytest

from benchmarks.top import measure


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_at_a_modest_rate_nothing_is_dropped(protocol: str) -> None:
    result = measure(protocol, rate=4_000, seconds=3)
    assert (result.dropped, result.rejected) == (0, 0)
    assert result.series >= 500
    assert result.sent >= 4_000


def test_beyond_all_rates_what_is_dropped_is_what_senders_are_told() -> None:
    result = measure("grpc", rate=10_000_000, seconds=3, senders=8, capacity=1_000_000)
    assert result.dropped == result.rejected > 0
    assert result.deepest < 3_000_000
