"""Django's own Redis backend, django-redis, and what Django and its REST framework keep in them."""

from __future__ import annotations

import importlib
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.views.decorators.cache import cache_page

from tests.frameworks.conftest import WHO, Told
from tests.real.servers import RedisServer

BACKENDS = {
    "own": "django.core.cache.backends.redis.RedisCache",
    "django-redis": "django_redis.cache.RedisCache",
}


@pytest.fixture(scope="module", autouse=True)
def configured(server: RedisServer) -> None:
    """Django's settings belong to the process, so this is done once."""
    cache = {"BACKEND": BACKENDS["django-redis"], "LOCATION": server.url}
    settings.configure(
        ALLOWED_HOSTS=["shop"],
        CACHES={
            "default": cache,
            **{name: {**cache, "BACKEND": backend} for name, backend in BACKENDS.items()},
            **{
                f"{name} with a prefix": {**cache, "BACKEND": backend, "KEY_PREFIX": "shop"}
                for name, backend in BACKENDS.items()
            },
        },
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.sessions"],
        SECRET_KEY="a",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0, run_syncdb=True)


@pytest.mark.parametrize("alias", BACKENDS)
def test_without_a_prefix_the_first_part_of_the_key_is_its_name(told: Told, alias: str) -> None:
    cache = caches[alias]
    cache.set(f"user:{WHO}", 1)
    cache.get(f"user:{WHO}")
    cache.get_many([f"user:{WHO}", f"cart:{WHO}"])
    cache.get(WHO)
    cache.add(f"cart:{WHO}", 1)
    cache.delete(f"user:{WHO}")

    assert told.on_server() == {":1:cart:<who>"}
    assert told.lookups() == {
        ("user", "hit"): 2,
        ("cart", "miss"): 1,
        ("_default", "miss"): 1,
    }
    assert told.writes() == {"user": 1, "cart": 1}
    assert told.removals() == {"user": 1}


@pytest.mark.parametrize("alias", BACKENDS)
def test_with_a_prefix_it_is_the_name(told: Told, alias: str) -> None:
    cache = caches[f"{alias} with a prefix"]
    cache.set(f"user:{WHO}", 1)
    cache.get(f"user:{WHO}")

    assert told.on_server() == {"shop:1:user:<who>"}
    assert told.lookups() == {("shop", "hit"): 1}
    assert told.writes() == {"shop": 1}


def test_a_lock_of_django_redis_is_named_as_its_key(told: Told) -> None:
    with caches["django-redis"].lock(f"lock:{WHO}", timeout=9):
        assert told.on_server() == {":1:lock:<who>"}

    assert told.writes() == {"lock": 1}
    assert told.names() == {"lock"}


@pytest.mark.parametrize("prefix", ["", " with a prefix"])
@pytest.mark.parametrize("alias", BACKENDS)
@pytest.mark.parametrize("engine", ["cache", "cached_db"])
def test_sessions_are_one_cache(
    told: Told, monkeypatch: pytest.MonkeyPatch, engine: str, alias: str, prefix: str
) -> None:
    monkeypatch.setattr(settings, "SESSION_CACHE_ALIAS", alias + prefix, raising=False)
    store = importlib.import_module(f"django.contrib.sessions.backends.{engine}").SessionStore
    session = store()
    session["user"] = WHO
    session.save()
    told.secrets.add(session.session_key)
    assert store(session.session_key)["user"] == WHO
    (key,) = told.on_server()
    session.delete()

    assert key.endswith(f":1:django.contrib.sessions.{engine}{session.session_key}")
    assert told.lookups() == {("django.contrib.sessions", "hit"): 1}
    assert told.writes().keys() == {"django.contrib.sessions"}
    assert told.removals() == {"django.contrib.sessions": 1}
    assert told.names() == {"django.contrib.sessions"}


@pytest.mark.parametrize("alias", ["django-redis", "own with a prefix"])
@pytest.mark.parametrize("key_prefix", ["", "shop:eu"])
def test_pages_and_their_headers_are_a_cache_each(told: Told, alias: str, key_prefix: str) -> None:
    @cache_page(60, cache=alias, key_prefix=key_prefix)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(WHO.encode())

    for _ in range(2):
        view(RequestFactory().get(f"/users/{WHO}:1", {"of": WHO}, headers={"host": "shop"}))

    header, page = sorted(key.partition("cache.cache_")[2] for key in told.on_server())
    assert header.startswith(f"header.{key_prefix}.<hex>.")
    assert page.startswith(f"page.{key_prefix}.GET.<hex>.<hex>.")
    assert told.lookups() == {
        ("views.decorators.cache.cache_header", "miss"): 1,
        ("views.decorators.cache.cache_header", "hit"): 1,
        ("views.decorators.cache.cache_page", "hit"): 1,
    }
    assert told.writes() == {
        "views.decorators.cache.cache_header": 1,
        "views.decorators.cache.cache_page": 1,
    }


def test_a_fragment_of_a_template_has_its_own_name(told: Told) -> None:
    template = Template("{% load cache %}{% cache 60 sidebar user %}{{ user }}{% endcache %}")
    for _ in range(2):
        assert template.render(Context({"user": WHO})) == WHO

    assert told.on_server() == {":1:template.cache.sidebar.<hex>"}
    assert told.lookups() == {
        ("template.cache.sidebar", "miss"): 1,
        ("template.cache.sidebar", "hit"): 1,
    }
    assert told.writes() == {"template.cache.sidebar": 1}


@pytest.mark.parametrize("address", ["192.0.2.77", "fe80:5::abe:77", "a5b:d:0::abe:77"])
def test_throttling_does_not_tell_whom(told: Told, address: str) -> None:
    from rest_framework.throttling import AnonRateThrottle

    class Throttle(AnonRateThrottle):
        rate = "9/min"

    told.secrets.add(address)
    request: Any = RequestFactory().get("/", REMOTE_ADDR=address)
    request.user = None
    assert Throttle().allow_request(request, None)  # type: ignore[arg-type]

    assert told.on_server() == {f":1:throttle_anon_{address}"}
    assert told.lookups() == {("throttle", "miss"): 1}
    assert told.writes() == {"throttle": 1}
    assert told.names() == {"throttle"}
