"""Corrected trades applied: what `TradesCorrected` does to cash, position, cost and target, and to
the orders, open or closed.

It says everything; nothing is looked up. An order that is worked again is open again where it
stood, or in a block of its own when its block is gone.
"""

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s, notional_ceil, notional_floor
from engine.columns.reductions import any_of
from engine.follower.book import Book, Slot, Status
from engine.follower.order_group import OrderGroup
from engine.follower.order_history import OrderTerms
from engine.follower.state import FollowerState
from engine.journal.events.orders import LaterAttemptsFound, TradesCorrected
from engine.values.order_ids import OrderKey, key_of_cause


def apply_corrections(shard: FollowerState, event: TradesCorrected) -> None:
    """Change the state by corrections: cash, position, cost, target, and the orders."""
    shard.execution_ids.add(event.broker, event.prefix, event.numbers)
    ((book, rows, _),) = shard.by_book(event.subscriptions)
    slot, table, side = shard.slot(book, event.instrument), book.subscriptions, event.side
    value = notional_ceil if side > 0 else notional_floor
    table["cash"][rows] += side * value(event.old_quantities, event.old_prices) + event.old_fees
    table["cash"][rows] -= side * value(event.quantities, event.prices) + event.fees
    owed = np.maximum(-event.costs, 0) - np.maximum(-slot.cost[rows], 0)
    if any_of(owed):
        table.own("short_proceeds")[rows] += owed
    slot.position[rows] += side * (event.quantities - event.old_quantities)
    slot.cost[rows] = event.costs
    slot.target[rows] = event.targets
    key = key_of_cause(event)
    _rework(shard, key, event, book, slot, rows)
    held = (slot.position[rows] != 0) | (slot.open[rows] != 0)
    again = rows[held & (table["status"][rows] == Status.ENDED)]
    if len(again):
        book.set_status(again, Status.ENDING)


def _rework(
    shard: FollowerState,
    key: OrderKey,
    event: TradesCorrected,
    book: Book,
    slot: Slot,
    rows: NDArray[np.int64],
) -> None:
    """Bring orders to what they have filled and work now; one whose block is gone gets a new
    block.
    """
    left = np.ones(len(rows), np.bool_)
    for block in shard.orders.blocks(key):
        if block.book is book:
            at, there = block.find(rows)
            if there.any():
                _rework_in(block, at[there], event.filled[there], event.leaves[there])
            left &= ~there
    chosen = np.flatnonzero(left & (event.leaves > 0))
    if len(chosen):
        chosen = chosen[np.argsort(rows[chosen])]
        placed = OrderTerms(
            event.creator_shard,
            event.creator,
            event.instrument,
            event.side,
            event.is_exit,
            event.price,
            event.limit_price,
            event.expire_time,
            event.fee_rate,
            event.order_time,
        )
        block = closed_group(key, book, slot, placed, rows[chosen], event.filled[chosen])
        shard.orders.enter(block)
        _rework_in(block, np.arange(len(chosen)), event.filled[chosen], event.leaves[chosen])
    for row, exec_id in zip(event.known_rows.tolist(), event.known, strict=True):
        shard.orders.note_known(key, int(event.subscriptions[row]), exec_id)
    shard.orders.drop_closed(key)


def _rework_in(block: OrderGroup, at: NDArray[np.int64], filled: Int64s, leaves: Int64s) -> None:
    before = np.where(block.is_open[at], block.quantity[at] - block.filled[at], 0)
    rows = block.rows[at]
    block.slot.open[rows] += block.side * (leaves - before)
    if not block.is_exit:
        reserved = block.reservation(leaves) - block.reservation(before)
        block.book.subscriptions["reserved"][rows] += reserved
    block.is_cancelling[at] &= block.is_open[at]
    block.filled[at] = filled
    block.quantity[at] = filled + leaves
    block.is_open[at] = leaves > 0


def apply_later_attempts(shard: FollowerState, event: LaterAttemptsFound) -> None:
    """Have orders that are worked again know of the attempts after them."""
    key = key_of_cause(event)
    for book, rows, which in shard.by_book(event.subscriptions):
        last = dict(zip(rows.tolist(), event.attempts[which].tolist(), strict=True))
        for block in shard.orders.blocks(key):
            if block.book is book:
                block.last_attempts |= {row: last[row] for row in block.open_rows(rows)}


def closed_group(
    key: OrderKey,
    book: Book,
    slot: Slot,
    placed: OrderTerms,
    rows: NDArray[np.int64],
    filled: Int64s,
) -> OrderGroup:
    """Make a block of closed orders."""
    count = len(rows)
    return OrderGroup(
        key,
        book,
        slot,
        placed.side,
        bool(placed.is_exit),
        placed.price,
        placed.limit_price,
        placed.expire_time,
        placed.fee_rate,
        placed.transact_time,
        rows,
        quantity=filled.copy(),
        filled=filled.copy(),
        is_open=np.zeros(count, np.bool_),
        is_cancelling=np.zeros(count, np.bool_),
    )
