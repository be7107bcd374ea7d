"""Runs: the rows that are decided in one pass, of one book or of several, as columns.

Most books have a hundred rows, and a pass over so few costs its numpy calls and not its rows. So signals of different books are decided
together, over their rows one after the other: a run of several books is a copy, one of a single book is views of it. What is the same for
all rows is a number, what differs from book to book a column (`spread`), and the rules need not know which.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.arithmetic import Int64s, Operand, mul_div_within
from engine.book import Book, Mask, Rows, Slot, Traits, joined
from engine.book_table import MONEY, NARROW
from engine.masks import any_of, least, most
from engine.units import MONEY_MAX, QUANTITY_ONE

ROWS_MAX = 4096
"""Rows of several books that are decided together, so that a pass stays in the cache; a larger book is a run by itself."""
BOOKS_MAX = 64

T = TypeVar("T")


class Piece(NamedTuple):
    """Rows of one book, and the slot that they are decided in."""

    book: Book
    slot: Slot
    rows: Rows


def length_of(rows: Rows) -> int:
    """Say how many rows there are."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def spread(values: Sequence[int], counts: Sequence[int]) -> Operand:
    """Say for each row what its piece says; one number where all pieces say the same."""
    first = values[0]
    if len(values) == 1 or values.count(first) == len(values):
        return first
    return np.repeat(np.array(values, np.int64), counts)


def spread_mask(values: Sequence[bool], counts: Sequence[int]) -> bool | Mask:
    """Say for each row what its piece says; one answer where all pieces say the same."""
    if len(values) == 1 or values.count(values[0]) == len(values):
        return values[0]
    return np.repeat(np.array(values, np.bool_), counts)


def ranges(counts: Sequence[int]) -> list[slice]:
    """Say where each piece's rows are in the run."""
    if len(counts) == 1:
        return [slice(0, counts[0])]
    ends = list(accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]


class Together(Generic[T]):
    """Gathers what can be done in one pass: things about different books, with few rows in all, in their order."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._books: set[Any] = set()
        self._rows = 0

    def has_room(self, book: Any, rows: int) -> bool:
        """Say whether something about a book, or what names it, of so many rows may be added; a first one always may."""
        return not self._items or (
            book not in self._books and self._rows + rows <= ROWS_MAX and len(self._items) < BOOKS_MAX
        )

    def add(self, book: Any, rows: int, item: T) -> None:
        """Add something."""
        self._items.append(item)
        self._books.add(book)
        self._rows += rows

    def take(self) -> list[T]:
        """Take out what is gathered."""
        items = self._items
        if items:
            self._items, self._books, self._rows = [], set(), 0
        return items


def together(items: Iterable[tuple[Any, int, T]]) -> Iterator[list[T]]:
    """Split things into runs to be done in one pass each. Each item: what names its book, its rows, itself."""
    gathered: Together[T] = Together()
    for book, rows, item in items:
        if not gathered.has_room(book, rows):
            yield gathered.take()
        gathered.add(book, rows, item)
    if run := gathered.take():
        yield run


class Run:
    """Some pieces' columns along a side; they are read only, and may be the slots' own."""

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
        "target",
        "traits",
        "waiting",
    )

    def __init__(self, pieces: Sequence[Piece], side: int) -> None:
        self.pieces = pieces
        self.counts = [length_of(piece.rows) for piece in pieces]
        self.ranges = ranges(self.counts)
        """Where each piece's rows are."""
        self.side = side
        self.lot: Operand = spread([piece.slot.lot for piece in pieces], self.counts)
        values = joined([piece.slot.values[:3, piece.rows] for piece in pieces])
        self.target: Int64s
        self.position: Int64s
        self.open: Int64s
        self.target, self.position, self.open = values if side > 0 else -values
        self.waiting = self._waiting()
        self.traits = _shared_traits(pieces)
        self._money: NDArray[np.integer] | None = None
        self._narrow: NDArray[np.integer] | None = None

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.target)

    def ranges_among(self, rows: Rows) -> list[slice]:
        """Say where each piece's rows are among ascending rows of the run."""
        if isinstance(rows, slice):
            return self.ranges
        starts = np.searchsorted(rows, [each.start for each in self.ranges]).tolist()
        return [slice(*each) for each in pairwise([*starts, len(rows)])]

    def _waiting(self) -> Mask | None:
        """Say which rows have a cause waiting for cancels; None when none has, or when single rows are asked for, which wait no more."""
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
        """Name a column of the subscriptions."""
        if name in MONEY:
            if self._money is None:
                self._money = joined([piece.book.subscriptions.money(piece.rows) for piece in self.pieces])
            return self._money[MONEY.index(name)]  # type: ignore[no-any-return]
        if name in NARROW:
            if self._narrow is None:
                self._narrow = joined([piece.book.subscriptions.narrow(piece.rows) for piece in self.pieces])
            return self._narrow[NARROW.index(name)]  # type: ignore[no-any-return]
        return joined([piece.book.subscriptions[name][piece.rows] for piece in self.pieces])

    def equity(self, marks: Sequence[dict[int, int]]) -> tuple[Int64s, Mask | None]:
        """Value the rows at each piece's marks; see `equity_of`."""
        return equity_of(self.column("cash"), [(piece.book, piece.rows) for piece in self.pieces], marks)

    def available_cash(self) -> Int64s:
        """Say what rows may spend: cash less reservations, less a short's proceeds and as much again, which
        secures it.
        """
        available: Int64s = self.column("cash") - self.column("reserved")
        if not all(piece.book.subscriptions.has_one_zero("short_proceeds") for piece in self.pieces):
            available -= 2 * self.column("short_proceeds")
        return available


