"""However many nodes, commands and caches a server has: bounded, and caches with exact totals."""

from __future__ import annotations

from otel_redis_cache.server.readings import BOUND, Series, bounded


def of_cache(number: int) -> Series:
    return (("db.system.name", "redis"), ("cache.name", f"cache{number}"))


def of_node(number: int) -> Series:
    return (("server.address", f"node{number}"), ("server.port", 6379))


def test_caches_beyond_the_bound_are_other_together() -> None:
    found = {of_cache(number): number for number in range(BOUND + 10)}
    kept, left_out = bounded(found, set())

    assert left_out == 10
    assert len(kept) == BOUND + 1
    assert sum(kept.values()) == sum(found.values())
    assert kept[("db.system.name", "redis"), ("cache.name", "_other")] == sum(
        range(BOUND, BOUND + 10)
    )


def test_nodes_beyond_the_bound_are_left_out() -> None:
    found = {of_node(number): number for number in range(BOUND + 10)}
    kept, left_out = bounded(found, set())

    assert (len(kept), left_out) == (BOUND, 10)


def test_what_was_shown_before_stays() -> None:
    found = {of_node(number): number for number in range(BOUND + 10)}
    shown = {of_node(number) for number in range(10, BOUND + 10)}
    kept, _ = bounded(found, shown)

    assert set(kept) == shown
