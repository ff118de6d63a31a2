"""A web shop under load: cache-aside over plain redis-py, as an application writes it.

The shop makes the spans of its requests, as a web framework would. Of Redis telemetry it
knows how to say why it removes entries, and no more.
"""

# redis-py leaves parameters of its public methods without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from random import Random
from typing import Any, TypeVar

import redis
import redis.asyncio
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from otel_redis_cache import invalidate, invalidation

# A prefix nobody else has: with --redis-url the keys lie among the user's own. All of them
# have a TTL, so they are gone within a minute.
PREFIX = "otel-redis-cache-demo:"
CACHES = ("product", "session", "search", "front", "catalogue")
RULES = ",".join(f"{name}={PREFIX}{name}:*" for name in CACHES)

PRODUCTS, SESSIONS, TERMS = 400, 150, 40
PRODUCT_TTL, SESSION_TTL, SEARCH_TTL = 15, 45, 6
FRONT_TTL, CATALOGUE_TTL = 1, 45
PAGE = 8
"""Products on a page of search results."""

SKEW = 1.1
"""The exponent of Zipf's law: a few keys get most of the visits."""

THREADS = 3
REQUESTS_PER_SECOND = 25.0
"""Of each thread, and of the asyncio task, on average."""

SOON = ConstantBackoff(0.05)
"""Before a call is made again."""

IMPORT_SECONDS = 5.0
"""How often the supplier sends new prices."""

BEST_SELLER_SECONDS = 0.3
"""That the database takes to find out what sells best."""

CATALOGUE_BYTES = 128_000

LARGE = 100_000
"""With more keys than these the database is the user's own, and nothing goes through all of it."""

tracer = trace.get_tracer("shop")

Chosen = TypeVar("Chosen")


class Visitors:
    """Who asks for what: random, skewed, and the same again for the same seed."""

    def __init__(self, seed: str) -> None:
        """The same seed makes the same visitors."""
        self._random = Random(seed)  # noqa: S311 - nothing here is secret

    def product(self) -> int:
        """A product; the popular ones most of the time."""
        return self._pick(PRODUCTS)

    def session(self) -> int:
        """A visitor."""
        return self._pick(SESSIONS)

    def term(self) -> int:
        """What somebody searches for."""
        return self._pick(TERMS)

    def choose(self, weighted: Sequence[tuple[Chosen, float]]) -> Chosen:
        """One of several things, by weight."""
        things = [thing for thing, _ in weighted]
        return self._random.choices(things, [weight for _, weight in weighted])[0]

    def pause(self) -> float:
        """Seconds to the next request."""
        return self._random.expovariate(REQUESTS_PER_SECOND)

    def work(self) -> float:
        """Seconds that the database takes: what a cache is there to save."""
        return self._random.uniform(0.002, 0.008)

    def hard_work(self) -> float:
        """Seconds that it takes to search."""
        return self._random.uniform(0.015, 0.045)

    def _pick(self, count: int) -> int:
        return self._random.choices(range(1, count + 1), cum_weights=_WEIGHTS[:count])[0]


_WEIGHTS = list(accumulate(1 / rank**SKEW for rank in range(1, max(PRODUCTS, SESSIONS, TERMS) + 1)))


