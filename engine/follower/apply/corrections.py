"""Corrected trades, applied to cash, position, cost and target, and to the orders, open or closed.

`TradesCorrected` says everything, so nothing is looked up. A reopened order is open again in its
group, or in a group of its own when its group was dropped.
"""

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s, notional_ceil, notional_floor
from engine.columns.reductions import any_of
from engine.follower.book import Book, SubscriptionStatus
from engine.follower.order_group import OrderGroup
from engine.follower.slot import Slot
from engine.follower.state import FollowerState
from engine.journal.events.orders import LaterAttemptsFound, TradesCorrected


def apply_corrections(state: FollowerState, event: TradesCorrected) -> None:
    """Change the state by corrections: cash, position, cost, target, and the orders."""
    state.execution_ids.add(event.broker, event.prefix, event.numbers)
    ((book, rows, _),) = state.by_book(event.subscriptions)
    slot, table, side = state.slot(book, event.instrument), book.subscriptions, event.side
    value = notional_ceil if side > 0 else notional_floor
    table["cash"][rows] += side * value(event.old_quantities, event.old_prices) + event.old_fees
    table["cash"][rows] -= side * value(event.quantities, event.prices) + event.fees
    owed = np.maximum(-event.costs, 0) - np.maximum(-slot.cost[rows], 0)
    if any_of(owed):
        table.own("short_proceeds")[rows] += owed
    slot.position[rows] += side * (event.quantities - event.old_quantities)
    slot.cost[rows] = event.costs
    slot.target[rows] = event.targets
    _correct_orders(state, event, book, slot, rows)
    held = (slot.position[rows] != 0) | (slot.open[rows] != 0)
    again = rows[held & (table["status"][rows] == SubscriptionStatus.ENDED)]
    if len(again):
        book.set_status(again, SubscriptionStatus.ENDING)


def _correct_orders(
    state: FollowerState, event: TradesCorrected, book: Book, slot: Slot, rows: NDArray[np.int64]
) -> None:
    """Set what orders have filled and work after the corrections. A reopened order whose group was
    dropped gets a new group.
    """
    key, left = event.key, np.ones(len(rows), np.bool_)
    for group in state.orders.of_key(key):
        if group.book is book:
            at, there = group.find(rows)
            if there.any():
                _correct_group(group, at[there], event.filled[there], event.leaves[there])
            left &= ~there
    chosen = np.flatnonzero(left & (event.leaves > 0))
    if len(chosen):
        chosen = chosen[np.argsort(rows[chosen])]
        group = OrderGroup.of_closed_orders(
            key, book, slot, event.terms, rows[chosen], event.filled[chosen]
        )
        state.orders.add(group)
        _correct_group(group, np.arange(len(chosen)), event.filled[chosen], event.leaves[chosen])
    for row, exec_id in zip(event.known_rows.tolist(), event.known, strict=True):
        state.orders.note_known(key, int(event.subscriptions[row]), exec_id)
    state.orders.drop_closed(key)


def _correct_group(
    group: OrderGroup, at: NDArray[np.int64], filled: Int64s, leaves: Int64s
) -> None:
    """Set what some orders of a group have filled and work, and what they reserve."""
    before = np.where(group.is_open[at], group.quantity[at] - group.filled[at], 0)
    rows = group.rows[at]
    group.slot.open[rows] += group.terms.side * (leaves - before)
    if not group.terms.is_exit:
        reserved = group.reservation(leaves) - group.reservation(before)
        group.book.subscriptions["reserved"][rows] += reserved
    group.is_cancelling[at] &= group.is_open[at]
    group.filled[at] = filled
    group.quantity[at] = filled + leaves
    group.is_open[at] = leaves > 0


def apply_later_attempts(state: FollowerState, event: LaterAttemptsFound) -> None:
    """Note on reopened orders the attempts after them."""
    for book, rows, which in state.by_book(event.subscriptions):
        last = dict(zip(rows.tolist(), event.attempts[which].tolist(), strict=True))
        for group in state.orders.of_key(event.key):
            if group.book is book:
                group.last_attempts |= {row: last[row] for row in group.open_rows(rows)}
