"""Open orders as blocks of columns, and what executions do to them and to the positions behind them.

A block holds the orders that one part of one book placed for one cause, leg and attempt. Look-ups go by
that key and the row; a block goes when its last order ends, so hot state knows open orders only (P8). Cash
moves by the execution's notional, a buy's rounded up and a sell's down, and by the broker's fee (P7).
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.arithmetic import Int64s, fee_ceil, mul_div, notional_ceil, notional_floor
from engine.book import Book, Slot
from engine.events import ExecutionsApplied
from engine.identity import OrderKey
from engine.masks import any_of, is_same, least, most
from engine.order_state import ExecType
from engine.tables import State, as_run


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
    run: slice | NDArray[np.int64] = field(init=False)
    """The rows, as a slice where they follow one another."""

    def __post_init__(self) -> None:
        self.run = as_run(self.rows)

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

    def reservation(self, leaves: Int64s) -> Int64s:
        """Say what entries reserve for quantities still open: a buy at its limit and fee, a short's opening
        at its price. Exits: nothing.
        """
        if self.is_exit:
            return np.zeros(len(leaves), np.int64)
        if self.side < 0:
            return notional_ceil(leaves, self.price)
        notional = notional_ceil(leaves, self.limit_price)
        return notional + fee_ceil(notional, self.fee_rate)


def place(block: OrderBlock) -> None:
    """Enter new orders: they are open and reserve cash."""
    block.slot.open[block.run] += block.quantity if block.side > 0 else -block.quantity
    if not block.is_exit:
        block.book.subscriptions["reserved"][block.run] += block.reservation(block.quantity)


def trade(
    block: OrderBlock, at: NDArray[np.int64] | None, quantity: Int64s, price: Int64s, fee: Int64s
) -> None:
    """Apply trades of distinct orders (None: of all, row by row), each within its order's open quantity."""
    where, rows = (slice(None), block.run) if at is None else (at, block.rows[at])
    leaves = block.quantity[where] - block.filled[where]
    after = leaves - quantity
    assert least(quantity) > 0 and least(after) >= 0, "an overfill is parked, not applied"
    table, slot = block.book.subscriptions, block.slot
    notional = (notional_ceil if block.side > 0 else notional_floor)(quantity, price)
    table["cash"][rows] -= (notional if block.side > 0 else -notional) + fee
    if not block.is_exit:
        released = block.reservation(leaves)
        if any_of(after):
            released -= block.reservation(after)
        table["reserved"][rows] -= released
    _move_position(block, rows, quantity, price, notional)
    slot.open[rows] -= quantity if block.side > 0 else -quantity
    block.filled[where] += quantity
    block.is_open[where] = after > 0


def _move_position(
    block: OrderBlock,
    rows: slice | NDArray[np.int64],
    quantity: Int64s,
    price: Int64s,
    notional: Int64s,
) -> None:
    slot, table = block.slot, block.book.subscriptions
    held, cost = slot.position[rows], slot.cost[rows]
    after = held + (quantity if block.side > 0 else -quantity)
    against = held if block.side < 0 else -held
    if most(against) <= 0:
        changed = cost + (notional if block.side > 0 else -notional)
    else:
        closing = np.minimum(np.maximum(against, 0), quantity)
        released = mul_div(np.abs(cost), closing, np.maximum(np.abs(held), 1))
        changed = cost - np.where(cost < 0, -released, released)
        opening = quantity - closing
        if any_of(opening):
            # A trade that goes through zero builds the new side with the notional of the part beyond zero.
            changed += block.side * (notional_ceil if block.side > 0 else notional_floor)(opening, price)
        changed[after == 0] = 0
    # `held` and `cost` may be views: they are written last.
    if least(cost) < 0 or least(changed) < 0:
        table.own("short_proceeds")[rows] += np.maximum(-changed, 0) - np.maximum(-cost, 0)
    slot.position[rows] = after
    slot.cost[rows] = changed


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


def is_any(exec_types: NDArray[np.int64], kinds: tuple[ExecType, ...]) -> NDArray[np.bool_]:
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

    def add(self, block: OrderBlock) -> None:
        """Enter a block's orders."""
        place(block)
        self._enter(block)

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
        self._enter(block)

    def enter_closed(self, block: OrderBlock) -> None:
        """Enter a block whose orders are to be opened one by one."""
        self._enter(block)

    def _enter(self, block: OrderBlock) -> None:
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
        start = 0
        for head in state["order.head"].reshape(-1, 15).tolist():
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
            )  # fmt: skip
            self._enter(block)