class Shop:
    """The pages of the shop; each method but the private ones is one request."""

    def __init__(self, client: redis.Redis, visitors: Visitors) -> None:
        """A shop that caches in `client`."""
        self._redis = client
        self._visitors = visitors

    def show_product(self) -> None:
        """Somebody looks at a product."""
        with _serve("GET /product/{id}"):
            self._greet(self._visitors.session())
            product = self._visitors.product()
            if self._redis.get(_product(product)) is None:
                row = self._query("SELECT product", product)
                self._redis.set(_product(product), row, ex=PRODUCT_TTL)

    def search(self) -> None:
        """Somebody searches, and sees a page of products."""
        with _serve("GET /search"):
            term = self._visitors.term()
            found = self._redis.get(_search(term))
            if found is None:
                found = self._query("SELECT matches", term, self._visitors.hard_work())
                self._redis.set(_search(term), found, ex=SEARCH_TTL)
            self._show([(term * 7 + rank * rank) % PRODUCTS + 1 for rank in range(PAGE)])

    def change_price(self) -> None:
        """The shop sells cheaper: the product and the searches that show it are stale."""
        with _serve("PUT /product/{id}/price"):
            product = self._visitors.product()
            self._query("UPDATE product", product)
            with (
                invalidation(reason="reprice", trigger="admin"),
                self._redis.pipeline() as transaction,
            ):
                transaction.delete(_product(product))
                transaction.unlink(_search(self._visitors.term()), _search(self._visitors.term()))
                transaction.execute()

    def import_prices(self) -> None:
        """The supplier sends new prices: no product is right any more; best sellers come first."""
        if self._redis.dbsize() > LARGE:
            return
        with _serve("POST /prices"):
            self._query("UPDATE products", PRODUCTS)
            invalidate(self._redis, _product("*"), reason="import", trigger="supplier")
            self._show(range(1, PAGE + 1))

    def withdraw_product(self) -> None:
        """A product goes off sale: its entry expires now."""
        with _serve("DELETE /product/{id}"):
            product = self._visitors.product()
            self._query("DELETE product", product)
            self._redis.expire(_product(product), 0)

    def log_out(self) -> None:
        """A visitor leaves."""
        with _serve("POST /logout"):
            self._redis.delete(_session(self._visitors.session()))

    def export_session(self) -> None:
        """Code that still takes a session for a string: WRONGTYPE, and an error page."""
        with _serve("GET /session/export"):
            self._redis.get(_session(self._visitors.session()))

    def deploy(self) -> None:
        """A new release: nothing of what is cached may fit it."""
        with _serve("POST /deploy"):
            invalidate(self._redis, f"{PREFIX}*", reason="deploy", trigger="release")

    def show_front(self, language: int) -> None:
        """Somebody opens the shop: what sells best in a language is kept for a second only."""
        with _serve("GET /{language}"):
            if self._redis.get(_front(language)) is None:
                page = self._query("SELECT best_sellers", language, BEST_SELLER_SECONDS)
                self._redis.set(_front(language), page, ex=FRONT_TTL)

    def print_catalogue(self, number: int) -> None:
        """Somebody wants all of the shop on paper: a large file, which is kept, too."""
        with _serve("GET /catalogue/{id}"):
            if self._redis.get(_catalogue(number)) is None:
                self._redis.set(_catalogue(number), b"%" * CATALOGUE_BYTES, ex=CATALOGUE_TTL)

    def _greet(self, visitor: int) -> None:
        if not self._redis.hgetall(_session(visitor)):
            with self._redis.pipeline() as transaction:
                transaction.hset(_session(visitor), mapping={"visitor": visitor, "basket": 0})
                transaction.expire(_session(visitor), SESSION_TTL)
                transaction.execute()

    def _show(self, products: Sequence[int]) -> None:
        cached = self._redis.mget([_product(product) for product in products])
        missing = [p for p, value in zip(products, cached, strict=True) if value is None]
        if missing:
            row = self._query("SELECT products", len(missing))
            with self._redis.pipeline(transaction=False) as pipeline:
                for product in missing:
                    pipeline.set(_product(product), row, ex=PRODUCT_TTL)
                pipeline.execute()

    def _query(self, statement: str, number: int, seconds: float | None = None) -> str:
        with tracer.start_as_current_span(statement, kind=SpanKind.CLIENT):
            time.sleep(seconds or self._visitors.work())
        return _row(number)


class MobileShop:
    """The same shop for telephones, on asyncio."""

    def __init__(self, client: redis.asyncio.Redis, visitors: Visitors) -> None:
        """A shop that caches in `client`."""
        self._redis = client
        self._visitors = visitors

    async def show_product(self) -> None:
        """Somebody looks at a product."""
        with _serve("GET /mobile/product/{id}"):
            product = self._visitors.product()
            if await self._redis.get(_product(product)) is None:
                with tracer.start_as_current_span("SELECT product", kind=SpanKind.CLIENT):
                    await asyncio.sleep(self._visitors.work())
                await self._redis.set(_product(product), _row(product), ex=PRODUCT_TTL)


