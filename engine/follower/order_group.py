"""Order groups: the orders of one cause, leg and attempt in one book, as columns.

Cash moves by the execution's notional, a buy's rounded up and a sell's down, and by the broker's
fee (P7).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import (
    Int64s,
    Operand,
    fee_ceil,
    mul_div,
    notional_ceil,
    notional_floor,
)
from engine.columns.reductions import any_of, is_same, least, most
from engine.columns.table import as_slice
from engine.follower.book import Book, Rows, Slot, joined
from engine.follower.sizing.pieces import length_of, per_row, ranges
from engine.follower.subscription_table import MONEY, SubscriptionTable
from engine.journal.events.orders import OrdersPlaced, SignalDecided
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType

_OPEN = np.ones(1 << 12, np.bool_)


@dataclass(slots=True)
class OrderGroup:
    """Shapes: `rows` ascend; one order a row. Units: quantities 1e-8 unsigned, prices micros, times
    ns.
    """

    key: OrderKey
    book: Book
    slot: Slot
    side: int
    is_exit: bool
    price: int
    limit_price: int
    expire_time: int
    fee_rate: int
    transact_time: int
    rows: NDArray[np.int64]
    quantity: Int64s
    filled: Int64s
    is_open: NDArray[np.bool_]
    is_cancelling: NDArray[np.bool_]
    last_attempts: dict[int, int] = field(default_factory=dict)
    """By row, the last attempt placed for the cause where that is a later one: then a correction
    brought one of the two about.
    """
    span: slice | NDArray[np.int64] = field(init=False)
    """The rows, as a slice where they follow one another."""

    def __post_init__(self) -> None:
        self.span = as_slice(self.rows)

    @classmethod
    def placed(
        cls,
        key: OrderKey,
        book: Book,
        slot: Slot,
        event: SignalDecided | OrdersPlaced,
        rows: NDArray[np.int64],
        quantity: Int64s,
    ) -> "OrderGroup":
        """Make the block of new orders."""
        count = len(rows)
        return cls(
            key,
            book,
            slot,
            event.side,
            bool(event.is_exit),
            event.price,
            event.limit_price,
            event.expire_time,
            event.fee_rate,
            event.transact_time,
            rows,
            quantity,
            np.zeros(count, np.int64),
            _OPEN[:count].copy() if count <= len(_OPEN) else np.ones(count, np.bool_),
            np.zeros(count, np.bool_),
        )

    @property
    def subscriptions(self) -> NDArray[np.integer]:
        """Whose orders they are, row by row."""
        return self.book.subscriptions["subscription"][self.span]

    def find(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Find rows of the book in the block. Returns: positions in the block, and which rows are
        there at all.
        """
        count = len(self.rows)
        if len(rows) == count and is_same(rows, self.rows):
            return np.arange(count), np.ones(count, np.bool_)
        if not len(rows) or int(rows.max()) < self.rows[0] or int(rows.min()) > self.rows[-1]:
            return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
        if int(self.rows[-1] - self.rows[0]) == count - 1:
            at = rows - self.rows[0]
            there = (at >= 0) & (at < count)
            at[~there] = 0
            return at, there
        at = np.searchsorted(self.rows, rows)
        at[at == count] = 0
        return at, self.rows[at] == rows

    def open_rows(self, rows: NDArray[np.int64]) -> list[int]:
        """Name those of some rows of the book that have an order open in the block."""
        at, there = self.find(rows)
        at = at[there]
        found: list[int] = self.rows[at[self.is_open[at]]].tolist()
        return found

    def reservation(self, leaves: Int64s) -> Int64s:
        """Say what the orders reserve for quantities still open."""
        return reservation(leaves, *reserved_at(self))


class _Order(Protocol):
    """The terms of some orders."""

    @property
    def side(self) -> int: ...
    @property
    def is_exit(self) -> int: ...
    @property
    def price(self) -> int: ...
    @property
    def limit_price(self) -> int: ...
    @property
    def fee_rate(self) -> int: ...


def reserved_at(order: _Order) -> tuple[int, int]:
    """Say at which price and fee rate orders reserve: a buy at its limit and fee, a short's opening
    at its price. Exits: nothing.
    """
    if order.is_exit:
        return 0, 0
    return (order.price, 0) if order.side < 0 else (order.limit_price, order.fee_rate)


def reservation(leaves: Int64s, price: Operand, fee_rate: Operand) -> Int64s:
    """Say what is reserved for quantities still open."""
    if isinstance(price, int) and price == 0:
        return np.zeros(len(leaves), np.int64)
    notional = notional_ceil(leaves, price)
    if isinstance(fee_rate, int) and fee_rate == 0:
        return notional
    return notional + fee_ceil(notional, fee_rate)


def place(block: OrderGroup) -> None:
    """Enter new orders: they are open and reserve cash."""
    block.slot.open[block.span] += block.quantity if block.side > 0 else -block.quantity
    if not block.is_exit:
        block.book.subscriptions["reserved"][block.span] += block.reservation(block.quantity)


class Traded(NamedTuple):
    """Orders of one block that traded: their rows in the book, and where they are in the block."""

    block: OrderGroup
    rows: Rows
    at: Rows


