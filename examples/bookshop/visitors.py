"""Visitors of a bookshop, all day long: ``python -m bookshop.visitors http://localhost:8000``.

They make every panel move: most read what others read too, some buy, some write a review; now and then a price list
arrives, and everybody wants the same book at once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
from contextlib import suppress

import httpx

VISITS_A_SECOND = float(os.environ.get("VISITS_A_SECOND", "20"))
VISITORS = 8
CROWD = 6  # want the book of the day in the same moment
STOCK = 1_000
BASKET = 50  # visits, of which some put a book into it
VISITS_TO_A_PRICE_LIST = 100


async def visit(shop: httpx.AsyncClient, number: int) -> None:
    book = popular_book()
    chance = random.random()
    if number % VISITS_TO_A_PRICE_LIST == 0:
        await send_price_list(shop)
    elif chance < 0.50:
        await shop.get(f"/books/{book}")
    elif chance < 0.75:
        await shop.get(f"/books/{book}/reviews")
    elif chance < 0.87:
        await shop.put(f"/baskets/{number // BASKET}", params={"book": book})
    elif chance < 0.93:
        await shop.put(f"/books/{book}/price", params={"price": random.randrange(500, 5_000)})
    elif chance < 0.96:
        await shop.post(f"/books/{book}/reviews", json={"stars": random.randrange(1, 6)})
    elif chance < 0.98:
        await shop.delete(f"/books/{book}/reviews")
    else:
        # Not in stock: a miss that nothing is written back for.
        await shop.get(f"/books/{STOCK + book}")


async def send_price_list(shop: httpx.AsyncClient) -> None:
    """All books leave the cache; the book of the day is wanted by many before the first one has loaded it."""
    await shop.post("/prices", params={"percent": random.choice((95, 105))})
    await asyncio.gather(*(shop.get("/books/1") for _ in range(CROWD)))


def popular_book() -> int:
    """A few books are read by many, many by a few."""
    return min(int(random.paretovariate(0.6)), STOCK)


async def visit_again_and_again(url: str) -> None:
    numbers = itertools.count(1)

    async def visitor() -> None:
        while True:
            await asyncio.sleep(random.expovariate(VISITS_A_SECOND / VISITORS))
            with suppress(httpx.TransportError):  # closed for a moment: come again
                await visit(shop, next(numbers))

    async with httpx.AsyncClient(base_url=url, timeout=10) as shop:
        await asyncio.gather(*(visitor() for _ in range(VISITORS)))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(visit_again_and_again(sys.argv[1]))
