"""Books as columns of a state, 64 of them in each, and back.

A column holds its books one after the other as 64-bit words. A snapshot says by name which fields
these words are: the records in `BOOK_RECORDS`.
"""

import numpy as np

from engine.columns.snapshot import Records, StoredState, required
from engine.columns.state import State
from engine.columns.state_copy import BOOKS_IN_A_COLUMN, PREFIX
from engine.follower.book import BOOK_FIELDS, Book, BookPicks
from engine.follower.slot import SLOT_FIELDS, SLOT_HASHED_COUNT, VALUE_FIELDS
from engine.follower.subscription_columns import TABLE_RECORDS
from engine.values.units import POSITION_UNKNOWN

BOOK_RECORDS: Records = {
    "book": required(*BOOK_FIELDS),
    "book.slot": {
        **required(*SLOT_FIELDS[:SLOT_HASHED_COUNT]),
        "creator_position": POSITION_UNKNOWN,
    },
    "book.values": dict.fromkeys(VALUE_FIELDS, 0),
    **TABLE_RECORDS,
}


def books_state(books: list[Book]) -> State:
    """Return all books as columns, for the hash: without the fields that are in no hash."""
    state: State = {}
    for first in range(0, len(books), BOOKS_IN_A_COLUMN):
        pieces = [
            piece
            for book in books[first : first + BOOKS_IN_A_COLUMN]
            for piece in book.pieces(hashed_only=True)
        ]
        state[f"{PREFIX}{first:010d}"] = np.concatenate(pieces)
    return state


def restore_books(stored: StoredState) -> list[Book]:
    """Take all books back from a snapshot. Their columns are views of one copy of each column of
    it, until they grow.
    """
    books: list[Book] = []
    picks = BookPicks.of(stored.picks)
    for name in sorted(name for name in stored.columns if name.startswith(PREFIX)):
        words, at = np.array(stored.columns[name], np.int64), 0
        while at < len(words):
            book, at = Book.restored(len(books), words, at, picks)
            books.append(book)
    return books
