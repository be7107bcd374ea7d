"""Pieces of a batch: rows of one book."""

from typing import NamedTuple

from engine.follower.book import Book, Rows
from engine.follower.slot import Slot


class Piece(NamedTuple):
    """Rows of one book, and the slot that they are decided in."""

    book: Book
    slot: Slot
    rows: Rows
