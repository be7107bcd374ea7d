"""A book: one creator's subscriptions in one follower shard, as columns, in order of creation. Rows
never move.

All rows of a book answer the same signals, so a signal is a pass over contiguous columns. Each
instrument has a slot (`engine.follower.slot`).

A book also knows its creator's marks and positions, from the signals that its rows have answered.
It learns nothing from a signal that found no active row.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import all_of, any_of, least, most
from engine.columns.snapshot import Picks
from engine.columns.state import AnyColumn
from engine.follower.slot import SLOT_FIELDS, VALUE_FIELDS, Slot
from engine.follower.subscription_columns import HEADER_WORDS, TABLE_FIELDS, NewRows, TablePicks
from engine.follower.subscription_table import SubscriptionTable, words_of
from engine.values.units import POSITION_UNKNOWN


class SubscriptionStatus(IntEnum):
    """Where a subscription stands. An ending one closes its positions; an ended one holds
    nothing.
    """

    ACTIVE = 0
    PAUSED = 1
    ENDING = 2
    ENDED = 3


_OWN_FIELDS = ("creator_shard", "creator", "slots_count")
BOOK_FIELDS = (*_OWN_FIELDS, *TABLE_FIELDS)
"""The words that a book begins with."""
_JOINED_ROWS_MAX = 1 << 12
"""Up to so many rows, a book is copied in one piece."""


Mask = NDArray[np.bool_]
Rows = slice | NDArray[np.int64]


class BookPicks(NamedTuple):
    """The way from the fields of books in a snapshot to those of today."""

    book: Picks
    slot: Picks
    values: Picks
    table: TablePicks

    @classmethod
    def of(cls, picks: Mapping[str, Picks]) -> "BookPicks":
        """Find the books' records among those of a snapshot."""
        return cls(picks["book"], picks["book.slot"], picks["book.values"], TablePicks.of(picks))


class BookSummary(NamedTuple):
    """Facts about all rows of a book, so that most decisions need not ask each row. `mode` is -1
    where rows differ.
    """

    is_active: bool
    may_short: bool
    mode: int
    has_max_order_notional: bool
    has_max_weight: bool


def _summary_of(table: SubscriptionTable) -> BookSummary:
    mode = table["mode"]
    return BookSummary(
        is_active=not any_of(table["status"]),
        may_short=all_of(table["allow_short"] != 0),
        mode=int(mode[0]) if len(mode) and least(mode) == most(mode) else -1,
        has_max_order_notional=any_of(table["max_order_notional"]),
        has_max_weight=any_of(table["max_weight"]),
    )


