"""Batches: the rows that are decided in one pass, of one book or of several, as columns.

Most books have a hundred rows, and a pass over so few costs its numpy calls and not its rows. So
signals of different books are decided in one batch, over their rows one after the other. A batch of
several books is a copy; a batch of a single book is views of it. A value that all rows share is a
number; one that differs from book to book is a column (`per_row`). The rules need not know which.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s, Operand
from engine.follower.book import BookSummary, Mask, Rows, joined
from engine.follower.rows import length_of, per_row, ranges
from engine.follower.sizing.pieces import Piece
from engine.follower.sizing.valuation import equity_of
from engine.follower.subscription_columns import MONEY, NARROW

BOOKS_MAX = 64
ROWS_MAX = 4096
"""Rows of several books that are decided in one batch, so that a pass stays in the cache. A larger
book is a batch by itself.
"""

T = TypeVar("T")


class BatchBuilder(Generic[T]):
    """Gathers items that can be done in one pass: about different books, with few rows in all, in
    their order.
    """

    def __init__(self) -> None:
        self._items: list[T] = []
        self._books: set[Any] = set()
        self._rows = 0

    def has_room(self, book: Any, rows: int) -> bool:
        """Return whether an item about a book, of so many rows, may be added. A first one always
        may. `book` is the book, or what identifies it.
        """
        return not self._items or (
            book not in self._books
            and self._rows + rows <= ROWS_MAX
            and len(self._items) < BOOKS_MAX
        )

    def add(self, book: Any, rows: int, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        self._books.add(book)
        self._rows += rows

    def take(self) -> list[T]:
        """Take out the items gathered."""
        items = self._items
        if items:
            self._items, self._books, self._rows = [], set(), 0
        return items


def batched(items: Iterable[tuple[Any, int, T]]) -> Iterator[list[T]]:
    """Split items into batches to be done in one pass each. Each comes with what identifies its
    book, and its number of rows.
    """
    gathered: BatchBuilder[T] = BatchBuilder()
    for book, rows, item in items:
        if not gathered.has_room(book, rows):
            yield gathered.take()
        gathered.add(book, rows, item)
    if batch := gathered.take():
        yield batch


class Batch:
    """The columns of some pieces along a side. They are read only, and may be the slots' own."""

    __slots__ = (
        "_money",
        "_narrow",
        "counts",
        "lot",
        "open",
        "pieces",
        "position",
        "ranges",
        "side",
        "summary",
        "target",
        "waiting",
    )

    def __init__(self, pieces: Sequence[Piece], side: int) -> None:
        self.pieces = pieces
        self.counts = [length_of(piece.rows) for piece in pieces]
        self.ranges = ranges(self.counts)
        """The place of each piece's rows."""
        self.side = side
        self.lot: Operand = per_row([piece.slot.lot for piece in pieces], self.counts)
        values = joined([piece.slot.values[:3, piece.rows] for piece in pieces])
        self.target: Int64s
        self.position: Int64s
        self.open: Int64s
        self.target, self.position, self.open = values if side > 0 else -values
        self.waiting = self._waiting()
        self.summary = _shared_summary(pieces)
        self._money: NDArray[np.integer] | None = None
        self._narrow: NDArray[np.integer] | None = None

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.target)

    def ranges_among(self, rows: Rows) -> list[slice]:
        """Return where each piece's rows are among ascending rows of the batch."""
        if isinstance(rows, slice):
            return self.ranges
        starts = np.searchsorted(rows, [each.start for each in self.ranges]).tolist()
        return [slice(*each) for each in pairwise([*starts, len(rows)])]

    def _waiting(self) -> Mask | None:
        """Return which rows have a cause waiting for cancels, None when none has. Rows that are
        asked for one by one wait no more.
        """
        if not any(piece.slot.follow_ups.count for piece in self.pieces):
            return None
        found = [
            piece.slot.follow_ups.waiting(piece.rows.start, piece.rows.stop)
            if isinstance(piece.rows, slice)
            else None
            for piece in self.pieces
        ]
        if len(found) == 1:
            return found[0]
        if all(mask is None for mask in found):
            return None
        return joined(
            [
                np.zeros(count, np.bool_) if mask is None else mask
                for mask, count in zip(found, self.counts, strict=True)
            ]
        )

    def column(self, name: str) -> NDArray[np.integer]:
        """A column of the subscriptions."""
        if name in MONEY:
            if self._money is None:
                self._money = joined(
                    [piece.book.subscriptions.money(piece.rows) for piece in self.pieces]
                )
            return self._money[MONEY.index(name)]  # type: ignore[no-any-return]
        if name in NARROW:
            if self._narrow is None:
                self._narrow = joined(
                    [piece.book.subscriptions.narrow(piece.rows) for piece in self.pieces]
                )
            return self._narrow[NARROW.index(name)]  # type: ignore[no-any-return]
        return joined([piece.book.subscriptions[name][piece.rows] for piece in self.pieces])

    def equity(self, marks: Sequence[dict[int, int]]) -> tuple[Int64s, Mask | None]:
        """Value the rows at each piece's marks; see `equity_of`."""
        return equity_of(
            self.column("cash"), [(piece.book, piece.rows) for piece in self.pieces], marks
        )

    def available_cash(self) -> Int64s:
        """Return what rows may spend: cash less reservations, less a short's proceeds and as much
        again, which secures it.
        """
        available: Int64s = self.column("cash") - self.column("reserved")
        if not all(
            piece.book.subscriptions.has_one_zero("short_proceeds") for piece in self.pieces
        ):
            available -= 2 * self.column("short_proceeds")
        return available


def _shared_summary(pieces: Sequence[Piece]) -> BookSummary:
    """Return the facts about the rows of all pieces."""
    first = pieces[0].book.summary
    if all(piece.book.summary == first for piece in pieces):
        return first
    found = {piece.book.summary for piece in pieces}
    modes = {summary.mode for summary in found}
    return BookSummary(
        is_active=all(summary.is_active for summary in found),
        may_short=all(summary.may_short for summary in found),
        mode=modes.pop() if len(modes) == 1 else -1,
        has_max_order_notional=any(summary.has_max_order_notional for summary in found),
        has_max_weight=any(summary.has_max_weight for summary in found),
    )
