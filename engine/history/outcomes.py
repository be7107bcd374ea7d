"""An index of orders by id without a set of ids, and the outcome of each order: status, filled
quantity, average price, cash and fees.

The cause, leg and attempt of an order id stand once in a section. A dense number for them, joined
with the subscription, is one sortable 64-bit key per order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.history.corrected_outcomes import OrderStory, status_of, stories
from engine.history.corrections import AppliedCorrection
from engine.history.exact import notionals
from engine.history.executions import Executions
from engine.history.orders import Cancels, Orders
from engine.history.sorting import positions, repeated, sorted_order, taken
from engine.history.storage import IN_MEMORY, ColumnStorage, Ints, U32s, U64s, filled_column, slices
from engine.values.order_status import STATUS_OF_END, ExecType, OrdStatus

_ONE = 100_000_000
_SMALL = 1 << 35
"""Notionals (micros) whose products with 10**8 surely fit 64 bits, the remainders of all executions
included.
"""
_SUBSCRIPTION_BITS = np.uint64(32)
_TAIL_MASK = np.uint64(0xFFFFFFFF)
_OPEN = (OrdStatus.PENDING_NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.PENDING_CANCEL)


class CauseIndex:
    """Numbers (upper half, leg and attempt) pairs densely, in order."""

    def __init__(self, highs: U64s, tails: U64s) -> None:
        self._highs = np.unique(highs)
        self._pairs = np.unique(self._pair(highs, tails))

    @property
    def highs_count(self) -> int:
        """The number of different upper halves."""
        return len(self._highs)

    def _pair(self, highs: U64s, tails: U64s) -> U64s:
        at: U64s = np.searchsorted(self._highs, highs).astype(np.uint64)
        return at << np.uint64(32) | tails

    def find(self, highs: U64s, tails: U64s) -> Ints:
        """Return the numbers of pairs, -1 for one that is not there."""
        if not len(self._highs):
            return np.full(len(highs), -1, np.int64)
        at = np.searchsorted(self._highs, highs)
        at[at == len(self._highs)] = 0
        is_known = self._highs[at] == highs
        pairs = at.astype(np.uint64) << np.uint64(32) | tails
        found = np.searchsorted(self._pairs, pairs)
        found[found == len(self._pairs)] = 0
        is_known &= self._pairs[found] == pairs
        numbers: Ints = np.where(is_known, found, -1)
        return numbers


class OrderIndex:
    """The orders of one follower shard by id; `storage` keeps the index. Shapes: `keys` ascend,
    `rows` are the orders' rows.

    Cost: 16 B per order.
    """

    def __init__(self, orders: Orders, storage: ColumnStorage = IN_MEMORY) -> None:
        self.storage = storage
        self.causes = CauseIndex(orders.cause_highs, orders.tails)
        causes = self.causes.find(orders.cause_highs, orders.tails).astype(np.uint64)

        def keys_of(here: slice) -> U64s:
            keys: U64s = (
                causes[orders.sections[here]] << _SUBSCRIPTION_BITS | orders.subscriptions[here]
            )
            return keys

        keys = filled_column(storage, orders.rows_count, np.uint64, keys_of)
        self.rows = sorted_order(keys, storage)
        self.keys: U64s = taken(keys, self.rows, storage)

    def repeated(self) -> Ints:
        """Return the rows whose order id stands in an earlier row too."""
        return repeated(self.keys, self.rows, self.storage)

    def find(self, highs: U64s, lows: U64s) -> Ints:
        """Find orders by the two halves of their ids. Returns: rows, -1 where there is no such
        order.
        """
        if not len(highs):
            return np.zeros(0, np.int64)
        tails = lows & _TAIL_MASK
        # Orders of one cause stand next to each other, so each cause is looked up once.
        changes = np.flatnonzero((highs[1:] != highs[:-1]) | (tails[1:] != tails[:-1])) + 1
        starts = np.concatenate((np.zeros(1, np.int64), changes))
        causes = np.repeat(
            self.causes.find(highs[starts], tails[starts]), np.diff(starts, append=len(highs))
        )
        return self.rows_of(causes, (lows >> _SUBSCRIPTION_BITS).astype(np.uint32))

    def rows_of(self, causes: Ints, subscriptions: U32s) -> Ints:
        """Find orders by the numbers of their causes and their subscriptions. Returns: rows, -1
        where there is no such order.
        """
        if not len(self.keys):
            return np.full(len(causes), -1, np.int64)
        keys = causes.astype(np.uint64) << _SUBSCRIPTION_BITS | subscriptions
        at = positions(self.keys, keys)
        is_there = (self.keys[at] == keys) & (causes >= 0)
        rows: Ints = np.where(is_there, self.rows[at], -1)
        return rows


class Outcomes(NamedTuple):
    """Shapes: one row per order, except `order_rows`: the order's row of each execution (-1: no
    such order).

    `filled` and `leaves` in 1e-8; `leaves` is 0 once an order has ended. `cash` is what the
    fills moved in the subscription, without fees: buys rounded up and negative, sells rounded down.
    `average_prices` in micros, rounded down, 0 without a fill. `status` are FIX OrdStatus. Trades
    cancelled or corrected count as they are now.
    """

    order_rows: Ints
    status: NDArray[np.uint8]
    filled: Ints
    leaves: Ints
    cash: Ints
    fees: Ints
    average_prices: Ints
    executions_counts: Ints


def rows_of_corrections(index: OrderIndex, corrections: Sequence[AppliedCorrection]) -> list[int]:
    """Find the orders of corrections. Returns: rows, -1 where there is no such order."""
    highs = np.array([each.high for each in corrections], np.uint64)
    rows: list[int] = index.find(
        highs, np.array([each.low for each in corrections], np.uint64)
    ).tolist()
    return rows


def order_outcomes(
    orders: Orders,
    index: OrderIndex,
    executions: Executions,
    cancels: Cancels | None = None,
    corrections: Sequence[AppliedCorrection] = (),
) -> Outcomes:
    """Return the outcome of every order. Raises: OverflowError when an amount does not fit 64
    bits.
    """
    outcomes = _of_executions(orders, index, executions, cancels)
    if corrections:
        rows = rows_of_corrections(index, corrections)
        pairs = [(row, each) for row, each in zip(rows, corrections, strict=True) if row >= 0]
        told = stories(outcomes.order_rows, orders.quantities, executions, pairs, index.storage)
        for row, story in told.items():
            _correct(outcomes, orders, row, story)
    return outcomes


def _correct(outcomes: Outcomes, orders: Orders, row: int, story: OrderStory) -> None:
    is_cancelling = outcomes.status[row] == OrdStatus.PENDING_CANCEL
    outcomes.status[row] = status_of(
        story, int(orders.quantities[row]), is_cancelling=bool(is_cancelling)
    )
    outcomes.filled[row], outcomes.leaves[row] = story.filled, story.leaves
    outcomes.cash[row] = story.cash(int(orders.sides[orders.sections[row]]))
    outcomes.fees[row], outcomes.average_prices[row] = story.fees, story.average_price
    outcomes.executions_counts[row] = len(story.trades)


def _of_executions(
    orders: Orders, index: OrderIndex, executions: Executions, cancels: Cancels | None
) -> Outcomes:
    e, count, storage = executions, orders.rows_count, index.storage
    causes = index.causes.find(e.cause_highs, e.tails)
    order_rows = filled_column(
        storage,
        e.rows_count,
        np.int64,
        lambda here: index.rows_of(causes[e.sections[here]], e.subscriptions[here]),
    )
    status, *amounts = storage.columns(count, np.uint8, *[np.int64] * 6)
    filled, leaves, cash, paid, average, times = amounts
    sums = _Sums(filled, cash, paid, times, average, *storage.columns(count, np.int64, np.int64))
    for here in slices(storage, e.rows_count):
        _add_trades(sums, orders, e, here, order_rows[here])
    for here in slices(storage, count):
        _average(sums, here)
    _set_status(status, orders, index, e, order_rows, filled, cancels)
    for here in slices(storage, count):
        leaves[here] = np.where(
            np.isin(status[here], _OPEN), orders.quantities[here] - filled[here], 0
        )
    return Outcomes(order_rows, status, filled, leaves, cash, paid, average, times)


class _Sums(NamedTuple):
    """Sums of trades, one row per order. `average` holds the last price until it is worked out.
    Notionals are floors and rests.
    """

    filled: Ints
    cash: Ints
    paid: Ints
    times: Ints
    average: Ints
    floors: Ints
    rests: Ints


def _add_trades(
    sums: _Sums, orders: Orders, executions: Executions, here: slice, rows: Ints
) -> None:
    """Add the trades among some executions. Raises: OverflowError."""
    columns = [executions.quantities[here], executions.prices[here], executions.fees[here]]
    is_trade = (executions.exec_types[here] == ExecType.TRADE) & (rows >= 0)
    if not is_trade.all():
        rows, *columns = (column[is_trade] for column in (rows, *columns))
    quantities, prices, fees = columns
    values = notionals(quantities, prices)
    is_buy = orders.sides[orders.sections[rows]] > 0
    np.add.at(sums.filled, rows, quantities)
    np.add.at(sums.floors, rows, values.floors)
    np.add.at(sums.rests, rows, values.rests)
    np.add.at(sums.cash, rows, np.where(is_buy, -values.ceils, values.floors))
    np.add.at(sums.paid, rows, fees)
    np.add.at(sums.times, rows, 1)
    sums.average[rows] = prices


def _average(sums: _Sums, here: slice) -> None:
    """Work out the average prices of some orders: those of one trade have its price already."""
    filled, times, average, floors, rests = (
        column[here] for column in (sums.filled, sums.times, sums.average, sums.floors, sums.rests)
    )
    several = times > 1
    small = several & (floors < _SMALL)
    average[small] = (floors[small] * _ONE + rests[small]) // np.maximum(filled[small], 1)
    # (floors * 1e8 + rests) / filled has no 64-bit form for large amounts, so each is divided
    # exactly by itself.
    for row in np.flatnonzero(several & ~small).tolist():
        average[row] = (int(floors[row]) * _ONE + int(rests[row])) // max(int(filled[row]), 1)


def _set_status(
    status: NDArray[np.uint8],
    orders: Orders,
    index: OrderIndex,
    executions: Executions,
    order_rows: Ints,
    filled: Ints,
    cancels: Cancels | None,
) -> None:
    storage, e = index.storage, executions
    for here in slices(storage, orders.rows_count):
        status[here] = np.where(filled[here] > 0, OrdStatus.PARTIALLY_FILLED, OrdStatus.PENDING_NEW)
    if cancels is not None and len(cancels.highs):
        asked = index.find(cancels.highs, cancels.lows)
        status[asked[asked >= 0]] = OrdStatus.PENDING_CANCEL
    for exec_type, end in STATUS_OF_END.items():
        for here in slices(storage, e.rows_count):
            rows = order_rows[here]
            status[rows[(e.exec_types[here] == exec_type) & (rows >= 0)]] = end
    for here in slices(storage, orders.rows_count):
        quantities = orders.quantities[here]
        status[here][(filled[here] >= quantities) & (quantities > 0)] = OrdStatus.FILLED