class Book:
    """One creator's subscriptions in this shard. `index` numbers books in the shard in order of
    creation.
    """

    __slots__ = (
        "_summary",
        "creator",
        "creator_shard",
        "index",
        "slot_of",
        "slots",
        "subscriptions",
    )

    def __init__(
        self,
        index: int,
        creator_shard: int,
        creator: int,
        subscriptions: SubscriptionTable | None = None,
    ) -> None:
        self.index = index
        self.creator_shard = creator_shard
        self.creator = creator
        self.subscriptions = SubscriptionTable() if subscriptions is None else subscriptions
        self.slots: list[Slot] = []
        self.slot_of: dict[int, Slot] = {}
        self._summary: BookSummary | None = None

    @property
    def summary(self) -> BookSummary:
        """The facts about all rows. Cost: found once until a row comes or changes its status."""
        if self._summary is None:
            self._summary = _summary_of(self.subscriptions)
        return self._summary

    def set_status(self, rows: slice | NDArray[np.int64] | int, status: SubscriptionStatus) -> None:
        """Change where some subscriptions stand."""
        self.subscriptions["status"][rows] = status
        self._summary = None

    @property
    def count(self) -> int:
        """The number of rows."""
        return self.subscriptions.count

    def append(self, rows: NewRows, which: slice) -> slice:
        """Add some of the subscriptions; positions of each slot grow with them."""
        where = self.subscriptions.append(rows, which)
        self._summary = None
        capacity = self.subscriptions.capacity
        for slot in self.slots:
            if slot.values.shape[1] < capacity:
                values = np.zeros((len(VALUE_FIELDS), capacity), np.int64)
                values[:, : slot.values.shape[1]] = slot.values
                slot.values = values
        return where

    def slot(self, instrument: int, lot: int, min_notional: int) -> Slot:
        """The slot of an instrument, made on first use."""
        slot = self.slot_of.get(instrument)
        if slot is None:
            values = np.zeros((len(VALUE_FIELDS), self.subscriptions.capacity), np.int64)
            slot = Slot(len(self.slots), instrument, lot, min_notional, values)
            self.slots.append(slot)
            self.slot_of[instrument] = slot
        return slot

    # The creator, as far as signals told.

    @property
    def marks(self) -> dict[int, int]:
        """The creator's marks at the last signal, by instrument."""
        return {slot.instrument: slot.mark for slot in self.slots}

    @property
    def creator_positions(self) -> dict[int, int]:
        """The creator's positions by instrument, as far as they are known. Units: 1e-8, signed."""
        return {
            slot.instrument: slot.creator_position
            for slot in self.slots
            if slot.creator_position != POSITION_UNKNOWN
        }

    def learn_marks(self, instruments: Sequence[int], prices: Sequence[int]) -> None:
        """Take over a signal's marks of the instruments that have a slot."""
        slots = self.slot_of
        for instrument, price in zip(instruments, prices, strict=True):
            if instrument in slots:
                slots[instrument].mark = price

    # The book as 64-bit words, for the state.

    def pieces(self, *, hashed_only: bool = False) -> Iterator[NDArray[np.int64]]:
        """Copy everything but follow-ups as words; a large book in pieces, of which none is copied
        before it is asked for. `hashed_only` leaves out what is in no hash.

        Cost: 12 us for a book of 50 rows and 5 slots.
        """
        count = self.count
        header = [self.creator_shard, self.creator, len(self.slots), *self.subscriptions.header()]
        for slot in self.slots:
            header += (slot.instrument, slot.lot, slot.min_notional, slot.mark)
            if not hashed_only:
                header.append(slot.creator_position)
        parts = self._parts()
        if count <= _JOINED_ROWS_MAX:
            yield _joined(header, parts)
            return
        yield np.array(header, np.int64)
        for part in parts:
            yield _joined([], [part])

    @property
    def words(self) -> int:
        """The number of words in all pieces."""
        headers = len(_OWN_FIELDS) + HEADER_WORDS + len(SLOT_FIELDS) * len(self.slots)
        return headers + sum(words_of(part.nbytes) for part in self._parts())

    def _parts(self) -> list[AnyColumn]:
        count = self.count
        return [*self.subscriptions.parts(), *(slot.values[:, :count] for slot in self.slots)]

    @classmethod
    def restored(
        cls, index: int, words: NDArray[np.int64], at: int, picks: BookPicks
    ) -> tuple["Book", int]:
        """Take a book back from words, as views of them where they were written as they are today.
        Returns: the book, and where its words end.
        """
        own, at = _list(words, at, picks.book.written_count)
        creator_shard, creator, slots_count, count, varied = picks.book.row(own)
        shared, at = _list(words, at, picks.table.shared_count)
        width = picks.slot.written_count
        headers, at = _list(words, at, width * slots_count)
        table, at = SubscriptionTable.restored([count, varied, *shared], words, at, picks.table)
        book = cls(index, creator_shard, creator, table)
        rows = picks.values.written_count
        for number in range(slots_count):
            header = picks.slot.row(headers[number * width : (number + 1) * width])
            instrument, lot, min_notional, mark, creator_position = header
            written = words[at : at + rows * count].reshape(rows, count)
            values: NDArray[np.int64] = picks.values.matrix(written).astype(np.int64, copy=False)
            slot = Slot(number, instrument, lot, min_notional, values)
            slot.mark, slot.creator_position = mark, creator_position
            at += rows * count
            book.slots.append(slot)
            book.slot_of[instrument] = slot
        return book, at

    @property
    def nbytes(self) -> int:
        """The bytes held by columns."""
        return self.subscriptions.nbytes + sum(slot.values.nbytes for slot in self.slots)


def joined(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put columns one after the other, or matrices side by side; a single one stays what it is."""
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=-1)


def _list(words: NDArray[np.int64], at: int, count: int) -> tuple[list[int], int]:
    """Take some words. Returns: them, and where they end."""
    return words[at : at + count].tolist(), at + count


def _joined(header: list[int], parts: list[AnyColumn]) -> NDArray[np.int64]:
    """Copy a header and arrays into words, each array padded to whole ones."""
    at = len(header)
    words: NDArray[np.int64] = np.empty(at + sum(words_of(part.nbytes) for part in parts), np.int64)
    words[:at] = header
    for part in parts:
        end = at + words_of(part.nbytes)
        if part.dtype == words.dtype:
            words[at:end].reshape(part.shape)[...] = part
        elif end > at:
            words[end - 1] = 0
            words[at:end].view(part.dtype)[: part.size].reshape(part.shape)[...] = part
        at = end
    return words
