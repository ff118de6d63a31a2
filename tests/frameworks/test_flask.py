"""Flask-Caching and Flask-Session."""

from __future__ import annotations

from typing import Any

import flask
import pytest
import redis
from flask_caching import Cache

from tests.frameworks.conftest import WHO, Told

# Flask-Caching 2.4, the last one for Python 3.10, calls it.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


@pytest.fixture
def application() -> flask.Flask:
    return flask.Flask("shop")


@pytest.fixture
def cache(application: flask.Flask, told: Told) -> Cache:
    return Cache(application, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": told.url})


@pytest.mark.parametrize("query_string", [False, True])
def test_views_are_one_cache(
    told: Told, application: flask.Flask, cache: Cache, query_string: bool
) -> None:
    @application.route("/users/<name>")
    @cache.cached(query_string=query_string)
    def user(name: str) -> str:
        return name

    for _ in range(2):
        assert application.test_client().get(f"/users/{WHO}:1?of={WHO}").text == f"{WHO}:1"

    (key,) = told.on_server()
    assert "/users/<who>:" in key
    assert told.lookups() == {("flask_cache_view", "miss"): 1, ("flask_cache_view", "hit"): 1}
    assert told.writes() == {"flask_cache_view": 1}


def test_memoized_functions_and_their_versions_are_a_cache_each(
    told: Told, application: flask.Flask, cache: Cache
) -> None:
    @cache.memoize()
    def user(name: str) -> str:
        return name

    class Shop:
        def __repr__(self) -> str:
            return WHO

        @cache.memoize()
        def order(self, name: str) -> str:
            return name

    with application.test_request_context():
        for _ in range(2):
            assert (user(WHO), Shop().order(WHO)) == (WHO, WHO)
        cache.delete_memoized(user, WHO)

    assert len([key for key in told.on_server() if key.endswith("_memver")]) == 3
    assert any("<who>_memver" in key for key in told.on_server())
    assert told.lookups()["flask_cache", "miss"] == 2
    assert told.lookups()["flask_cache", "hit"] == 2
    assert told.lookups()["flask_cache_memver", "miss"] == 3
    assert told.names() == {"flask_cache", "flask_cache_memver"}
    assert told.removals() == {"flask_cache": 1}


def test_keys_of_ones_own_are_named_after_their_first_part(
    told: Told, application: flask.Flask, cache: Cache
) -> None:
    @cache.cached(key_prefix="all_comments")
    def comments() -> str:
        return WHO

    with application.test_request_context():
        comments()
    cache.set(f"user:{WHO}", 1)
    cache.get_many(f"user:{WHO}", f"cart:{WHO}")
    cache.delete(f"user:{WHO}")

    assert told.on_server() == {"flask_cache_all_comments"}
    assert told.lookups() == {
        ("flask_cache", "miss"): 1,
        ("user", "hit"): 1,
        ("cart", "miss"): 1,
    }
    assert told.writes() == {"flask_cache": 1, "user": 1}
    assert told.removals() == {"user": 1}


@pytest.mark.parametrize(("prefix", "name"), [("shop:", "shop"), ("shop", "_default")])
def test_another_prefix_is_the_name_if_a_colon_ends_it(
    told: Told, application: flask.Flask, prefix: str, name: str
) -> None:
    config = {
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_URL": told.url,
        "CACHE_KEY_PREFIX": prefix,
    }
    cache = Cache(application, config=config)

    @application.route("/users/<name>")
    @cache.cached()
    def user(name: str) -> str:
        return name

    application.test_client().get(f"/users/{WHO}:1")

    assert told.on_server() == {f"{prefix}view//users/<who>:1"}
    assert told.lookups() == {(name, "miss"): 1}


def test_sessions_of_flask_session_are_one_cache(told: Told, application: flask.Flask) -> None:
    from flask_session import Session

    application.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.from_url(told.url))
    Session(application)

    @application.route("/")
    def visit() -> dict[str, Any]:
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return dict(flask.session)

    client = application.test_client()
    client.get("/")
    told.secrets.add(client.get_cookie("session").value)  # type: ignore[union-attr]
    assert client.get("/").json["visits"] == 2  # type: ignore[index]

    assert told.lookups() == {("session", "hit"): 1}
    assert told.writes() == {"session": 2}
    assert told.names() == {"session"}
