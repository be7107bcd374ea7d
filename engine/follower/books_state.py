"""Books as columns of a state, some of them in each, and back."""

import numpy as np

from engine.columns.state import State
from engine.columns.state_copy import BOOKS_IN_A_COLUMN, PREFIX
from engine.follower.book import Book


def books_state(books: list[Book]) -> State:
    """Name all books as columns, some of them in each."""
    state: State = {}
    for first in range(0, len(books), BOOKS_IN_A_COLUMN):
        pieces = [
            piece for book in books[first : first + BOOKS_IN_A_COLUMN] for piece in book.pieces()
        ]
        state[f"{PREFIX}{first:010d}"] = np.concatenate(pieces)
    return state


def restore_books(state: State) -> list[Book]:
    """Take all books back from a state; their columns are views of one copy of each column of it,
    until they grow.
    """
    books: list[Book] = []
    for name in sorted(name for name in state if name.startswith(PREFIX)):
        words, at = np.array(state[name], np.int64), 0
        while at < len(words):
            book, at = Book.restored(len(books), words, at)
            books.append(book)
    return books
