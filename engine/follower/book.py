"""A book: one creator's subscriptions in one follower shard, as columns, in order of creation; rows
never move.

All rows of a book answer the same signals, so a signal is a pass over contiguous columns. Positions
stand per instrument in a `Slot`: target t, position p, open orders' signed remainder o, and cost,
which is what the position cost to build (negative: a short's proceeds).
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s
from engine.columns.reductions import all_of, any_of, least, most
from engine.columns.state import AnyColumn, State
from engine.follower.follow_ups import FollowUp, FollowUps
from engine.follower.subscription_table import HEADER_WORDS, NewRows, SubscriptionTable, words_of
from engine.values.order_ids import OrderKey


class Status(IntEnum):
    """Where a subscription stands. An ending one closes its positions; an ended one holds
    nothing.
    """

    ACTIVE = 0
    PAUSED = 1
    ENDING = 2
    ENDED = 3


_FIELDS = 4
_HEADER_WORDS = 3
_SLOT_HEADER_WORDS = 4
_JOINED_ROWS_MAX = 1 << 12
"""Up to so many rows, a book is copied in one piece."""


Mask = NDArray[np.bool_]
Rows = slice | NDArray[np.int64]


class Slot:
    """One instrument in a book."""

    __slots__ = ("follow_ups", "index", "instrument", "lot", "mark", "min_notional", "values")

    def __init__(
        self, index: int, instrument: int, lot: int, min_notional: int, values: NDArray[np.int64]
    ) -> None:
        self.index = index
        self.instrument = instrument
        self.lot = lot
        self.min_notional = min_notional
        self.mark = 0
        self.values = values
        self.follow_ups = FollowUps()

    @property
    def target(self) -> Int64s:
        """What each row should hold. Units: 1e-8, signed."""
        target: Int64s = self.values[0]
        return target

    @property
    def position(self) -> Int64s:
        """What each row holds. Units: 1e-8, signed."""
        position: Int64s = self.values[1]
        return position

    @property
    def open(self) -> Int64s:
        """What is left of each row's open orders. Units: 1e-8, signed."""
        open_: Int64s = self.values[2]
        return open_

    @property
    def cost(self) -> Int64s:
        """What each row's position cost to build. Units: micros, negative for shorts."""
        cost: Int64s = self.values[3]
        return cost


