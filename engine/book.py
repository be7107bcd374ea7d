"""A book: one creator's subscriptions in one follower shard, as columns, in order of creation; rows never
move.

All rows of a book answer the same signals, so a signal is a pass over contiguous columns. Positions stand
per instrument in a `Slot`: target t, position p, open orders' signed remainder o, and cost, which is what
the position cost to build (negative: a short's proceeds).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arithmetic import Int64s, mul_div_within
from engine.masks import all_of, any_of, least, most
from engine.tables import State, Table, grown
from engine.units import MONEY_MAX, QUANTITY_ONE


class Mode(IntEnum):
    """How an increase is sized."""

    PROPORTIONAL = 0
    FIXED_AMOUNT = 1
    MULTIPLIER = 2


class Status(IntEnum):
    """Where a subscription stands. An ending one closes its positions; an ended one holds nothing."""

    ACTIVE = 0
    PAUSED = 1
    ENDING = 2
    ENDED = 3


SUBSCRIPTION_COLUMNS = {
    "subscription": np.uint32,
    "account": np.uint32,
    "mode": np.uint8,
    "status": np.uint8,
    "allow_short": np.uint8,
    "ratio": np.int64,
    "amount": np.int64,
    "max_order_notional": np.int64,
    "max_weight": np.int64,
    "cash": np.int64,
    "reserved": np.int64,
    "short_proceeds": np.int64,
    "from_frame": np.int64,
    "until_frame": np.int64,
    "command": np.int64,
    "end_command": np.int64,
}

_FIELDS = 4


class OrderKey(NamedTuple):
    """What the orders of one block share: their cause, leg and attempt."""

    cause_kind: int
    creator_shard: int
    cause_number: int
    leg: int
    attempt: int


@dataclass(slots=True)
class FollowUp:
    """Rows whose cause is not done: it waits for cancels to be answered (`due` 0), or for the next attempt
    of an exit at `due` ns.

    `price` and `transact_time` are the signal's that decided last.
    """

    key: OrderKey
    price: int
    transact_time: int
    due: int
    rows: NDArray[np.int64]


class Slot:
    """One instrument in a book."""

    __slots__ = ("follow_ups", "index", "instrument", "lot", "mark", "min_notional", "values")

    def __init__(self, index: int, instrument: int, lot: int, min_notional: int, capacity: int) -> None:
        self.index = index
        self.instrument = instrument
        self.lot = lot
        self.min_notional = min_notional
        self.mark = 0
        self.values: NDArray[np.int64] = np.zeros((_FIELDS, capacity), np.int64)
        self.follow_ups: list[FollowUp] = []

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

    def waiting(self, first: int, last: int) -> NDArray[np.bool_] | None:
        """Say which rows of a range have a cause waiting for cancels; None when none has."""
        mask: NDArray[np.bool_] | None = None
        for follow_up in self.follow_ups:
            if follow_up.due:
                continue
            rows = follow_up.rows[(follow_up.rows >= first) & (follow_up.rows < last)]
            if len(rows):
                if mask is None:
                    mask = np.zeros(last - first, np.bool_)
                mask[rows - first] = True
        return mask

    def drop_follow_ups(self, rows: NDArray[np.int64]) -> None:
        """Forget what was queued for some rows."""
        if not self.follow_ups:
            return
        for follow_up in self.follow_ups:
            follow_up.rows = follow_up.rows[~np.isin(follow_up.rows, rows)]
        self.follow_ups = [follow_up for follow_up in self.follow_ups if len(follow_up.rows)]


class Traits(NamedTuple):
    """What all rows of a book have in common, so that most decisions need not ask each row. `mode` is -1 where rows differ."""

    is_active: bool
    may_short: bool
    mode: int
    has_max_order_notional: bool
    has_max_weight: bool


def _traits(table: Table) -> Traits:
    mode = table["mode"]
    return Traits(
        is_active=not any_of(table["status"]),
        may_short=all_of(table["allow_short"] != 0),
        mode=int(mode[0]) if len(mode) and least(mode) == most(mode) else -1,
        has_max_order_notional=any_of(table["max_order_notional"]),
        has_max_weight=any_of(table["max_weight"]),
    )


class Book:
    """One creator's subscriptions in this shard. `index` numbers books in the shard in order of creation."""

    __slots__ = ("_traits", "creator", "creator_shard", "index", "slot_of", "slots", "subscriptions")

    def __init__(self, index: int, creator_shard: int, creator: int) -> None:
        self.index = index
        self.creator_shard = creator_shard
        self.creator = creator
        self.subscriptions = Table(SUBSCRIPTION_COLUMNS)
        self.slots: list[Slot] = []
        self.slot_of: dict[int, Slot] = {}
        self._traits: Traits | None = None

    @property
    def traits(self) -> Traits:
        """Say what the rows have in common. Cost: found once until a row comes or changes its status."""
        if self._traits is None:
            self._traits = _traits(self.subscriptions)
        return self._traits

    def set_status(self, rows: slice | NDArray[np.int64] | int, status: Status) -> None:
        """Change where some subscriptions stand."""
        self.subscriptions["status"][rows] = status
        self._traits = None

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.subscriptions.count

    def append(self, rows: dict[str, NDArray[np.integer]]) -> slice:
        """Add subscriptions; positions of each slot grow with them."""
        where = self.subscriptions.append(rows)
        self._traits = None
        capacity = self.subscriptions.capacity
        for slot in self.slots:
            if slot.values.shape[1] < capacity:
                slot.values = np.stack([grown(row, capacity) for row in slot.values])
        return where

    def slot(self, instrument: int, lot: int, min_notional: int) -> Slot:
        """Name the slot of an instrument; the first use makes it."""
        slot = self.slot_of.get(instrument)
        if slot is None:
            slot = Slot(len(self.slots), instrument, lot, min_notional, self.subscriptions.capacity)
            self.slots.append(slot)
            self.slot_of[instrument] = slot
        return slot

    def equity(
        self, rows: slice | NDArray[np.int64], marks: dict[int, int]
    ) -> tuple[Int64s, NDArray[np.bool_] | None]:
        """Value rows: cash and every position at its mark, each position floored to the micro.

        Returns: equity in micros, and which rows are beyond MONEY_MAX (None: none). `marks` hold every
        instrument of the creator.
        """
        equity = np.array(self.subscriptions["cash"][rows], np.int64)
        beyond: NDArray[np.bool_] | None = None
        for slot in self.slots:
            position = slot.position[rows]
            if not any_of(position):
                continue
            value, too_large = mul_div_within(position, marks[slot.instrument], QUANTITY_ONE, MONEY_MAX)
            equity += value
            if too_large is not None:
                beyond = too_large if beyond is None else beyond | too_large
        if len(equity) and (most(equity) > MONEY_MAX or least(equity) < -MONEY_MAX):
            out = np.abs(equity) > MONEY_MAX
            beyond = out if beyond is None else beyond | out
        return equity, beyond

    def available_cash(self, rows: slice | NDArray[np.int64]) -> Int64s:
        """Say what rows may spend: cash less reservations, less a short's proceeds and as much again, which
        secures it.
        """
        table = self.subscriptions
        available: Int64s = table["cash"][rows] - table["reserved"][rows]
        proceeds = table["short_proceeds"][rows]
        if any_of(proceeds):
            available -= 2 * proceeds
        return available

    @property
    def marks(self) -> dict[int, int]:
        """Name the marks of the last signal."""
        return {slot.instrument: slot.mark for slot in self.slots}

    @property
    def nbytes(self) -> int:
        """Bytes held by columns."""
        return self.subscriptions.nbytes + sum(slot.values.nbytes for slot in self.slots)


