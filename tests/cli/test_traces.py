"""The model of spans: what is kept, and which trace is worth a look."""

from __future__ import annotations

import pytest

from otel_redis_cache.cli.traces import MAX_ROWS, Branch, Span, Traces, arrange


def span(trace: str, number: int, parent: int = 0, name: str = "GET", hit: str = "") -> Span:
    attributes = {"cache.name": "product", "cache.hit": hit} if hit else {}
    start = number * 1_000
    return Span(
        trace, str(number), str(parent or ""), name, start, start + 500, attributes=attributes
    )


def request(trace: str, *hits: str) -> list[Span]:
    children = [span(trace, number, 1, hit=hit) for number, hit in enumerate(hits, start=2)]
    return [*children, span(trace, 1, name="GET /")]


def chosen(*traces: list[Span]) -> str | None:
    kept = Traces()
    for trace in traces:
        kept.record(trace)
    branch = kept.choose()
    return branch.span.trace_id if branch else None


def test_no_trace_is_chosen_while_there_is_none() -> None:
    assert chosen() is None


def test_a_span_alone_is_no_trace_to_show() -> None:
    assert chosen([span("a", 1)]) is None


def test_a_trace_with_a_missing_parent_is_not_chosen() -> None:
    assert chosen([span("a", 2, 1), span("a", 3, 1)]) is None
    assert chosen([span("a", 1), span("a", 3, 2)]) is None


def test_a_hit_next_to_a_miss_tells_more_than_many_spans() -> None:
    assert chosen(request("a", "true", "false"), request("b", *["true"] * 5)) == "a"


def test_a_lookup_of_many_keys_counts_for_what_it_found() -> None:
    page = Span("a", "2", "1", "MGET", 0, 1, {"cache.hits": "6", "cache.misses": "2"})
    root = span("a", 1, name="GET /search")
    assert chosen(request("b", *["true"] * 5), [page, root]) == "a"


@pytest.mark.parametrize(
    "told",
    [
        {"cache.stampede": "true"},
        {"cache.ttl": "15.0"},
        {"cache.invalidation.removed": "2", "cache.invalidation.reason": "deploy"},
    ],
    ids=str,
)
def test_a_stampede_a_time_to_live_or_a_removal_tells_more_than_many_spans(
    told: dict[str, str],
) -> None:
    telling = Span("a", "2", "1", "GET", 0, 1, {"cache.hit": "true", **told})
    root = span("a", 1, name="GET /")
    assert chosen(request("b", *["true"] * 5), [telling, root]) == "a"


def test_a_removal_that_found_nothing_tells_nothing() -> None:
    idle = Span(
        "b", "2", "1", "DEL", 0, 1, {"cache.hit": "true", "cache.invalidation.removed": "0"}
    )
    assert chosen(request("a", "true"), [idle, span("b", 1, name="GET /")]) == "a"


def test_a_trace_too_long_for_the_screen_is_not_chosen() -> None:
    assert chosen(request("a", *["true", "false"] * MAX_ROWS), request("b", "true")) == "b"


def test_spans_hang_below_their_parents_in_order_of_time() -> None:
    traces = Traces()
    late, inner = span("a", 5, 1, name="SET"), span("a", 3, 2, name="SELECT")
    early, root = span("a", 2, 1, name="GET"), span("a", 1, name="GET /")
    traces.record([late, inner, early, root])
    assert traces.choose() == Branch(root, [Branch(early, [Branch(inner, [])]), Branch(late, [])])


def test_only_the_last_spans_are_kept_and_all_are_counted() -> None:
    traces = Traces(limit=3)
    traces.record(request("a", "true", "false"))
    traces.record(request("b", "true"))
    chosen = traces.choose()
    assert chosen
    assert chosen.span.trace_id == "b"
    assert traces.received == 5


class TestArrange:
    def test_parts_of_a_trace_whose_root_is_missing_stand_side_by_side(self) -> None:
        late, inner, early = span("a", 5, 9), span("a", 6, 5), span("a", 3, 8)
        assert arrange([late, inner, early]) == [
            Branch(early, []),
            Branch(late, [Branch(inner, [])]),
        ]

    def test_spans_that_are_each_others_parents_are_all_there(self) -> None:
        first, second, own = span("a", 1, 2), span("a", 2, 1), span("a", 3, 3)
        assert arrange([own, second, first]) == [
            Branch(first, [Branch(second, [])]),
            Branch(own, []),
        ]

    def test_a_span_that_came_twice_is_there_once(self) -> None:
        root, child = span("a", 1), span("a", 2, 1)
        assert arrange([root, child, child]) == [Branch(root, [Branch(child, [])])]

    def test_a_deep_trace_does_not_break_it(self) -> None:
        [branch] = arrange(span("a", number, number - 1) for number in range(1, 201))
        depth = 1
        while branch.children:
            [branch] = branch.children
            depth += 1
        assert depth == 200
