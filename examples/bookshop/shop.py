"""A small bookshop: what people read often waits in Redis, in front of the database.

Books are served by plain functions and a synchronous Redis client, reviews by coroutines and an
asyncio client. A reader asks the cache first and fills it; a writer changes the database and then
removes what the cache has of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
import redis.asyncio
from fastapi import FastAPI, HTTPException
from pydantic import TypeAdapter

from .catalogue import Book, Catalogue, Review

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
BOOK_TTL, REVIEWS_TTL = 300, 60  # seconds

catalogue = Catalogue(
    os.environ.get("DATABASE", "bookshop.db"), float(os.environ.get("DATABASE_SECONDS", "0"))
)
cache = redis.Redis.from_url(REDIS_URL)
async_cache = redis.asyncio.Redis.from_url(REDIS_URL)
review_list = TypeAdapter(list[Review])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await async_cache.aclose()
    cache.close()


app = FastAPI(title="Bookshop", lifespan=lifespan)


@app.get("/books/{book_id}")
def read_book(book_id: int) -> Book:
    key = f"book:{book_id}"
    if (cached := cache.get(key)) is not None:
        return Book.model_validate_json(cached)
    book = catalogue.book(book_id)
    if book is None:
        raise HTTPException(404, "no such book")
    cache.set(key, book.model_dump_json(), ex=BOOK_TTL)
    return book


@app.put("/books/{book_id}/price", status_code=204)
def change_price(book_id: int, price: int) -> None:
    if not catalogue.reprice(book_id, price):
        raise HTTPException(404, "no such book")
    cache.delete(f"book:{book_id}")


@app.get("/books/{book_id}/reviews")
async def read_reviews(book_id: int) -> list[Review]:
    key = f"reviews:{book_id}"
    if (cached := await async_cache.get(key)) is not None:
        return review_list.validate_json(cached)
    reviews = await asyncio.to_thread(catalogue.reviews, book_id)
    await async_cache.set(key, review_list.dump_json(reviews), ex=REVIEWS_TTL)
    return reviews


@app.post("/books/{book_id}/reviews", status_code=201)
async def add_review(book_id: int, review: Review) -> None:
    await asyncio.to_thread(catalogue.add_review, book_id, review)
    await async_cache.delete(f"reviews:{book_id}")