def equity_of(
    cash: NDArray[np.integer], pieces: Sequence[tuple[Book, Rows]], marks: Sequence[dict[int, int]]
) -> tuple[Int64s, Mask | None]:
    """Value rows whose cash is given: cash and every position at its mark, each position floored to the micro.

    Returns: equity in micros, and which rows are beyond MONEY_MAX (None: none is). Marks hold every instrument of a piece's creator.
    """
    equity = np.array(cash, np.int64)
    beyond: Mask | None = None
    for where, positions, prices in _holdings(pieces, marks):
        counts = list(map(len, positions))
        value, too_large = mul_div_within(joined(positions), spread(prices, counts), QUANTITY_ONE, MONEY_MAX)
        if len(value) == len(equity) and len({rows.start for rows in where}) == len(where):
            # Each row once, in order.
            equity += value
        else:
            for rows, of_rows in zip(where, ranges(counts), strict=True):
                equity[rows] += value[of_rows]
        if too_large is not None:
            beyond = np.zeros(len(equity), np.bool_) if beyond is None else beyond
            for rows, of_rows in zip(where, ranges(counts), strict=True):
                beyond[rows] |= too_large[of_rows]
    if len(equity) and (most(equity) > MONEY_MAX or least(equity) < -MONEY_MAX):
        out = np.abs(equity) > MONEY_MAX
        beyond = out if beyond is None else beyond | out
    return equity, beyond


def _holdings(
    pieces: Sequence[tuple[Book, Rows]], marks: Sequence[dict[int, int]]
) -> Iterator[tuple[list[slice], list[Int64s], list[int]]]:
    """Name what the rows hold, so much at a time as is valued in one pass: where the rows are, positions, and their mark."""
    where: list[slice] = []
    positions: list[Int64s] = []
    prices: list[int] = []
    start = rows_count = 0
    for (book, rows), of_piece in zip(pieces, marks, strict=True):
        count = length_of(rows)
        for slot in book.slots:
            position = slot.values[1, rows]
            if not any_of(position):
                continue
            if positions and rows_count + count > ROWS_MAX:
                yield where, positions, prices
                where, positions, prices, rows_count = [], [], [], 0
            where.append(slice(start, start + count))
            positions.append(position)
            prices.append(of_piece[slot.instrument])
            rows_count += count
        start += count
    if positions:
        yield where, positions, prices


def _shared_traits(pieces: Sequence[Piece]) -> Traits:
    """Say what the rows of all pieces have in common."""
    first = pieces[0].book.traits
    if all(piece.book.traits == first for piece in pieces):
        return first
    found = {piece.book.traits for piece in pieces}
    modes = {traits.mode for traits in found}
    return Traits(
        is_active=all(traits.is_active for traits in found),
        may_short=all(traits.may_short for traits in found),
        mode=modes.pop() if len(modes) == 1 else -1,
        has_max_order_notional=any(traits.has_max_order_notional for traits in found),
        has_max_weight=any(traits.has_max_weight for traits in found),
    )
