"""Whether the server is there, what this user may do, and whether it is set up for a cache."""

from __future__ import annotations

import re
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from otel_redis_cache.caches import Caches, FirstNames
from otel_redis_cache.cli.addresses import redact
from otel_redis_cache.cli.findings import Finding, TroubleError
from otel_redis_cache.cli.reach import (
    SECONDS,
    connect,
    connect_to_file,
    place_of,
    shake_hands,
    speaks_tls,
)
from otel_redis_cache.failures import failure_of
from otel_redis_cache.server.events import SETTING, missing_of
from otel_redis_cache.server.info import parse
from otel_redis_cache.server.sources import Node, Source, sources_of
from otel_redis_cache.settings import SettingError, Settings

NAME = "Redis"

SAMPLE = 1_000
"""Keys that are asked how long they live."""

SAMPLE_SECONDS = 2.0
BATCH = 100

FEW = 0.05
"""The share of entries without a time to live that nobody needs to hear of."""

MOST_CACHES = 3
"""Caches that are named in one line."""

_NEVER_EXPIRES, _GONE = -1, -2
_EXAMPLE = "redis://user:password@host:6379/0"
_KEY = "otel_redis_cache:doctor"
_REFUSALS = {
    "NOAUTH": "asks for a user and a password",
    "WRONGPASS": "refuses this user and password",
    "AuthenticationError": "refuses this user and password",
    "AuthenticationWrongNumberOfArgsError": "refuses this user and password",
}
_TEMPORARY = {
    "LOADING": "it is loading its data",
    "MAXCLIENTS": "it has as many clients as it may have",
    "MASTERDOWN": "it is a replica that has lost its primary",
    "BUSY": "it is busy with a script",
}


class Right(NamedTuple):
    """Something that a user may or may not do."""

    name: str
    words: tuple[str, ...]
    """A command that does no harm; ``{}`` stands for the database."""
    rule: str
    purpose: str


RIGHTS = (
    Right("INFO", ("INFO", "server"), "+info", "watch_server() and listen_events"),
    Right("SCAN", ("SCAN", "0", "COUNT", "1"), "+scan", "sample_memory and invalidate()"),
    Right("MEMORY USAGE", ("MEMORY", "USAGE", _KEY), "+memory|usage", "sample_memory"),
    Right("SUBSCRIBE", ("SUBSCRIBE", "__keyevent@{}__:expired"), "+subscribe", "listen_events"),
)


def check_redis(url: str | None, settings: Settings) -> Iterator[Finding]:
    """All about one server; what cannot be known without it is left out."""
    url = settings.watch if url is None else url
    if url is None:
        yield Finding(
            NAME, "skipped", "no server is named", "name one: --redis-url redis://localhost:6379/0"
        )
        return
    try:
        with _open(url) as client:
            info = _info(client)
            yield Finding(NAME, "ok", f"{redact(url)} answers")
            yield _check_version(info)
            yield from _check_rights(client)
            yield _check_events(client, settings)
            yield _check_memory(client, info)
            yield _check_lifetimes(client, info, settings)
    except TroubleError as trouble:
        yield trouble.as_finding(NAME)
    except (RedisError, OSError) as error:
        yield _explain(error, redact(url)).as_finding(NAME)


def _open(url: str) -> Any:
    """A client whose server has answered.

    Raises:
        TroubleError: there is none that answers.
    """
    try:
        source = sources_of(url)[0]
    except (SettingError, ValueError, TypeError):  # their texts are about a setting
        raise TroubleError(
            f"{redact(url)} is no URL of a Redis",
            f"it looks like {_EXAMPLE}, or redis+sentinel://host:26379/name",
        ) from None
    node = source.nodes[0] if source.service is None else _primary_of(source)
    _reach(node, source.options)
    client = _client(node, source)
    try:
        client.ping()
    except NoPermissionError:
        return client  # It answers.
    except (RedisError, OSError) as error:
        client.close()
        if _expects_tls(node, source.options, error):
            raise TroubleError(
                f"{node} speaks TLS, and the URL is without", "begin the URL with rediss://"
            ) from None
        raise _explain(error, str(node), is_tls=source.options["ssl"]) from None
    return client


def _reach(node: Node, options: Mapping[str, Any]) -> None:
    if node.port is None:
        connect_to_file(node.address)
        return
    connect(node.address, node.port).close()
    if options["ssl"]:
        advice = "ssl_ca_certs=FILE in the URL"
        shake_hands(node.address, node.port, _context(options), advice)


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """As redis-py makes it."""
    try:
        context = ssl.create_default_context(
            cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path")
        )
        if certificate := options.get("ssl_certfile"):
            context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    except OSError:
        raise TroubleError(
            "the certificates for TLS cannot be read", "correct the files in the URL"
        ) from None
    verifies = options.get("ssl_cert_reqs", "required") == "required"
    context.check_hostname = verifies and options.get("ssl_check_hostname", True)
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    return context


