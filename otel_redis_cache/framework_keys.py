"""The keys that well-known libraries write, and the cache that each kind belongs to.

Most of them need nothing: what stands before the first colon is their name already. The others have
a pattern here. A name is text that is always the same, or a word of the programmer's (a function,
a namespace), and never an argument, an identifier or a hash.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Shape(NamedTuple):
    """One kind of key."""

    key: str
    """How it looks; ``<...>`` stands for what must not be in a name."""

    name: str
    """The cache that it belongs to."""

    pattern: str = ""
    """How it begins, if the first part is not its name. The group, if there is one, is the name."""


class Library(NamedTuple):
    """One library and the kinds of keys that it writes."""

    name: str
    documentation: str
    shapes: tuple[Shape, ...]


_WORD = r"[A-Za-z][\w.-]{1,39}"
_MD5 = r"[0-9a-f]{32}\Z"

LIBRARIES = (
    Library(
        "Django, django-redis",
        "https://docs.djangoproject.com/en/stable/topics/cache/",
        (
            Shape(":1:user:<id>", "user"),  # an empty KEY_PREFIX and a version, see DJANGO_PREFIX
            Shape("shop:1:user:<id>", "shop"),
            Shape(
                ":1:django.contrib.sessions.cache<session>",
                "django.contrib.sessions",
                r"django\.contrib\.sessions\.",
            ),
            Shape(
                "shop:1:django.contrib.sessions.cached_db<session>",
                "django.contrib.sessions",
            ),
            Shape(
                ":1:views.decorators.cache.cache_page..GET.<md5>.<md5>.en-us.UTC",
                "views.decorators.cache.cache_page",
                r"(views\.decorators\.cache\.cache_(?:page|header))\.",
            ),
            Shape(
                ":1:views.decorators.cache.cache_header..<md5>.en-us.UTC",
                "views.decorators.cache.cache_header",
            ),
            Shape(
                ":1:template.cache.sidebar.<md5>",
                "template.cache.sidebar",
                rf"(template\.cache\.[A-Za-z][\w-]*)\.{_MD5}",
            ),
        ),
    ),
    Library(
        "Django REST framework",
        "https://www.django-rest-framework.org/api-guide/throttling/",
        (Shape(":1:throttle_anon_<address>", "throttle", r"throttle_"),),
    ),
    Library(
        "Flask-Caching",
        "https://flask-caching.readthedocs.io/en/latest/",
        (
            # Before 2.5 the view of a query string has no word before its path.
            Shape("flask_cache_view/<path>", "flask_cache_view", r"flask_cache_(?:view)?/"),
            Shape("flask_cache_/<path><md5>", "flask_cache_view"),
            Shape("flask_cache_user:<id>", "user", rf"flask_cache_({_WORD}):"),
            # memoize() has the version of a function beside its results.
            Shape(
                "flask_cache_app.get_user_memver",
                "flask_cache_memver",
                r"flask_cache_[^:]+_memver\Z",
            ),
            Shape("flask_cache_<hash>", "flask_cache", r"flask_cache_"),
        ),
    ),
    Library(
        "Flask-Session",
        "https://flask-session.readthedocs.io/en/latest/config.html",
        (Shape("session:<session>", "session"),),
    ),
    Library(
        "starsessions (Starlette)",
        "https://github.com/alex-oleshkevich/starsessions",
        (Shape("starsessions.<session>", "starsessions", r"starsessions\."),),
    ),
    Library(
        "aiocache",
        "https://aiocache.aio-libs.org/en/latest/decorators.html",
        (
            # A module and a function, the tuple of arguments, the list of keyword arguments.
            Shape(
                "app.usersget_user('<id>', 7)[('tenant', '<tenant>')]",
                "app.usersget_user",
                r"(?=[\w.]*\()([A-Za-z][\w.]*)\((?:[^,]*,.*)?\)\[[\](]",
            ),
            Shape("main:app.usersget_user('<id>',)[]", "main"),
            Shape("<element>", "_default"),  # multi_cached()
        ),
    ),
    Library(
        "cashews",
        "https://github.com/Krukov/cashews",
        (
            Shape("app.users:get_user:user_id:<id>", "app.users"),
            Shape("early:v2:user:<id>", "early"),
            Shape("hit:user:<id>", "hit"),
            Shape("soft:user:<id>", "soft"),
            Shape("fail:user:<id>", "fail"),
            Shape("locked:user:<id>", "locked"),
            Shape("rate_limit:user:<id>", "rate_limit"),
            Shape("_tag:users:<id>", "tag", r"_tag:"),
            Shape(":tx_lock:user:<id>", "tx_lock", r":tx_lock:"),
            # Client-side caching prefixes every key.
            Shape("cashews:user:<id>", "user", rf"cashews:({_WORD}):"),
            Shape("cashews:orders", "cashews", r"cashews:"),
        ),
    ),
    Library(
        "dogpile.cache",
        "https://dogpilecache.sqlalchemy.org/en/latest/api.html",
        (
            Shape("app.users:get_user|<id>", "app.users"),
            Shape("_lockapp.users:get_user|<id>", "lock", r"_lock"),
            Shape("<sha1>", "_default"),  # key_mangler=sha1_mangle_key
        ),
    ),
    Library(
        "fastapi-cache",
        "https://github.com/long2ice/fastapi-cache",
        (
            Shape("fastapi-cache:users:<md5>", "fastapi-cache"),
            Shape(":users:<md5>", "users", rf":({_WORD}):{_MD5}"),  # without a prefix
            Shape("::<md5>", "fastapi-cache", rf"::{_MD5}"),
        ),
    ),
    Library(
        "rq",
        "https://python-rq.org/docs/",
        (
            Shape("rq:job:<id>", "rq"),
            Shape("rq:queue:default", "rq"),
        ),
    ),
    Library(
        "Celery",
        "https://docs.celeryq.dev/en/stable/userguide/configuration.html#redis-backend-settings",
        (
            # Before it may stand result_backend_transport_options["global_keyprefix"].
            Shape(
                "celery-task-meta-<id>",
                "celery-task-meta",
                r"[\w.-]{0,32}(celery-task(?:set)?-meta)-",
            ),
            Shape("celery-taskset-meta-<id>.j", "celery-taskset-meta"),
        ),
    ),
    Library(
        "Kombu",
        "https://docs.celeryq.dev/projects/kombu/en/stable/reference/kombu.transport.redis.html",
        (
            Shape("celery", "celery", r"celery(?:\x06\x16\d)?\Z"),  # \x06\x16 and a priority
            Shape("emails", "_default"),
            Shape("_kombu.binding.emails", "kombu.binding", r"_kombu\.binding"),
            Shape("unacked_index", "unacked", r"unacked(?:_index|_mutex)?\Z"),
            Shape("<id>.reply.celery.pidbox", "_default"),
        ),
    ),
    Library(
        "redis-py locks",
        "https://redis.readthedocs.io/en/stable/lock.html",
        (Shape("lock:<id>", "lock"), Shape("orders", "_default")),
    ),
)

DJANGO_PREFIX = re.compile(
    r":\d{1,9}:"
    r"|[^:]{1,64}:\d{1,9}:(?=django\.contrib\.|views\.decorators\.|template\.cache\.)"
)
"""``KEY_PREFIX:version:``. With a prefix, only before Django's own: other keys may be ``user:1:x``."""

_SHAPES = [shape for library in LIBRARIES for shape in library.shapes if shape.pattern]
_ANY_SHAPE = re.compile(
    "|".join(
        shape.pattern if re.compile(shape.pattern).groups else f"{shape.pattern}()"
        for shape in _SHAPES
    ),
    re.ASCII | re.DOTALL,
)


def framework_name(text: str) -> str | None:
    """What one of the patterns finds; None where none does. The time is linear in the text."""
    found = _ANY_SHAPE.match(text)
    if found is None or found.lastindex is None:
        return None
    return found[found.lastindex] or _SHAPES[found.lastindex - 1].name
