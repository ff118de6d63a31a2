"""The shop's database: books and their reviews in SQLite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from pydantic import BaseModel

SCHEMA = """
CREATE TABLE IF NOT EXISTS book (id INTEGER PRIMARY KEY, title TEXT NOT NULL, price INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS review (book INTEGER NOT NULL REFERENCES book, stars INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS review_by_book ON review (book);
"""
STOCK = 1_000


class Book(BaseModel):
    id: int
    title: str
    price: int


class Review(BaseModel):
    stars: int


class Catalogue:
    """Safe to use from many threads: every question has a connection of its own.

    Each takes so many seconds at least, as at a database that is farther away than a file.
    """

    def __init__(self, path: str, seconds: float = 0) -> None:
        self._path, self._seconds = path, seconds
        books = [(number, f"Book {number}", 1000 + number) for number in range(1, STOCK + 1)]
        with self._connection() as connection:
            connection.executescript(SCHEMA)
            connection.executemany("INSERT OR IGNORE INTO book VALUES (?, ?, ?)", books)

    def book(self, book_id: int) -> Book | None:
        with self._connection() as connection:
            found = connection.execute("SELECT * FROM book WHERE id = ?", [book_id]).fetchone()
        return Book(id=found[0], title=found[1], price=found[2]) if found else None

    def reprice(self, book_id: int, price: int) -> bool:
        """Whether there is such a book."""
        with self._connection() as connection:
            changed = connection.execute(
                "UPDATE book SET price = ? WHERE id = ?", [price, book_id]
            ).rowcount
        return changed == 1

    def reprice_all(self, percent: int) -> None:
        with self._connection() as connection:
            connection.execute("UPDATE book SET price = price * ? / 100", [percent])

    def reviews(self, book_id: int) -> list[Review]:
        with self._connection() as connection:
            rows = connection.execute("SELECT stars FROM review WHERE book = ?", [book_id])
            return [Review(stars=stars) for (stars,) in rows]

    def add_review(self, book_id: int, review: Review) -> None:
        with self._connection() as connection:
            connection.execute("INSERT INTO review VALUES (?, ?)", [book_id, review.stars])

    def remove_reviews(self, book_id: int) -> None:
        with self._connection() as connection:
            connection.execute("DELETE FROM review WHERE book = ?", [book_id])

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        time.sleep(self._seconds)
        with closing(sqlite3.connect(self._path)) as connection, connection:
            yield connection