def _expects_tls(node: Node, options: Mapping[str, Any], error: BaseException) -> bool:
    """Whether a server that did not answer would do so by TLS."""
    if node.port is None or options["ssl"] or failure_of(error).status is not None:
        return False
    return speaks_tls(node.address, node.port)


def _client(node: Node, source: Source) -> Any:
    options = {name: value for name, value in source.options.items() if name != "ssl"}
    options |= {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
    options |= {"db": source.database, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
    if node.port is None:
        return redis.Redis(unix_socket_path=node.address, **options)
    is_tls: bool = source.options["ssl"]
    return redis.Redis(host=node.address, port=node.port, ssl=is_tls, **options)


def _primary_of(source: Source) -> Node:
    sentinels = [(node.address, node.port or 0) for node in source.nodes]
    kwargs = dict(source.sentinel_options)
    kwargs |= {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
    kwargs |= {"retry": Retry(NoBackoff(), 0)}
    library: Any = import_module("redis.sentinel")  # which has no types
    try:
        guide = library.Sentinel(sentinels, sentinel_kwargs=kwargs)
        host, port = guide.discover_master(source.service)
    except (RedisError, OSError):
        raise TroubleError(
            f"no Sentinel of {len(sentinels)} names a primary that is called {source.service}",
            "correct the addresses of the Sentinels, and the name",
        ) from None
    return Node(str(host), int(port))


def _explain(error: BaseException, place: str, *, is_tls: bool = False) -> TroubleError:
    """Why a server does not serve us; without what it said, which may be what we had sent."""
    kind = failure_of(error).type
    if kind in _REFUSALS:
        return TroubleError(f"{place} {_REFUSALS[kind]}", f"correct them: {_EXAMPLE}")
    if kind in _TEMPORARY:
        found, next_step = f"does not serve now: {_TEMPORARY[kind]}", "try again later"
    elif isinstance(error, RedisTimeoutError | TimeoutError):
        found = f"accepts connections, and answers nothing within {SECONDS:g} s"
        next_step = "see whether this is a Redis, and whether it hangs"
    elif "DB index" in str(error):
        found, next_step = "has no such database", "correct the number in the URL"
    elif isinstance(error, ResponseError):
        found, next_step = f"refuses: {kind}", "see the server's log"
    else:
        found = "does not answer as Redis does"
        next_step = "name the port of a Redis or Valkey (6379 by default)"
        if is_tls:
            next_step += ", or the certificate that it wants: ssl_certfile, ssl_keyfile in the URL"
    return TroubleError(f"{place} {found}", next_step)


def _info(client: Any) -> dict[str, str]:
    """What the server says of itself; nothing where this user may not ask."""
    client.set_response_callback("INFO", _as_it_came)
    with suppress(ResponseError):
        return parse(client.execute_command("INFO"))
    return {}


def _as_it_came(reply: bytes, **_: object) -> bytes:
    return reply


def _check_version(info: Mapping[str, str]) -> Finding:
    name = "server"
    version = info.get("valkey_version") or info.get("redis_version")
    if version is None:
        return Finding(name, "skipped", "version and role are not known without INFO")
    kind = "Valkey" if "valkey_version" in info else "Redis"
    mode = info.get("redis_mode") or info.get("server_mode") or "standalone"
    said = f"{kind} {version}, {mode}"
    if mode == "sentinel":
        return Finding(
            name,
            "broken",
            f"{said}: a Sentinel, which holds no data",
            "name what it manages: redis+sentinel://host:26379/name",
        )
    if info.get("role") != "slave":
        return Finding(name, "ok", f"{said}, primary")
    primary = place_of(info.get("master_host", "?"), int(info.get("master_port", 0)))
    if info.get("master_link_status") != "up":
        return Finding(
            name,
            "warning",
            f"{said}, replica that has lost its primary {primary}",
            "see whether the primary is up: its data is old",
        )
    return Finding(name, "ok", f"{said}, replica of {primary}")


def _check_rights(client: Any) -> Iterator[Finding]:
    user = _user(client)
    database = client.get_connection_kwargs()["db"]
    for right in RIGHTS:
        words = [word.format(database) for word in right.words]
        denial = _rehearse(client, user, words) if user else None
        if denial is None:
            denial = _try(client, words)
        name = f"may {right.name}"
        if not denial:
            yield Finding(name, "ok", "permitted")
            continue
        missing = _missing_rule(denial, right.rule)
        yield Finding(
            name,
            "warning",
            f"denied; needed for {right.purpose}" if missing else f"{right.name} fails: {denial}",
            f"ACL SETUSER <this user> {missing}" if missing else "see the server's log",
        )


def _user(client: Any) -> str | None:
    """Who we are, where the server can rehearse what that user does."""
    try:
        user = _text(client.execute_command("ACL", "WHOAMI"))
        client.execute_command("ACL", "DRYRUN", user, "PING")
    except ResponseError:
        return None
    return user


def _rehearse(client: Any, user: str, words: Sequence[str]) -> str | None:
    """Why this would be denied; nothing where it would not, None where nobody can tell."""
    try:
        said = _text(client.execute_command("ACL", "DRYRUN", user, *words))
    except ResponseError:
        return None
    return "" if said == "OK" else said


def _try(client: Any, words: Sequence[str]) -> str:
    """Why this is denied; nothing where it is not."""
    try:
        if words[0] == "SUBSCRIBE":
            _subscribe(client, words[1])
        else:
            client.execute_command(*words)
    except ResponseError as error:
        return str(error)
    return ""


def _subscribe(client: Any, channel: str) -> None:
    subscription = client.pubsub()
    try:
        subscription.subscribe(channel)
        subscription.get_message(timeout=SECONDS)
    finally:
        subscription.close()


def _missing_rule(denial: str, rule: str) -> str:
    """What would have to be added; nothing where this was not denied but failed."""
    if re.search(r"permissions? to access .*channel", denial):
        return "&__keyevent@*__:*"
    if re.search(r"permissions? to access .*key", denial):
        return "~*"
    return rule if "permission" in denial else ""


def _check_events(client: Any, settings: Settings) -> Finding:
    name = "keyspace events"
    flags = _setting(client, SETTING)
    if flags is None:
        return Finding(name, "skipped", "not known without CONFIG GET")
    missing = missing_of(flags)
    if not missing:
        return Finding(name, "ok", f"on ({flags})")
    said = f"{SETTING} is '{flags}'"
    if settings.listen_events:
        return Finding(
            name,
            "warning",
            f"{said}: cache.evictions, which listen_events is for, has nothing to count",
            f"CONFIG SET {SETTING} '{flags}{missing}'",
        )
    return Finding(name, "ok", f"off ({said}); only listen_events needs them")


def _check_memory(client: Any, info: Mapping[str, str]) -> Finding:
    name = "maxmemory"
    limit = info.get("maxmemory") or _setting(client, "maxmemory")
    if limit is None:
        return Finding(name, "skipped", "not known without INFO or CONFIG GET")
    policy = _policy(client, info)
    if limit == "0":
        return Finding(
            name,
            "warning",
            f"no limit (policy {policy}): the server grows until its machine has no memory left",
            "CONFIG SET maxmemory 1gb, and maxmemory-policy allkeys-lru for a cache",
        )
    said = f"{int(limit) / 2**20:,.0f} MiB, policy {policy}"
    if policy == "noeviction":
        return Finding(
            name,
            "warning",
            f"{said}: when it is full, writes fail",
            "CONFIG SET maxmemory-policy allkeys-lru for a cache",
        )
    return Finding(name, "ok", said)


def _policy(client: Any, info: Mapping[str, str]) -> str:
    return info.get("maxmemory_policy") or _setting(client, "maxmemory-policy") or "unknown"


def _setting(client: Any, name: str) -> str | None:
    """What the server is configured with; None where this user may not ask."""
    try:
        reply: Sequence[Any] | Mapping[Any, Any] = client.execute_command("CONFIG", "GET", name)
    except ResponseError:
        return None
    pairs = reply if isinstance(reply, Mapping) else dict(zip(reply[::2], reply[1::2], strict=True))
    found = {_text(key): _text(value) for key, value in pairs.items()}
    return found.get(name)


def _check_lifetimes(client: Any, info: Mapping[str, str], settings: Settings) -> Finding:
    """Which share of the entries never expires, from a sample of bounded size and time."""
    name = "entries without TTL"
    try:
        asked, endless = _sample(client, settings)
    except ResponseError:
        return Finding(name, "skipped", "not known without SCAN and PTTL")
    if not asked:
        return Finding(name, "skipped", "there are no entries that this user may look at")
    count = endless.total()
    share = count / asked
    said = f"{count:,} of {asked:,} looked at ({share:.0%})"
    if count:
        most = ", ".join(f"{cache} {n:,}" for cache, n in endless.most_common(MOST_CACHES))
        said = f"{said}: {most}"
    policy = _policy(client, info)
    if share < FEW or policy.startswith("allkeys"):
        return Finding(name, "ok", said)
    return Finding(
        name,
        "warning",
        f"{said}; with policy {policy} they stay until somebody removes them",
        "write them with a time to live (SET ... EX), or choose an allkeys policy",
    )


def _sample(client: Any, settings: Settings) -> tuple[int, Counter[str]]:
    """How many entries were looked at, and by cache how many of them never expire."""
    name_of = Caches(settings, FirstNames(), overflowed=lambda: None).name_of
    ends = time.monotonic() + SAMPLE_SECONDS
    asked, endless, cursor = 0, Counter[str](), 0
    while asked < SAMPLE and time.monotonic() < ends:
        cursor, keys = client.scan(cursor, count=BATCH)
        asking = client.pipeline(transaction=False)
        for key in keys:
            asking.pttl(key)
        for key, left in zip(keys, asking.execute(raise_on_error=False), strict=True):
            # Gone meanwhile, or a key that this user may not ask about.
            asked += isinstance(left, int) and left != _GONE
            if left == _NEVER_EXPIRES:
                endless[name_of(key) or "no cache"] += 1
        if not cursor:
            break
    return asked, endless


def _text(reply: object) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