class BookSummary(NamedTuple):
    """What all rows of a book have in common, so that most decisions need not ask each row. `mode`
    is -1 where rows differ.
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
        """Say what the rows have in common. Cost: found once until a row comes or changes its
        status.
        """
        if self._summary is None:
            self._summary = _summary_of(self.subscriptions)
        return self._summary

    def set_status(self, rows: slice | NDArray[np.int64] | int, status: Status) -> None:
        """Change where some subscriptions stand."""
        self.subscriptions["status"][rows] = status
        self._summary = None

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.subscriptions.count

    def append(self, rows: NewRows, which: slice) -> slice:
        """Add some of the subscriptions; positions of each slot grow with them."""
        where = self.subscriptions.append(rows, which)
        self._summary = None
        capacity = self.subscriptions.capacity
        for slot in self.slots:
            if slot.values.shape[1] < capacity:
                values = np.zeros((_FIELDS, capacity), np.int64)
                values[:, : slot.values.shape[1]] = slot.values
                slot.values = values
        return where

    def slot(self, instrument: int, lot: int, min_notional: int) -> Slot:
        """Name the slot of an instrument; the first use makes it."""
        slot = self.slot_of.get(instrument)
        if slot is None:
            values = np.zeros((_FIELDS, self.subscriptions.capacity), np.int64)
            slot = Slot(len(self.slots), instrument, lot, min_notional, values)
            self.slots.append(slot)
            self.slot_of[instrument] = slot
        return slot

    @property
    def marks(self) -> dict[int, int]:
        """Name the marks of the last signal."""
        return {slot.instrument: slot.mark for slot in self.slots}

    def pieces(self) -> Iterator[NDArray[np.int64]]:
        """Copy everything but follow-ups as 64-bit words; a large book in pieces, of which none is
        copied before it is asked for.

        Cost: 12 us for a book of 50 rows and 5 slots.
        """
        count = self.count
        header = [self.creator_shard, self.creator, len(self.slots), *self.subscriptions.header()]
        for slot in self.slots:
            header += (slot.instrument, slot.lot, slot.min_notional, slot.mark)
        parts = self._parts()
        if count <= _JOINED_ROWS_MAX:
            yield _joined(header, parts)
            return
        yield np.array(header, np.int64)
        for part in parts:
            yield _joined([], [part])

    @property
    def words(self) -> int:
        """How many words the pieces come to."""
        headers = _HEADER_WORDS + HEADER_WORDS + _SLOT_HEADER_WORDS * len(self.slots)
        return headers + sum(words_of(part.nbytes) for part in self._parts())

    def _parts(self) -> list[AnyColumn]:
        count = self.count
        return [*self.subscriptions.parts(), *(slot.values[:, :count] for slot in self.slots)]

    @classmethod
    def restored(cls, index: int, words: NDArray[np.int64], at: int) -> tuple["Book", int]:
        """Take a book back from words, as views of them. Returns: the book, and where its words
        end.
        """
        creator_shard, creator, slots = words[at : at + _HEADER_WORDS].tolist()
        at += _HEADER_WORDS
        header, at = words[at : at + HEADER_WORDS].tolist(), at + HEADER_WORDS
        slot_heads, at = (
            words[at : at + _SLOT_HEADER_WORDS * slots].tolist(),
            at + _SLOT_HEADER_WORDS * slots,
        )
        table, at = SubscriptionTable.restored(header, words, at)
        book = cls(index, creator_shard, creator, table)
        size = _FIELDS * book.count
        for number in range(slots):
            instrument, lot, min_notional, mark = slot_heads[number * _SLOT_HEADER_WORDS :][
                :_SLOT_HEADER_WORDS
            ]
            values = words[at : at + size].reshape(_FIELDS, book.count)
            slot = Slot(number, instrument, lot, min_notional, values)
            slot.mark = mark
            at += size
            book.slots.append(slot)
            book.slot_of[instrument] = slot
        return book, at

    @property
    def nbytes(self) -> int:
        """Bytes held by columns."""
        return self.subscriptions.nbytes + sum(slot.values.nbytes for slot in self.slots)


def joined(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put columns one after the other, or matrices side by side; a single one stays what it is."""
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=-1)


def follow_ups_state(slots: list[tuple[Book, Slot]]) -> State:
    """Name the follow-ups of some slots, in order of book and slot, as columns."""
    ups = [(book, slot, up) for book, slot in slots for up in slot.follow_ups]
    ups.sort(key=lambda item: (item[0].index, item[1].index, item[2].key, item[2].due))
    headers = [
        (b.index, s.index, *up.key, up.price, up.transact_time, up.due, len(up.rows))
        for b, s, up in ups
    ]
    rows = [up.rows for _, _, up in ups]
    return {
        "follow_up.head": np.array(headers, np.int64).reshape(-1),
        "follow_up.rows": np.concatenate(rows) if rows else np.zeros(0, np.int64),
    }


def restore_follow_ups(books: list[Book], state: State) -> None:
    """Take follow-ups back from a state."""
    start = 0
    for book, slot, kind, shard, number, leg, attempt, price, time, due, count in (
        state["follow_up.head"].reshape(-1, 11).tolist()
    ):
        rows = np.array(state["follow_up.rows"][start : start + count], np.int64)
        key = OrderKey(kind, shard, number, leg, attempt)
        books[book].slots[slot].follow_ups.add(FollowUp(key, price, time, due, rows))
        start += count


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
