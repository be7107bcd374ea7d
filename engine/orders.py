"""Open orders as blocks of columns, and what executions do to them and to the positions behind them.

A block holds the orders that one part of one book placed for one cause, leg and attempt. Look-ups go by
that key and the row; a block goes when its last order ends, so hot state knows open orders only (P8). Cash
moves by the execution's notional, a buy's rounded up and a sell's down, and by the broker's fee (P7).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.arithmetic import Int64s, Operand, fee_ceil, mul_div, notional_ceil, notional_floor
from engine.book import Book, Rows, Slot, joined
from engine.book_table import MONEY, BookTable
from engine.events.orders import ExecutionsApplied, OrdersPlaced, SignalDecided
from engine.identity import OrderKey
from engine.masks import any_of, is_same, least, most
from engine.order_state import ExecType
from engine.runs import length_of, ranges, spread
from engine.tables import State, as_run

_OPEN = np.ones(1 << 12, np.bool_)


@dataclass(slots=True)
class OrderBlock:
    """Shapes: `rows` ascend; one order a row. Units: quantities 1e-8 unsigned, prices micros, times ns."""

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
    """By row, the last attempt placed for the cause where that is a later one: then a correction brought one of the two about."""
    run: slice | NDArray[np.int64] = field(init=False)
    """The rows, as a slice where they follow one another."""

    def __post_init__(self) -> None:
        self.run = as_run(self.rows)

    @classmethod
    def placed(
        cls, key: OrderKey, book: Book, slot: Slot, event: SignalDecided | OrdersPlaced, rows: NDArray[np.int64],
        quantity: Int64s,
    ) -> "OrderBlock":  # fmt: skip
        """Make the block of new orders."""
        count = len(rows)
        return cls(
            key, book, slot, event.side, bool(event.is_exit), event.price, event.limit_price, event.expire_time,
            event.fee_rate, event.transact_time, rows, quantity,
            np.zeros(count, np.int64), _OPEN[:count].copy() if count <= len(_OPEN) else np.ones(count, np.bool_),
            np.zeros(count, np.bool_),
        )  # fmt: skip

    @property
    def subscriptions(self) -> NDArray[np.integer]:
        """Whose orders they are, row by row."""
        return self.book.subscriptions["subscription"][self.run]

    def find(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Find rows of the book in the block. Returns: positions in the block, and which rows are there at
        all.
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
    """Say at which price and fee rate orders reserve: a buy at its limit and fee, a short's opening at its price. Exits: nothing."""
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


def place(block: OrderBlock) -> None:
    """Enter new orders: they are open and reserve cash."""
    block.slot.open[block.run] += block.quantity if block.side > 0 else -block.quantity
    if not block.is_exit:
        block.book.subscriptions["reserved"][block.run] += block.reservation(block.quantity)


class Traded(NamedTuple):
    """Orders of one block that traded: their rows in the book, and where they are in the block."""

    block: OrderBlock
    rows: Rows
    at: Rows


def trade(traded: Sequence[Traded], quantity: Int64s, price: Int64s, fee: Int64s) -> None:
    """Apply trades of distinct orders, each within its open quantity; the blocks are of one side and of different books.

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


def _released(blocks: Sequence[OrderBlock], counts: list[int], leaves: Int64s, after: Int64s) -> Int64s | int:
    """Say what orders reserve no more once `leaves` of them have become `after`."""
    prices, fee_rates = zip(*(reserved_at(block) for block in blocks), strict=True)
    price, fee_rate = spread(prices, counts), spread(fee_rates, counts)
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
        # A trade that goes through zero builds the new side with the notional of the part beyond zero.
        changed += side * (notional_ceil if side > 0 else notional_floor)(opening, price)
    changed[after == 0] = 0
    return after, changed


def _note_proceeds(table: BookTable, rows: Rows, before: Int64s, after: Int64s) -> None:
    """Keep the proceeds of shorts, which are not available, as the negative cost of positions."""
    if least(before) < 0 or least(after) < 0:
        table.own("short_proceeds")[rows] += np.maximum(-after, 0) - np.maximum(-before, 0)


def end(block: OrderBlock, at: NDArray[np.int64]) -> None:
    """End orders with what is left of them: nothing stays open or reserved; an entry's remainder lowers the
    target.
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


GATHERED_ROWS_MAX = 4096