def books_state(books: list[Book]) -> State:
    """Name all books as columns, one after the other."""
    slots = [slot for book in books for slot in book.slots]
    ups = [(book, slot, up) for book in books for slot in book.slots for up in slot.follow_ups]
    ups.sort(key=lambda item: (item[0].index, item[1].index, item[2].key, item[2].due))
    state: State = {
        "book.head": _flat(
            [(book.creator_shard, book.creator, book.count, len(book.slots)) for book in books]
        ),
        "slot.head": _flat([(slot.instrument, slot.lot, slot.min_notional, slot.mark) for slot in slots]),
        "follow_up.head": _flat(
            [
                (b.index, s.index, *up.key, up.price, up.transact_time, up.due, len(up.rows))
                for b, s, up in ups
            ]
        ),
        "follow_up.rows": _joined([up.rows for _, _, up in ups]),
    }
    for name, dtype in SUBSCRIPTION_COLUMNS.items():
        columns = [book.subscriptions[name] for book in books]
        state[f"subscription.{name}"] = np.concatenate(columns) if columns else np.zeros(0, dtype)
    values = [slot.values[:, : book.count].reshape(-1) for book in books for slot in book.slots]
    state["slot.values"] = _joined(values)
    return state


def _flat(rows: list[tuple[int, ...]]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1)


def _joined(columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(columns) if columns else np.zeros(0, np.int64)


def restore_books(state: State) -> Iterator[Book]:
    """Take all books back from a state."""
    slot_heads = iter(state["slot.head"].reshape(-1, 4).tolist())
    first, value = 0, 0
    books: list[Book] = []
    for index, (creator_shard, creator, count, slots) in enumerate(
        state["book.head"].reshape(-1, 4).tolist()
    ):
        book = Book(index, creator_shard, creator)
        rows = {name: state[f"subscription.{name}"][first : first + count] for name in SUBSCRIPTION_COLUMNS}
        book.append(rows)
        first += count
        for _ in range(slots):
            instrument, lot, min_notional, mark = next(slot_heads)
            slot = book.slot(instrument, lot, min_notional)
            slot.mark = mark
            size = _FIELDS * count
            slot.values[:, :count] = state["slot.values"][value : value + size].reshape(_FIELDS, count)
            value += size
        books.append(book)
    _restore_follow_ups(books, state)
    yield from books


def _restore_follow_ups(books: list[Book], state: State) -> None:
    start = 0
    for book, slot, kind, shard, number, leg, attempt, price, time, due, count in (
        state["follow_up.head"].reshape(-1, 11).tolist()
    ):
        rows = np.array(state["follow_up.rows"][start : start + count], np.int64)
        key = OrderKey(kind, shard, number, leg, attempt)
        books[book].slots[slot].follow_ups.append(FollowUp(key, price, time, due, rows))
        start += count
