"""The shop with its office: baskets, price lists and moderation, as ``collector-config/compose.yaml`` runs it.

Run it as ``bookshop.office:app``. Here is what an operator should come across at least once: entries without a time
to live, entries removed by pattern, and removals that say why.
"""

from __future__ import annotations

from fastapi import HTTPException
from pydantic import TypeAdapter

from otel_redis_cache import invalidate, invalidation

from .shop import cache, catalogue
from .status import app

PAGE = 1_000  # characters, which a basket keeps of each book
basket = TypeAdapter(list[str])


@app.put("/baskets/{basket_id}", status_code=204)
def put_into_basket(basket_id: int, book: int) -> None:
    """A basket stays until somebody takes it away, and nobody does: the leak that many caches have."""
    pages = basket.validate_json(cache.get(f"basket:{basket_id}") or b"[]")
    cache.set(f"basket:{basket_id}", basket.dump_json([*pages, str(book).ljust(PAGE)]))


@app.delete("/books/{book_id}/reviews", status_code=204)
def moderate_reviews(book_id: int) -> None:
    catalogue.remove_reviews(book_id)
    with invalidation(reason="moderation", trigger="office"):
        cache.delete(f"reviews:{book_id}")


@app.post("/prices")
def import_price_list(percent: int) -> int:
    """How many books were in the cache, whose prices have changed by so much."""
    catalogue.reprice_all(percent)
    done = invalidate(cache, "book:*", reason="price_list", trigger="office", trace_commands=True)
    if done.error is not None:
        raise HTTPException(503, "prices are new, the cache is not")
    return done.removed