def trade(traded: Sequence[Traded], quantity: Int64s, price: Int64s, fee: Int64s) -> None:
    """Apply trades of distinct orders, each within its open quantity; the blocks are of one side
    and of different books.

    Shapes: one row an order, block by block.
    """
    side = traded[0].block.side
    filled = joined([block.filled[at] for block, _, at in traded])
    leaves = joined([block.quantity[at] for block, _, at in traded]) - filled
    after = leaves - quantity
    assert least(quantity) > 0 and least(after) >= 0, "an overfill is parked, not applied"
    counts = [length_of(rows) for _, rows, _ in traded]
    notional = (notional_ceil if side > 0 else notional_floor)(quantity, price)
    spent = np.empty((len(MONEY), len(quantity)), np.int64)
    spent[0] = (notional if side > 0 else -notional) + fee
    spent[1] = _released([block for block, _, _ in traded], counts, leaves, after)
    _, held, open_, cost = joined([block.slot.values[:, rows] for block, rows, _ in traded])
    moved = np.empty((3, len(quantity)), np.int64)
    moved[0], moved[2] = _moved(side, held, cost, quantity, price, notional)
    moved[1] = open_ - (quantity if side > 0 else -quantity)
    has_shorts = least(cost) < 0 or least(moved[2]) < 0
    filled = filled + quantity
    is_open = after > 0
    for (block, rows, at), where in zip(traded, ranges(counts), strict=True):
        table, slot = block.book.subscriptions, block.slot
        if has_shorts:
            _note_proceeds(table, rows, cost[where], moved[2][where])
        # `held` and `cost` may be views: they are written last.
        table.spend(rows, spent[:, where])
        slot.values[1:, rows] = moved[:, where]
        block.filled[at] = filled[where]
        block.is_open[at] = is_open[where]


def _released(
    blocks: Sequence[OrderGroup], counts: list[int], leaves: Int64s, after: Int64s
) -> Int64s | int:
    """Say what orders reserve no more once `leaves` of them have become `after`."""
    prices, fee_rates = zip(*(reserved_at(block) for block in blocks), strict=True)
    price, fee_rate = per_row(prices, counts), per_row(fee_rates, counts)
    if isinstance(price, int) and price == 0:
        return 0
    released = reservation(leaves, price, fee_rate)
    if any_of(after):
        released -= reservation(after, price, fee_rate)
    return released


def _moved(
    side: int, held: Int64s, cost: Int64s, quantity: Int64s, price: Int64s, notional: Int64s
) -> tuple[Int64s, Int64s]:
    """Say what positions and their cost become."""
    after = held + (quantity if side > 0 else -quantity)
    against = held if side < 0 else -held
    if most(against) <= 0:
        return after, cost + (notional if side > 0 else -notional)
    closing = np.minimum(np.maximum(against, 0), quantity)
    released = mul_div(np.abs(cost), closing, np.maximum(np.abs(held), 1))
    changed = cost - np.where(cost < 0, -released, released)
    opening = quantity - closing
    if any_of(opening):
        # A trade that goes through zero builds the new side with the notional of the part beyond
        # zero.
        changed += side * (notional_ceil if side > 0 else notional_floor)(opening, price)
    changed[after == 0] = 0
    return after, changed


def _note_proceeds(table: SubscriptionTable, rows: Rows, before: Int64s, after: Int64s) -> None:
    """Keep the proceeds of shorts, which are not available, as the negative cost of positions."""
    if least(before) < 0 or least(after) < 0:
        table.own("short_proceeds")[rows] += np.maximum(-after, 0) - np.maximum(-before, 0)


def end(block: OrderGroup, at: NDArray[np.int64]) -> None:
    """End orders with what is left of them: nothing stays open or reserved; an entry's remainder
    lowers the target.
    """
    leaves = block.quantity[at] - block.filled[at]
    rows, slot = block.rows[at], block.slot
    slot.open[rows] -= block.side * leaves
    if not block.is_exit:
        block.book.subscriptions["reserved"][rows] -= block.reservation(leaves)
        target = block.side * slot.target[rows]
        # A position still on the other side is an exit to finish, not a target.
        reachable = np.maximum(block.side * (slot.position[rows] + slot.open[rows]), 0)
        slot.target[rows] = block.side * np.maximum(target - leaves, np.minimum(target, reachable))
    block.is_open[at] = False


def go_together(one: OrderGroup, other: OrderGroup) -> bool:
    if len(one.rows) > min(2 * len(other.rows), GATHERED_ROWS_MAX):
        return False
    apart = {*_columns_of(one), "expire_time"}
    shared = (each.name for each in fields(OrderGroup) if each.init and each.name not in apart)
    return all(getattr(one, name) == getattr(other, name) for name in shared)


def gathered(one: OrderGroup, other: OrderGroup) -> OrderGroup:
    """Make one block of two of one key; what is closed is left out. The later expiry stands for
    both: only the broker acts on it.
    """
    columns = {
        name: np.concatenate((getattr(one, name), getattr(other, name)))
        for name in _columns_of(one)
    }
    order = np.argsort(columns["rows"], kind="stable")
    order = order[columns["is_open"][order]]
    chosen: dict[str, Any] = {name: column[order] for name, column in columns.items()}
    return replace(other, expire_time=max(one.expire_time, other.expire_time), **chosen)


def _columns_of(block: OrderGroup) -> list[str]:
    return [
        each.name
        for each in fields(block)
        if each.init and isinstance(getattr(block, each.name), np.ndarray)
    ]


ENDS = (ExecType.CANCELED, ExecType.REJECTED, ExecType.EXPIRED)


def is_any(exec_types: NDArray[np.int64], kinds: tuple[int, ...]) -> NDArray[np.bool_]:
    """Say which reports are of one of some kinds."""
    found: NDArray[np.bool_] = exec_types == kinds[0]
    for kind in kinds[1:]:
        found |= exec_types == kind
    return found


GATHERED_ROWS_MAX = 4096
