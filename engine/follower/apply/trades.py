"""Trades and ends of orders, applied to the orders and to the positions behind them.

Cash moves by the execution's notional, a buy's rounded up and a sell's down, and by the broker's
fee (P7).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s, mul_div, notional_ceil, notional_floor
from engine.columns.reductions import any_of, least, most
from engine.follower.book import Rows, joined
from engine.follower.cost_basis import cost_with
from engine.follower.order_group import OrderGroup, reservation, reserved_at
from engine.follower.rows import length_of, per_row, ranges
from engine.follower.subscription_columns import MONEY
from engine.follower.subscription_table import SubscriptionTable


class Traded(NamedTuple):
    """Orders of one group that traded: their rows in the book, and their positions in the group."""

    group: OrderGroup
    rows: Rows
    at: Rows


def apply_trades(traded: Sequence[Traded], quantity: Int64s, price: Int64s, fee: Int64s) -> None:
    """Apply trades of distinct orders, each within its open quantity. The groups are of one side
    and of different books.

    Shapes: one row per order, group by group.
    """
    side = traded[0].group.terms.side
    filled = joined([group.filled[at] for group, _, at in traded])
    leaves = joined([group.quantity[at] for group, _, at in traded]) - filled
    after = leaves - quantity
    assert least(quantity) > 0 and least(after) >= 0, "an overfill is refused, not applied"
    counts = [length_of(rows) for _, rows, _ in traded]
    notional = (notional_ceil if side > 0 else notional_floor)(quantity, price)
    spent = np.empty((len(MONEY), len(quantity)), np.int64)
    spent[0] = (notional if side > 0 else -notional) + fee
    spent[1] = _released([group for group, _, _ in traded], counts, leaves, after)
    _, held, open_, cost = joined([group.slot.values[:, rows] for group, rows, _ in traded])
    moved = np.empty((3, len(quantity)), np.int64)
    moved[0], moved[2] = _moved(side, held, cost, quantity, price, notional)
    moved[1] = open_ - (quantity if side > 0 else -quantity)
    has_shorts = least(cost) < 0 or least(moved[2]) < 0
    filled = filled + quantity
    is_open = after > 0
    for (group, rows, at), where in zip(traded, ranges(counts), strict=True):
        table, slot = group.book.subscriptions, group.slot
        if has_shorts:
            _note_proceeds(table, rows, cost[where], moved[2][where])
        # `held` and `cost` may be views: they are written last.
        table.spend(rows, spent[:, where])
        slot.values[1:, rows] = moved[:, where]
        group.filled[at] = filled[where]
        group.is_open[at] = is_open[where]


def apply_trades_in_turn(
    group: OrderGroup, at: NDArray[np.int64], quantity: Int64s, price: Int64s, fee: Int64s
) -> None:
    """Apply trades of one group, several of one order, as if they came one by one.

    Shapes: `at`, the orders' positions in the group, does not fall; an order's trades stand in
    their order. Cost: about a microsecond a trade.
    """
    orders, starts = np.unique(at, return_index=True)
    rows, side = group.rows[orders], group.terms.side
    traded = np.add.reduceat(quantity, starts)
    leaves = group.quantity[orders] - group.filled[orders]
    after = leaves - traded
    assert least(quantity) > 0 and least(after) >= 0, "an overfill is refused, not applied"
    notional = (notional_ceil if side > 0 else notional_floor)(quantity, price)
    spent = np.empty((len(MONEY), len(orders)), np.int64)
    spent[0] = np.add.reduceat((notional if side > 0 else -notional) + fee, starts)
    spent[1] = _released([group], [len(orders)], leaves, after)
    table, slot = group.book.subscriptions, group.slot
    before = slot.cost[rows]
    ends = [*starts[1:].tolist(), len(at)]
    costs = np.array(
        [
            _cost_after(cost, held, side, quantity[start:end].tolist(), price[start:end].tolist())
            for cost, held, start, end in zip(
                before.tolist(), slot.position[rows].tolist(), starts.tolist(), ends, strict=True
            )
        ],
        np.int64,
    )
    _note_proceeds(table, rows, before, costs)
    table.spend(rows, spent)
    slot.position[rows] += side * traded
    slot.open[rows] -= side * traded
    slot.cost[rows] = costs
    group.filled[orders] += traded
    group.is_open[orders] = after > 0


def _cost_after(cost: int, held: int, side: int, quantities: list[int], prices: list[int]) -> int:
    """Return the cost of a position after trades, one after the other."""
    for quantity, price in zip(quantities, prices, strict=True):
        cost = cost_with(cost, held, side, quantity, price)
        held += side * quantity
    return cost


def _released(
    groups: Sequence[OrderGroup], counts: list[int], leaves: Int64s, after: Int64s
) -> Int64s | int:
    """Return the cash that orders no longer reserve once `leaves` of them have become `after`."""
    prices, fee_rates = zip(*(reserved_at(group.terms) for group in groups), strict=True)
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
    """Return the positions and their cost after trades."""
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
    """Keep the proceeds of shorts: the negative cost of positions. They are not available."""
    if least(before) < 0 or least(after) < 0:
        table.own("short_proceeds")[rows] += np.maximum(-after, 0) - np.maximum(-before, 0)


def end_orders(group: OrderGroup, at: NDArray[np.int64]) -> None:
    """End orders with what is left of them: nothing stays open or reserved. The remainder of an
    entry lowers the target.
    """
    leaves = group.quantity[at] - group.filled[at]
    rows, slot, side = group.rows[at], group.slot, group.terms.side
    slot.open[rows] -= side * leaves
    if not group.terms.is_exit:
        group.book.subscriptions["reserved"][rows] -= group.reservation(leaves)
        target = side * slot.target[rows]
        # A position still on the other side is an exit to finish, not a target.
        reachable = np.maximum(side * (slot.position[rows] + slot.open[rows]), 0)
        slot.target[rows] = side * np.maximum(target - leaves, np.minimum(target, reachable))
    group.is_open[at] = False