class Workload:
    """Visitors in threads and in an event loop, until stopped.

    A request that fails is the application's everyday life: it is counted, and that is all.
    """

    def __init__(self, url: str, *, seed: int = 1, retries: int | None = None) -> None:
        """Have a shop with its cache at `url`, closed as yet.

        `retries`: how often a call that fails is made again, soon; None: as the client library
        does it unless told otherwise, which may take seconds.
        """
        self.requests = 0
        self.failures = Counter[str]()
        """Failed requests, by the kind of error."""
        self._url = url
        self._seed = seed
        self._retries = retries
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Generator[None]:
        """Run while the block lasts; afterwards nothing of it is under way."""
        threads = [
            threading.Thread(target=self._visit_shop, args=(number,), name=f"shop-{number}")
            for number in range(THREADS)
        ]
        threads.append(threading.Thread(target=self._visit_mobile_shop, name="shop-asyncio"))
        threads.append(threading.Thread(target=self._supply, name="shop-supplier"))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    @contextmanager
    def opened(self, visitors: Visitors) -> Generator[Shop]:
        """A shop for these visitors, which may come in several threads."""
        options: dict[str, Any] = {}
        if self._retries is not None:
            options["retry"] = Retry(SOON, self._retries)
        with redis.Redis.from_url(self._url, **options) as client:
            yield Shop(client, visitors)

    @contextmanager
    def counted(self) -> Generator[None]:
        """Count the request that is made in this block, failed or not."""
        failure = ""
        try:
            yield
        except redis.RedisError as error:
            failure = type(error).__name__
        with self._lock:
            self.requests += 1
            if failure:
                self.failures[failure] += 1

    def _visit_shop(self, number: int) -> None:
        visitors = Visitors(f"{self._seed}/{number}")
        with self.opened(visitors) as shop:
            requests: list[tuple[Callable[[], None], float]] = [
                (shop.show_product, 60),
                (shop.search, 25),
                (shop.change_price, 5),
                (shop.log_out, 3),
                (shop.withdraw_product, 1),
                (shop.export_session, 1),
            ]
            while not self._stopped.wait(visitors.pause()):
                with self.counted():
                    visitors.choose(requests)()

    def _visit_mobile_shop(self) -> None:
        asyncio.run(self._visit_mobile_shop_async())

    async def _visit_mobile_shop_async(self) -> None:
        visitors = Visitors(f"{self._seed}/mobile")
        options: dict[str, Any] = {}
        if self._retries is not None:
            options["retry"] = AsyncRetry(SOON, self._retries)
        async with redis.asyncio.Redis.from_url(self._url, **options) as client:
            shop = MobileShop(client, visitors)
            while not self._stopped.is_set():
                await asyncio.sleep(visitors.pause())
                with self.counted():
                    await shop.show_product()

    def _supply(self) -> None:
        with self.opened(Visitors(f"{self._seed}/supplier")) as shop:
            while not self._stopped.wait(IMPORT_SECONDS):
                with self.counted():
                    shop.import_prices()


@contextmanager
def _serve(route: str) -> Generator[None]:
    with tracer.start_as_current_span(route, kind=SpanKind.SERVER):
        yield


def _product(number: int | str) -> str:
    return f"{PREFIX}product:{number}"


def _session(visitor: int) -> str:
    return f"{PREFIX}session:{visitor}"


def _search(term: int) -> str:
    return f"{PREFIX}search:{term}"


def _front(language: int) -> str:
    return f"{PREFIX}front:{language}"


def _catalogue(number: int) -> str:
    return f"{PREFIX}catalogue:{number}"


def _row(number: int) -> str:
    return json.dumps({"id": number, "name": f"Product {number}", "text": "lorem " * 20})