def _go_together(one: OrderBlock, other: OrderBlock) -> bool:
    if len(one.rows) > min(2 * len(other.rows), GATHERED_ROWS_MAX):
        return False
    apart = {*_columns_of(one), "expire_time"}
    shared = (each.name for each in fields(OrderBlock) if each.init and each.name not in apart)
    return all(getattr(one, name) == getattr(other, name) for name in shared)


def _gathered(one: OrderBlock, other: OrderBlock) -> OrderBlock:
    """Make one block of two of one key; what is closed is left out. The later expiry stands for both: only the broker acts on it."""
    columns = {name: np.concatenate((getattr(one, name), getattr(other, name))) for name in _columns_of(one)}
    order = np.argsort(columns["rows"], kind="stable")
    order = order[columns["is_open"][order]]
    chosen: dict[str, Any] = {name: column[order] for name, column in columns.items()}
    return replace(other, expire_time=max(one.expire_time, other.expire_time), **chosen)


def _columns_of(block: OrderBlock) -> list[str]:
    return [
        each.name for each in fields(block) if each.init and isinstance(getattr(block, each.name), np.ndarray)
    ]


ENDS = (ExecType.CANCELED, ExecType.REJECTED, ExecType.EXPIRED)


def is_any(exec_types: NDArray[np.int64], kinds: tuple[int, ...]) -> NDArray[np.bool_]:
    """Say which reports are of one of some kinds."""
    found: NDArray[np.bool_] = exec_types == kinds[0]
    for kind in kinds[1:]:
        found |= exec_types == kind
    return found


