from __future__ import annotations

from typing import Any

import pytest
from wrapt import wrap_function_wrapper

from otel_redis_cache.neighbours import Neighbours, layers


class Endless:
    """An application's object that has an answer to everything."""

    def __getattr__(self, _: str) -> Endless:
        return Endless()


class Client:
    def execute_command(self) -> str:
        return "reply"


def test_a_wrapper_of_nobody_we_know_makes_no_span() -> None:
    def trace(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    wrap_function_wrapper(Client, "execute_command", trace)
    neighbours = Neighbours(matter=True)
    client = Client()

    assert len(list(layers(vars(Client)["execute_command"]))) == 2
    assert neighbours.span_maker(client, is_batch=False) is None
    assert neighbours.are_absent(client, is_batch=False)


@pytest.mark.parametrize("method", [Endless(), None, 7])
def test_whatever_an_application_puts_in_the_place_of_a_method_ends(method: object) -> None:
    neighbours = Neighbours(matter=True)
    client: Any = Client()
    client.execute_command = method

    assert neighbours.span_maker(client, is_batch=False) is None
    assert not neighbours.are_absent(client, is_batch=False)


def test_where_nobody_asks_nobody_is_looked_for() -> None:
    neighbours = Neighbours(matter=False)
    assert neighbours.are_absent(Client(), is_batch=False)
    assert neighbours.span_maker(Client(), is_batch=False) is None
