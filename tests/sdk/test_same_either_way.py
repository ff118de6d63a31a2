"""The fast path makes what the public API makes, with every SDK (`nox -s sdks`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sdk.stories import (
    FILTERS,
    VIEWS,
    Add,
    Collect,
    Reader,
    Record,
    Remove,
    Shape,
    Stage,
    Step,
    Switch,
)


@pytest.fixture(autouse=True, scope="module")
def _no_word_about_each_wrong_value() -> Iterator[None]:
    logger = logging.getLogger("opentelemetry.sdk.metrics._internal.instrument")
    logger.disabled = True
    yield
    logger.disabled = False


CUMULATIVE = st.builds(Reader, is_exponential=st.booleans())
READERS = st.builds(
    Reader, is_delta=st.integers(0, 9).map(lambda drawn: drawn == 9), is_exponential=st.booleans()
)
SHAPES = st.builds(
    Shape,
    readers=st.lists(READERS, min_size=1, max_size=2),
    views=st.lists(st.sampled_from(sorted(VIEWS)), unique=True, max_size=3),
    filter=st.sampled_from(sorted(FILTERS)),
)
VALUES = (
    st.floats(0, 100) | st.sampled_from([0, 1, 0.5, 1e-300, 1e300]) | st.sampled_from([-1.0, 0.0])
)
UNUSUAL = st.sampled_from([float("nan"), float("inf"), -0.0, True])
RECORDS = st.builds(
    Record,
    series=st.sampled_from([1, 1, 1, 2, 0, 3, 4, 5, 6, 7]),
    value=VALUES | UNUSUAL,
    span=st.integers(-2, 3),
)
OTHERS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Collect, st.integers(0, 2)),
    st.builds(Add, READERS),
    st.builds(Remove, st.integers(0, 5)),
    st.just(Switch(is_on=False)),
    st.just(Switch(is_on=True)),
)
CHAPTERS = st.tuples(OTHERS, st.lists(RECORDS, min_size=3, max_size=12))
STORIES: st.SearchStrategy[list[Step]] = st.lists(CHAPTERS, min_size=1, max_size=5).map(
    lambda chapters: [step for other, records in chapters for step in (*records, other)]
)


def test_any_story_makes_the_same_points() -> None:
    fast_measurements = 0

    @given(shape=SHAPES, story=STORIES)
    @settings(max_examples=300, deadline=None)
    def tell(shape: Shape, story: list[Step]) -> None:
        nonlocal fast_measurements
        public, fast = Stage(shape, is_fast=False), Stage(shape, is_fast=True)

        assert fast.tell(story) == public.tell(story)
        fast_measurements += fast.fast_measurements

    tell()
    assert fast_measurements > 300


@given(
    shape=SHAPES,
    stories=st.tuples(st.lists(RECORDS, max_size=8), st.lists(RECORDS, max_size=8)),
    reader=CUMULATIVE,
)
@settings(max_examples=100, deadline=None)
def test_a_reader_that_comes_later_sees_the_same(
    shape: Shape, stories: tuple[list[Step], list[Step]], reader: Reader
) -> None:
    story = [*stories[0], Collect(0), Add(reader), *stories[1], Collect(1), *stories[1]]
    public, fast = Stage(shape, is_fast=False), Stage(shape, is_fast=True)

    assert fast.tell(story) == public.tell(story)


@given(shape=SHAPES)
@settings(max_examples=50, deadline=None)
def test_it_is_fast_exactly_where_no_reader_drops_its_aggregations(shape: Shape) -> None:
    fast = Stage(shape, is_fast=True)
    fast.tell([Record(1, 0.5)])
    series: Any = fast.series[1]

    assert series.is_resolved is not fast.has_delta


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_nothing_is_logged_about_views(view: str, caplog: pytest.LogCaptureFixture) -> None:
    fast = Stage(Shape([Reader(), Reader()], [view]), is_fast=True)
    fast.tell([Record(1, 0.5), Collect(0), Record(1, 0.25), Record(3, 0.5)])

    assert caplog.messages == []