class OpenOrders:
    """All open orders of a shard, by key."""

    def __init__(self) -> None:
        self._blocks: dict[OrderKey, list[OrderBlock]] = {}
        self._of_slot: dict[Slot, dict[int, OrderBlock]] = {}
        self._open_of: dict[OrderKey, int] = {}
        self._count = 0
        self._unnumbered: dict[OrderKey, set[tuple[int, str]]] = {}

    def add_gathered(self, block: OrderBlock) -> None:
        """Enter a block's orders, together with the last blocks of their key where those are small too.

        Orders that one report each leads to would else make as many blocks, and every look-up would pass them all. A block at least as
        large as the new one is left alone, so that each order is moved a few times only.
        """
        place(block)
        while (last := self.blocks(block.key)[-1:]) and _go_together(last[0], block):
            del self._of_slot[block.slot][id(last[0])]
            self._blocks[block.key].pop()
            block = _gathered(last[0], block)
        self.enter(block)

    def enter(self, block: OrderBlock) -> None:
        """Enter a block whose orders are counted, or closed: those are to be opened one by one."""
        self._blocks.setdefault(block.key, []).append(block)
        self._of_slot.setdefault(block.slot, {})[id(block)] = block
        self._recount(block.key)

    def _recount(self, key: OrderKey) -> None:
        now = sum(int(np.count_nonzero(block.is_open)) for block in self._blocks.get(key, ()))
        self._count += now - self._open_of.pop(key, 0)
        if now:
            self._open_of[key] = now

    def blocks(self, key: OrderKey) -> list[OrderBlock]:
        """Name the blocks of a key."""
        return self._blocks.get(key, [])

    def note_attempt(self, slot: Slot, key: OrderKey, rows: NDArray[np.int64]) -> None:
        """Have open orders of the same cause know of a later attempt."""
        for block in self._of_slot.get(slot, {}).values():
            if block.key[:4] == key[:4] and block.key.attempt < key.attempt:
                block.last_attempts |= dict.fromkeys(block.open_rows(rows), key.attempt)

    def drop_closed(self, key: OrderKey) -> None:
        """Forget the blocks of a key that have no open order."""
        left = []
        for block in self._blocks.get(key, []):
            if any_of(block.is_open):
                left.append(block)
            else:
                del self._of_slot[block.slot][id(block)]
        if left:
            self._blocks[key] = left
        else:
            self._blocks.pop(key, None)
            self._unnumbered.pop(key, None)
        self._recount(key)

    def note_unnumbered(self, key: OrderKey, event: ExecutionsApplied) -> None:
        """Keep the ids of executions without a number for as long as a block of their key is open."""
        if event.numbers[0] < 0:
            self._unnumbered.setdefault(key, set()).update(
                (number, event.prefix) for number in event.subscriptions.tolist()
            )

    def note_known(self, key: OrderKey, subscription: int, exec_id: str) -> None:
        """Keep the id of an execution that an order had before it was worked again."""
        self._unnumbered.setdefault(key, set()).add((subscription, exec_id))

    def has_unnumbered(self, key: OrderKey, subscription: int, exec_id: str) -> bool:
        """Say whether an execution without a number was applied to a still open block."""
        return (subscription, exec_id) in self._unnumbered.get(key, ())

    def of_slot(self, slot: Slot, side: int) -> list[OrderBlock]:
        """Name the blocks of one instrument of a book on one side."""
        return [block for block in self._of_slot.get(slot, {}).values() if block.side == side]

    def entries_of(self, slot: Slot) -> list[OrderBlock]:
        """Name the blocks of one instrument of a book that open or add."""
        return [block for block in self._of_slot.get(slot, {}).values() if not block.is_exit]

    def holding(self, key: OrderKey, subscriptions: NDArray[np.int64]) -> OrderBlock | None:
        """Find the block of a key whose orders are those of just these subscriptions, row by row."""
        for block in self._blocks.get(key, ()):
            if len(block.rows) == len(subscriptions) and is_same(block.subscriptions, subscriptions):
                return block
        return None

    def holding_all(
        self, keys: Sequence[OrderKey], subscriptions: Sequence[NDArray[np.int64]]
    ) -> list[OrderBlock] | None:
        """Find for each key the block whose orders are those of just its subscriptions, row by row; None when one has none such, or two are
        of one book.
        """
        if len(keys) == 1:
            block = self.holding(keys[0], subscriptions[0])
            return None if block is None else [block]
        found = []
        for key, column in zip(keys, subscriptions, strict=True):
            blocks = self._blocks.get(key, ())
            if len(blocks) != 1 or len(blocks[0].rows) != len(column):
                return None
            found.append(blocks[0])
        if len({block.book.index for block in found}) < len(found):
            return None
        are_theirs = is_same(joined([block.subscriptions for block in found]), joined(subscriptions))
        return found if are_theirs else None

    @property
    def count(self) -> int:
        """How many orders are open."""
        return self._count

    def state(self) -> State:
        """Name the open orders as columns."""
        blocks = [block for key in sorted(self._blocks) for block in self._blocks[key]]
        heads = [
            (
                b.book.index,
                b.slot.index,
                *b.key,
                b.side,
                b.is_exit,
                b.price,
                b.limit_price,
                b.expire_time,
                b.fee_rate,
                b.transact_time,
                len(b.rows),
            )
            for b in blocks
        ]
        joined = [
            np.concatenate(
                (b.rows, b.quantity, b.filled, b.is_open.astype(np.int64), b.is_cancelling.astype(np.int64))
            )
            for b in blocks
        ]
        return {
            "order.head": np.array(heads, np.int64).reshape(-1),
            "order.columns": np.concatenate(joined) if joined else np.zeros(0, np.int64),
            "order.attempts": np.array(
                [(n, *last) for n, b in enumerate(blocks) for last in sorted(b.last_attempts.items())],
                np.int64,
            ).reshape(-1),
            "order.unnumbered": np.frombuffer(
                msgspec.msgpack.encode(
                    [(key, sorted(self._unnumbered[key])) for key in sorted(self._unnumbered)]
                ),
                np.uint8,
            ),
        }

    def restore(self, state: State, books: list[Book]) -> None:
        """Take the open orders back; positions already count them."""
        unnumbered = msgspec.msgpack.decode(state["order.unnumbered"].tobytes())
        self._unnumbered = {
            OrderKey(*key): {(number, text) for number, text in ids} for key, ids in unnumbered
        }
        last_attempts: dict[int, dict[int, int]] = {}
        for number, row, attempt in state["order.attempts"].reshape(-1, 3).tolist():
            last_attempts.setdefault(number, {})[row] = attempt
        start = 0
        for number, head in enumerate(state["order.head"].reshape(-1, 15).tolist()):
            book, slot, *rest = head
            key, (side, is_exit, price, limit_price, expire_time, fee_rate, transact_time, count) = (
                OrderKey(*rest[:5]),
                rest[5:],
            )
            columns = np.array(state["order.columns"][start : start + 5 * count]).reshape(5, count)
            start += 5 * count
            owner = books[book]
            block = OrderBlock(
                key, owner, owner.slots[slot], side, bool(is_exit), price, limit_price, expire_time, fee_rate, transact_time,
                columns[0], columns[1], columns[2], columns[3] != 0, columns[4] != 0,
                last_attempts.get(number, {}),
            )  # fmt: skip
            self.enter(block)
